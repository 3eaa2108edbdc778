//! What a Profile must say before anything is tried with it.

use cistern_api::{CredentialType, LocationType, Profile};

/// Every complaint about a Profile, each with the field.
pub fn check(profile: &Profile) -> Result<(), Vec<String>> {
    let mut complaints = Vec::new();
    let mut must = |said: bool, field: &str, problem: &str| {
        if !said {
            complaints.push(format!("the profile's field `{field}` {problem}"));
        }
    };
    let place = &profile.location;
    let known = matches!(place.kind, LocationType::S3Compliant | LocationType::Gcs | LocationType::Azure);
    must(
        known,
        "location.type",
        &format!("is `{}`: expected s3Compliant, gcs or azure", place.kind.as_str()),
    );
    must(!place.bucket.is_empty(), "location.bucket", "is empty");
    if place.kind == LocationType::S3Compliant {
        must(
            !place.region.is_empty(),
            "location.region",
            "is empty: S3 needs a region, us-east-1 if it has none",
        );
    }
    let credential = &profile.credential;
    match &credential.kind {
        CredentialType::KeyPair => {
            let pair = credential.key_pair.clone().unwrap_or_default();
            must(!pair.id_field.is_empty(), "credential.keyPair.idField", "is empty");
            must(!pair.secret_field.is_empty(), "credential.keyPair.secretField", "is empty");
            must(!pair.secret.name.is_empty(), "credential.keyPair.secret.name", "is empty");
        }
        CredentialType::Secret => {
            let name = credential.secret.as_ref().map(|secret| secret.name.as_str());
            must(name.is_some_and(|name| !name.is_empty()), "credential.secret.name", "is empty");
        }
        other => {
            must(false, "credential.type", &format!("is `{}`: expected keyPair or secret", other.as_str()));
        }
    }
    if complaints.is_empty() { Ok(()) } else { Err(complaints) }
}
