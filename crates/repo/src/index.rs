//! Which chunk is where: the index in memory, of packs that exist and are not condemned.
//!
//! 40 bytes a chunk: sorted once, then searched. Names are cut to 16 bytes here (see
//! [`ChunkId::short`]); every reader checks the whole name against the bytes it gets.

use cistern_format::codec::Codec;
use cistern_format::id::{ChunkId, PackId, SessionId};
use cistern_format::pack::Row;
use cistern_format::record::{Binding, ChunkKind};
use cistern_format::segment::IndexedPack;
use std::collections::{HashMap, HashSet};

#[derive(Clone, Copy)]
struct Entry {
    short: [u8; 16],
    pack: u32,
    offset: u32,
    record_len: u32,
    raw_len: u32,
    /// Row of `Index::keys`, or `NO_KEY`.
    key: u32,
    /// Row of `Index::bases` and one; 0 for none.
    base: u32,
    codec: Codec,
    kind: ChunkKind,
}

const NO_KEY: u32 = u32::MAX;

/// One pack the index knows.
#[derive(Clone, Copy, Debug)]
pub struct PackInfo {
    /// Its name.
    pub id: PackId,
    /// Length of the object in bytes.
    pub object_len: u64,
}

/// Where a chunk lies and how to open it.
#[derive(Clone, Copy, Debug)]
pub struct Location {
    /// Number of the pack, for [`Index::pack`].
    pub pack: u32,
    /// Offset of the record in the pack, in bytes.
    pub offset: u32,
    /// Length of the record in bytes.
    pub record_len: u32,
    /// Length of the chunk in bytes.
    pub raw_len: u32,
    /// How it is squeezed.
    pub codec: Codec,
    /// Data or recipe.
    pub kind: ChunkKind,
    /// Number of the data key, for [`Index::data_key`].
    pub key: Option<u32>,
    /// The base, for deltas.
    pub base: Option<ChunkId>,
}

impl Location {
    /// What the record is sealed to, if it is the record of `id`.
    pub fn binding(&self, id: ChunkId) -> Binding {
        Binding { id, kind: self.kind, codec: self.codec, raw_len: self.raw_len, base: self.base }
    }
}

/// All chunks of the packs it was built from.
#[derive(Clone, Default)]
pub struct Index {
    entries: Vec<Entry>,
    packs: Vec<PackInfo>,
    keys: Vec<(SessionId, [u8; 80])>,
    bases: Vec<ChunkId>,
}

/// Collects packs; [`IndexBuilder::finish`] sorts.
#[derive(Default)]
pub struct IndexBuilder {
    index: Index,
    seen: HashMap<PackId, u32>,
    key_rows: HashMap<SessionId, u32>,
    base_rows: HashMap<ChunkId, u32>,
}

impl IndexBuilder {
    /// Adds a pack; a pack added before is left as it is.
    pub fn add(&mut self, pack: &IndexedPack) {
        let number = self.index.packs.len() as u32;
        if *self.seen.entry(pack.id).or_insert(number) != number {
            return;
        }
        self.index.packs.push(PackInfo { id: pack.id, object_len: pack.object_len });
        let directory = &pack.directory;
        let keys: Vec<u32> = directory.keys.iter().map(|k| self.key_row(k)).collect();
        for (offset, row) in directory.located() {
            let base = row.binding.base.map_or(0, |b| self.base_row(b));
            self.index.entries.push(Entry {
                short: row.binding.id.short(),
                pack: number,
                offset: offset as u32,
                record_len: row.record_len,
                raw_len: row.binding.raw_len,
                key: row.key.map_or(NO_KEY, |k| keys[k as usize]),
                base,
                codec: row.binding.codec,
                kind: row.binding.kind,
            });
        }
    }

    fn key_row(&mut self, key: &(SessionId, [u8; 80])) -> u32 {
        *self.key_rows.entry(key.0).or_insert_with(|| {
            self.index.keys.push(*key);
            self.index.keys.len() as u32 - 1
        })
    }

    fn base_row(&mut self, base: ChunkId) -> u32 {
        *self.base_rows.entry(base).or_insert_with(|| {
            self.index.bases.push(base);
            self.index.bases.len() as u32
        })
    }

    /// Whether a pack was added.
    pub fn has_pack(&self, id: &PackId) -> bool {
        self.seen.contains_key(id)
    }

    /// The index of all that was added.
    pub fn finish(mut self) -> Index {
        // Plain records first among equals: they read without a base.
        self.index.entries.sort_unstable_by_key(|e| (e.short, e.codec == Codec::Delta, e.pack, e.offset));
        self.index.entries.shrink_to_fit();
        self.index
    }
}

impl Index {
    /// Where a chunk is; plain records are preferred to deltas.
    pub fn find(&self, id: &ChunkId) -> Option<Location> {
        self.find_all(id).next()
    }

    /// All places a chunk is at, plain ones first.
    pub fn find_all(&self, id: &ChunkId) -> impl Iterator<Item = Location> + use<'_> {
        self.find_short(&id.short())
    }

    /// The same by short name.
    pub(crate) fn find_short(&self, short: &[u8; 16]) -> impl Iterator<Item = Location> + use<'_> {
        let short = *short;
        let start = self.entries.partition_point(|e| e.short < short);
        self.entries[start..].iter().take_while(move |e| e.short == short).map(|e| self.location(e))
    }

    /// Whether a chunk is there.
    pub fn has(&self, id: &ChunkId) -> bool {
        let short = id.short();
        self.entries.binary_search_by_key(&short, |e| e.short).is_ok()
    }

    /// Whether a chunk is there whole, by short name.
    pub(crate) fn holds_whole(&self, short: &[u8; 16]) -> bool {
        self.find_short(short).any(|l| l.codec != Codec::Delta)
    }

    /// Whether a chunk is whole in a pack that is not among those that go.
    pub(crate) fn holds_whole_outside(&self, short: &[u8; 16], going: &HashSet<PackId>) -> bool {
        let mut places = self.find_short(short).filter(|l| l.codec != Codec::Delta);
        places.any(|l| !going.contains(&self.pack(l.pack).id))
    }

    /// Whether a chunk can be read from these packs: whole, or as a delta whose base is there whole.
    ///
    /// A prune takes a base away once no snapshot needs a delta of it; such a delta may stay behind in
    /// a pack that is kept for other records.
    pub fn resolves(&self, id: &ChunkId) -> bool {
        let is_whole = |base: ChunkId| self.find_all(&base).any(|l| l.codec != Codec::Delta);
        self.find_all(id).any(|l| l.base.is_none_or(is_whole))
    }

    fn location(&self, e: &Entry) -> Location {
        Location {
            pack: e.pack,
            offset: e.offset,
            record_len: e.record_len,
            raw_len: e.raw_len,
            codec: e.codec,
            kind: e.kind,
            key: (e.key != NO_KEY).then_some(e.key),
            base: (e.base > 0).then(|| self.bases[e.base as usize - 1]),
        }
    }

    /// A pack by number.
    pub fn pack(&self, number: u32) -> &PackInfo {
        &self.packs[number as usize]
    }

    /// All packs.
    pub fn packs(&self) -> &[PackInfo] {
        &self.packs
    }

    /// A sealed data key by number.
    pub fn data_key(&self, number: u32) -> &(SessionId, [u8; 80]) {
        &self.keys[number as usize]
    }

    /// All records: short name of the chunk and where it is.
    pub fn records(&self) -> impl Iterator<Item = ([u8; 16], Location)> {
        self.entries.iter().map(|e| (e.short, self.location(e)))
    }

    /// Whether it says of a pack what the pack says of itself.
    pub(crate) fn agrees_with(&self, pack: &IndexedPack, records: usize) -> bool {
        let placed = |offset: u64, row: &Row| {
            self.find_all(&row.binding.id).any(|l| {
                let same = u64::from(l.offset) == offset && l.record_len == row.record_len;
                same && self.pack(l.pack).id == pack.id && l.binding(row.binding.id) == row.binding
            })
        };
        let rows = &pack.directory.rows;
        records == rows.len() && pack.directory.located().all(|(offset, row)| placed(offset, row))
    }

    /// This index with what these packs say of themselves in the place of what it said of them.
    pub(crate) fn corrected(mut self, packs: &[IndexedPack]) -> Index {
        let wrong: HashSet<PackId> = packs.iter().map(|p| p.id).collect();
        let infos = &self.packs;
        self.entries.retain(|e| !wrong.contains(&infos[e.pack as usize].id));
        self.with_but(packs, &wrong)
    }

    /// This index and some packs it does not hold yet.
    pub(crate) fn with(self, packs: &[IndexedPack]) -> Index {
        self.with_but(packs, &HashSet::new())
    }

    fn with_but(self, packs: &[IndexedPack], not_seen: &HashSet<PackId>) -> Index {
        let known = self.packs.iter().enumerate().filter(|(_, p)| !not_seen.contains(&p.id));
        let seen = known.map(|(n, p)| (p.id, n as u32)).collect();
        let key_rows = self.keys.iter().enumerate().map(|(n, k)| (k.0, n as u32)).collect();
        let base_rows = self.bases.iter().enumerate().map(|(n, b)| (*b, n as u32 + 1)).collect();
        let mut builder = IndexBuilder { index: self, seen, key_rows, base_rows };
        packs.iter().for_each(|p| builder.add(p));
        builder.finish()
    }

    /// How many records there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes this index takes in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + self.packs.capacity() * size_of::<PackInfo>()
            + self.keys.capacity() * size_of::<(SessionId, [u8; 80])>()
            + self.bases.capacity() * size_of::<ChunkId>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cistern_format::pack::Directory;
    use std::sync::Arc;

    fn row(byte: u8, base: Option<u8>) -> Row {
        let codec = if base.is_some() { Codec::Delta } else { Codec::Zstd };
        let base = base.map(|b| ChunkId([b; 32]));
        let binding = Binding { id: ChunkId([byte; 32]), kind: ChunkKind::Data, codec, raw_len: 9, base };
        Row { binding, record_len: 100, key: Some(0) }
    }

    fn pack(byte: u8, rows: Vec<Row>) -> IndexedPack {
        let session = SessionId([byte; 16]);
        let directory = Arc::new(Directory { keys: vec![(session, [byte; 80])], rows });
        IndexedPack { id: PackId { digest: [byte; 20], session }, object_len: 1000, directory }
    }

    #[test]
    fn finds_what_was_added_and_prefers_plain_records() {
        let mut builder = IndexBuilder::default();
        let first = pack(1, vec![row(5, Some(6)), row(6, None)]);
        builder.add(&first);
        builder.add(&first);
        builder.add(&pack(2, vec![row(7, None), row(5, None)]));
        let index = builder.finish();
        assert_eq!((index.len(), index.packs().len()), (4, 2), "the same pack twice counts once");
        let five = index.find(&ChunkId([5; 32])).expect("added");
        assert_eq!((five.codec, five.pack, five.offset), (Codec::Zstd, 1, 64 + 100));
        assert_eq!(index.data_key(five.key.expect("data")).0, SessionId([2; 16]));
        let all: Vec<_> = index.find_all(&ChunkId([5; 32])).collect();
        assert_eq!(all[1].base, Some(ChunkId([6; 32])));
        assert!(index.find(&ChunkId([8; 32])).is_none() && !index.has(&ChunkId([8; 32])));
        let lie = pack(2, vec![row(7, None), row(9, None)]);
        assert!(index.agrees_with(&first, 2) && !index.agrees_with(&lie, 2) && !index.agrees_with(&first, 3));
        let corrected = index.corrected(std::slice::from_ref(&lie));
        assert!(corrected.agrees_with(&lie, 2) && corrected.agrees_with(&first, 2));
        assert_eq!(corrected.find(&ChunkId([5; 32])).map(|l| l.codec), Some(Codec::Delta));
        assert!(size_of::<Entry>() <= 44, "{} bytes a chunk", size_of::<Entry>());
    }
}
