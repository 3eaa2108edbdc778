//! A profile and the Secrets it refers to, put together into what templates and `kando` see.

use base64::Engine as _;
use cistern_api::wire::{CredentialJson, KeyPairJson, KopiaServerJson, ProfileJson};
use cistern_api::{Credential, CredentialType, KopiaServerSecretRef, LocationType, ObjectReference, Profile};
use serde_json::Value as Json;

use crate::params::ResolvedProfile;

/// Secret types that may stand in a credential of type `secret`, and the keys they may hold.
const TYPED_SECRETS: [(&str, &[&str]); 3] = [
    ("secrets.kanister.io/aws", &["aws_access_key_id", "aws_secret_access_key", "role"]),
    (
        "secrets.kanister.io/azure",
        &[
            "azure_storage_account_id",
            "azure_storage_key",
            "azure_storage_environment",
            "azure_federated_identity",
        ],
    ),
    ("secrets.kanister.io/gcp", &["gcp_project_id", "service-account.json"]),
];

/// The Secrets a profile refers to.
pub fn secrets(profile: &Profile) -> Vec<ObjectReference> {
    let credential = &profile.credential;
    let kopia = credential.kopia_server_secret.as_ref();
    let references = match credential.kind {
        CredentialType::KeyPair => vec![credential.key_pair.as_ref().map(|pair| &pair.secret)],
        CredentialType::Secret => vec![credential.secret.as_ref()],
        CredentialType::Kopia => vec![
            kopia.and_then(|k| k.user_passphrase.as_ref()).and_then(|r| r.secret.as_ref()),
            kopia.and_then(|k| k.tls_cert.as_ref()).and_then(|r| r.secret.as_ref()),
        ],
        CredentialType::Unset | CredentialType::Other(_) => Vec::new(),
    };
    references.into_iter().flatten().cloned().collect()
}

/// The profile with its credential. `secret` returns a Secret as the API server has it.
///
/// # Errors
/// The profile says too little or contradicts itself, or a Secret lacks what the profile looks for there.
pub fn resolve(
    profile: &Profile,
    secret: impl Fn(&ObjectReference) -> Result<Json, String>,
) -> Result<ResolvedProfile, String> {
    let location = &profile.location;
    if let LocationType::Unset | LocationType::Other(_) = location.kind {
        let word = location.kind.as_str();
        return Err(format!("location.type {word:?} is none of s3Compliant, gcs, azure, kopia"));
    }
    let (credential, whole) = credential(&profile.credential, secret)?;
    let profile =
        ProfileJson { location: location.clone(), credential, skip_ssl_verify: profile.skip_ssl_verify };
    let mut json =
        serde_json::to_value(&profile).map_err(|e| format!("it cannot be written as JSON: {e}"))?;
    if let Some(secret) = whole {
        json["Credential"]["Secret"] = secret;
    }
    Ok(ResolvedProfile { json, file: None, repository: None })
}

/// The credential, and the Secret as a whole where templates see all of it.
fn credential(
    credential: &Credential,
    secret: impl Fn(&ObjectReference) -> Result<Json, String>,
) -> Result<(CredentialJson, Option<Json>), String> {
    let mut parts = CredentialJson { kind: credential.kind.clone(), ..CredentialJson::default() };
    let mut whole = None;
    match &credential.kind {
        CredentialType::KeyPair => {
            let pair = credential.key_pair.as_ref().ok_or("credential.keyPair is missing")?;
            let found = secret(&pair.secret)?;
            let read = |field: &str, place: &str| needed(&found, &pair.secret.name, field, place);
            parts.key_pair = Some(KeyPairJson {
                id: read(&pair.id_field, "credential.keyPair.idField")?,
                secret: read(&pair.secret_field, "credential.keyPair.secretField")?.into(),
            });
        }
        CredentialType::Secret => {
            let reference = credential.secret.as_ref().ok_or("credential.secret is missing")?;
            let found = secret(reference)?;
            typed(&found, &reference.name)?;
            whole = Some(found);
        }
        CredentialType::Kopia => parts.kopia_server_secret = Some(kopia(credential, secret)?),
        CredentialType::Unset | CredentialType::Other(_) => {
            let word = credential.kind.as_str();
            return Err(format!("credential.type {word:?} is none of keyPair, secret, kopia"));
        }
    }
    Ok((parts, whole))
}

fn kopia(
    credential: &Credential,
    secret: impl Fn(&ObjectReference) -> Result<Json, String>,
) -> Result<KopiaServerJson, String> {
    let kopia = credential.kopia_server_secret.as_ref().ok_or("credential.kopiaServerSecret is missing")?;
    let read = |part: &Option<KopiaServerSecretRef>, place: &str| {
        let part = part.as_ref().ok_or(format!("{place} is missing"))?;
        let reference = part.secret.as_ref().ok_or(format!("{place}.secret is missing"))?;
        needed(&secret(reference)?, &reference.name, &part.key, &format!("{place}.key"))
    };
    Ok(KopiaServerJson {
        username: kopia.username.clone(),
        hostname: kopia.hostname.clone(),
        password: read(&kopia.user_passphrase, "credential.kopiaServerSecret.userPassphrase")?.into(),
        cert: read(&kopia.tls_cert, "credential.kopiaServerSecret.tlsCert")?,
        connect_options: kopia.connect_options.clone(),
    })
}

fn needed(secret: &Json, name: &str, field: &str, place: &str) -> Result<String, String> {
    text(secret, name, field, place)?
        .ok_or_else(|| format!("{place}: secret {name:?} has no field {field:?}"))
}

/// A field of a Secret as text, if it has that field. `name` is the Secret's, `place` where it was named.
///
/// # Errors
/// What stands there is no base64 of a text.
pub fn text(secret: &Json, name: &str, field: &str, place: &str) -> Result<Option<String>, String> {
    let Some(coded) = secret["data"][field].as_str() else { return Ok(None) };
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(coded)
        .map_err(|_| format!("{place}: field {field:?} of secret {name:?} is no base64"))?;
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|_| format!("{place}: field {field:?} of secret {name:?} is no text"))
}

/// A typed Secret holds only what its type knows.
fn typed(secret: &Json, name: &str) -> Result<(), String> {
    let kind = secret["type"].as_str().unwrap_or_default();
    let Some((_, keys)) = TYPED_SECRETS.iter().find(|(known, _)| *known == kind) else {
        let known = TYPED_SECRETS.map(|(known, _)| known).join(", ");
        return Err(format!("credential.secret: secret {name:?} is of type {kind:?}; wanted one of {known}"));
    };
    let fields = secret["data"].as_object().into_iter().flat_map(|data| data.keys());
    match fields.into_iter().find(|field| !keys.contains(&field.as_str())) {
        Some(field) => Err(format!(
            "credential.secret: secret {name:?} has a field {field:?} that {kind} does not know; it knows {}",
            keys.join(", ")
        )),
        None => Ok(()),
    }
}
