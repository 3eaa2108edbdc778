//! What the service's codes mean for whoever asked.

use cistern_functions::ports::{Refusal, Why};
use cistern_store::aws::Failure;

/// The failure, in terms of the port.
pub(crate) fn of(failure: &Failure) -> Refusal {
    let why = why(failure.status, &failure.code, failure.lasting);
    let advice = match why {
        Why::Denied => "; check the credential, and what its policy allows",
        _ => "",
    };
    Refusal::new(why, format!("{failure}{advice}"))
}

fn why(status: Option<u16>, code: &str, lasting: bool) -> Why {
    let has = |word: &str| code.contains(word);
    match (status, code) {
        (None, _) if lasting => Why::Invalid,
        (None, _) | (Some(408 | 429 | 500..), _) => Why::Busy,
        (_, "RequestLimitExceeded" | "InternalFailure" | "ServiceUnavailable" | "RequestExpired") => {
            Why::Busy
        }
        _ if has("Throttl") => Why::Busy,
        // Of the database or the snapshot; a subnet group or security group that is missing is a wrong wish.
        _ if has("NotFound") && MISSING.iter().any(|what| code.starts_with(what)) => Why::Absent,
        _ if has("AlreadyExists") => Why::Exists,
        _ if has("InvalidDB") && has("State") => Why::Conflict,
        (_, "InsufficientDBInstanceCapacity" | "InsufficientDBClusterCapacityFault") => Why::Conflict,
        (Some(401 | 403), _) => Why::Denied,
        (_, "AccessDenied" | "OptInRequired" | "ExpiredToken" | "UnauthorizedOperation") => Why::Denied,
        _ => Why::Invalid,
    }
}

/// What codes begin with that tell of a missing database or snapshot.
const MISSING: [&str; 4] =
    ["DBInstanceNotFound", "DBClusterNotFound", "DBSnapshotNotFound", "DBClusterSnapshotNotFound"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_what_to_do() {
        for (status, code, meant) in [
            (404, "DBInstanceNotFound", Why::Absent),
            (404, "DBClusterNotFoundFault", Why::Absent),
            (404, "DBSnapshotNotFound", Why::Absent),
            (404, "DBClusterSnapshotNotFoundFault", Why::Absent),
            (404, "DBSubnetGroupNotFoundFault", Why::Invalid),
            (400, "DBSnapshotAlreadyExists", Why::Exists),
            (400, "DBInstanceAlreadyExists", Why::Exists),
            (400, "DBClusterAlreadyExistsFault", Why::Exists),
            (400, "InvalidDBInstanceState", Why::Conflict),
            (400, "InvalidDBClusterStateFault", Why::Conflict),
            (400, "InvalidDBSnapshotState", Why::Conflict),
            (400, "Throttling", Why::Busy),
            (400, "ThrottlingException", Why::Busy),
            (503, "", Why::Busy),
            (403, "InvalidClientTokenId", Why::Denied),
            (403, "SignatureDoesNotMatch", Why::Denied),
            (400, "InvalidParameterValue", Why::Invalid),
            (400, "SnapshotQuotaExceeded", Why::Invalid),
        ] {
            assert_eq!(why(Some(status), code, false), meant, "{code}");
        }
        assert_eq!(why(None, "", false), Why::Busy);
        assert_eq!(why(None, "", true), Why::Invalid);
    }
}
