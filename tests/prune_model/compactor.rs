//! The compactor: merges index objects while everybody works, without any lock.

use crate::set::{Pack, Set};
use crate::setup::{Break, Setup};
use crate::world::{Read, View, World};

/// How far a compaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compactor {
    /// Reading the index objects, then listing the packs.
    Reading { view: View, singles: Set<Pack>, merged: Set<Pack> },
    /// The merged object is next; it appears beside the old ones.
    Merging { singles: Set<Pack>, merged: Set<Pack>, kept: Set<Pack> },
    /// Next it removes exactly the objects it has read.
    RemovingOld { singles: Set<Pack>, merged: Set<Pack>, kept: Set<Pack> },
    /// The compaction is over, or there is none.
    Ended,
}

impl Compactor {
    /// A compaction that has read nothing yet.
    pub fn new() -> Compactor {
        Compactor::Reading { view: View::default(), singles: Set::EMPTY, merged: Set::EMPTY }
    }

    /// The next step, or `None` if there is none.
    pub fn step(self, setup: &Setup, world: &mut World) -> Option<Compactor> {
        let order = match setup.breaks(Break::CompactorListsFirst) {
            true => [Read::Packs, Read::Index],
            false => [Read::Index, Read::Packs],
        };
        let next = match self {
            Compactor::Reading { mut view, mut singles, mut merged } => {
                let index_before = view;
                let last = view.read_next(&order, world);
                if view.has_index() && !index_before.has_index() {
                    (singles, merged) = (world.index, world.merged);
                }
                if !last {
                    return Some(Compactor::Reading { view, singles, merged });
                }
                let kept = view.index().and(view.packs());
                Compactor::Merging { singles, merged, kept }
            }
            Compactor::Merging { singles, merged, mut kept } => {
                if setup.breaks(Break::CompactorDropsCondemned) {
                    kept = kept.minus(world.condemned());
                }
                world.merged = world.merged.or(kept);
                Compactor::RemovingOld { singles, merged, kept }
            }
            Compactor::RemovingOld { singles, merged, kept } => {
                world.index = world.index.minus(singles);
                world.merged = world.merged.minus(merged.minus(kept));
                Compactor::Ended
            }
            Compactor::Ended => return None,
        };
        Some(next)
    }
}
