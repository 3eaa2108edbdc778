//! Seeded histories: a cast of processes on one store, each with its own dice and its own bad luck.

use crate::paper::{A_DAY, Chaos, Place, assert_kept, named, nights_of, prune, pull, sharply, source};
use bytes::Bytes;
use cistern_repo::{
    ErrorKind, Facts, OptimizeOptions, PruneOptions, PruneReport, Receipt, Repository, Result, Role, Silent,
    SnapshotId,
};
use cistern_sim::{ChaosStore, Content, Fault, LastWrite, Promises, Rule, Verb};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

/// A session silent for longer is refused. Far above what an operation takes, below what a freeze does.
const SESSION_TIMEOUT: Duration = Duration::from_secs(60);
/// A process that stalls, as a suspended machine does.
const FREEZE: Duration = Duration::from_secs(150);

/// What all processes of a history share.
struct Stage {
    place: Place,
    chaos: Chaos,
    streams: Vec<Bytes>,
    promises: Mutex<Promises<SnapshotId>>,
    tally: Mutex<Tally>,
}

/// What happened, to know that the histories are worth running.
#[derive(Default, Debug)]
struct Tally {
    pushed: u32,
    delta_bytes: u64,
    refused: u32,
    push_failed: u32,
    pulled: u32,
    forgotten: u32,
    deleted_packs: u64,
    copied_bytes: u64,
    rebased: u64,
    optimized: u64,
    waits: u64,
    died: u32,
}

impl Stage {
    async fn new(seed: u64) -> Stage {
        let place = Place::new(seed).await;
        let chaos = ChaosStore::new(place.store.clone(), seed);
        // Nights of two tables, and streams that mix them, so that processes meet in the same chunks.
        let (a, b) = (nights_of(1, 60_000, 4), nights_of(2, 40_000, 2));
        let mut streams = a.clone();
        streams.push(b[0].clone());
        streams.extend([0, 2, 3].map(|n| Bytes::from([&a[n][..], &b[n % 2]].concat())));
        Stage { place, chaos, streams, promises: Mutex::default(), tally: Mutex::default() }
    }

    fn promises(&self) -> std::sync::MutexGuard<'_, Promises<SnapshotId>> {
        self.promises.lock().expect("a test that panicked has failed")
    }

    /// What is promised by now.
    fn promised(&self) -> Promises<SnapshotId> {
        self.promises().clone()
    }

    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().expect("a test that panicked has failed")
    }

    /// A process: operations take a while, and with `faults` some of them fail or freeze it.
    async fn process(&self, seed: u64, role: Role, faults: bool) -> (Arc<Chaos>, Repository) {
        let dice = &mut Xoshiro256PlusPlus::seed_from_u64(seed);
        let handle = Arc::new(self.chaos.another(seed));
        let repo = self.place.open_as(role, handle.clone(), seed).await.expect("nothing fails yet");
        for (millis, chance) in [(1, 0.5), (7, 0.5), (43, 0.2), (900, 0.05)] {
            handle.add(Rule::new(Fault::Delay(Duration::from_millis(millis))).chance(chance));
        }
        if faults {
            handle.add(Rule::new(Fault::LoseReply).on(&[Verb::Put, Verb::Delete]).chance(0.03));
            handle.add(Rule::new(Fault::Fail(cistern_store::ErrorKind::Unavailable)).chance(0.01));
            handle.add(Rule::new(Fault::Delay(FREEZE)).chance(0.01));
            let lag = cistern_sim::Lag::Time(Duration::from_secs(dice.random_range(1..200)));
            handle.add(Rule::new(Fault::LandLater(lag)).on(&[Verb::Put, Verb::Delete]).chance(0.02));
        }
        if faults && dice.random_bool(0.3) {
            let last = [LastWrite::Acknowledged, LastWrite::ReplyLost, LastWrite::LandsLater];
            handle.crash_with(dice.random_range(1..30), last[dice.random_range(0..3)]);
        }
        (handle, repo)
    }
}

fn dice(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

async fn rest_a_while(dice: &mut Xoshiro256PlusPlus, secs_max: u64) {
    tokio::time::sleep(Duration::from_millis(dice.random_range(0..secs_max * 1000))).await;
}

/// Pushes, some of them so slowly that a prune refuses them, some twice at once; some cannot read, and store
/// whole what they find changed.
async fn pusher(stage: Arc<Stage>, seed: u64) {
    let dice = &mut dice(seed);
    let role = if dice.random_bool(0.3) { Role::Push } else { Role::Owner };
    let (handle, repo) = stage.process(seed, role, dice.random_bool(0.6)).await;
    for _ in 0..dice.random_range(2..5) {
        rest_a_while(dice, 20).await;
        let stream = stage.streams[dice.random_range(0..stage.streams.len())].clone();
        let name = ["db", "other"][dice.random_range(0..2)];
        let frozen = dice.random_bool(0.15).then_some(FREEZE);
        if dice.random_bool(0.2) {
            // Neither finds what the other stores.
            let slow = slow_push(&repo, name, &stream, frozen);
            let (slow, other) = futures::future::join(slow, slow_push(&repo, name, &stream, None)).await;
            note_push(&stage, &stream, slow);
            note_push(&stage, &stream, other);
        } else {
            note_push(&stage, &stream, slow_push(&repo, name, &stream, frozen).await);
        }
    }
    stage.tally().died += u32::from(handle.is_dead());
}

fn note_push(stage: &Stage, stream: &[u8], pushed: Result<Receipt>) {
    let content = Content::of(stream);
    let mut tally = stage.tally();
    match pushed {
        Ok(receipt) => {
            stage.promises().pushed(receipt.id, content);
            tally.pushed += 1;
            tally.delta_bytes += receipt.snapshot.stored.delta_bytes;
        }
        Err(e) => {
            assert_eq!(e.kind, ErrorKind::Retry, "{e}");
            stage.promises().push_failed(content);
            tally.push_failed += 1;
            tally.refused += u32::from(e.why.contains("went on without it"));
        }
    }
}

async fn slow_push(repo: &Repository, name: &str, bytes: &[u8], freeze: Option<Duration>) -> Result<Receipt> {
    let push = repo.begin_push(named(name)).await?;
    let ingested = push.ingest(source(bytes), Arc::new(Silent)).await?;
    if let Some(freeze) = freeze {
        tokio::time::sleep(freeze).await;
    }
    ingested.commit(Facts::default()).await
}

/// Prunes or optimizes without grace, each time more or less thoroughly.
async fn pruner(stage: Arc<Stage>, seed: u64) {
    let dice = &mut dice(seed);
    let (handle, repo) = stage.process(seed, Role::Owner, dice.random_bool(0.5)).await;
    for _ in 0..dice.random_range(3..7) {
        rest_a_while(dice, 25).await;
        let options = PruneOptions {
            session_timeout: SESSION_TIMEOUT,
            unused_percent_max: [0, 20, 100][dice.random_range(0..3)],
            repack_bytes_max: [u64::MAX, 40_000][dice.random_range(0..2)],
            rebase: dice.random_bool(0.8),
            ..sharply()
        };
        if dice.random_bool(0.4) {
            let options = OptimizeOptions { name: None, prune: options };
            let optimized = repo.optimize(&options, Arc::new(Silent)).await;
            stage.tally().optimized += optimized.as_ref().map_or(0, |report| report.deltas);
            note_prune(&stage, optimized.map(|report| report.prune));
        } else {
            note_prune(&stage, repo.prune(&options, Arc::new(Silent)).await);
        }
    }
    stage.tally().died += u32::from(handle.is_dead());
}

fn note_prune(stage: &Stage, pruned: Result<PruneReport>) {
    match pruned {
        Ok(report) => {
            let mut tally = stage.tally();
            tally.deleted_packs += report.deleted_packs;
            tally.copied_bytes += report.copied_bytes;
            tally.rebased += report.rebased_deltas;
            tally.waits += report.waiting.len() as u64;
        }
        Err(e) => assert_eq!(e.kind, ErrorKind::Retry, "{e}"),
    }
}

/// Forgets what was promised, now and then.
async fn forgetter(stage: Arc<Stage>, seed: u64) {
    let dice = &mut dice(seed);
    let (_, repo) = stage.process(seed, Role::Owner, dice.random_bool(0.3)).await;
    for _ in 0..dice.random_range(2..6) {
        rest_a_while(dice, 25).await;
        let ids: Vec<SnapshotId> = stage.promises().must_hold().map(|(id, _)| *id).collect();
        if ids.is_empty() {
            continue;
        }
        let id = ids[dice.random_range(0..ids.len())];
        match repo.forget(&[id], "the dice say so").await {
            Ok(()) => stage.promises().forgot(&id),
            Err(e) => {
                assert!(matches!(e.kind, ErrorKind::Retry | ErrorKind::NotFound), "{e}");
                stage.promises().forget_failed(&id);
            }
        }
        stage.tally().forgotten += 1;
    }
}

/// Pulls what is listed; what nobody forgot meanwhile must come out whole.
async fn puller(stage: Arc<Stage>, seed: u64) {
    let dice = &mut dice(seed);
    let (_, repo) = stage.process(seed, Role::Owner, false).await;
    for _ in 0..dice.random_range(2..5) {
        rest_a_while(dice, 30).await;
        let listed = repo.snapshots().await.expect("nothing fails for this process");
        if listed.is_empty() {
            continue;
        }
        let snapshot = &listed[dice.random_range(0..listed.len())];
        let (bytes, pulled) = pull(&repo, snapshot).await;
        let wanted = stage.promises().must_hold().find(|(id, _)| **id == snapshot.id).map(|(_, c)| *c);
        if let Some(wanted) = wanted {
            pulled.unwrap_or_else(|e| panic!("pull of {} while others work: {e:?}", snapshot.id));
            assert_eq!(Content::of(&bytes), wanted, "pull of {} while others work", snapshot.id);
            stage.tally().pulled += 1;
        }
    }
}

/// Runs one history to its end and checks it, then lets the faults stop and looks for garbage.
async fn history(seed: u64) -> Tally {
    let stage = Arc::new(Stage::new(seed).await);
    let dice = &mut dice(seed);
    let mut cast: JoinSet<()> = JoinSet::new();
    for _ in 0..dice.random_range(2..4) {
        cast.spawn(pusher(stage.clone(), dice.random()));
    }
    for _ in 0..2 {
        cast.spawn(pruner(stage.clone(), dice.random()));
    }
    cast.spawn(forgetter(stage.clone(), dice.random()));
    for _ in 0..dice.random_range(1..3) {
        cast.spawn(puller(stage.clone(), dice.random()));
    }
    while let Some(ended) = cast.join_next().await {
        ended.expect("it said why it panicked");
    }
    let fresh = stage.place.open(seed ^ 1).await;
    assert_kept(&fresh, &stage.promised(), "when all have ended").await;
    stage.chaos.land_parked().await;
    tokio::time::sleep(A_DAY).await;
    assert_kept(&fresh, &stage.promised(), "when all has landed").await;
    leave_no_garbage(&stage, &fresh).await;
    std::mem::take(&mut *stage.tally())
}

/// Once nothing fails any more, prunes end with exactly what snapshots need, and with nothing at all
/// once everything is forgotten.
async fn leave_no_garbage(stage: &Stage, repo: &Repository) {
    for n in 0.. {
        let report = prune(repo).await.expect("nothing fails any more");
        assert_kept(repo, &stage.promised(), "after a prune at rest").await;
        if report.condemned_packs == 0 && report.waiting.is_empty() {
            break;
        }
        // What one prune moves can leave bases that the next finds to be of no use any more, and a list
        // that holds a delta of a base waits for the list that holds the base whole.
        assert!(n < 12, "still garbage after {n} prunes: {report:?}");
    }
    let all: Vec<SnapshotId> = repo.snapshots().await.expect("nothing fails").iter().map(|s| s.id).collect();
    repo.forget(&all, "the end").await.expect("nothing fails any more");
    prune(repo).await.expect("nothing fails any more");
    for prefix in ["packs/", "index/", "sessions/", "trash/", "sketches/"] {
        assert_eq!(stage.place.store.names(prefix), [""; 0], "left behind");
    }
}

fn run(seed: u64) -> Tally {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime").block_on(history(seed))
}

#[expect(clippy::disallowed_methods, reason = "seeds to replay come from whoever runs the test")]
fn asked(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// Histories of a default run: about 30 seconds in the dev profile on two busy cores.
const SEEDS: u64 = 1500;

#[test]
fn whatever_the_dice_say_nothing_promised_is_lost_and_no_garbage_stays() {
    if let Some(seed) = asked("CISTERN_SEED") {
        println!("{:#?}", run(seed));
        return;
    }
    let mut sum = Tally::default();
    for seed in 0..asked("CISTERN_SEEDS").unwrap_or(SEEDS) {
        let ran = std::panic::catch_unwind(|| run(seed));
        let tally = ran.unwrap_or_else(|_| panic!("to see it again: CISTERN_SEED={seed}"));
        sum.pushed += tally.pushed;
        sum.delta_bytes += tally.delta_bytes;
        sum.refused += tally.refused;
        sum.push_failed += tally.push_failed;
        sum.pulled += tally.pulled;
        sum.forgotten += tally.forgotten;
        sum.deleted_packs += tally.deleted_packs;
        sum.copied_bytes += tally.copied_bytes;
        sum.rebased += tally.rebased;
        sum.optimized += tally.optimized;
        sum.waits += tally.waits;
        sum.died += tally.died;
    }
    println!("{sum:#?}");
    let all = [sum.pushed, sum.refused, sum.push_failed, sum.pulled, sum.forgotten, sum.died];
    assert!(all.iter().all(|n| *n > 0), "histories without interest: {sum:?}");
    assert!(sum.rebased > 0 && sum.optimized > 0, "{sum:?}");
    assert!(sum.delta_bytes > 0 && sum.deleted_packs > 0 && sum.copied_bytes > 0 && sum.waits > 0, "{sum:?}");
}
