//! Histories with deltas whose base goes before they do, step by step.

use crate::paper::{Place, assert_kept, named, nights_of, prune, push, sharply, source};
use bytes::Bytes;
use cistern_repo::{Facts, PruneOptions, Repository, Silent, SnapshotId};
use cistern_sim::{Content, Promises};
use std::sync::Arc;
use std::time::Duration;

/// A night whose chunks are bases; a stream of deltas of them and of other rows; those other rows alone.
struct Streams {
    bases: Bytes,
    mixed: Bytes,
    rest: Bytes,
}

impl Streams {
    fn new() -> Streams {
        let nights = nights_of(3, 200_000, 2);
        let rest = nights_of(4, 60_000, 1).remove(0);
        Streams { bases: nights[0].clone(), mixed: [&nights[1][..], &rest].concat().into(), rest }
    }
}

/// Packs with deltas nobody needs stay for their other records, packs of bases nobody needs go.
fn leave_waste() -> PruneOptions {
    PruneOptions { unused_percent_max: 100, ..sharply() }
}

async fn forget_bases_and_mixed(repo: &Repository, streams: &Streams) -> Promises<SnapshotId> {
    let mut promises = Promises::new();
    let bases = push(repo, "db", &streams.bases).await.expect("nothing fails here").id;
    let mixed = push(repo, "db", &streams.mixed).await.expect("nothing fails here");
    assert!(mixed.snapshot.stored.delta_bytes > 100_000, "{:?}", mixed.snapshot.stored);
    let rest = push(repo, "rest", &streams.rest).await.expect("nothing fails here").id;
    promises.pushed(rest, Content::of(&streams.rest));
    repo.forget(&[bases, mixed.id], "test").await.expect("nothing fails here");
    promises
}

#[tokio::test(start_paused = true)]
async fn a_delta_whose_base_was_pruned_is_not_taken_for_stored() {
    let place = Place::new(1).await;
    let repo = place.open(2).await;
    let streams = Streams::new();
    let mut promises = forget_bases_and_mixed(&repo, &streams).await;
    let report = repo.prune(&leave_waste(), Arc::new(Silent)).await.expect("nothing fails here");
    assert!(report.deleted_packs > 0 && report.copied_bytes == 0, "the bases go: {report:?}");
    let again = push(&repo, "db", &streams.mixed).await.expect("nothing fails here");
    promises.pushed(again.id, Content::of(&streams.mixed));
    assert_kept(&repo, &promises, "after the deltas came back").await;
}

#[tokio::test(start_paused = true)]
async fn a_base_on_an_earlier_list_than_its_delta_is_copied_for_it() {
    let place = Place::new(1).await;
    let repo = place.open(2).await;
    let streams = Streams::new();
    let mut promises = forget_bases_and_mixed(&repo, &streams).await;
    // It relies on deltas and bases, which nobody condemned yet.
    let writer = repo.begin_push(named("db")).await.expect("nothing fails here");
    let writer = writer.ingest(source(&streams.mixed), Arc::new(Silent)).await.expect("nothing fails here");
    let first = repo.prune(&leave_waste(), Arc::new(Silent)).await.expect("nothing fails here");
    assert!(first.condemned_packs > 0 && first.deleted_packs == 0, "the bases wait: {first:?}");
    let second = prune(&repo).await.expect("nothing fails here");
    assert!(second.condemned_packs > 0 && second.deleted_packs == 0, "the deltas wait: {second:?}");
    assert_eq!(place.store.names("trash/").iter().filter(|n| !n.ends_with("queue")).count(), 2);
    let receipt = writer.commit(Facts::default()).await.expect("nobody refused it");
    promises.pushed(receipt.id, Content::of(&streams.mixed));
    let third = prune(&repo).await.expect("nothing fails here");
    assert!(third.deleted_packs > 0, "{third:?}");
    assert_kept(&repo, &promises, "after both lists are gone").await;
}

#[tokio::test(start_paused = true)]
async fn a_writer_frozen_past_the_timeout_is_refused_and_nothing_it_relied_on_is_missed() {
    let place = Place::new(1).await;
    let repo = place.open(2).await;
    let streams = Streams::new();
    let mut promises = forget_bases_and_mixed(&repo, &streams).await;
    let frozen = repo.begin_push(named("db")).await.expect("nothing fails here");
    let frozen = frozen.ingest(source(&streams.mixed), Arc::new(Silent)).await.expect("nothing fails here");
    tokio::time::advance(Duration::from_secs(3 * 3600)).await;
    let report = prune(&repo).await.expect("nothing fails here");
    assert!(report.refused_sessions.len() == 1 && report.deleted_packs > 0, "{report:?}");
    let refused = frozen.commit(Facts::default()).await.expect_err("its chunks are gone");
    assert_eq!(refused.kind, cistern_repo::ErrorKind::Retry, "{refused}");
    promises.push_failed(Content::of(&streams.mixed));
    assert_kept(&repo, &promises, "after the refusal").await;
    let again = push(&repo, "db", &streams.mixed).await.expect("nothing fails here");
    promises.pushed(again.id, Content::of(&streams.mixed));
    assert_kept(&repo, &promises, "after it was run again").await;
}
