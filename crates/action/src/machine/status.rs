//! The status of an ActionSet: how it changes when a phase begins and ends, and at the end of all.

use cistern_api::wire::SnapshotJson;
use cistern_api::{ActionSetStatus, ActionStatus, Object, Phase, PhaseProgress, State, Time};
use std::collections::BTreeMap;

use super::{Act, CallId, PhaseId, Seen, phase};
use crate::params::root;
use crate::render::Renderer;

/// Longest reason that is kept of an attempt that was followed by another, in characters.
const LAST_ERROR_CHARS_MAX: usize = 2000;

/// The phases of an action, the deferred one last where there is one.
pub(super) fn phases(action: &ActionStatus) -> impl Iterator<Item = (PhaseId, &Phase)> {
    let phases = action.phases.iter().enumerate().map(|(i, phase)| (PhaseId::Index(i), phase));
    let deferred = Some(&action.defer_phase).filter(|phase| phase.state != State::Unset);
    phases.chain(deferred.map(|phase| (PhaseId::Deferred, phase)))
}

fn phase_mut(status: &mut ActionSetStatus, call: CallId) -> Option<&mut Phase> {
    let action = status.actions.get_mut(call.action)?;
    match call.phase {
        PhaseId::Index(i) => action.phases.get_mut(i),
        PhaseId::Deferred => Some(&mut action.defer_phase),
    }
}

/// Nothing of this action is under way, and nothing more of it will be.
pub(super) fn action_ended(action: &ActionStatus) -> bool {
    let failed = action.phases.iter().any(|p| p.state == State::Failed);
    phases(action).all(|(id, phase)| match phase.state {
        State::Pending => failed && id != PhaseId::Deferred,
        State::Running => false,
        _ => true,
    })
}

/// The same, failed for this reason.
pub(super) fn failed(status: &ActionSetStatus, reason: &str) -> ActionSetStatus {
    let mut status = status.clone();
    status.state = State::Failed;
    blame(&mut status, reason);
    status.progress.running_phase.clear();
    status
}

/// Adds a reason; the first one stays first.
fn blame(status: &mut ActionSetStatus, reason: &str) {
    let message = &mut status.error.message;
    if !message.is_empty() {
        message.push('\n');
    }
    message.push_str(reason);
}

/// The call is claimed: its phase runs, and so does the ActionSet.
pub(super) fn begin(status: &ActionSetStatus, call: CallId, now: &Time) -> ActionSetStatus {
    let mut status = status.clone();
    status.state = State::Running;
    if let Some(phase) = phase_mut(&mut status, call) {
        phase.state = State::Running;
        phase.start_time = Some(now.clone());
        phase.retry_time = None;
        phase.progress = PhaseProgress {
            progress_percent: "0".to_owned(),
            last_transition_time: Some(now.clone()),
            ..PhaseProgress::default()
        };
    }
    recount(&mut status, now);
    status
}

/// The status as it was before the call was claimed, without what went wrong since.
pub(super) fn unclaimed(status: &ActionSetStatus, call: CallId) -> ActionSetStatus {
    let mut status = status.clone();
    status.error.message.clear();
    if let Some(phase) = phase_mut(&mut status, call) {
        phase.state = State::Pending;
        phase.retry_time = None;
    }
    status
}

/// The attempt has failed, and the phase waits for the next one.
pub(super) fn retry(status: &mut ActionSetStatus, call: CallId, reason: &str, time: Time, now: &Time) {
    if let Some(phase) = phase_mut(status, call) {
        phase.state = State::Pending;
        phase.attempt = phase.attempt.max(1) + 1;
        phase.retry_time = Some(time);
        phase.last_error = reason.chars().take(LAST_ERROR_CHARS_MAX).collect();
        phase.progress.last_transition_time = Some(now.clone());
        phase.progress.estimated_secs = 0;
    }
    recount(status, now);
}

/// The phase has ended. The ActionSet is still under way: deferred phases and other actions go on.
pub(super) fn end(status: &mut ActionSetStatus, call: CallId, outcome: Result<&Object, String>, now: &Time) {
    if let Some(phase) = phase_mut(status, call) {
        let progress = &mut phase.progress;
        progress.last_transition_time = Some(now.clone());
        progress.estimated_secs = 0;
        match &outcome {
            Ok(output) => {
                progress.uploaded_bytes = progress.uploaded_bytes.max(stored_bytes(output));
                progress.progress_percent = "100".to_owned();
                // What was expected is known by now.
                let (up, down) = (progress.uploaded_bytes, progress.downloaded_bytes);
                progress.estimated_upload_bytes = progress.estimated_upload_bytes.min(up);
                progress.estimated_download_bytes = progress.estimated_download_bytes.min(down);
                phase.state = State::Complete;
                phase.output = (*output).clone();
            }
            Err(_) => phase.state = State::Failed,
        }
    }
    if let Err(reason) = outcome {
        blame(status, &reason);
    }
    recount(status, now);
}

/// The status with what calls under way say of their progress; `None` if that is nothing new. A phase that runs
/// has not come to 100 percent, whatever it says.
pub fn progressed(
    status: &ActionSetStatus,
    said: &BTreeMap<CallId, PhaseProgress>,
    now: &Time,
) -> Option<ActionSetStatus> {
    let mut told = status.clone();
    let mut news = false;
    for (call, said) in said {
        let phase = phase_mut(&mut told, *call).filter(|phase| phase.state == State::Running);
        let Some(phase) = phase else { continue };
        let mut progress = said.clone();
        progress.last_transition_time.clone_from(&phase.progress.last_transition_time);
        let percent: u64 = progress.progress_percent.parse().unwrap_or(0);
        progress.progress_percent = percent.min(99).to_string();
        if progress != phase.progress {
            phase.progress = progress;
            phase.progress.last_transition_time = Some(now.clone());
            news = true;
        }
    }
    recount(&mut told, now);
    news.then_some(told)
}

/// The ActionSet ends: artifacts of the actions that succeeded, and the final state.
pub(super) fn finished(seen: &Seen, acts: &[Act<'_>], status: &ActionSetStatus) -> ActionSetStatus {
    let mut ended = status.clone();
    let mut reasons = Vec::new();
    for act in acts {
        let Some(action) = ended.actions.get_mut(act.index) else { continue };
        if phases(action).any(|(_, phase)| phase.state != State::Complete) {
            continue;
        }
        let views = phase::views(seen, act, status, PhaseId::Deferred);
        let artifacts = views.and_then(|views| {
            let root = root(act.spec, act.material, &views);
            let renderer = Renderer::new(&root, phase::template_time(seen));
            renderer.artifacts(&action.artifacts).map_err(|error| error.to_string())
        });
        match artifacts {
            Ok(artifacts) => action.artifacts = artifacts,
            Err(reason) => reasons.push(format!(
                "action {:?}: its phases are complete, but its artifacts cannot be rendered: {reason}",
                action.name
            )),
        }
    }
    let whole = reasons.is_empty()
        && ended.actions.iter().all(|a| phases(a).all(|(_, phase)| phase.state == State::Complete));
    ended.state = if whole { State::Complete } else { State::Failed };
    for reason in reasons {
        blame(&mut ended, &reason);
    }
    recount(&mut ended, &seen.now);
    if ended.actions.is_empty() {
        ended.progress.percent_completed = "100".to_owned();
    }
    ended
}

/// Percent, bytes and running phases, from the phases. The percentage is Kanister's: the whole part of the mean of
/// all phases, deferred ones left out.
fn recount(status: &mut ActionSetStatus, now: &Time) {
    let percents: Vec<u64> = status.actions.iter().flat_map(|a| &a.phases).map(percent).collect();
    let mean = percents.iter().sum::<u64>().checked_div(percents.len() as u64).unwrap_or(0).to_string();
    if status.progress.percent_completed != mean {
        status.progress.percent_completed = mean;
        status.progress.last_transition_time = Some(now.clone());
    }
    recount_bytes(status, now);
    let mut running: Vec<&str> = Vec::new();
    for (_, phase) in status.actions.iter().flat_map(phases) {
        if phase.state == State::Running && !running.contains(&phase.name.as_str()) {
            running.push(&phase.name);
        }
    }
    status.progress.running_phase = running.join(", ");
}

/// Bytes of the whole: the sums of those of its phases.
fn recount_bytes(status: &mut ActionSetStatus, now: &Time) {
    let sum = |bytes: fn(&PhaseProgress) -> i64| -> i64 {
        let phases = status.actions.iter().flat_map(phases);
        phases.map(|(_, phase)| bytes(&phase.progress)).fold(0, i64::saturating_add)
    };
    let sums = [
        sum(|progress| progress.uploaded_bytes),
        sum(|progress| progress.downloaded_bytes),
        sum(|progress| progress.estimated_upload_bytes),
        sum(|progress| progress.estimated_download_bytes),
    ];
    let whole = &mut status.progress;
    let places = [
        &mut whole.uploaded_bytes,
        &mut whole.downloaded_bytes,
        &mut whole.estimated_upload_bytes,
        &mut whole.estimated_download_bytes,
    ];
    let mut news = false;
    for (place, sum) in places.into_iter().zip(sums) {
        news |= *place != sum;
        *place = sum;
    }
    if news {
        whole.last_transition_time = Some(now.clone());
    }
}

fn percent(phase: &Phase) -> u64 {
    phase.progress.progress_percent.parse().unwrap_or(0)
}

/// What the mover says in a phase's outputs that it stored.
fn stored_bytes(output: &Object) -> i64 {
    let texts = output.values().filter_map(serde_json::Value::as_str).filter(|text| text.starts_with('{'));
    texts.filter_map(|text| SnapshotJson::parse(text).ok()).map(|snapshot| snapshot.physical_bytes).sum()
}
