//! What has come about between two statuses of an ActionSet: for events, metrics and logs.

use cistern_action::machine::{CallId, PhaseId, SUSPENDED};
use cistern_api::{ActionSetStatus, ActionStatus, Phase, State};

/// Something that came about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// The first phase of the action at this place begins.
    ActionStarted(usize),
    /// A phase began.
    PhaseStarted(CallId),
    /// A phase ended well.
    PhaseEnded(CallId),
    /// A phase failed, and waits for its next attempt.
    PhaseRetried(CallId),
    /// A phase failed for good, or never began.
    PhaseFailed(CallId),
    /// No phase begins until a user lifts that.
    Suspended,
    /// The ActionSet ended well.
    Complete,
    /// The ActionSet failed.
    Failed,
}

/// The phase of a call.
pub(crate) fn phase(status: &ActionSetStatus, call: CallId) -> Option<&Phase> {
    let action = status.actions.get(call.action)?;
    match call.phase {
        PhaseId::Index(i) => action.phases.get(i),
        PhaseId::Deferred => Some(&action.defer_phase),
    }
}

/// What came about, in the order in which it did.
pub(crate) fn between(before: Option<&ActionSetStatus>, after: &ActionSetStatus) -> Vec<Change> {
    let mut changes = Vec::new();
    for (index, action) in after.actions.iter().enumerate() {
        let earlier = before.and_then(|status| status.actions.get(index));
        if !earlier.is_some_and(began) && began(action) {
            changes.push(Change::ActionStarted(index));
        }
        for (id, now) in phases(action) {
            let call = CallId { action: index, phase: id };
            let was = before.and_then(|status| phase(status, call));
            changes.extend(of_phase(call, was, now));
        }
    }
    let suspended = |status: &ActionSetStatus| status.conditions.iter().any(|c| c.reason == SUSPENDED);
    if suspended(after) && !before.is_some_and(suspended) {
        changes.push(Change::Suspended);
    }
    if before.map(|status| status.state) != Some(after.state) {
        changes.extend(match after.state {
            State::Complete => Some(Change::Complete),
            State::Failed => Some(Change::Failed),
            _ => None,
        });
    }
    changes
}

fn phases(action: &ActionStatus) -> impl Iterator<Item = (PhaseId, &Phase)> {
    let numbered = action.phases.iter().enumerate().map(|(i, phase)| (PhaseId::Index(i), phase));
    numbered.chain(std::iter::once((PhaseId::Deferred, &action.defer_phase)))
}

fn began(action: &ActionStatus) -> bool {
    phases(action).any(|(_, phase)| phase.start_time.is_some())
}

fn of_phase(call: CallId, was: Option<&Phase>, now: &Phase) -> Option<Change> {
    let before = was.map_or(State::Pending, |phase| phase.state);
    match (before, now.state) {
        (State::Running, State::Pending) => Some(Change::PhaseRetried(call)),
        (before, after) if before == after => None,
        (_, State::Running) => Some(Change::PhaseStarted(call)),
        (_, State::Complete) => Some(Change::PhaseEnded(call)),
        (_, State::Failed) => Some(Change::PhaseFailed(call)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(state: &str, phases: &[&str], deferred: &str) -> ActionSetStatus {
        // One that is tried again has begun before.
        let phase = |state: &&str| {
            let start = (*state != "pending").then_some("2026-01-02T03:04:05Z");
            json!({ "name": "p", "state": state.replace("again", "pending"), "startTime": start })
        };
        let phases: Vec<_> = phases.iter().map(phase).collect();
        serde_json::from_value(json!({ "state": state, "actions": [{
            "name": "backup", "phases": phases, "deferPhase": { "name": "tidy", "state": deferred } }] }))
        .unwrap()
    }

    #[test]
    fn a_history_is_told_once_and_in_order() {
        use Change::{ActionStarted, Complete, PhaseEnded, PhaseFailed, PhaseRetried, PhaseStarted};
        let first = CallId { action: 0, phase: PhaseId::Index(0) };
        let last = CallId { action: 0, phase: PhaseId::Deferred };
        let history = [
            (status("pending", &["pending"], "pending"), vec![]),
            (status("running", &["running"], "pending"), vec![ActionStarted(0), PhaseStarted(first)]),
            (status("running", &["running"], "pending"), vec![]),
            (status("running", &["again"], "pending"), vec![PhaseRetried(first)]),
            (status("running", &["running"], "pending"), vec![PhaseStarted(first)]),
            (status("running", &["complete"], "pending"), vec![PhaseEnded(first)]),
            (status("running", &["complete"], "running"), vec![PhaseStarted(last)]),
            (status("complete", &["complete"], "complete"), vec![PhaseEnded(last), Complete]),
        ];
        let mut before = None;
        for (after, told) in &history {
            assert_eq!(between(before, after), *told, "{after:?}");
            before = Some(after);
        }
        let failed = status("failed", &["failed"], "");
        assert_eq!(between(before, &failed).first(), Some(&PhaseFailed(first)));
    }
}
