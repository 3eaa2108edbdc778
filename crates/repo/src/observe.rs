//! What the engine tells while it works: counters and notes, for whoever shows progress.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Bytes of the stream that came in.
    ReadBytes,
    /// Of them, bytes whose chunks were there already.
    DuplicateBytes,
    /// Of them, bytes stored as deltas.
    DeltaBytes,
    /// Of them, bytes stored whole.
    NewBytes,
    /// Bytes written to the store.
    StoredBytes,
    /// Bytes of the stream that went out.
    WrittenBytes,
    /// Packs read by a verification or repair, deleted by a prune.
    Packs,
    /// Packs there are to read or delete in all, as far as it is known.
    PacksTotal,
    /// Chunks an optimization looked at.
    Chunks,
    /// Chunks there are to look at in all.
    ChunksTotal,
    /// Bytes the stream will have: one that goes out has so many; one that comes in is taken to be as long as the
    /// last of its name, and nothing is expected where there is none, or none can be read.
    ExpectedBytes,
}

/// Someone who wants to know. Called often and from many threads; must not block.
pub trait Observer: Send + Sync {
    /// `n` more of `what`.
    fn count(&self, what: Counter, n: u64);
    /// Something a person should read, once.
    fn note(&self, text: &str);
}

/// Listens to nothing.
pub struct Silent;

impl Observer for Silent {
    fn count(&self, _: Counter, _: u64) {}
    fn note(&self, _: &str) {}
}

/// Keeps the sums; what progress lines and tests read.
#[derive(Default)]
pub struct Sums {
    sums: [AtomicU64; 11],
}

impl Sums {
    /// The sum of `what` so far.
    pub fn get(&self, what: Counter) -> u64 {
        self.sums[what as usize].load(Ordering::Relaxed)
    }
}

impl Observer for Sums {
    fn count(&self, what: Counter, n: u64) {
        self.sums[what as usize].fetch_add(n, Ordering::Relaxed);
    }

    fn note(&self, _: &str) {}
}
