//! The profile as a pod is given it: `{{ toJson .Profile }}` in a blueprint, `--profile` of kando.
//!
//! Unlike the resource it holds the secrets themselves. Written with the letter case of Go's field names
//! (existing images hold programs that parse it), read in any letter case.

use super::{field, go_json, kind_of};
use crate::{CredentialType, Location, LocationType, Object, Sensitive};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// The one key of the object that stands for a profile kept in a file: `{"cistern.dev/profile-file": "/path"}`.
///
/// A runner renders `.Profile` like this where the JSON would end in an argument list, which every process
/// of the machine can read.
pub const PROFILE_FILE: &str = "cistern.dev/profile-file";

/// The key of a profile in a file under which a [`RepositoryJson`] stands.
pub const REPOSITORY: &str = "cistern.dev/repository";

/// What leads to a repository and opens it, beside the profile in a profile's file. Kanister's programs pass
/// over it.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct RepositoryJson {
    /// Where it is, as `cistern --repo` takes it; empty: where the profile leads.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub location: String,
    /// A credential of the repository; empty is none.
    #[serde(skip_serializing_if = "Sensitive::is_empty")]
    pub key: Sensitive,
    /// A passphrase of the repository; empty is none.
    #[serde(skip_serializing_if = "Sensitive::is_empty")]
    pub passphrase: Sensitive,
}

impl RepositoryJson {
    /// What stands beside the profile in a file; `None` where nothing does.
    ///
    /// # Errors
    /// No JSON, or a field that is no text.
    pub fn beside(profile: &str) -> Result<Option<Self>, ProfileJsonError> {
        let object = parse_object(profile)?;
        let Some(fields) = Fields::root(&object).object(REPOSITORY)? else { return Ok(None) };
        Ok(Some(Self {
            location: fields.text("location")?,
            key: fields.text("key")?.into(),
            passphrase: fields.text("passphrase")?.into(),
        }))
    }
}

/// Where backups go, and what opens the place.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProfileJson {
    /// The place.
    pub location: Location,
    /// What opens it.
    pub credential: CredentialJson,
    /// Whether the server's certificate goes unchecked.
    #[serde(rename = "SkipSSLVerify")]
    pub skip_ssl_verify: bool,
}

/// The credential that counts is the one `kind` names; the others are `None`.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CredentialJson {
    /// Which of the three below counts.
    #[serde(rename = "Type")]
    pub kind: CredentialType,
    /// Identity and key.
    pub key_pair: Option<KeyPairJson>,
    /// A Secret of one of Kanister's types.
    pub secret: Option<TypedSecret>,
    /// Access to a kopia repository server.
    pub kopia_server_secret: Option<KopiaServerJson>,
}

/// Identity and key: S3 access key and secret key, GCS project and service-account JSON, Azure storage
/// account and its key.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct KeyPairJson {
    /// The identity.
    #[serde(rename = "ID")]
    pub id: String,
    /// The key.
    #[serde(rename = "Secret")]
    pub secret: Sensitive,
}

/// Access to a kopia repository server.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KopiaServerJson {
    /// User at the server.
    pub username: String,
    /// Host name the user is registered with.
    pub hostname: String,
    /// The user's passphrase.
    pub password: Sensitive,
    /// The server's certificate, PEM.
    pub cert: String,
    /// Cache sizes and the like.
    pub connect_options: BTreeMap<String, i64>,
}

/// A Kubernetes Secret as it stands in a profile.
#[derive(Clone, Default, PartialEq)]
pub struct TypedSecret {
    /// Name of the Secret.
    pub name: String,
    /// Namespace of the Secret.
    pub namespace: String,
    /// Its type, such as `secrets.kanister.io/aws`.
    pub kind: String,
    /// Its fields.
    pub data: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

impl TypedSecret {
    /// A field as text; `None` where it is missing or no text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.data.get(name).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }
}

impl std::fmt::Debug for TypedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fields: Vec<&String> = self.data.keys().collect();
        f.debug_struct("TypedSecret")
            .field("name", &self.name)
            .field("namespace", &self.namespace)
            .field("kind", &self.kind)
            .field("fields", &fields)
            .finish()
    }
}

impl Serialize for TypedSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let metadata = Metadata { name: &self.name, namespace: &self.namespace, creation_timestamp: None };
        let data: BTreeMap<&str, String> =
            self.data.iter().map(|(name, bytes)| (name.as_str(), BASE64_STANDARD.encode(&**bytes))).collect();
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("metadata", &metadata)?;
        map.serialize_entry("data", &data)?;
        map.serialize_entry("type", &self.kind)?;
        map.end()
    }
}

/// The part of a Secret's metadata that is written, in Go's order.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    creation_timestamp: Option<()>,
}

/// Why a text is no profile. Names the field, never what stands in it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProfileJsonError {
    /// Not JSON at all.
    #[error(
        "cannot read the profile: not JSON ({problem}); in a shell it stands in single quotes: --profile '{{{{ toJson .Profile }}}}', and a ' inside a value breaks them"
    )]
    NotJson {
        /// What the JSON parser says, with line and column.
        problem: String,
    },
    /// `null`, which is what a template makes of a profile that is not there.
    #[error(
        "cannot read the profile: it is null: the action was started without one; name it with --profile of kanctl"
    )]
    Missing,
    /// A field has the wrong shape.
    #[error("cannot read the profile: field `{field}` {problem}")]
    Field {
        /// Path of the field, such as `Credential.KeyPair.Secret`.
        field: String,
        /// What was expected and what stands there.
        problem: String,
    },
}

/// What may be said where a profile is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum ProfileArgument {
    /// The profile itself.
    Inline(Box<ProfileJson>),
    /// A file that holds it: `@/path` or `{"cistern.dev/profile-file": "/path"}`.
    File(PathBuf),
}

impl ProfileArgument {
    /// Tells a profile from a reference to a file with one.
    pub fn parse(text: &str) -> Result<Self, ProfileJsonError> {
        if let Some(path) = text.strip_prefix('@') {
            return Ok(Self::File(path.into()));
        }
        let object = parse_object(text)?;
        match object.get(PROFILE_FILE) {
            Some(Value::String(path)) => Ok(Self::File(path.into())),
            Some(other) => Err(Fields::root(&object).wrong(PROFILE_FILE, "must be a path", other)),
            None => ProfileJson::from_object(&object).map(|profile| Self::Inline(Box::new(profile))),
        }
    }

    /// The JSON that refers to a file, as a runner renders it.
    pub fn file_reference(path: &str) -> Value {
        serde_json::json!({ PROFILE_FILE: path })
    }
}

impl ProfileJson {
    /// Reads a profile as Go would: keys in any letter case, unknown ones passed over, missing ones empty.
    pub fn parse(text: &str) -> Result<Self, ProfileJsonError> {
        Self::from_object(&parse_object(text)?)
    }

    /// The JSON as Go writes it.
    pub fn to_json(&self) -> String {
        go_json(self).expect("texts, numbers and maps of texts are always JSON")
    }

    fn from_object(object: &Object) -> Result<Self, ProfileJsonError> {
        let root = Fields::root(object);
        let location = match root.object("Location")? {
            Some(place) => location(&place)?,
            None => Location::default(),
        };
        let credential = match root.object("Credential")? {
            Some(fields) => credential(&fields)?,
            None => CredentialJson::default(),
        };
        Ok(Self { location, credential, skip_ssl_verify: root.flag("SkipSSLVerify")? })
    }
}

fn parse_object(text: &str) -> Result<Object, ProfileJsonError> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::Null) => Err(ProfileJsonError::Missing),
        Ok(other) => Err(ProfileJsonError::NotJson {
            problem: format!("expected an object, found {}", kind_of(&other)),
        }),
        Err(e) => Err(ProfileJsonError::NotJson { problem: e.to_string() }),
    }
}

fn location(fields: &Fields<'_>) -> Result<Location, ProfileJsonError> {
    Ok(Location {
        kind: LocationType::from(fields.text("type")?),
        bucket: fields.text("bucket")?,
        endpoint: fields.text("endpoint")?,
        prefix: fields.text("prefix")?,
        region: fields.text("region")?,
    })
}

fn credential(fields: &Fields<'_>) -> Result<CredentialJson, ProfileJsonError> {
    let key_pair = match fields.object("KeyPair")? {
        Some(pair) => Some(KeyPairJson { id: pair.text("ID")?, secret: pair.text("Secret")?.into() }),
        None => None,
    };
    Ok(CredentialJson {
        kind: CredentialType::from(fields.text("Type")?),
        key_pair,
        secret: fields.object("Secret")?.map(|secret| typed_secret(&secret)).transpose()?,
        kopia_server_secret: fields
            .object("KopiaServerSecret")?
            .map(|server| kopia_server(&server))
            .transpose()?,
    })
}

fn typed_secret(fields: &Fields<'_>) -> Result<TypedSecret, ProfileJsonError> {
    let (name, namespace) = match fields.object("metadata")? {
        Some(metadata) => (metadata.text("name")?, metadata.text("namespace")?),
        None => Default::default(),
    };
    let mut data = BTreeMap::new();
    if let Some(encoded) = fields.object("data")? {
        // Here the keys are the Secret's own: their letter case counts.
        for (key, value) in encoded.object {
            let Value::String(text) = value else {
                return Err(encoded.wrong(key, "must be base64 in a string", value));
            };
            let bytes =
                BASE64_STANDARD.decode(text).map_err(|_| encoded.error(key, "is not base64".to_owned()))?;
            data.insert(key.clone(), Zeroizing::new(bytes));
        }
    }
    Ok(TypedSecret { name, namespace, kind: fields.text("type")?, data })
}

fn kopia_server(fields: &Fields<'_>) -> Result<KopiaServerJson, ProfileJsonError> {
    let mut connect_options = BTreeMap::new();
    if let Some(options) = fields.object("ConnectOptions")? {
        for (key, value) in options.object {
            let number = value.as_i64().ok_or_else(|| options.wrong(key, "must be a whole number", value))?;
            connect_options.insert(key.clone(), number);
        }
    }
    Ok(KopiaServerJson {
        username: fields.text("Username")?,
        hostname: fields.text("Hostname")?,
        password: fields.text("Password")?.into(),
        cert: fields.text("Cert")?,
        connect_options,
    })
}

/// An object of the profile, with its path for messages.
struct Fields<'a> {
    path: String,
    object: &'a Object,
}

impl<'a> Fields<'a> {
    fn root(object: &'a Object) -> Self {
        Self { path: String::new(), object }
    }

    fn text(&self, name: &str) -> Result<String, ProfileJsonError> {
        match field(self.object, name) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(self.wrong(name, "must be a string", other)),
        }
    }

    fn flag(&self, name: &str) -> Result<bool, ProfileJsonError> {
        match field(self.object, name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.wrong(name, "must be true or false", other)),
        }
    }

    fn object(&self, name: &str) -> Result<Option<Fields<'a>>, ProfileJsonError> {
        match field(self.object, name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Fields { path: self.path_of(name), object })),
            Some(other) => Err(self.wrong(name, "must be an object", other)),
        }
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn wrong(&self, name: &str, expected: &str, found: &Value) -> ProfileJsonError {
        self.error(name, format!("{expected}, but {} stands there", kind_of(found)))
    }

    fn error(&self, name: &str, problem: String) -> ProfileJsonError {
        ProfileJsonError::Field { field: self.path_of(name), problem }
    }
}

#[cfg(test)]
mod tests;
