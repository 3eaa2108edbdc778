//! What the tests of this crate share: a small repository, rows that look like a dump, push and pull.
#![allow(
    dead_code,
    missing_docs,
    clippy::disallowed_methods,
    reason = "shared by several test files, each of which uses some"
)]

use cistern_repo::*;
use cistern_store::Store;
use std::io::Write;
use std::sync::{Arc, Mutex};

fn small() -> Config {
    Config {
        chunk_sizes: ChunkSizes::around(16 << 10).expect("legal"),
        pack_bytes: 256 << 10,
        ..Config::default()
    }
}

pub async fn repository(store: Arc<dyn Store>, threads: usize) -> Repository {
    Repository::init(store, small(), World::real().with_threads(threads)).await.expect("an empty store")
}

pub fn rows(seed: u64, count: u64) -> Vec<u8> {
    let row = |i: u64| {
        format!("{i}\t{:x}\tcustomer {}\n", (i ^ seed << 32).wrapping_mul(0x9e3779b97f4a7c15), i % 1000)
    };
    (0..count).flat_map(|i| row(i).into_bytes()).collect()
}

/// The same rows some nights later: each night changes other rows in place.
pub fn night(first: &[u8], number: usize) -> Vec<u8> {
    let mut bytes = first.to_vec();
    for n in 1..=number {
        for at in (1000 + 37 * n..bytes.len()).step_by(9000) {
            bytes[at] ^= 1;
        }
    }
    bytes
}

pub fn source(bytes: &[u8]) -> Source {
    Box::new(std::io::Cursor::new(bytes.to_vec()))
}

pub async fn begin(repo: &Repository, name: &str) -> Push {
    let options = PushOptions {
        name: name.into(),
        host: "here".into(),
        writer: "test".into(),
        tags: vec![],
        deltas: true,
    };
    repo.begin_push(options).await.expect("a sound repository")
}

pub async fn push(repo: &Repository, name: &str, bytes: &[u8]) -> Receipt {
    let ingested =
        begin(repo, name).await.ingest(source(bytes), Arc::new(Silent)).await.expect("a sound stream");
    ingested.commit(Facts::default()).await.expect("nobody is in the way")
}

#[derive(Clone, Default)]
pub struct Out(Arc<Mutex<Vec<u8>>>);

impl Out {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub async fn pull(repo: &Repository, text: &str) -> Vec<u8> {
    let snapshot = repo.find_snapshot(text).await.expect("pushed before");
    let out = Out::default();
    repo.pull(&snapshot, Box::new(out.clone()), Arc::new(Silent)).await.expect("a sound repository");
    out.take()
}
