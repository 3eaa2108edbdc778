//! One chunk of a push: name it, and if it is new, squeeze it and seal it. CPU work, no I/O.

use crate::bases::{BaseChoice, Bases};
use crate::index::Index;
use crate::world::World;
use bytes::Bytes;
use cistern_format::codec::{Codec, Squeezer};
use cistern_format::id::{ChunkId, SessionId};
use cistern_format::keys::{DataKey, Keyring, Secret32};
use cistern_format::record::{Binding, ChunkKind, NONCE_LEN, OVERHEAD, Sealer, chunk_id};
use cistern_format::sketch::{Sketch, Sketcher};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

/// A delta is kept only if it takes at most this share of what the chunk would take whole: it costs
/// a second read at restore and ties the base down.
const DELTA_WORTH_NUMERATOR: u64 = 9;
const DELTA_WORTH_DENOMINATOR: u64 = 10;

/// Chunks that need not be stored: those of the view, and those this session took on.
pub(crate) struct Known {
    index: Arc<Index>,
    taken: Mutex<HashSet<[u8; 16]>>,
}

impl Known {
    pub(crate) fn new(index: Arc<Index>) -> Known {
        Known { index, taken: Mutex::default() }
    }

    /// Whether the caller is the one to store the chunk: it can be read from nowhere, and nobody else
    /// took it on.
    pub(crate) fn take(&self, id: &ChunkId) -> bool {
        if self.index.resolves(id) {
            return false;
        }
        self.taken.lock().expect("no code panics while holding the set").insert(id.short())
    }
}

/// A data key as packs carry it: the session that drew it, and the key sealed.
pub(crate) type SealedDataKey = (SessionId, [u8; 80]);

/// What all encoders of a push share.
pub(crate) struct Encoding {
    chunk_id: Secret32,
    sealer: Sealer,
    pub(crate) key: SealedDataKey,
    sketcher: Option<Sketcher>,
    pub(crate) bases: Option<Arc<Bases>>,
    known: Known,
    level: i32,
    world: Arc<World>,
}

impl Encoding {
    /// Needs a keyring that can push. Without `bases` no deltas are made; `sketching` remembers
    /// chunks for the deltas of later pushes.
    pub(crate) fn new(
        keys: &Keyring,
        data_key: &DataKey,
        known: Known,
        bases: Option<Arc<Bases>>,
        sketching: bool,
        level: i32,
        world: Arc<World>,
    ) -> Encoding {
        let chunk_id = keys.chunk_id().expect("checked when the push began").clone();
        let sketcher = sketching.then(|| Sketcher::new(keys.sketch().expect("push credentials have it")));
        Encoding {
            chunk_id,
            sealer: Sealer::data(keys.repo(), data_key),
            key: (data_key.session, data_key.sealed),
            sketcher,
            bases,
            known,
            level,
            world,
        }
    }
}

/// A chunk that was dealt with.
pub(crate) struct Encoded {
    pub(crate) raw: Bytes,
    pub(crate) id: ChunkId,
    /// `None` for a chunk that is there already.
    pub(crate) stored: Option<Stored>,
}

/// A new chunk, sealed.
pub(crate) struct Stored {
    pub(crate) binding: Binding,
    pub(crate) record: Bytes,
    /// For chunks stored whole: what later pushes find them by.
    pub(crate) sketch: Option<Sketch>,
}

/// A new chunk, named and sketched, that may yet get a base.
pub(crate) struct Named {
    pub(crate) raw: Bytes,
    pub(crate) id: ChunkId,
    /// Whether it has to be stored.
    pub(crate) new: bool,
    sketch: Option<Sketch>,
    pub(crate) base: Option<BaseChoice>,
}

/// Encodes chunks one after the other; one for each CPU thread.
pub(crate) struct Encoder {
    shared: Arc<Encoding>,
    squeezer: Squeezer,
    scratch: Vec<u8>,
    delta_scratch: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new(shared: Arc<Encoding>) -> Encoder {
        let squeezer = Squeezer::new(shared.level);
        Encoder { shared, squeezer, scratch: Vec::new(), delta_scratch: Vec::new() }
    }

    /// Names a chunk; if it is new, looks for a base.
    pub(crate) fn name(&self, raw: Bytes) -> Named {
        let id = chunk_id(&self.shared.chunk_id, &raw);
        let new = self.shared.known.take(&id);
        let sketch = match &self.shared.sketcher {
            Some(sketcher) if new => sketcher.sketch(&raw),
            _ => None,
        };
        let base = match (&sketch, &self.shared.bases) {
            (Some(sketch), Some(bases)) => bases.choose(&id, sketch),
            _ => None,
        };
        Named { raw, id, new, sketch, base }
    }

    /// Squeezes and seals a named chunk, against the base if there is one and it pays.
    pub(crate) fn encode(&mut self, named: Named, base: Option<Bytes>) -> Encoded {
        let Named { raw, id, new, sketch, base: choice } = named;
        if !new {
            return Encoded { raw, id, stored: None };
        }
        let stored = match (choice, base) {
            (Some(choice), Some(base)) => self.encode_delta(&raw, id, sketch, choice, &base),
            _ => self.encode_whole(&raw, id, sketch),
        };
        Encoded { raw, id, stored: Some(stored) }
    }

    fn encode_whole(&mut self, raw: &[u8], id: ChunkId, sketch: Option<Sketch>) -> Stored {
        let (codec, len) = squeeze_into(&mut self.squeezer, &mut self.scratch, raw);
        let binding = Binding { id, kind: ChunkKind::Data, codec, raw_len: raw.len() as u32, base: None };
        let record = seal(&self.shared, &binding, &mut self.scratch, len);
        Stored { binding, record, sketch }
    }

    fn encode_delta(
        &mut self,
        raw: &[u8],
        id: ChunkId,
        sketch: Option<Sketch>,
        choice: BaseChoice,
        base: &[u8],
    ) -> Stored {
        make_room(&mut self.delta_scratch, raw.len());
        let end = self.delta_scratch.len() - 16;
        let delta = self.squeezer.squeeze_against(base, raw, &mut self.delta_scratch[NONCE_LEN..end]);
        // What the chunk would take whole, judged by how its base squeezed: rows of one table do alike.
        let whole = raw.len() as u64 * u64::from(choice.plain_len) / u64::from(choice.raw_len.max(1));
        if let Some(len) = delta.filter(|&len| pays(len as u64, whole, choice.age)) {
            let codec = Codec::Delta;
            let binding = Binding {
                id,
                kind: ChunkKind::Data,
                codec,
                raw_len: raw.len() as u32,
                base: Some(choice.id),
            };
            let record = seal(&self.shared, &binding, &mut self.delta_scratch, len);
            return Stored { binding, record, sketch: None };
        }
        let stored = self.encode_whole(raw, id, sketch);
        // The estimate can be wrong where the content changed its nature.
        match delta.filter(|&len| pays(len as u64, stored.record.len() as u64, choice.age)) {
            Some(len) => {
                let binding = Binding { codec: Codec::Delta, base: Some(choice.id), ..stored.binding };
                let record = seal(&self.shared, &binding, &mut self.delta_scratch, len);
                Stored { binding, record, sketch: None }
            }
            None => stored,
        }
    }
}

/// Whether a delta of `delta` bytes is worth having where the chunk takes `whole` bytes by itself.
///
/// Besides being clearly smaller, it must not have outlived its base: deltas grow by about the same
/// amount each night, `delta / age`, so over a cycle of n nights a chunk costs
/// `whole + delta / age · n² / 2`, which is least per night at `n² = 2 · whole · age / delta`. Once
/// `age` reaches that n the chunk is stored whole again and becomes the new base.
fn pays(delta: u64, whole: u64, age: u32) -> bool {
    delta * DELTA_WORTH_DENOMINATOR <= whole * DELTA_WORTH_NUMERATOR && delta * u64::from(age) < 2 * whole
}

/// A delta in place of a record that was whole, under the same data key.
pub(crate) struct DeltaRecord {
    pub(crate) binding: Binding,
    pub(crate) record: Bytes,
    pub(crate) key: SealedDataKey,
    pub(crate) base: ChunkId,
    pub(crate) before_bytes: u64,
}

/// The delta of a stored chunk against a base, if it pays.
pub(crate) fn delta_record(
    id: ChunkId,
    raw: &[u8],
    base: &[u8],
    choice: BaseChoice,
    whole_len: u32,
    (sealer, key): (&Sealer, SealedDataKey),
    squeezer: &mut Squeezer,
    world: &World,
) -> Option<DeltaRecord> {
    let mut scratch = Vec::new();
    make_room(&mut scratch, raw.len());
    let end = scratch.len() - 16;
    let len = squeezer.squeeze_against(base, raw, &mut scratch[NONCE_LEN..end])?;
    if !pays(len as u64, whole_len.into(), choice.age) {
        return None;
    }
    let binding = Binding {
        id,
        kind: ChunkKind::Data,
        codec: Codec::Delta,
        raw_len: raw.len() as u32,
        base: Some(choice.id),
    };
    let len = sealer.seal(&binding, world.random(), &mut scratch, len);
    let record = Bytes::copy_from_slice(&scratch[..len]);
    Some(DeltaRecord { binding, record, key, base: choice.id, before_bytes: whole_len.into() })
}

/// A stored chunk by itself, in place of a record that was a delta: its binding and its record.
pub(crate) fn whole_record(
    id: ChunkId,
    raw: &[u8],
    sealer: &Sealer,
    squeezer: &mut Squeezer,
    world: &World,
) -> (Binding, Bytes) {
    let mut scratch = Vec::new();
    let (codec, len) = squeeze_into(squeezer, &mut scratch, raw);
    let binding = Binding { id, kind: ChunkKind::Data, codec, raw_len: raw.len() as u32, base: None };
    let len = sealer.seal(&binding, world.random(), &mut scratch, len);
    (binding, Bytes::copy_from_slice(&scratch[..len]))
}

fn make_room(scratch: &mut Vec<u8>, raw_len: usize) {
    let want = Squeezer::bound(raw_len) + OVERHEAD;
    if scratch.len() < want {
        scratch.resize(want, 0);
    }
}

fn squeeze_into(squeezer: &mut Squeezer, scratch: &mut Vec<u8>, raw: &[u8]) -> (Codec, usize) {
    make_room(scratch, raw.len());
    let end = scratch.len() - 16;
    squeezer.squeeze(raw, &mut scratch[NONCE_LEN..end])
}

fn seal(shared: &Encoding, binding: &Binding, scratch: &mut [u8], squeezed_len: usize) -> Bytes {
    let len = shared.sealer.seal(binding, shared.world.random(), scratch, squeezed_len);
    Bytes::copy_from_slice(&scratch[..len])
}

/// Seals recipe pieces, which travel in the same packs as data.
pub(crate) struct RecipeSealer {
    keys: Arc<Keyring>,
    sealer: Sealer,
    squeezer: Squeezer,
    scratch: Vec<u8>,
    known: Known,
    world: Arc<World>,
}

impl RecipeSealer {
    pub(crate) fn new(keys: Arc<Keyring>, index: Arc<Index>, world: Arc<World>) -> RecipeSealer {
        let sealer = Sealer::recipe(&keys);
        let known = Known::new(index);
        RecipeSealer { keys, sealer, squeezer: Squeezer::new(3), scratch: Vec::new(), known, world }
    }

    /// The name of a piece, and its record if it is new.
    pub(crate) fn seal(&mut self, piece: &[u8]) -> (ChunkId, Option<(Binding, Bytes)>) {
        let id = chunk_id(self.keys.recipe_id(), piece);
        if !self.known.take(&id) {
            return (id, None);
        }
        let (codec, len) = squeeze_into(&mut self.squeezer, &mut self.scratch, piece);
        let binding = Binding { id, kind: ChunkKind::Recipe, codec, raw_len: piece.len() as u32, base: None };
        let len = self.sealer.seal(&binding, self.world.random(), &mut self.scratch, len);
        (id, Some((binding, Bytes::copy_from_slice(&self.scratch[..len]))))
    }
}

#[cfg(test)]
mod tests {
    use super::pays;

    #[test]
    fn a_delta_must_be_clearly_smaller_and_not_too_old() {
        assert!(pays(90, 100, 1) && !pays(91, 100, 1));
        // One percent more each night: whole again where the sum over nights is least, at 14.
        let rebased = (1..100).find(|&night| !pays(night, 100, night as u32));
        assert_eq!(rebased, Some(15));
    }
}
