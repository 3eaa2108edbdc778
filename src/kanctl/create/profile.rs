//! `kanctl create profile`: a Profile and the Secret it refers to.

mod cloud;

use super::super::cluster::{Session, refused};
use super::super::shelf::Shelf;
use super::super::{Globals, schema, validate};
use super::{How, printed, suffix};
use crate::failure::Failure;
use crate::show;
use cistern_api::{
    Credential, CredentialType, KeyPair, Location, ObjectMeta, ObjectReference, Profile, Sensitive,
};
use cistern_functions::reference::of_kind;
use serde::Serialize;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// Letters that tell two Secrets of the same kind apart.
const SUFFIX_LETTERS: usize = 6;
/// Letters that tell two Profiles apart: as many as a cluster puts behind a `generateName`.
const PROFILE_LETTERS: usize = 5;

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

/// Makes both objects, in the cluster or on paper.
pub async fn run(args: &Args, how: How, globals: &Globals) -> Result<(), Failure> {
    let account = args.cloud.account().await?;
    let session = if how.dry_run { None } else { Some(Session::open(globals).await?) };
    let namespace = session.as_ref().map_or_else(|| globals.namespace(), |session| &session.namespace);
    let name = format!("{}-secret-{}", account.short, suffix::random(SUFFIX_LETTERS)?);
    let profile = profile(&args.place, &account, ObjectReference::named(namespace, &name), namespace);
    if !how.skip_validation {
        schema::check(&profile).map_err(|complaints| Failure::usage(complaints.join("\n")))?;
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
    match &session {
        None => show::raw(format!("{}---\n{}", printed(&secret)?, printed(&profile)?).as_bytes()),
        Some(session) => create(session, &secret, profile, how.skip_validation).await,
    }
}

/// Makes the Secret, tries the place with it, and makes the Profile. Where that fails the Secret goes again.
async fn create(
    session: &Session,
    secret: &SecretToCreate,
    profile: Profile,
    skip_validation: bool,
) -> Result<(), Failure> {
    let object = json(secret)?;
    let name = secret.metadata.name.clone().unwrap_or_default();
    let at = of_kind("secret", &session.namespace, &name);
    session.cluster.create(&at, &object).await.map_err(|e| refused("create", &at, &e))?;
    show::line(&format!("secret '{name}' created"))?;
    let made = create_profile(session, object, profile, skip_validation).await;
    if made.is_err() {
        match session.cluster.delete(&at).await {
            Ok(()) => show::complain(&format!("secret '{name}' deleted")),
            Err(e) => show::complain(&format!("the Secret stays: {}", refused("delete", &at, &e).message)),
        }
    }
    made
}

async fn create_profile(
    session: &Session,
    secret: Json,
    mut profile: Profile,
    skip_validation: bool,
) -> Result<(), Failure> {
    if !skip_validation {
        let mut shelf = Shelf::default();
        shelf.put(secret);
        validate::profile::check(&profile, &shelf, false).await?;
    }
    // The name is made up here, not by the cluster: an answer that gets lost leaves no second Profile.
    let beginning = profile.metadata.generate_name.take().unwrap_or_default();
    let name = format!("{beginning}{}", suffix::random(PROFILE_LETTERS)?);
    profile.metadata.name = Some(name.clone());
    let at = of_kind("profile", &session.namespace, &name);
    let object = json(&profile)?;
    session.cluster.create(&at, &object).await.map_err(|e| refused("create", &at, &e))?;
    show::line(&format!("profile '{name}' created"))
}

fn json(object: &impl Serialize) -> Result<Json, Failure> {
    serde_json::to_value(object).map_err(|e| Failure::other(format!("cannot write the object as JSON: {e}")))
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
