//! Whole trips: a dump in, the same dump again, the next night's, and that one out.

use super::rows::Dump;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use bytes::Bytes;
use cistern_repo::{Config, Facts, PushOptions, Repository, Silent, SnapshotInfo, World};
use cistern_store::{Location, Store};
use futures::TryStreamExt as _;
use serde::Serialize;
use std::io::{Cursor, Write};
use std::sync::Arc;
use tokio::time::Instant;

/// One trip.
#[derive(Serialize)]
pub struct Trip {
    /// What was done.
    pub name: &'static str,
    /// Bytes of the stream.
    pub raw_bytes: u64,
    /// Seconds it took.
    pub secs: f64,
    /// 10^6 bytes of the stream per second.
    pub mb_per_sec: f64,
    /// What a push added to the repository.
    pub added_bytes: Option<u64>,
    /// Bytes of the stream per byte added.
    pub ratio: Option<f64>,
}

/// Takes the trips in a repository made for them, and removes it; tells where it was.
pub async fn measure(
    at: Option<Location>,
    size: u64,
    context: &Context,
) -> Result<(String, Vec<Trip>), Failure> {
    let (location, _removed_when_dropped) = place(at)?;
    let store = cistern_store::open(&location, context.store_options()).await?;
    let measured = trips(store.clone(), size).await;
    if matches!(location, Location::Bucket { .. }) {
        remove(&*store).await?;
    }
    Ok((location.to_string(), measured?))
}

/// A place of our own below the one that was named.
fn place(at: Option<Location>) -> Result<(Location, Option<tempfile::TempDir>), Failure> {
    let failed = |folder: &str, e: std::io::Error| {
        Failure::new(Exit::Other, format!("cannot make a directory in {folder}: {e}"))
    };
    let prefix = "cistern-benchmark-";
    let made = match at {
        None => tempfile::Builder::new()
            .prefix(prefix)
            .tempdir()
            .map_err(|e| failed("the temporary directory", e)),
        Some(Location::Directory(path)) => tempfile::Builder::new()
            .prefix(prefix)
            .tempdir_in(&path)
            .map_err(|e| failed(&path.display().to_string(), e)),
        Some(Location::Bucket { cloud, bucket, prefix: above }) => {
            let own = format!("{prefix}{}", hex::encode(World::real().random::<8>()));
            let prefix = if above.is_empty() { own } else { format!("{above}/{own}") };
            return Ok((Location::Bucket { cloud, bucket, prefix }, None));
        }
        Some(Location::Memory) => return Ok((Location::Memory, None)),
    }?;
    Ok((Location::Directory(made.path().to_owned()), Some(made)))
}

async fn trips(store: Arc<dyn Store>, size: u64) -> Result<Vec<Trip>, Failure> {
    let repository = Repository::init(store, Config::default(), World::real()).await?;
    let first = Bytes::from(Dump::of_bytes(size, 0));
    let mut trips =
        vec![push(&repository, "push", &first).await?, push(&repository, "push again", &first).await?];
    drop(first);
    let second = Bytes::from(Dump::of_bytes(size, 1));
    trips.push(push(&repository, "push next night", &second).await?);
    drop(second);
    let newest = repository.find_snapshot("benchmark").await?;
    trips.push(pull(&repository, &newest).await?);
    Ok(trips)
}

async fn push(repository: &Repository, name: &'static str, dump: &Bytes) -> Result<Trip, Failure> {
    let options = PushOptions {
        name: "benchmark".to_owned(),
        host: String::new(),
        writer: concat!("cistern ", env!("CARGO_PKG_VERSION")).to_owned(),
        tags: vec![],
        deltas: true,
    };
    let began = Instant::now();
    let push = repository.begin_push(options).await?;
    let ingested = push.ingest(Box::new(Cursor::new(dump.clone())), Arc::new(Silent)).await?;
    let stored = ingested.commit(Facts::default()).await?.snapshot.stored;
    let added_bytes = stored.delta_stored_bytes + stored.new_stored_bytes;
    Ok(Trip {
        added_bytes: Some(added_bytes),
        ratio: (added_bytes > 0).then(|| dump.len() as f64 / added_bytes as f64),
        ..trip(name, dump.len() as u64, began)
    })
}

async fn pull(repository: &Repository, snapshot: &SnapshotInfo) -> Result<Trip, Failure> {
    let began = Instant::now();
    let nowhere: Box<dyn Write + Send> = Box::new(std::io::sink());
    repository.pull(snapshot, nowhere, Arc::new(Silent)).await?;
    Ok(trip("pull", snapshot.snapshot.raw_bytes, began))
}

fn trip(name: &'static str, raw_bytes: u64, began: Instant) -> Trip {
    let secs = began.elapsed().as_secs_f64().max(1e-9);
    Trip { name, raw_bytes, secs, mb_per_sec: raw_bytes as f64 / 1e6 / secs, added_bytes: None, ratio: None }
}

async fn remove(store: &dyn Store) -> Result<(), Failure> {
    let entries: Vec<_> = store.list("").try_collect().await?;
    for entry in entries {
        store.delete(&entry.key).await?;
    }
    Ok(())
}
