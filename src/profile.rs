//! The configuration file: named profiles of where repositories are and how they are opened.
//!
//! ```toml
//! profile = "prod"                      # used when none is named; otherwise `default`
//!
//! [profiles.prod]
//! repository = "s3://backups/db"
//! key_file = "/etc/cistern/prod.key"    # or key_env, key_command, passphrase_file, …_env, …_command
//! host = "db1"                          # instead of the machine's name
//! tags = ["prod"]
//! session_keys = "/var/lib/cistern"     # where a push credential keeps the keys of its own pushes
//!
//! [profiles.prod.store]                 # every option of the store, by its name
//! endpoint = "https://minio.example:9000"
//! access_key_id = "backup"
//! secret_access_key = { file = "/run/secrets/s3" }    # or { env = "…" }, { command = "…" }
//! ```

use crate::failure::Failure;
use crate::secret::SecretSource;
use cistern_store::Options;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::{Spanned, Table, Value};

/// Store options that are secrets: their values are never in the file itself.
const SECRETS: &[&str] = &[
    "secret_access_key",
    "session_token",
    "service_account_key",
    "access_token",
    "account_key",
    "sas_token",
    "client_secret",
    "proxy",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    profile: Option<String>,
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

/// One profile, as written; every field may be absent.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Profile {
    /// Where the repository is.
    pub repository: Option<String>,
    key_file: Option<PathBuf>,
    key_env: Option<String>,
    key_command: Option<String>,
    passphrase_file: Option<PathBuf>,
    passphrase_env: Option<String>,
    passphrase_command: Option<String>,
    /// Name of the machine in snapshots.
    pub host: Option<String>,
    /// Tags of every push.
    pub tags: Vec<String>,
    /// Directory where the keys of this machine's own pushes are kept.
    pub session_keys: Option<PathBuf>,
    store: BTreeMap<Spanned<String>, Value>,
}

impl Profile {
    /// Reads a profile of the file at `path`; of an absent file, when `required` does not say otherwise, an
    /// empty one.
    ///
    /// # Errors
    /// Unknown keys and wrong values, with file and line; a profile that is named and not there.
    pub async fn read(
        path: &Path,
        required: bool,
        name: Option<&str>,
    ) -> Result<(Profile, Options), Failure> {
        let shown = path.display();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !required && name.is_none() => {
                return Ok((Profile::default(), Options::default()));
            }
            Err(e) => return Err(Failure::usage(format!("cannot read the configuration {shown}: {e}"))),
        };
        let mut file: ConfigFile = toml::from_str(&text).map_err(|e| wrong(path, &text, &e))?;
        let chosen = name.or(file.profile.as_deref()).unwrap_or("default").to_owned();
        let Some(profile) = file.profiles.remove(&chosen) else {
            if name.is_none() && file.profile.is_none() {
                return Ok((Profile::default(), Options::default()));
            }
            let known: Vec<String> = file.profiles.into_keys().collect();
            let message = format!("there is no profile `{chosen}` in {shown}");
            return Err(Failure::usage(message).hint(format!("it has: {}", known.join(", "))));
        };
        let options = store_options(&profile.store, path, &text).await?;
        Ok((profile, options))
    }

    /// Where the key is.
    pub fn key(&self) -> Option<SecretSource> {
        first(&self.key_file, &self.key_env, &self.key_command)
    }

    /// Where the passphrase is.
    pub fn passphrase(&self) -> Option<SecretSource> {
        first(&self.passphrase_file, &self.passphrase_env, &self.passphrase_command)
    }
}

fn first(
    file: &Option<PathBuf>,
    variable: &Option<String>,
    command: &Option<String>,
) -> Option<SecretSource> {
    let file = file.clone().map(SecretSource::File);
    let variable = || variable.clone().map(SecretSource::Variable);
    file.or_else(variable).or_else(|| command.clone().map(SecretSource::Command))
}

/// The store's options, one key after the other, so that a wrong one can be shown with its line.
async fn store_options(
    written: &BTreeMap<Spanned<String>, Value>,
    path: &Path,
    text: &str,
) -> Result<Options, Failure> {
    let mut all = Table::new();
    for (key, value) in written {
        let name = key.get_ref();
        let at = |why: &str| at_line(path, text, key.span().start, why);
        let value = if SECRETS.contains(&name.as_str()) {
            let Some(source) = secret_source(value) else {
                let why =
                    format!("`{name}` is a secret: write {{ file = … }}, {{ env = … }} or {{ command = … }}");
                return Err(at(&why));
            };
            Value::String(source.read(name).await?.reveal().to_owned())
        } else {
            value.clone()
        };
        let alone = Table::from_iter([(name.clone(), value.clone())]);
        alone.try_into::<Options>().map_err(|e| at(e.message()))?;
        all.insert(name.clone(), value);
    }
    all.try_into()
        .map_err(|e| Failure::usage(format!("cannot understand {}: {}", path.display(), e.message())))
}

fn secret_source(value: &Value) -> Option<SecretSource> {
    let table = value.as_table().filter(|t| t.len() == 1)?;
    let (kind, place) = table.iter().next()?;
    let place = place.as_str()?.to_owned();
    match kind.as_str() {
        "file" => Some(SecretSource::File(place.into())),
        "env" => Some(SecretSource::Variable(place)),
        "command" => Some(SecretSource::Command(place)),
        _ => None,
    }
}

fn wrong(path: &Path, text: &str, error: &toml::de::Error) -> Failure {
    // Not the library's own message: it repeats the line, which may hold a secret.
    at_line(path, text, error.span().map_or(0, |s| s.start), error.message())
}

fn at_line(path: &Path, text: &str, offset: usize, why: &str) -> Failure {
    let line = text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1;
    Failure::usage(format!("cannot understand {}, line {line}: {why}", path.display()))
}
