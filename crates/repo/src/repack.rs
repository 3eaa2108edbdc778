//! Moves sealed records from pack to pack, byte for byte: no data key is needed, none is used.

use crate::assemble::Packer;
use crate::blocks::Blocks;
use crate::commit::Session;
use crate::error::{ErrorKind, Result};
use crate::ingest::Uploads;
use crate::live::ShortIds;
use crate::objects::Objects;
use crate::observe::Observer;
use bytes::Bytes;
use cistern_format::codec::Codec;
use cistern_format::id::SessionId;
use cistern_format::record::Binding;
use cistern_format::segment::IndexedPack;
use std::sync::Arc;

/// Pieces of packs kept while records are copied, in bytes.
const CACHE_BYTES: u64 = 16 << 20;

/// Copies records into new packs of one session.
pub(crate) struct Repacker {
    blocks: Blocks,
    packer: Packer,
    uploads: Uploads,
    session: Arc<Session>,
    moved_bytes: u64,
}

impl Repacker {
    pub(crate) fn new(
        objects: &Objects,
        session: Arc<Session>,
        pack_bytes: u32,
        watch: Arc<dyn Observer>,
    ) -> Repacker {
        let packer = Packer::new(session.id(), pack_bytes, objects.keys.clone(), objects.world.clone());
        let uploads = Uploads::new(session.clone(), watch);
        let blocks = Blocks::new(objects.store.clone(), CACHE_BYTES);
        Repacker { blocks, packer, uploads, session, moved_bytes: 0 }
    }

    /// Copies, of the records of these packs, one for each chunk of `need`. Returns the chunks for
    /// which none of the packs had a sound record.
    ///
    /// A chunk that is a base is copied from a whole record only.
    pub(crate) async fn copy(
        &mut self,
        packs: &[IndexedPack],
        need: &ShortIds,
        bases: &ShortIds,
    ) -> Result<ShortIds> {
        let mut missing = need.clone();
        // Whole records first, so that a delta is copied only where nothing else is left.
        for whole in [true, false] {
            for pack in packs {
                for (offset, row) in pack.directory.located() {
                    let short = row.binding.id.short();
                    let is_whole = row.binding.codec != Codec::Delta;
                    if is_whole != whole || !missing.contains(&short) || (!whole && bases.contains(&short)) {
                        continue;
                    }
                    let len = u64::from(row.record_len);
                    let record = match self.blocks.read(pack.id, pack.object_len, offset, len).await {
                        Ok(record) => record,
                        Err(e) if e.kind == ErrorKind::Damaged => continue,
                        Err(e) => return Err(e),
                    };
                    let key = row.key.map(|k| &pack.directory.keys[k as usize]);
                    self.add(row.binding, record, key).await?;
                    missing.remove(&short);
                }
            }
        }
        Ok(missing)
    }

    /// Adds one sealed record.
    pub(crate) async fn add(
        &mut self,
        binding: Binding,
        record: Bytes,
        key: Option<&(SessionId, [u8; 80])>,
    ) -> Result<()> {
        self.moved_bytes += record.len() as u64;
        if let Some(full) = self.packer.add(binding, record, key) {
            self.uploads.submit(full).await?;
        }
        Ok(())
    }

    /// Stores the last pack and the index of all. Returns how many bytes of records were written.
    pub(crate) async fn finish(mut self) -> Result<u64> {
        if let Some(last) = self.packer.finish() {
            self.uploads.submit(last).await?;
        }
        self.uploads.finish().await?;
        self.session.write_index().await?;
        Ok(self.moved_bytes)
    }
}
