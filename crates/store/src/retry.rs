//! Trying again: how long, how often, and after which failures.

use crate::{Entry, Error, ErrorKind, Key, Store};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use std::fmt::Display;
use std::ops::Range;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// The slowest transfer that still counts as one: 256 KiB/s.
const RATE_MIN_BYTES_PER_SEC: u64 = 256 << 10;

/// The size for which an attempt to read is given time, when the caller would take even more.
const READ_BYTES_MAX: u64 = 1 << 30;

/// How long to go on trying, and how to wait in between.
#[derive(Clone, Debug)]
pub struct Patience {
    /// No attempt starts later than this after the first.
    pub total: Duration,
    /// Attempts at most, the first included.
    pub attempts_max: u32,
    /// The wait before the second attempt; it doubles from one to the next.
    pub wait_first: Duration,
    /// The longest wait between two attempts.
    pub wait_max: Duration,
    /// An attempt that moves no data is given up after this; one that moves `n` bytes after `n` /
    /// 256 KiB/s more.
    pub stall: Duration,
    /// Seed of the jitter, for tests; drawn at random when `None`.
    pub seed: Option<u64>,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            total: Duration::from_secs(600),
            attempts_max: 100,
            wait_first: Duration::from_millis(200),
            wait_max: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            seed: None,
        }
    }
}

impl Patience {
    /// How long one attempt to move `size_bytes` may take.
    pub fn attempt_limit(&self, size_bytes: u64) -> Duration {
        self.stall + Duration::from_secs(size_bytes.div_ceil(RATE_MIN_BYTES_PER_SEC))
    }
}

/// The waits of one operation.
pub(crate) struct Backoff {
    patience: Patience,
    dice: SmallRng,
    began: Instant,
    attempts: u32,
    wait: Duration,
}

impl Backoff {
    pub(crate) fn new(patience: &Patience) -> Backoff {
        let seed = patience.seed.unwrap_or_else(rand::random);
        Backoff {
            patience: patience.clone(),
            dice: SmallRng::seed_from_u64(seed),
            began: Instant::now(),
            attempts: 1,
            wait: patience.wait_first,
        }
    }

    /// Waits until the next attempt is due. Fails with `last`, the failure of the attempt before,
    /// once there is to be no other.
    pub(crate) async fn wait_after(&mut self, last: Error) -> Result<(), Error> {
        // Between half and all of the wait: writers that failed together do not come back together.
        let wait = self.wait.mul_f64(self.dice.random_range(0.5..1.0));
        let out_of_time = self.began.elapsed() + wait > self.patience.total;
        if self.attempts >= self.patience.attempts_max || out_of_time {
            return Err(self.gave_up(last));
        }
        sleep(wait).await;
        self.attempts += 1;
        self.wait = (self.wait * 2).min(self.patience.wait_max);
        Ok(())
    }

    fn gave_up(&self, mut last: Error) -> Error {
        if self.attempts > 1 {
            let secs = self.began.elapsed().as_secs();
            last.why = format!("{} (given up after {} attempts in {secs} s)", last.why, self.attempts);
        }
        last
    }
}

/// Makes attempts to move `size_bytes` until one does or `patience` is at its end. Only
/// [`ErrorKind::Unavailable`] is tried again.
pub(crate) async fn persist<T, F>(
    patience: &Patience,
    doing: &'static str,
    subject: impl Display,
    size_bytes: u64,
    mut attempt: impl FnMut() -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut backoff = Backoff::new(patience);
    let limit = patience.attempt_limit(size_bytes);
    loop {
        let failure = match timeout(limit, attempt()).await {
            Ok(Err(e)) if e.kind == ErrorKind::Unavailable => e,
            Ok(done) => return done,
            Err(_) => {
                let why = format!("it was not done within {} s", limit.as_secs());
                Error::new(ErrorKind::Unavailable, doing, &subject, why)
            }
        };
        backoff.wait_after(failure).await?;
    }
}

/// A store whose passing failures are tried again.
///
/// # What a lost reply means
/// A `put_new` that was cut off may have landed. The next attempt then finds the name taken by its
/// own bytes, which [`Store::put_new`] reports as success: so it is safe to just try again, and only
/// [`ErrorKind::Unavailable`] is. A `delete` that landed finds nothing, which is fine as well.
///
/// Listings are passed through: whoever makes them knows where to go on.
pub struct Retry<S> {
    inner: S,
    patience: Patience,
}

impl<S: Store> Retry<S> {
    /// Gives `inner` the `patience` to try again.
    pub fn new(inner: S, patience: Patience) -> Retry<S> {
        Retry { inner, patience }
    }

    async fn persist<T, F>(
        &self,
        doing: &'static str,
        key: &Key,
        size_bytes: u64,
        attempt: impl FnMut() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        persist(&self.patience, doing, key, size_bytes, attempt).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: Store> Store for Retry<S> {
    async fn put_new(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), Error> {
        let size_bytes = parts.iter().map(|part| part.len() as u64).sum();
        self.persist("write", key, size_bytes, || self.inner.put_new(key, parts.clone())).await
    }

    async fn get(&self, key: &Key, size_max: u64) -> Result<Bytes, Error> {
        self.persist("read", key, size_max.min(READ_BYTES_MAX), || self.inner.get(key, size_max)).await
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, Error> {
        let size_bytes = range.end.saturating_sub(range.start);
        self.persist("read", key, size_bytes, || self.inner.get_range(key, range.clone())).await
    }

    async fn head(&self, key: &Key) -> Result<Entry, Error> {
        self.persist("look up", key, 0, || self.inner.head(key)).await
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Entry, Error>> {
        self.inner.list(prefix)
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.persist("delete", key, 0, || self.inner.delete(key)).await
    }

    fn location(&self) -> String {
        self.inner.location()
    }
}
