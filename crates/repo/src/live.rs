//! What snapshots refer to: chunks, pieces of recipes, and the bases deltas need.

use crate::chunks::Chunks;
use crate::error::{Error, Result};
use crate::index::Index;
use crate::objects::Objects;
use crate::snapshots::SnapshotInfo;
use cistern_format::codec::Codec;
use cistern_format::id::ChunkId;
use cistern_format::recipe::{self, Node};
use futures::{StreamExt as _, TryStreamExt as _};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Recipe pieces read at the same time.
const READS: usize = 8;
/// Pieces of packs kept while recipes are read, in bytes.
const CACHE_BYTES: u64 = 32 << 20;

/// Names of chunks, cut to what the index keeps.
pub(crate) type ShortIds = HashSet<[u8; 16]>;

/// Reads recipes; needs the metadata key only, so a maintain credential can.
pub(crate) struct Recipes {
    chunks: Arc<Chunks>,
}

impl Recipes {
    pub(crate) fn new(objects: &Objects, index: Arc<Index>) -> Recipes {
        Recipes { chunks: Arc::new(Chunks::new(objects.clone(), index, CACHE_BYTES)) }
    }

    /// Every chunk the snapshots refer to, pieces of recipes included. Each piece is read once,
    /// however many snapshots share it.
    ///
    /// # Errors
    /// If a piece cannot be read: what it refers to is unknown then, and nothing may be deleted.
    pub(crate) async fn referenced(&self, snapshots: &[SnapshotInfo]) -> Result<ShortIds> {
        let mut live = ShortIds::new();
        for info in snapshots {
            let root = &info.snapshot.recipe;
            self.walk(root.depth, &root.nodes, &mut live)
                .await
                .map_err(|e| Error::new(e.kind, format!("read the recipe of snapshot {}", info.id), e))?;
        }
        Ok(live)
    }

    async fn walk(&self, depth: u8, nodes: &[Node], live: &mut ShortIds) -> Result<()> {
        let mut level: Vec<Node> = nodes.iter().filter(|n| live.insert(n.id.short())).copied().collect();
        for below in (0..depth).rev() {
            let pieces = std::mem::take(&mut level);
            let mut reads = futures::stream::iter(pieces)
                .map(|node| async move { self.piece(below, node.id).await })
                .buffered(READS);
            while let Some(nodes) = reads.try_next().await? {
                level.extend(nodes.into_iter().filter(|n| live.insert(n.id.short())));
            }
        }
        Ok(())
    }

    async fn piece(&self, level: u8, id: ChunkId) -> Result<Vec<Node>> {
        let piece = self.chunks.get(id).await?;
        recipe::decode(level, &piece).map_err(|d| Error::damage(format!("read recipe {id:?}"), d))
    }

    /// Which of the snapshots refer to any of `bad`, or have a recipe that cannot be read.
    pub(crate) async fn touching(&self, snapshots: &[SnapshotInfo], bad: &ShortIds) -> Vec<usize> {
        let mut known: HashMap<ChunkId, bool> = HashMap::new();
        let mut touched = Vec::new();
        for (number, info) in snapshots.iter().enumerate() {
            let root = &info.snapshot.recipe;
            if self.touches(root.depth, &root.nodes, bad, &mut known).await {
                touched.push(number);
            }
        }
        touched
    }

    async fn touches(
        &self,
        depth: u8,
        nodes: &[Node],
        bad: &ShortIds,
        known: &mut HashMap<ChunkId, bool>,
    ) -> bool {
        // Depth first with a stack of our own: recursion would need boxed futures.
        let mut hit = false;
        let mut stack: Vec<(u8, Node)> = nodes.iter().map(|n| (depth, *n)).collect();
        while let Some((level, node)) = stack.pop() {
            if bad.contains(&node.id.short()) || known.get(&node.id) == Some(&true) {
                hit = true;
                break;
            }
            if level == 0 || known.contains_key(&node.id) {
                continue;
            }
            match self.piece(level - 1, node.id).await {
                Ok(below) => {
                    known.insert(node.id, below.iter().any(|n| bad.contains(&n.id.short())));
                    stack.extend(below.into_iter().map(|n| (level - 1, n)));
                }
                Err(_) => {
                    known.insert(node.id, true);
                    hit = true;
                    break;
                }
            }
        }
        hit
    }
}

/// What snapshots need of a repository.
pub(crate) struct Live {
    /// Every chunk, bases included.
    pub(crate) chunks: ShortIds,
    /// Of them, those needed whole by deltas in packs that may not be relied on any more: the deltas may
    /// yet be copied out of there, and a base that is left as a delta only would be none.
    pub(crate) bases: ShortIds,
    /// Of them, those no snapshot refers to: deltas need them.
    pub(crate) held: ShortIds,
}

impl Live {
    /// What `chunks` are, seen by `index`, when `readable` is all that exists.
    pub(crate) fn new(mut chunks: ShortIds, index: &Index, readable: &Index) -> Live {
        let mut held = close_over_bases(&mut chunks, index);
        // Also of deltas in condemned packs: theirs may be copied later than their bases are deleted.
        held.extend(close_over_bases(&mut chunks, readable));
        let deltas =
            readable.records().filter(|(short, _)| chunks.contains(short) && !index.holds_whole(short));
        let bases = deltas.filter_map(|(_, location)| location.base.map(|b| b.short())).collect();
        Live { chunks, bases, held }
    }
}

/// Adds the bases of every delta whose chunk is live: a base lives while a delta needs it. Returns those that
/// were not live by themselves.
fn close_over_bases(live: &mut ShortIds, index: &Index) -> ShortIds {
    // One round is enough: a base is never a delta itself.
    let held: ShortIds = index
        .records()
        .filter(|(short, _)| live.contains(short))
        .filter_map(|(_, location)| location.base.map(|b| b.short()))
        .filter(|base| !live.contains(base))
        .collect();
    live.extend(&held);
    held
}

/// Which live chunks cannot be read from the packs of `index` for which `usable` holds.
///
/// A base must be there whole: a copy of it that is a delta itself does not count.
pub(crate) fn unresolvable(live: &Live, index: &Index, usable: impl Fn(u32) -> bool) -> ShortIds {
    lacking(live, index, usable, |whole, base| whole.contains(base))
}

/// Which live chunks have to be copied if only packs for which `stays` holds remain.
///
/// A delta that stays can be read once its base is copied: else a delta of it in a pack that goes would be
/// copied too, and keep another base for nothing.
pub(crate) fn to_copy(live: &Live, index: &Index, stays: impl Fn(u32) -> bool) -> ShortIds {
    lacking(live, index, stays, |whole, base| whole.contains(base) || index.holds_whole(base))
}

fn lacking(
    live: &Live,
    index: &Index,
    usable: impl Fn(u32) -> bool,
    has_base: impl Fn(&ShortIds, &[u8; 16]) -> bool,
) -> ShortIds {
    let mut whole = ShortIds::new();
    let mut deltas: Vec<([u8; 16], [u8; 16])> = Vec::new();
    let mut bases = live.bases.clone();
    let live = &live.chunks;
    for (short, location) in index.records().filter(|(short, l)| live.contains(short) && usable(l.pack)) {
        match (location.codec, location.base) {
            (Codec::Delta, Some(base)) => {
                deltas.push((short, base.short()));
                bases.insert(base.short());
            }
            _ => {
                whole.insert(short);
            }
        }
    }
    let by_delta: ShortIds =
        deltas.iter().filter(|(_, base)| has_base(&whole, base)).map(|(c, _)| *c).collect();
    let found =
        |short: &[u8; 16]| whole.contains(short) || (by_delta.contains(short) && !bases.contains(short));
    live.iter().filter(|short| !found(short)).copied().collect()
}
