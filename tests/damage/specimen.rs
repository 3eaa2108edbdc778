//! A repository with an object of every kind in it, and what its snapshots must restore to.

use crate::paper::{A_DAY, Place, named, nights_of, prune, pull, push, sharply};
use bytes::Bytes;
use cistern_repo::{Mark, PruneOptions, Repository, Silent, SnapshotId, VerifyOptions};
use cistern_store::Key;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Opens one of the key slots.
pub const PASSPHRASE: &[u8] = b"correct horse battery";

/// A repository to be harmed.
pub struct Specimen {
    pub place: Place,
    /// What each snapshot restores to.
    pub wanted: BTreeMap<SnapshotId, Bytes>,
    /// What is pushed next: it shares chunks with what is there.
    pub next: Bytes,
    /// The session a prune refused.
    pub refused: SnapshotId,
}

impl Specimen {
    pub async fn new() -> Specimen {
        let place = Place::new(1).await;
        let repo = place.open(2).await;
        // Long enough that its recipe does not fit into the snapshot itself.
        let nights = nights_of(7, 900_000, 4);
        let gone = nights_of(9, 90_000, 1).remove(0);
        let mut wanted = BTreeMap::new();
        for (name, bytes) in [("db", &nights[0]), ("db", &nights[1]), ("other", &gone), ("db", &nights[2])] {
            let receipt = push(&repo, name, bytes).await.expect("nothing fails here");
            wanted.insert(receipt.id, bytes.clone());
        }
        let refused = silent_push(&repo).await;
        let other = *wanted.iter().find(|(_, bytes)| **bytes == gone).expect("it was pushed").0;
        repo.forget(&[other], "test").await.expect("nothing fails here");
        wanted.remove(&other);
        let held = *wanted.keys().next().expect("three are left");
        for hold in ["audit", "law"] {
            let mark = Mark { add_hold: Some((hold.to_owned(), "test".to_owned())), ..Mark::default() };
            repo.mark(held, mark).await.expect("nothing fails here");
        }
        let _open = repo.begin_push(named("db")).await.expect("nothing fails here");
        let patient = PruneOptions { grace: 365 * A_DAY, unused_percent_max: 100, ..sharply() };
        let report = repo.prune(&patient, Arc::new(Silent)).await.expect("nothing fails here");
        assert!(report.condemned_packs > 0 && report.deleted_packs == 0, "{report:?}");
        for level in [0, 1] {
            let options = VerifyOptions { level, ..VerifyOptions::default() };
            let report = repo.verify(&options, Arc::new(Silent)).await.expect("nothing fails here");
            assert!(report.findings.is_empty(), "{:?}", report.findings);
        }
        Specimen { place, wanted, next: nights[3].clone(), refused }
    }

    pub async fn copy(&self) -> Specimen {
        let (wanted, next) = (self.wanted.clone(), self.next.clone());
        Specimen { place: self.place.copy().await, wanted, next, refused: self.refused }
    }

    /// The first object under a prefix that is not the tombstone, and another of its kind.
    pub fn two_of(&self, prefix: &str) -> (Key, Option<Key>) {
        let tombstone = self.refused.to_string();
        let names = self.place.store.names(prefix).into_iter().filter(|n| !n.ends_with(&tombstone));
        let mut keys = names.map(Key::new);
        (keys.next().unwrap_or_else(|| panic!("nothing under {prefix}")), keys.next())
    }
}

/// A push nobody hears of any more, refused by a prune.
async fn silent_push(repo: &Repository) -> SnapshotId {
    drop(repo.begin_push(named("db")).await.expect("nothing fails here"));
    tokio::time::advance(A_DAY).await;
    let report = prune(repo).await.expect("nothing fails here");
    report.refused_sessions[0]
}

/// What a pull of every snapshot gave: how many were right, how many were refused.
///
/// # Panics
/// If one gave wrong bytes: an error must follow a right beginning, success the right whole.
pub async fn restores(
    repo: &Repository,
    wanted: &BTreeMap<SnapshotId, Bytes>,
    when: &str,
) -> Vec<SnapshotId> {
    let mut right = Vec::new();
    for (id, bytes) in wanted {
        let Ok(snapshot) = repo.find_snapshot(&id.to_string()).await else { continue };
        let (got, pulled) = pull(repo, &snapshot).await;
        match pulled {
            Ok(()) => {
                assert!(got == *bytes, "{when}: {id} was restored to something else");
                right.push(*id);
            }
            Err(e) => {
                assert!(bytes.starts_with(&got), "{when}: {id} was refused after wrong bytes: {e}");
            }
        }
    }
    right
}
