//! Puts dealt-with chunks, in the order of the stream, into packs and a recipe. No I/O.

use crate::encode::{Encoded, Encoding, RecipeSealer};
use crate::observe::{Counter, Observer};
use crate::world::World;
use bytes::Bytes;
use cistern_format::codec::Codec;
use cistern_format::id::{ChunkId, SessionId};
use cistern_format::keys::Keyring;
use cistern_format::pack::{Pack, PackBuilder, PackRandom};
use cistern_format::recipe::{Node, RecipeBuilder, Root};
use cistern_format::record::Binding;
use cistern_format::sketch::Sketch;
use cistern_format::snapshot::StoredBytes;
use std::sync::Arc;

/// Sketches one push remembers at most; beyond, later chunks go without.
const SKETCHES_MAX: usize = 256 << 10;

/// Packs being filled by one session.
pub(crate) struct Packer {
    session: SessionId,
    pack_bytes: u32,
    keys: Arc<Keyring>,
    world: Arc<World>,
    open: PackBuilder,
}

impl Packer {
    pub(crate) fn new(session: SessionId, pack_bytes: u32, keys: Arc<Keyring>, world: Arc<World>) -> Packer {
        Packer { session, pack_bytes, keys, world, open: PackBuilder::new(session, pack_bytes) }
    }

    /// Adds a record; returns the pack that had no room for it.
    pub(crate) fn add(
        &mut self,
        binding: Binding,
        record: Bytes,
        key: Option<&(SessionId, [u8; 80])>,
    ) -> Option<Pack> {
        assert_ne!(
            binding.base,
            Some(binding.id),
            "a delta of itself can never be read, nor its pack's directory"
        );
        let full = self.open.is_full_for(record.len()).then(|| self.close(false));
        self.open.add(binding, record, key);
        full
    }

    /// The last pack, if anything is in it.
    pub(crate) fn finish(&mut self) -> Option<Pack> {
        (!self.open.is_empty()).then(|| self.close(true))
    }

    fn close(&mut self, last: bool) -> Pack {
        let full = std::mem::replace(&mut self.open, PackBuilder::new(self.session, self.pack_bytes));
        let world = &self.world;
        let random =
            PackRandom { directory: world.random(), trailer: world.random(), padding: world.random() };
        full.finish(&self.keys, last, &random)
    }
}

/// What a stream became.
pub(crate) struct Assembled {
    pub(crate) recipe: Root,
    pub(crate) raw_bytes: u64,
    pub(crate) digest: [u8; 32],
    pub(crate) stored: StoredBytes,
    pub(crate) sketches: Vec<(ChunkId, Sketch)>,
}

/// Takes chunks in order.
pub(crate) struct Assembler {
    encoding: Arc<Encoding>,
    packer: Packer,
    recipe: RecipeBuilder,
    recipe_sealer: RecipeSealer,
    digest: blake3::Hasher,
    raw_bytes: u64,
    stored: StoredBytes,
    sketches: Vec<(ChunkId, Sketch)>,
    watch: Arc<dyn Observer>,
}

impl Assembler {
    pub(crate) fn new(
        encoding: Arc<Encoding>,
        packer: Packer,
        recipe_sealer: RecipeSealer,
        watch: Arc<dyn Observer>,
    ) -> Assembler {
        Assembler {
            encoding,
            packer,
            recipe: RecipeBuilder::default(),
            recipe_sealer,
            digest: blake3::Hasher::new(),
            raw_bytes: 0,
            stored: StoredBytes::default(),
            sketches: Vec::new(),
            watch,
        }
    }

    /// Takes the next chunk; `full` receives the packs that became full.
    pub(crate) fn push(&mut self, chunk: Encoded, full: &mut Vec<Pack>) {
        let len = chunk.raw.len() as u64;
        self.digest.update(&chunk.raw);
        self.raw_bytes += len;
        self.stored.chunks += 1;
        self.watch.count(Counter::ReadBytes, len);
        match chunk.stored {
            None => {
                self.stored.duplicate_bytes += len;
                self.watch.count(Counter::DuplicateBytes, len);
            }
            Some(stored) => {
                self.account(&stored.binding, len, stored.record.len() as u64);
                if let Some(sketch) = stored.sketch.filter(|_| self.sketches.len() < SKETCHES_MAX) {
                    self.sketches.push((chunk.id, sketch));
                }
                full.extend(self.packer.add(stored.binding, stored.record, Some(&self.encoding.key)));
            }
        }
        let (sealer, packer) = (&mut self.recipe_sealer, &mut self.packer);
        self.recipe.push(Node { id: chunk.id, len }, &mut |piece| store_piece(sealer, packer, &piece, full));
    }

    fn account(&mut self, binding: &Binding, len: u64, record_len: u64) {
        let counter = if binding.codec == Codec::Delta {
            self.stored.delta_bytes += len;
            self.stored.delta_stored_bytes += record_len;
            Counter::DeltaBytes
        } else {
            self.stored.new_bytes += len;
            self.stored.new_stored_bytes += record_len;
            Counter::NewBytes
        };
        self.watch.count(counter, len);
    }

    /// Ends the stream; `full` receives the last packs.
    pub(crate) fn finish(mut self, full: &mut Vec<Pack>) -> Assembled {
        let (sealer, packer) = (&mut self.recipe_sealer, &mut self.packer);
        let recipe = self.recipe.finish(&mut |piece| store_piece(sealer, packer, &piece, full));
        full.extend(self.packer.finish());
        Assembled {
            recipe,
            raw_bytes: self.raw_bytes,
            digest: *self.digest.finalize().as_bytes(),
            stored: self.stored,
            sketches: self.sketches,
        }
    }
}

fn store_piece(
    sealer: &mut RecipeSealer,
    packer: &mut Packer,
    piece: &[u8],
    full: &mut Vec<Pack>,
) -> ChunkId {
    let (id, new) = sealer.seal(piece);
    if let Some((binding, record)) = new {
        full.extend(packer.add(binding, record, None));
    }
    id
}
