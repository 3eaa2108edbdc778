//! A snapshot object that was removed behind our back is missed, whichever witness is left; a forgotten one
//! is not.
#![allow(clippy::disallowed_methods, reason = "a test may unwrap")]

mod common;
use cistern_repo::*;
use cistern_store::{Key, MemStore, Store};
use common::*;
use std::sync::Arc;

/// What level 0 says is missing, and who says so.
async fn missed(repo: &Repository) -> Vec<(String, String)> {
    let options = VerifyOptions { level: 0, ..VerifyOptions::default() };
    let report = repo.verify(&options, Arc::new(Silent)).await.unwrap();
    assert!(report.findings.iter().all(|f| f.severity == Severity::Damage), "{:?}", report.findings);
    report.findings.into_iter().map(|f| (f.subject, f.what)).collect()
}

async fn remove(store: &MemStore, prefix: &str) {
    for key in store.keys().into_iter().filter(|k| k.as_str().starts_with(prefix)) {
        store.delete(&key).await.unwrap();
    }
}

async fn assert_missed(repo: &Repository, id: SnapshotId, witness: &str) {
    for _ in 0..2 {
        let missed = missed(repo).await;
        assert_eq!(missed.len(), 1, "{witness}: {missed:?}");
        assert_eq!(missed[0].0, format!("snapshots/{id}"));
        assert!(missed[0].1.contains(witness), "{missed:?}");
    }
    let options = RepairOptions { forget_broken: true, ..RepairOptions::default() };
    repo.repair(&options, Arc::new(Silent)).await.unwrap();
    assert_eq!(missed(repo).await, [], "{witness}: given up");
}

#[tokio::test]
async fn each_witness_alone_is_enough() {
    for witness in ["was made after it", "the sketches of its push", "the last verification saw it"] {
        let store = Arc::new(MemStore::new());
        let repo = repository(store.clone(), 0).await;
        let bytes = rows(1, 20_000);
        let first = push(&repo, "db", &bytes).await.id;
        if witness.contains("made after") {
            push(&repo, "db", &bytes).await;
        }
        if !witness.contains("sketches") {
            remove(&store, "sketches/").await;
        }
        if witness.contains("verification") {
            assert_eq!(missed(&repo).await, []);
        }
        store.delete(&Key::new(format!("snapshots/{first}"))).await.unwrap();
        assert_missed(&repo, first, witness).await;
    }
}

#[tokio::test]
async fn forgotten_refused_and_open_pushes_are_not_missed() {
    let store = Arc::new(MemStore::new());
    let repo = repository(store.clone(), 0).await;
    let first = push(&repo, "db", &rows(1, 20_000)).await.id;
    push(&repo, "db", &rows(2, 20_000)).await;
    let open = begin(&repo, "open").await.ingest(source(&rows(3, 20_000)), Arc::new(Silent)).await.unwrap();
    assert_eq!(missed(&repo).await, []);
    repo.forget(&[first], "test").await.unwrap();
    let options = PruneOptions {
        grace: std::time::Duration::ZERO,
        session_timeout: std::time::Duration::ZERO,
        ..PruneOptions::default()
    };
    let pruned = repo.prune(&options, Arc::new(Silent)).await.unwrap();
    assert_eq!((pruned.refused_sessions.len(), pruned.removed_snapshots), (1, 1));
    assert_eq!(missed(&repo).await, []);
    assert_eq!(open.commit(Facts::default()).await.unwrap_err().kind, ErrorKind::Retry);
    assert_eq!(missed(&repo).await, [], "its sketches are there, and the tombstone");
}
