//! A profile as kando is given it → where the location is and how it is reached.
//!
//! Fields and secret types are Kanister's (`docs/kanister-compatibility.md`); every complaint names the field
//! and repeats no value.

use crate::error::Error;
use crate::path::clean;
use cistern_api::wire::{CredentialJson, KeyPairJson, ProfileJson, TypedSecret};
use cistern_api::{CredentialType, LocationType};
use cistern_store::{Cloud, Options, Secret};

/// Types of secrets, and the fields each may have.
const AWS: &str = "secrets.kanister.io/aws";
const AZURE: &str = "secrets.kanister.io/azure";
const GCP: &str = "secrets.kanister.io/gcp";

/// Azure's clouds by the names of its tools, and where their blobs are.
const AZURE_CLOUDS: &[(&str, &str)] = &[
    ("AzurePublicCloud", "blob.core.windows.net"),
    ("AzureUSGovernmentCloud", "blob.core.usgovcloudapi.net"),
    ("AzureChinaCloud", "blob.core.chinacloudapi.cn"),
    ("AzureGermanCloud", "blob.core.cloudapi.de"),
];

/// What a profile points at.
#[derive(Clone, Debug)]
pub enum Place {
    /// A bucket or container: plain objects below the prefix, or a repository there.
    Bucket {
        /// Whose protocol it speaks.
        cloud: Cloud,
        /// Name of the bucket or container.
        bucket: String,
        /// Above every path; without slashes at the ends; may be empty.
        prefix: String,
        /// Endpoint, credentials, TLS.
        options: Box<Options>,
    },
    /// A profile of the type `kopia` whose endpoint is a Cistern repository.
    Repository {
        /// As `cistern --repo` takes it; empty when the profile leaves it open.
        location: String,
        /// What opens it.
        passphrase: Option<Secret>,
    },
}

impl Place {
    /// Reads a profile. `sas_token` is what the environment says beside it, for Azure's federated identity.
    ///
    /// # Errors
    /// [`Error::Profile`] with the field that is missing or wrong.
    pub fn of(profile: &ProfileJson, sas_token: Option<Secret>) -> Result<Place, Error> {
        let cloud = match &profile.location.kind {
            LocationType::S3Compliant => Cloud::S3,
            LocationType::Gcs => Cloud::Gcs,
            LocationType::Azure => Cloud::Azure,
            LocationType::Kopia => return kopia(profile),
            LocationType::Unset => {
                return Err(wrong("Location.type", "is missing: s3Compliant, gcs, azure or kopia"));
            }
            LocationType::Other(_) => {
                return Err(wrong("Location.type", "is none of s3Compliant, gcs, azure and kopia"));
            }
        };
        let place = &profile.location;
        if place.bucket.is_empty() {
            return Err(wrong("Location.bucket", "is missing"));
        }
        if place.bucket.contains(['/', '?', '#', '@', ':']) {
            return Err(wrong("Location.bucket", "is no name of a bucket"));
        }
        let climbs = || wrong("Location.prefix", "climbs above the bucket with `..`");
        let prefix = clean(&place.prefix).ok_or_else(climbs)?;
        let base = Options {
            endpoint: given(&place.endpoint),
            region: given(&place.region),
            skip_verify: profile.skip_ssl_verify,
            ..Options::default()
        };
        let options = match cloud {
            Cloud::S3 => s3(base, &profile.credential)?,
            Cloud::Gcs => gcs(base, &profile.credential)?,
            Cloud::Azure => azure(base, &profile.credential, sas_token)?,
        };
        Ok(Place::Bucket { cloud, bucket: place.bucket.clone(), prefix, options: Box::new(options) })
    }
}

fn wrong(field: &'static str, why: impl Into<String>) -> Error {
    Error::Profile { field: field.into(), why: why.into() }
}

fn given(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// A repository's address where a kopia server's would be, and its passphrase where the user's would be.
fn kopia(profile: &ProfileJson) -> Result<Place, Error> {
    let endpoint = &profile.location.endpoint;
    if endpoint.starts_with("https://") || endpoint.starts_with("http://") {
        let why = "is a kopia server, which Cistern does not speak with: name a Cistern repository instead, \
                   such as s3://bucket/prefix, and its passphrase as the password";
        return Err(wrong("Location.endpoint", why));
    }
    let server = profile.credential.kopia_server_secret.as_ref();
    let password = server.map(|server| server.password.reveal()).filter(|password| !password.is_empty());
    Ok(Place::Repository { location: endpoint.clone(), passphrase: password.map(secret) })
}

/// The key pair, or the typed secret of the type that belongs to the cloud.
enum Held<'p> {
    Pair(&'p KeyPairJson),
    Typed(&'p TypedSecret),
}

fn held<'p>(credential: &'p CredentialJson, kind: &'static str) -> Result<Held<'p>, Error> {
    match &credential.kind {
        CredentialType::KeyPair => {
            let pair = credential.key_pair.as_ref();
            pair.map(Held::Pair).ok_or_else(|| wrong("Credential.KeyPair", "is missing"))
        }
        CredentialType::Secret => {
            let typed = credential.secret.as_ref().ok_or_else(|| wrong("Credential.Secret", "is missing"))?;
            if typed.kind != kind {
                return Err(wrong(
                    "Credential.Secret.type",
                    format!("is not {kind}, as this location needs"),
                ));
            }
            Ok(Held::Typed(typed))
        }
        CredentialType::Kopia => {
            Err(wrong("Credential.Type", "is kopia, which goes with a location of type kopia"))
        }
        CredentialType::Unset => Err(wrong("Credential.Type", "is missing: keyPair or secret")),
        CredentialType::Other(_) => Err(wrong("Credential.Type", "is none of keyPair, secret and kopia")),
    }
}

/// A field of a typed secret; `None` where it is missing or empty.
fn field(typed: &TypedSecret, name: &'static str) -> Result<Option<String>, Error> {
    match typed.data.contains_key(name) {
        false => Ok(None),
        true => match typed.text(name) {
            Some(text) => Ok(given(text)),
            None => Err(Error::Profile {
                field: format!("Credential.Secret.data.{name}").into(),
                why: "is no text".to_owned(),
            }),
        },
    }
}

fn needed(found: Option<String>, name: &str) -> Result<String, Error> {
    found.ok_or_else(|| Error::Profile {
        field: format!("Credential.Secret.data.{name}").into(),
        why: "is missing".to_owned(),
    })
}

fn pair_needs(pair: &KeyPairJson) -> Result<(), Error> {
    if pair.id.is_empty() {
        return Err(wrong("Credential.KeyPair.ID", "is missing"));
    }
    if pair.secret.is_empty() {
        return Err(wrong("Credential.KeyPair.Secret", "is missing"));
    }
    Ok(())
}

fn s3(base: Options, credential: &CredentialJson) -> Result<Options, Error> {
    match held(credential, AWS)? {
        Held::Pair(pair) => {
            pair_needs(pair)?;
            let (id, key) = (pair.id.clone(), secret(pair.secret.reveal()));
            Ok(Options { access_key_id: Some(id), secret_access_key: Some(key), ..base })
        }
        Held::Typed(typed) => {
            let id = field(typed, "aws_access_key_id")?;
            let key = field(typed, "aws_secret_access_key")?;
            if id.is_some() != key.is_some() {
                let missing = if id.is_some() { "aws_secret_access_key" } else { "aws_access_key_id" };
                needed(None, missing)?;
            }
            Ok(Options {
                access_key_id: id,
                secret_access_key: key.map(Secret::new),
                assume_role_arn: field(typed, "role")?,
                ..base
            })
        }
    }
}

fn gcs(base: Options, credential: &CredentialJson) -> Result<Options, Error> {
    let key = match held(credential, GCP)? {
        Held::Pair(pair) if pair.secret.is_empty() => {
            return Err(wrong("Credential.KeyPair.Secret", "is missing"));
        }
        Held::Pair(pair) => secret(pair.secret.reveal()),
        Held::Typed(typed) => {
            let name = "service-account.json";
            Secret::new(needed(field(typed, name)?, name)?)
        }
    };
    Ok(Options { service_account_key: Some(key), ..base })
}

fn azure(base: Options, credential: &CredentialJson, sas_token: Option<Secret>) -> Result<Options, Error> {
    let typed = match held(credential, AZURE)? {
        Held::Pair(pair) => {
            pair_needs(pair)?;
            let (account, key) = (pair.id.clone(), secret(pair.secret.reveal()));
            return Ok(Options { account: Some(account), account_key: Some(key), ..base });
        }
        Held::Typed(typed) => typed,
    };
    let name = "azure_storage_account_id";
    let account = needed(field(typed, name)?, name)?;
    let cloud = field(typed, "azure_storage_environment")?;
    let endpoint = match (&base.endpoint, cloud) {
        (Some(endpoint), _) => Some(endpoint.clone()),
        (None, None) => None,
        (None, Some(cloud)) => Some(azure_endpoint(&account, &cloud)?),
    };
    let base = Options { account: Some(account), endpoint, ..base };
    if field(typed, "azure_federated_identity")?.as_deref() == Some("true") {
        let why = "is true, which takes a token in the file AZURE_SAS_TOKEN_FILE names";
        let token = sas_token.ok_or_else(|| wrong("Credential.Secret.data.azure_federated_identity", why))?;
        return Ok(Options { sas_token: Some(token), ..base });
    }
    let name = "azure_storage_key";
    let key = Secret::new(needed(field(typed, name)?, name)?);
    Ok(Options { account_key: Some(key), ..base })
}

fn azure_endpoint(account: &str, cloud: &str) -> Result<String, Error> {
    let known = AZURE_CLOUDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(cloud));
    let (_, suffix) = known.ok_or_else(|| {
        let names: Vec<&str> = AZURE_CLOUDS.iter().map(|(name, _)| *name).collect();
        let why = format!("is none of {}", names.join(", "));
        wrong("Credential.Secret.data.azure_storage_environment", why)
    })?;
    Ok(format!("https://{account}.{suffix}"))
}

#[cfg(test)]
mod tests;
