//! The prune: condemn packs, wait for the writers that may rely on them, look again, delete (G0 to G9).

use crate::set::{Numbered as _, Pack, Session, Set};
use crate::setup::{Break, Setup};
use crate::world::{Needs, Read, Records, View, World};
use crate::writer::pack_of;

/// How far a prune has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Prune {
    /// Nothing done yet: G0 is next, or the adoption of a list that is there.
    Starting,
    /// G0: reading trash lists, packs and index.
    Looking(View),
    /// G1 is next: read the snapshots, choose candidates, copy what lives only in them.
    Choosing(View),
    /// G1: the copies are stored, their index object is next.
    IndexingCopies { candidates: Set<Pack> },
    /// G2 is next: write the list.
    Condemning { candidates: Set<Pack> },
    /// G3 is next: list the sessions that are undecided.
    ListingSessions(Condemned),
    /// G3: the queue is next, and then a look whether the list is there; or the other way round.
    PuttingQueue { condemned: Condemned, undecided: Set<Session>, looked: bool },
    /// G3 is next: look whether the list is still there, and what the queue says that is.
    LookingForList { condemned: Condemned, undecided: Set<Session> },
    /// G4: waiting until each of these is decided; one that shows no life is fenced.
    Draining { condemned: Condemned, undecided: Set<Session> },
    /// G5: reading everything again.
    LookingAgain { condemned: Condemned, view: View },
    /// G6 is next: read the snapshots again, copy what is still needed.
    Rechecking { condemned: Condemned, view: View },
    /// G6: the copies are stored, their index object is next.
    IndexingLateCopies(Condemned),
    /// G7 is next: delete the packs.
    DeletingPacks(Condemned),
    /// G8 is next: drop their index objects.
    DroppingIndex(Condemned),
    /// G9 is next: remove the list.
    RemovingList(Condemned),
    /// The prune is over, finished or stopped; its list may still be there.
    Ended,
}

/// A list in force, and the packs on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Condemned {
    /// The prune that wrote the list.
    pub list: u8,
    /// The packs.
    pub packs: Set<Pack>,
}

const ORDER: &[Read] = &[Read::Trash, Read::Packs, Read::Index];

/// The pack prune `number` stores its copies in: one for G1, one for G6.
fn copies_of(number: usize, late: bool) -> Pack {
    Pack::from_number((3 + 2 * number + usize::from(late)) as u8)
}

impl Prune {
    /// The next step of prune `number`, or `None` if it is over or must wait.
    pub fn step(self, setup: &Setup, world: &mut World, number: usize) -> Option<Prune> {
        let next = match self {
            Prune::Starting => Prune::Looking(View::default()).step(setup, world, number)?,
            Prune::Looking(mut view) => match view.read_next(ORDER, world) {
                true => Prune::Choosing(view),
                false => Prune::Looking(view),
            },
            Prune::Choosing(view) => choose(&view, setup, world, number),
            Prune::IndexingCopies { candidates } => {
                world.index.add(copies_of(number, false));
                Prune::Condemning { candidates }
            }
            Prune::Condemning { candidates } => {
                world.trash[number] = Some(candidates);
                match setup.first_prune_dies {
                    true => Prune::Ended,
                    false => Prune::ListingSessions(Condemned { list: number as u8, packs: candidates }),
                }
            }
            Prune::ListingSessions(condemned) if setup.breaks(Break::NoDrain) => {
                Prune::LookingAgain { condemned, view: View::default() }
            }
            Prune::ListingSessions(condemned) => {
                let undecided = world.registered.iter().filter(|s| !world.is_decided(*s)).collect();
                match setup.repairs {
                    true => Prune::PuttingQueue { condemned, undecided, looked: false },
                    false => Prune::Draining { condemned, undecided },
                }
            }
            Prune::PuttingQueue { condemned, undecided, looked } => {
                put_queue(condemned, undecided, looked, setup, world)
            }
            Prune::LookingForList { condemned, undecided } => look_for_list(condemned, undecided, world),
            Prune::Draining { undecided, .. } if undecided.iter().any(|s| !world.is_decided(s)) => {
                return None;
            }
            Prune::Draining { condemned, .. } => Prune::LookingAgain { condemned, view: View::default() },
            Prune::LookingAgain { condemned, view } => look_again(condemned, view, setup, world),
            Prune::Rechecking { condemned, view } => recheck(condemned, &view, setup, world, number),
            Prune::IndexingLateCopies(condemned) => {
                world.index.add(copies_of(number, true));
                Prune::DeletingPacks(condemned)
            }
            Prune::DeletingPacks(condemned) => {
                match setup.breaks(Break::TrashRemovedFirst) {
                    true => world.trash[usize::from(condemned.list)] = None,
                    false => world.packs = world.packs.minus(condemned.packs),
                }
                Prune::DroppingIndex(condemned)
            }
            Prune::DroppingIndex(condemned) => {
                world.index = world.index.minus(condemned.packs);
                Prune::RemovingList(condemned)
            }
            Prune::RemovingList(condemned) => {
                match setup.breaks(Break::TrashRemovedFirst) {
                    true => world.packs = world.packs.minus(condemned.packs),
                    false => world.trash[usize::from(condemned.list)] = None,
                }
                world.queues[usize::from(condemned.list)] = None;
                Prune::Ended
            }
            Prune::Ended => return None,
        };
        Some(next)
    }

    /// Takes up a list that is there, whoever wrote it and whether or not they still work on it.
    pub fn adopt(self, world: &World, list: u8) -> Option<Prune> {
        // One that cannot be read, and has no queue, is left to a repair.
        let packs = world.named_by(list).filter(|packs| self == Prune::Starting && *packs != Set::ALL)?;
        Some(Prune::ListingSessions(Condemned { list, packs }))
    }

    /// Sessions the prune waits for.
    pub fn waits_for(self) -> Set<Session> {
        match self {
            Prune::Draining { undecided, .. } => undecided,
            _ => Set::EMPTY,
        }
    }
}

/// G1: candidates are packs with something dead in them, and orphans whose push is decided.
fn choose(view: &View, setup: &Setup, world: &mut World, number: usize) -> Prune {
    let needs = world.needs(setup, view);
    let keep = needs.any_form.or(needs.plain);
    let has_dead = |pack: &Pack| !world.records[usize::from(pack.number())].any().within(keep);
    let dead = view.usable().iter().filter(has_dead);
    let decided: Set<Pack> =
        setup.sessions().filter(|s| s.0 >= 2 && world.is_decided(*s)).map(pack_of).collect();
    let candidates: Set<Pack> =
        dead.chain(view.orphans().and(decided).iter().filter(|_| setup.adopts_packs)).collect();
    if candidates.is_empty() {
        return Prune::Ended;
    }
    match copy(needs, candidates, view.usable().minus(candidates), setup, world) {
        Copy::Nothing => Prune::Condemning { candidates },
        Copy::SourceMissing => Prune::Ended,
        Copy::These(records) => {
            world.put_pack(copies_of(number, false), records);
            Prune::IndexingCopies { candidates }
        }
    }
}

/// G3: whoever comes first says what the list condemns.
fn put_queue(
    condemned: Condemned,
    undecided: Set<Session>,
    looked: bool,
    setup: &Setup,
    world: &mut World,
) -> Prune {
    let list = usize::from(condemned.list);
    if setup.breaks(Break::ListLookedForFirst) && !looked {
        return match world.trash[list] {
            Some(_) => Prune::PuttingQueue { condemned, undecided, looked: true },
            None => Prune::Ended,
        };
    }
    let packs = *world.queues[list].get_or_insert(condemned.packs);
    let condemned = Condemned { packs, ..condemned };
    match looked {
        true => Prune::Draining { condemned, undecided },
        false => Prune::LookingForList { condemned, undecided },
    }
}

/// G3: only now, with the queue there: a repair does it the other way round.
fn look_for_list(condemned: Condemned, undecided: Set<Session>, world: &World) -> Prune {
    match world.trash[usize::from(condemned.list)] {
        Some(_) => Prune::Draining { condemned, undecided },
        None => Prune::Ended,
    }
}

/// G5.
fn look_again(condemned: Condemned, mut view: View, setup: &Setup, world: &World) -> Prune {
    let last = match setup.breaks(Break::OtherListsIgnored) {
        false => view.read_next(ORDER, world),
        true => {
            let mut own_only = world.clone();
            let others = (0..own_only.trash.len()).filter(|list| *list != usize::from(condemned.list));
            others.for_each(|list| own_only.trash[list] = None);
            view.read_next(ORDER, &own_only)
        }
    };
    match last {
        true => Prune::Rechecking { condemned, view },
        false => Prune::LookingAgain { condemned, view },
    }
}

/// G6: what a snapshot still needs and only condemned packs have is copied, never taken off the list.
fn recheck(mut condemned: Condemned, view: &View, setup: &Setup, world: &mut World, number: usize) -> Prune {
    let needs = world.needs(setup, view);
    match copy(needs, condemned.packs, view.usable(), setup, world) {
        Copy::Nothing => Prune::DeletingPacks(condemned),
        Copy::These(records) if setup.breaks(Break::Uncondemn) => {
            let packs = condemned.packs;
            for pack in packs
                .iter()
                .filter(|pack| !world.records[usize::from(pack.number())].any().and(records.any()).is_empty())
            {
                condemned.packs.remove(pack);
            }
            world.trash[usize::from(condemned.list)] = Some(condemned.packs);
            Prune::DeletingPacks(condemned)
        }
        Copy::SourceMissing => Prune::Ended,
        Copy::These(records) => {
            world.put_pack(copies_of(number, true), records);
            Prune::IndexingLateCopies(condemned)
        }
    }
}

/// What a prune has to copy out of the packs it is about to delete.
enum Copy {
    /// Nothing is needed, or it is elsewhere too.
    Nothing,
    /// These records.
    These(Records),
    /// A record that is needed is in no pack that is there: stop, delete nothing.
    SourceMissing,
}

/// Records of `from` that are needed and that `usable` packs do not have in the form needed.
fn copy(needs: Needs, from: Set<Pack>, usable: Set<Pack>, setup: &Setup, world: &World) -> Copy {
    let there = world.records_of(usable);
    let sources = world.records_of(from);
    let whole_enough = match setup.breaks(Break::BaseInAnyForm) {
        true => there.any(),
        false => there.plain,
    };
    // A delta that outlived its base, in a pack that was late, is not the chunk.
    let in_some_form = match setup.breaks(Break::OrphanDeltaCounts) {
        true => there.any(),
        false => world.readable(setup, usable),
    };
    let any_form = needs.any_form.minus(in_some_form);
    let plain = any_form.or(needs.plain.minus(whole_enough)).and(sources.plain);
    let records = Records { plain, delta: any_form.minus(plain).and(sources.delta) };
    let still_there = world.records_of(from.and(world.packs));
    match records {
        _ if records.is_empty() => Copy::Nothing,
        _ if records.plain.within(still_there.plain) && records.delta.within(still_there.delta) => {
            Copy::These(records)
        }
        _ => Copy::SourceMissing,
    }
}
