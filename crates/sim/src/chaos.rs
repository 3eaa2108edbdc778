//! A store that fails: wraps any store, follows a script and a seed, and writes down what it was asked.

use crate::fault::{Fault, Lag, Rule, Verb};
use crate::journal::{Effects, Op, OpLog, Outcome};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use cistern_store::{Entry, Error, ErrorKind, Key, Store};
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What becomes of the last write of a process that dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastWrite {
    /// It landed and the caller was told so.
    Acknowledged,
    /// It landed, the caller was told that it failed.
    ReplyLost,
    /// It is still on its way, and lands when the test calls [`ChaosStore::land_parked`].
    LandsLater,
}

/// One process's handle to a store that can fail.
///
/// Handles made by [`another`](ChaosStore::another) share the inner store and the history of its
/// changes, but not rules, seed, operations or death: they stand for other processes.
///
/// # Guarantees
/// Under a single-threaded runtime the same seed, rules and calls give the same faults. Without
/// rules the handle behaves as its inner store does.
pub struct ChaosStore<S: Store + ?Sized> {
    world: Arc<World<S>>,
    own: Arc<Mutex<Own>>,
}

/// What the handles share.
struct World<S: ?Sized> {
    changes: Mutex<Changes>,
    inner: Arc<S>,
}

#[derive(Default)]
struct Changes {
    /// Operations that all handles have begun.
    op: u64,
    effects: Effects,
    parked: Vec<Parked>,
}

/// A write or delete whose caller was told that it failed, and which lands later.
struct Parked {
    due_op: Option<u64>,
    change: Change,
}

#[derive(Clone)]
enum Change {
    Put(Key, Vec<Bytes>),
    Delete(Key),
}

/// What belongs to one handle.
struct Own {
    rules: Vec<Rule>,
    dice: Xoshiro256PlusPlus,
    log: OpLog,
    mutations: u64,
    crash: Option<(u64, LastWrite)>,
    dead: bool,
}

/// An operation that has been counted and whose faults are known.
struct Begun {
    verb: Verb,
    subject: String,
    number: usize,
    world_op: u64,
    delay: Duration,
    /// The one fault beside delay.
    fault: Option<Fault>,
    /// The process dies with this operation.
    last: bool,
}

impl<S: Store + ?Sized> ChaosStore<S> {
    /// A handle to `inner` whose dice are thrown from `seed`, with no rules.
    pub fn new(inner: Arc<S>, seed: u64) -> ChaosStore<S> {
        ChaosStore::handle(Arc::new(World { inner, changes: Mutex::default() }), seed)
    }

    /// Another process's handle to the same store: alive, with no rules and its own seed.
    pub fn another(&self, seed: u64) -> ChaosStore<S> {
        ChaosStore::handle(self.world.clone(), seed)
    }

    fn handle(world: Arc<World<S>>, seed: u64) -> ChaosStore<S> {
        let own = Own {
            rules: Vec::new(),
            dice: Xoshiro256PlusPlus::seed_from_u64(seed),
            log: OpLog::default(),
            mutations: 0,
            crash: None,
            dead: false,
        };
        ChaosStore { world, own: Arc::new(Mutex::new(own)) }
    }

    /// The store that is wrapped.
    pub fn inner(&self) -> &Arc<S> {
        &self.world.inner
    }

    /// Adds a rule. Of the rules that hit one operation delays add up, and of the rest the first
    /// one added wins.
    pub fn add(&self, rule: Rule) {
        self.own().rules.push(rule);
    }

    /// [`add`](ChaosStore::add), for building a handle in one expression.
    pub fn with(self, rule: Rule) -> ChaosStore<S> {
        self.add(rule);
        self
    }

    /// Drops all rules: from now on nothing fails, unless the process is dead.
    pub fn heal(&self) {
        self.own().rules.clear();
    }

    /// Lets the process die after `mutations` more writes and deletes: from then on every operation of
    /// this handle fails as [`ErrorKind::Other`], which no caller retries.
    pub fn crash_after(&self, mutations: u64) {
        self.crash_with(mutations, LastWrite::Acknowledged);
    }

    /// [`crash_after`](ChaosStore::crash_after), saying what becomes of the last write.
    pub fn crash_with(&self, mutations: u64, last: LastWrite) {
        let mut own = self.own();
        own.crash = Some((own.mutations + mutations, last));
        own.dead |= mutations == 0;
    }

    /// Whether the process has died.
    pub fn is_dead(&self) -> bool {
        self.own().dead
    }

    /// Writes and deletes begun so far.
    pub fn mutations(&self) -> u64 {
        self.own().mutations
    }

    /// What this handle was asked so far, oldest first (the last 262 144).
    pub fn ops(&self) -> Vec<Op> {
        self.own().log.to_vec()
    }

    /// How many of [`ops`](ChaosStore::ops) used `verb` on something that starts with `prefix`.
    pub fn count(&self, verb: Verb, prefix: &str) -> usize {
        self.ops().iter().filter(|op| op.verb == verb && op.subject.starts_with(prefix)).count()
    }

    /// Starts [`ops`](ChaosStore::ops) afresh.
    pub fn clear_ops(&self) {
        self.own().log.clear();
    }

    /// Lets every write and delete land that is still on its way, of all handles, in the order in
    /// which they were made.
    pub async fn land_parked(&self) {
        self.world.land(|_| true).await;
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().expect("no code panics while holding a handle's state")
    }

    /// Counts the operation, throws the dice and waits out its delay.
    async fn begin(&self, verb: Verb, subject: &str) -> Result<Begun, Error> {
        let world_op = self.world.next_op();
        self.world.land(|parked| parked.due_op.is_some_and(|due| due <= world_op)).await;
        let begun = self.own().begin(verb, subject, world_op);
        let begun = begun?;
        if !begun.delay.is_zero() {
            tokio::time::sleep(begun.delay).await;
        }
        match begun.fault {
            Some(Fault::Fail(kind)) => {
                let error = Error::new(kind, verb.doing(), subject, "the script says so");
                self.end(begun, 0, Err(error))
            }
            _ => Ok(begun),
        }
    }

    /// Writes down how the operation ended, after what the script does to the reply.
    fn end<T>(&self, begun: Begun, size: u64, result: Result<T, Error>) -> Result<T, Error> {
        let lost = matches!(begun.fault, Some(Fault::LoseReply | Fault::LandLater(_)));
        let result = match result {
            Ok(_) if lost => {
                let why = "the connection broke before the reply";
                Err(Error::new(ErrorKind::Unavailable, begun.verb.doing(), &begun.subject, why))
            }
            other => other,
        };
        let mut own = self.own();
        own.dead |= begun.last;
        let outcome = result.as_ref().map_or_else(|e| Outcome::Failed(e.kind), |_| Outcome::Done);
        own.log.end(begun.number, size, outcome);
        result
    }

    /// Carries out a write or delete, now or later.
    async fn change(&self, begun: Begun, size: u64, change: Change) -> Result<(), Error> {
        let result = match begun.fault {
            Some(Fault::LandLater(lag)) => {
                self.world.park(begun.world_op, lag, change);
                Ok(())
            }
            _ => self.world.apply(change).await,
        };
        self.end(begun, size, result)
    }

    /// Spoils the bytes of a read as the script says.
    fn spoil(&self, begun: &Begun, bytes: Bytes) -> Bytes {
        if bytes.is_empty() {
            return bytes;
        }
        match begun.fault {
            Some(Fault::FlipBit) => {
                let bit = self.own().dice.random_range(0..bytes.len() * 8);
                let mut spoiled = BytesMut::from(&bytes[..]);
                spoiled[bit / 8] ^= 1 << (bit % 8);
                spoiled.freeze()
            }
            Some(Fault::Truncate) => bytes.slice(..self.own().dice.random_range(0..bytes.len())),
            _ => bytes,
        }
    }

    /// A listing and, where it breaks off, the error after it.
    async fn listing(&self, prefix: String) -> Vec<Result<Entry, Error>> {
        let begun = match self.begin(Verb::List, &prefix).await {
            Ok(begun) => begun,
            Err(e) => return vec![Err(e)],
        };
        let mut entries: Vec<Entry> = match self.world.inner.list(&prefix).try_collect().await {
            Ok(entries) => entries,
            Err(e) => return self.end::<()>(begun, 0, Err(e)).err().into_iter().map(Err).collect(),
        };
        if let Some(Fault::Stale(lag)) = begun.fault {
            self.world.changes().effects.turn_back(&mut entries, &prefix, begun.world_op, lag);
        }
        if matches!(begun.fault, Some(Fault::Truncate | Fault::LoseReply)) && !entries.is_empty() {
            entries.truncate(self.own().dice.random_range(0..entries.len()));
        }
        let broken = self.end(begun, entries.len() as u64, Ok(())).err();
        entries.into_iter().map(Ok).chain(broken.map(Err)).collect()
    }
}

impl Own {
    /// Counts the operation and decides what happens to it.
    fn begin(&mut self, verb: Verb, subject: &str, world_op: u64) -> Result<Begun, Error> {
        let Own { rules, dice, .. } = self;
        let faults: Vec<Fault> = rules.iter_mut().filter_map(|r| r.strikes(verb, subject, dice)).collect();
        let number = self.log.begin(verb, subject, &faults);
        if verb.mutates() && !self.dead {
            self.mutations += 1;
        }
        let crash = self.crash.filter(|(after, _)| verb.mutates() && self.mutations >= *after);
        if self.dead || crash.is_some_and(|(after, _)| self.mutations > after) {
            self.dead = true;
            self.log.end(number, 0, Outcome::Failed(ErrorKind::Other));
            let why = "the process that held this handle has crashed";
            return Err(Error::new(ErrorKind::Other, verb.doing(), subject, why));
        }
        let delay = faults.iter().map(|f| if let Fault::Delay(d) = f { *d } else { Duration::ZERO }).sum();
        let fault = match crash {
            Some((_, LastWrite::ReplyLost)) => Some(Fault::LoseReply),
            Some((_, LastWrite::LandsLater)) => Some(Fault::LandLater(Lag::Asked)),
            _ => faults.into_iter().find(|f| !matches!(f, Fault::Delay(_))),
        };
        Ok(Begun { verb, subject: subject.to_owned(), number, world_op, delay, fault, last: crash.is_some() })
    }
}

impl<S: Store + ?Sized> World<S> {
    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().expect("no code panics while holding the shared history")
    }

    fn next_op(&self) -> u64 {
        let mut changes = self.changes();
        changes.op += 1;
        changes.op
    }

    /// Changes the inner store and remembers how it looked before.
    async fn apply(&self, change: Change) -> Result<(), Error> {
        match change {
            Change::Put(key, parts) => {
                let before = self.inner.head(&key).await.ok();
                self.inner.put_new(&key, parts).await?;
                let mut changes = self.changes();
                let op = changes.op;
                if before.is_none() {
                    changes.effects.appeared(op, key);
                }
            }
            Change::Delete(key) => {
                let before = self.inner.head(&key).await.ok();
                self.inner.delete(&key).await?;
                let mut changes = self.changes();
                let op = changes.op;
                if let Some(entry) = before {
                    changes.effects.vanished(op, entry);
                }
            }
        }
        Ok(())
    }

    /// Keeps a change back until it is due.
    fn park(self: &Arc<Self>, op: u64, lag: Lag, change: Change) {
        let due_op = match lag {
            Lag::Ops(ops) => Some(op + ops),
            Lag::Asked => None,
            Lag::Time(time) => {
                let world = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    // The caller was told long ago that it failed: nobody is left to hear of this.
                    let _ = world.apply(change).await;
                });
                return;
            }
        };
        self.changes().parked.push(Parked { due_op, change });
    }

    /// Lets the parked changes land that `due` chooses.
    async fn land(&self, due: impl Fn(&Parked) -> bool) {
        let landing: Vec<Parked> = self.changes().parked.extract_if(.., |p| due(p)).collect();
        for parked in landing {
            // A write that comes too late to be first is refused by the store, and nobody hears it.
            let _ = self.apply(parked.change).await;
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Store + ?Sized> Store for ChaosStore<S> {
    async fn put_new(&self, key: &Key, parts: Vec<Bytes>) -> Result<(), Error> {
        let begun = self.begin(Verb::Put, key.as_str()).await?;
        let size = parts.iter().map(|p| p.len() as u64).sum();
        self.change(begun, size, Change::Put(key.clone(), parts)).await
    }

    async fn get(&self, key: &Key, size_max: u64) -> Result<Bytes, Error> {
        let begun = self.begin(Verb::Get, key.as_str()).await?;
        let read = self.world.inner.get(key, size_max).await.map(|bytes| self.spoil(&begun, bytes));
        self.end(begun, read.as_ref().map_or(0, |b| b.len() as u64), read)
    }

    async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes, Error> {
        let begun = self.begin(Verb::GetRange, key.as_str()).await?;
        let read = self.world.inner.get_range(key, range).await.map(|bytes| self.spoil(&begun, bytes));
        self.end(begun, read.as_ref().map_or(0, |b| b.len() as u64), read)
    }

    async fn head(&self, key: &Key) -> Result<Entry, Error> {
        let begun = self.begin(Verb::Head, key.as_str()).await?;
        let found = self.world.inner.head(key).await;
        self.end(begun, 0, found)
    }

    fn list(&self, prefix: &str) -> BoxStream<'_, Result<Entry, Error>> {
        let listing = self.listing(prefix.to_owned());
        stream::once(listing).flat_map(stream::iter).boxed()
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let begun = self.begin(Verb::Delete, key.as_str()).await?;
        self.change(begun, 0, Change::Delete(key.clone())).await
    }

    fn location(&self) -> String {
        self.world.inner.location()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test that cannot unwrap has failed")]
mod tests;
