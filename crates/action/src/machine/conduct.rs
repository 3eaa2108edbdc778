//! How an ActionSet is to be carried out, as users say besides what is to be done: held back, stopped, phases
//! tried again.

use super::{CallId, PhaseId, Seen, status};
use cistern_api::{Phase, State, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// The pause before the second attempt; each next one is twice as long.
const PAUSE_SECS: u64 = 10;
/// The longest pause.
const PAUSE_SECS_MAX: u64 = 300;
/// A phase that may run twice is begun again for controllers that died in the middle of it, in all at most
/// as often as this: one that kills its controller must not do so for ever.
const ATTEMPTS_MAX: u32 = 10;

/// How to carry an ActionSet out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conduct {
    /// No phase begins, except deferred ones.
    pub suspended: bool,
    /// No phase begins any more, except deferred ones; the reason, as a sentence for the ActionSet.
    pub stop: Option<String>,
    /// Phases that may be tried again.
    pub attempts: BTreeMap<CallId, Attempts>,
}

/// How often a phase may be tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// So many times again after the first failure.
    pub retries: u32,
    /// It may run twice: it is begun again where nobody knows how it ended.
    pub idempotent: bool,
}

/// When the next phase that waits for another attempt may begin; `None` if nothing waits for the clock.
pub fn wake(seen: &Seen) -> Option<Time> {
    let actions = seen.action_set.status.iter().flat_map(|status| &status.actions);
    let phases = actions.flat_map(status::phases);
    let held = |id: PhaseId| seen.conduct.suspended && id != PhaseId::Deferred;
    let times = phases.filter(|(id, phase)| phase.state == State::Pending && !held(*id));
    times.filter_map(|(_, phase)| phase.retry_time.clone()).min_by_key(|time| time.0)
}

/// Whether the phase must not begin now, though it is its turn.
pub(super) fn held_back(seen: &Seen, id: PhaseId, phase: &Phase) -> bool {
    let suspended = seen.conduct.suspended && id != PhaseId::Deferred;
    suspended || phase.retry_time.as_ref().is_some_and(|time| time.0 > seen.now.0)
}

/// Why the phase never begins.
pub(super) fn stopped(seen: &Seen, id: PhaseId) -> Option<&str> {
    seen.conduct.stop.as_deref().filter(|_| id != PhaseId::Deferred)
}

/// When the phase is tried again after an attempt that failed (`lost`: that ended nobody knows how), if it is.
pub(super) fn next_attempt(seen: &Seen, call: CallId, phase: &Phase, lost: bool) -> Option<Time> {
    if stopped(seen, call.phase).is_some() {
        return None;
    }
    let attempts = seen.conduct.attempts.get(&call)?;
    let made = phase.attempt.max(1);
    let allowed = if lost { attempts.idempotent && made < ATTEMPTS_MAX } else { made <= attempts.retries };
    let pause = PAUSE_SECS.saturating_mul(1 << (made - 1).min(10)).min(PAUSE_SECS_MAX);
    let pause = if lost { Duration::ZERO } else { Duration::from_secs(pause) };
    let time = seen.now.0.checked_add(pause).unwrap_or(seen.now.0);
    allowed.then_some(Time(time))
}
