//! Not too much at once: requests in flight, and bytes per second.

use crate::{Entry, Error, Key, Store};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

/// A store that has only so many requests under way; others wait their turn.
///
/// Listings are not counted: whoever reads one may ask for its objects meanwhile.
pub struct Limit<S> {
    inner: S,
    seats: Semaphore,
}

impl<S: Store> Limit<S> {
    /// Allows `inner` at most `requests_max` requests at once, and at least one.
    pub fn new(inner: S, requests_max: usize) -> Limit<S> {
        Limit { inner, seats: Semaphore::new(requests_max.clamp(1, Semaphore::MAX_PERMITS)) }
    }

    async fn seat(&self) -> SemaphorePermit<'_> {
        self.seats.acquire().await.expect("nobody closes the semaphore")
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: Store> Store for Limit<S> {
    async fn put_new(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), Error> {
        let _seat = self.seat().await;
        self.inner.put_new(key, parts).await
    }

    async fn get(&self, key: &Key, size_max: u64) -> Result<Bytes, Error> {
        let _seat = self.seat().await;
        self.inner.get(key, size_max).await
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, Error> {
        let _seat = self.seat().await;
        self.inner.get_range(key, range).await
    }

    async fn head(&self, key: &Key) -> Result<Entry, Error> {
        let _seat = self.seat().await;
        self.inner.head(key).await
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Entry, Error>> {
        self.inner.list(prefix)
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let _seat = self.seat().await;
        self.inner.delete(key).await
    }

    fn location(&self) -> String {
        self.inner.location()
    }
}

/// A store that moves at most so many bytes per second, averaged over whole objects.
///
/// An object goes at full speed once it is its turn; the next waits until this one's share of time
/// has passed. Bytes sent again after a failure are not counted twice.
pub struct Throttle<S> {
    inner: S,
    up: Option<Meter>,
    down: Option<Meter>,
}

impl<S: Store> Throttle<S> {
    /// Limits what is written to and read from `inner`; `None` is no limit.
    pub fn new(
        inner: S,
        up_bytes_per_sec: Option<NonZeroU64>,
        down_bytes_per_sec: Option<NonZeroU64>,
    ) -> Throttle<S> {
        Throttle { inner, up: up_bytes_per_sec.map(Meter::new), down: down_bytes_per_sec.map(Meter::new) }
    }

    /// Waits for the debt of earlier reads, and notes that of this one.
    async fn read(&self, read: impl Future<Output = Result<Bytes, Error>>) -> Result<Bytes, Error> {
        let Some(meter) = &self.down else { return read.await };
        meter.wait(0).await;
        let bytes = read.await?;
        meter.book(bytes.len() as u64);
        Ok(bytes)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: Store> Store for Throttle<S> {
    async fn put_new(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), Error> {
        if let Some(meter) = &self.up {
            meter.wait(parts.iter().map(|part| part.len() as u64).sum()).await;
        }
        self.inner.put_new(key, parts).await
    }

    async fn get(&self, key: &Key, size_max: u64) -> Result<Bytes, Error> {
        self.read(self.inner.get(key, size_max)).await
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, Error> {
        self.read(self.inner.get_range(key, range)).await
    }

    async fn head(&self, key: &Key) -> Result<Entry, Error> {
        self.inner.head(key).await
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Entry, Error>> {
        self.inner.list(prefix)
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.inner.delete(key).await
    }

    fn location(&self) -> String {
        self.inner.location()
    }
}

/// When all that was booked so far will have had its time.
struct Meter {
    bytes_per_sec: NonZeroU64,
    paid_until: Mutex<Option<Instant>>,
}

impl Meter {
    fn new(bytes_per_sec: NonZeroU64) -> Meter {
        Meter { bytes_per_sec, paid_until: Mutex::new(None) }
    }

    /// Books `bytes` behind all others and returns when their time begins.
    fn book(&self, bytes: u64) -> Instant {
        let mut paid_until = self.paid_until.lock().expect("nobody panics holding it");
        let begins = paid_until.unwrap_or_else(Instant::now).max(Instant::now());
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_sec.get() as f64);
        *paid_until = Some(begins + takes);
        begins
    }

    async fn wait(&self, bytes: u64) {
        sleep_until(self.book(bytes)).await;
    }
}
