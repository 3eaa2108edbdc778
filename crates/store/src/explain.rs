//! A cloud client's failure, in terms of what the caller can do about it.

use crate::http::{NoRole, Refused};
use crate::{Error, ErrorKind};
use object_store::client::{HttpError, HttpErrorKind};
use std::error::Error as StdError;
use std::fmt::Display;
use std::iter::successors;

/// What a failed request means.
pub(crate) struct Meaning {
    pub(crate) kind: ErrorKind,
    pub(crate) why: String,
    /// The server refused because of what is there already, or is being written just now.
    pub(crate) taken: bool,
    /// The server does not know who asks, so it refuses everything, not only this.
    pub(crate) stranger: bool,
    /// The region the bucket is in, where the server says that this one is wrong.
    pub(crate) region: Option<String>,
    /// The server wants a `Content-MD5`, as buckets with object lock do.
    pub(crate) wants_md5: bool,
}

impl Meaning {
    fn of(kind: ErrorKind, why: String) -> Meaning {
        Meaning { kind, why, taken: false, stranger: false, region: None, wants_md5: false }
    }

    pub(crate) fn error(self, doing: &'static str, subject: impl Display) -> Error {
        Error::new(self.kind, doing, subject, self.why)
    }
}

/// What `failure` means. Its own text is not used where it could hold a URL.
pub(crate) fn explain(failure: &object_store::Error) -> Meaning {
    let chain = || causes(failure);
    if let Some(NoRole { .. }) = chain().find_map(|e| e.downcast_ref::<NoRole>()) {
        let cause = root_cause(failure);
        let why = format!(
            "no credentials were given, and the machine, asked for its own, gave none: {cause}; \
             set them in the options or give the machine a role"
        );
        return Meaning::of(ErrorKind::Unavailable, why);
    }
    if let Some(refused) = chain().find_map(|e| e.downcast_ref::<Refused>()) {
        return refusal(refused);
    }
    if let Some(http) = chain().find_map(|e| e.downcast_ref::<HttpError>()) {
        return transport(http, root_cause(failure));
    }
    let cause = root_cause(failure);
    if let Some(status) = batch_status(&cause) {
        let (code, message) = (String::new(), String::new());
        return refusal(&Refused { status, code, message, region: None });
    }
    let stranger = matches!(failure, object_store::Error::Unauthenticated { .. });
    let kind = match failure {
        object_store::Error::NotFound { .. } => ErrorKind::NotFound,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            ErrorKind::Denied
        }
        _ => ErrorKind::Other,
    };
    Meaning { stranger, ..Meaning::of(kind, cause) }
}

/// The status of one delete in a batch, which is how the client deletes on Azure; it comes as text only.
fn batch_status(cause: &str) -> Option<u16> {
    cause.rsplit_once("(code: ")?.1.strip_suffix(')')?.parse().ok()
}

/// A failure, what it says caused it, and so on to the root.
pub(crate) fn causes<'e>(
    failure: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    successors(Some(failure), |e| (*e).source())
}

/// What lies at the bottom of a failure, cut and on one line.
pub(crate) fn root_cause(failure: &object_store::Error) -> String {
    let last = causes(failure).last().expect("a failure is its own first cause").to_string();
    last.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

/// No answer came, or not all of it.
fn transport(http: &HttpError, cause: String) -> Meaning {
    let lower = cause.to_lowercase();
    let (kind, why) = if lower.contains("certificate") {
        let why = format!("{cause}; give the server's certificate authority as `ca_file`");
        (ErrorKind::Config, why)
    } else if lower.contains("url scheme is not allowed") {
        (ErrorKind::Config, "the endpoint is not https; set `allow_http` if that is meant".to_owned())
    } else if http.kind() == HttpErrorKind::Connect {
        (ErrorKind::Unavailable, format!("cannot connect: {cause}; check `endpoint`, network and proxy"))
    } else {
        (ErrorKind::Unavailable, cause)
    };
    Meaning::of(kind, why)
}

/// Codes of AWS's token service when it does not take a web identity's token.
const WEB_IDENTITY_REFUSED: [&str; 3] = ["ExpiredTokenException", "InvalidIdentityToken", "IDPRejectedClaim"];

/// What the server's answer means. Codes are those that S3, its clones, GCS and Azure document.
fn refusal(refused: &Refused) -> Meaning {
    use ErrorKind::{Config, CutShort, Denied, Full, NotFound, Other, Unavailable};
    let (kind, advice) = match (refused.status, refused.code.as_str()) {
        (_, "NoSuchBucket" | "ContainerNotFound" | "InvalidBucketName" | "InvalidResourceName") => {
            (Config, "; create the bucket or correct its name")
        }
        (_, code) if WEB_IDENTITY_REFUSED.contains(&code) => {
            (Denied, "; is the file of the web identity's token renewed, and may the role be taken with it?")
        }
        (_, "IDPCommunicationError") => (Unavailable, ""),
        _ if is_stranger(refused) => {
            (Denied, "; check the credentials and that they belong to this endpoint")
        }
        (_, "ExpiredToken" | "TokenRefreshRequired" | "InvalidToken") => {
            (Denied, "; the session token is no longer good, get a new one")
        }
        (_, "RequestTimeTooSkewed") => (Config, "; set this machine's clock"),
        (301 | 302 | 307 | 308, _) | (_, "AuthorizationHeaderMalformed") => {
            (Config, "; set `region` to the bucket's, and `endpoint` if it is not on AWS")
        }
        (507, _) | (_, "QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded") => {
            (Full, "; make room or raise the quota")
        }
        // S3 answers 400 to some failures that pass.
        (
            _,
            "RequestTimeout" | "IncompleteBody" | "BadDigest" | "XAmzContentChecksumMismatch" | "Md5Mismatch",
        )
        | (408 | 429, _) => (Unavailable, ""),
        (501 | 505, _) => (Config, "; the server cannot do what Cistern needs, ask `doctor`"),
        (500.., _) => (Unavailable, ""),
        (404, _) => (NotFound, ""),
        (416, _) => (CutShort, ""),
        (403, _) => (Denied, "; check what this credential may do with this bucket"),
        // A write looks at what is there; a delete was refused by a lock, a lease or a policy.
        (304 | 409 | 412, _) => (Denied, "; a lock or policy protects the object"),
        _ => (Other, ""),
    };
    let region = refused.region.clone().filter(|_| kind == Config);
    let whither = region.as_ref().map(|region| format!(" (the bucket is in {region})")).unwrap_or_default();
    let why = format!("{refused}{whither}{advice}");
    Meaning {
        kind,
        why,
        taken: matches!(refused.status, 304 | 409 | 412) && kind == Denied,
        stranger: is_stranger(refused),
        region,
        wants_md5: refused.status == 400 && refused.message.to_lowercase().contains("content-md5"),
    }
}

/// Whether the server does not accept who asks, whatever is asked for.
fn is_stranger(refused: &Refused) -> bool {
    let code = refused.code.as_str();
    refused.status == 401
        || WEB_IDENTITY_REFUSED.contains(&code)
        || matches!(code, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "AuthenticationFailed")
        || matches!(
            code,
            "InvalidAuthenticationInfo" | "NoAuthenticationInformation" | "AuthorizationFailure"
        )
        || matches!(code, "invalid_grant" | "invalid_client")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_and_codes_say_what_to_do() {
        let kind = |status, code: &str| {
            let refused = Refused { status, code: code.into(), message: String::new(), region: None };
            refusal(&refused).kind
        };
        assert_eq!(kind(404, "NoSuchKey"), ErrorKind::NotFound);
        assert_eq!(kind(404, "NoSuchBucket"), ErrorKind::Config);
        assert_eq!(kind(403, "AccessDenied"), ErrorKind::Denied);
        assert_eq!(kind(403, "SignatureDoesNotMatch"), ErrorKind::Denied);
        assert_eq!(kind(401, ""), ErrorKind::Denied);
        assert_eq!(kind(400, "ExpiredToken"), ErrorKind::Denied);
        assert_eq!(kind(400, "InvalidIdentityToken"), ErrorKind::Denied);
        assert_eq!(kind(400, "IDPCommunicationError"), ErrorKind::Unavailable);
        assert_eq!(kind(400, "RequestTimeout"), ErrorKind::Unavailable);
        assert_eq!(kind(503, "SlowDown"), ErrorKind::Unavailable);
        assert_eq!(kind(501, "NotImplemented"), ErrorKind::Config);
        assert_eq!(kind(507, ""), ErrorKind::Full);
        assert_eq!(kind(301, "PermanentRedirect"), ErrorKind::Config);
        assert_eq!(kind(400, "MalformedXML"), ErrorKind::Other);
    }

    #[test]
    fn a_delete_refused_in_a_batch_keeps_its_status() {
        assert_eq!(batch_status("Bulk delete request failed for key a: Conflict (code: 409)"), Some(409));
        assert_eq!(batch_status("Got invalid bulk delete response: no boundary"), None);
    }

    #[test]
    fn unknown_credentials_are_told_from_missing_rights() {
        let stranger = |status, code: &str| {
            let refused = Refused { status, code: code.into(), message: String::new(), region: None };
            refusal(&refused).stranger
        };
        assert!(stranger(401, "") && stranger(403, "InvalidAccessKeyId"));
        assert!(stranger(403, "SignatureDoesNotMatch") && stranger(400, "invalid_grant"));
        assert!(!stranger(403, "AccessDenied") && !stranger(404, "NoSuchBucket"));
    }

    #[test]
    fn only_conflicts_make_a_write_look_again() {
        let taken = |status, code: &str| {
            let refused = Refused { status, code: code.into(), message: String::new(), region: None };
            refusal(&refused).taken
        };
        assert!(taken(412, "PreconditionFailed"));
        assert!(taken(409, "ConditionalRequestConflict"));
        assert!(taken(409, "BlobAlreadyExists"));
        assert!(!taken(403, "AccessDenied"));
        assert!(!taken(503, "SlowDown"));
    }
}
