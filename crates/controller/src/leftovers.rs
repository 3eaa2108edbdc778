//! Pods whose outcome has been recorded, taken away: after each record, and all that a controller left behind
//! that died before it came to that. Pods that failed are kept for a while where a user wants that.

use crate::objects::Objects;
use crate::wishes::Wishes;
use cistern_action::machine::CallId;
use cistern_api::{ActionSetStatus, State, Time};
use cistern_functions::patience::ask;
use cistern_functions::pod;
use cistern_functions::ports::{Patch, Refusal, Why};
use cistern_functions::reference::of_kind;
use cistern_functions::run;
use cistern_functions::setting::phase_mark;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Annotation of a pod that failed: it is kept until then.
const KEPT_UNTIL: &str = "cistern.dev/kept-until";

/// Annotation of a pod: namespace and name of its ActionSet, then action and phase.
const MADE_FOR: &str = "cistern.dev/made-for";

/// A phase as its pods are labelled: uid, action, phase, attempt.
type Mark = (String, String, String, String);

/// When a pod that is kept from now on is taken away.
pub(crate) fn until(now: &Time, keep: Duration) -> Time {
    Time(now.0.checked_add(keep).unwrap_or(now.0))
}

/// Takes away the pods of a call whose end is in the status; with `keep_until`, those that failed are kept.
pub(crate) async fn remove(
    objects: &Objects,
    uid: &str,
    call: CallId,
    keep_until: Option<&Time>,
) -> Result<(), Refusal> {
    let (action, phase) = (call.action, phase_mark(call.phase));
    let selector = format!("{}={uid},{}={action},{}={phase}", pod::ACTION_SET_UID, pod::ACTION, pod::PHASE);
    for found in pods(objects, &selector).await? {
        // One that is kept already is an earlier attempt.
        if kept_until(&found).is_none() {
            take_away(objects, &found, keep_until).await?;
        }
    }
    Ok(())
}

/// Takes away every pod of ours whose phase is not running any more, or whose ActionSet is gone.
pub(crate) async fn sweep(objects: &Objects, watched: &str, now: &Time) -> Result<(), Refusal> {
    let mut selector = format!("{}={},{}", pod::CREATED_BY.0, pod::CREATED_BY.1, pod::ACTION_SET_UID);
    if !watched.is_empty() {
        // Other controllers may look after other namespaces.
        selector = format!("{selector},{}={watched}", pod::ACTION_SET_NAMESPACE);
    }
    // It may have been given more rights since.
    objects.confined.store(false, Ordering::Relaxed);
    // Pods first: a phase is claimed before its pod is made, so every pod seen here has its claim by then.
    let found = pods(objects, &selector).await?;
    if found.is_empty() {
        return Ok(());
    }
    let running: BTreeSet<Mark> = objects
        .list(watched)
        .await?
        .iter()
        .flat_map(|held| {
            let status = held.action_set.status.as_ref();
            let marks = status.into_iter().flat_map(running);
            marks.map(|(action, phase, attempt)| (held.uid().to_owned(), action, phase, attempt))
        })
        .collect();
    for pod in found.iter().filter(|pod| !running.contains(&mark(pod))) {
        match kept_until(pod) {
            Some(until) if until.0 > now.0 => {}
            Some(_) => take_away(objects, pod, None).await?,
            None => take_away(objects, pod, wanted_until(objects, pod, now).await?.as_ref()).await?,
        }
    }
    Ok(())
}

fn kept_until(pod: &Json) -> Option<Time> {
    let text = pod["metadata"]["annotations"][KEPT_UNTIL].as_str()?;
    Some(Time(text.parse().ok()?))
}

/// Until when a user wants a pod kept, whose controller died before it came to that.
async fn wanted_until(objects: &Objects, pod: &Json, now: &Time) -> Result<Option<Time>, Refusal> {
    let about = pod["metadata"]["annotations"][MADE_FOR].as_str().unwrap_or_default();
    let place = about.split(' ').next().and_then(|place| place.split_once('/'));
    let Some((namespace, name)) = place else { return Ok(None) };
    let Some(held) = objects.read(namespace, name).await? else { return Ok(None) };
    let wanted = Wishes::of(&held.annotations()).0.keep_failed;
    let own = pod["metadata"]["labels"][pod::ACTION_SET_UID] == held.uid();
    Ok(wanted.filter(|_| own).map(|keep| until(now, keep)))
}

/// Our pods, wherever they are; or, without the right to look everywhere, where the controller works.
async fn pods(objects: &Objects, selector: &str) -> Result<Vec<Json>, Refusal> {
    if !objects.confined.load(Ordering::Relaxed) {
        let anywhere = of_kind("pod", "", "");
        match ask(|| objects.cluster.list(&anywhere, selector)).await {
            Err(refusal) if refusal.why == Why::Denied => objects.confined.store(true, Ordering::Relaxed),
            answer => return answer,
        }
    }
    let mut found = Vec::new();
    for namespace in &objects.namespaces {
        let there = of_kind("pod", namespace, "");
        found.append(&mut ask(|| objects.cluster.list(&there, selector)).await?);
    }
    Ok(found)
}

/// Takes a pod away; one that failed only then, if there is such a time.
async fn take_away(objects: &Objects, pod: &Json, keep_until: Option<&Time>) -> Result<(), Refusal> {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
    let at = of_kind("pod", text("namespace"), text("name"));
    let Some(until) = keep_until.filter(|_| pod["status"]["phase"] == "Failed") else {
        return run::remove(&*objects.cluster, &at).await;
    };
    // Without our finalizer a user can delete it before.
    let kept = json!({ "metadata": {
        "annotations": { KEPT_UNTIL: until.0.to_string() },
        "$deleteFromPrimitiveList/finalizers": [pod::FINALIZER],
    } });
    match ask(|| objects.cluster.patch(&at, Patch::Strategic, &kept)).await {
        Err(refusal) if refusal.why != Why::Absent => Err(refusal),
        _ => Ok(()),
    }
}

fn mark(pod: &Json) -> Mark {
    let label = |name: &str| pod["metadata"]["labels"][name].as_str().map(str::to_owned);
    let text = |name: &str| label(name).unwrap_or_default();
    let attempt = label(pod::ATTEMPT).unwrap_or_else(|| "1".to_owned());
    (text(pod::ACTION_SET_UID), text(pod::ACTION), text(pod::PHASE), attempt)
}

/// The phases of a status that are running, with their attempts.
fn running(status: &ActionSetStatus) -> Vec<(String, String, String)> {
    let mut running = Vec::new();
    for (i, action) in status.actions.iter().enumerate() {
        let phases = action.phases.iter().enumerate().map(|(k, phase)| (k.to_string(), phase));
        let deferred = std::iter::once(("d".to_owned(), &action.defer_phase));
        let under_way = phases.chain(deferred).filter(|(_, phase)| phase.state == State::Running);
        running
            .extend(under_way.map(|(mark, phase)| (i.to_string(), mark, phase.attempt.max(1).to_string())));
    }
    running
}
