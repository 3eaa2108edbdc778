//! What the store holds, and what can be read from it.

use crate::set::{Chunk, Pack, Session, Set};
use crate::setup::{A, B, Break, OLD, PRUNES_MAX, Setup, WRITERS_MAX};

/// The pack that is there from the start.
pub const OLD_PACK: Pack = Pack(0);
const SESSIONS_MAX: usize = OLD as usize + WRITERS_MAX;
/// Packs of casts that do not start with the old one only.
pub const SEED_PACKS: [Pack; 2] = [Pack(PACKS_MAX as u8 - 2), Pack(PACKS_MAX as u8 - 1)];
const PACKS_MAX: usize = 1 + WRITERS_MAX + 2 * PRUNES_MAX + 2;

/// What is under `snapshots/<session>`: the place where a push is decided, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Register {
    /// Nothing: the push is undecided.
    Empty,
    /// The push committed.
    Manifest,
    /// A prune fenced the push off.
    Tombstone,
}

/// The records of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Records {
    /// Chunks stored whole.
    pub plain: Set<Chunk>,
    /// Chunks stored as a delta against their base, which must be stored whole somewhere.
    pub delta: Set<Chunk>,
}

impl Records {
    /// No records.
    pub const NONE: Records = Records { plain: Set::EMPTY, delta: Set::EMPTY };

    /// Chunks with a record of either form.
    pub fn any(self) -> Set<Chunk> {
        self.plain.or(self.delta)
    }

    /// Whether there is no record.
    pub fn is_empty(self) -> bool {
        self.any().is_empty()
    }
}

/// What the live snapshots ask of the packs.
#[derive(Clone, Copy)]
pub struct Needs {
    /// Chunks of live snapshots: one record of either form is enough.
    pub any_form: Set<Chunk>,
    /// Bases of those of them that are stored as a delta: only a whole one will do.
    pub plain: Set<Chunk>,
}

/// The objects in the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// What is, was or will be in each pack.
    pub records: [Records; PACKS_MAX],
    /// Packs that exist.
    pub packs: Set<Pack>,
    /// Packs that have an index object of their own.
    pub index: Set<Pack>,
    /// Packs in the compacted index object.
    pub merged: Set<Pack>,
    /// The lists of condemned packs, by the prune that wrote them.
    pub trash: [Option<Set<Pack>>; PRUNES_MAX],
    /// Their queues, by what they name; only where there are repairs, for only those make a difference.
    pub queues: [Option<Set<Pack>>; PRUNES_MAX],
    /// A list that cannot be read any more.
    pub unread: Option<u8>,
    /// Sessions that are registered.
    pub registered: Set<Session>,
    /// Where each session is decided.
    pub registers: [Register; SESSIONS_MAX],
    /// Sessions with a forget marker.
    pub forgotten: Set<Session>,
}

impl World {
    /// One indexed pack with two chunks, an old snapshot of each, and what the setup adds.
    pub fn new(setup: &Setup) -> World {
        let mut records = [Records::NONE; PACKS_MAX];
        records[0].plain = Set::of(&[A, B]);
        let mut packs = Set::of(&[OLD_PACK]);
        for (pack, seeded) in &setup.seeds {
            records[usize::from(pack.0)] = *seeded;
            packs.add(*pack);
        }
        let mut registers = [Register::Empty; SESSIONS_MAX];
        registers[..usize::from(OLD)].fill(Register::Manifest);
        World {
            records,
            packs,
            index: packs,
            merged: Set::EMPTY,
            trash: [None; PRUNES_MAX],
            queues: [None; PRUNES_MAX],
            unread: None,
            registered: Set::EMPTY,
            registers,
            forgotten: Set::EMPTY,
        }
    }

    /// Every pack that any index object names, there or not: the index is a hint.
    pub fn indexed(&self) -> Set<Pack> {
        self.index.or(self.merged)
    }

    /// Every pack on any list; all there could be if nothing tells what a list says.
    pub fn condemned(&self) -> Set<Pack> {
        let lists = 0..self.trash.len() as u8;
        lists.filter_map(|list| self.named_by(list)).fold(Set::EMPTY, Set::or)
    }

    /// What a list says to who reads it: its queue is asked first.
    pub fn named_by(&self, list: u8) -> Option<Set<Pack>> {
        let number = usize::from(list);
        let unread = self.unread == Some(list);
        let said = self.trash[number].map(|packs| if unread { Set::ALL } else { packs });
        self.queues[number].or(said)
    }

    /// The register of a session.
    pub fn register(&mut self, session: Session) -> &mut Register {
        &mut self.registers[usize::from(session.0)]
    }

    /// Whether a session has committed or been fenced.
    pub fn is_decided(&self, session: Session) -> bool {
        self.registers[usize::from(session.0)] != Register::Empty
    }

    /// Whether a session's snapshot counts: it committed, and nobody forgot it.
    pub fn is_live(&self, session: Session) -> bool {
        self.registers[usize::from(session.0)] == Register::Manifest && !self.forgotten.has(session)
    }

    /// Puts a new pack.
    pub fn put_pack(&mut self, pack: Pack, records: Records) {
        self.records[usize::from(pack.0)] = records;
        self.packs.add(pack);
    }

    /// All records of these packs together.
    pub fn records_of(&self, packs: Set<Pack>) -> Records {
        packs.iter().map(|pack| self.records[usize::from(pack.0)]).fold(Records::NONE, |all, more| Records {
            plain: all.plain.or(more.plain),
            delta: all.delta.or(more.delta),
        })
    }

    /// What can be restored from these packs: chunks stored whole, and deltas whose base is.
    pub fn readable(&self, setup: &Setup, packs: Set<Pack>) -> Set<Chunk> {
        let Records { plain, delta } = self.records_of(packs);
        let has_base = |chunk: &Chunk| setup.base_of(*chunk).is_some_and(|base| plain.has(base));
        plain.or(delta.iter().filter(has_base).collect())
    }

    /// What the live snapshots need, by what was read. Deltas in condemned packs count: they may be copied
    /// out of there when their bases' packs are gone.
    pub fn needs(&self, setup: &Setup, view: &View) -> Needs {
        let live = setup.sessions().filter(|session| self.is_live(*session));
        let any_form = live.fold(Set::EMPTY, |all, session| all.or(setup.chunks_of(session)));
        let bases_in = |packs: Set<Pack>| -> Set<Chunk> {
            let deltas = self.records_of(packs).delta.and(any_form);
            deltas.iter().filter_map(|chunk| setup.base_of(chunk)).collect()
        };
        if setup.breaks(Break::LiveSetNotClosed) {
            return Needs { any_form, plain: Set::EMPTY };
        }
        let plain = bases_in(view.index());
        match setup.breaks(Break::CondemnedDeltaIgnored) {
            true => Needs { any_form: any_form.or(plain), plain: bases_in(view.usable()) },
            false => Needs { any_form, plain },
        }
    }

    /// The property everything is about: every live snapshot can be restored, through the index,
    /// from packs that are there.
    pub fn restores_all(&self, setup: &Setup) -> bool {
        let live = setup.sessions().filter(|session| self.is_live(*session));
        let readable = self.readable(setup, self.packs.and(self.indexed()));
        live.fold(Set::EMPTY, |all, session| all.or(setup.chunks_of(session))).within(readable)
    }
}

/// One of the three things that writers, prunes and the compactor read, each at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// The trash lists.
    Trash,
    /// The names of the packs.
    Packs,
    /// The index objects.
    Index,
}

/// What somebody has read so far, each part at a moment of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct View {
    trash: Option<Set<Pack>>,
    packs: Option<Set<Pack>>,
    index: Option<Set<Pack>>,
}

impl View {
    /// Reads the next thing in `order`; true if that was the last.
    pub fn read_next(&mut self, order: &[Read], world: &World) -> bool {
        for (number, what) in order.iter().enumerate() {
            let (slot, value) = match what {
                Read::Trash => (&mut self.trash, world.condemned()),
                Read::Packs => (&mut self.packs, world.packs),
                Read::Index => (&mut self.index, world.indexed()),
            };
            if slot.is_none() {
                *slot = Some(value);
                return number + 1 == order.len();
            }
        }
        true
    }

    /// A view whose usable packs are these: what counts once everything is read.
    pub fn of_usable(packs: Set<Pack>) -> View {
        View { trash: Some(Set::EMPTY), packs: Some(packs), index: Some(packs) }
    }

    /// Whether the index has been read.
    pub fn has_index(&self) -> bool {
        self.index.is_some()
    }

    /// The trash lists as they were read; empty if they were not.
    pub fn trash(&self) -> Set<Pack> {
        self.trash.unwrap_or(Set::EMPTY)
    }

    /// The packs as they were listed; empty if they were not.
    pub fn packs(&self) -> Set<Pack> {
        self.packs.unwrap_or(Set::EMPTY)
    }

    /// The index as it was read; empty if it was not.
    pub fn index(&self) -> Set<Pack> {
        self.index.unwrap_or(Set::EMPTY)
    }

    /// Packs that may be relied on: indexed, there, and not condemned.
    pub fn usable(&self) -> Set<Pack> {
        self.index().and(self.packs()).minus(self.trash())
    }

    /// Packs that are there, not condemned, and in no index.
    pub fn orphans(&self) -> Set<Pack> {
        self.packs().minus(self.trash()).minus(self.index())
    }
}
