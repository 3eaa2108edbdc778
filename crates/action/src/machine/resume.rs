//! Calls that are recorded as running and that nobody runs, and the same calls once more for who can find
//! out what became of them.
//!
//! # Expected flow
//! One who takes an ActionSet up asks for its [`orphans`] before [`decide`](super::decide), which would fail
//! them. For each whose traces can be found it asks [`again`] for the call, notes it in
//! [`Seen::running`](super::Seen::running) and goes on with it.

use super::{Call, CallId, Need, Seen, Step, launch, missing, phase, status};
use cistern_api::State;

/// A call once more.
#[derive(Clone, Debug)]
pub enum Again {
    /// Look these up first, as for [`Step::Fetch`].
    Fetch(Vec<Need>),
    /// The call, its arguments rendered from the same status as the first time.
    Call(Box<Call>),
    /// It cannot be made again, for this reason.
    Refused(String),
}

/// Calls that are recorded as running, that nobody runs here, and whose end is not known.
pub fn orphans(seen: &Seen) -> Vec<CallId> {
    let actions = seen.action_set.status.iter().flat_map(|status| status.actions.iter().enumerate());
    let running = actions.flat_map(|(action, entry)| {
        let phases = status::phases(entry).filter(|(_, phase)| phase.state == State::Running);
        phases.map(move |(phase, _)| CallId { action, phase })
    });
    running.filter(|call| !seen.running.contains(call) && !seen.ended.contains_key(call)).collect()
}

/// The call as it was made when it was claimed.
pub fn again(seen: &Seen, id: CallId) -> Again {
    let (Some(spec), Some(status)) = (&seen.action_set.spec, &seen.action_set.status) else {
        return Again::Refused("the ActionSet has lost its spec".to_owned());
    };
    let needs = missing(seen, launch::needs(spec));
    if !needs.is_empty() {
        return Again::Fetch(needs);
    }
    let acts = match launch::acts(seen, spec) {
        Ok(acts) => acts,
        Err(complaints) => return Again::Refused(complaints.join("\n")),
    };
    let changed = || Again::Refused("the blueprint has changed since it began".to_owned());
    let Some(act) = acts.iter().find(|act| act.index == id.action) else { return changed() };
    match phase::start(seen, act, &status::unclaimed(status, id)) {
        phase::Next::Need(needs) => Again::Fetch(needs),
        phase::Next::Step(Step::Start(call, _)) if call.id == id => Again::Call(call),
        phase::Next::Step(Step::Record(failed)) => Again::Refused(failed.error.message),
        phase::Next::Step(_) | phase::Next::Wait | phase::Next::Done => changed(),
    }
}
