//! The three clouds of `kanctl create profile`: their flags, and what of them goes into a Secret.

use crate::failure::Failure;
use crate::secret::SecretSource;
use cistern_api::{LocationType, Sensitive};
use clap::Subcommand;
use std::path::PathBuf;

/// The cloud, and the account there.
#[derive(Subcommand)]
pub enum Cloud {
    /// S3 and what speaks like it
    S3compliant(S3),
    /// Google Cloud Storage
    Gcp(Gcp),
    /// Azure Blob Storage
    Azure(Azure),
}

/// An account of S3.
#[derive(clap::Args)]
pub struct S3 {
    /// Access key
    #[arg(long, short, value_name = "KEY")]
    access_key: String,
    /// Secret key; seen by everybody on this machine while the command runs
    #[arg(long, short, value_name = "KEY", group = "s3_secret")]
    secret_key: Option<String>,
    /// File that holds the secret key
    #[arg(long, value_name = "FILE", group = "s3_secret")]
    secret_key_file: Option<PathBuf>,
    /// Environment variable that holds the secret key
    #[arg(long, value_name = "NAME", group = "s3_secret")]
    secret_key_env: Option<String>,
    /// Role to assume
    #[arg(long, short = 'R', value_name = "ARN")]
    role: Option<String>,
}

/// An account of Google Cloud.
#[derive(clap::Args)]
pub struct Gcp {
    /// Project
    #[arg(long, short = 'a', value_name = "ID")]
    project_id: String,
    /// File with the JSON of a service account's key
    #[arg(long, short, value_name = "FILE")]
    service_key: PathBuf,
}

/// An account of Azure.
#[derive(clap::Args)]
pub struct Azure {
    /// Storage account
    #[arg(long, short = 'a', value_name = "NAME")]
    storage_account: String,
    /// Key of the account; seen by everybody on this machine while the command runs
    #[arg(long, short, value_name = "KEY", group = "azure_secret")]
    storage_key: Option<String>,
    /// File that holds the key
    #[arg(long, value_name = "FILE", group = "azure_secret")]
    storage_key_file: Option<PathBuf>,
    /// Environment variable that holds the key
    #[arg(long, value_name = "NAME", group = "azure_secret")]
    storage_key_env: Option<String>,
    /// Which Azure cloud, such as AzureUSGovernmentCloud
    #[arg(long, value_name = "NAME")]
    storage_env: Option<String>,
}

/// What the flags come to.
pub struct Account {
    /// Kind of place.
    pub location: LocationType,
    /// Beginning of both objects' names.
    pub short: &'static str,
    /// Type of the Secret.
    pub secret_type: &'static str,
    /// Fields of the Secret.
    pub fields: Vec<(&'static str, Sensitive)>,
    /// Fields of identity and key, where the credential is a key pair; else it is the Secret as a whole.
    pub key_pair: Option<(&'static str, &'static str)>,
}

/// A Secret of which Kubernetes knows nothing.
const OPAQUE: &str = "Opaque";

impl Cloud {
    /// Reads the secrets and puts together what the flags say.
    pub async fn account(&self) -> Result<Account, Failure> {
        match self {
            Cloud::S3compliant(s3) => s3.account().await,
            Cloud::Gcp(gcp) => gcp.account().await,
            Cloud::Azure(azure) => azure.account().await,
        }
    }
}

impl S3 {
    async fn account(&self) -> Result<Account, Failure> {
        let secret =
            secret("secret-key", &self.secret_key, &self.secret_key_file, &self.secret_key_env).await?;
        let (id, key) = ("aws_access_key_id", "aws_secret_access_key");
        let role = self.role.as_deref().unwrap_or_default();
        Ok(Account {
            location: LocationType::S3Compliant,
            short: "s3",
            secret_type: if role.is_empty() { OPAQUE } else { "secrets.kanister.io/aws" },
            fields: vec![(id, self.access_key.as_str().into()), (key, secret), ("role", role.into())],
            key_pair: role.is_empty().then_some((id, key)),
        })
    }
}

impl Gcp {
    async fn account(&self) -> Result<Account, Failure> {
        let key = SecretSource::File(self.service_key.clone()).read("service account's key").await?;
        if serde_json::from_str::<serde_json::Value>(key.reveal()).is_err() {
            let path = self.service_key.display();
            return Err(Failure::usage(format!("cannot take --service-key {path}: the file holds no JSON")));
        }
        let (id, secret) = ("gcp_project_id", "gcp_service_key");
        Ok(Account {
            location: LocationType::Gcs,
            short: "gcp",
            secret_type: OPAQUE,
            fields: vec![(id, self.project_id.as_str().into()), (secret, key.reveal().into())],
            key_pair: Some((id, secret)),
        })
    }
}

impl Azure {
    async fn account(&self) -> Result<Account, Failure> {
        let key =
            secret("storage-key", &self.storage_key, &self.storage_key_file, &self.storage_key_env).await?;
        let (id, secret) = ("azure_storage_account_id", "azure_storage_key");
        let environment = self.storage_env.as_deref().unwrap_or_default();
        Ok(Account {
            location: LocationType::Azure,
            short: "azure",
            // Kanister leaves the type out here, and then refuses the profile.
            secret_type: if environment.is_empty() { OPAQUE } else { "secrets.kanister.io/azure" },
            fields: vec![
                (id, self.storage_account.as_str().into()),
                (secret, key),
                ("azure_storage_environment", environment.into()),
            ],
            key_pair: environment.is_empty().then_some((id, secret)),
        })
    }
}

/// A secret from the flag itself, a file or the environment.
async fn secret(
    flag: &str,
    value: &Option<String>,
    file: &Option<PathBuf>,
    variable: &Option<String>,
) -> Result<Sensitive, Failure> {
    let source = match (value, file, variable) {
        (Some(value), ..) => return Ok(value.as_str().into()),
        (_, Some(file), _) => SecretSource::File(file.clone()),
        (.., Some(name)) => SecretSource::Variable(name.clone()),
        _ => {
            let message = format!("cannot make the Secret without --{flag}-file, --{flag}-env or --{flag}");
            return Err(Failure::usage(message));
        }
    };
    Ok(source.read(flag).await?.reveal().into())
}
