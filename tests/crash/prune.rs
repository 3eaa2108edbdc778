//! A prune dies, or one of its operations fails.

use crate::paper::{assert_kept, prune};
use crate::scenario::{ENDINGS, Scenario, single_faults};
use cistern_sim::{Fault, Rule, Verb};

#[tokio::test(start_paused = true)]
async fn a_prune_that_dies_loses_nothing_and_the_next_goes_on() {
    let base = Scenario::new().await;
    let (chaos, repo) = base.copy().await.process(1).await;
    let report = prune(&repo).await.expect("nothing fails here");
    assert!(report.copied_bytes > 0 && report.deleted_packs > 0, "{report:?}");
    assert!(report.rebased_deltas > 0 && report.released_bases > 0, "{report:?}");
    assert!(report.index_objects.0 > report.index_objects.1, "the index was merged: {report:?}");
    let count = chaos.mutations();
    for (last, landing) in ENDINGS {
        for n in 1..=count {
            let mut scenario = base.copy().await;
            let (chaos, repo) = scenario.process(n).await;
            chaos.crash_with(n, last);
            let pruned = prune(&repo).await;
            assert!(chaos.is_dead(), "{n} of {count}: {pruned:?}");
            let when = format!("dead after {n} of {count} writes, the last {last:?}, {landing:?}");
            scenario.aftermath(&chaos, landing, &when).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_operation_of_a_prune_that_fails_once_loses_nothing() {
    let base = Scenario::new().await;
    let (chaos, repo) = base.copy().await.process(1).await;
    prune(&repo).await.expect("nothing fails here");
    let count = chaos.ops().len() as u64;
    let mut failed = 0;
    for (n, fault) in single_faults(count) {
        let scenario = base.copy().await;
        let (chaos, repo) = scenario.process(n).await;
        chaos.add(Rule::new(fault.clone()).nth(n));
        let pruned = prune(&repo).await;
        let op = chaos.ops().get(n as usize).map(ToString::to_string).unwrap_or_default();
        let when = format!("operation {n}: {op}");
        let spoils = matches!(fault, Fault::FlipBit);
        match pruned {
            Err(e) if !spoils => assert_eq!(e.kind, cistern_repo::ErrorKind::Retry, "{when}: {e}"),
            _ => {}
        }
        failed += u32::from(chaos.count(Verb::Delete, "packs/") == 0);
        assert_kept(&scenario.place.open(n + 500).await, &scenario.promises, &when).await;
        chaos.heal();
        chaos.land_parked().await;
        assert_kept(&repo, &scenario.promises, &when).await;
        prune(&repo).await.unwrap_or_else(|e| panic!("{when}: the next prune fails: {e:?}"));
        assert_kept(&repo, &scenario.promises, &when).await;
    }
    assert!(failed > 20, "{failed} prunes failed before they deleted anything");
}
