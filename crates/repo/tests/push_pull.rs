//! What goes in comes out: every length, duplicates, deltas, with threads and without.

use cistern_repo::*;
use cistern_store::{MemStore, Store};
use std::io::Write;
use std::sync::{Arc, Mutex};

fn small() -> Config {
    Config { chunk_sizes: ChunkSizes::around(16 << 10).expect("legal"), pack_bytes: 256 << 10, ..Config::default() }
}

async fn repository(store: &Arc<dyn Store>, threads: usize) -> Repository {
    Repository::init(store.clone(), small(), World::real().with_threads(threads)).await.expect("an empty store")
}

fn rows(seed: u64, count: u64) -> Vec<u8> {
    let row = |i: u64| format!("{i}\t{:x}\tcustomer {}\n", (i ^ seed << 32).wrapping_mul(0x9e3779b97f4a7c15), i % 1000);
    (0..count).flat_map(|i| row(i).into_bytes()).collect()
}

async fn push(repo: &Repository, name: &str, bytes: &[u8]) -> Receipt {
    let options = PushOptions {
        name: name.into(),
        host: "here".into(),
        writer: "test".into(),
        tags: vec![],
        deltas: true,
    };
    let push = repo.begin_push(options).await.expect("a sound repository");
    let source = Box::new(std::io::Cursor::new(bytes.to_vec()));
    let ingested = push.ingest(source, Arc::new(Silent)).await.expect("a sound stream");
    ingested.commit(Facts::default()).await.expect("nobody is in the way")
}

#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn pull(repo: &Repository, text: &str) -> Vec<u8> {
    let snapshot = repo.find_snapshot(text).await.expect("pushed before");
    let out = Out::default();
    repo.pull(&snapshot, Box::new(out.clone()), Arc::new(Silent)).await.expect("a sound repository");
    let bytes = out.0.lock().unwrap().clone();
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn every_length_comes_back() {
    for threads in [0, 2] {
        let store: Arc<dyn Store> = Arc::new(MemStore::new());
        let repo = repository(&store, threads).await;
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
        let repo = repository(&store, threads).await;
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
