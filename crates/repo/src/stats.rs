//! Where the bytes are: by name, by kind of record, in use or not.

use crate::error::Result;
use crate::repository::Repository;
use crate::snapshots::SnapshotInfo;
use crate::view::INDEX;
use cistern_format::codec::Codec;
use cistern_format::record::ChunkKind;
use cistern_format::snapshot::StoredBytes;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// The sums of one name.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NameStats {
    /// Snapshots of the name.
    pub snapshots: u64,
    /// Bytes of their streams.
    pub raw_bytes: u64,
    /// Where the bytes went, summed over its pushes.
    pub stored: StoredBytes,
}

/// The sums of a repository.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Stats {
    /// Snapshots that are not forgotten.
    pub snapshots: u64,
    /// Bytes of their streams.
    pub raw_bytes: u64,
    /// By name.
    pub names: BTreeMap<String, NameStats>,
    /// Packs that exist.
    pub packs: u64,
    /// Their bytes.
    pub pack_bytes: u64,
    /// Index objects.
    pub index_objects: u64,
    /// Their bytes.
    pub index_bytes: u64,
    /// Chunks stored whole, and the bytes of their records.
    pub whole_chunks: u64,
    /// Bytes of those records.
    pub whole_record_bytes: u64,
    /// Chunks stored as deltas.
    pub delta_chunks: u64,
    /// Bytes of those records.
    pub delta_record_bytes: u64,
    /// Pieces of recipes.
    pub recipe_pieces: u64,
    /// Bytes of those records.
    pub recipe_record_bytes: u64,
    /// Bytes of records some snapshot needs.
    pub used_record_bytes: u64,
    /// Bytes of records no snapshot needs; a prune can free them.
    pub unused_record_bytes: u64,
    /// Packs condemned and not yet deleted.
    pub condemned_packs: u64,
    /// Memory the index takes in every push and pull, in bytes.
    pub index_memory_bytes: u64,
}

impl Repository {
    /// Adds everything up. Reads recipes, no data.
    pub async fn stats(&self) -> Result<Stats> {
        let snapshots = self.snapshots().await?;
        let view = self.objects.view().await?;
        let live = self.live(&view).await?.chunks;
        let mut stats = by_name(&snapshots);
        stats.packs = view.listed.len() as u64;
        stats.pack_bytes = view.listed.values().map(|l| l.object_len).sum();
        let segments = self.objects.list(INDEX).await?;
        stats.index_objects = segments.len() as u64;
        stats.index_bytes = segments.iter().map(|e| e.size).sum();
        stats.condemned_packs =
            view.condemned.iter().filter(|id| view.listed.contains_key(id)).count() as u64;
        stats.index_memory_bytes = view.index.memory_bytes() as u64;
        let mut seen = HashSet::with_capacity(view.index.len());
        for (short, location) in view.index.records() {
            let len = u64::from(location.record_len);
            let (count, bytes) = match (location.kind, location.codec) {
                (ChunkKind::Recipe, _) => (&mut stats.recipe_pieces, &mut stats.recipe_record_bytes),
                (_, Codec::Delta) => (&mut stats.delta_chunks, &mut stats.delta_record_bytes),
                _ => (&mut stats.whole_chunks, &mut stats.whole_record_bytes),
            };
            *count += 1;
            *bytes += len;
            // A second record of a chunk is of no use.
            let used = live.contains(&short) && seen.insert(short);
            *(if used { &mut stats.used_record_bytes } else { &mut stats.unused_record_bytes }) += len;
        }
        Ok(stats)
    }
}

fn by_name(snapshots: &[SnapshotInfo]) -> Stats {
    let mut stats = Stats { snapshots: snapshots.len() as u64, ..Stats::default() };
    for info in snapshots {
        let name = stats.names.entry(info.snapshot.name.clone()).or_default();
        name.snapshots += 1;
        name.raw_bytes = name.raw_bytes.saturating_add(info.snapshot.raw_bytes);
        name.stored.add(&info.snapshot.stored);
        stats.raw_bytes = stats.raw_bytes.saturating_add(info.snapshot.raw_bytes);
    }
    stats
}
