//! Functions that store directories and bring them back: BackupData, BackupDataAll, CopyVolumeData,
//! RestoreData, RestoreDataAll.

use crate::exec::exec;
use crate::pod::Wish;
use crate::ports::{Cluster, Inside};
use crate::setting::Setting;
use crate::task::volumes;
use crate::volume::{command, either, in_pod, path, snapshot, versioned};
use cistern_action::machine::Call;
use cistern_action::params::Workload;
use cistern_api::{Object, args};
use futures::{FutureExt as _, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// Pods of a workload that are backed up or restored at the same time.
const AT_ONCE: usize = 8;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BackupArgs {
    namespace: String,
    #[serde(default)]
    pod: String,
    #[serde(default)]
    pods: String,
    container: String,
    include_path: String,
    backup_artifact_prefix: String,
}

/// BackupData: a directory of a container, as it sees it. The container needs `kando` and `tar`.
pub(crate) async fn backup_data(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    let args: BackupArgs = args::decode(&call.args).map_err(|e| e.to_string())?;
    let path = path(call, &args.backup_artifact_prefix)?;
    let outputs = backup(call, setting, cluster, &args, &args.pod, &path).await?;
    Ok(versioned(outputs))
}

async fn backup(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
    args: &BackupArgs,
    pod: &str,
    path: &str,
) -> Result<Object, String> {
    let inside = Inside { namespace: &args.namespace, pod, container: &args.container };
    let words = command("push", path, &["--", &args.include_path]);
    exec(cluster, call, &setting.trace(call.id), inside, &words).await
}

/// What BackupDataAll puts out of each pod, by the pod's name. The keys are Kanister's.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PodBackup {
    pod_name: String,
    #[serde(rename = "BackupID")]
    pub(crate) backup_id: String,
    backup_tag: String,
}

/// BackupDataAll: the same in each pod of a workload.
pub(crate) async fn backup_data_all(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    let args: BackupArgs = args::decode(&call.args).map_err(|e| e.to_string())?;
    let prefix = path(call, &args.backup_artifact_prefix)?;
    let args = &args;
    let backups = pods(call, &args.pods)?.into_iter().map(|pod| {
        let path = format!("{prefix}/{pod}");
        async move {
            let outputs = backup(call, setting, cluster, args, &pod, &path).await;
            (pod, outputs)
        }
        .boxed()
    });
    let mut info = BTreeMap::new();
    for (pod, outputs) in each(backups).await? {
        let text = |key: &str| outputs[key].as_str().unwrap_or_default().to_owned();
        let (backup_id, backup_tag) = (text("backupID"), text("backupTag"));
        info.insert(pod.clone(), PodBackup { pod_name: pod, backup_id, backup_tag });
    }
    let info = serde_json::to_string(&info).map_err(|e| e.to_string())?;
    Ok(versioned(Object::from_iter([("BackupAllInfo".to_owned(), info.into())])))
}

/// All outcomes, or every reason why one is missing.
async fn each(
    runs: impl Iterator<Item = futures::future::BoxFuture<'_, (String, Result<Object, String>)>>,
) -> Result<Vec<(String, Object)>, String> {
    let runs: Vec<_> = runs.collect();
    let ends: Vec<_> = futures::stream::iter(runs).buffered(AT_ONCE).collect().await;
    let (mut outcomes, mut reasons) = (Vec::new(), Vec::new());
    for (pod, end) in ends {
        match end {
            Ok(outputs) => outcomes.push((pod, outputs)),
            Err(reason) => reasons.push(reason),
        }
    }
    if reasons.is_empty() { Ok(outcomes) } else { Err(reasons.join("\n")) }
}

/// The pods that are named, or those of the workload the action runs on.
fn pods(call: &Call, named: &str) -> Result<Vec<String>, String> {
    let mut pods: BTreeSet<String> = named.split_whitespace().map(str::to_owned).collect();
    if pods.is_empty() {
        let own = call.material.workload.iter();
        pods = own.flat_map(|w| w.pods.iter().chain(w.volumes.keys())).cloned().collect();
    }
    if pods.is_empty() {
        return Err("the action's object has no pods that run: name them in `pods`".to_owned());
    }
    Ok(pods.into_iter().collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CopyArgs {
    namespace: String,
    volume: String,
    data_artifact_prefix: String,
    #[serde(default)]
    image: String,
    #[serde(default)]
    mount_path: String,
}

/// CopyVolumeData: a volume, mounted into a pod of its own.
pub(crate) async fn copy_volume_data(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    let args: CopyArgs = args::decode(&call.args).map_err(|e| e.to_string())?;
    let path = path(call, &args.data_artifact_prefix)?;
    let root = match args.mount_path.as_str() {
        "" => format!("/mnt/vol_data/{}", args.volume),
        given => given.to_owned(),
    };
    let claims = BTreeMap::from([(args.volume.clone(), root.clone())]);
    let (volumes, mounts) = volumes(cluster, &args.namespace, &claims).await?;
    let words = command("push", &path, &["--", &root]);
    let wish =
        Wish { prefix: "copy-vol-data-", namespace: args.namespace, volumes, mounts, ..Wish::default() };
    let mut outputs = in_pod(call, setting, cluster, &args.image, &words, wish).await?;
    outputs.insert("backupRoot".to_owned(), root.into());
    outputs.insert("backupArtifactLocation".to_owned(), path.into());
    Ok(versioned(outputs))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RestoreArgs {
    namespace: String,
    image: String,
    backup_artifact_prefix: String,
    #[serde(default)]
    backup_tag: String,
    #[serde(default)]
    backup_identifier: String,
    #[serde(default)]
    backup_info: String,
    #[serde(default)]
    pod: String,
    #[serde(default)]
    pods: String,
    #[serde(default)]
    volumes: BTreeMap<String, String>,
    #[serde(default)]
    restore_path: String,
    #[serde(default)]
    backup_path: String,
}

impl RestoreArgs {
    /// The command that brings a snapshot back.
    fn command(&self, path: &str, id: &str) -> Result<Vec<String>, String> {
        let to = if self.restore_path.is_empty() { "/" } else { &self.restore_path };
        let mut more = vec!["--snapshot", snapshot(id)?];
        if !self.backup_path.is_empty() {
            more.extend(["--below", &self.backup_path]);
        }
        more.extend(["--", to]);
        Ok(command("pull", path, &more))
    }
}

/// RestoreData: a snapshot into volumes, or into those of a pod that may be gone.
pub(crate) async fn restore_data(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    let args: RestoreArgs = args::decode(&call.args).map_err(|e| e.to_string())?;
    let path = path(call, &args.backup_artifact_prefix)?;
    // A tag of ours is the id.
    let id = either(("backupIdentifier", &args.backup_identifier), ("backupTag", &args.backup_tag))?;
    let words = args.command(&path, id)?;
    let claims = match (args.pod.as_str(), args.volumes.is_empty()) {
        ("", false) => args.volumes.clone(),
        ("", true) => return Err("it needs pod or volumes".to_owned()),
        (pod, true) => claims_of(call, pod)?,
        (_, false) => return Err("it takes pod or volumes, not both".to_owned()),
    };
    restore(call, setting, cluster, &args, claims, &words, ("restore-data-", String::new())).await
}

async fn restore(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
    args: &RestoreArgs,
    claims: BTreeMap<String, String>,
    words: &[String],
    (prefix, suffix): (&'static str, String),
) -> Result<Object, String> {
    let (volumes, mounts) = volumes(cluster, &args.namespace, &claims).await?;
    let namespace = args.namespace.clone();
    let wish = Wish { prefix, suffix, namespace, volumes, mounts, ..Wish::default() };
    in_pod(call, setting, cluster, &args.image, words, wish).await
}

/// The claims of a pod of the workload, and where it mounts them.
fn claims_of(call: &Call, pod: &str) -> Result<BTreeMap<String, String>, String> {
    let workload: Option<&Workload> = call.material.workload.as_ref();
    let claims = workload.and_then(|w| w.volumes.get(pod)).cloned();
    claims.filter(|claims| !claims.is_empty()).ok_or_else(|| {
        format!("the action's object has no pod {pod:?} with volumes of its own: name them in `volumes`")
    })
}

/// RestoreDataAll: the snapshots of a BackupDataAll, each into the volumes of its pod.
pub(crate) async fn restore_data_all(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    let args: RestoreArgs = args::decode(&call.args).map_err(|e| e.to_string())?;
    let prefix = path(call, &args.backup_artifact_prefix)?;
    let info = backup_info(&args.backup_info)?;
    let mut plans = Vec::new();
    for (i, pod) in pods(call, &args.pods)?.into_iter().enumerate() {
        let known = || info.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let backup = info.get(&pod);
        let backup = backup.ok_or_else(|| format!("backupInfo has no pod {pod:?}; it has {}", known()))?;
        let words = args.command(&format!("{prefix}/{pod}"), &backup.backup_id)?;
        plans.push((claims_of(call, &pod)?, pod, words, format!("-{i}")));
    }
    let args = &args;
    let restores = plans.into_iter().map(|(claims, pod, words, suffix)| {
        async move {
            let names = ("restore-data-all-", suffix);
            let outputs = restore(call, setting, cluster, args, claims, &words, names).await;
            (pod, outputs)
        }
        .boxed()
    });
    let ends = each(restores).await?;
    Ok(ends.into_iter().flat_map(|(_, outputs)| outputs).collect())
}

/// What a BackupDataAll put out.
pub(crate) fn backup_info(text: &str) -> Result<BTreeMap<String, PodBackup>, String> {
    let wrong =
        |why: String| format!("backupInfo is not what BackupDataAll puts out as BackupAllInfo: {why}");
    let json: Json = serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
    serde_json::from_value(json).map_err(|e| wrong(e.to_string()))
}
