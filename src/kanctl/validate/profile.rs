//! `kanctl validate profile`: the schema, then the bucket itself: looked up, written, read, cleaned.

use super::{Args, failed, passed};
use crate::failure::Failure;
use crate::kanctl::cluster::{Session, refused};
use crate::kanctl::create::suffix;
use crate::kanctl::shelf::Shelf;
use crate::kanctl::{Globals, schema};
use bytes::Bytes;
use cistern_action::profile::{self, resolve};
use cistern_api::Profile;
use cistern_api::wire::ProfileJson;
use cistern_functions::reference::of_kind;
use cistern_mover::Place;
use cistern_store::Objects;
use futures::TryStreamExt as _;

const SCHEMA: &str = "Validate Profile schema";
const BUCKET: &str = "Validate bucket region specified in profile";
const WRITE: &str = "Validate write access to bucket specified in profile";
const READ: &str = "Validate read access to bucket specified in profile";

/// What is written and read back.
const PROBE: &[u8] = b"written by `kanctl validate profile`; may be deleted\n";
/// Letters of the probe's name: no object of anybody's has it.
const NAME_LETTERS: usize = 16;

/// Finds the Profile and runs all checks, up to the first that fails.
pub async fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let (profile, shelf) = match (&args.name, &args.filename) {
        (Some(name), _) => from_cluster(&args.resource_namespace, name, globals).await?,
        (None, Some(path)) => {
            let mut shelf = Shelf::default();
            shelf.add(path)?;
            (only_profile(&shelf)?, shelf)
        }
        (None, None) => {
            return Err(Failure::usage("cannot check a Profile without --name or --filename"));
        }
    };
    check(&profile, &shelf, args.schema_validation_only).await
}

/// Runs all checks of a Profile whose Secret lies on the shelf, up to the first that fails.
///
/// # Errors
/// The check that failed, and why; it has been printed by then.
pub async fn check(profile: &Profile, shelf: &Shelf, schema_only: bool) -> Result<(), Failure> {
    schema::check(profile).map_err(|complaints| failed(SCHEMA, Failure::usage(complaints.join("\n"))))?;
    passed(SCHEMA)?;
    if schema_only {
        return Ok(());
    }
    let (objects, prefix) = open(profile, shelf).await.map_err(|e| failed(BUCKET, e))?;
    passed(BUCKET)?;
    probe(&objects, &prefix).await
}

async fn from_cluster(namespace: &str, name: &str, globals: &Globals) -> Result<(Profile, Shelf), Failure> {
    let session = Session::open(globals).await?;
    let profile: Profile = session.read(&of_kind("profile", namespace, name)).await?;
    let mut shelf = Shelf::default();
    for secret in profile::secrets(&profile) {
        let at = of_kind("secret", &secret.namespace, &secret.name);
        shelf.put(session.cluster.get(&at).await.map_err(|e| refused("read", &at, &e))?);
    }
    Ok((profile, shelf))
}

fn only_profile(shelf: &Shelf) -> Result<Profile, Failure> {
    let found: Vec<_> = shelf.all("Profile").collect();
    match found[..] {
        [profile] => serde_path_to_error::deserialize(profile)
            .map_err(|e| Failure::usage(format!("cannot read the Profile: {}: {}", e.path(), e.inner()))),
        ref other => Err(Failure::usage(format!("expected one Profile in the file, found {}", other.len()))),
    }
}

async fn open(profile: &Profile, shelf: &Shelf) -> Result<(Objects, String), Failure> {
    let resolved = resolve(profile, |reference| shelf.get("Secret", reference)).map_err(|e| {
        Failure::usage(format!("cannot put the Profile together with its Secret: {e}"))
            .hint("put both into the file, as `kanctl create profile --dry-run` prints them, or add --schema-validation-only")
    })?;
    let json = ProfileJson::parse(&resolved.json.to_string()).map_err(|e| Failure::usage(e.to_string()))?;
    match Place::of(&json, None)? {
        Place::Bucket { cloud, bucket, prefix, options } => {
            Ok((Objects::open(cloud, &bucket, &options).await?, prefix))
        }
        Place::Repository { .. } => Err(Failure::usage("a Profile of the type kopia has no bucket to check")),
    }
}

/// Writes an object, reads it, and takes it away whatever came of that.
async fn probe(objects: &Objects, prefix: &str) -> Result<(), Failure> {
    let name = format!("cistern-validate-{}", suffix::random(NAME_LETTERS)?);
    let key = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
    write(objects, &key).await.map_err(|e| failed(WRITE, e))?;
    let read = read(objects, &key).await;
    let deleted = objects.delete(&key).await;
    read.map_err(|e| failed(READ, e))?;
    passed(READ)?;
    deleted.map_err(|e| failed(WRITE, e.into()))?;
    passed(WRITE)
}

async fn write(objects: &Objects, key: &str) -> Result<(), Failure> {
    let mut upload = objects.write(key)?;
    upload.write(Bytes::from_static(PROBE)).await?;
    upload.complete().await?;
    Ok(())
}

async fn read(objects: &Objects, key: &str) -> Result<(), Failure> {
    let found = objects.find(key).await?;
    let back: Vec<Bytes> = objects.read(found).try_collect().await?;
    if back.concat() != PROBE {
        return Err(Failure::other(format!("{key} does not hold what was written into it a moment ago")));
    }
    Ok(())
}
