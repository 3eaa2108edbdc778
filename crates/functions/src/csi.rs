//! Functions over CSI snapshots, `snapshot.storage.k8s.io/v1`: CreateCSISnapshot, CreateCSISnapshotStatic,
//! RestoreCSISnapshot, DeleteCSISnapshot, DeleteCSISnapshotContent.

use crate::own;
use crate::patience::{Looks, ask};
use crate::ports::{Cluster, Refusal, Why};
use crate::reference::{of_kind, words};
use crate::setting::Setting;
use cistern_action::machine::Call;
use cistern_api::{Object, ObjectReference, args};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use tokio::time::Instant;

const SNAPSHOTS: &str = "snapshot.storage.k8s.io/v1";
/// Access modes a claim may ask for; as in Kanister, not ReadWriteOncePod.
const ACCESS_MODES: [&str; 3] = ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"];
/// Volume modes of a claim.
const VOLUME_MODES: [&str; 2] = ["Filesystem", "Block"];
/// What snapshot controllers report while they get in each other's way, and get over. Kanister's list.
const PASSING: [&str; 3] = [
    "the object has been modified",
    "VolumeSnapshotContent is missing",
    "snapshot controller failed to update",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateArgs {
    #[serde(default)]
    name: String,
    #[serde(default)]
    pvc: String,
    namespace: String,
    snapshot_class: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    driver: String,
    #[serde(default)]
    snapshot_handle: String,
}

/// CreateCSISnapshot: of a claim; waits until it can be used.
pub(crate) async fn create_csi_snapshot(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    let args: CreateArgs = args::decode(&call.args).map_err(|e| e.to_string())?;
    let trace = setting.trace(call.id);
    let claim = get(cluster, &of_kind("pvc", &args.namespace, &args.pvc)).await?;
    let name = match args.name.as_str() {
        // A name drawn by lot would not be found again.
        "" => format!("{}-snapshot-{trace}", args.pvc),
        given => given.to_owned(),
    };
    let at = of_kind("volumesnapshot", &args.namespace, &name);
    let source = json!({ "persistentVolumeClaimName": args.pvc });
    own::make(cluster, &at, snapshot(&args, &at, &source), &trace).await?;
    let ready = ready(cluster, setting, &at).await?;
    // Drivers may leave the size out; a volume of the claim's own size holds what is in it.
    let size = ready["status"]["restoreSize"].as_str().or(claim["status"]["capacity"]["storage"].as_str());
    let size = size.or(claim["spec"]["resources"]["requests"]["storage"].as_str());
    let mut outputs = outputs(&at, &ready, size);
    outputs.insert("pvc".to_owned(), args.pvc.into());
    Ok(outputs)
}

/// CreateCSISnapshotStatic: over a snapshot that the storage has already.
pub(crate) async fn create_csi_snapshot_static(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    let args: CreateArgs = args::decode(&call.args).map_err(|e| e.to_string())?;
    let trace = setting.trace(call.id);
    let class = get(cluster, &of_kind("volumesnapshotclass", "", &args.snapshot_class)).await?;
    let content = of_kind("volumesnapshotcontent", "", &format!("{}-content-{trace}", args.name));
    let object = json!({
        "apiVersion": SNAPSHOTS, "kind": "VolumeSnapshotContent",
        "metadata": { "name": content.name },
        "spec": {
            "deletionPolicy": class["deletionPolicy"], "driver": args.driver,
            "source": { "snapshotHandle": args.snapshot_handle },
            "volumeSnapshotClassName": args.snapshot_class,
            "volumeSnapshotRef": { "kind": "VolumeSnapshot", "name": args.name, "namespace": args.namespace },
        },
    });
    own::make(cluster, &content, object, &trace).await?;
    let at = of_kind("volumesnapshot", &args.namespace, &args.name);
    let source = json!({ "volumeSnapshotContentName": content.name });
    own::make(cluster, &at, snapshot(&args, &at, &source), &trace).await?;
    let ready = ready(cluster, setting, &at).await?;
    Ok(outputs(&at, &ready, ready["status"]["restoreSize"].as_str()))
}

fn snapshot(args: &CreateArgs, at: &ObjectReference, source: &Json) -> Json {
    json!({
        "apiVersion": SNAPSHOTS, "kind": "VolumeSnapshot",
        "metadata": { "name": at.name, "namespace": at.namespace, "labels": args.labels },
        "spec": { "volumeSnapshotClassName": args.snapshot_class, "source": source },
    })
}

fn outputs(at: &ObjectReference, ready: &Json, size: Option<&str>) -> Object {
    let content = ready["status"]["boundVolumeSnapshotContentName"].as_str().unwrap_or_default();
    Object::from_iter([
        ("name".to_owned(), at.name.clone().into()),
        ("namespace".to_owned(), at.namespace.clone().into()),
        ("restoreSize".to_owned(), size.unwrap_or_default().into()),
        ("snapshotContent".to_owned(), content.into()),
    ])
}

async fn get(cluster: &dyn Cluster, at: &ObjectReference) -> Result<Json, String> {
    ask(|| cluster.get(at)).await.map_err(|refusal| match refusal.why {
        Why::Absent => format!("there is no {}", words(at)),
        _ => own::refused(at, &refusal),
    })
}

/// The snapshot once it can be used. An error that it reports fails the call when it stays.
async fn ready(cluster: &dyn Cluster, setting: &Setting, at: &ObjectReference) -> Result<Json, String> {
    let mut looks = Looks::new(setting.limits.call, setting.limits.look_every);
    let mut wrong_since: Option<Instant> = None;
    loop {
        let there = get(cluster, at).await?;
        let status = &there["status"];
        if status["readyToUse"] == true && !status["creationTime"].is_null() {
            return Ok(there);
        }
        let said = status["error"]["message"].as_str();
        match said.filter(|said| !PASSING.iter().any(|passing| said.contains(passing))) {
            Some(said) => {
                let since = *wrong_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= setting.limits.pod_stuck {
                    return Err(format!("{} failed: {said}", words(at)));
                }
            }
            None => wrong_since = None,
        }
        if !looks.again().await {
            let hours = setting.limits.call.as_secs() / 3600;
            return Err(format!("{} could not be used within {hours} hours", words(at)));
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RestoreArgs {
    name: String,
    pvc: String,
    namespace: String,
    storage_class: String,
    restore_size: String,
    #[serde(default)]
    access_modes: Vec<String>,
    #[serde(default)]
    volume_mode: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// RestoreCSISnapshot: a claim out of a snapshot. Does not wait until it is bound: with most classes that
/// happens only when a pod asks for it.
pub(crate) async fn restore_csi_snapshot(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    let mut args: RestoreArgs = args::decode(&call.args).map_err(|e| e.to_string())?;
    if args.access_modes.is_empty() {
        args.access_modes.push(ACCESS_MODES[0].to_owned());
    }
    if args.volume_mode.is_empty() {
        VOLUME_MODES[0].clone_into(&mut args.volume_mode);
    }
    if let Some(wrong) = args.access_modes.iter().find(|mode| !ACCESS_MODES.contains(&mode.as_str())) {
        return Err(format!("accessModes: {wrong:?} is none of {}", ACCESS_MODES.join(", ")));
    }
    if !VOLUME_MODES.contains(&args.volume_mode.as_str()) {
        return Err(format!("volumeMode {:?} is none of {}", args.volume_mode, VOLUME_MODES.join(", ")));
    }
    if args.restore_size.is_empty() || args.restore_size == "<nil>" {
        return Err("restoreSize is empty: the snapshot's driver said no size, so name one".to_owned());
    }
    // A claim out of a snapshot that is not there would wait for it for ever.
    get(cluster, &of_kind("volumesnapshot", &args.namespace, &args.name)).await?;
    let at = of_kind("pvc", &args.namespace, &args.pvc);
    let source =
        json!({ "apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": args.name });
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": { "name": args.pvc, "namespace": args.namespace, "labels": args.labels },
        "spec": {
            "accessModes": args.access_modes, "volumeMode": args.volume_mode,
            "storageClassName": args.storage_class, "dataSource": source,
            "resources": { "requests": { "storage": args.restore_size } },
        },
    });
    own::make(cluster, &at, claim, &setting.trace(call.id)).await?;
    Ok(Object::new())
}

/// The name of what is to go.
fn name(call: &Call, argument: &str) -> Result<String, String> {
    let given: Option<String> = args::argument(&call.args, argument).map_err(|e| e.to_string())?;
    given.filter(|text| !text.is_empty()).ok_or_else(|| format!("it has no {argument}"))
}

/// DeleteCSISnapshot: and waits until it is gone. One that is not there is fine.
pub(crate) async fn delete_csi_snapshot(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    let at = of_kind("volumesnapshot", &name(call, "namespace")?, &name(call, "name")?);
    let uid = match ask(|| cluster.get(&at)).await {
        Ok(there) => there["metadata"]["uid"].clone(),
        Err(Refusal { why: Why::Absent, .. }) => return Ok(Object::new()),
        Err(refusal) => return Err(own::refused(&at, &refusal)),
    };
    own::delete(cluster, &at).await?;
    own::gone(cluster, setting, &at, &uid).await?;
    Ok(Object::new())
}

/// DeleteCSISnapshotContent: does not wait, as it goes only when its snapshot has. One that is not there is
/// fine.
pub(crate) async fn delete_csi_snapshot_content(
    call: &Call,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    own::delete(cluster, &of_kind("volumesnapshotcontent", "", &name(call, "name")?)).await?;
    Ok(Object::new())
}
