//! Retries, limits and throttles, on a clock that is moved by the tests.

#![expect(clippy::disallowed_methods, reason = "a test that cannot unwrap has failed")]

use async_trait::async_trait;
use bytes::Bytes;
use cistern_store::contract::{self, Extent};
use cistern_store::{Entry, Error, ErrorKind, Key, Limit, MemStore, Patience, Retry, Store, Throttle};
use futures::future::join_all;
use futures::stream::{self, BoxStream, StreamExt as _};
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep};

/// What becomes of one request: how long it takes, and how it fails if it does.
type End = (Duration, Option<ErrorKind>);

/// A store that follows a script, and after its end just does as told at once.
#[derive(Clone, Default)]
struct Script(Arc<Stage>);

#[derive(Default)]
struct Stage {
    ends: Mutex<VecDeque<End>>,
    asked: AtomicUsize,
    busy: AtomicUsize,
    busy_max: AtomicUsize,
}

impl Script {
    fn of(ends: impl IntoIterator<Item = End>) -> Script {
        let script = Script::default();
        *script.0.ends.lock().unwrap() = ends.into_iter().collect();
        script
    }

    fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }

    async fn act(&self) -> Result<(), Error> {
        let stage = &self.0;
        stage.asked.fetch_add(1, Ordering::SeqCst);
        let busy = stage.busy.fetch_add(1, Ordering::SeqCst) + 1;
        stage.busy_max.fetch_max(busy, Ordering::SeqCst);
        let (takes, failure) = stage.ends.lock().unwrap().pop_front().unwrap_or_default();
        sleep(takes).await;
        stage.busy.fetch_sub(1, Ordering::SeqCst);
        failure.map_or(Ok(()), |kind| Err(Error::new(kind, "act", "x", "as scripted")))
    }
}

#[async_trait]
impl Store for Script {
    async fn put_new(&self, _: &Key, _: Vec<Bytes>) -> Result<(), Error> {
        self.act().await
    }

    async fn get(&self, _: &Key, size_max: u64) -> Result<Bytes, Error> {
        self.act().await.map(|()| vec![0; size_max as usize].into())
    }

    async fn get_range(&self, _: &Key, range: Range<u64>) -> Result<Bytes, Error> {
        self.act().await.map(|()| vec![0; (range.end - range.start) as usize].into())
    }

    async fn head(&self, key: &Key) -> Result<Entry, Error> {
        self.act().await?;
        Ok(Entry { key: key.clone(), size: 0, modified: SystemTime::UNIX_EPOCH })
    }

    fn list(&self, _: &str) -> BoxStream<'_, Result<Entry, Error>> {
        stream::empty().boxed()
    }

    async fn delete(&self, _: &Key) -> Result<(), Error> {
        self.act().await
    }

    fn location(&self) -> String {
        "script:".to_owned()
    }
}

fn key() -> Key {
    Key::new("a")
}

fn at_once(kind: ErrorKind) -> End {
    (Duration::ZERO, Some(kind))
}

fn takes(secs: u64) -> End {
    (Duration::from_secs(secs), None)
}

fn always(kind: ErrorKind) -> Vec<End> {
    vec![at_once(kind); 1000]
}

fn seeded(seed: u64) -> Patience {
    Patience { seed: Some(seed), ..Patience::default() }
}

#[tokio::test]
async fn the_whole_stack_keeps_the_contract() {
    let much = NonZeroU64::new(1 << 40);
    let stack = Limit::new(Throttle::new(Retry::new(MemStore::new(), Patience::default()), much, much), 4);
    contract::check_to(&stack, &Extent { list_len: 60, large_bytes: 1 << 20, race_len: 3 }).await;
}

#[tokio::test(start_paused = true)]
async fn passing_failures_are_tried_again_with_growing_waits() {
    let began = Instant::now();
    let script = Script::of(vec![at_once(ErrorKind::Unavailable); 4]);
    Retry::new(script.clone(), seeded(1)).put_new(&key(), vec![]).await.unwrap();
    assert_eq!(script.asked(), 5);
    // 0.2 + 0.4 + 0.8 + 1.6 s, each shortened by up to a half.
    let waited = began.elapsed();
    assert!(waited > Duration::from_millis(1500) && waited < Duration::from_millis(3000), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn every_verb_is_tried_again() {
    let retry = |script: &Script| Retry::new(script.clone(), seeded(1));
    let fails_once = || Script::of([at_once(ErrorKind::Unavailable)]);
    let script = fails_once();
    assert_eq!(retry(&script).get(&key(), 7).await.unwrap().len(), 7);
    assert_eq!(script.asked(), 2);
    let script = fails_once();
    assert_eq!(retry(&script).get_range(&key(), 3..8).await.unwrap().len(), 5);
    assert_eq!(script.asked(), 2);
    let script = fails_once();
    retry(&script).head(&key()).await.unwrap();
    assert_eq!(script.asked(), 2);
    let script = fails_once();
    retry(&script).delete(&key()).await.unwrap();
    assert_eq!(script.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn waits_are_the_dice_s_and_a_seed_repeats_them() {
    async fn waited(seed: u64) -> Duration {
        let began = Instant::now();
        let script = Script::of(vec![at_once(ErrorKind::Unavailable); 3]);
        Retry::new(script, seeded(seed)).delete(&key()).await.unwrap();
        began.elapsed()
    }
    assert_eq!(waited(7).await, waited(7).await);
    assert_ne!(waited(7).await, waited(8).await);
}

#[tokio::test(start_paused = true)]
async fn patience_ends() {
    let began = Instant::now();
    let script = Script::of(always(ErrorKind::Unavailable));
    let e = Retry::new(script.clone(), seeded(1)).put_new(&key(), vec![]).await.unwrap_err();
    assert_eq!(e.kind, ErrorKind::Unavailable);
    assert!(e.why.starts_with("as scripted") && e.why.contains("attempts"), "the cause comes first: {e}");
    let waited = began.elapsed();
    assert!(waited > Duration::from_secs(500) && waited <= Duration::from_secs(600), "{waited:?}");
    assert!(script.asked() < 60, "{} attempts in ten minutes", script.asked());

    let script = Script::of(always(ErrorKind::Unavailable));
    let few = Patience { attempts_max: 3, ..seeded(1) };
    Retry::new(script.clone(), few).delete(&key()).await.unwrap_err();
    assert_eq!(script.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn failures_that_last_are_told_at_once() {
    use ErrorKind::{Config, CutShort, Denied, Exists, Full, NotFound, Other, TooLarge};
    for kind in [NotFound, Exists, Denied, Full, CutShort, TooLarge, Config, Other] {
        let script = Script::of(always(kind));
        let e = Retry::new(script.clone(), seeded(1)).put_new(&key(), vec![]).await.unwrap_err();
        assert_eq!((e.kind, script.asked()), (kind, 1));
        assert_eq!(e.why, "as scripted", "no word of attempts");
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_has_the_time_that_its_size_needs() {
    let pack = vec![Bytes::from(vec![0; 16 << 20])];
    // 16 MiB at 256 KiB/s and 30 s: 94 s.
    let slow = Script::of([takes(93)]);
    Retry::new(slow.clone(), seeded(1)).put_new(&key(), pack.clone()).await.unwrap();
    assert_eq!(slow.asked(), 1, "slow is not stalled");
    let stalled = Script::of([takes(95)]);
    Retry::new(stalled.clone(), seeded(1)).put_new(&key(), pack).await.unwrap();
    assert_eq!(stalled.asked(), 2);
    let stalled = Script::of([takes(31)]);
    Retry::new(stalled.clone(), seeded(1)).head(&key()).await.unwrap();
    assert_eq!(stalled.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_requests_are_under_way() {
    let (script, key) = (Script::of(vec![takes(1); 20]), key());
    let limit = Limit::new(script.clone(), 3);
    let began = Instant::now();
    join_all((0..20).map(|_| limit.delete(&key))).await;
    assert_eq!(script.0.busy_max.load(Ordering::SeqCst), 3);
    assert_eq!(began.elapsed().as_secs(), 7, "twenty seconds of work, three at once");
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_turn_is_not_a_stall() {
    let (script, key) = (Script::of(vec![takes(25); 5]), key());
    let limit = Limit::new(Retry::new(script.clone(), seeded(1)), 1);
    let ends = join_all((0..5).map(|_| limit.delete(&key))).await;
    assert!(ends.iter().all(Result::is_ok));
    assert_eq!(script.asked(), 5, "none was given up, though the last waited 100 s");
}

#[tokio::test(start_paused = true)]
async fn bytes_per_second_are_kept_in_both_directions() {
    let key = key();
    let megabyte = NonZeroU64::new(1_000_000);
    let parts = vec![Bytes::from(vec![0; 600_000]), Bytes::from(vec![0; 400_000])];
    let slow = Throttle::new(Script::default(), megabyte, megabyte);

    let began = Instant::now();
    for end in join_all((0..11).map(|_| slow.put_new(&key, parts.clone()))).await {
        end.unwrap();
    }
    assert_eq!(began.elapsed().as_secs(), 10, "the eleventh goes when ten have had their time");

    let began = Instant::now();
    for _ in 0..6 {
        slow.get(&key, 1_000_000).await.unwrap();
    }
    slow.get_range(&key, 0..1).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 6);

    let free = Throttle::new(Script::default(), None, None);
    let began = Instant::now();
    free.put_new(&key, parts).await.unwrap();
    free.get(&key, 1_000_000).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
}
