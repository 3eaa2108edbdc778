//! Kubernetes Events: what `kubectl describe` tells of an ActionSet.
//!
//! # Guarantees
//! * An event that cannot be written delays nothing and fails nothing: it is dropped, as Kubernetes itself
//!   drops events after an hour.
//! * What comes about again (a second attempt at a phase) counts in the event that is there, also if another
//!   controller wrote it: its name follows from what it is about.

use crate::changes::{Change, phase};
use cistern_action::machine::{CallId, PhaseId};
use cistern_api::{ActionSetStatus, ObjectReference, Time};
use cistern_functions::ports::{Cluster, Patch, Refusal, Why};
use cistern_functions::setting::phase_mark;
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Longest message, in characters; Kubernetes' newer kind of event takes no more.
const MESSAGE_CHARS_MAX: usize = 1000;
/// So many events wait to be written; more are dropped.
const WAITING_MAX: usize = 1024;
/// So often an event is tried.
const TRIES: u32 = 3;
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(2);
/// One try takes no longer.
const TRY_MAX: Duration = Duration::from_secs(20);
/// Who says so.
const COMPONENT: &str = "cistern-controller";

/// An object that events are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) api_version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// Something to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) subject: Subject,
    /// `Normal` or `Warning`.
    pub(crate) kind: &'static str,
    /// The same for the same thing in every version.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// Tells events of one subject apart.
    pub(crate) about: String,
}

/// Events of what came about in an ActionSet.
pub(crate) fn told(subject: &Subject, status: &ActionSetStatus, changes: &[Change]) -> Vec<Event> {
    changes.iter().map(|change| event(subject, status, change)).collect()
}

fn event(subject: &Subject, status: &ActionSetStatus, change: &Change) -> Event {
    let call = |call: &CallId| format!("{}-{}", call.action, phase_mark(call.phase));
    let name = |call: &CallId| phase(status, *call).map_or("", |phase| phase.name.as_str());
    let deferred = |call: &CallId| call.phase == PhaseId::Deferred;
    let attempt = |id: &CallId| match phase(status, *id).map_or(0, |phase| phase.attempt) {
        0 | 1 => String::new(),
        attempt => format!(" (attempt {attempt})"),
    };
    let (kind, reason, message, about) = match change {
        Change::ActionStarted(index) => {
            let name = status.actions.get(*index).map_or("", |action| action.name.as_str());
            ("Normal", "Started Action", format!("Executing action {name}"), index.to_string())
        }
        Change::PhaseStarted(id) if deferred(id) => {
            ("Normal", "Started deferPhase", format!("Executing deferPhase {}", name(id)), call(id))
        }
        Change::PhaseStarted(id) => {
            let message = format!("Executing phase {}{}", name(id), attempt(id));
            ("Normal", "Started Phase", message, call(id))
        }
        Change::PhaseEnded(id) if deferred(id) => {
            ("Normal", "Ended deferPhase", format!("Completed deferPhase {}", name(id)), call(id))
        }
        Change::PhaseEnded(id) => {
            ("Normal", "Ended Phase", format!("Completed phase {}", name(id)), call(id))
        }
        Change::PhaseRetried(id) => {
            let last = phase(status, *id).map_or("", |phase| phase.last_error.as_str());
            let message = format!("Phase {} is tried again{}: {last}", name(id), attempt(id));
            ("Warning", "Retrying Phase", message, call(id))
        }
        Change::PhaseFailed(id) => {
            ("Warning", "Failed Phase", format!("Phase {} failed", name(id)), call(id))
        }
        Change::Suspended => {
            let message = "No phase begins until the annotation cistern.dev/suspend is taken away";
            ("Normal", "ActionSetSuspended", message.to_owned(), String::new())
        }
        Change::Complete => {
            ("Normal", "ActionSetComplete", format!("Completed {}", subject.name), String::new())
        }
        Change::Failed => ("Warning", "ActionSetFailed", status.error.message.clone(), String::new()),
    };
    Event { subject: subject.clone(), kind, reason, message, about }
}

/// Where events are handed in.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    queue: mpsc::Sender<(Event, Time)>,
}

/// Where they come out.
pub(crate) type Recorded = mpsc::Receiver<(Event, Time)>;

impl Recorder {
    pub(crate) fn new() -> (Recorder, Recorded) {
        let (queue, recorded) = mpsc::channel(WAITING_MAX);
        (Recorder { queue }, recorded)
    }

    /// Hands an event in; whether there was room for it.
    pub(crate) fn tell(&self, event: Event, now: &Time) -> bool {
        log(&event);
        self.queue.try_send((event, now.clone())).is_ok()
    }
}

/// The same for the log; the uid ties together what belongs to one ActionSet.
fn log(event: &Event) {
    let Subject { kind, namespace, name, uid, .. } = &event.subject;
    let (reason, message) = (event.reason, &event.message);
    if event.kind == "Warning" {
        tracing::warn!(kind, namespace, name, uid, reason, "{message}");
    } else {
        tracing::info!(kind, namespace, name, uid, reason, "{message}");
    }
}

/// Writes what comes in, one after the other, until it is dropped.
pub(crate) async fn write_all(cluster: Arc<dyn Cluster>, mut recorded: Recorded) {
    while let Some((event, now)) = recorded.recv().await {
        for _ in 0..TRIES {
            let written = timeout(TRY_MAX, write(&*cluster, &event, &now)).await;
            match written {
                Ok(Err(refusal)) if matches!(refusal.why, Why::Busy | Why::Conflict) => sleep(PAUSE).await,
                // Written; or it never will be.
                Ok(_) => break,
                Err(_) => {}
            }
        }
    }
}

/// Makes the event, or counts in the one that is there.
async fn write(cluster: &dyn Cluster, event: &Event, now: &Time) -> Result<(), Refusal> {
    let at = place(event);
    match cluster.create(&at, &manifest(event, now)).await {
        Err(refusal) if refusal.why == Why::Exists => {}
        answer => return answer.map(drop),
    }
    let there = cluster.get(&at).await?;
    let now = stamp(now);
    if there["lastTimestamp"] == now && there["message"] == shortened(&event.message) {
        // Our own, whose answer was lost.
        return Ok(());
    }
    let count = there["count"].as_i64().unwrap_or(1) + 1;
    let again = json!({
        "metadata": { "resourceVersion": there["metadata"]["resourceVersion"] },
        "count": count, "lastTimestamp": now, "message": shortened(&event.message),
    });
    cluster.patch(&at, Patch::Merge, &again).await.map(drop)
}

fn place(event: &Event) -> ObjectReference {
    ObjectReference {
        api_version: "v1".to_owned(),
        resource: "events".to_owned(),
        ..ObjectReference::named(&event.subject.namespace, &name(event))
    }
}

/// The subject's name and what tells this event from all others.
fn name(event: &Event) -> String {
    let words = [event.subject.uid.as_str(), event.reason, event.about.as_str()].join("/");
    // Names are no longer than 253 characters.
    let subject: String = event.subject.name.chars().take(200).collect();
    format!("{}.{:016x}", subject.trim_end_matches(['.', '-']), fnv(words.as_bytes()))
}

/// FNV-1a: the same in every version of the program, which the standard library's hash is not.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

fn manifest(event: &Event, now: &Time) -> Json {
    let subject = &event.subject;
    json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": { "name": name(event), "namespace": subject.namespace },
        "involvedObject": {
            "apiVersion": subject.api_version, "kind": subject.kind, "name": subject.name,
            "namespace": subject.namespace, "uid": subject.uid,
        },
        "type": event.kind, "reason": event.reason, "message": shortened(&event.message),
        "source": { "component": COMPONENT }, "reportingComponent": COMPONENT,
        "firstTimestamp": stamp(now), "lastTimestamp": stamp(now), "count": 1,
    })
}

/// Kubernetes' times have whole seconds.
fn stamp(now: &Time) -> String {
    let whole = jiff::Timestamp::from_second(now.0.as_second()).unwrap_or(now.0);
    whole.to_string()
}

fn shortened(message: &str) -> String {
    if message.chars().count() <= MESSAGE_CHARS_MAX {
        return message.to_owned();
    }
    message.chars().take(MESSAGE_CHARS_MAX - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(about: &str) -> Event {
        let subject = Subject {
            api_version: cistern_api::resource::API_VERSION,
            kind: "ActionSet",
            namespace: "app".to_owned(),
            name: "backup-1".to_owned(),
            uid: "u1".to_owned(),
        };
        let (kind, reason, message) = ("Normal", "Started Phase", "Executing phase dump".to_owned());
        Event { subject, kind, reason, message, about: about.to_owned() }
    }

    #[test]
    fn a_name_follows_from_what_the_event_is_about() {
        // Written down: a new version must find the events of the one before.
        assert_eq!(name(&event("0-0")), "backup-1.907a758e64b9b3bc");
        assert_ne!(name(&event("0-0")), name(&event("0-1")));
        let mut other = event("0-0");
        other.message = "Executing phase dump (attempt 2)".to_owned();
        assert_eq!(name(&other), name(&event("0-0")));
        other.subject.name = "x".repeat(253);
        assert!(name(&other).len() <= 253);
    }

    #[test]
    fn long_messages_are_cut_and_show_it() {
        assert_eq!(shortened("short"), "short");
        let cut = shortened(&"ä".repeat(2000));
        assert_eq!(cut.chars().count(), MESSAGE_CHARS_MAX);
        assert!(cut.ends_with('…'));
    }
}
