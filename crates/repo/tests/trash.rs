//! A trash list or its queue is damaged or gone: pushes go on, repair mends it, and a prune that slept with
//! the list in its memory takes nothing away that anybody relies on.
#![allow(clippy::disallowed_methods, reason = "a test may unwrap")]

mod common;
use async_trait::async_trait;
use bytes::Bytes;
use cistern_repo::*;
use cistern_store::{Entry, Key, MemStore, Store};
use common::*;
use futures::stream::BoxStream;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

const QUEUE: &str = ".queue";

fn names(store: &MemStore, prefix: &str) -> Vec<Key> {
    store.keys().into_iter().filter(|k| k.as_str().starts_with(prefix)).collect()
}

fn packs_of(store: &MemStore, snapshot: SnapshotId) -> Vec<Key> {
    let session = snapshot.to_string();
    names(store, "packs/").into_iter().filter(|k| k.as_str().ends_with(&session)).collect()
}

/// What is done to one of the two objects.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Harm {
    Nothing,
    Cut,
    Removed,
}

async fn harm(store: &MemStore, key: &Key, harm: Harm) {
    match harm {
        Harm::Nothing => {}
        Harm::Cut => store.tamper(key, Bytes::from_static(b"CSTNTRSH")),
        Harm::Removed => store.delete(key).await.unwrap(),
    }
}

/// One snapshot that stays, and packs of a forgotten one on a list that waits.
struct Condemned {
    store: Arc<MemStore>,
    repo: Repository,
    kept: Vec<u8>,
    gone: Vec<u8>,
    packs: Vec<Key>,
    list: Key,
    queue: Key,
}

impl Condemned {
    async fn new() -> Condemned {
        let store = Arc::new(MemStore::new());
        let repo = repository(store.clone(), 0).await;
        let (kept, gone) = (rows(1, 20_000), rows(2, 20_000));
        push(&repo, "kept", &kept).await;
        let id = push(&repo, "gone", &gone).await.id;
        repo.forget(&[id], "test").await.unwrap();
        let packs = packs_of(&store, id);
        let report = repo.prune(&PruneOptions::default(), Arc::new(Silent)).await.unwrap();
        assert_eq!((report.condemned_packs, report.deleted_packs), (packs.len() as u64, 0));
        let trash = names(&store, "trash/");
        let (queues, lists): (Vec<Key>, Vec<Key>) =
            trash.into_iter().partition(|k| k.as_str().ends_with(QUEUE));
        let (list, queue) = (lists[0].clone(), queues[0].clone());
        Condemned { store, repo, kept, gone, packs, list, queue }
    }

    async fn assert_restores(&self, when: &str) {
        for (name, bytes) in [("kept", &self.kept), ("again", &self.gone)] {
            assert!(pull(&self.repo, name).await == *bytes, "{when}: {name}");
        }
    }

    /// A repair tells what it will do, does it, and leaves nothing to complain of.
    async fn assert_mended(&self, something: bool, when: &str) {
        let dry = RepairOptions { dry_run: true, ..RepairOptions::default() };
        let before = self.store.keys();
        let told = self.repo.repair(&dry, Arc::new(Silent)).await.unwrap().done;
        assert_eq!(told.len(), usize::from(something), "{when}: {told:?}");
        let written = |k: &&Key| !k.as_str().starts_with("verified/") && !before.contains(k);
        assert_eq!(self.store.keys().iter().find(written), None, "{when}: a dry run wrote");
        self.repo.repair(&RepairOptions::default(), Arc::new(Silent)).await.unwrap();
        assert_eq!(self.warned_of().await, Vec::<String>::new(), "{when}");
    }

    /// Two prunes finish everything, and every stream is whole before and after.
    async fn assert_comes_to_rest(&self, when: &str) {
        self.assert_restores(when).await;
        for _ in 0..2 {
            let pruned = self.repo.prune(&at_once(), Arc::new(Silent)).await.unwrap();
            assert_eq!(pruned.waiting, Vec::<String>::new(), "{when}");
        }
        assert_eq!(names(&self.store, "trash/"), [], "{when}");
        self.assert_restores(when).await;
        let deep = VerifyOptions { level: 4, ..VerifyOptions::default() };
        let report = self.repo.verify(&deep, Arc::new(Silent)).await.unwrap();
        assert!(report.findings.is_empty(), "{when}: {:?}", report.findings);
    }

    async fn warned_of(&self) -> Vec<String> {
        let options = VerifyOptions { level: 1, ..VerifyOptions::default() };
        let report = self.repo.verify(&options, Arc::new(Silent)).await.unwrap();
        assert!(!report.is_damaged(), "{:?}", report.findings);
        report.findings.into_iter().map(|f| f.subject).collect()
    }
}

fn at_once() -> PruneOptions {
    PruneOptions { grace: Duration::ZERO, unused_percent_max: 100, ..PruneOptions::default() }
}

#[tokio::test]
async fn a_list_that_is_lost_condemns_by_its_queue_or_everything() {
    use Harm::{Cut, Nothing, Removed};
    // Where the list is removed and its queue says nothing, no witness is left of what was condemned.
    let pairs = [(Nothing, Nothing), (Nothing, Cut), (Nothing, Removed), (Cut, Nothing), (Cut, Cut)];
    let pairs = pairs.into_iter().chain([(Cut, Removed), (Removed, Nothing)]);
    for ((list, queue), pushes_first) in pairs.flat_map(|pair| [(pair, false), (pair, true)]) {
        let when = format!("list {list:?}, queue {queue:?}, pushed before it is mended: {pushes_first}");
        let c = Condemned::new().await;
        harm(&c.store, &c.list, list).await;
        harm(&c.store, &c.queue, queue).await;
        let is_told = list == Cut || queue == Cut;
        assert_eq!(c.warned_of().await.contains(&c.list.to_string()), is_told, "{when}");
        let is_unknown = list == Cut && queue != Nothing;
        let stored = push(&c.repo, "kept", &c.kept).await.snapshot.stored;
        assert_eq!(stored.duplicate_bytes == 0, is_unknown, "{when}: {stored:?}");
        if pushes_first {
            let stored = push(&c.repo, "again", &c.gone).await.snapshot.stored;
            assert_eq!(stored.duplicate_bytes, 0, "{when}: condemned packs are not relied on");
        }
        c.assert_mended(is_told || list == Removed, &when).await;
        if !pushes_first {
            let taken_back = (list, queue) == (Cut, Removed);
            let stored = push(&c.repo, "again", &c.gone).await.snapshot.stored;
            assert_eq!(stored.duplicate_bytes > 0, taken_back, "{when}: {stored:?}");
        }
        // Where there was a queue, a prune may hold the list in memory and wake up now.
        let asleep = if queue == Removed { &[][..] } else { &c.packs };
        for pack in asleep {
            c.store.delete(pack).await.unwrap();
        }
        c.assert_comes_to_rest(&when).await;
    }
}

#[tokio::test]
async fn a_prune_does_not_begin_where_it_cannot_tell_what_is_condemned() {
    use Harm::{Cut, Nothing, Removed};
    for (list, queue, stops) in
        [(Nothing, Cut, true), (Cut, Nothing, false), (Cut, Cut, true), (Cut, Removed, true)]
    {
        let when = format!("list {list:?}, queue {queue:?}");
        let c = Condemned::new().await;
        push(&c.repo, "again", &c.gone).await;
        harm(&c.store, &c.list, list).await;
        harm(&c.store, &c.queue, queue).await;
        let packs = names(&c.store, "packs/");
        let pruned = c.repo.prune(&at_once(), Arc::new(Silent)).await;
        assert_eq!(pruned.is_err_and(|e| e.to_string().contains("`cistern repair`")), stops, "{when}");
        assert_eq!(names(&c.store, "packs/") == packs, stops, "{when}");
        c.repo.repair(&RepairOptions::default(), Arc::new(Silent)).await.unwrap();
        c.assert_comes_to_rest(&when).await;
    }
}

/// Keeps what it is told.
#[derive(Default)]
struct Notes(std::sync::Mutex<Vec<String>>);

impl Observer for Notes {
    fn count(&self, _: Counter, _: u64) {}
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

#[tokio::test]
async fn a_push_says_why_it_stores_everything_anew() {
    for (queue, told) in [(Harm::Nothing, 0), (Harm::Cut, 1)] {
        let c = Condemned::new().await;
        harm(&c.store, &c.list, Harm::Cut).await;
        harm(&c.store, &c.queue, queue).await;
        let notes = Arc::new(Notes::default());
        begin(&c.repo, "kept").await.ingest(source(&c.kept), notes.clone()).await.unwrap();
        let notes = notes.0.lock().unwrap();
        assert_eq!(notes.len(), told, "{notes:?}");
        assert!(
            notes.iter().all(|n| n.contains(c.list.as_str()) && n.contains("`cistern repair`")),
            "{notes:?}"
        );
    }
}

/// A store on which a prune falls asleep just before it creates a queue.
struct Drowsy {
    store: Arc<MemStore>,
    asleep: Semaphore,
    awake: Semaphore,
}

#[async_trait]
impl Store for Drowsy {
    async fn put_new(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), cistern_store::Error> {
        if key.as_str().ends_with(QUEUE) {
            self.asleep.add_permits(1);
            self.awake.acquire().await.unwrap().forget();
        }
        self.store.put_new(key, parts).await
    }
    async fn get(&self, key: &Key, size_max: u64) -> Result<Bytes, cistern_store::Error> {
        self.store.get(key, size_max).await
    }
    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, cistern_store::Error> {
        self.store.get_range(key, range).await
    }
    async fn head(&self, key: &Key) -> Result<Entry, cistern_store::Error> {
        self.store.head(key).await
    }
    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Entry, cistern_store::Error>> {
        self.store.list(prefix)
    }
    async fn delete(&self, key: &Key) -> Result<(), cistern_store::Error> {
        self.store.delete(key).await
    }
    fn location(&self) -> String {
        self.store.location()
    }
}

/// The list is damaged while its prune sleeps before the queue. Repair takes the list back, a push relies on
/// its packs, and the prune that wakes up must leave them alone.
#[tokio::test]
async fn a_prune_that_wakes_up_after_its_list_was_taken_back_deletes_nothing() {
    let store = Arc::new(MemStore::new());
    let repo = repository(store.clone(), 0).await;
    let gone = rows(2, 20_000);
    let id = push(&repo, "gone", &gone).await.id;
    repo.forget(&[id], "test").await.unwrap();

    let (asleep, awake) = (Semaphore::new(0), Semaphore::new(0));
    let drowsy = Arc::new(Drowsy { store: store.clone(), asleep, awake });
    let unlock = Unlock::Credential(repo.credential(Role::Owner).unwrap());
    let sleeper = Repository::open(drowsy.clone(), unlock, World::real().with_threads(0)).await.unwrap();
    let prune = tokio::spawn(async move { sleeper.prune(&at_once(), Arc::new(Silent)).await });
    drowsy.asleep.acquire().await.unwrap().forget();

    let list = names(&store, "trash/").remove(0);
    harm(&store, &list, Harm::Cut).await;
    repo.repair(&RepairOptions::default(), Arc::new(Silent)).await.unwrap();
    assert_eq!(names(&store, "trash/"), []);
    let stored = push(&repo, "again", &gone).await.snapshot.stored;
    assert_eq!(stored.new_bytes, 0, "the packs count again");

    drowsy.awake.add_permits(2);
    assert_eq!(prune.await.unwrap().unwrap().deleted_packs, 0);
    assert!(pull(&repo, "again").await == gone);
    // What the sleeper left behind condemns the packs once more, and everything is copied first.
    repo.prune(&at_once(), Arc::new(Silent)).await.unwrap();
    repo.prune(&at_once(), Arc::new(Silent)).await.unwrap();
    assert_eq!(names(&store, "trash/"), []);
    assert!(pull(&repo, "again").await == gone);
}
