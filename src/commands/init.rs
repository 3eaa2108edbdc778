//! `cistern init`: create a repository and the key to it.

use crate::context::Context;
use crate::failure::Failure;
use crate::secret::SecretSource;
use crate::{keyfile, show};
use cistern_format::keys::Keyring;
use cistern_repo::{ChunkSizes, Config, Repository, World, check_passphrase};
use serde::Serialize;
use std::path::PathBuf;

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
    let phrase = passphrase.as_ref().map(|p| p.reveal().as_bytes());
    phrase.map_or(Ok(()), check_passphrase)?;
    let world = World::real();
    let keys = Repository::new_keys(&world);
    let key_file = write_key(context, &keys, passphrase.is_some())?;
    let made = Made {
        repository: store.location(),
        id: keys.repo().to_string(),
        key_file,
        passphrase: passphrase.is_some(),
    };
    Ok((Repository::init_with_keys(store, config, keys, phrase, world).await?, made))
}

/// Where the key goes: to the file that was named; to no file if a passphrase will do; else to its own place.
fn write_key(context: &Context, keys: &Keyring, has_passphrase: bool) -> Result<Option<PathBuf>, Failure> {
    let path = match &context.key {
        Some(SecretSource::File(path)) => path.clone(),
        Some(_) => {
            let message = "a new repository makes its own key; it cannot take one from a variable or command";
            return Err(Failure::usage(message).hint("--key-file says where to write it"));
        }
        None if has_passphrase => return Ok(None),
        None => context.key_file_of(keys.repo()),
    };
    keyfile::create(&path, &keys.to_credential())?;
    Ok(Some(path))
}

/// Reads `512K`, `1M` or a number of bytes.
fn parse_chunk_sizes(text: &str) -> Result<ChunkSizes, String> {
    let bytes = show::parse_size(text)?;
    let bytes = u32::try_from(bytes).map_err(|_| "it is too large".to_owned())?;
    ChunkSizes::around(bytes).map_err(|e| e.to_string())
}
