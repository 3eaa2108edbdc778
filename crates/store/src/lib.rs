//! A place for named bytes: local directory, NFS, S3, GCS, Azure, memory.
//!
//! Everything above this crate talks to [`Store`]; nothing here knows what an object means. [`open`]
//! makes one from a [`Location`] and [`Options`], with retries, limits and timeouts around it; [`doctor`]
//! tells what one really does; `contract` (a feature) is the suite that all of them pass.
//!
//! **What is absent on purpose:** keys, snapshots, packs; the environment (callers hand over
//! every credential); overwriting in a [`Store`] (there is no verb for it, so versioned, locked and
//! no-overwrite buckets work). [`Objects`] stands beside it for what other programs keep in a bucket:
//! plain objects of any name and length, streamed, replaced at will. [`aws`] asks other services of the cloud with the
//! credentials of a bucket.
//!
//! ```
//! use bytes::Bytes;
//! use cistern_store::{ErrorKind, Key, Options, open};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
//! let store = open(&"memory:".parse()?, &Options::default()).await?;
//! let key = Key::new("packs/3f/3fa0");
//! store.put_new(&key, vec![Bytes::from("two "), Bytes::from("parts")]).await?;
//! assert_eq!(store.get_range(&key, 4..9).await?, "parts");
//!
//! let taken = store.put_new(&key, vec![Bytes::from("other")]).await.expect_err("nothing is replaced");
//! assert_eq!(taken.kind, ErrorKind::Exists);
//! # Ok::<(), cistern_store::Error>(())
//! # }).expect("the example works");
//! ```

mod assume_role;
pub mod aws;
mod cloud;
mod connect;
#[cfg(feature = "contract")]
pub mod contract;
pub mod doctor;
mod error;
mod explain;
mod fs;
mod http;
mod key;
mod limit;
mod location;
mod mem;
mod objects;
mod open;
mod options;
mod retry;
mod secret;
mod upload;

pub use error::{Error, ErrorKind};
pub use fs::FsStore;
pub use http::install_crypto;
pub use key::Key;
pub use limit::{Limit, Throttle};
pub use location::{Cloud, Location};
pub use mem::MemStore;
pub use objects::{Found, Objects};
pub use open::{clean_staging, open, prepare};
pub use options::{Checksum, Options};
pub use retry::{Patience, Retry};
pub use secret::Secret;
pub use upload::Upload;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::ops::Range;
use std::time::SystemTime;

/// What a listing tells about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Full key below the store's root.
    pub key: Key,
    /// Size in bytes.
    pub size: u64,
    /// When the store says the object was written, by the store's own clock.
    pub modified: SystemTime,
}

/// Named, immutable bytes.
///
/// # Contract
/// Held by the one contract suite, which every implementation and wrapper runs.
/// * A reader sees all of an object or none of it.
/// * After `put_new` returns `Ok`, every later `get` and `list` sees the object (on NFS within the
///   mount's attribute-cache time, which is why `doctor` measures it).
/// * `put_new` never replaces: of two racing writers of one key exactly one gets `Ok`, the other
///   [`ErrorKind::Exists`]. A writer that lost the reply to its own write and finds its own bytes
///   there gets `Ok`.
/// * `delete` of an absent object is `Ok`.
/// * Dropping a future may leave a write landing later: callers treat every unfinished write as
///   "may still appear".
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Writes an object that must not exist yet, durably.
    ///
    /// `parts` are written one after the other as one object; they are parts only so that a pack
    /// need not be copied together.
    async fn put_new(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), Error>;

    /// Reads a whole object. Fails with [`ErrorKind::TooLarge`] before reading when it is larger
    /// than `size_max` bytes: a hostile store must not choose our memory use.
    async fn get(&self, key: &Key, size_max: u64) -> Result<Bytes, Error>;

    /// Reads exactly `range` (bytes). An object that ends before the range does is
    /// [`ErrorKind::CutShort`].
    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, Error>;

    /// What the store knows of one object, or [`ErrorKind::NotFound`].
    async fn head(&self, key: &Key) -> Result<Entry, Error>;

    /// Every object whose key starts with `prefix` (which is empty or ends in `/`), in no
    /// particular order. Staging files and names that are no [`Key`] are left out.
    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Entry, Error>>;

    /// Removes an object; absent is fine. Refused by a lock or policy is [`ErrorKind::Denied`].
    async fn delete(&self, key: &Key) -> Result<(), Error>;

    /// Where this is, for messages: a URL without any secret in it.
    fn location(&self) -> String;
}
