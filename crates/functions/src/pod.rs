//! The pods that functions create, as JSON: pure, from arguments to a manifest.
//!
//! # Guarantees
//! * The name follows from ActionSet, action and phase: whoever makes the same call finds the same pod.
//! * A pod carries a finalizer until its outcome has been recorded. So a pod that is not there has never
//!   been created, and a call that is made again cannot run twice.

use crate::profile::push;
use crate::setting::{Setting, phase_mark};
use crate::{mover, profile, strategic};
use cistern_action::machine::{Call, PhaseId};
use cistern_api::args;
use cistern_api::wire::{CHANNEL, CHANNEL_BYTES, share_bytes};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// Label of everything Kanister creates, and its value.
pub const CREATED_BY: (&str, &str) = ("createdBy", "kanister");
/// Label with the uid of the ActionSet a pod belongs to.
pub const ACTION_SET_UID: &str = "cistern.dev/action-set-uid";
/// Label with the namespace of that ActionSet.
pub const ACTION_SET_NAMESPACE: &str = "cistern.dev/action-set-namespace";
/// Label with the action's place in the ActionSet's spec.
pub const ACTION: &str = "cistern.dev/action";
/// Label with the phase's place in the action; `d` for the deferred one.
pub const PHASE: &str = "cistern.dev/phase";
/// Label with the number of the attempt at the phase, from 1.
pub const ATTEMPT: &str = "cistern.dev/attempt";
/// Label of an ActionSet that its KubeTask pods inherit.
pub const JOB_ID: &str = "kanister.io/JobID";
/// Keeps a pod until its outcome has been recorded.
pub const FINALIZER: &str = "cistern.dev/outcome-not-recorded";
/// The container of a pod that has one.
pub const CONTAINER: &str = "container";

/// Where Kubernetes has a container leave its termination message if nothing else is said.
const MESSAGE_PATH: &str = "/dev/termination-log";
/// So many containers others may add to a pod (a service mesh adds two), and take their share of its messages.
const FOREIGN_CONTAINERS: usize = 2;
/// What [`mover::ANNOTATION`] says where the program is not wanted.
const OFF: &str = "off";

/// What a function wants of its pod.
#[derive(Debug, Default)]
pub struct Wish {
    /// What the name begins with; Kanister's own.
    pub prefix: &'static str,
    /// Where the pod goes; empty is the controller's namespace.
    pub namespace: String,
    /// Its containers, the one whose output counts first.
    pub containers: Vec<Json>,
    /// Containers that run before.
    pub init: Vec<Json>,
    /// Its volumes.
    pub volumes: Vec<Json>,
    /// Where its containers have them, each the same.
    pub mounts: Vec<Json>,
    /// The service account a blueprint asks for.
    pub service_account: Option<String>,
    /// What tells several pods of one call apart.
    pub suffix: String,
}

impl Wish {
    /// The name of the pod.
    pub fn name(&self, call: &Call, setting: &Setting) -> String {
        format!("{}{}{}", self.prefix, setting.attempt_trace(call.id), self.suffix)
    }
}

/// A container as functions want it.
pub fn container(name: &str, image: &str, command: &[String]) -> Json {
    json!({ "name": name, "image": image, "command": command, "imagePullPolicy": "IfNotPresent" })
}

/// The manifest of the pod.
///
/// # Errors
/// Labels, annotations or an override are not what they should be.
pub fn manifest(call: &Call, setting: &Setting, wish: Wish) -> Result<Json, String> {
    let namespace =
        if wish.namespace.is_empty() { setting.namespace.clone() } else { wish.namespace.clone() };
    let first = wish.containers.first().and_then(|c| c["name"].as_str()).unwrap_or_default().to_owned();
    let name = wish.name(call, setting);
    let annotations = annotations(call, setting, &first)?;
    let mut spec = spec(setting, &wish, &namespace);
    let wanted = annotations.get(mover::ANNOTATION).is_none_or(|word| word != OFF);
    if let Some(image) = setting.mover_image.as_ref().filter(|_| wanted) {
        mover::inject(&mut spec, image);
    }
    if setting.restricted {
        restrict(&mut spec);
    }
    for (whose, patch) in overrides(call, &wish)? {
        strategic::merge(&mut spec, &patch).map_err(|e| format!("the podOverride of the {whose}: {e}"))?;
    }
    move_to_front(&mut spec, &first);
    give_channel(&mut spec);
    profile::mount(&mut spec, &name);
    let mut metadata = json!({
        "name": name,
        "namespace": namespace,
        "labels": labels(call, setting)?,
        "annotations": annotations,
        "finalizers": [FINALIZER],
    });
    // An owner in another namespace would be taken for one that is gone.
    if setting.order.namespace == namespace {
        metadata["ownerReferences"] = json!([{
            "apiVersion": cistern_api::resource::API_VERSION, "kind": "ActionSet",
            "name": setting.order.name, "uid": setting.order.uid,
        }]);
    }
    Ok(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec }))
}

fn spec(setting: &Setting, wish: &Wish, namespace: &str) -> Json {
    let mut spec = json!({ "restartPolicy": "Never", "containers": wish.containers });
    let at_home = setting.service_account.as_ref().filter(|_| namespace == setting.namespace);
    let account = wish.service_account.as_ref().or(at_home);
    if let Some(account) = account {
        spec["serviceAccountName"] = account.clone().into();
    }
    if !wish.init.is_empty() {
        spec["initContainers"] = wish.init.clone().into();
    }
    if !wish.volumes.is_empty() {
        spec["volumes"] = wish.volumes.clone().into();
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Json::as_array_mut).into_iter().flatten() {
                container["volumeMounts"] = wish.mounts.clone().into();
            }
        }
    }
    if setting.restricted && account.is_none() {
        spec["automountServiceAccountToken"] = false.into();
    }
    spec
}

/// Holds a pod's spec to Kubernetes' restricted profile (Pod Security Standards).
pub fn restrict(spec: &mut Json) {
    spec["securityContext"] = json!({ "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } });
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Json::as_array_mut).into_iter().flatten() {
            container["securityContext"] =
                json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } });
        }
    }
}

/// The blueprint's override, then the ActionSet's, which so wins. What the ActionSet says of the container
/// named `container` goes for every container of a pod that has none of that name.
fn overrides(call: &Call, wish: &Wish) -> Result<Vec<(&'static str, Json)>, String> {
    if !call.function.overrides_pod() {
        return Ok(Vec::new());
    }
    let own = call.args.get("podOverride").filter(|value| !value.is_null()).cloned();
    if own.as_ref().is_some_and(|value| !value.is_object()) {
        return Err("podOverride must be a map: the fields of a pod's spec".to_owned());
    }
    let ordered = call.spec.pod_override.clone().map(|o| spread(Json::Object(o), wish));
    Ok([("blueprint", own), ("ActionSet", ordered)]
        .into_iter()
        .filter_map(|(whose, patch)| patch.map(|p| (whose, p)))
        .collect())
}

fn spread(mut patch: Json, wish: &Wish) -> Json {
    let names = |list: &[Json]| list.iter().filter_map(|c| c["name"].as_str()).map(str::to_owned).collect();
    let (running, init): (Vec<String>, Vec<String>) = (names(&wish.containers), names(&wish.init));
    if running.iter().any(|name| name == CONTAINER) {
        return patch;
    }
    let Some(listed) = patch.get_mut("containers").and_then(Json::as_array_mut) else { return patch };
    let Some(at) = listed.iter().position(|c| c["name"] == CONTAINER) else { return patch };
    let common = listed.remove(at);
    let named = |name: &String| {
        let mut own = common.clone();
        own["name"] = name.clone().into();
        own
    };
    let explicit: Vec<Json> = listed.iter().map(|c| c["name"].clone()).collect();
    listed.extend(running.iter().filter(|name| !explicit.iter().any(|e| e == *name)).map(named));
    if !init.is_empty() {
        if !patch["initContainers"].is_array() {
            patch["initContainers"] = json!([]);
        }
        let listed = patch["initContainers"].as_array_mut().expect("it was made one");
        let explicit: Vec<Json> = listed.iter().map(|c| c["name"].clone()).collect();
        listed.extend(init.iter().filter(|name| !explicit.iter().any(|e| e == *name)).map(named));
    }
    patch
}

fn move_to_front(spec: &mut Json, name: &str) {
    if let Some(containers) = spec["containers"].as_array_mut()
        && let Some(at) = containers.iter().position(|c| c["name"] == name)
    {
        let first = containers.remove(at);
        containers.insert(0, first);
    }
}

/// Names its termination message to the container whose outputs count, unless an override has done so.
fn give_channel(spec: &mut Json) {
    let count = |list: &str| spec[list].as_array().map_or(0, Vec::len);
    let bytes = share_bytes(count("containers") + count("initContainers") + FOREIGN_CONTAINERS);
    let first = &mut spec["containers"][0];
    let named = first["env"].as_array().into_iter().flatten().any(|variable| variable["name"] == CHANNEL);
    if named {
        return;
    }
    let path = first["terminationMessagePath"].as_str().filter(|path| !path.is_empty());
    let path = path.unwrap_or(MESSAGE_PATH).to_owned();
    push(&mut first["env"], json!({ "name": CHANNEL, "value": path }));
    push(&mut first["env"], json!({ "name": CHANNEL_BYTES, "value": bytes.to_string() }));
}

/// The ActionSet's, over them the blueprint's, over them what pods are found by.
fn labels(call: &Call, setting: &Setting) -> Result<BTreeMap<String, String>, String> {
    let mut labels = call.spec.pod_labels.clone();
    let own: Option<BTreeMap<String, String>> =
        args::argument(&call.args, "podLabels").map_err(|e| e.to_string())?;
    labels.extend(own.unwrap_or_default());
    if let Some(job) = setting.order.job_id.as_ref().filter(|_| call.function.name == "KubeTask") {
        labels.insert(JOB_ID.to_owned(), job.clone());
    }
    for (key, value) in [
        (CREATED_BY.0, CREATED_BY.1.to_owned()),
        (ACTION_SET_UID, setting.order.uid.clone()),
        (ACTION_SET_NAMESPACE, setting.order.namespace.clone()),
        (ACTION, call.id.action.to_string()),
        (PHASE, phase_mark(call.id.phase)),
        (ATTEMPT, setting.attempt.max(1).to_string()),
    ] {
        labels.insert(key.to_owned(), value);
    }
    Ok(labels)
}

fn annotations(call: &Call, setting: &Setting, first: &str) -> Result<BTreeMap<String, String>, String> {
    let mut annotations = call.spec.pod_annotations.clone();
    let own: Option<BTreeMap<String, String>> =
        args::argument(&call.args, "podAnnotations").map_err(|e| e.to_string())?;
    annotations.extend(own.unwrap_or_default());
    let phase = if call.id.phase == PhaseId::Deferred && call.phase.is_empty() {
        "deferPhase".to_owned()
    } else {
        call.phase.clone()
    };
    let about = format!("{}/{} {}/{phase}", setting.order.namespace, setting.order.name, call.action);
    annotations.insert("cistern.dev/made-for".to_owned(), about);
    annotations.insert("kubectl.kubernetes.io/default-container".to_owned(), first.to_owned());
    Ok(annotations)
}
