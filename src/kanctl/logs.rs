//! `kanctl logs`: what the pods of an ActionSet print; of those that are gone, what its status kept.

use super::cluster::{Session, refused};
use super::wait::{self, harmless_lines};
use crate::failure::Failure;
use crate::show;
use cistern_api::{ActionSet, State};
use cistern_functions::pod;
use cistern_functions::ports::{Inside, Refusal, Why};
use cistern_functions::reference::of_kind;
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// A log that is silent for so long is taken for read, where it is not followed.
const SILENCE: Duration = Duration::from_secs(2);
/// Between two looks for pods that have begun.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// The ActionSet
    name: String,
    /// Go on until it has ended
    #[arg(long, short)]
    follow: bool,
    /// Only of this phase
    #[arg(long, value_name = "NAME")]
    phase: Option<String>,
}

/// Prints logs.
pub async fn run(args: &Args, session: &Session) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    loop {
        ticks.tick().await;
        let set = session.action_set(&args.name).await?;
        let state = set.status.as_ref().map(|status| status.state).unwrap_or_default();
        let ended = matches!(state, State::Complete | State::Failed);
        let found = containers(session, &set).await?;
        for container in found.iter().filter(|found| args.phase.as_ref().is_none_or(|p| *p == found.phase)) {
            if seen.insert((container.pod.clone(), container.name.clone())) {
                print(session, container, args.follow).await?;
            }
        }
        if ended && seen.is_empty() {
            return kept(&set, args.phase.as_deref());
        }
        if ended || !args.follow {
            if seen.is_empty() {
                show::complain(&format!("no pod of the ActionSet {} is there now", args.name));
            }
            return Ok(());
        }
    }
}

/// A container whose log there is.
#[derive(Debug, PartialEq)]
struct Container {
    phase: String,
    namespace: String,
    pod: String,
    name: String,
}

/// The containers of the ActionSet's pods that have begun, in the order in which their pods were made.
async fn containers(session: &Session, set: &ActionSet) -> Result<Vec<Container>, Failure> {
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let selector = format!("{}={uid}", pod::ACTION_SET_UID);
    let mut pods = pods(session, &selector).await?;
    pods.sort_by_key(|pod| text(&pod["metadata"]["creationTimestamp"]));
    Ok(pods.iter().flat_map(|pod| begun(pod, set)).collect())
}

async fn pods(session: &Session, selector: &str) -> Result<Vec<Json>, Failure> {
    let everywhere = of_kind("pod", "", "");
    let found = match session.cluster.list(&everywhere, selector).await {
        // Who may not look everywhere looks where the ActionSet is.
        Err(refusal) if refusal.why == Why::Denied => {
            session.cluster.list(&of_kind("pod", &session.namespace, ""), selector).await
        }
        found => found,
    };
    found.map_err(|refusal| refused("list", &of_kind("pod", &session.namespace, ""), &refusal))
}

fn begun(pod: &Json, set: &ActionSet) -> Vec<Container> {
    let statuses = ["initContainerStatuses", "containerStatuses"];
    let all = statuses.iter().flat_map(|field| pod["status"][field].as_array().into_iter().flatten());
    let begun = all.filter(|c| !c["state"]["running"].is_null() || !c["state"]["terminated"].is_null());
    begun
        .map(|container| Container {
            phase: phase_of(pod, set),
            namespace: text(&pod["metadata"]["namespace"]),
            pod: text(&pod["metadata"]["name"]),
            name: text(&container["name"]),
        })
        .collect()
}

/// The name of the phase that a pod belongs to, or its mark where the status does not know it.
fn phase_of(pod: &Json, set: &ActionSet) -> String {
    let label = |name: &str| text(&pod["metadata"]["labels"][name]);
    let (action, mark) = (label(pod::ACTION), label(pod::PHASE));
    let actions = set.status.as_ref().map_or(&[][..], |status| &status.actions);
    let action = action.parse::<usize>().ok().and_then(|index| actions.get(index));
    let phase = action.and_then(|action| match mark.parse::<usize>() {
        Ok(index) => action.phases.get(index),
        Err(_) => Some(&action.defer_phase),
    });
    phase.map_or(mark, |phase| phase.name.clone())
}

fn text(value: &Json) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Prints the log of one container: to its end, or what there is now.
async fn print(session: &Session, container: &Container, follow: bool) -> Result<(), Failure> {
    let Container { phase, namespace, pod, name } = container;
    show::complain(&show::harmless(&format!("==> phase {phase}: pod {namespace}/{pod}, container {name}")));
    let inside = Inside { namespace, pod, container: name };
    let pieces = AtomicU64::new(0);
    let broken = Mutex::new(None);
    let mut sink = |piece: &[u8]| {
        pieces.fetch_add(1, Ordering::Relaxed);
        // This waits for a slow reader, and the cluster with it: nothing piles up.
        if let Err(failure) = show::raw(piece) {
            broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        }
    };
    let done = || broken.lock().unwrap_or_else(PoisonError::into_inner).take();
    let reading = session.cluster.follow_log(&inside, &mut sink);
    match until_silent(reading, &pieces, follow, done).await? {
        Some(Err(refusal)) if refusal.why != Why::Absent => {
            Err(refused("read the log of", &of_kind("pod", namespace, pod), &refusal))
        }
        _ => Ok(()),
    }
}

/// Reads to the end. `None`: it went silent, and is not followed.
///
/// # Errors
/// What was read could not be printed.
async fn until_silent(
    reading: impl Future<Output = Result<(), Refusal>>,
    pieces: &AtomicU64,
    follow: bool,
    mut broken: impl FnMut() -> Option<Failure>,
) -> Result<Option<Result<(), Refusal>>, Failure> {
    tokio::pin!(reading);
    let mut before = pieces.load(Ordering::Relaxed);
    loop {
        let ended = timeout(SILENCE, &mut reading).await;
        if let Some(failure) = broken() {
            return Err(failure);
        }
        if let Ok(ended) = ended {
            return Ok(Some(ended));
        }
        let now = pieces.load(Ordering::Relaxed);
        if !follow && now == before {
            return Ok(None);
        }
        before = now;
    }
}

/// What the status kept of pods that are gone.
fn kept(set: &ActionSet, phase: Option<&str>) -> Result<(), Failure> {
    show::complain("its pods are gone; this is what the status kept:");
    let status = set.status.clone().unwrap_or_default();
    for (_, found) in wait::phases(&status).filter(|(_, found)| phase.is_none_or(|p| p == found.name)) {
        show::complain(&show::harmless(&format!("==> phase {}: {}", found.name, found.state)));
        for (key, value) in &found.output {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            show::line(&show::harmless(&format!("{key}: {value}")))?;
        }
    }
    if status.error.message.is_empty() { Ok(()) } else { show::line(&harmless_lines(&status.error.message)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test that unwraps says where it failed")]

    use super::*;
    use crate::kanctl::cluster::tests::paper;
    use serde_json::json;

    fn set() -> ActionSet {
        serde_json::from_value(json!({
            "metadata": {"name": "b1", "namespace": "kanister", "uid": "u1"},
            "status": {"state": "running", "actions": [{"name": "backup",
                "phases": [{"name": "dump"}, {"name": "check"}], "deferPhase": {"name": "clean"}}]},
        }))
        .unwrap()
    }

    fn pod(name: &str, uid: &str, phase: &str, state: &Json) -> Json {
        json!({
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "app",
                "labels": {pod::ACTION_SET_UID: uid, pod::ACTION: "0", pod::PHASE: phase}},
            "spec": {"containers": [{"name": "container"}]},
            "status": {"containerStatuses": [{"name": "container", "state": state}]},
        })
    }

    #[tokio::test]
    async fn containers_that_have_begun_are_found_with_their_phase() {
        let (cluster, session) = paper();
        for (name, uid, phase, state) in [
            ("a", "u1", "1", "running"),
            ("b", "u1", "0", "terminated"),
            ("c", "u1", "d", "running"),
            ("d", "u1", "7", "running"),
            ("e", "u1", "0", "waiting"),
            ("f", "u2", "0", "running"),
        ] {
            cluster.add(pod(name, uid, phase, &json!({state: {}})));
        }
        let found = containers(&session, &set()).await.unwrap();
        let found: Vec<(&str, &str)> = found.iter().map(|c| (c.pod.as_str(), c.phase.as_str())).collect();
        assert_eq!(found, [("a", "check"), ("b", "dump"), ("c", "clean"), ("d", "7")]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_goes_silent_is_left_unless_it_is_followed() {
        let pieces = AtomicU64::new(0);
        let fine = || None;
        let silent = until_silent(std::future::pending(), &pieces, false, fine).await.unwrap();
        assert_eq!(silent, None);
        let followed = until_silent(std::future::pending(), &pieces, true, fine);
        assert!(timeout(SILENCE * 100, followed).await.is_err(), "it goes on");
        let talks = async {
            for _ in 0..10 {
                pieces.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(SILENCE - Duration::from_millis(100)).await;
            }
            Ok(())
        };
        assert_eq!(until_silent(talks, &pieces, false, fine).await.unwrap(), Some(Ok(())));
        let closed = || Some(Failure::other("the reader closed the pipe"));
        assert!(until_silent(std::future::pending(), &pieces, true, closed).await.is_err());
    }
}
