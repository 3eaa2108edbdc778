//! A storage that can take snapshots, played: the snapshot controller, a CSI driver and its provisioner, over the
//! directories that the test kubelet keeps for claims.

use crate::stage::Stage;
use crate::world::{establish, json_of, object};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// API group and version of snapshots.
pub const SNAPSHOTS: &str = "snapshot.storage.k8s.io/v1";
/// The driver's name.
pub const DRIVER: &str = "csi.disk.test";
/// How large a snapshot says it is.
pub const SIZE: &str = "1Gi";
/// Holds a snapshot until its content is gone, as the snapshot controller does.
const BOUND: &str = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection";
/// While a file of this name is on the shelf, snapshots are cut and do not become usable.
const HELD: &str = "held";
/// How often objects are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Plays the storage for one namespace until it is dropped. Its classes are called after the namespace: `NS`, and
/// `NS-full`, whose snapshots fail.
pub struct Storage(tokio::task::JoinHandle<()>);

struct Disks {
    snapshots: Api<DynamicObject>,
    contents: Api<DynamicObject>,
    classes: Api<DynamicObject>,
    claims: Api<DynamicObject>,
    /// What snapshots hold, by handle.
    shelf: PathBuf,
    /// What claims hold, by name.
    volumes: PathBuf,
}

impl Storage {
    pub async fn begin(stage: &Stage) -> Storage {
        establish(&stage.world.client, include_str!("stand_ins/volume_snapshots.yaml")).await;
        let class = |name: String, parameters: Json| {
            json!({
                "apiVersion": SNAPSHOTS, "kind": "VolumeSnapshotClass", "metadata": { "name": name },
                "driver": DRIVER, "deletionPolicy": "Delete", "parameters": parameters,
            })
        };
        stage.apply(&class(stage.namespace.clone(), json!({})).to_string()).await;
        let full = class(format!("{}-full", stage.namespace), json!({ "fails": "the pool is full" }));
        stage.apply(&full.to_string()).await;
        let disks = Disks {
            snapshots: stage.objects(SNAPSHOTS, "VolumeSnapshot").await,
            contents: stage.objects(SNAPSHOTS, "VolumeSnapshotContent").await,
            classes: stage.objects(SNAPSHOTS, "VolumeSnapshotClass").await,
            claims: stage.objects("v1", "PersistentVolumeClaim").await,
            shelf: shelf(stage),
            volumes: stage.claim(""),
        };
        Storage(stage.world.runtime.spawn(async move {
            loop {
                // Whatever was refused is seen again at the next look.
                let _ = disks.look().await;
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }))
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Where the storage keeps what is in a snapshot, by handle.
pub fn shelf(stage: &Stage) -> PathBuf {
    let shelf = stage.folder().join("shelf");
    std::fs::create_dir_all(&shelf).unwrap();
    shelf
}

/// From now on snapshots do not become usable.
pub fn hold(stage: &Stage) {
    std::fs::write(shelf(stage).join(HELD), "").unwrap();
}

/// They do again.
pub fn release(stage: &Stage) {
    std::fs::remove_file(shelf(stage).join(HELD)).unwrap();
}

/// All at once, as nobody sees a volume that is half filled.
fn copy(from: &Path, to: &Path) {
    let new = to.with_extension("new");
    let _ = std::fs::remove_dir_all(&new);
    std::fs::create_dir_all(&new).unwrap();
    let ran = Command::new("cp").arg("-a").arg(from.join(".")).arg(&new).status().unwrap();
    assert!(ran.success(), "{} to {}", from.display(), to.display());
    std::fs::rename(&new, to).unwrap();
}

impl Disks {
    async fn look(&self) -> kube::Result<()> {
        for snapshot in self.snapshots.list(&ListParams::default()).await?.items {
            if snapshot.metadata.deletion_timestamp.is_some() {
                self.delete(&snapshot).await?;
            } else if snapshot.data["status"]["creationTime"].is_null()
                && snapshot.data["status"]["error"].is_null()
            {
                self.cut(&snapshot).await?;
            } else if snapshot.data["status"]["readyToUse"] == false
                && snapshot.data["status"]["error"].is_null()
            {
                self.upload(&snapshot).await?;
            }
        }
        for claim in self.claims.list(&ListParams::default()).await?.items {
            self.provision(&claim).await?;
        }
        Ok(())
    }

    async fn status(&self, name: &str, status: Json) -> kube::Result<()> {
        let patch = Patch::Merge(json!({ "status": status }));
        self.snapshots.patch_status(name, &PatchParams::default(), &patch).await.map(drop)
    }

    /// Takes the snapshot, or binds the one that is there already.
    async fn cut(&self, snapshot: &DynamicObject) -> kube::Result<()> {
        let name = snapshot.name_any();
        let wrong = |said: String| json!({ "error": { "message": said }, "readyToUse": false });
        let class = snapshot.data["spec"]["volumeSnapshotClassName"].as_str().unwrap_or_default();
        let Some(class) = self.classes.get_opt(class).await? else {
            return self.status(&name, wrong(format!("there is no class {class:?}"))).await;
        };
        if let Some(fails) = class.data["parameters"]["fails"].as_str() {
            return self.status(&name, wrong(fails.to_owned())).await;
        }
        let source = &snapshot.data["spec"]["source"];
        let (content, handle) = match source["persistentVolumeClaimName"].as_str() {
            Some(claim) => {
                let handle = snapshot.uid().unwrap();
                copy(&self.volumes.join(claim), &self.shelf.join(&handle));
                (self.content(snapshot, &class, &handle).await?, handle)
            }
            None => {
                let content = source["volumeSnapshotContentName"].as_str().unwrap();
                let Some(there) = self.contents.get_opt(content).await? else { return Ok(()) };
                if let Some(complaint) = self.complaint(snapshot, &there) {
                    return self.status(&name, wrong(complaint)).await;
                }
                (
                    there.name_any(),
                    there.data["spec"]["source"]["snapshotHandle"].as_str().unwrap().to_owned(),
                )
            }
        };
        let hold = Patch::Merge(json!({ "metadata": { "finalizers": [BOUND] } }));
        self.snapshots.patch(&name, &PatchParams::default(), &hold).await?;
        assert!(self.shelf.join(&handle).exists());
        let now = jiff::Timestamp::now().to_string();
        let status =
            json!({ "creationTime": now, "readyToUse": false, "boundVolumeSnapshotContentName": content });
        self.status(&name, status).await
    }

    /// What is wrong with a content that somebody else has made.
    fn complaint(&self, snapshot: &DynamicObject, content: &DynamicObject) -> Option<String> {
        let spec = &content.data["spec"];
        let handle = spec["source"]["snapshotHandle"].as_str().unwrap_or_default();
        let back = &spec["volumeSnapshotRef"];
        if !self.shelf.join(handle).exists() || handle.is_empty() {
            return Some(format!("there is no snapshot {handle:?}"));
        }
        let bound = back["name"] == snapshot.name_any() && back["namespace"] == snapshot.namespace().unwrap();
        (spec["driver"] != DRIVER || !bound).then(|| format!("{spec} is bound to another one"))
    }

    async fn content(
        &self,
        snapshot: &DynamicObject,
        class: &DynamicObject,
        handle: &str,
    ) -> kube::Result<String> {
        let name = format!("snapcontent-{}", snapshot.uid().unwrap());
        let content = json!({
            "apiVersion": SNAPSHOTS, "kind": "VolumeSnapshotContent", "metadata": { "name": name },
            "spec": {
                "deletionPolicy": class.data["deletionPolicy"], "driver": DRIVER, "source": { "volumeHandle": handle },
                "volumeSnapshotClassName": class.name_any(),
                "volumeSnapshotRef": {
                    "kind": "VolumeSnapshot", "name": snapshot.name_any(), "namespace": snapshot.namespace(),
                    "uid": snapshot.uid(),
                },
            },
        });
        match self.contents.create(&PostParams::default(), &object(content)).await {
            Err(kube::Error::Api(refusal)) if refusal.code == 409 => {}
            other => drop(other?),
        }
        Ok(name)
    }

    /// It can be used when it has been copied away, which takes a storage its time.
    async fn upload(&self, snapshot: &DynamicObject) -> kube::Result<()> {
        if self.shelf.join(HELD).exists() {
            return Ok(());
        }
        self.status(&snapshot.name_any(), json!({ "readyToUse": true, "restoreSize": SIZE })).await
    }

    /// Lets a snapshot go, with its content where the class says so.
    async fn delete(&self, snapshot: &DynamicObject) -> kube::Result<()> {
        let content = snapshot.data["status"]["boundVolumeSnapshotContentName"].as_str().unwrap_or_default();
        let content = if content.is_empty() { None } else { self.contents.get_opt(content).await? };
        if let Some(content) = content {
            let spec = json_of(&content)["spec"].clone();
            if spec["deletionPolicy"] == "Delete" {
                let handle =
                    spec["source"]["volumeHandle"].as_str().or(spec["source"]["snapshotHandle"].as_str());
                let _ = std::fs::remove_dir_all(self.shelf.join(handle.unwrap()));
                self.contents.delete(&content.name_any(), &DeleteParams::default()).await?;
            }
        }
        let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
        self.snapshots.patch(&snapshot.name_any(), &PatchParams::default(), &free).await.map(drop)
    }

    /// Fills a new claim from the snapshot it names; lets one go that is to go.
    async fn provision(&self, claim: &DynamicObject) -> kube::Result<()> {
        let source = &claim.data["spec"]["dataSource"];
        let folder = self.volumes.join(claim.name_any());
        if claim.metadata.deletion_timestamp.is_some() {
            let _ = std::fs::remove_dir_all(&folder);
            let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
            return self.claims.patch(&claim.name_any(), &PatchParams::default(), &free).await.map(drop);
        }
        if source["kind"] != "VolumeSnapshot" || folder.exists() {
            return Ok(());
        }
        let snapshot = self.snapshots.get(source["name"].as_str().unwrap()).await?;
        let content = snapshot.data["status"]["boundVolumeSnapshotContentName"].as_str().unwrap_or_default();
        let spec = self.contents.get(content).await?.data["spec"]["source"].clone();
        let handle = spec["volumeHandle"].as_str().or(spec["snapshotHandle"].as_str()).unwrap();
        copy(&self.shelf.join(handle), &folder);
        Ok(())
    }
}
