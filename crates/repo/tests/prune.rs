//! Forget and prune give space back and lose nothing.
#![allow(clippy::disallowed_methods, reason = "a test may unwrap")]

mod common;
use cistern_repo::*;
use common::*;
use std::sync::Arc;
use std::time::Duration;

fn now() -> PruneOptions {
    PruneOptions { grace: Duration::ZERO, unused_percent_max: 0, ..PruneOptions::default() }
}

fn bytes_of(store: &cistern_store::MemStore) -> usize {
    store.keys().iter().filter(|k| k.as_str().starts_with("packs/")).count()
}

#[tokio::test]
async fn what_nobody_needs_goes_and_what_somebody_needs_stays() {
    let mem = Arc::new(cistern_store::MemStore::new());
    let repo = repository(mem.clone(), 0).await;
    let nights: Vec<Vec<u8>> = (0..4).map(|n| night(&rows(1, 40_000), n)).collect();
    let mut ids = Vec::new();
    for bytes in &nights {
        ids.push(push(&repo, "db", bytes).await.id);
    }
    push(&repo, "other", &rows(9, 30_000)).await;
    let before = bytes_of(&mem);
    // The first night is what all others are deltas of.
    repo.forget(&[ids[0], ids[2]], "test").await.unwrap();
    let report = repo.prune(&now(), Arc::new(Silent)).await.unwrap();
    assert_eq!(report.waiting, Vec::<String>::new());
    for n in [1, 3] {
        assert!(pull(&repo, &ids[n].to_string()).await == nights[n]);
    }
    let other = repo.find_snapshot("other").await.unwrap().id;
    repo.forget(&[ids[1], ids[3], other], "test").await.unwrap();
    let report = repo.prune(&now(), Arc::new(Silent)).await.unwrap();
    assert!(report.deleted_packs > 0);
    assert_eq!(bytes_of(&mem), 0, "{before} packs before; {report:?}");
}

#[tokio::test]
async fn grace_keeps_condemned_packs_and_the_next_prune_goes_on() {
    let mem = Arc::new(cistern_store::MemStore::new());
    let repo = repository(mem.clone(), 0).await;
    let id = push(&repo, "db", &rows(1, 10_000)).await.id;
    push(&repo, "other", &rows(2, 10_000)).await;
    repo.forget(&[id], "test").await.unwrap();
    let patient = PruneOptions { grace: Duration::from_secs(3600), ..now() };
    let report = repo.prune(&patient, Arc::new(Silent)).await.unwrap();
    assert!(report.condemned_packs > 0 && report.deleted_packs == 0 && !report.waiting.is_empty());
    mem.set_now(Duration::from_secs(3000));
    assert_eq!(repo.prune(&patient, Arc::new(Silent)).await.unwrap().deleted_packs, 0);
    mem.set_now(Duration::from_secs(3700));
    assert!(repo.prune(&patient, Arc::new(Silent)).await.unwrap().deleted_packs > 0);
    assert!(pull(&repo, "other").await == rows(2, 10_000));
}

#[tokio::test]
async fn a_push_under_way_is_waited_for_and_a_silent_one_refused() {
    let mem = Arc::new(cistern_store::MemStore::new());
    let repo = repository(mem.clone(), 0).await;
    let bytes = rows(1, 20_000);
    let old = push(&repo, "db", &bytes).await.id;
    // A push that found all chunks there, and has not committed yet.
    let slow = begin(&repo, "db").await.ingest(source(&bytes), Arc::new(Silent)).await.unwrap();
    let silent = begin(&repo, "db").await.ingest(source(&bytes), Arc::new(Silent)).await.unwrap();
    repo.forget(&[old], "test").await.unwrap();
    let report = repo.prune(&now(), Arc::new(Silent)).await.unwrap();
    assert!(report.deleted_packs == 0 && report.waiting.len() == 1, "{report:?}");
    let id = slow.commit(Facts::default()).await.unwrap().id;
    mem.set_now(Duration::from_secs(3 * 3600));
    let report = repo.prune(&now(), Arc::new(Silent)).await.unwrap();
    assert_eq!((report.refused_sessions.len(), report.waiting.len()), (1, 0), "{report:?}");
    let refused = silent.commit(Facts::default()).await.expect_err("it was refused");
    assert_eq!(refused.kind, ErrorKind::Retry);
    assert!(pull(&repo, &id.to_string()).await == bytes, "the condemned chunks were copied for it");
}
