//! Writers, prunes and the compactor together, one step of one of them at a time.

use crate::compactor::Compactor;
use crate::prune::Prune;
use crate::repair::Repair;
use crate::set::Session;
use crate::setup::{Break, OLD, PRUNES_MAX, Setup, WRITERS_MAX};
use crate::world::{OLD_PACK, Register, World};
use crate::writer::{self, Writer};
use stateright::{Model, Property};

/// The property that must hold always.
pub const RESTORES: &str = "every live snapshot can be restored";
/// A state that shows that the run was worth it: deletion and commit side by side.
pub const DELETED_AND_COMMITTED: &str = "the old pack was deleted and a writer committed";
/// A push was fenced off.
pub const FENCED: &str = "a writer was fenced";
/// A delta outlived the pack its base came from.
pub const DELTA_OUTLIVED_PACK: &str = "a delta is live and the pack its base came from was deleted";
/// Someone finished what another began.
pub const ADOPTED_FINISHED: &str = "a prune finished the list of another";
/// The commit of a forgotten and removed snapshot came once more.
pub const ZOMBIE_COMMITTED: &str = "a forgotten snapshot was removed, put again, and stays dead";

/// A repair took back a list of a prune that was about to go on by it.
pub const TAKEN_BACK: &str = "a list was taken back while its prune slept";

/// The model of one setup.
pub struct Protocol {
    /// Who takes part, under which rules.
    pub setup: Setup,
}

/// Everything that is, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The store.
    pub world: World,
    /// The pushes.
    pub writers: [Writer; WRITERS_MAX],
    /// The prunes.
    pub prunes: [Prune; PRUNES_MAX],
    /// The compaction.
    pub compactor: Compactor,
    /// The repair.
    pub repair: Repair,
    /// A prune ended the work of another.
    pub adopted_finished: bool,
    /// Snapshots that were forgotten and whose object was removed.
    pub removed: crate::set::Set<Session>,
}

/// Who takes the next step, or what somebody else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A writer's next step.
    Write(Session),
    /// A writer whose reply to W6 was lost puts its manifest again.
    CommitAgain(Session),
    /// A prune's next step.
    Prune(usize),
    /// A prune that has not begun takes up a list.
    AdoptList { prune: usize, list: u8 },
    /// G4: the prune puts a tombstone for a writer that shows no life.
    Fence { prune: usize, session: Session },
    /// The compactor's next step.
    Compact,
    /// A list becomes unreadable.
    Damage(u8),
    /// The repair's next step.
    Repair,
    /// An operator puts a forget marker.
    Forget(Session),
    /// Maintenance removes a forgotten snapshot's object; the marker stays.
    RemoveForgotten(Session),
    /// Maintenance removes a tombstone and the registration.
    RemoveTombstone(Session),
}

fn writer_number(session: Session) -> usize {
    usize::from(session.0 - OLD)
}

impl Protocol {
    fn writers(&self) -> impl Iterator<Item = Session> + use<> {
        self.setup.sessions().filter(|session| session.0 >= OLD)
    }

    fn writer_actions(&self, state: &State, actions: &mut Vec<Action>) {
        for session in self.writers() {
            let writer = state.writers[writer_number(session)];
            if writer != Writer::Ended {
                actions.push(Action::Write(session));
            }
            if self.setup.forgets_new && writer == Writer::Closing {
                actions.push(Action::CommitAgain(session));
            }
            let early = self.setup.breaks(Break::TombstoneRemovedEarly) && writer.may_commit();
            let tombstone = state.world.registers[usize::from(session.0)] == Register::Tombstone;
            if tombstone && (early || writer == Writer::Ended && self.setup.forgets_new) {
                actions.push(Action::RemoveTombstone(session));
            }
        }
    }

    fn prune_actions(&self, state: &State, actions: &mut Vec<Action>) {
        for prune in 0..self.setup.prunes {
            let at = state.prunes[prune];
            if at == Prune::Ended {
                continue;
            }
            if at != Prune::Starting || prune == 0 || !self.setup.first_prune_dies {
                actions.push(Action::Prune(prune));
            }
            if self.setup.adopts_lists && at == Prune::Starting {
                let lists = (0..PRUNES_MAX).filter(|list| state.world.trash[*list].is_some());
                actions.extend(lists.map(|list| Action::AdoptList { prune, list: list as u8 }));
            }
            let undecided = at.waits_for().iter().filter(|session| !state.world.is_decided(*session));
            actions.extend(undecided.map(|session| Action::Fence { prune, session }));
        }
    }

    fn forget_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let may_forget = |session: &Session| session.0 < OLD || self.setup.forgets_new;
        for session in self.setup.sessions().filter(may_forget) {
            if state.world.is_live(session) {
                actions.push(Action::Forget(session));
            }
            let committed = state.world.registers[usize::from(session.0)] == Register::Manifest;
            if session.0 >= OLD && committed && state.world.forgotten.has(session) {
                actions.push(Action::RemoveForgotten(session));
            }
        }
    }

    fn forget(&self, action: Action, state: &mut State) {
        match action {
            Action::Forget(session) => state.world.forgotten.add(session),
            Action::RemoveForgotten(session) => {
                *state.world.register(session) = Register::Empty;
                state.removed.add(session);
                if self.setup.breaks(Break::MarkerRemovedEarly) {
                    state.world.forgotten.remove(session);
                }
            }
            Action::RemoveTombstone(session) => {
                *state.world.register(session) = Register::Empty;
                state.world.registered.remove(session);
            }
            _ => unreachable!("only forgetting and cleaning up come here"),
        }
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            world: World::new(&self.setup),
            writers: [Writer::Registering; WRITERS_MAX],
            prunes: [Prune::Starting; PRUNES_MAX],
            compactor: if self.setup.compactor { Compactor::new() } else { Compactor::Ended },
            repair: if self.setup.repairs { Repair::Looking } else { Repair::Ended },
            adopted_finished: false,
            removed: crate::set::Set::EMPTY,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.writer_actions(state, actions);
        self.prune_actions(state, actions);
        self.forget_actions(state, actions);
        if state.compactor != Compactor::Ended {
            actions.push(Action::Compact);
        }
        if state.repair != Repair::Ended {
            actions.push(Action::Repair);
        }
        if self.setup.repairs && state.world.unread.is_none() {
            let lists = (0..self.setup.prunes as u8).filter(|l| state.world.trash[usize::from(*l)].is_some());
            actions.extend(lists.map(Action::Damage));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let world = &mut state.world;
        match action {
            Action::Write(session) => {
                let writer = &mut state.writers[writer_number(session)];
                *writer = writer.step(&self.setup, world, session)?;
            }
            Action::CommitAgain(session) => writer::commit(&self.setup, world, session),
            Action::Prune(number) => {
                let prune = &mut state.prunes[number];
                let foreign = matches!(prune, Prune::RemovingList(c) if usize::from(c.list) != number);
                *prune = prune.step(&self.setup, world, number)?;
                state.adopted_finished |= foreign;
            }
            Action::AdoptList { prune, list } => {
                state.prunes[prune] = state.prunes[prune].adopt(world, list)?;
            }
            Action::Fence { session, .. } => *world.register(session) = Register::Tombstone,
            Action::Compact => state.compactor = state.compactor.step(&self.setup, world)?,
            Action::Damage(list) => world.unread = Some(list),
            Action::Repair => state.repair = state.repair.step(&self.setup, world)?,
            other => self.forget(other, &mut state),
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(RESTORES, |model: &Protocol, state: &State| {
                state.world.restores_all(&model.setup)
            }),
            Property::sometimes(DELETED_AND_COMMITTED, |model: &Protocol, state: &State| {
                !state.world.packs.has(OLD_PACK) && model.writers().any(|s| state.world.is_live(s))
            }),
            Property::sometimes(FENCED, |_, state: &State| {
                state.world.registers.contains(&Register::Tombstone)
            }),
            Property::sometimes(DELTA_OUTLIVED_PACK, |model: &Protocol, state: &State| {
                let deltas = state.world.records_of(state.world.packs).delta;
                let live = |s: &Session| state.world.is_live(*s);
                let mut committed = model.writers().filter(live).map(|s| model.setup.chunks_of(s));
                !state.world.packs.has(OLD_PACK) && committed.any(|chunks| !chunks.and(deltas).is_empty())
            }),
            Property::sometimes(TAKEN_BACK, |_, state: &State| {
                let sleeps = |p: &Prune| matches!(p, Prune::PuttingQueue { .. });
                matches!(state.repair, Repair::RemovingQueue { .. }) && state.prunes.iter().any(sleeps)
            }),
            Property::sometimes(ADOPTED_FINISHED, |_, state: &State| state.adopted_finished),
            Property::sometimes(ZOMBIE_COMMITTED, |model: &Protocol, state: &State| {
                let put_again = |s: &Session| state.world.registers[usize::from(s.0)] == Register::Manifest;
                state
                    .removed
                    .iter()
                    .any(|s| put_again(&s) && !state.world.is_live(s) && model.setup.forgets_new)
            }),
        ]
    }
}
