//! Who makes pods for Deployments and StatefulSets, played: there is no controller-manager here.

use crate::stage::Stage;
use crate::world::{OURS, object, until};
use cistern_functions::reference::selector;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value as Json, json};
use std::time::Duration;

/// How often the workloads are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The kinds that are played.
const KINDS: [&str; 2] = ["Deployment", "StatefulSet"];

/// Makes, counts and takes away the pods of the workloads of a namespace, until it is dropped.
pub struct Workloads(tokio::task::JoinHandle<()>);

impl Workloads {
    pub fn begin(stage: &Stage) -> Workloads {
        let (client, namespace) = (stage.world.client.clone(), stage.namespace.clone());
        Workloads(stage.world.runtime.spawn(async move {
            loop {
                for kind in KINDS {
                    // Whatever was refused is seen again at the next look.
                    let _ = look(&client, &namespace, kind).await;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }))
    }
}

impl Drop for Workloads {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A container of an application, which runs until it is told to end.
pub fn sleeper(name: &str) -> Json {
    let command = ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"];
    json!({ "name": name, "image": format!("{OURS}app"), "command": command })
}

/// A workload with this pod; each pod of a StatefulSet gets a claim for each name in `claims`.
pub async fn workload(stage: &Stage, kind: &str, name: &str, replicas: u32, pod: Json, claims: &[&str]) {
    let labels = json!({ "app": name });
    let mut spec = json!({
        "replicas": replicas, "selector": { "matchLabels": labels },
        "template": { "metadata": { "labels": labels }, "spec": pod },
    });
    if kind == "StatefulSet" {
        spec["serviceName"] = name.into();
        let template = |claim: &&str| {
            let asked = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } });
            json!({ "metadata": { "name": claim }, "spec": asked })
        };
        spec["volumeClaimTemplates"] = claims.iter().map(template).collect();
    }
    let set = json!({ "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": name }, "spec": spec });
    stage.apply(&set.to_string()).await;
}

/// Waits until so many pods of a workload are ready.
pub async fn ready(stage: &Stage, kind: &str, name: &str, wanted: u64) {
    let api = sets(&stage.world.client, &stage.namespace, kind);
    until(&format!("{kind} {name} has {wanted} pods"), async || {
        let status = api.get(name).await.ok()?.data["status"].clone();
        (status["readyReplicas"].as_u64().unwrap_or(0) == wanted).then_some(())
    })
    .await;
}

fn sets(client: &Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("apps", "v1", kind);
    Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk(&kind))
}

fn core(client: &Client, namespace: &str, kind: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("", "v1", kind);
    Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk(&kind))
}

async fn look(client: &Client, namespace: &str, kind: &str) -> kube::Result<()> {
    let sets = sets(client, namespace, kind);
    for set in sets.list(&ListParams::default()).await?.items {
        tend(client, namespace, &sets, &set).await?;
    }
    Ok(())
}

async fn tend(
    client: &Client,
    namespace: &str,
    sets: &Api<DynamicObject>,
    set: &DynamicObject,
) -> kube::Result<()> {
    let pods = core(client, namespace, "Pod");
    let wanted = set.data["spec"]["replicas"].as_u64().unwrap_or(1);
    let names: Vec<String> = (0..wanted).map(|i| format!("{}-{i}", set.name_any())).collect();
    let labels = selector(&set.data["spec"]["selector"]).expect("every workload here has one");
    let there = pods.list(&ListParams::default().labels(&labels)).await?.items;
    let stays = |pod: &&DynamicObject| pod.metadata.deletion_timestamp.is_none();
    for pod in there.iter().filter(stays).filter(|pod| !names.contains(&pod.name_any())) {
        pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(5)).await?;
    }
    for name in names.iter().filter(|name| there.iter().all(|pod| pod.name_any() != **name)) {
        let pod = pod(client, namespace, set, name).await?;
        pods.create(&PostParams::default(), &pod).await?;
    }
    let running = |pod: &&DynamicObject| pod.data["status"]["phase"] == "Running";
    let ready = there.iter().filter(stays).filter(running).count();
    let status = json!({
        "observedGeneration": set.metadata.generation, "replicas": there.len(), "readyReplicas": ready,
        "updatedReplicas": ready, "availableReplicas": ready,
    });
    let told = &set.data["status"];
    let news = ["observedGeneration", "replicas", "readyReplicas"]
        .iter()
        .any(|field| told[*field].as_u64().unwrap_or(0) != status[*field].as_u64().unwrap_or(0));
    if news {
        let patch = Patch::Merge(json!({ "status": status }));
        sets.patch_status(&set.name_any(), &PatchParams::default(), &patch).await?;
    }
    Ok(())
}

/// A pod of the workload, with its claims made.
async fn pod(
    client: &Client,
    namespace: &str,
    set: &DynamicObject,
    name: &str,
) -> kube::Result<DynamicObject> {
    let template = &set.data["spec"]["template"];
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": template["metadata"]["labels"] }, "spec": template["spec"],
    });
    for claim in set.data["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten() {
        let volume = claim["metadata"]["name"].as_str().unwrap();
        let claim_name = format!("{volume}-{name}");
        let made = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": claim_name },
            "spec": claim["spec"],
        });
        let claims = core(client, namespace, "PersistentVolumeClaim");
        match claims.create(&PostParams::default(), &object(made)).await {
            // The claim of a pod that was there before.
            Err(kube::Error::Api(refusal)) if refusal.code == 409 => {}
            other => drop(other?),
        }
        let mounted = json!({ "name": volume, "persistentVolumeClaim": { "claimName": claim_name } });
        match pod["spec"]["volumes"].as_array_mut() {
            Some(volumes) => volumes.push(mounted),
            None => pod["spec"]["volumes"] = json!([mounted]),
        }
    }
    Ok(object(pod))
}
