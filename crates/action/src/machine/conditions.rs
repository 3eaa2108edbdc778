//! The state of an ActionSet in the words that tools know which wait for any resource (kstatus: `kubectl
//! wait`, Flux, Argo CD): `Ready`, and while something keeps it from that `Reconciling` or `Stalled`.
//!
//! There is no `observedGeneration`: the status of an ActionSet is no subresource, so writing it makes a new
//! generation each time.

use super::{Seen, status};
use cistern_api::{ActionSetStatus, Condition, State, Time};

/// It came to its end, well.
pub const READY: &str = "Ready";
/// It is under way, or waits.
pub const RECONCILING: &str = "Reconciling";
/// It failed, and stays so.
pub const STALLED: &str = "Stalled";
/// The reason while a user holds it back.
pub const SUSPENDED: &str = "Suspended";
/// Longest message, in characters; all of it stands in `status.error`.
const MESSAGE_CHARS_MAX: usize = 1000;

/// The status with conditions that say what it says. A time of transition stays while the answer does.
pub(super) fn refreshed(mut status: ActionSetStatus, seen: &Seen) -> ActionSetStatus {
    let (reason, message) = words(&status, seen.conduct.suspended);
    let told: &[(&str, bool)] = match status.state {
        State::Complete => &[(READY, true)],
        State::Failed => &[(READY, false), (STALLED, true)],
        _ => &[(READY, false), (RECONCILING, true)],
    };
    let before = std::mem::take(&mut status.conditions);
    let condition = |(kind, holds): &(&str, bool)| {
        let word = if *holds { "True" } else { "False" };
        Condition {
            last_transition_time: since(&before, kind, word).unwrap_or_else(|| seen.now.clone()),
            message: message.chars().take(MESSAGE_CHARS_MAX).collect(),
            observed_generation: None,
            reason: reason.to_owned(),
            status: word.to_owned(),
            type_: (*kind).to_owned(),
        }
    };
    status.conditions = told.iter().map(condition).collect();
    if matches!(status.state, State::Complete | State::Failed) && status.completion_time.is_none() {
        status.completion_time = Some(seen.now.clone());
    }
    status
}

/// The status once more, if its conditions say something else than it does. Where they are not kept (by a
/// definition of ActionSets that does not know them) there is nothing to say again.
pub(super) fn restated(status: &ActionSetStatus, seen: &Seen) -> Option<ActionSetStatus> {
    if status.conditions.is_empty() {
        return None;
    }
    Some(refreshed(status.clone(), seen)).filter(|fresh| fresh != status)
}

fn since(before: &[Condition], kind: &str, word: &str) -> Option<Time> {
    let same = before.iter().find(|condition| condition.type_ == kind && condition.status == word);
    same.map(|condition| condition.last_transition_time.clone())
}

/// Why, in one word and in a sentence.
fn words(status: &ActionSetStatus, suspended: bool) -> (&'static str, String) {
    match status.state {
        State::Complete => ("Complete", "every phase is complete".to_owned()),
        State::Failed => ("Failed", status.error.message.clone()),
        _ if !status.progress.running_phase.is_empty() => {
            ("Running", format!("runs {}", status.progress.running_phase))
        }
        _ if suspended => (SUSPENDED, "no phase begins until it is no longer suspended".to_owned()),
        _ => match waiting(status) {
            Some(reason) => ("Retrying", reason),
            None if status.state == State::Running => ("Running", "is between two phases".to_owned()),
            None => ("Pending", "nothing runs yet".to_owned()),
        },
    }
}

/// A phase that waits for its next attempt.
fn waiting(status: &ActionSetStatus) -> Option<String> {
    let mut phases = status.actions.iter().flat_map(status::phases);
    let (_, phase) = phases.find(|(_, phase)| phase.retry_time.is_some())?;
    Some(format!("phase {:?} is tried again (attempt {}): {}", phase.name, phase.attempt, phase.last_error))
}
