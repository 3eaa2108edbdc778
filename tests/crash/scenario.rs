//! The repository everything here happens to, and what must hold whoever died.

use crate::paper::{A_DAY, Chaos, Place, assert_kept, nights_of, prune, push};
use bytes::Bytes;
use cistern_repo::{PruneReport, Receipt, Repository, Result, Role, SnapshotId};
use cistern_sim::{ChaosStore, Content, Fault, Lag, LastWrite, Promises};
use cistern_store::ErrorKind;
use std::sync::Arc;

/// Two nights of a database, a mixed stream and a part of it. The first night, which holds the bases,
/// and the mixed stream are forgotten. Then a night of another database is forgotten that holds the bases of
/// the next, while one night later all is there whole: a prune makes the deltas between anew.
pub struct Scenario {
    pub place: Place,
    pub promises: Promises<SnapshotId>,
    /// The night that is pushed next.
    pub third_night: Bytes,
}

impl Scenario {
    pub async fn new() -> Scenario {
        let place = Place::new(1).await;
        let repo = place.open(2).await;
        let mut promises = Promises::new();
        let nights = nights_of(7, 900_000, 3);
        // Of what is mixed only the rest stays, so that a prune has to copy.
        let rest = nights_of(9, 200_000, 1).remove(0);
        let mixed = [&nights_of(8, 400_000, 1)[0][..], &rest].concat().into();
        let mut receipts = Vec::new();
        for (name, bytes) in [("db", &nights[0]), ("db", &nights[1]), ("mixed", &mixed), ("rest", &rest)] {
            let receipt = push(&repo, name, bytes).await.expect("nothing fails here");
            promises.pushed(receipt.id, Content::of(bytes));
            receipts.push(receipt);
        }
        assert!(receipts[1].snapshot.stored.delta_bytes > 0, "the second night is made of deltas");
        let writer = place.open_as(Role::Push, place.store.clone(), 3).await.expect("a sound store");
        let nights_of_b = nights_of(11, 300_000, 3);
        for (repo, bytes) in [(&repo, &nights_of_b[0]), (&repo, &nights_of_b[1]), (&writer, &nights_of_b[2])]
        {
            let receipt = push(repo, "b", bytes).await.expect("nothing fails here");
            promises.pushed(receipt.id, Content::of(bytes));
            receipts.push(receipt);
        }
        for receipt in [&receipts[0], &receipts[2], &receipts[4]] {
            repo.forget(&[receipt.id], "test").await.expect("nothing fails here");
            promises.forgot(&receipt.id);
        }
        Scenario { place, promises, third_night: nights[2].clone() }
    }

    pub async fn copy(&self) -> Scenario {
        let promises = self.promises.clone();
        Scenario { place: self.place.copy().await, promises, third_night: self.third_night.clone() }
    }

    /// A process on a store that can fail.
    pub async fn process(&self, seed: u64) -> (Arc<Chaos>, Repository) {
        let chaos = Arc::new(ChaosStore::new(self.place.store.clone(), seed));
        let repo = self.place.open_on(chaos.clone(), seed).await.expect("nothing fails yet");
        chaos.clear_ops();
        (chaos, repo)
    }

    /// Notes how a push of the third night ended.
    pub fn note(&mut self, pushed: &Result<Receipt>) {
        let content = Content::of(&self.third_night);
        match pushed {
            Ok(receipt) => self.promises.pushed(receipt.id, content),
            Err(_) => self.promises.push_failed(content),
        }
    }

    /// What a fresh process finds and does after somebody died or failed: all that was promised is
    /// there, the third night can be pushed, and prunes leave nothing behind.
    pub async fn aftermath(&mut self, chaos: &Chaos, landing: Landing, when: &str) {
        let fresh = self.place.open(1000).await;
        assert_kept(&fresh, &self.promises, when).await;
        if landing == Landing::BeforeOthers {
            chaos.land_parked().await;
            assert_kept(&fresh, &self.promises, &format!("{when}, landed")).await;
        }
        let again = push(&fresh, "db", &self.third_night).await;
        let again = again.unwrap_or_else(|e| panic!("{when}: the push does not work again: {e:?}"));
        self.promises.pushed(again.id, Content::of(&self.third_night));
        assert_kept(&fresh, &self.promises, &format!("{when}, pushed again")).await;
        tokio::time::advance(A_DAY).await;
        self.prune_well(&fresh, &format!("{when}, first prune")).await;
        chaos.land_parked().await;
        tokio::time::advance(A_DAY).await;
        self.prune_well(&fresh, &format!("{when}, second prune")).await;
        let last = self.prune_well(&fresh, &format!("{when}, last prune")).await;
        assert_eq!(
            (last.condemned_packs, last.waiting),
            (0, vec![]),
            "{when}: there is still something to do"
        );
        for prefix in ["sessions/", "trash/"] {
            assert_eq!(self.place.store.names(prefix), [""; 0], "{when}: left behind");
        }
    }

    async fn prune_well(&self, repo: &Repository, when: &str) -> PruneReport {
        let report = prune(repo).await.unwrap_or_else(|e| panic!("{when}: {e:?}"));
        assert_kept(repo, &self.promises, when).await;
        report
    }
}

/// When a write lands that was on its way when its process died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landing {
    /// Before anybody else does anything.
    BeforeOthers,
    /// After another process has pushed and pruned.
    AfterOthers,
}

/// The ways the last write of a process can end.
pub const ENDINGS: [(LastWrite, Landing); 4] = [
    (LastWrite::Acknowledged, Landing::BeforeOthers),
    (LastWrite::ReplyLost, Landing::BeforeOthers),
    (LastWrite::LandsLater, Landing::BeforeOthers),
    (LastWrite::LandsLater, Landing::AfterOthers),
];

/// Each single operation of `count` that goes wrong once, without a retry around the store.
///
/// Listings that end early and say nothing are left out: no store may do that, and prune believes them.
pub fn single_faults(count: u64) -> impl Iterator<Item = (u64, Fault)> {
    let faults =
        [Fault::Fail(ErrorKind::Unavailable), Fault::LoseReply, Fault::FlipBit, Fault::LandLater(Lag::Asked)];
    (0..count).flat_map(move |n| faults.clone().map(|fault| (n, fault)))
}
