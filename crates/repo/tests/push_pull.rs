//! What goes in comes out: every length, duplicates, deltas, with threads and without.

mod common;

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
