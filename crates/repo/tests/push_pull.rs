//! What goes in comes out: every length, duplicates, deltas, with threads and without.

mod common;

use cistern_repo::{ErrorKind, Silent};
use cistern_store::{MemStore, Store};
use common::*;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn every_length_comes_back() {
    for threads in [0, 2] {
        let store: Arc<dyn Store> = Arc::new(MemStore::new());
        let repo = repository(store.clone(), threads).await;
        for len in [0usize, 1, 6, 4095, 16 << 10, 100_000, 3_000_000] {
            let bytes = &rows(len as u64, 200_000)[..len];
            let name = format!("n{len}");
            let receipt = push(&repo, &name, bytes).await;
            assert_eq!(receipt.snapshot.raw_bytes, len as u64);
            assert!(pull(&repo, &name).await == bytes, "{len} bytes, {threads} threads");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_time_costs_nothing_and_the_next_night_little() {
    for threads in [0, 2] {
        let store: Arc<dyn Store> = Arc::new(MemStore::new());
        let repo = repository(store.clone(), threads).await;
        let first = rows(1, 60_000);
        let whole = push(&repo, "db", &first).await.snapshot.stored;
        let again = push(&repo, "db", &first).await.snapshot.stored;
        assert_eq!((again.new_bytes, again.delta_bytes), (0, 0));
        let mut next = first.clone();
        for at in (1000..next.len()).step_by(8000) {
            next[at] ^= 1;
        }
        let night = push(&repo, "db", &next).await.snapshot.stored;
        assert!(night.delta_bytes > night.new_bytes * 10, "{night:?}");
        let added = night.delta_stored_bytes + night.new_stored_bytes;
        assert!(added * 20 < whole.new_stored_bytes, "{added} of {}", whole.new_stored_bytes);
        assert!(pull(&repo, "db").await == next);
    }
}

/// A stream whose program has a bug.
struct Panics(usize);

impl std::io::Read for Panics {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        assert!(self.0 > 0, "a bug in whatever gives the stream");
        self.0 -= 1;
        buffer.fill(self.0 as u8);
        Ok(buffer.len())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_panics_is_no_end_of_the_stream() {
    let repo = repository(Arc::new(MemStore::new()), 2).await;
    for reads in [0, 1, 3] {
        let ingested = begin(&repo, "db").await.ingest(Box::new(Panics(reads)), Arc::new(Silent)).await;
        assert!(ingested.is_err_and(|e| e.kind == ErrorKind::Stream), "after {reads} reads");
    }
}
