//! A repository on a store in memory, with a clock and dice of the test's own: what the proofs share.
#![allow(dead_code, missing_docs, reason = "shared by several test programs, each of which uses some")]

use async_trait::async_trait;
use bytes::Bytes;
use cistern_repo::{
    ChunkSizes, Config, Credential, Facts, PruneOptions, PruneReport, PushOptions, Receipt, Repository,
    Result, Role, Silent, SnapshotId, SnapshotInfo, Source, Unlock, World,
};
use cistern_sim::{ChaosStore, Content, Dump, Promises, Spread};
use cistern_store::{Entry, Error, Key, MemStore, Store};
use futures::stream::BoxStream;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng as _, SeedableRng as _};
use std::io::Write;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Where the clocks start, seconds since 1970: any time will do, but not zero.
const EPOCH_SECS: u64 = 1_700_000_000;

/// Longer than any session may be silent, so that a prune refuses the dead.
pub const A_DAY: Duration = Duration::from_secs(24 * 3600);

/// A store in memory that stamps its objects by tokio's time, which the tests pause.
pub struct ClockedStore {
    pub mem: MemStore,
    start: Instant,
}

impl ClockedStore {
    pub fn new() -> ClockedStore {
        ClockedStore { mem: MemStore::new(), start: Instant::now() }
    }

    /// A store that holds the same objects, all written now.
    pub async fn copy(&self) -> ClockedStore {
        let copy = ClockedStore { mem: MemStore::new(), start: self.start };
        for key in self.mem.keys() {
            let bytes = self.mem.get(&key, u64::MAX).await.expect("it was listed");
            copy.put_new(&key, vec![bytes]).await.expect("the copy is empty");
        }
        copy
    }

    pub fn now(&self) -> Duration {
        Duration::from_secs(EPOCH_SECS) + self.start.elapsed()
    }

    /// Names of the objects under a prefix.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        let keys = self.mem.keys();
        keys.iter().map(Key::as_str).filter(|k| k.starts_with(prefix)).map(str::to_owned).collect()
    }
}

#[async_trait]
impl Store for ClockedStore {
    async fn put_new(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), Error> {
        self.mem.set_now(self.now());
        self.mem.put_new(key, parts).await
    }
    async fn get(&self, key: &Key, size_max: u64) -> Result<Bytes, Error> {
        self.mem.get(key, size_max).await
    }
    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, Error> {
        self.mem.get_range(key, range).await
    }
    async fn head(&self, key: &Key) -> Result<Entry, Error> {
        self.mem.head(key).await
    }
    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Entry, Error>> {
        self.mem.list(prefix)
    }
    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.mem.delete(key).await
    }
    fn location(&self) -> String {
        self.mem.location()
    }
}

pub type Chaos = ChaosStore<ClockedStore>;

/// A world whose clock is tokio's and whose dice come from a seed.
fn world_at(seed: u64, start: Instant) -> World {
    let dice = Mutex::new(Xoshiro256PlusPlus::seed_from_u64(seed));
    let clock = move || (Duration::from_secs(EPOCH_SECS) + start.elapsed()).as_millis() as u64;
    World::simulated(clock, move |bytes| dice.lock().expect("no code panics here").fill_bytes(bytes))
}

/// Small chunks and the smallest packs, so that a short stream fills several.
pub fn small() -> Config {
    Config {
        chunk_sizes: ChunkSizes::around(16 << 10).expect("legal"),
        pack_bytes: 64 << 10,
        ..Config::default()
    }
}

/// A store with an empty repository in it, and the key to it.
pub struct Place {
    pub store: Arc<ClockedStore>,
    pub credential: Credential,
}

impl Place {
    pub async fn new(seed: u64) -> Place {
        let store = Arc::new(ClockedStore::new());
        let repo = Repository::init(store.clone(), small(), world_at(seed, store.start));
        let credential = repo.await.expect("an empty store").credential(Role::Owner).expect("the owner's");
        Place { store, credential }
    }

    /// A place with the same objects that goes its own way.
    pub async fn copy(&self) -> Place {
        Place { store: Arc::new(self.store.copy().await), credential: self.credential.clone() }
    }

    /// Opens the repository as a process of its own, straight on the store.
    pub async fn open(&self, seed: u64) -> Repository {
        self.open_on(self.store.clone(), seed).await.expect("a sound store")
    }

    /// Opens the repository as a process of its own, on a store that stands before this place's.
    pub async fn open_on(&self, store: Arc<dyn Store>, seed: u64) -> Result<Repository> {
        self.open_as(Role::Owner, store, seed).await
    }

    /// The same with a credential that may be able to do less.
    pub async fn open_as(&self, role: Role, store: Arc<dyn Store>, seed: u64) -> Result<Repository> {
        let open = async |store, credential| {
            Repository::open(store, Unlock::Credential(credential), world_at(seed, self.store.start)).await
        };
        let credential = match role {
            Role::Owner => self.credential.clone(),
            role => {
                open(self.store.clone() as Arc<dyn Store>, self.credential.clone()).await?.credential(role)?
            }
        };
        open(store, credential).await
    }
}

pub fn source(bytes: &[u8]) -> Source {
    Box::new(std::io::Cursor::new(bytes.to_vec()))
}

pub fn named(name: &str) -> PushOptions {
    PushOptions {
        name: name.to_owned(),
        host: "host".to_owned(),
        writer: "test".to_owned(),
        tags: vec![],
        deltas: true,
    }
}

pub async fn push(repo: &Repository, name: &str, bytes: &[u8]) -> Result<Receipt> {
    let push = repo.begin_push(named(name)).await?;
    push.ingest(source(bytes), Arc::new(Silent)).await?.commit(Facts::default()).await
}

/// Prunes as sharply as it goes: no grace, nothing unused is left alone.
pub fn sharply() -> PruneOptions {
    PruneOptions { grace: Duration::ZERO, unused_percent_max: 0, ..PruneOptions::default() }
}

pub async fn prune(repo: &Repository) -> Result<PruneReport> {
    repo.prune(&sharply(), Arc::new(Silent)).await
}

#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no code panics here").write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What came out of a pull: the bytes written, and whether it said that they are all.
pub async fn pull(repo: &Repository, snapshot: &SnapshotInfo) -> (Vec<u8>, Result<()>) {
    let out = Out::default();
    let pulled = repo.pull(snapshot, Box::new(out.clone()), Arc::new(Silent)).await;
    let bytes = std::mem::take(&mut *out.0.lock().expect("no code panics here"));
    (bytes, pulled.map(drop))
}

/// Asserts that what is listed is what was promised, and restores to it.
pub async fn assert_kept(repo: &Repository, promises: &Promises<SnapshotId>, when: &str) {
    let listed = repo.snapshots().await.unwrap_or_else(|e| panic!("{when}: {e:?}"));
    let find = |id: &SnapshotId| listed.iter().find(|s| s.id == *id).expect("ids come from the list");
    let restore = async |id: &SnapshotId| {
        let (bytes, pulled) = pull(repo, find(id)).await;
        pulled.map(|()| Content::of(&bytes)).map_err(|e| format!("{e:?}"))
    };
    let broken = promises.check(listed.iter().map(|s| s.id), restore).await;
    assert!(broken.is_empty(), "{when}: {broken:#?}");
}

/// Some nights of one table: scattered updates, so that most chunks of a night are deltas of the first.
pub fn nights_of(seed: u64, size_bytes: u64, count: u64) -> Vec<Bytes> {
    let mut dump = Dump::of_bytes(seed, size_bytes);
    let mut nights = vec![dump.to_bytes()];
    for night in 1..count {
        dump = dump.next_night(seed ^ night, 2.0, Spread::Scattered, 20, 10);
        nights.push(dump.to_bytes());
    }
    nights
}
