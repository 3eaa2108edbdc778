//! Pods whose outcome has been recorded, taken away: after each record, and all that a controller left behind
//! that died before it came to that.

use crate::objects::Objects;
use cistern_action::machine::CallId;
use cistern_api::{ActionSetStatus, State};
use cistern_functions::patience::ask;
use cistern_functions::pod;
use cistern_functions::ports::Refusal;
use cistern_functions::reference::of_kind;
use cistern_functions::run;
use cistern_functions::setting::phase_mark;
use serde_json::Value as Json;
use std::collections::BTreeSet;

/// A phase as its pods are labelled: uid, action, phase.
type Mark = (String, String, String);

/// Takes away the pods of a call whose end is in the status.
pub(crate) async fn remove(objects: &Objects, uid: &str, call: CallId) -> Result<(), Refusal> {
    let (action, phase) = (call.action, phase_mark(call.phase));
    let selector = format!("{}={uid},{}={action},{}={phase}", pod::ACTION_SET_UID, pod::ACTION, pod::PHASE);
    for found in pods(objects, &selector).await? {
        take_away(objects, &found).await?;
    }
    Ok(())
}

/// Takes away every pod of ours whose phase is not running any more, or whose ActionSet is gone.
pub(crate) async fn sweep(objects: &Objects, watched: &str) -> Result<(), Refusal> {
    let mut selector = format!("{}={},{}", pod::CREATED_BY.0, pod::CREATED_BY.1, pod::ACTION_SET_UID);
    if !watched.is_empty() {
        // Other controllers may look after other namespaces.
        selector = format!("{selector},{}={watched}", pod::ACTION_SET_NAMESPACE);
    }
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
            status.into_iter().flat_map(running).map(|(action, phase)| (held.uid().to_owned(), action, phase))
        })
        .collect();
    for pod in found.iter().filter(|pod| !running.contains(&mark(pod))) {
        take_away(objects, pod).await?;
    }
    Ok(())
}

async fn pods(objects: &Objects, selector: &str) -> Result<Vec<Json>, Refusal> {
    let anywhere = of_kind("pod", "", "");
    ask(|| objects.cluster.list(&anywhere, selector)).await
}

async fn take_away(objects: &Objects, pod: &Json) -> Result<(), Refusal> {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
    run::remove(&*objects.cluster, &of_kind("pod", text("namespace"), text("name"))).await
}

fn mark(pod: &Json) -> Mark {
    let label = |name: &str| pod["metadata"]["labels"][name].as_str().unwrap_or_default().to_owned();
    (label(pod::ACTION_SET_UID), label(pod::ACTION), label(pod::PHASE))
}

/// The phases of a status that are running.
fn running(status: &ActionSetStatus) -> Vec<(String, String)> {
    let mut running = Vec::new();
    for (i, action) in status.actions.iter().enumerate() {
        let phases = action.phases.iter().enumerate().map(|(k, phase)| (k.to_string(), phase));
        let deferred = std::iter::once(("d".to_owned(), &action.defer_phase));
        let under_way = phases.chain(deferred).filter(|(_, phase)| phase.state == State::Running);
        running.extend(under_way.map(|(mark, _)| (i.to_string(), mark)));
    }
    running
}
