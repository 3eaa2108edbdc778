//! Profile: where backups go and which secrets open that place. References only, no secret itself.
//!
//! There is no `spec`: `location` and `credential` stand beside `metadata`.

use crate::reference::ObjectReference;
use crate::resource::{Constant, KanisterV1Alpha1, resource};
use crate::{Object, null};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where backups go, and the credential for it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// Always `cr.kanister.io/v1alpha1`.
    #[serde(default)]
    pub api_version: Constant<KanisterV1Alpha1>,
    /// Always `Profile`.
    #[serde(default)]
    pub kind: Constant<ProfileKind>,
    /// Name, namespace, labels.
    #[serde(default)]
    #[schemars(with = "Object")]
    pub metadata: ObjectMeta,
    /// The place.
    #[serde(default, deserialize_with = "null::as_default")]
    pub location: Location,
    /// What opens it.
    #[serde(default, deserialize_with = "null::as_default")]
    pub credential: Credential,
    /// Whether the server's certificate goes unchecked.
    #[serde(default, rename = "skipSSLVerify", deserialize_with = "null::as_default")]
    pub skip_ssl_verify: bool,
}

resource!(Profile, ProfileKind, "profiles");

/// A bucket or container, and the prefix of all keys in it.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Location {
    /// Kind of place.
    #[serde(default, rename = "type", deserialize_with = "null::as_default")]
    pub kind: LocationType,
    /// Bucket (S3, GCS) or container (Azure).
    #[serde(default, deserialize_with = "null::as_default")]
    pub bucket: String,
    /// URL of the service, where it is not the provider's own; for `kopia` that of the server.
    #[serde(default, deserialize_with = "null::as_default")]
    pub endpoint: String,
    /// Put in front of every key.
    #[serde(default, deserialize_with = "null::as_default")]
    pub prefix: String,
    /// Region of the bucket.
    #[serde(default, deserialize_with = "null::as_default")]
    pub region: String,
}

/// Kind of place a profile points at. A word Kanister does not know is kept as it is.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(with = "String")]
#[serde(from = "String", into = "String")]
pub enum LocationType {
    /// S3 and what speaks like it.
    S3Compliant,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
    /// A kopia repository server.
    Kopia,
    /// Nothing said.
    #[default]
    Unset,
    /// A word that is none of the above.
    Other(String),
}

impl LocationType {
    /// The word as profiles spell it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::S3Compliant => "s3Compliant",
            Self::Gcs => "gcs",
            Self::Azure => "azure",
            Self::Kopia => "kopia",
            Self::Unset => "",
            Self::Other(word) => word,
        }
    }
}

impl From<String> for LocationType {
    fn from(word: String) -> Self {
        match word.as_str() {
            "s3Compliant" => Self::S3Compliant,
            "gcs" => Self::Gcs,
            "azure" => Self::Azure,
            "kopia" => Self::Kopia,
            "" => Self::Unset,
            _ => Self::Other(word),
        }
    }
}

impl From<LocationType> for String {
    fn from(kind: LocationType) -> Self {
        kind.as_str().to_owned()
    }
}

/// Which of the credentials below counts.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(with = "String")]
#[serde(from = "String", into = "String")]
pub enum CredentialType {
    /// Two fields of a Secret: identity and key.
    KeyPair,
    /// A Secret of one of Kanister's types.
    Secret,
    /// Access to a kopia repository server.
    Kopia,
    /// Nothing said.
    #[default]
    Unset,
    /// A word that is none of the above.
    Other(String),
}

impl CredentialType {
    /// The word as profiles spell it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::KeyPair => "keyPair",
            Self::Secret => "secret",
            Self::Kopia => "kopia",
            Self::Unset => "",
            Self::Other(word) => word,
        }
    }
}

impl From<String> for CredentialType {
    fn from(word: String) -> Self {
        match word.as_str() {
            "keyPair" => Self::KeyPair,
            "secret" => Self::Secret,
            "kopia" => Self::Kopia,
            "" => Self::Unset,
            _ => Self::Other(word),
        }
    }
}

impl From<CredentialType> for String {
    fn from(kind: CredentialType) -> Self {
        kind.as_str().to_owned()
    }
}

/// What opens a location: references to Secrets.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Credential {
    /// Which of the three below counts.
    #[serde(default, rename = "type", deserialize_with = "null::as_default")]
    pub kind: CredentialType,
    /// Identity and key in two fields of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_pair: Option<KeyPair>,
    /// A Secret of one of Kanister's types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<ObjectReference>,
    /// Access to a kopia repository server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kopia_server_secret: Option<KopiaServerSecret>,
}

/// Which fields of which Secret hold identity and key.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyPair {
    /// Field of the identity: access key, project or storage account.
    #[serde(default, deserialize_with = "null::as_default")]
    pub id_field: String,
    /// Field of the key.
    #[serde(default, deserialize_with = "null::as_default")]
    pub secret_field: String,
    /// The Secret.
    #[serde(default, deserialize_with = "null::as_default")]
    pub secret: ObjectReference,
}

/// Access to a kopia repository server.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct KopiaServerSecret {
    /// User at the server.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// Host name the user is registered with.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// The user's passphrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_passphrase: Option<KopiaServerSecretRef>,
    /// The server's certificate, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<KopiaServerSecretRef>,
    /// Cache sizes and the like.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub connect_options: BTreeMap<String, i64>,
}

/// One field of a Secret.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct KopiaServerSecretRef {
    /// The field.
    #[serde(default, deserialize_with = "null::as_default")]
    pub key: String,
    /// The Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<ObjectReference>,
}
