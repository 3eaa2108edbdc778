//! A location and options → a store that is ready to use.

use crate::cloud::CloudStore;
use crate::connect::connect;
use crate::limit::{Limit, Throttle};
use crate::location::{Cloud, Location};
use crate::retry::{Backoff, Patience, Retry};
use crate::{Error, ErrorKind, FsStore, MemStore, Options, Store};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Requests at once when the options say nothing.
const REQUESTS_MAX: usize = 32;

/// How long to wait for a server that cannot be reached at all before saying so: nothing has been read
/// or promised yet, and the address may simply be wrong.
const GREET: Duration = Duration::from_secs(20);

/// Opens the store at `location` and sees to it that it is there.
///
/// What comes back is limit(throttle(retry(store))): the time an attempt is given must not run while
/// it waits for its turn, so waiting is outside.
///
/// # Errors
/// * [`ErrorKind::Config`]: a directory or bucket that is absent, a malformed option.
/// * [`ErrorKind::Denied`]: a directory that may not be entered, credentials that are not accepted.
/// * [`ErrorKind::Unavailable`]: the server could not be reached within 20 s.
///
/// A credential that is valid but may not list is not found out here: it may be meant so.
pub async fn open(location: &Location, options: &Options) -> Result<Arc<dyn Store>, Error> {
    match location {
        Location::Memory => Ok(Arc::new(MemStore::new())),
        Location::Directory(path) => Ok(stack(open_directory(path).await?, options)),
        Location::Bucket { cloud, bucket, prefix } => {
            Ok(stack(open_bucket(*cloud, bucket, prefix, options).await?, options))
        }
    }
}

/// Makes the directory of a local location if it is not there yet. Buckets are not made: whoever makes
/// one decides on region, versioning, lock and cost.
///
/// # Errors
/// As the file system says.
pub async fn prepare(location: &Location) -> Result<(), Error> {
    let Location::Directory(path) = location else { return Ok(()) };
    let path = path.clone();
    on_disk(&path.clone(), move || FsStore::create(path).map(drop)).await
}

/// Removes what crashed writers left behind more than `older_than` ago; returns how many files. Only
/// directories have such leftovers: a cloud shows an object whole or not at all.
///
/// # Errors
/// As [`open`], and what the file system says.
pub async fn clean_staging(location: &Location, older_than: Duration) -> Result<u64, Error> {
    match location {
        Location::Directory(path) => open_directory(path).await?.clean_staging(older_than).await,
        Location::Bucket { .. } | Location::Memory => Ok(0),
    }
}

pub(crate) async fn open_directory(path: &Path) -> Result<FsStore, Error> {
    let root = path.to_owned();
    on_disk(path, move || FsStore::open(root)).await
}

/// Runs blocking work, and waits only so long: a file server that is gone holds up even a look at the
/// directory.
async fn on_disk<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match timeout(GREET, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => done,
        Ok(Err(_)) => {
            Err(Error::new(ErrorKind::Other, "open", path.display(), "the program is shutting down"))
        }
        Err(_) => {
            let why = format!("the file system did not answer for {} s; is its server up?", GREET.as_secs());
            Err(Error::new(ErrorKind::Unavailable, "open", path.display(), why))
        }
    }
}

/// Connects, in the region the bucket is in when the options leave that open.
pub(crate) async fn open_bucket(
    cloud: Cloud,
    bucket: &str,
    prefix: &str,
    options: &Options,
) -> Result<CloudStore, Error> {
    let store = connect(cloud, bucket, prefix, options)?;
    let Err(refused) = greet(&store).await else { return Ok(store) };
    if refused.kind != ErrorKind::Config || options.region.is_some() {
        return Err(refused);
    }
    let Some(region) = store.other_region().await else { return Err(refused) };
    let store = connect(cloud, bucket, prefix, &Options { region: Some(region), ..options.clone() })?;
    greet(&store).await?;
    Ok(store)
}

async fn greet(store: &CloudStore) -> Result<(), Error> {
    let total = store.patience.total.min(GREET);
    let mut backoff = Backoff::new(&Patience { total, ..store.patience.clone() });
    loop {
        match timeout(GREET, store.greet()).await {
            Ok(Err(e)) if e.kind == ErrorKind::Unavailable => backoff.wait_after(e).await?,
            Ok(done) => return done,
            Err(_) => {
                let why = format!("the server said nothing for {} s", GREET.as_secs());
                return Err(Error::new(ErrorKind::Unavailable, "open", &store.location, why));
            }
        }
    }
}

pub(crate) fn stack(store: impl Store, options: &Options) -> Arc<dyn Store> {
    let retry = Retry::new(store, options.patience());
    let throttle = Throttle::new(retry, options.upload_bytes_per_sec, options.download_bytes_per_sec);
    Arc::new(Limit::new(throttle, options.requests_max.unwrap_or(REQUESTS_MAX)))
}
