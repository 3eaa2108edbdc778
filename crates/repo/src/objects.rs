//! Sealed objects in the store: read, write and list them by kind.

use crate::error::{Error, Result};
use crate::world::World;
use bytes::Bytes;
use cistern_format::envelope::{self, Kind};
use cistern_format::keys::Keyring;
use cistern_store::{Entry, ErrorKind, Key, Store};
use futures::{StreamExt as _, TryStreamExt as _};
use std::sync::Arc;

/// Largest metadata object that is read, in bytes.
const OBJECT_BYTES_MAX: u64 = 256 << 20;
/// Small objects fetched at the same time.
pub(crate) const FETCHES_MAX: usize = 32;

/// A store seen through the keys of one repository.
#[derive(Clone)]
pub(crate) struct Objects {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keys: Arc<Keyring>,
    pub(crate) world: Arc<World>,
}

impl Objects {
    /// Seals `body` and stores it under a new key. Returns the bytes as stored.
    pub(crate) async fn put(
        &self,
        kind: Kind,
        key: &str,
        body: &[u8],
    ) -> Result<Bytes, cistern_store::Error> {
        let object = Bytes::from(envelope::seal(&self.keys, kind, key, self.world.random(), body));
        self.store.put_new(&Key::new(key), vec![object.clone()]).await?;
        Ok(object)
    }

    /// Reads and opens the object under `key`.
    pub(crate) async fn get(&self, kind: Kind, key: &str) -> Result<Vec<u8>> {
        let object = self.read(key).await?;
        self.open(kind, key, &object)
    }

    /// Reads and opens the object under `key`; `None` if there is none.
    pub(crate) async fn find(&self, kind: Kind, key: &str) -> Result<Option<Vec<u8>>> {
        match self.store.get(&Key::new(key), OBJECT_BYTES_MAX).await {
            Ok(object) => self.open(kind, key, &object).map(Some),
            Err(e) if e.kind == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::store(format!("read {key}"), e)),
        }
    }

    pub(crate) async fn read(&self, key: &str) -> Result<Bytes> {
        let read = self.store.get(&Key::new(key), OBJECT_BYTES_MAX).await;
        read.map_err(|e| Error::store(format!("read {key}"), e))
    }

    pub(crate) fn open(&self, kind: Kind, key: &str, object: &[u8]) -> Result<Vec<u8>> {
        envelope::open(&self.keys, kind, key, object).map_err(|d| {
            let error = Error::damage(format!("read {key}"), d);
            // The keys opened the configuration: an object of the same place they do not open was changed.
            let changed = error.kind == crate::ErrorKind::WrongKey && kind != Kind::Config;
            if changed { Error { kind: crate::ErrorKind::Damaged, ..error } } else { error }
        })
    }

    /// Everything under `prefix`, in the order of names.
    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<Entry>> {
        let listed: Result<Vec<Entry>, _> = self.store.list(prefix).try_collect().await;
        let mut entries = listed.map_err(|e| Error::store(format!("list {prefix}"), e))?;
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(entries)
    }

    /// Opens all objects of `kind` among `entries`, several at a time, in order.
    ///
    /// Objects that vanished since they were listed are left out: whoever removed them had a right to.
    pub(crate) async fn get_all(&self, kind: Kind, entries: &[Entry]) -> Result<Vec<(Key, Vec<u8>)>> {
        let keys: Vec<Key> = entries.iter().map(|e| e.key.clone()).collect();
        futures::stream::iter(keys)
            .map(|key| async move {
                let body = self.find(kind, key.as_str()).await?;
                Ok(body.map(|b| (key, b)))
            })
            .buffered(FETCHES_MAX)
            .try_filter_map(|found| async move { Ok(found) })
            .try_collect()
            .await
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        self.store.delete(&Key::new(key)).await.map_err(|e| Error::store(format!("delete {key}"), e))
    }
}
