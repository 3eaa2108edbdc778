//! A push dies, or one of its operations fails.

use crate::paper::{assert_kept, push};
use crate::scenario::{ENDINGS, Scenario, single_faults};
use cistern_format::id::PackId;
use cistern_format::pack::check_whole;
use cistern_format::record::ChunkKind;
use cistern_repo::{ErrorKind, Receipt, Repository};
use cistern_sim::{Rule, Verb};
use cistern_store::{Key, Store as _};
use std::collections::BTreeSet;

/// Plain bytes of data in the packs that are there and were not in `before`.
async fn stored_since(scenario: &Scenario, repo: &Repository, before: &BTreeSet<String>) -> u64 {
    let mut raw_bytes = 0;
    for name in scenario.place.store.names("packs/").into_iter().filter(|n| !before.contains(n)) {
        let key = Key::new(name);
        let id: PackId = key.name().parse().expect("packs are named by their id");
        let object = scenario.place.store.get(&key, u64::MAX).await.expect("it is listed");
        let directory = check_whole(repo.keys(), &id, &object).expect("a pack is stored whole or not at all");
        let data = directory.rows.iter().filter(|r| r.binding.kind == ChunkKind::Data);
        raw_bytes += data.map(|r| u64::from(r.binding.raw_len)).sum::<u64>();
    }
    raw_bytes
}

fn sent_bytes(receipt: &Receipt) -> u64 {
    receipt.snapshot.stored.new_bytes + receipt.snapshot.stored.delta_bytes
}

#[tokio::test(start_paused = true)]
async fn a_push_that_dies_loses_nothing_and_can_be_run_again() {
    let base = Scenario::new().await;
    let packs_before: BTreeSet<String> = base.place.store.names("packs/").into_iter().collect();
    for (last, landing) in ENDINGS {
        let (mut died, mut reused) = (0, 0);
        for n in 1.. {
            let mut scenario = base.copy().await;
            let (chaos, repo) = scenario.process(n).await;
            chaos.crash_with(n, last);
            let pushed = push(&repo, "db", &scenario.third_night).await;
            if !chaos.is_dead() {
                assert!(pushed.is_ok(), "nobody died: {pushed:?}");
                break;
            }
            died += 1;
            scenario.note(&pushed);
            let when = format!("dead after {n} writes, the last {last:?}, {landing:?}");
            let there = stored_since(&scenario, &repo, &packs_before).await;
            let rest = scenario.copy().await;
            let again = push(&rest.place.open(n + 500).await, "db", &rest.third_night).await;
            let sent = sent_bytes(&again.expect("nothing fails here"));
            if there > 0 {
                reused += 1;
                let whole = push(&base.copy().await.place.open(n).await, "db", &base.third_night).await;
                let whole = sent_bytes(&whole.expect("nothing fails here"));
                assert_eq!(there + sent, whole, "{when}: chunks were there and were stored again");
            }
            scenario.aftermath(&chaos, landing, &when).await;
        }
        assert!(died >= 5 && reused >= 3, "{last:?}: died {died} times, {reused} times with packs stored");
    }
}

#[tokio::test(start_paused = true)]
async fn one_operation_of_a_push_that_fails_once_makes_it_fail_cleanly_or_not_at_all() {
    let base = Scenario::new().await;
    let (chaos, repo) = base.copy().await.process(1).await;
    push(&repo, "db", &base.third_night).await.expect("nothing fails here");
    let count = chaos.ops().len() as u64;
    assert!(count > 20 && chaos.count(Verb::GetRange, "packs/") > 0, "bases are read: {count} operations");
    let (mut failed, mut succeeded) = (0, 0);
    for (n, fault) in single_faults(count) {
        let mut scenario = base.copy().await;
        let (chaos, repo) = scenario.process(n).await;
        chaos.add(Rule::new(fault.clone()).nth(n));
        let pushed = push(&repo, "db", &scenario.third_night).await;
        let op = chaos.ops().get(n as usize).map(ToString::to_string).unwrap_or_default();
        let when = format!("operation {n}: {op}");
        scenario.note(&pushed);
        match pushed {
            Ok(_) => succeeded += 1,
            Err(e) => {
                failed += 1;
                assert_eq!(e.kind, ErrorKind::Retry, "{when}: {e}");
            }
        }
        assert_kept(&scenario.place.open(n + 500).await, &scenario.promises, &when).await;
        chaos.heal();
        chaos.land_parked().await;
        assert_kept(&repo, &scenario.promises, &when).await;
        let again = push(&repo, "db", &scenario.third_night).await;
        scenario.note(&again);
        again.unwrap_or_else(|e| panic!("{when}: it does not work again: {e:?}"));
        assert_kept(&repo, &scenario.promises, &when).await;
    }
    assert!(failed > 20 && succeeded > 20, "{failed} failed, {succeeded} succeeded");
}
