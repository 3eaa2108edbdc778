//! The order of writes: the only module that makes anything visible.
//!
//! # Expected flow
//! 1. [`Session::register`]: `sessions/<id>`, before anything is read that the push will rely on.
//! 2. Read the view (trash, packs, index).
//! 3. [`Session::store_pack`] for each pack, [`Session::checkpoint`] now and then.
//! 4. [`Session::publish`]: the rest of the index, then `snapshots/<id>` by create-if-absent.
//!
//! # Guarantees
//! A snapshot that can be listed has all its packs and index objects stored. A session is decided
//! once: by its snapshot, or by a tombstone a prune wrote because the session showed no sign of
//! life. A session that lost never becomes visible later, however long it slept.
//!
//! # If it crashes here
//! After 1: an empty session that a prune refuses after a while. After 3: packs nobody refers to; the
//! next push uses them. Within 4: either the snapshot is there or it is not.

use crate::error::{Error, ErrorKind, Result};
use crate::objects::Objects;
use crate::view::INDEX;
use bytes::Bytes;
use cistern_format::envelope::{self, Kind};
use cistern_format::id::{SessionId, SnapshotId};
use cistern_format::object::{Session as SessionNote, from_cbor, to_cbor};
use cistern_format::pack::Pack;
use cistern_format::segment::{self, IndexedPack};
use cistern_format::sketch::SketchList;
use cistern_format::snapshot::{Snapshot, Tombstone};
use cistern_store::Key;
use std::sync::{Arc, Mutex};

pub(crate) const SESSIONS: &str = "sessions/";
pub(crate) const SNAPSHOTS: &str = "snapshots/";
pub(crate) const SKETCHES: &str = "sketches/";

/// Packs stored between two index objects: what a crash costs the next push in scanning.
const CHECKPOINT_PACKS: usize = 64;

/// A session that registered. Drop it and nothing was published.
pub(crate) struct Session {
    objects: Objects,
    id: SessionId,
    started_ms: u64,
    unindexed: Mutex<Vec<IndexedPack>>,
}

impl Session {
    /// Registers: from now on every prune waits for this session or refuses it.
    pub(crate) async fn register(objects: &Objects, purpose: &str, host: &str) -> Result<Session> {
        let id = objects.world.new_session_id();
        let started_ms = objects.world.now_ms();
        let note = SessionNote { host: host.to_owned(), purpose: purpose.to_owned(), started_ms };
        let key = format!("{SESSIONS}{id}");
        let put = objects.put(Kind::Session, &key, &to_cbor(&note)).await;
        put.map_err(|e| Error::store(format!("register a {purpose} at {}", objects.store.location()), e))?;
        Ok(Session { objects: objects.clone(), id, started_ms, unindexed: Mutex::default() })
    }

    /// A session nobody is told of, for previews: what has it must store nothing.
    pub(crate) fn unregistered(objects: &Objects) -> Session {
        let (id, started_ms) = (objects.world.new_session_id(), objects.world.now_ms());
        Session { objects: objects.clone(), id, started_ms, unindexed: Mutex::default() }
    }

    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    pub(crate) fn started_ms(&self) -> u64 {
        self.started_ms
    }

    /// Stores a pack. It counts for nobody until an index object names it.
    pub(crate) async fn store_pack(&self, pack: Pack) -> Result<()> {
        let key = pack.id.key();
        let put = self.objects.store.put_new(&Key::new(key.clone()), pack.parts).await;
        put.map_err(|e| Error::store(format!("store {key}"), e))?;
        let directory = Arc::new(pack.directory);
        self.adopt(vec![IndexedPack { id: pack.id, object_len: pack.object_len, directory }]);
        Ok(())
    }

    /// Puts packs that are stored already on the list for the next index object.
    pub(crate) fn adopt(&self, packs: Vec<IndexedPack>) {
        self.unindexed().extend(packs);
    }

    fn unindexed(&self) -> std::sync::MutexGuard<'_, Vec<IndexedPack>> {
        self.unindexed.lock().expect("no code panics while holding the list")
    }

    /// Writes an index object once enough packs wait for one.
    pub(crate) async fn checkpoint(&self) -> Result<()> {
        if self.unindexed().len() < CHECKPOINT_PACKS { Ok(()) } else { self.write_index().await }
    }

    /// Writes an index object of all packs that wait for one.
    pub(crate) async fn write_index(&self) -> Result<()> {
        let packs = std::mem::take(&mut *self.unindexed());
        if packs.is_empty() {
            return Ok(());
        }
        let key = format!("{INDEX}{}", self.objects.world.new_session_id());
        let put = self.objects.put(Kind::Index, &key, &segment::encode(&packs)).await;
        put.map(drop).map_err(|e| Error::store(format!("store {key}"), e))
    }

    /// Remembers which chunks can serve as bases. A hint: a failure is told and forgotten.
    pub(crate) async fn write_sketches(&self, list: &SketchList) -> Result<()> {
        if list.sketches.is_empty() {
            return Ok(());
        }
        let key = format!("{SKETCHES}{}/{}", hex::encode(list.series), self.id);
        let put = self.objects.put(Kind::Sketches, &key, &list.encode()).await;
        put.map(drop).map_err(|e| Error::store(format!("store {key}"), e))
    }

    /// The moment a push becomes true. Returns the snapshot's id and the digest of its object.
    ///
    /// # Errors
    /// [`ErrorKind::Retry`] if a prune refused the session meanwhile: the chunks are there, a second
    /// push is quick. If the store cannot say whether the write landed, the session is refused by our
    /// own tombstone, so that it cannot surface after we said it failed.
    pub(crate) async fn publish(&self, snapshot: &Snapshot) -> Result<(SnapshotId, [u8; 32])> {
        assert!(self.unindexed().is_empty(), "publish before every pack is in the index");
        let doing = || format!("commit snapshot {}", self.id);
        let key = format!("{SNAPSHOTS}{}", self.id);
        let nonce = self.objects.world.random();
        let object =
            Bytes::from(envelope::seal(&self.objects.keys, Kind::Snapshot, &key, nonce, &to_cbor(snapshot)));
        let put = self.objects.store.put_new(&Key::new(key.clone()), vec![object.clone()]).await;
        match put {
            Ok(()) => {}
            Err(e) if e.kind == cistern_store::ErrorKind::Exists => return Err(self.refused(&key).await),
            Err(e) => self.decide_doubt(&key, &object).await.map_err(|_| Error::store(doing(), e))?,
        }
        self.end().await;
        Ok((self.id, *blake3::hash(&object).as_bytes()))
    }

    async fn refused(&self, key: &str) -> Error {
        let tombstone = self.objects.get(Kind::Tombstone, key).await.ok();
        let reason = tombstone.and_then(|body| from_cbor::<Tombstone>("tombstone", &body).ok());
        let why = match reason {
            Some(t) => format!("{}; nothing was lost, run it again: the chunks are stored already", t.reason),
            None => "another object has taken its place".to_owned(),
        };
        Error::new(ErrorKind::Retry, format!("commit snapshot {}", self.id), why)
    }

    /// After a write whose outcome is unknown: ours is there, or our tombstone is. Else in doubt.
    async fn decide_doubt(&self, key: &str, object: &Bytes) -> Result<(), ()> {
        let reason = "its writer could not tell whether the commit had landed".to_owned();
        let tombstone = Tombstone { reason, at_ms: self.objects.world.now_ms() };
        match self.objects.put(Kind::Tombstone, key, &to_cbor(&tombstone)).await {
            Err(e) if e.kind == cistern_store::ErrorKind::Exists => match self.objects.read(key).await {
                Ok(there) if there == *object => Ok(()),
                _ => Err(()),
            },
            _ => Err(()),
        }
    }

    /// Takes the registration away. A push credential may not; a prune does it then.
    pub(crate) async fn end(&self) {
        let _ = self.objects.delete(&format!("{SESSIONS}{}", self.id)).await;
    }

    /// A sign of life, for a push that stores nothing for long because everything is there already.
    pub(crate) async fn beat(&self, number: u32) {
        let note = SessionNote {
            host: String::new(),
            purpose: "sign of life".to_owned(),
            started_ms: self.started_ms,
        };
        let key = format!("{SESSIONS}{}.{number:04}", self.id);
        // One that fails is followed by the next; if all fail the store is gone and the push with it.
        let _ = self.objects.put(Kind::Session, &key, &to_cbor(&note)).await;
    }
}

/// The session a name under `sessions/` belongs to: its registration, or a sign of life of it.
pub(crate) fn session_of(name: &str) -> Option<SessionId> {
    name.split_once('.').map_or(name, |(id, _)| id).parse().ok()
}
