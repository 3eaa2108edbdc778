//! The action runner: from what was seen of an ActionSet to the one thing to do next.
//!
//! # Expected flow
//! The one who carries steps out asks [`decide`] again and again: looks up what a [`Step::Fetch`] names,
//! stores what a [`Step::Record`] holds, stores and then starts a [`Step::Start`]. When there is no step, it
//! waits for a call to end, notes that in [`Seen::ended`], and asks again. An ActionSet whose state is
//! `complete` or `failed` has no next step.
//!
//! # Guarantees
//! * A call is recorded as running before it starts, so no phase runs twice: a phase that is recorded as
//!   running while nobody runs it has been lost, and fails with a sentence that says so. Who can find what a
//!   lost call did takes it up before deciding: [`orphans`], [`again`].
//! * A phase that may be tried again ([`Attempts`]) is claimed anew for each attempt, by its number.
//! * Nothing starts before every action of the ActionSet is known to be able to: objects found, functions
//!   known, arguments complete.
//! * A deferred phase runs when the phases before it have ended, whichever way, and the ActionSet does not
//!   end before it.
//! * Artifacts are rendered last, of all actions that succeeded, and recorded together with the final state.
//!
//! # Assumptions
//! The ActionSet's status is the machine's whole memory: it is stored as recorded. A material that is looked
//! up again (after a restart) has the time it had before. An `Err` in [`Seen::found`] is final.

mod conditions;
mod conduct;
mod launch;
mod phase;
mod resume;
mod status;

pub use conditions::{READY, RECONCILING, STALLED, SUSPENDED};
pub use conduct::{Attempts, Conduct, wake};
pub(crate) use launch::unknown_function;
pub use resume::{Again, again, orphans};
pub use status::progressed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cistern_api::{
    ActionSet, ActionSetSpec, ActionSetStatus, ActionSpec, Blueprint, BlueprintAction, Object,
    ObjectReference, State, Time,
};
use cistern_template::Value;
use serde_json::Value as Json;

use crate::catalog::Function;
use crate::params::Material;

/// What is known about an ActionSet and its surroundings.
#[derive(Clone)]
pub struct Seen {
    /// The order, and in its status how far it has come.
    pub action_set: ActionSet,
    /// The present moment, for times of transition and the template function `now`.
    pub now: Time,
    /// What was looked up, or why it could not be.
    pub found: BTreeMap<Need, Result<Found, String>>,
    /// Calls that are under way here and now.
    pub running: BTreeSet<CallId>,
    /// Calls that have ended, with what they put out or why they failed.
    pub ended: BTreeMap<CallId, Result<Object, String>>,
    /// How it is to be carried out.
    pub conduct: Conduct,
}

impl Seen {
    /// An ActionSet of which nothing else is known yet.
    pub fn new(action_set: ActionSet, now: Time) -> Seen {
        Seen {
            action_set,
            now,
            found: BTreeMap::new(),
            running: BTreeSet::new(),
            ended: BTreeMap::new(),
            conduct: Conduct::default(),
        }
    }
}

/// Something to look up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// The blueprint of this name, in the ActionSet's namespace.
    Blueprint(String),
    /// What the action at this place of `spec.actions` needs when it starts.
    Material(usize),
    /// The Secrets and ConfigMaps that a phase names in `objects`, as they are when it starts.
    Objects(CallId, BTreeMap<String, ObjectReference>),
}

/// Something that was looked up.
#[derive(Clone)]
pub enum Found {
    /// For [`Need::Blueprint`].
    Blueprint(Arc<Blueprint>),
    /// For [`Need::Material`].
    Material(Arc<Material>),
    /// For [`Need::Objects`]: each object as the API server has it, by the names used in `objects`.
    Objects(BTreeMap<String, Json>),
}

/// A phase of an action, as something that is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId {
    /// The action's place in `spec.actions`.
    pub action: usize,
    /// The phase within it.
    pub phase: PhaseId,
}

/// A phase within its action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PhaseId {
    /// The phase at this place.
    Index(usize),
    /// The one that runs whatever happened.
    Deferred,
}

/// A function to be called, with everything it is given.
#[derive(Clone)]
pub struct Call {
    /// Which phase this is.
    pub id: CallId,
    /// Name of the action.
    pub action: String,
    /// Name of the phase; empty for a deferred phase without one.
    pub phase: String,
    /// The function.
    pub function: &'static Function,
    /// Its arguments, rendered; those of `Wait` and `WaitV2` as they stand, because these two render them
    /// against live objects.
    pub args: Object,
    /// The root value that the arguments were rendered with.
    pub root: Value,
    /// The Secrets that the phase names in `objects`, by the names used there.
    pub secrets: BTreeMap<String, Json>,
    /// What the action was started with.
    pub material: Arc<Material>,
    /// The action as ordered: pod overrides, labels, annotations.
    pub spec: Arc<ActionSpec>,
}

impl std::fmt::Debug for Call {
    /// Without arguments: they may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Call({}/{} {})", self.action, self.phase, self.function.name)
    }
}

/// The next thing to do.
#[derive(Clone, Debug)]
pub enum Step {
    /// Look these up, note the answers in [`Seen::found`], then decide again.
    Fetch(Vec<Need>),
    /// Store this status, then decide again.
    Record(ActionSetStatus),
    /// Store this status, in which the call is claimed; then note the call as running and start it.
    ///
    /// The order matters: who dies after storing leaves a phase that is running and that nobody runs, which
    /// shows. The other order could run a phase twice.
    Start(Box<Call>, ActionSetStatus),
}

/// An action, its blueprint and its material side by side.
pub(crate) struct Act<'s> {
    index: usize,
    spec: &'s ActionSpec,
    blueprint: &'s BlueprintAction,
    material: &'s Arc<Material>,
}

/// What to do next; `None` means wait for a call to end, for the clock ([`wake`]), for a user to lift what
/// holds it back, or that all is done.
pub fn decide(seen: &Seen) -> Option<Step> {
    match next_step(seen) {
        Some(Step::Record(status)) => Some(Step::Record(conditions::refreshed(status, seen))),
        Some(Step::Start(call, claimed)) => Some(Step::Start(call, conditions::refreshed(claimed, seen))),
        Some(fetch) => Some(fetch),
        None => {
            let status = seen.action_set.status.as_ref()?;
            let under_way = !matches!(status.state, State::Complete | State::Failed);
            under_way.then(|| conditions::restated(status, seen)).flatten().map(Step::Record)
        }
    }
}

fn next_step(seen: &Seen) -> Option<Step> {
    let spec = seen.action_set.spec.as_ref();
    let Some(status) = &seen.action_set.status else { return Some(launch::begin(seen, spec)) };
    if matches!(status.state, State::Complete | State::Failed) {
        return None;
    }
    let Some(spec) = spec else {
        return Some(Step::Record(status::failed(status, "the ActionSet has lost its spec")));
    };
    if let Some(settled) = phase::settle(seen, status) {
        return Some(Step::Record(settled));
    }
    if let Some(reason) = seen.conduct.stop.as_ref().filter(|_| status.state == State::Pending) {
        return Some(Step::Record(launch::refused(status, std::slice::from_ref(reason))));
    }
    let needs = missing(seen, launch::needs(spec));
    if !needs.is_empty() {
        return Some(Step::Fetch(needs));
    }
    match launch::acts(seen, spec) {
        Ok(acts) => go_on(seen, &acts, status),
        Err(complaints) => Some(Step::Record(launch::refused(status, &complaints))),
    }
}

/// Starts what can start; when nothing is left to start and nothing runs, ends the ActionSet.
fn go_on(seen: &Seen, acts: &[Act<'_>], status: &ActionSetStatus) -> Option<Step> {
    if status.state == State::Pending {
        let complaints = launch::complaints(seen, acts);
        if !complaints.is_empty() {
            return Some(Step::Record(launch::refused(status, &complaints)));
        }
    }
    let mut needs = Vec::new();
    for act in acts {
        match phase::next(seen, act, status) {
            phase::Next::Step(step) => return Some(step),
            phase::Next::Need(need) => needs.extend(need),
            phase::Next::Wait | phase::Next::Done => {}
        }
    }
    if !needs.is_empty() {
        return Some(Step::Fetch(needs));
    }
    let ended = status.actions.iter().all(status::action_ended);
    ended.then(|| Step::Record(status::finished(seen, acts, status)))
}

fn missing(seen: &Seen, needs: Vec<Need>) -> Vec<Need> {
    needs.into_iter().filter(|need| !seen.found.contains_key(need)).collect()
}

fn blueprint<'s>(seen: &'s Seen, spec: &ActionSpec) -> Result<&'s BlueprintAction, String> {
    let action = &spec.name;
    if spec.blueprint.is_empty() {
        return Err(format!("action {action:?} names no blueprint"));
    }
    match seen.found.get(&Need::Blueprint(spec.blueprint.clone())) {
        Some(Ok(Found::Blueprint(found))) => found.action(action).ok_or_else(|| {
            let there: Vec<&str> = found.actions.keys().map(String::as_str).collect();
            let name = &spec.blueprint;
            format!("blueprint {name:?} has no action {action:?}; it has {}", there.join(", "))
        }),
        Some(Err(reason)) => Err(format!("action {action:?}: {reason}")),
        _ => Err(format!("action {action:?}: blueprint {:?} was not looked up", spec.blueprint)),
    }
}

fn material<'s>(seen: &'s Seen, index: usize, spec: &ActionSpec) -> Result<&'s Arc<Material>, String> {
    match seen.found.get(&Need::Material(index)) {
        Some(Ok(Found::Material(material))) => Ok(material),
        Some(Err(reason)) => Err(format!("action {:?} cannot start: {reason}", spec.name)),
        _ => Err(format!("action {:?} cannot start: nothing was looked up for it", spec.name)),
    }
}

fn actions(spec: Option<&ActionSetSpec>) -> &[ActionSpec] {
    spec.map_or(&[], |spec| &spec.actions)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may unwrap")]
mod tests;
