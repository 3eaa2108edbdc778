//! The writer: one push, from its registration to its commit (W1 to W7).

use crate::set::{Chunk, Numbered as _, Pack, Session, Set};
use crate::setup::{Break, OLD, Setup};
use crate::world::{Read, Records, Register, View, World};

/// How far a push has come. What a step no longer needs is not kept, so that equal futures are
/// equal states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Writer {
    /// W1 is next: register, so that every prune from now on waits for us.
    Registering,
    /// W2: reading trash lists, packs and index, in this order.
    Reading(View),
    /// The mistake of W1: registering only now.
    RegisteringLate { view: View },
    /// W3 is next: write an index object for packs that a dead push left behind.
    Adopting { view: View },
    /// W4 is next: store what is not there yet as one pack.
    StoringPack { view: View },
    /// W5 is next: write the index object of that pack.
    Indexing,
    /// W6 is next: put the manifest, if nothing is there.
    Committing,
    /// W7 is next: remove the registration. The reply to W6 may be lost, and W6 tried again.
    Closing,
    /// The push is over.
    Ended,
}

/// The pack a writer stores.
pub fn pack_of(session: Session) -> Pack {
    Pack(1 + session.number() - OLD)
}

/// The order of W2.
fn order(setup: &Setup) -> &'static [Read] {
    if setup.breaks(Break::IndexBeforeTrash) {
        &[Read::Index, Read::Trash, Read::Packs]
    } else if setup.breaks(Break::ListBeforeTrash) {
        &[Read::Packs, Read::Trash, Read::Index]
    } else {
        &[Read::Trash, Read::Packs, Read::Index]
    }
}

impl Writer {
    /// Whether the push can still put its manifest.
    pub fn may_commit(self) -> bool {
        !matches!(self, Writer::Closing | Writer::Ended)
    }

    /// The next step of `session`, or `None` if there is none.
    pub fn step(self, setup: &Setup, world: &mut World, session: Session) -> Option<Writer> {
        let next = match self {
            Writer::Registering => {
                if !setup.breaks(Break::RegistersLate) {
                    world.registered.add(session);
                }
                Writer::Reading(View::default())
            }
            Writer::Reading(mut view) => match view.read_next(order(setup), world) {
                false => Writer::Reading(view),
                true if setup.breaks(Break::RegistersLate) => Writer::RegisteringLate { view },
                true => Writer::after_reading(view, setup, world, session),
            },
            Writer::RegisteringLate { view } => {
                world.registered.add(session);
                Writer::after_reading(view, setup, world, session)
            }
            Writer::Adopting { view } => {
                world.index = world.index.or(view.orphans());
                let usable = usable(&view, setup).or(view.orphans());
                Writer::with_what_is_there(View::of_usable(usable), setup, world, session)
            }
            Writer::StoringPack { view } => {
                world.put_pack(pack_of(session), records(&view, setup, world, session));
                Writer::Indexing
            }
            Writer::Indexing => {
                world.index.add(pack_of(session));
                Writer::Committing
            }
            Writer::Committing => {
                commit(setup, world, session);
                Writer::Closing
            }
            Writer::Closing => {
                world.registered.remove(session);
                Writer::Ended
            }
            Writer::Ended => return None,
        };
        Some(next)
    }

    fn after_reading(view: View, setup: &Setup, world: &World, session: Session) -> Writer {
        let missing = missing(&view, setup, world, session);
        let useful = missing.and(world.readable(setup, usable(&view, setup).or(view.orphans())));
        if setup.adopts_packs && !useful.is_empty() {
            return Writer::Adopting { view };
        }
        Writer::with_what_is_there(view, setup, world, session)
    }

    fn with_what_is_there(view: View, setup: &Setup, world: &World, session: Session) -> Writer {
        match missing(&view, setup, world, session).is_empty() {
            true => Writer::Committing,
            false => Writer::StoringPack { view },
        }
    }
}

/// W6, also when it is tried again because its reply was lost.
pub fn commit(setup: &Setup, world: &mut World, session: Session) {
    let register = world.register(session);
    if *register == Register::Empty || setup.breaks(Break::CommitOverwrites) {
        *register = Register::Manifest;
    }
}

/// Packs the writer relies on.
fn usable(view: &View, setup: &Setup) -> Set<Pack> {
    match setup.breaks(Break::NoListCheck) {
        true => view.index().minus(view.trash()),
        false => view.usable(),
    }
}

/// Chunks of the stream that the writer must store itself.
fn missing(view: &View, setup: &Setup, world: &World, session: Session) -> Set<Chunk> {
    setup.chunks_of(session).minus(world.readable(setup, usable(view, setup)))
}

/// The pack of W4: as a delta what has a base in another pack that may be relied on, whole the rest.
fn records(view: &View, setup: &Setup, world: &World, session: Session) -> Records {
    let for_bases = match setup.breaks(Break::CondemnedBase) {
        true => view.index().and(view.packs()),
        false => usable(view, setup),
    };
    let bases = world.records_of(for_bases).plain;
    let missing = missing(view, setup, world, session);
    let delta: Set<Chunk> =
        missing.iter().filter(|chunk| setup.base_of(*chunk).is_some_and(|base| bases.has(base))).collect();
    Records { plain: missing.minus(delta), delta }
}
