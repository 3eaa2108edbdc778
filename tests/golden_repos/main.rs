//! Repositories written by earlier versions of the format, which every later version must open.
//!
//! Each folder of `fixtures/repos` was written once and never changes. It holds a repository, the key
//! file and passphrase that open it, and `manifest.json` with what must come out of it.
#![expect(clippy::disallowed_methods, reason = "a test may unwrap")]

mod write;

use bytes::Bytes;
use cistern_repo::{
    Credential, Facts, PruneOptions, PushOptions, Receipt, Repository, Silent, SnapshotInfo, Source, Unlock,
    VerifyOptions, World,
};
use cistern_store::{Key, MemStore, Store};
use cistern_stream::gzip::{Rewrapper, Segment};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Versions there are fixtures of; every test opens each of them.
const VERSIONS: &[&str] = &["v1"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/repos")
}

/// A world whose clock moves a second at a look, from a time of the test's own, with dice from a seed.
pub fn world(start_ms: u64, seed: u8) -> World {
    let clock = AtomicU64::new(start_ms);
    let dice = Mutex::new(blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof());
    World::simulated(
        move || clock.fetch_add(1000, Ordering::Relaxed),
        move |bytes| dice.lock().unwrap().fill(bytes),
    )
}

/// A fixture, and a copy of its repository in memory that may be changed.
struct Golden {
    folder: PathBuf,
    manifest: Value,
    store: Arc<MemStore>,
}

impl Golden {
    async fn load(version: &str) -> Golden {
        let folder = fixtures().join(version);
        let manifest = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        let golden = Golden { store: Arc::new(MemStore::new()), manifest, folder };
        golden.store.set_now(Duration::from_millis(golden.written_ms()));
        let repository = golden.folder.join("repository");
        for path in files_below(&repository) {
            let key = path.strip_prefix(&repository).unwrap().to_str().unwrap().to_owned();
            golden.store.put_new(&Key::new(key), vec![std::fs::read(&path).unwrap().into()]).await.unwrap();
        }
        golden
    }

    fn written_ms(&self) -> u64 {
        self.manifest["written_ms"].as_u64().unwrap()
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap().trim().to_owned()
    }

    async fn open_with(&self, unlock: Unlock) -> Repository {
        Repository::open(self.store.clone(), unlock, world(self.written_ms(), 7)).await.unwrap()
    }

    async fn open(&self) -> Repository {
        self.open_with(Unlock::Credential(Credential::new(self.text("owner.key")))).await
    }

    /// Asserts that exactly the snapshots of the manifest are listed and restore to what it says.
    async fn assert_restores(&self, repo: &Repository) {
        let wanted = self.manifest["snapshots"].as_array().unwrap();
        let listed = repo.snapshots().await.unwrap();
        let ids = listed.iter().map(|s| s.id.to_string()).collect::<Vec<_>>();
        assert_eq!(ids, wanted.iter().map(|w| w["id"].as_str().unwrap()).collect::<Vec<_>>());
        for (info, wanted) in listed.iter().zip(wanted) {
            let content = pull(repo, info).await;
            assert_eq!(described(info, &content), *wanted);
        }
    }
}

/// What a manifest says of a snapshot.
fn described(info: &SnapshotInfo, content: &[u8]) -> Value {
    let wrap = info.snapshot.wrap.as_ref();
    serde_json::json!({
        "id": info.id,
        "name": info.snapshot.name,
        "depth": info.snapshot.recipe.depth,
        "bytes": content.len(),
        "blake3": blake3::hash(content).to_hex().as_str(),
        "tags": info.tags,
        "holds": info.holds,
        "wrapped_bytes": wrap.map(|w| w.original_bytes),
        "wrapped_blake3": wrap.map(|w| hex::encode(*w.original_digest)),
    })
}

#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn pull(repo: &Repository, info: &SnapshotInfo) -> Vec<u8> {
    let out = Out::default();
    repo.pull(info, Box::new(out.clone()), Arc::new(Silent)).await.unwrap();
    std::mem::take(&mut *out.0.lock().unwrap())
}

async fn push(repo: &Repository, name: &str, tags: &[&str], content: &[u8], facts: Facts) -> Receipt {
    let options = PushOptions {
        name: name.to_owned(),
        host: "fixture".to_owned(),
        writer: "fixture".to_owned(),
        tags: tags.iter().map(|t| t.to_string()).collect(),
        deltas: true,
    };
    let source: Source = Box::new(std::io::Cursor::new(content.to_vec()));
    let push = repo.begin_push(options).await.unwrap();
    push.ingest(source, Arc::new(Silent)).await.unwrap().commit(facts).await.unwrap()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

#[test]
fn every_fixture_is_opened_by_these_tests() {
    let folders =
        std::fs::read_dir(fixtures()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let tested = VERSIONS.iter().map(|v| v.to_string());
    assert_eq!(folders.collect::<BTreeSet<_>>(), tested.collect::<BTreeSet<_>>());
}

#[tokio::test]
async fn every_kind_of_object_is_there() {
    for version in VERSIONS {
        let keys = Golden::load(version).await.store.keys();
        let names: Vec<&str> = keys.iter().map(Key::as_str).collect();
        for prefix in [
            "cistern.json",
            "config",
            "forgotten/",
            "index/",
            "keys/",
            "marks/",
            "packs/",
            "sessions/",
            "sketches/",
            "snapshots/",
            "trash/",
            "verified/",
        ] {
            assert!(names.iter().any(|n| n.starts_with(prefix)), "{version} has no {prefix}");
        }
        assert!(names.iter().any(|n| n.starts_with("trash/") && n.ends_with(".queue")), "{version}");
    }
}

#[tokio::test]
async fn every_snapshot_restores() {
    for version in VERSIONS {
        let golden = Golden::load(version).await;
        golden.assert_restores(&golden.open().await).await;
        let passphrase = Unlock::Passphrase(golden.text("passphrase").into_bytes());
        golden.assert_restores(&golden.open_with(passphrase).await).await;
    }
}

#[tokio::test]
async fn a_full_verify_finds_nothing() {
    for version in VERSIONS {
        let golden = Golden::load(version).await;
        let repo = golden.open().await;
        let options = VerifyOptions { level: 4, ..VerifyOptions::default() };
        let report = repo.verify(&options, Arc::new(Silent)).await.unwrap();
        assert!(report.findings.is_empty(), "{version}: {:?}", report.findings);
        assert_eq!(report.restored as usize, golden.manifest["snapshots"].as_array().unwrap().len());
        assert!(report.packs > 1 && report.read_bytes > 0, "{report:?}");
    }
}

#[tokio::test]
async fn a_push_finds_the_old_chunks() {
    for version in VERSIONS {
        let golden = Golden::load(version).await;
        let repo = golden.open().await;
        let last = repo.find_snapshot("db").await.unwrap();
        let content = pull(&repo, &last).await;
        let again = push(&repo, "db", &[], &content, Facts::default()).await.snapshot.stored;
        assert_eq!((again.duplicate_bytes, again.new_bytes, again.delta_bytes), (content.len() as u64, 0, 0));
        // One byte in every other chunk: each change is a delta of what was there.
        let mut changed = content.clone();
        changed.iter_mut().skip(5000).step_by(30_000).for_each(|byte| *byte ^= 1);
        let changes = push(&repo, "db", &[], &changed, Facts::default()).await;
        assert!(changes.snapshot.stored.delta_bytes > changes.snapshot.stored.new_bytes, "{changes:?}");
        let listed = repo.snapshots().await.unwrap();
        assert_eq!(pull(&repo, listed.last().unwrap()).await, changed);
    }
}

#[tokio::test]
async fn a_prune_goes_on_where_the_last_one_stopped() {
    for version in VERSIONS {
        let golden = Golden::load(version).await;
        let month_later = golden.written_ms() + 30 * 24 * 3_600_000;
        golden.store.set_now(Duration::from_millis(month_later));
        let repo = golden.open().await;
        let options =
            PruneOptions { grace: Duration::ZERO, unused_percent_max: 0, ..PruneOptions::default() };
        let report = repo.prune(&options, Arc::new(Silent)).await.unwrap();
        assert!(report.deleted_packs > 0 && report.refused_sessions.len() == 1, "{version}: {report:?}");
        let left: Vec<Key> = golden.store.keys();
        assert!(!left.iter().any(|k| k.as_str().starts_with("trash/")), "{version}: {left:?}");
        golden.assert_restores(&repo).await;
    }
}

#[tokio::test]
async fn gzip_can_be_put_back() {
    for version in VERSIONS {
        let golden = Golden::load(version).await;
        let repo = golden.open().await;
        let info = repo.find_snapshot("wrapped").await.unwrap();
        let segments = &info.snapshot.wrap.as_ref().unwrap().segments;
        let segments: Vec<Segment> = cistern_format::object::from_cbor("gzip", segments).unwrap();
        let content = pull(&repo, &info).await;
        let mut rewrapper = Rewrapper::new(segments).unwrap();
        let mut gzip = Vec::new();
        rewrapper.push(&content, &mut |bytes| gzip.extend_from_slice(bytes)).unwrap();
        rewrapper.finish(&mut |bytes| gzip.extend_from_slice(bytes)).unwrap();
        let mut inflated = Vec::new();
        flate2::read::MultiGzDecoder::new(&gzip[..]).read_to_end(&mut inflated).unwrap();
        assert!(inflated == content);
    }
}

#[tokio::test]
async fn a_changed_fixture_is_noticed() {
    let golden = Golden::load("v1").await;
    let pack = golden.store.keys().into_iter().find(|k| k.as_str().starts_with("packs/")).unwrap();
    let mut bytes = golden.store.get(&pack, u64::MAX).await.unwrap().to_vec();
    bytes[200] ^= 1;
    golden.store.tamper(&pack, Bytes::from(bytes));
    let options = VerifyOptions { level: 2, ..VerifyOptions::default() };
    let report = golden.open().await.verify(&options, Arc::new(Silent)).await.unwrap();
    assert!(report.is_damaged(), "{report:?}");
}
