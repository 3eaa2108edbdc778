//! `cistern init`: create a repository and the key to it.

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::secret::SecretSource;
use crate::{keyfile, show};
use cistern_format::config::MARKER_KEY;
use cistern_repo::{ChunkSizes, Config, Credential, Repository, Role, Unlock, World};
use cistern_store::{Key, MemStore, Store};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// Mean size of a chunk, a power of two such as 512K; smaller finds more that repeats, and costs more
    #[arg(long, value_name = "SIZE", value_parser = parse_chunk_sizes)]
    chunk_size: Option<ChunkSizes>,
}

/// What was made.
#[derive(Serialize)]
pub struct Made {
    /// Where the repository is.
    pub repository: String,
    /// Its id.
    pub id: String,
    /// Where its key is.
    pub key_file: Option<PathBuf>,
    /// Whether a passphrase opens it too.
    pub passphrase: bool,
}

/// Makes the repository and says what was made.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let config = match args.chunk_size {
        Some(chunk_sizes) => Config { chunk_sizes, ..Config::default() },
        None => Config::default(),
    };
    let (_, made) = create(context, config).await?;
    if context.json {
        return show::json(&made);
    }
    announce(context, &made);
    Ok(())
}

/// Says what was made, and what to do with the key.
pub fn announce(context: &Context, made: &Made) {
    show::note(context, &format!("Created repository {} at {}", made.id, made.repository));
    if let Some(path) = &made.key_file {
        show::note(
            context,
            &format!(
                "Its key is in {}\nCopy the key to a safe place: without it nobody can read the backups.",
                path.display()
            ),
        );
    }
}

/// Makes a repository. The key is on disk before the marker that makes the place a repository.
///
/// # If it crashes
/// A key file without a repository is left, which is no harm: it is named after an id nobody else has.
pub async fn create(context: &Context, config: Config) -> Result<(Repository, Made), Failure> {
    cistern_store::prepare(&context.location).await?;
    let store = context.store().await?;
    if Repository::marker(&*store).await?.is_some() {
        let message = format!("there is a repository at {} already", context.location);
        return Err(Failure::usage(message).hint("`--repo` names another place"));
    }
    let passphrase = match &context.passphrase {
        Some(source) => Some(source.read("passphrase").await?),
        None => None,
    };
    // Made in memory first: the keys must be safe before the place becomes a repository.
    let draft = Arc::new(MemStore::new());
    let drafted = Repository::init(draft.clone(), config, World::real()).await?;
    if let Some(passphrase) = &passphrase {
        drafted.add_key_slot(Role::Owner, "owner", passphrase.reveal().as_bytes()).await?;
    }
    let credential = drafted.credential(Role::Owner)?;
    let key_file = write_key(context, &drafted, &credential, passphrase.is_some())?;
    publish(&draft, &*store).await?;
    let made = Made {
        repository: store.location(),
        id: drafted.keys().repo().to_string(),
        key_file,
        passphrase: passphrase.is_some(),
    };
    let repository = Repository::open(store, Unlock::Credential(credential), World::real()).await?;
    Ok((repository, made))
}

/// Where the key goes: to the file that was named; to no file if a passphrase will do; else to its own place.
fn write_key(
    context: &Context,
    drafted: &Repository,
    credential: &Credential,
    has_passphrase: bool,
) -> Result<Option<PathBuf>, Failure> {
    let path = match &context.key {
        Some(SecretSource::File(path)) => path.clone(),
        Some(_) => {
            let message = "a new repository makes its own key; it cannot take one from a variable or command";
            return Err(Failure::usage(message).hint("--key-file says where to write it"));
        }
        None if has_passphrase => return Ok(None),
        None => context.key_file_of(drafted.keys().repo()),
    };
    keyfile::create(&path, credential)?;
    Ok(Some(path))
}

/// Copies the draft to its place, the marker last.
async fn publish(draft: &MemStore, store: &dyn Store) -> Result<(), Failure> {
    let mut keys = draft.keys();
    keys.sort_by_key(|key| key.as_str() == MARKER_KEY);
    for key in keys {
        let object = draft.get(&key, 1 << 20).await?;
        store.put_new(&key, vec![object]).await.map_err(|e| taken(e, &key, store))?;
    }
    Ok(())
}

fn taken(error: cistern_store::Error, key: &Key, store: &dyn Store) -> Failure {
    if error.kind != cistern_store::ErrorKind::Exists {
        return error.into();
    }
    let message =
        format!("cannot create a repository at {}: there is an object `{key}` already", store.location());
    Failure::new(Exit::Usage, message)
        .hint("if an earlier attempt was interrupted, empty the place and try again")
}

/// Reads `512K`, `1M` or a number of bytes.
fn parse_chunk_sizes(text: &str) -> Result<ChunkSizes, String> {
    let bytes = show::parse_size(text)?;
    let bytes = u32::try_from(bytes).map_err(|_| "it is too large".to_owned())?;
    ChunkSizes::around(bytes).map_err(|e| e.to_string())
}
