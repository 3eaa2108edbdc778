//! What a run of the model starts from: who takes part, what they store, and which rule is broken.

use crate::set::{Chunk, Pack, Session, Set};
use crate::world::Records;

/// Sessions whose snapshots are there from the start: 0 and 1. Writers are the sessions after them.
pub const OLD: u8 = 2;
/// Writers the model has room for.
pub const WRITERS_MAX: usize = 2;
/// Prunes the model has room for.
pub const PRUNES_MAX: usize = 3;

/// The two chunks of the pack that is there from the start; each has an old snapshot of its own.
pub const A: Chunk = Chunk(0);
/// See [`A`].
pub const B: Chunk = Chunk(1);
/// A chunk that only writers bring.
pub const D: Chunk = Chunk(2);
/// A chunk of some casts' old snapshots, there to die.
pub const X: Chunk = Chunk(3);

/// A rule of the protocol that a run leaves out, to see the model notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// W1: the writer registers after it has read.
    RegistersLate,
    /// W2: the writer reads the index, then the trash lists.
    IndexBeforeTrash,
    /// W2: the writer lists the packs, then reads the trash lists.
    ListBeforeTrash,
    /// W2: the writer believes the index without looking whether the pack is there.
    NoListCheck,
    /// W4: the writer takes the base of a delta from a condemned pack.
    CondemnedBase,
    /// W6: the commit overwrites what is in the register.
    CommitOverwrites,
    /// G0, G6: a chunk is kept and the base it is stored against is not.
    LiveSetNotClosed,
    /// G6: a base counts as kept when some delta of it is kept.
    BaseInAnyForm,
    /// G0, G6: a base counts as kept in any form when the delta that needs it is in a condemned pack.
    CondemnedDeltaIgnored,
    /// G1, G6: a chunk counts as there when a delta of it is, whose base is gone.
    OrphanDeltaCounts,
    /// G3, G4: the prune goes from its list straight to the second look.
    NoDrain,
    /// G5: the second look knows the prune's own list only.
    OtherListsIgnored,
    /// G6: instead of copying what is still needed the prune takes its pack off the list.
    Uncondemn,
    /// G7, G9: the list is removed, then its packs.
    TrashRemovedFirst,
    /// A tombstone is removed while its writer may still commit.
    TombstoneRemovedEarly,
    /// The marker of a forgotten snapshot is removed together with the snapshot.
    MarkerRemovedEarly,
    /// G3: the prune looks whether its list is there, then puts the queue.
    ListLookedForFirst,
    /// R1: the repair removes the list without a queue of its own.
    TakenBackWithoutQueue,
    /// The compactor lists the packs, then reads the index.
    CompactorListsFirst,
    /// The compactor leaves condemned packs out of the merged index.
    CompactorDropsCondemned,
}

/// Who takes part in a run, and under which rules.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What each writer's stream consists of.
    pub writers: Vec<Set<Chunk>>,
    /// How many prunes run at the same time.
    pub prunes: usize,
    /// Whether a compactor merges the index meanwhile, without any lock.
    pub compactor: bool,
    /// W3: whether writers adopt packs that a dead push left without an index.
    pub adopts_packs: bool,
    /// Whether a prune may take up another prune's list, dead or not.
    pub adopts_lists: bool,
    /// Whether prune 0 dies once its list is written, and all others do nothing but adopt it.
    pub first_prune_dies: bool,
    /// Whether new snapshots are forgotten and removed too, and a commit whose reply was lost is tried again.
    pub forgets_new: bool,
    /// Whether a list becomes unreadable at some moment, and a repair takes it back.
    pub repairs: bool,
    /// Pairs of a chunk and the base a writer stores it against when it can.
    pub bases: Vec<(Chunk, Chunk)>,
    /// What the two old snapshots refer to.
    pub old: [Set<Chunk>; 2],
    /// Packs that earlier pushes left, indexed; [`crate::world::OLD_PACK`] among them replaces what is in it.
    pub seeds: Vec<(Pack, Records)>,
    /// The rules left out.
    pub breaks: Vec<Break>,
}

impl Setup {
    /// These writers and this many prunes; everything else is off.
    pub fn new(writers: &[&[Chunk]], prunes: usize) -> Setup {
        assert!(writers.len() <= WRITERS_MAX && prunes <= PRUNES_MAX, "the model has no room for that many");
        Setup {
            writers: writers.iter().map(|chunks| Set::of(chunks)).collect(),
            prunes,
            compactor: false,
            adopts_packs: false,
            adopts_lists: false,
            first_prune_dies: false,
            forgets_new: false,
            repairs: false,
            bases: Vec::new(),
            old: [Set::of(&[A]), Set::of(&[B])],
            seeds: Vec::new(),
            breaks: Vec::new(),
        }
    }

    /// The same run with one more rule left out.
    pub fn breaking(mut self, rule: Break) -> Setup {
        self.breaks.push(rule);
        self
    }

    /// Whether the run leaves `rule` out.
    pub fn breaks(&self, rule: Break) -> bool {
        self.breaks.contains(&rule)
    }

    /// What a snapshot refers to.
    pub fn chunks_of(&self, session: Session) -> Set<Chunk> {
        match session.0 {
            old @ (0 | 1) => self.old[usize::from(old)],
            writer => self.writers[usize::from(writer - OLD)],
        }
    }

    /// The base `chunk` is stored against when it is stored as a delta.
    pub fn base_of(&self, chunk: Chunk) -> Option<Chunk> {
        self.bases.iter().find(|(delta, _)| *delta == chunk).map(|(_, base)| *base)
    }

    /// Every session of the run.
    pub fn sessions(&self) -> impl Iterator<Item = Session> + use<> {
        (0..OLD + self.writers.len() as u8).map(Session)
    }
}
