//! Moves sealed records from pack to pack, byte for byte: no data key is needed, none is used.

use crate::assemble::Packer;
use crate::commit::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::ingest::Uploads;
use crate::live::ShortIds;
use crate::objects::Objects;
use crate::observe::Observer;
use bytes::Bytes;
use cistern_format::id::{ChunkId, SessionId};
use cistern_format::pack::{PACK_BYTES_MAX, Row, check_digest};
use cistern_format::record::Binding;
use cistern_format::segment::IndexedPack;
use cistern_store::Key;
use std::sync::Arc;

/// Copies records into new packs of one session.
pub(crate) struct Repacker {
    objects: Objects,
    /// Whether packs are copied from even if their bytes do not match their name.
    salvages: bool,
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
        Repacker { objects: objects.clone(), salvages: false, packer, uploads, session, moved_bytes: 0 }
    }

    /// For packs known to be damaged, of whose records the caller names the sound ones.
    pub(crate) fn salvaging(self) -> Repacker {
        Repacker { salvages: true, ..self }
    }

    /// Copies, of the records of these packs, one for each chunk of `need`. Returns the chunks for
    /// which none of the packs had a sound record.
    ///
    /// A chunk that is a base is copied from a whole record only, a delta only if its base is copied
    /// with it or `holds` says that it stays whole elsewhere: a delta that outlived its base, in a pack
    /// that was late, must not be taken for the chunk. Nothing is copied out of a pack whose
    /// bytes do not match its name: what flipped on the way here, or at rest, must not become the only
    /// copy there is.
    pub(crate) async fn copy(
        &mut self,
        packs: &[IndexedPack],
        need: &ShortIds,
        bases: &ShortIds,
        holds: &(dyn Fn(&[u8; 16]) -> bool + Sync),
    ) -> Result<ShortIds> {
        let mut missing = need.clone();
        let mut copied_whole = ShortIds::new();
        // Whole records first, so that a delta is copied only where nothing else is left.
        for whole in [true, false] {
            for pack in packs {
                let wanted = |row: &Row, missing: &ShortIds, copied_whole: &ShortIds| {
                    let short = row.binding.id.short();
                    let has_base =
                        |base: &ChunkId| copied_whole.contains(&base.short()) || holds(&base.short());
                    let fits = match &row.binding.base {
                        None => whole,
                        Some(base) => !whole && !bases.contains(&short) && has_base(base),
                    };
                    fits && missing.contains(&short)
                };
                if !pack.directory.rows.iter().any(|row| wanted(row, &missing, &copied_whole)) {
                    continue;
                }
                let Some(object) = self.object(pack).await? else { continue };
                for (offset, row) in pack.directory.located() {
                    let (start, len) = (offset as usize, row.record_len as usize);
                    if !wanted(row, &missing, &copied_whole) || object.len() < start + len {
                        continue;
                    }
                    let key = row.key.map(|k| &pack.directory.keys[k as usize]);
                    self.add(row.binding, object.slice(start..start + len), key).await?;
                    missing.remove(&row.binding.id.short());
                    if whole {
                        copied_whole.insert(row.binding.id.short());
                    }
                }
            }
        }
        Ok(missing)
    }

    /// The bytes of a pack, if they are there and may be copied from.
    async fn object(&self, pack: &IndexedPack) -> Result<Option<Bytes>> {
        let key = pack.id.key();
        let object = match self.objects.store.get(&Key::new(key.clone()), PACK_BYTES_MAX.into()).await {
            Ok(object) => object,
            Err(e) => match Error::store(format!("read {key}"), e) {
                e if e.kind == ErrorKind::Damaged => return Ok(None),
                e => return Err(e),
            },
        };
        let sound = self.salvages || check_digest(&pack.id, &object).is_ok();
        Ok(sound.then_some(object))
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
