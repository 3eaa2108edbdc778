//! Each fault of the chaos store, seen from the caller and from what the inner store then holds.

use super::*;
use cistern_store::MemStore;
use tokio::time::Instant;

fn chaos(seed: u64) -> ChaosStore<MemStore> {
    ChaosStore::new(Arc::new(MemStore::new()), seed)
}

fn key(name: &str) -> Key {
    Key::new(name)
}

async fn put(store: &ChaosStore<MemStore>, name: &str) -> Result<(), ErrorKind> {
    let parts = vec![Bytes::from_static(b"some "), Bytes::copy_from_slice(name.as_bytes())];
    store.put_new(&key(name), parts).await.map_err(|e| e.kind)
}

async fn names(store: &dyn Store, prefix: &str) -> Vec<String> {
    let listed: Vec<Entry> = store.list(prefix).try_collect().await.unwrap();
    listed.iter().map(|e| e.key.to_string()).collect()
}

fn held(store: &ChaosStore<MemStore>) -> Vec<String> {
    store.inner().keys().iter().map(Key::to_string).collect()
}

#[tokio::test]
async fn a_failed_operation_has_no_effect() {
    let store = chaos(1).with(Rule::new(Fault::Fail(ErrorKind::Unavailable)).on(&[Verb::Put]).nth(1));
    assert_eq!(put(&store, "a").await, Ok(()));
    assert_eq!(put(&store, "b").await, Err(ErrorKind::Unavailable));
    assert_eq!(put(&store, "c").await, Ok(()));
    assert_eq!(held(&store), ["a", "c"]);
}

#[tokio::test]
async fn a_lost_reply_leaves_the_effect() {
    let store = chaos(1).with(Rule::new(Fault::LoseReply));
    assert_eq!(put(&store, "a").await, Err(ErrorKind::Unavailable));
    assert_eq!(held(&store), ["a"]);
    let error = store.delete(&key("a")).await.unwrap_err();
    assert_eq!(error.to_string(), "delete a: the connection broke before the reply");
    assert_eq!(held(&store), [""; 0]);
}

#[tokio::test]
async fn a_listing_that_loses_its_reply_breaks_off_and_says_so() {
    let store = chaos(1);
    for name in ["a", "b", "c"] {
        put(&store, name).await.unwrap();
    }
    store.add(Rule::new(Fault::LoseReply).on(&[Verb::List]));
    let items: Vec<_> = store.list("").collect().await;
    assert!(items.len() <= 3, "at least one entry is lost: {items:?}");
    assert_eq!(items.last().unwrap().as_ref().unwrap_err().kind, ErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_delay_takes_time_and_then_succeeds() {
    let store = chaos(1).with(Rule::new(Fault::Delay(Duration::from_secs(30))));
    let start = Instant::now();
    assert_eq!(put(&store, "a").await, Ok(()));
    assert_eq!(start.elapsed().as_secs(), 30);
    let hung = tokio::time::timeout(Duration::from_secs(5), put(&store, "b")).await;
    assert!(hung.is_err());
    assert_eq!(held(&store), ["a"]);
    assert_eq!(store.ops()[1].outcome, Outcome::Unfinished);
}

#[tokio::test]
async fn a_full_store_still_deletes_and_a_read_only_one_does_not() {
    let full = chaos(1).with(Rule::full_from(1));
    assert_eq!(put(&full, "a").await, Ok(()));
    assert_eq!(put(&full, "b").await, Err(ErrorKind::Full));
    full.delete(&key("a")).await.unwrap();
    assert_eq!(put(&full, "c").await, Err(ErrorKind::Full));

    let read_only = chaos(1).with(Rule::read_only_from(1));
    assert_eq!(put(&read_only, "a").await, Ok(()));
    assert_eq!(put(&read_only, "b").await, Err(ErrorKind::Denied));
    assert_eq!(read_only.delete(&key("a")).await.unwrap_err().kind, ErrorKind::Denied);
    assert_eq!(names(&read_only, "").await, ["a"]);
}

#[tokio::test]
async fn bursts_end() {
    let store = chaos(3).with(Rule::bursts(0.05, 4).on(&[Verb::Head]));
    put(&store, "a").await.unwrap();
    let mut row = 0;
    let mut rows = Vec::new();
    for _ in 0..400 {
        match store.head(&key("a")).await {
            Ok(_) if row > 0 => rows.push(std::mem::take(&mut row)),
            Ok(_) => {}
            Err(e) => {
                assert_eq!(e.kind, ErrorKind::Unavailable);
                row += 1;
            }
        }
    }
    assert!(rows.len() > 3 && rows.iter().all(|row| *row >= 4), "{rows:?}");
}

#[tokio::test]
async fn a_flipped_bit_is_one_bit_and_only_in_what_was_read() {
    let store = chaos(5);
    put(&store, "a").await.unwrap();
    let right = store.get(&key("a"), 100).await.unwrap();
    store.add(Rule::new(Fault::FlipBit));
    let wrong_bits = |read: &[u8], want: &[u8]| -> u32 {
        assert_eq!(read.len(), want.len());
        read.iter().zip(want).map(|(a, b)| (a ^ b).count_ones()).sum()
    };
    assert_eq!(wrong_bits(&store.get(&key("a"), 100).await.unwrap(), &right), 1);
    assert_eq!(wrong_bits(&store.get_range(&key("a"), 1..4).await.unwrap(), &right[1..4]), 1);
    assert_eq!(store.inner().get(&key("a"), 100).await.unwrap(), right);
}

#[tokio::test]
async fn a_truncated_read_is_a_proper_prefix() {
    let store = chaos(5);
    for name in ["a", "b", "c"] {
        put(&store, name).await.unwrap();
    }
    let right = store.get(&key("a"), 100).await.unwrap();
    store.add(Rule::new(Fault::Truncate));
    let read = store.get(&key("a"), 100).await.unwrap();
    assert!(read.len() < right.len() && right.starts_with(&read));
    assert!(store.get_range(&key("a"), 0..3).await.unwrap().len() < 3);
    assert!(names(&store, "").await.len() < 3);
}

#[tokio::test]
async fn a_stale_listing_lags_by_operations() {
    let store = chaos(1);
    put(&store, "d/old").await.unwrap();
    put(&store, "d/gone").await.unwrap();
    for _ in 0..5 {
        store.head(&key("d/old")).await.unwrap();
    }
    let other = store.another(2).with(Rule::new(Fault::Stale(Lag::Ops(3))).on(&[Verb::List]));
    put(&store, "d/new").await.unwrap();
    store.delete(&key("d/gone")).await.unwrap();
    let mut stale = names(&other, "d/").await;
    stale.sort();
    assert_eq!(stale, ["d/gone", "d/old"]);
    assert_eq!(names(&other, "e/").await, [""; 0]);
    assert_eq!(names(&store, "d/").await, ["d/new", "d/old"]);
    assert_eq!(names(&other, "d/").await, ["d/new", "d/old"], "the lag has passed");
}

#[tokio::test(start_paused = true)]
async fn a_stale_listing_lags_by_time() {
    let store = chaos(1).with(Rule::new(Fault::Stale(Lag::Time(Duration::from_secs(60)))));
    put(&store, "a").await.unwrap();
    assert_eq!(names(&store, "").await, [""; 0]);
    tokio::time::sleep(Duration::from_secs(61)).await;
    put(&store, "b").await.unwrap();
    assert_eq!(names(&store, "").await, ["a"]);
}

#[tokio::test]
async fn writing_the_same_bytes_again_does_not_make_an_object_new() {
    let store = chaos(1).with(Rule::new(Fault::Stale(Lag::Ops(2))).on(&[Verb::List]));
    put(&store, "a").await.unwrap();
    store.head(&key("a")).await.unwrap();
    store.head(&key("a")).await.unwrap();
    put(&store, "a").await.unwrap();
    assert_eq!(names(&store, "").await, ["a"]);
}

#[tokio::test]
async fn a_late_write_lands_after_its_caller_gave_up() {
    let store = chaos(1).with(Rule::new(Fault::LandLater(Lag::Ops(2))).on(&[Verb::Put]));
    let other = store.another(2);
    assert_eq!(put(&store, "a").await, Err(ErrorKind::Unavailable));
    assert_eq!(names(&other, "").await, [""; 0]);
    assert_eq!(names(&other, "").await, ["a"]);
}

#[tokio::test]
async fn a_late_delete_lands_when_asked_and_a_late_write_never_replaces() {
    let store = chaos(1);
    let other = store.another(2);
    put(&store, "a").await.unwrap();
    store.add(Rule::new(Fault::LandLater(Lag::Asked)));
    assert_eq!(store.delete(&key("a")).await.unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(put(&store, "b").await, Err(ErrorKind::Unavailable));
    other.put_new(&key("b"), vec![Bytes::from_static(b"first")]).await.unwrap();
    assert_eq!(held(&store), ["a", "b"]);
    store.land_parked().await;
    assert_eq!(held(&store), ["b"]);
    assert_eq!(other.get(&key("b"), 100).await.unwrap(), "first");
}

#[tokio::test(start_paused = true)]
async fn a_late_write_lands_in_time() {
    let store = chaos(1).with(Rule::new(Fault::LandLater(Lag::Time(Duration::from_secs(9)))));
    assert_eq!(put(&store, "a").await, Err(ErrorKind::Unavailable));
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(held(&store), [""; 0]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(held(&store), ["a"]);
}

#[tokio::test]
async fn a_crashed_handle_is_dead_for_ever_and_others_live_on() {
    let store = chaos(1);
    put(&store, "before").await.unwrap();
    store.crash_after(2);
    assert_eq!(put(&store, "a").await, Ok(()));
    store.head(&key("a")).await.unwrap();
    assert_eq!(put(&store, "b").await, Ok(()));
    assert!(store.is_dead());
    store.heal();
    assert_eq!(put(&store, "c").await, Err(ErrorKind::Other));
    assert_eq!(store.head(&key("a")).await.unwrap_err().kind, ErrorKind::Other);
    assert_eq!(store.list("").collect::<Vec<_>>().await.len(), 1);
    assert!(store.list("").try_collect::<Vec<_>>().await.is_err());
    assert_eq!(store.mutations(), 3);
    let other = store.another(2);
    assert_eq!(names(&other, "").await, ["a", "b", "before"]);
    assert_eq!(put(&other, "c").await, Ok(()));
}

#[tokio::test]
async fn a_process_can_be_dead_from_the_start() {
    let store = chaos(1);
    store.crash_after(0);
    assert_eq!(store.head(&key("a")).await.unwrap_err().kind, ErrorKind::Other);
    assert_eq!(put(&store, "a").await, Err(ErrorKind::Other));
    assert_eq!(held(&store), [""; 0]);
}

#[tokio::test]
async fn the_last_write_of_a_crash_can_land_unseen_or_late() {
    let unseen = chaos(1);
    unseen.crash_with(1, LastWrite::ReplyLost);
    assert_eq!(put(&unseen, "a").await, Err(ErrorKind::Unavailable));
    assert_eq!(put(&unseen, "a").await, Err(ErrorKind::Other));
    assert_eq!(held(&unseen), ["a"]);

    let late = chaos(1);
    late.crash_with(1, LastWrite::LandsLater);
    assert_eq!(put(&late, "a").await, Err(ErrorKind::Unavailable));
    assert_eq!(held(&late), [""; 0]);
    assert!(late.is_dead());
    late.land_parked().await;
    assert_eq!(held(&late), ["a"]);
}

#[tokio::test]
async fn operations_are_written_down() {
    let store = chaos(1).with(Rule::new(Fault::Fail(ErrorKind::Denied)).on(&[Verb::Delete]));
    put(&store, "packs/a").await.unwrap();
    store.get(&key("packs/a"), 100).await.unwrap();
    assert!(store.get(&key("packs/b"), 100).await.is_err());
    names(&store, "packs/").await;
    assert!(store.delete(&key("packs/a")).await.is_err());
    let told: Vec<String> = store.ops().iter().map(Op::to_string).collect();
    assert_eq!(
        told,
        [
            "write packs/a (12): Done",
            "read packs/a (12): Done",
            "read packs/b (0): Failed(NotFound)",
            "list packs/ (1): Done",
            "delete packs/a (0): Failed(Denied) under [Fail(Denied)]",
        ]
    );
    assert_eq!(store.count(Verb::Get, "packs/"), 2);
    assert_eq!(store.count(Verb::List, "index/"), 0);
    store.clear_ops();
    assert_eq!(store.ops(), []);
    names(&store, "").await;
    assert_eq!(store.ops()[0].outcome, Outcome::Done);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_history() {
    async fn history(seed: u64) -> Vec<Op> {
        let rules = [Fault::LoseReply, Fault::FlipBit, Fault::Fail(ErrorKind::Unavailable), Fault::Truncate];
        let store = rules.into_iter().fold(chaos(seed), |s, f| s.with(Rule::new(f).chance(0.1)));
        for i in 0..200 {
            let name = format!("d/{}", i % 50);
            let _ = put(&store, &name).await;
            let _ = store.get(&key(&name), 100).await;
            let _ = store.list("d/").collect::<Vec<_>>().await;
        }
        store.ops()
    }
    let first = history(11).await;
    assert!(first.iter().any(|op| !op.faults.is_empty()));
    assert_eq!(first, history(11).await);
    assert_ne!(first, history(12).await);
}

#[tokio::test]
async fn without_rules_the_contract_holds() {
    cistern_store::contract::check(&chaos(1)).await;
}
