//! `kanctl create profile`: a Profile and the Secret it refers to.

mod cloud;

use super::super::{Globals, cluster, schema};
use super::{How, printed, suffix};
use crate::failure::Failure;
use crate::show;
use cistern_api::{
    Credential, CredentialType, KeyPair, Location, ObjectMeta, ObjectReference, Profile, Sensitive,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// Letters that tell two Secrets of the same kind apart.
const SUFFIX_LETTERS: usize = 6;

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: PlaceFlags,
    #[command(subcommand)]
    cloud: cloud::Cloud,
}

/// Where backups go, whatever the cloud.
#[derive(clap::Args)]
struct PlaceFlags {
    /// Bucket, or container of Azure
    #[arg(long, short, global = true, value_name = "NAME")]
    bucket: Option<String>,
    /// URL of the service, where it is not the provider's own
    #[arg(long, short, global = true, value_name = "URL")]
    endpoint: Option<String>,
    /// Put in front of every path
    #[arg(long, short, global = true, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Region of the bucket
    #[arg(long, short, global = true, value_name = "REGION")]
    region: Option<String>,
    /// Do not check the server's certificate
    #[arg(long = "skip-SSL-verification", global = true)]
    skip_ssl_verification: bool,
}

/// Makes both objects and prints them.
pub async fn run(args: &Args, how: How, globals: &Globals) -> Result<(), Failure> {
    let account = args.cloud.account().await?;
    let namespace = globals.namespace();
    let name = format!("{}-secret-{}", account.short, suffix::random(SUFFIX_LETTERS)?);
    let profile = profile(&args.place, &account, ObjectReference::named(namespace, &name), namespace);
    if !how.skip_validation {
        schema::check(&profile).map_err(|complaints| Failure::usage(complaints.join("\n")))?;
    }
    if !how.dry_run {
        return Err(cluster::cannot_create("Profile"));
    }
    let secret = SecretToCreate {
        api_version: "v1",
        kind: "Secret",
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        string_data: account.fields.into_iter().collect(),
        secret_type: account.secret_type,
    };
    show::raw(format!("{}---\n{}", printed(&secret)?, printed(&profile)?).as_bytes())
}

/// A Secret with its fields in clear, as a cluster takes it from a file.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SecretToCreate {
    api_version: &'static str,
    kind: &'static str,
    metadata: ObjectMeta,
    string_data: BTreeMap<&'static str, Sensitive>,
    #[serde(rename = "type")]
    secret_type: &'static str,
}

fn profile(
    place: &PlaceFlags,
    account: &cloud::Account,
    secret: ObjectReference,
    namespace: &str,
) -> Profile {
    let text = |flag: &Option<String>| flag.clone().unwrap_or_default();
    let credential = match account.key_pair {
        Some((id_field, secret_field)) => Credential {
            kind: CredentialType::KeyPair,
            key_pair: Some(KeyPair {
                id_field: id_field.to_owned(),
                secret_field: secret_field.to_owned(),
                secret,
            }),
            ..Credential::default()
        },
        None => Credential { kind: CredentialType::Secret, secret: Some(secret), ..Credential::default() },
    };
    let mut profile = Profile {
        location: Location {
            kind: account.location.clone(),
            bucket: text(&place.bucket),
            endpoint: text(&place.endpoint),
            prefix: text(&place.prefix),
            region: text(&place.region),
        },
        credential,
        skip_ssl_verify: place.skip_ssl_verification,
        ..Profile::default()
    };
    profile.metadata.generate_name = Some(format!("{}-profile-", account.short));
    profile.metadata.namespace = Some(namespace.to_owned());
    profile
}
