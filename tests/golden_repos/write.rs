//! Writes the golden repository of a new format version; never replaces one.
//!
//! `cargo test --test golden_repos -- --ignored write_a_repository`

use crate::{described, fixtures, pull, push, world};
use bytes::Bytes;
use cistern_format::object::to_cbor;
use cistern_format::slot::{Cost, Slot};
use cistern_repo::{
    ChunkSizes, Config, Facts, Mark, PruneOptions, PushOptions, Repository, Role, Silent, VerifyOptions, Wrap,
};
use cistern_store::{Key, MemStore, Store};
use cistern_stream::gzip::{Limits, Unwrapper};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// When the fixture pretends to be written, milliseconds since 1970.
const WRITTEN_MS: u64 = 1_700_000_000_000;
const PASSPHRASE: &str = "correct horse battery";
/// Enough rows for more chunks than a snapshot holds itself: a recipe of depth 1.
const ROWS: usize = 18_000;

/// Rows that compress well, of which some differ by the night.
fn table(night: usize) -> Vec<u8> {
    let row = |n: usize| match night {
        1.. if n % 900 == night => {
            format!("{n}\t2026-01-{:02} 03:00:00\trefunded in night {night}\n", night + 1)
        }
        _ => {
            let digest = blake3::hash(&n.to_le_bytes()).to_hex();
            format!("{n}\t2026-01-01 00:00:00\tpaid\tcustomer {}\t{}\n", n % 31, &digest[..4])
        }
    };
    (0..ROWS).flat_map(|n| row(n).into_bytes()).collect()
}

/// Content that no chunk of another snapshot shares, so that its pack goes when it is forgotten.
fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new_keyed(&[9; 32]).finalize_xof().fill(&mut bytes);
    bytes
}

async fn push_gzip(repo: &Repository, name: &str, content: &[u8]) {
    let mut encoder =
        flate2::GzBuilder::new().filename("rows.txt").write(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    let gzip = encoder.finish().unwrap();
    let mut unwrapper = Unwrapper::new(Limits::default());
    let mut inflated = Vec::new();
    unwrapper.push(&gzip, &mut |bytes| inflated.extend_from_slice(bytes)).unwrap();
    let wrap = Wrap {
        version: 1,
        original_bytes: gzip.len() as u64,
        original_digest: (*blake3::hash(&gzip).as_bytes()).into(),
        segments: to_cbor(&unwrapper.finish().unwrap()),
    };
    push(repo, name, &[], &inflated, Facts { wrap: Some(wrap), ..Facts::default() }).await;
}

/// A push that registered and was never heard of again.
async fn register(repo: &Repository) {
    let options = PushOptions {
        name: "db".to_owned(),
        host: "fixture".to_owned(),
        writer: "fixture".to_owned(),
        tags: vec![],
        deltas: true,
    };
    drop(repo.begin_push(options).await.unwrap());
}

async fn mark(repo: &Repository, name: &str, mark: Mark) {
    let id = repo.find_snapshot(name).await.unwrap().id;
    repo.mark(id, mark).await.unwrap();
}

/// A slot that costs next to nothing to try: the tests try it often.
async fn add_cheap_slot(repo: &Repository, store: &MemStore) {
    let cost = Cost { memory_kib: 64, passes: 1 };
    let world = repo.world();
    let slot = Slot::lock(repo.keys(), "tests", PASSPHRASE.as_bytes(), cost, world.random(), world.random());
    let key = Key::new(format!("keys/{}", world.new_session_id()));
    store.put_new(&key, vec![Bytes::from(slot.encode())]).await.unwrap();
}

async fn prune(repo: &Repository, session_timeout: Duration) -> cistern_repo::PruneReport {
    let options = PruneOptions {
        grace: Duration::from_secs(365 * 24 * 3600),
        session_timeout,
        unused_percent_max: 100,
        ..PruneOptions::default()
    };
    repo.prune(&options, Arc::new(Silent)).await.unwrap()
}

async fn fill(repo: &Repository, store: &MemStore) {
    push(repo, "db", &["nightly"], &table(0), Facts::default()).await;
    push(repo, "db", &["nightly", "weekly"], &table(1), Facts::default()).await;
    push(repo, "gone", &[], &noise(5000), Facts::default()).await;
    push(repo, "büro/mail", &[], b"a small stream\n", Facts::default()).await;
    push_gzip(repo, "wrapped", &table(0)[200_000..240_000]).await;
    add_cheap_slot(repo, store).await;
    let hold = Some(("audit".to_owned(), "kept for the tests".to_owned()));
    mark(repo, "büro/mail", Mark { add_hold: hold, ..Mark::default() }).await;
    let retag =
        Mark { add_tags: vec!["good".to_owned()], remove_tags: vec!["weekly".to_owned()], ..Mark::default() };
    mark(repo, "db", retag).await;
    repo.verify(&VerifyOptions { level: 2, ..VerifyOptions::default() }, Arc::new(Silent)).await.unwrap();
    register(repo).await;
    assert_eq!(prune(repo, Duration::ZERO).await.refused_sessions.len(), 1, "the tombstone");
    let gone = repo.find_snapshot("gone").await.unwrap().id;
    repo.forget(&[gone], "written to be forgotten").await.unwrap();
    register(repo).await;
    let report = prune(repo, Duration::from_secs(3600)).await;
    assert!(report.condemned_packs > 0 && report.deleted_packs == 0 && !report.waiting.is_empty());
    push(repo, "db", &["nightly"], &table(2), Facts::default()).await;
    // No prune comes after: its object stays, and only the marker hides it.
    let hidden = push(repo, "db", &[], &table(3), Facts::default()).await.id;
    repo.forget(&[hidden], "written to be hidden").await.unwrap();
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::File::create_new(path).unwrap().write_all(bytes).unwrap();
}

#[tokio::test]
#[ignore = "writes the repository of a new format version; refuses to replace one"]
async fn write_a_repository() {
    let folder = fixtures().join(format!("v{}", cistern_format::VERSION));
    assert!(!folder.exists(), "golden repositories are never written again");
    let store = Arc::new(MemStore::new());
    store.set_now(Duration::from_millis(WRITTEN_MS));
    let config = Config {
        chunk_sizes: ChunkSizes::around(16 << 10).unwrap(),
        pack_bytes: 64 << 10,
        level: 19,
        ..Config::default()
    };
    let repo = Repository::init(store.clone(), config, world(WRITTEN_MS, 1)).await.unwrap();
    fill(&repo, &store).await;
    let mut snapshots = Vec::new();
    for info in repo.snapshots().await.unwrap() {
        snapshots.push(described(&info, &pull(&repo, &info).await));
    }
    let manifest = serde_json::json!({ "written_ms": repo.world().now_ms(), "snapshots": snapshots });
    for key in store.keys() {
        let bytes = store.get(&key, u64::MAX).await.unwrap();
        write(&folder.join("repository").join(key.as_str()), &bytes);
    }
    let credential = repo.credential(Role::Owner).unwrap();
    write(&folder.join("owner.key"), format!("{}\n", credential.reveal()).as_bytes());
    write(&folder.join("passphrase"), format!("{PASSPHRASE}\n").as_bytes());
    write(&folder.join("manifest.json"), format!("{manifest:#}\n").as_bytes());
}
