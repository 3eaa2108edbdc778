//! Functions that run commands in pods of their own: KubeTask, PrepareData, MultiContainerRun.

use crate::outputs::Heard;
use crate::patience::ask;
use crate::pod::{self, CONTAINER, Wish};
use crate::ports::{Cluster, Refusal};
use crate::reference::of_kind;
use crate::run::run;
use crate::setting::Setting;
use cistern_action::machine::Call;
use cistern_api::{Object, args};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct TaskArgs {
    image: String,
    command: Vec<String>,
    #[serde(default)]
    namespace: String,
}

/// KubeTask: one command in one pod.
pub(crate) async fn kube_task(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    let args: TaskArgs = args::decode(&call.args).map_err(|e| e.to_string())?;
    let wish = Wish {
        prefix: "kanister-job-",
        namespace: args.namespace,
        containers: vec![pod::container(CONTAINER, &args.image, &args.command)],
        ..Wish::default()
    };
    run(cluster, setting, call, &pod::manifest(call, setting, wish)?).await?.outputs()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PrepareArgs {
    namespace: String,
    image: String,
    command: Vec<String>,
    #[serde(default)]
    volumes: BTreeMap<String, String>,
    #[serde(default)]
    serviceaccount: String,
    #[serde(default)]
    fail_on_error: bool,
}

/// PrepareData: one command in one pod, with volumes. Only with `failOnError` does it fail with its command.
pub(crate) async fn prepare_data(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    let args: PrepareArgs = args::decode(&call.args).map_err(|e| e.to_string())?;
    let claims = if args.volumes.is_empty() { own_claims(call)? } else { args.volumes };
    let (volumes, mounts) = volumes(cluster, &args.namespace, &claims).await?;
    let wish = Wish {
        prefix: "prepare-data-job-",
        namespace: args.namespace,
        containers: vec![pod::container(CONTAINER, &args.image, &args.command)],
        volumes,
        mounts,
        service_account: Some(args.serviceaccount).filter(|account| !account.is_empty()),
        ..Wish::default()
    };
    let ended = run(cluster, setting, call, &pod::manifest(call, setting, wish)?).await?;
    if args.fail_on_error || ended.failure.is_none() {
        return ended.outputs();
    }
    let Heard { outputs, .. } = ended.heard;
    outputs
}

/// The claims of the workload the action runs on, and where a pod gets them.
fn own_claims(call: &Call) -> Result<BTreeMap<String, String>, String> {
    let workload = call.material.workload.as_ref();
    let names = workload.into_iter().flat_map(|w| w.volumes.values()).flat_map(BTreeMap::keys);
    let claims: BTreeMap<_, _> =
        names.map(|name| (name.clone(), format!("/mnt/prepare_data/{name}"))).collect();
    if claims.is_empty() {
        return Err("the action's object has no volumes of its own: name them in `volumes`".to_owned());
    }
    Ok(claims)
}

/// Volumes and mounts of claims, which must be there.
pub(crate) async fn volumes(
    cluster: &dyn Cluster,
    namespace: &str,
    claims: &BTreeMap<String, String>,
) -> Result<(Vec<Json>, Vec<Json>), String> {
    let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
    for (i, (claim, path)) in claims.iter().enumerate() {
        let at = of_kind("pvc", namespace, claim);
        let found = ask(|| cluster.get(&at)).await;
        let found = found.map_err(|e: Refusal| format!("the volume {claim}: {e}"))?;
        let modes = found["spec"]["accessModes"].as_array().cloned().unwrap_or_default();
        let read_only = modes == [Json::from("ReadOnlyMany")];
        let name = format!("vol-{i}");
        volumes.push(
            json!({ "name": name, "persistentVolumeClaim": { "claimName": claim, "readOnly": read_only } }),
        );
        mounts.push(json!({ "name": name, "mountPath": path, "readOnly": read_only }));
    }
    Ok((volumes, mounts))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PairArgs {
    background_image: String,
    background_command: Vec<String>,
    output_image: String,
    output_command: Vec<String>,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    init_image: String,
    #[serde(default)]
    init_command: Vec<String>,
    #[serde(default)]
    shared_volume_medium: String,
    #[serde(default)]
    shared_volume_size_limit: String,
    #[serde(default)]
    shared_volume_dir: String,
}

/// MultiContainerRun: two commands that share a directory; the outputs are those of the second.
pub(crate) async fn multi_container_run(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    let args: PairArgs = args::decode(&call.args).map_err(|e| e.to_string())?;
    let directory = if args.shared_volume_dir.is_empty() { "/tmp/" } else { &args.shared_volume_dir };
    let mut init = Vec::new();
    if !args.init_image.is_empty() {
        init.push(pod::container("init", &args.init_image, &args.init_command));
    }
    let mut shared = json!({ "name": "shared", "emptyDir": {} });
    if !args.shared_volume_medium.is_empty() {
        shared["emptyDir"]["medium"] = args.shared_volume_medium.into();
    }
    if !args.shared_volume_size_limit.is_empty() {
        shared["emptyDir"]["sizeLimit"] = args.shared_volume_size_limit.into();
    }
    let wish = Wish {
        prefix: "kanister-job-",
        namespace: args.namespace,
        containers: vec![
            pod::container("output", &args.output_image, &args.output_command),
            pod::container("background", &args.background_image, &args.background_command),
        ],
        init,
        volumes: vec![shared],
        mounts: vec![json!({ "name": "shared", "mountPath": directory })],
        ..Wish::default()
    };
    run(cluster, setting, call, &pod::manifest(call, setting, wish)?).await?.outputs()
}
