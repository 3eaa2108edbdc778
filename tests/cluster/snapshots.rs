//! The five functions over CSI snapshots, with the rights of the chart's `rbac.functions.snapshots`.

use crate::recipe::{only, phase};
use crate::stage::Stage;
use crate::storage::{DRIVER, SIZE, SNAPSHOTS, Storage, shelf};
use crate::world::until;
use serde_json::{Value as Json, json};

const RIGHTS: [&str; 1] = ["rbac.functions.snapshots=true"];

/// A claim with a file in it.
async fn claim(stage: &Stage, name: &str, text: &str) {
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": name },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "2Gi" } } },
    });
    stage.apply(&claim.to_string()).await;
    std::fs::create_dir_all(stage.claim(name)).unwrap();
    std::fs::write(stage.claim(name).join("table"), text).unwrap();
}

fn create(stage: &Stage, more: Json) -> Json {
    let mut args = json!({ "pvc": "data", "namespace": stage.namespace, "snapshotClass": stage.namespace });
    args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    only("CreateCSISnapshot", args)
}

fn restore(stage: &Stage, more: Json) -> Json {
    let mut args = json!({
        "name": "{{ .Options.name }}", "namespace": stage.namespace, "pvc": "copy", "storageClass": "fast",
        "restoreSize": "{{ .Options.size }}", "labels": { "tier": "db" }, "accessModes": ["ReadWriteOnce"],
    });
    args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    only("RestoreCSISnapshot", args)
}

#[test]
fn a_volume_comes_back_from_a_snapshot_which_then_goes() {
    let Some(stage) = Stage::new("snapshot") else { return };
    stage.world.play(async {
        let storage = Storage::begin(&stage).await;
        if stage.chart(&RIGHTS).await.is_none() {
            return;
        }
        claim(&stage, "data", "monday").await;
        let named = json!({ "namespace": stage.namespace, "name": "{{ .Options.name }}" });
        let actions = json!({
            "create": create(&stage, json!({ "labels": { "tier": "db" } })), "restore": restore(&stage, json!({})),
            "delete": only("DeleteCSISnapshot", named),
        });
        stage.recipe("csi", actions).await;
        let controller = stage.controller(&["--no-leader-election"]);
        let made = stage.complete("create", "csi", json!({ "name": "create" })).await["phases"][0]["output"].clone();
        let name = made["name"].as_str().unwrap();
        assert!(name.starts_with("data-snapshot-"), "{made}");
        assert_eq!([&made["pvc"], &made["namespace"]], [&json!("data"), &json!(stage.namespace)]);
        assert_eq!(made["restoreSize"], SIZE);
        let contents = stage.objects(SNAPSHOTS, "VolumeSnapshotContent").await;
        let content = contents.get(made["snapshotContent"].as_str().unwrap()).await.unwrap();
        assert_eq!(content.data["spec"]["volumeSnapshotRef"]["name"], name);
        let snapshots = stage.objects(SNAPSHOTS, "VolumeSnapshot").await;
        let snapshot = snapshots.get(name).await.unwrap();
        assert_eq!(snapshot.metadata.labels.unwrap()["tier"], "db");

        std::fs::write(stage.claim("data").join("table"), "tuesday").unwrap();
        let options = json!({ "name": name, "size": made["restoreSize"] });
        stage.complete("restore", "csi", json!({ "name": "restore", "options": options })).await;
        let claims = stage.objects("v1", "PersistentVolumeClaim").await;
        let copy = claims.get("copy").await.unwrap();
        assert_eq!(copy.data["spec"]["resources"]["requests"]["storage"], SIZE);
        assert_eq!([&copy.data["spec"]["storageClassName"], &copy.data["spec"]["volumeMode"]], ["fast", "Filesystem"]);
        assert_eq!(copy.metadata.labels.unwrap()["tier"], "db");
        let table = stage.claim("copy").join("table");
        let read = until("the copy is there", async || std::fs::read_to_string(&table).ok()).await;
        assert_eq!(read, "monday");

        stage.complete("delete", "csi", json!({ "name": "delete", "options": options })).await;
        assert!(snapshots.get_opt(name).await.unwrap().is_none(), "it is gone when the phase is over");
        assert!(contents.get_opt(&content.metadata.name.unwrap()).await.unwrap().is_none());
        // What is not there need not go.
        stage.complete("delete-again", "csi", json!({ "name": "delete", "options": options })).await;
        let said = stage.failure("restore-gone", "csi", json!({ "name": "restore", "options": options })).await;
        assert!(said.contains(&format!("there is no volumesnapshots {}/{name}", stage.namespace)), "{said}");
        controller.assert_well();
        drop(storage);
    });
}

#[test]
fn a_snapshot_that_the_storage_has_already_is_bound_and_its_content_can_go() {
    let Some(stage) = Stage::new("static_snapshot") else { return };
    stage.world.play(async {
        let storage = Storage::begin(&stage).await;
        if stage.chart(&RIGHTS).await.is_none() {
            return;
        }
        let handle = shelf(&stage).join("disk-7@sunday");
        std::fs::create_dir_all(&handle).unwrap();
        std::fs::write(handle.join("table"), "sunday").unwrap();
        let bind = json!({
            "name": "sunday", "namespace": stage.namespace, "driver": DRIVER, "snapshotHandle": "{{ .Options.handle }}",
            "snapshotClass": stage.namespace,
        });
        let mut lost = bind.clone();
        lost["name"] = "lost".into();
        let actions = json!({
            "bind": only("CreateCSISnapshotStatic", bind), "lost": only("CreateCSISnapshotStatic", lost),
            "restore": restore(&stage, json!({})),
            "release": only("DeleteCSISnapshotContent", json!({ "name": "{{ .Options.content }}" })),
        });
        stage.recipe("csi", actions).await;
        let controller = stage.controller(&["--no-leader-election"]);
        // A snapshot that fails is given a while to get over it.
        stage.order_with("lost", "csi", json!({ "name": "lost", "options": { "handle": "disk-8@sunday" } })).await;
        let options = json!({ "handle": "disk-7@sunday", "name": "sunday", "size": SIZE });
        let made = stage.complete("bind", "csi", json!({ "name": "bind", "options": options })).await["phases"][0]["output"].clone();
        let content = made["snapshotContent"].as_str().unwrap();
        let wanted = json!({
            "name": "sunday", "namespace": stage.namespace, "restoreSize": SIZE, "snapshotContent": content,
        });
        assert_eq!(made, wanted);
        let contents = stage.objects(SNAPSHOTS, "VolumeSnapshotContent").await;
        assert_eq!(contents.get(content).await.unwrap().data["spec"]["deletionPolicy"], "Delete", "as its class");
        stage.complete("restore", "csi", json!({ "name": "restore", "options": options })).await;
        let table = stage.claim("copy").join("table");
        let read = until("the copy is there", async || std::fs::read_to_string(&table).ok()).await;
        assert_eq!(read, "sunday");
        for order in ["release", "release-again"] {
            let options = json!({ "content": content });
            stage.complete(order, "csi", json!({ "name": "release", "options": options })).await;
        }
        assert!(contents.get_opt(content).await.unwrap().is_none());
        assert!(handle.exists(), "nobody deleted what is on the storage");
        let status = stage.ended("lost").await;
        let said = status["error"]["message"].as_str().unwrap_or_default();
        assert!(said.contains("there is no snapshot \"disk-8@sunday\""), "{status}");
        controller.assert_well();
        drop(storage);
    });
}

#[test]
fn what_cannot_become_a_snapshot_fails_with_a_sentence() {
    let Some(stage) = Stage::new("no_snapshot") else { return };
    stage.world.play(async {
        let storage = Storage::begin(&stage).await;
        claim(&stage, "data", "monday").await;
        let full = format!("{}-full", stage.namespace);
        let actions = json!({
            "denied": create(&stage, json!({})), "absent": create(&stage, json!({ "pvc": "nothing" })),
            "full": create(&stage, json!({ "snapshotClass": full })),
            "modes": restore(&stage, json!({ "accessModes": ["ReadWriteOncePod"] })),
            "size": restore(&stage, json!({})),
            "steps": { "phases": [
                phase("CreateCSISnapshotStatic", "only", json!({
                    "name": "x", "namespace": stage.namespace, "driver": DRIVER, "snapshotHandle": "h", "snapshotClass": "nothing",
                })),
            ]},
        });
        stage.recipe("csi", actions).await;
        let controller = stage.controller(&["--no-leader-election"]);
        // Without the chart's value nobody may.
        let said = stage.failure("denied", "csi", json!({ "name": "denied" })).await;
        assert!(said.contains("is denied") && said.contains("volumesnapshots"), "{said}");
        if stage.chart(&RIGHTS).await.is_none() {
            return;
        }
        let options = json!({ "name": "x", "size": "<nil>" });
        let cases = [
            ("absent", "there is no persistentvolumeclaims"), ("full", "the pool is full"),
            ("modes", "accessModes: \"ReadWriteOncePod\" is none of"), ("size", "restoreSize is empty"),
            ("steps", "there is no volumesnapshotclasses nothing"),
        ];
        for (action, _) in cases {
            stage.order_with(action, "csi", json!({ "name": action, "options": options })).await;
        }
        for (action, words) in cases {
            let status = stage.ended(action).await;
            let said = status["error"]["message"].as_str().unwrap_or_default();
            assert!(said.contains(words), "{action}: {status}");
        }
        controller.assert_well();
        drop(storage);
    });
}
