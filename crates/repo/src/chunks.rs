//! Chunks out of packs: fetch the record, open it, expand it, check it against its name.

use crate::blocks::Blocks;
use crate::error::{Error, ErrorKind, Result};
use crate::index::{Index, Location};
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
    pub(crate) blocks: Blocks,
    sealers: Mutex<HashMap<[u8; 16], Arc<Sealer>>>,
    bases: Mutex<RecentBases>,
}

/// A sealed record, fetched but not opened, and the base it needs, expanded.
pub(crate) struct Sealed {
    id: ChunkId,
    location: Location,
    pack: PackId,
    record: Bytes,
    base: Option<Bytes>,
    sealer: Arc<Sealer>,
}

/// Expanded bases, oldest out first: neighbours often share one.
#[derive(Default)]
struct RecentBases {
    found: HashMap<ChunkId, Bytes>,
    order: VecDeque<ChunkId>,
    held_bytes: usize,
}

/// Expanded bases kept at most, in bytes.
const RECENT_BASES_BYTES: usize = 12 << 20;

impl Chunks {
    pub(crate) fn new(objects: Objects, index: Arc<Index>, cache_bytes: u64) -> Chunks {
        let blocks = Blocks::new(objects.store.clone(), cache_bytes);
        Chunks { objects, index, blocks, sealers: Mutex::default(), bases: Mutex::default() }
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
                Ok(sealed) => self.expand(sealed, &mut Expander::default()),
                Err(e) => Err(e),
            };
            match got {
                Ok(raw) => return Ok(raw),
                Err(e) => failure = e,
            }
        }
        Err(failure)
    }

    /// Fetches the record of a chunk at one place, and its base.
    pub(crate) async fn fetch(&self, id: ChunkId, location: Location) -> Result<Sealed> {
        let pack = *self.index.pack(location.pack);
        let (offset, len) = (location.offset.into(), location.record_len.into());
        let record = self.blocks.read(pack.id, pack.object_len, offset, len).await?;
        let base = match location.base {
            Some(base) => Some(self.base(base).await?),
            None => None,
        };
        let sealer = self.sealer(&location)?;
        Ok(Sealed { id, location, pack: pack.id, record, base, sealer })
    }

    /// The plain bytes of a chunk that others are deltas of.
    pub(crate) async fn base(&self, id: ChunkId) -> Result<Bytes> {
        if let Some(raw) = self.bases().found.get(&id) {
            return Ok(raw.clone());
        }
        let mut failure = missing(&id);
        for location in self.index.find_all(&id).filter(|l| l.codec != Codec::Delta) {
            let pack = *self.index.pack(location.pack);
            let (offset, len) = (location.offset.into(), location.record_len.into());
            let got = match self.blocks.read(pack.id, pack.object_len, offset, len).await {
                Ok(record) => {
                    let sealer = self.sealer(&location)?;
                    let sealed = Sealed { id, location, pack: pack.id, record, base: None, sealer };
                    self.expand(sealed, &mut Expander::default())
                }
                Err(e) => Err(e),
            };
            match got {
                Ok(raw) => return Ok(self.bases().keep(id, Bytes::from(raw))),
                Err(e) => failure = e,
            }
        }
        Err(failure)
    }

    fn bases(&self) -> std::sync::MutexGuard<'_, RecentBases> {
        self.bases.lock().expect("no code panics while holding the bases")
    }

    /// Opens, expands and checks a fetched record. CPU work: call it on a CPU thread.
    pub(crate) fn expand(&self, sealed: Sealed, expander: &mut Expander) -> Result<Vec<u8>> {
        let Sealed { id, location, pack, record, base, sealer } = sealed;
        let damaged = |d: Damage| Error::damage(format!("read {id:?} in {}", pack.key()), d);
        let mut record = record.to_vec();
        let squeezed = sealer.open(&location.binding(id), &mut record).map_err(damaged)?;
        let raw = expander
            .expand(location.codec, squeezed, location.raw_len as usize, base.as_deref())
            .map_err(damaged)?;
        let key = match location.kind {
            ChunkKind::Recipe => Some(self.objects.keys.recipe_id()),
            ChunkKind::Data => self.objects.keys.chunk_id(),
        };
        let key = key.ok_or_else(|| damaged(Damage::WrongKey { what: "data chunk" }))?;
        if chunk_id(key, &raw) != id {
            return Err(damaged(Damage::Mismatch { what: "chunk" }));
        }
        Ok(raw)
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
                let opened = keys.open_data_key(*session, sealed).map_err(|d| match d {
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
    fn keep(&mut self, id: ChunkId, raw: Bytes) -> Bytes {
        if self.found.insert(id, raw.clone()).is_none() {
            self.order.push_back(id);
            self.held_bytes += raw.len();
        }
        while self.held_bytes > RECENT_BASES_BYTES && self.order.len() > 1 {
            if let Some(old) = self.order.pop_front().and_then(|id| self.found.remove(&id)) {
                self.held_bytes -= old.len();
            }
        }
        raw
    }
}

pub(crate) fn missing(id: &ChunkId) -> Error {
    let why = "no pack that exists holds it (`cistern verify` names every snapshot it touches)";
    Error::new(ErrorKind::Damaged, format!("find {id:?}"), why)
}
