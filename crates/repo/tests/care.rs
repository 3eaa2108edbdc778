//! Verify names what is wrong, repair mends what can be mended, copy and optimize keep every byte.
#![allow(clippy::disallowed_methods, reason = "a test may unwrap")]

mod common;
use bytes::Bytes;
use cistern_repo::*;
use cistern_store::{Key, MemStore, Store};
use common::*;
use std::sync::Arc;
use std::time::Duration;

async fn verify(repo: &Repository, level: u8) -> VerifyReport {
    let options = VerifyOptions { level, ..VerifyOptions::default() };
    repo.verify(&options, Arc::new(Silent)).await.expect("nothing keeps it from looking")
}

async fn two_nights(store: Arc<dyn Store>) -> (Repository, Vec<Vec<u8>>) {
    let repo = repository(store, 0).await;
    let first = rows(1, 30_000);
    let nights = vec![first.clone(), night(&first, 1)];
    for bytes in &nights {
        push(&repo, "db", bytes).await;
    }
    (repo, nights)
}

fn packs(store: &MemStore) -> Vec<Key> {
    store.keys().into_iter().filter(|k| k.as_str().starts_with("packs/")).collect()
}

async fn tamper(store: &MemStore, key: &Key, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = store.get(key, 1 << 30).await.unwrap().to_vec();
    change(&mut bytes);
    store.tamper(key, Bytes::from(bytes));
}

#[tokio::test]
async fn a_sound_repository_is_found_sound_at_every_level() {
    let mem = Arc::new(MemStore::new());
    let (repo, _) = two_nights(mem.clone()).await;
    for level in 0..=4 {
        let report = verify(&repo, level).await;
        assert!(report.findings.is_empty(), "level {level}: {:?}", report.findings);
    }
    assert_eq!(repo.next_slice(2, 3).await.unwrap(), (1, 3));
    let slice = VerifyOptions { level: 2, slice: Some((1, 3)), name: None };
    repo.verify(&slice, Arc::new(Silent)).await.unwrap();
    assert_eq!(repo.next_slice(2, 3).await.unwrap(), (2, 3));
}

#[tokio::test]
async fn slices_cover_every_pack_once() {
    let mem = Arc::new(MemStore::new());
    let (repo, _) = two_nights(mem.clone()).await;
    let mut seen = 0;
    for part in 1..=4 {
        let slice = VerifyOptions { level: 2, slice: Some((part, 4)), name: None };
        seen += repo.verify(&slice, Arc::new(Silent)).await.unwrap().packs;
    }
    assert_eq!(seen, packs(&mem).len() as u64);
}

#[tokio::test]
async fn rot_in_a_base_names_every_snapshot_and_the_next_push_heals() {
    let mem = Arc::new(MemStore::new());
    let (repo, nights) = two_nights(mem.clone()).await;
    // The first record of the first night's first pack: a chunk the second night has a delta of.
    let first =
        packs(&mem).into_iter().min_by_key(|k| k.as_str().rsplit('.').next().unwrap().to_owned()).unwrap();
    tamper(&mem, &first, |bytes| bytes[200] ^= 1).await;
    assert!(!verify(&repo, 1).await.is_damaged(), "no level below 2 reads records");
    let report = verify(&repo, 2).await;
    let finding = report.findings.iter().find(|f| f.severity == Severity::Damage).expect("bit-rot is found");
    assert_eq!(finding.snapshots.len(), 2, "the delta's snapshot is named too: {finding:?}");
    let broken = repo.find_snapshot("db").await.unwrap();
    let refused = repo.pull(&broken, Box::new(std::io::sink()), Arc::new(Silent)).await;
    assert_eq!(refused.err().map(|e| e.kind), Some(ErrorKind::Damaged));

    let options = RepairOptions { read_data: true, ..RepairOptions::default() };
    let repaired = repo.repair(&options, Arc::new(Silent)).await.unwrap();
    assert_eq!(repaired.done.len(), 1, "{repaired:?}");
    assert!(!repaired.lost.is_empty(), "one chunk is gone for good");
    push(&repo, "db", &nights[0]).await;
    let report = verify(&repo, 4).await;
    assert!(!report.is_damaged(), "the same data again brought the chunk back: {:?}", report.findings);
    let now = PruneOptions { grace: Duration::ZERO, ..PruneOptions::default() };
    let pruned = repo.prune(&now, Arc::new(Silent)).await.unwrap();
    assert_eq!(pruned.waiting, Vec::<String>::new());
    assert!(!verify(&repo, 4).await.is_damaged());
}

#[tokio::test]
async fn losing_the_index_loses_nothing() {
    let mem = Arc::new(MemStore::new());
    let (repo, nights) = two_nights(mem.clone()).await;
    for key in mem.keys().into_iter().filter(|k| k.as_str().starts_with("index/")) {
        mem.delete(&key).await.unwrap();
    }
    assert!(pull(&repo, "db").await == nights[1], "packs carry their own directories");
    repo.repair(&RepairOptions::default(), Arc::new(Silent)).await.unwrap();
    assert!(verify(&repo, 4).await.findings.is_empty());
    let again = push(&repo, "db", &nights[1]).await.snapshot.stored;
    assert_eq!(again.new_bytes + again.delta_bytes, 0);
}

#[tokio::test]
async fn losing_the_index_of_many_packs_loses_nothing_either() {
    let mem = Arc::new(MemStore::new());
    let repo = repository(mem.clone(), 0).await;
    let bytes: Vec<Vec<u8>> = (0..300).map(|n| rows(n, 200)).collect();
    for (n, bytes) in bytes.iter().enumerate() {
        push(&repo, &format!("db{n}"), bytes).await;
    }
    assert!(packs(&mem).len() >= 300, "more packs than a push takes over");
    for key in mem.keys().into_iter().filter(|k| k.as_str().starts_with("index/")) {
        mem.delete(&key).await.unwrap();
    }
    for (n, bytes) in bytes.iter().enumerate() {
        assert!(pull(&repo, &format!("db{n}")).await == *bytes);
    }
    assert!(!verify(&repo, 1).await.is_damaged());
}

#[tokio::test]
async fn stats_add_up() {
    let mem = Arc::new(MemStore::new());
    let (repo, nights) = two_nights(mem.clone()).await;
    let stats = repo.stats().await.unwrap();
    assert_eq!(stats.raw_bytes, nights.iter().map(|n| n.len() as u64).sum::<u64>());
    assert!(stats.delta_chunks > 0 && stats.unused_record_bytes == 0);
    assert_eq!(stats.packs, packs(&mem).len() as u64);
    let records = stats.whole_record_bytes + stats.delta_record_bytes + stats.recipe_record_bytes;
    assert_eq!(records, stats.used_record_bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_holds_the_same_and_is_made_once() {
    let (from, nights) = two_nights(Arc::new(MemStore::new())).await;
    let from = Repository::open(
        from.store().clone(),
        Unlock::Credential(from.credential(Role::Owner).unwrap()),
        World::real().with_threads(2),
    )
    .await
    .unwrap();
    let to = repository(Arc::new(MemStore::new()), 2).await;
    let all = from.snapshots().await.unwrap();
    assert_eq!(from.copy_to(&to, &all, Arc::new(Silent)).await.unwrap().len(), 2);
    assert_eq!(from.copy_to(&to, &all, Arc::new(Silent)).await.unwrap().len(), 0, "copied before");
    let copies = to.snapshots().await.unwrap();
    for (copy, bytes) in copies.iter().zip(&nights) {
        assert!(pull(&to, &copy.id.to_string()).await == *bytes);
        assert_eq!(
            copy.snapshot.copied_from.unwrap().0,
            all[copies.iter().position(|c| c.id == copy.id).unwrap()].id
        );
    }
}

#[tokio::test]
async fn optimize_makes_the_deltas_a_write_only_push_could_not() {
    let mem = Arc::new(MemStore::new());
    let owner = repository(mem.clone(), 0).await;
    let credential = owner.credential(Role::Push).unwrap();
    let writer = Repository::open(mem.clone(), Unlock::Credential(credential), World::real().with_threads(0))
        .await
        .unwrap();
    let first = rows(1, 40_000);
    let nights: Vec<Vec<u8>> = (0..4).map(|n| night(&first, n)).collect();
    for bytes in &nights {
        let stored = push(&writer, "db", bytes).await.snapshot;
        assert_eq!(stored.stored.delta_bytes, 0, "it cannot read: {}", stored.deltas);
    }
    let before = owner.stats().await.unwrap().pack_bytes;
    let prune = PruneOptions { grace: Duration::ZERO, ..PruneOptions::default() };
    let options = OptimizeOptions { name: None, prune };
    assert!(writer.optimize(&options, Arc::new(Silent)).await.is_err());
    let objects = mem.keys();
    let preview =
        OptimizeOptions { prune: PruneOptions { dry_run: true, ..options.prune.clone() }, name: None };
    assert!(owner.optimize(&preview, Arc::new(Silent)).await.unwrap().deltas > 0);
    assert_eq!(mem.keys(), objects, "a preview writes nothing");
    let report = owner.optimize(&options, Arc::new(Silent)).await.unwrap();
    assert!(report.deltas > 0 && report.after_bytes * 5 < report.before_bytes, "{report:?}");
    assert_eq!(report.prune.waiting, Vec::<String>::new());
    let after = owner.stats().await.unwrap().pack_bytes;
    assert!(after * 2 < before, "{after} of {before}");
    for (info, bytes) in owner.snapshots().await.unwrap().iter().zip(&nights) {
        assert!(pull(&owner, &info.id.to_string()).await == *bytes);
    }
    assert!(verify(&owner, 4).await.findings.is_empty());
    let again = owner.optimize(&options, Arc::new(Silent)).await.unwrap();
    assert_eq!(again.deltas, 0, "nothing is left to do");
}

#[tokio::test]
async fn a_machine_that_keeps_its_session_keys_makes_deltas_without_reading_rights() {
    let mem = Arc::new(MemStore::new());
    let owner = repository(mem.clone(), 0).await;
    let credential = || owner.credential(Role::Push).unwrap();
    let open =
        || Repository::open(mem.clone(), Unlock::Credential(credential()), World::real().with_threads(0));
    let place = Arc::new(MemStore::new());
    let here = open().await.unwrap().keeping_session_keys(place.clone());
    let elsewhere = open().await.unwrap().keeping_session_keys(Arc::new(MemStore::new()));
    let first = rows(1, 40_000);
    let nights: Vec<Vec<u8>> = (0..4).map(|n| night(&first, n)).collect();
    let stored = push(&here, "db", &nights[0]).await.snapshot;
    assert_eq!((stored.stored.delta_bytes, place.keys().len()), (0, 1));
    let stored = push(&here, "db", &nights[1]).await.snapshot;
    assert!(stored.stored.delta_bytes * 2 > stored.raw_bytes, "{}", stored.deltas);
    assert!(stored.deltas.contains("keeps"), "{}", stored.deltas);
    let stored = push(&elsewhere, "db", &nights[2]).await.snapshot;
    assert_eq!(stored.stored.delta_bytes, 0, "another machine has no key of ours: {}", stored.deltas);
    for key in place.keys() {
        let file = place.get(&key, 1 << 10).await.unwrap();
        place.delete(&key).await.unwrap();
        place.put_new(&key, vec![file.slice(..40)]).await.unwrap();
    }
    let stored = push(&here, "db", &nights[3]).await.snapshot;
    assert_eq!(stored.stored.delta_bytes, 0, "damaged keys cost space: {}", stored.deltas);
    assert!(
        here.pull(&owner.snapshots().await.unwrap()[0], Box::new(std::io::sink()), Arc::new(Silent))
            .await
            .is_err()
    );
    for (info, bytes) in owner.snapshots().await.unwrap().iter().zip(&nights) {
        assert!(pull(&owner, &info.id.to_string()).await == *bytes);
    }
    assert!(verify(&owner, 4).await.findings.is_empty());
}

#[tokio::test]
async fn a_chunk_that_two_pushes_stored_at_once_is_no_delta_of_itself() {
    let mem = Arc::new(MemStore::new());
    let owner = repository(mem.clone(), 0).await;
    let first = rows(1, 40_000);
    let pushes = [begin(&owner, "db").await, begin(&owner, "db").await];
    for push in pushes {
        let ingested = push.ingest(source(&first), Arc::new(Silent)).await.unwrap();
        ingested.commit(Facts::default()).await.unwrap();
    }
    let prune = PruneOptions { grace: Duration::ZERO, ..PruneOptions::default() };
    let options = OptimizeOptions { name: None, prune };
    for _ in 0..2 {
        let report = owner.optimize(&options, Arc::new(Silent)).await.unwrap();
        assert_eq!(report.deltas, 0, "there is nothing older to compare with");
        owner.prune(&options.prune, Arc::new(Silent)).await.unwrap();
    }
    for info in owner.snapshots().await.unwrap() {
        assert!(pull(&owner, &info.id.to_string()).await == first);
    }
    assert!(verify(&owner, 4).await.findings.is_empty());
}
