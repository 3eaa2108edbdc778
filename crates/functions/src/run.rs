//! A pod from its creation to its end: made once, taken up again if it is there, listened to, judged.
//!
//! # Expected flow
//! [`run`] creates the pod, or finds the one of that name that was made for the same call; waits until it
//! runs; follows its log while it looks at it; and tells how it ended. The pod stays: [`remove`] takes it
//! away when its outcome has been recorded.
//!
//! # Guarantees
//! * Outputs of our own `kando` travel in the container's termination message, which is part of the pod's status:
//!   they arrive whatever becomes of the log. What is too long for it, and what others print, is taken from the log:
//!   what was heard counts when two readings are alike, and an output that a rotated log has lost is missed.
//! * It ends: a log stream that hangs is left behind when the pod has ended.
//!
//! # If it crashes here
//! The pod goes on, and the next [`run`] finds it. A pod that is not there has not run, because its
//! finalizer keeps it until [`remove`].

use crate::outputs::{Heard, Listener, with_channel};
use crate::patience::{Looks, ask};
use crate::pod::{ACTION, ACTION_SET_UID, FINALIZER, PHASE};
use crate::ports::{Cluster, Inside, Patch, Refusal, Why};
use crate::profile;
use crate::reference::of_kind;
use crate::setting::Setting;
use cistern_action::machine::Call;
use cistern_api::wire::Channel;
use cistern_api::{Object, ObjectReference};
use serde_json::{Value as Json, json};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Reasons for which a container will never start.
const HOPELESS: [&str; 2] = ["InvalidImageName", "ErrImageNeverPull"];
/// Reasons for which a container does not start, which sometimes pass.
const STUCK: [&str; 6] = [
    "ImagePullBackOff",
    "ErrImagePull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "RegistryUnavailable",
];

/// A log that has ended is read at most so often until two readings are alike.
const READINGS_MAX: usize = 5;
/// The pause before a log that is not to be had now is asked for again.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// How a pod ended.
#[derive(Debug)]
pub struct Ended {
    /// Why it is not a success; nothing if it is.
    pub failure: Option<String>,
    /// What its first container said.
    pub heard: Heard,
}

impl Ended {
    /// The outputs of a pod that succeeded.
    ///
    /// # Errors
    /// The failure, with the pod's last words; or why its outputs cannot be read.
    pub fn outputs(self) -> Result<Object, String> {
        match self.failure {
            Some(failure) => Err(failure + &self.heard.last_words()),
            None => self.heard.outputs,
        }
    }
}

/// Runs the pod to its end. How long that takes is for the caller to bound.
///
/// # Errors
/// It cannot be created, does not start, or vanished.
pub async fn run(
    cluster: &dyn Cluster,
    setting: &Setting,
    call: &Call,
    manifest: &Json,
) -> Result<Ended, String> {
    let meta = &manifest["metadata"];
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let at = of_kind("pod", &text(&meta["namespace"]), &text(&meta["name"]));
    let pod = make(cluster, &at, manifest).await?;
    profile::deliver(cluster, call, &at, &pod).await?;
    started(cluster, setting, &at).await?;
    let container = text(&manifest["spec"]["containers"][0]["name"]);
    let (pod, heard) = listen(cluster, setting, &at, &container).await?;
    Ok(Ended { failure: failure(&pod, &at), heard: with_channel(heard, &channel(&pod, &container)) })
}

/// Takes a pod away whose outcome has been recorded.
///
/// # Errors
/// The cluster refuses.
pub async fn remove(cluster: &dyn Cluster, at: &ObjectReference) -> Result<(), Refusal> {
    let free = json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": [FINALIZER] } });
    // Deleted first: freed first, a pod could be deleted by another and made again by a call that goes on.
    match ask(|| cluster.delete(at)).await {
        Err(refusal) if refusal.why != Why::Absent => return Err(refusal),
        _ => {}
    }
    match ask(|| cluster.patch(at, Patch::Strategic, &free)).await {
        Err(refusal) if refusal.why != Why::Absent => Err(refusal),
        _ => Ok(()),
    }
}

/// The pod as it is, made or found.
async fn make(cluster: &dyn Cluster, at: &ObjectReference, manifest: &Json) -> Result<Json, String> {
    let refused = |refusal: Refusal| format!("its pod {}/{} {refusal}", at.namespace, at.name);
    match ask(|| cluster.create(at, manifest)).await {
        Ok(made) => return Ok(made),
        // Made by a controller that has stopped since, or by a request whose answer was lost.
        Err(refusal) if refusal.why == Why::Exists => {}
        Err(refusal) => return Err(refused(refusal)),
    }
    let there = ask(|| cluster.get(at)).await.map_err(refused)?;
    let same = [ACTION_SET_UID, ACTION, PHASE]
        .iter()
        .all(|label| there["metadata"]["labels"][label] == manifest["metadata"]["labels"][label]);
    if same {
        Ok(there)
    } else {
        Err(format!("a pod {}/{} is there that is not its own", at.namespace, at.name))
    }
}

/// Waits until the pod is past `Pending`.
async fn started(cluster: &dyn Cluster, setting: &Setting, at: &ObjectReference) -> Result<(), String> {
    let mut stuck_since: Option<Instant> = None;
    let mut looks = Looks::new(setting.limits.pod_start, setting.limits.look_every);
    loop {
        let pod = seen(cluster, at).await?;
        if !matches!(pod["status"]["phase"].as_str(), None | Some("" | "Pending")) {
            return Ok(());
        }
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            return Err(format!("its pod {} was deleted before it began", at.name));
        }
        if let Some((reason, message)) = obstacle(&pod) {
            let since = *stuck_since.get_or_insert_with(Instant::now);
            if HOPELESS.contains(&reason.as_str()) || since.elapsed() >= setting.limits.pod_stuck {
                return Err(format!("its pod {} cannot start: {reason}: {message}", at.name));
            }
        } else {
            stuck_since = None;
        }
        if !looks.again().await {
            let minutes = setting.limits.pod_start.as_secs() / 60;
            return Err(format!(
                "its pod {} did not start within {minutes} minutes; is there a node that can take it?",
                at.name
            ));
        }
    }
}

async fn seen(cluster: &dyn Cluster, at: &ObjectReference) -> Result<Json, String> {
    ask(|| cluster.get(at)).await.map_err(|refusal| match refusal.why {
        Why::Absent => {
            format!("its pod {} has vanished: somebody removed it together with its finalizer", at.name)
        }
        _ => format!("its pod {} cannot be looked at: {refusal}", at.name),
    })
}

/// What keeps a container from starting.
fn obstacle(pod: &Json) -> Option<(String, String)> {
    let statuses = ["initContainerStatuses", "containerStatuses"];
    let waiting = statuses.iter().flat_map(|list| pod["status"][list].as_array().into_iter().flatten());
    let mut reasons = waiting.filter_map(|status| {
        let waiting = &status["state"]["waiting"];
        let reason = waiting["reason"].as_str()?;
        let known = HOPELESS.contains(&reason) || STUCK.contains(&reason);
        known.then(|| (reason.to_owned(), waiting["message"].as_str().unwrap_or_default().to_owned()))
    });
    reasons.next()
}

/// Follows the log until the pod has ended, then reads it until two readings are alike: a stream that was cut on its
/// way through the API server can look like one that has come to its end.
async fn listen(
    cluster: &dyn Cluster,
    setting: &Setting,
    at: &ObjectReference,
    container: &str,
) -> Result<(Json, Heard), String> {
    let inside = Inside { namespace: &at.namespace, pod: &at.name, container };
    let mut listener = Listener::watched(setting.progress.clone());
    let (pod, whole) = {
        let mut sink = |bytes: &[u8]| listener.push(bytes);
        let mut follow = cluster.follow_log(&inside, &mut sink);
        let mut end = std::pin::pin!(until_ended(cluster, setting, at));
        tokio::select! {
            pod = &mut end => {
                let drained = timeout(setting.limits.drain, follow).await;
                (pod?, matches!(drained, Ok(Ok(()))))
            }
            _ = &mut follow => (end.await?, false),
        }
    };
    let followed = listener.finish();
    let first = if whole {
        followed
    } else {
        match read_insisting(cluster, setting, &inside, &channel(&pod, container)).await {
            Ok(again) => joined(followed, again),
            Err(reason) => {
                let outputs = followed.outputs.and(Err(format!("its log cannot be read: {reason}")));
                return Ok((pod, Heard { outputs, ..followed }));
            }
        }
    };
    Ok((pod, confirmed(cluster, setting, &inside, first).await))
}

/// The log, asked for as long as it takes; only a few times where everything that our own programs put out stands in
/// the channel anyway.
async fn read_insisting(
    cluster: &dyn Cluster,
    setting: &Setting,
    inside: &Inside<'_>,
    channel: &Channel,
) -> Result<Heard, Refusal> {
    if channel.outputs.is_empty() || !channel.is_whole() {
        return ask(|| read(cluster, setting, inside)).await;
    }
    for _ in 1..READINGS_MAX {
        match read(cluster, setting, inside).await {
            Err(refusal) if refusal.why == Why::Busy => sleep(READ_AGAIN).await,
            answer => return answer,
        }
    }
    read(cluster, setting, inside).await
}

/// What was heard of a log that seems whole, once another reading says the same. One that is too long to be read again
/// in time is taken as it is.
async fn confirmed(cluster: &dyn Cluster, setting: &Setting, inside: &Inside<'_>, first: Heard) -> Heard {
    let mut heard = first;
    let mut differed = false;
    for _ in 0..READINGS_MAX {
        let Ok(again) = read(cluster, setting, inside).await else { continue };
        let alike = again.bytes == heard.bytes;
        heard = joined(heard, again);
        if alike {
            return heard;
        }
        differed = true;
    }
    if differed {
        let said = "its log reads differently every time: is the connection to its node bad?";
        heard.outputs = heard.outputs.and(Err(said.to_owned()));
    }
    heard
}

async fn until_ended(cluster: &dyn Cluster, setting: &Setting, at: &ObjectReference) -> Result<Json, String> {
    let mut looks = Looks::new(setting.limits.call, setting.limits.look_every);
    loop {
        let pod = seen(cluster, at).await?;
        if matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
            return Ok(pod);
        }
        if !looks.again().await {
            return Err(format!("its pod {} takes too long", at.name));
        }
    }
}

/// The whole log of a container that has ended.
async fn read(cluster: &dyn Cluster, setting: &Setting, inside: &Inside<'_>) -> Result<Heard, Refusal> {
    let mut listener = Listener::default();
    let mut sink = |bytes: &[u8]| listener.push(bytes);
    let read = timeout(setting.limits.drain, cluster.follow_log(inside, &mut sink)).await;
    read.unwrap_or_else(|_| Err(Refusal::new(Why::Busy, "it did not come to an end in time")))?;
    Ok(listener.finish())
}

/// The later reading over the earlier one, which may have seen the beginning of a log that was rotated.
fn joined(first: Heard, second: Heard) -> Heard {
    let outputs = match (first.outputs, second.outputs) {
        (Ok(mut outputs), Ok(again)) => {
            outputs.extend(again);
            Ok(outputs)
        }
        (_, Err(error)) => Err(error),
        // A stream that was cut may end in the middle of an output.
        (Err(_), Ok(again)) => Ok(again),
    };
    let tail = if second.tail.is_empty() { first.tail } else { second.tail };
    Heard { outputs, tail, bytes: second.bytes }
}

/// What the container left in its termination message.
fn channel(pod: &Json, container: &str) -> Channel {
    let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let mut own = statuses.filter(|status| status["name"] == container);
    let message = own.next().and_then(|status| status["state"]["terminated"]["message"].as_str());
    message.map(Channel::read).unwrap_or_default()
}

/// Why a pod that has ended is no success.
fn failure(pod: &Json, at: &ObjectReference) -> Option<String> {
    let status = &pod["status"];
    if status["phase"] == "Succeeded" {
        return None;
    }
    let name = &at.name;
    let mut reasons = Vec::new();
    for list in ["initContainerStatuses", "containerStatuses"] {
        for container in status[list].as_array().into_iter().flatten() {
            let ended = &container["state"]["terminated"];
            let code = ended["exitCode"].as_i64().unwrap_or(0);
            if code != 0 {
                let which = container["name"].as_str().unwrap_or_default();
                let reason = ended["reason"].as_str().filter(|reason| *reason != "Error");
                let reason = reason.map_or(String::new(), |reason| format!(" ({reason})"));
                reasons.push(format!("container {which} ended with status {code}{reason}"));
            }
        }
    }
    if let Some(reason) = status["reason"].as_str() {
        reasons.push(format!("{reason}: {}", status["message"].as_str().unwrap_or_default()));
    }
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        reasons.push("it was deleted".to_owned());
    }
    if reasons.is_empty() {
        reasons.push("the cluster does not say why".to_owned());
    }
    Some(format!("pod {name} failed: {}", reasons.join("; ")))
}
