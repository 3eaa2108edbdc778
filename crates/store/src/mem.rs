//! A store in memory: for tests, simulation and examples.

use crate::{Entry, Error, ErrorKind, Key, Store};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

/// Objects in a map. Its clock is a counter that starts at the Unix epoch and is moved by hand.
#[derive(Default)]
pub struct MemStore {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    objects: BTreeMap<Key, (Bytes, Age)>,
    now: Duration,
}

/// Age since the epoch of the store's own clock.
type Age = Duration;

impl MemStore {
    /// An empty store.
    pub fn new() -> MemStore {
        MemStore::default()
    }

    /// Moves the store's clock, which stamps objects from now on.
    pub fn set_now(&self, since_epoch: Duration) {
        self.lock().now = since_epoch;
    }

    /// Replaces bytes behind the engine's back, as bit-rot or an enemy would.
    pub fn tamper(&self, key: &Key, bytes: Bytes) {
        let mut inner = self.lock();
        let now = inner.now;
        inner.objects.insert(key.clone(), (bytes, now));
    }

    /// Names of all objects.
    pub fn keys(&self) -> Vec<Key> {
        self.lock().objects.keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no code panics while holding the map")
    }

    fn find(&self, doing: &'static str, key: &Key) -> Result<(Bytes, SystemTime), Error> {
        let inner = self.lock();
        let (bytes, at) = inner.objects.get(key).ok_or_else(|| Error::not_found(doing, key))?;
        Ok((bytes.clone(), SystemTime::UNIX_EPOCH + *at))
    }
}

#[async_trait]
impl Store for MemStore {
    async fn put_new(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), Error> {
        let mut whole = BytesMut::new();
        parts.iter().for_each(|p| whole.extend_from_slice(p));
        let mut inner = self.lock();
        let now = inner.now;
        match inner.objects.get(key) {
            Some((there, _)) if *there != whole => {
                Err(Error::new(ErrorKind::Exists, "write", key, "another object has this name"))
            }
            Some(_) => Ok(()),
            None => {
                inner.objects.insert(key.clone(), (whole.freeze(), now));
                Ok(())
            }
        }
    }

    async fn get(&self, key: &Key, size_max: u64) -> Result<Bytes, Error> {
        let (bytes, _) = self.find("read", key)?;
        if bytes.len() as u64 > size_max {
            let why = format!("it has {} bytes, at most {size_max} are allowed", bytes.len());
            return Err(Error::new(ErrorKind::TooLarge, "read", key, why));
        }
        Ok(bytes)
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, Error> {
        let (bytes, _) = self.find("read", key)?;
        if range.start > range.end || range.end > bytes.len() as u64 {
            let why = format!("it has {} bytes, {range:?} was asked for", bytes.len());
            return Err(Error::new(ErrorKind::CutShort, "read", key, why));
        }
        Ok(bytes.slice(range.start as usize..range.end as usize))
    }

    async fn head(&self, key: &Key) -> Result<Entry, Error> {
        let (bytes, modified) = self.find("look up", key)?;
        Ok(Entry { key: key.clone(), size: bytes.len() as u64, modified })
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Entry, Error>> {
        let entries: Vec<_> = self
            .lock()
            .objects
            .iter()
            .filter(|(k, _)| k.as_str().starts_with(prefix))
            .map(|(k, (b, at))| {
                Ok(Entry { key: k.clone(), size: b.len() as u64, modified: SystemTime::UNIX_EPOCH + *at })
            })
            .collect();
        stream::iter(entries).boxed()
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.lock().objects.remove(key);
        Ok(())
    }

    fn location(&self) -> String {
        "memory:".to_owned()
    }
}
