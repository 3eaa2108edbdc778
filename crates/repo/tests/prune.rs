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

/// Prunes until there is nothing left to do; returns bases released and deltas made anew.
async fn prune_to_the_end(repo: &Repository, options: &PruneOptions) -> (u64, u64) {
    let (mut bases, mut deltas) = (0, 0);
    for _ in 0..6 {
        let report = repo.prune(options, Arc::new(Silent)).await.unwrap();
        bases += report.released_bases;
        deltas += report.rebased_deltas;
        if report.condemned_packs == 0 {
            return (bases, deltas);
        }
    }
    panic!("six prunes, and there is still something to do");
}

async fn opened_as(owner: &Repository, store: &Arc<cistern_store::MemStore>, role: Role) -> Repository {
    let credential = Unlock::Credential(owner.credential(role).unwrap());
    Repository::open(store.clone(), credential, World::real().with_threads(0)).await.unwrap()
}

async fn assert_sound(repo: &Repository) {
    let options = VerifyOptions { level: 4, ..VerifyOptions::default() };
    let report = repo.verify(&options, Arc::new(Silent)).await.unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

#[tokio::test]
async fn a_base_kept_by_one_small_delta_goes_when_a_later_chunk_serves_as_well() {
    let mem = Arc::new(cistern_store::MemStore::new());
    let repo = repository(mem.clone(), 0).await;
    let nights: Vec<Vec<u8>> = (0..3).map(|n| night(&rows(1, 40_000), n)).collect();
    let first = push(&repo, "db", &nights[0]).await.id;
    let kept = push(&repo, "db", &nights[1]).await;
    assert!(kept.snapshot.stored.delta_bytes * 2 > kept.snapshot.raw_bytes, "{:?}", kept.snapshot.stored);
    // What cannot read stores all that is new whole.
    let last = push(&opened_as(&repo, &mem, Role::Push).await, "db", &nights[2]).await.id;
    repo.forget(&[first], "test").await.unwrap();
    let before = repo.stats().await.unwrap();
    let objects = mem.keys();
    let preview = repo.prune(&PruneOptions { dry_run: true, ..now() }, Arc::new(Silent)).await.unwrap();
    assert!(preview.released_bases > 0 && mem.keys() == objects, "a preview tells and writes nothing");

    let maintainer = opened_as(&repo, &mem, Role::Maintain).await;
    for (repo, options) in [(&maintainer, now()), (&repo, PruneOptions { rebase: false, ..now() })] {
        assert_eq!(prune_to_the_end(repo, &options).await, (0, 0), "it cannot read, or must not");
    }
    let (bases, deltas) = prune_to_the_end(&repo, &now()).await;
    assert_eq!((bases, deltas), (preview.released_bases, preview.rebased_deltas));
    assert!(bases > 10 && deltas >= bases, "{bases} bases, {deltas} deltas");
    let after = repo.stats().await.unwrap();
    assert!(after.pack_bytes * 5 < before.pack_bytes * 3, "{} of {}", after.pack_bytes, before.pack_bytes);
    assert!(after.delta_chunks > 0 && after.unused_record_bytes == 0, "{after:?}");
    for (id, bytes) in [(kept.id, &nights[1]), (last, &nights[2])] {
        assert!(pull(&repo, &id.to_string()).await == *bytes);
    }
    assert_sound(&repo).await;
}

#[tokio::test]
async fn without_a_successor_a_base_goes_for_large_deltas_and_stays_for_small_ones() {
    // Small ones: a byte in most chunks. The last chunk may be short, and is left as it is.
    for (every, large) in [(150, true), (40_000, false)] {
        let mem = Arc::new(cistern_store::MemStore::new());
        let repo = repository(mem.clone(), 0).await;
        let first = rows(1, 40_000);
        let mut second = first.clone();
        (1000..second.len() * 7 / 8).step_by(every).for_each(|at| second[at] ^= 1);
        let old = push(&repo, "db", &first).await.id;
        let kept = push(&repo, "db", &second).await;
        assert!(kept.snapshot.stored.delta_bytes * 4 > kept.snapshot.raw_bytes, "{:?}", kept.snapshot.stored);
        repo.forget(&[old], "test").await.unwrap();
        let before = repo.stats().await.unwrap().delta_chunks;
        let (bases, _) = prune_to_the_end(&repo, &now()).await;
        // Which chunk is how long follows from the repository's key: a short one may be the exception.
        let as_said = (bases * 20 > before) == large;
        assert!(as_said, "{bases} bases of {before} deltas went, a byte changed every {every}");
        assert!(pull(&repo, "db").await == second);
        assert_sound(&repo).await;
    }
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
