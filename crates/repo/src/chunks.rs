//! Chunks out of packs: fetch the record, open it, expand it, check it against its name.

use crate::blocks::Blocks;
use crate::error::{Error, ErrorKind, Result};
use crate::index::{Index, Location};
use crate::kept::Kept;
use crate::objects::Objects;
use bytes::Bytes;
use cistern_format::Damage;
use cistern_format::codec::{Codec, Expander};
use cistern_format::id::{ChunkId, PackId};
use cistern_format::record::{ChunkKind, META_SESSION, Sealer, chunk_id};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

/// Reads chunks of one view of the repository.
pub(crate) struct Chunks {
    objects: Objects,
    index: Arc<Index>,
    kept: Kept,
    pub(crate) blocks: Blocks,
    sealers: Mutex<HashMap<[u8; 16], Arc<Sealer>>>,
    /// Bases that were checked against their names.
    bases: Mutex<RecentBases>,
    /// Bases that were opened only: what is made from them is checked.
    drafts: Mutex<RecentBases>,
}

/// A sealed record, fetched but not opened, and the base it needs.
pub(crate) struct Sealed {
    id: ChunkId,
    location: Location,
    pack: PackId,
    record: Bytes,
    base: Option<Base>,
    sealer: Arc<Sealer>,
}

/// What a delta is made from.
enum Base {
    Expanded(Bytes),
    Sealed(Box<Sealed>),
}

/// What turns sealed records into chunks, and is reused for many.
#[derive(Default)]
pub(crate) struct Opener {
    expander: Expander,
    record: Vec<u8>,
    /// Buffers of bases that went: memory that is new to the process is slow.
    spare: Vec<Vec<u8>>,
}

/// Expanded bases, oldest out first: neighbours often share one.
#[derive(Default)]
struct RecentBases {
    found: HashMap<ChunkId, Bytes>,
    order: VecDeque<ChunkId>,
    held_bytes: usize,
}

/// Buffers for the next bases kept at most, by each who opens.
const SPARE_MAX: usize = 2;
/// Expanded bases kept at most, in bytes.
const RECENT_BASES_BYTES: usize = 12 << 20;

impl Chunks {
    pub(crate) fn new(objects: Objects, index: Arc<Index>, cache_bytes: u64) -> Chunks {
        let blocks = Blocks::new(objects.store.clone(), cache_bytes);
        let kept = Kept::default();
        let (sealers, bases, drafts) = (Mutex::default(), Mutex::default(), Mutex::default());
        Chunks { objects, index, kept, blocks, sealers, bases, drafts }
    }

    /// Reads the chunks of sessions whose keys this machine kept, too.
    pub(crate) fn with_kept(self, kept: Kept) -> Chunks {
        Chunks { kept, ..self }
    }

    /// Whether there is a key for the chunk at a place; its bytes may yet turn out damaged.
    pub(crate) fn can_open(&self, location: &Location) -> bool {
        let keys = &self.objects.keys;
        keys.can_read() || location.key.is_none_or(|k| self.kept.has(&self.index.data_key(k).0))
    }

    pub(crate) fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// The plain bytes of a chunk, checked.
    ///
    /// Tries every place the chunk is at before it gives up.
    pub(crate) async fn get(&self, id: ChunkId) -> Result<Vec<u8>> {
        let mut failure = missing(&id);
        for location in self.index.find_all(&id) {
            let got = match self.fetch(id, location).await {
                Ok(sealed) => self.expand(sealed, &mut Opener::default()),
                Err(e) => Err(e),
            };
            match got {
                Ok(raw) => return Ok(raw),
                Err(e) => failure = e,
            }
        }
        Err(failure)
    }

    /// Fetches the record of a chunk at one place, and reads its base from wherever it is sound.
    pub(crate) async fn fetch(&self, id: ChunkId, location: Location) -> Result<Sealed> {
        let base = match location.base {
            Some(base) => Some(Base::Expanded(self.base(base).await?)),
            None => None,
        };
        self.sealed(id, location, base).await
    }

    /// The same for a reader in a hurry: the base is fetched from its first place and left sealed, so
    /// that opening it is work for a CPU thread. If that fails, [`Chunks::get`] may yet succeed.
    pub(crate) async fn fetch_sealed(&self, id: ChunkId, location: Location) -> Result<Sealed> {
        let base = match location.base {
            Some(base) => Some(self.sealed_base(base).await?),
            None => None,
        };
        self.sealed(id, location, base).await
    }

    async fn sealed_base(&self, id: ChunkId) -> Result<Base> {
        if let Some(raw) = lock(&self.drafts).found.get(&id) {
            return Ok(Base::Expanded(raw.clone()));
        }
        let mut places = self.index.find_all(&id).filter(|l| l.codec != Codec::Delta);
        let place = places.next().ok_or_else(|| missing(&id))?;
        Ok(Base::Sealed(Box::new(self.sealed(id, place, None).await?)))
    }

    async fn sealed(&self, id: ChunkId, location: Location, base: Option<Base>) -> Result<Sealed> {
        let pack = *self.index.pack(location.pack);
        let (offset, len) = (location.offset.into(), location.record_len.into());
        let record = self.blocks.read(pack.id, pack.object_len, offset, len).await?;
        let sealer = self.sealer(&location)?;
        Ok(Sealed { id, location, pack: pack.id, record, base, sealer })
    }

    /// The plain bytes of a chunk that others are deltas of.
    pub(crate) async fn base(&self, id: ChunkId) -> Result<Bytes> {
        if let Some(raw) = lock(&self.bases).found.get(&id) {
            return Ok(raw.clone());
        }
        let mut failure = missing(&id);
        for location in self.index.find_all(&id).filter(|l| l.codec != Codec::Delta) {
            let got = match self.sealed(id, location, None).await {
                Ok(sealed) => self.expand(sealed, &mut Opener::default()),
                Err(e) => Err(e),
            };
            match got {
                Ok(raw) => return Ok(lock(&self.bases).keep(id, Bytes::from(raw), &mut Vec::new())),
                Err(e) => failure = e,
            }
        }
        Err(failure)
    }

    /// Opens, expands and checks a fetched record. CPU work: call it on a CPU thread.
    pub(crate) fn expand(&self, sealed: Sealed, opener: &mut Opener) -> Result<Vec<u8>> {
        let mut raw = Vec::new();
        self.expand_into(sealed, opener, &mut raw)?;
        Ok(raw)
    }

    /// The same into a buffer, in place of what was in it.
    pub(crate) fn expand_into(&self, sealed: Sealed, opener: &mut Opener, raw: &mut Vec<u8>) -> Result<()> {
        let (id, pack, kind) = (sealed.id, sealed.pack, sealed.location.kind);
        self.open(sealed, opener, raw)?;
        let damaged = |d: Damage| damaged(id, pack, d);
        let key = match kind {
            ChunkKind::Recipe => Some(self.objects.keys.recipe_id()),
            ChunkKind::Data => self.objects.keys.chunk_id(),
        };
        let key = key.ok_or_else(|| damaged(Damage::WrongKey { what: "data chunk" }))?;
        if chunk_id(key, raw) != id {
            return Err(damaged(Damage::Mismatch { what: "chunk" }));
        }
        Ok(())
    }

    /// Opens and expands a record; whether it holds the chunk it is named after is not checked.
    fn open(&self, sealed: Sealed, opener: &mut Opener, raw: &mut Vec<u8>) -> Result<()> {
        let Sealed { id, location, pack, record, base, sealer } = sealed;
        let base = match base {
            None => None,
            Some(Base::Expanded(raw)) => Some(raw),
            Some(Base::Sealed(base)) => Some(self.draft(*base, opener)?),
        };
        let damaged = |d: Damage| damaged(id, pack, d);
        opener.record.clear();
        opener.record.extend_from_slice(&record);
        let squeezed = sealer.open(&location.binding(id), &mut opener.record).map_err(damaged)?;
        let (len, base) = (location.raw_len as usize, base.as_deref());
        opener.expander.expand_into(location.codec, squeezed, len, base, raw).map_err(damaged)
    }

    /// A base that a delta needs at once; the delta's own name is what will be checked.
    fn draft(&self, base: Sealed, opener: &mut Opener) -> Result<Bytes> {
        let id = base.id;
        if let Some(raw) = lock(&self.drafts).found.get(&id) {
            return Ok(raw.clone());
        }
        let mut raw = opener.spare.pop().unwrap_or_default();
        self.open(base, opener, &mut raw)?;
        Ok(lock(&self.drafts).keep(id, Bytes::from(raw), &mut opener.spare))
    }

    fn sealer(&self, location: &Location) -> Result<Arc<Sealer>> {
        let key = location.key.map(|k| self.index.data_key(k));
        let session = key.map_or(META_SESSION, |k| k.0);
        let mut sealers = self.sealers.lock().expect("no code panics while holding the sealers");
        if let Some(sealer) = sealers.get(&session.0) {
            return Ok(sealer.clone());
        }
        let keys = &self.objects.keys;
        let sealer = match key {
            None => Sealer::recipe(keys),
            Some((session, sealed)) => {
                let opened = match self.kept.get(session) {
                    Some(kept) if !keys.can_read() => Ok(kept.data_key(*sealed)),
                    _ => keys.open_data_key(*session, sealed),
                };
                let opened = opened.map_err(|d| match d {
                    Damage::WrongKey { .. } => Error::new(
                        ErrorKind::Denied,
                        "read stored data",
                        format!("it takes a credential of role pull, this one is of role {}", keys.role()),
                    ),
                    d => Error::damage(format!("open the data key of session {session}"), d),
                })?;
                Sealer::data(keys.repo(), &opened)
            }
        };
        let sealer = Arc::new(sealer);
        sealers.insert(session.0, sealer.clone());
        Ok(sealer)
    }
}

impl RecentBases {
    /// Keeps a base, as long as there is room. Buffers of those that go, and that nobody holds, are `spare`.
    fn keep(&mut self, id: ChunkId, raw: Bytes, spare: &mut Vec<Vec<u8>>) -> Bytes {
        if self.found.insert(id, raw.clone()).is_none() {
            self.order.push_back(id);
            self.held_bytes += raw.len();
        }
        while self.held_bytes > RECENT_BASES_BYTES && self.order.len() > 1 {
            if let Some(old) = self.order.pop_front().and_then(|id| self.found.remove(&id)) {
                self.held_bytes -= old.len();
                if spare.len() < SPARE_MAX
                    && let Ok(old) = old.try_into_mut()
                {
                    spare.push(old.into());
                }
            }
        }
        raw
    }
}

fn lock(bases: &Mutex<RecentBases>) -> std::sync::MutexGuard<'_, RecentBases> {
    bases.lock().expect("no code panics while holding the bases")
}

fn damaged(id: ChunkId, pack: PackId, damage: Damage) -> Error {
    Error::damage(format!("read {id:?} in {}", pack.key()), damage)
}

pub(crate) fn missing(id: &ChunkId) -> Error {
    let why = "no pack that exists holds it (`cistern verify` names every snapshot it touches)";
    Error::new(ErrorKind::Damaged, format!("find {id:?}"), why)
}
