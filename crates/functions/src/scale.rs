//! ScaleWorkload: how many pods a workload has.
//!
//! The number it had before is an output, and must survive a controller that dies after it has scaled. So it
//! is noted on the workload in the same write.

use crate::patience::{Looks, ask};
use crate::ports::{Cluster, Patch, Refusal, Why};
use crate::reference::{of_kind, selector, words};
use crate::setting::Setting;
use cistern_action::machine::Call;
use cistern_action::params::WorkloadKind;
use cistern_api::{Object, ObjectReference, args};
use serde_json::{Value as Json, json};

/// Annotation of a workload: the call that scaled it last, and how many replicas it had before.
const SCALED: &str = "cistern.dev/scaled";
/// How often a workload may change under our hands before we give up.
const TRIES: usize = 10;

/// ScaleWorkload.
pub(crate) async fn scale_workload(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    let wrong = |e: args::ArgsError| e.to_string();
    let replicas: i64 = args::argument(&call.args, "replicas").map_err(wrong)?.ok_or("it has no replicas")?;
    if replicas < 0 {
        return Err(format!("replicas is {replicas}; it cannot be less than 0"));
    }
    let wait: bool = args::argument(&call.args, "waitForReady").map_err(wrong)?.unwrap_or(true);
    let at = target(call)?;
    let before = scale(cluster, &at, &setting.trace(call.id), replicas).await?;
    if wait {
        let limit = setting.limits.scale;
        let mut looks = Looks::new(limit, setting.limits.look_every);
        while !ready(cluster, &at, replicas).await? {
            if !looks.again().await {
                let minutes = limit.as_secs() / 60;
                let what = words(&at);
                return Err(format!("{what} did not come to {replicas} ready pods within {minutes} minutes"));
            }
        }
    }
    Ok(Object::from_iter([("originalReplicaCount".to_owned(), before.into())]))
}

/// The workload that is named, or the one the action runs on.
fn target(call: &Call) -> Result<ObjectReference, String> {
    let named = |name: &str| {
        args::argument::<String>(&call.args, name).map(Option::unwrap_or_default).map_err(|e| e.to_string())
    };
    let (kind, namespace, name) = (named("kind")?, named("namespace")?, named("name")?);
    let own = call.material.workload.as_ref();
    let or = |given: String, own: Option<&str>| {
        if given.is_empty() { own.unwrap_or_default().to_owned() } else { given }
    };
    let kind = or(
        kind,
        own.map(|w| match w.kind {
            WorkloadKind::StatefulSet => "statefulset",
            WorkloadKind::Deployment => "deployment",
            WorkloadKind::DeploymentConfig => "deploymentconfig",
        }),
    );
    let namespace = or(namespace, own.map(|w| w.namespace.as_str()));
    let name = or(name, own.map(|w| w.name.as_str()));
    if WorkloadKind::of(&kind).is_none() || namespace.is_empty() || name.is_empty() {
        return Err("the action's object is no workload: name kind (statefulset, deployment or \
                    deploymentconfig), namespace and name"
            .to_owned());
    }
    Ok(of_kind(&kind, &namespace, &name))
}

/// Scales, unless this call has done so before; how many replicas there were.
async fn scale(
    cluster: &dyn Cluster,
    at: &ObjectReference,
    trace: &str,
    replicas: i64,
) -> Result<i64, String> {
    let refused = |refusal: Refusal| format!("{} {refusal}", words(at));
    for _ in 0..TRIES {
        let there = ask(|| cluster.get(at)).await.map_err(refused)?;
        let noted = there["metadata"]["annotations"][SCALED].as_str().and_then(|note| note.split_once(' '));
        if let Some((_, before)) = noted.filter(|(who, _)| *who == trace) {
            return before
                .parse()
                .map_err(|_| format!("the annotation {SCALED} of {} was changed", words(at)));
        }
        let before = there["spec"]["replicas"].as_i64().unwrap_or(1);
        let patch = json!({
            "metadata": {
                // Refused if somebody else has scaled it since.
                "resourceVersion": there["metadata"]["resourceVersion"],
                "annotations": { SCALED: format!("{trace} {before}") },
            },
            "spec": { "replicas": replicas },
        });
        match ask(|| cluster.patch(at, Patch::Merge, &patch)).await {
            Ok(_) => return Ok(before),
            // Also where our own write landed and its answer was lost: the note tells.
            Err(refusal) if refusal.why == Why::Conflict => {}
            Err(refusal) => return Err(refused(refusal)),
        }
    }
    Err(format!("{} was changed by others {TRIES} times while it was to be scaled", words(at)))
}

/// Whether the workload has come to that many pods.
async fn ready(cluster: &dyn Cluster, at: &ObjectReference, wanted: i64) -> Result<bool, String> {
    let refused = |refusal: Refusal| format!("{} {refusal}", words(at));
    let there = ask(|| cluster.get(at)).await.map_err(refused)?;
    let status = &there["status"];
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    let generation = there["metadata"]["generation"].as_i64().unwrap_or(0);
    let counted = match at.resource.as_str() {
        "statefulsets" => count("readyReplicas") == wanted,
        _ => ["readyReplicas", "updatedReplicas", "availableReplicas"].iter().all(|f| count(f) == wanted),
    };
    if count("observedGeneration") < generation || !counted {
        return Ok(false);
    }
    let Some(selector) = selector(&there["spec"]["selector"]) else { return Ok(true) };
    let pods = of_kind("pod", &at.namespace, "");
    let pods = ask(|| cluster.list(&pods, &selector)).await.map_err(refused)?;
    let running = |pod: &&Json| pod["status"]["phase"] == "Running";
    Ok(i64::try_from(pods.iter().filter(running).count()) == Ok(wanted))
}
