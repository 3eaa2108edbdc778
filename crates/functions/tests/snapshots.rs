//! Stories of the functions over CSI snapshots.
#![allow(clippy::disallowed_methods, reason = "a test may unwrap")]

mod common;

use cistern_api::ObjectReference;
use cistern_functions::ports::{Cluster as _, Patch};
use cistern_functions::reference::of_kind;
use cistern_sim::cluster::{Fate, PaperCluster};
use common::told;
use serde_json::{Value as Json, json};
use std::time::Duration;

fn cluster() -> PaperCluster {
    let cluster = PaperCluster::new(Vec::new());
    let capacity = json!({ "capacity": { "storage": "2Gi" } });
    let metadata = json!({ "name": "data", "namespace": "app" });
    cluster.add(json!({ "kind": "PersistentVolumeClaim", "metadata": metadata, "status": capacity }));
    cluster.add(json!({ "kind": "VolumeSnapshotClass", "metadata": { "name": "fast" }, "driver": "d",
        "deletionPolicy": "Retain" }));
    cluster
}

/// What the snapshot controller does to a snapshot, after a while.
async fn becomes(cluster: &PaperCluster, at: &ObjectReference, secs: u64, status: Json) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
    let patch = json!({ "status": status });
    cluster.patch(at, Patch::Merge, &patch).await.unwrap();
}

fn usable(size: Json) -> Json {
    json!({ "readyToUse": true, "creationTime": "2026-01-02T03:04:05Z", "restoreSize": size,
        "boundVolumeSnapshotContentName": "content-1", "error": null })
}

fn create() -> Json {
    json!({ "pvc": "data", "namespace": "app", "snapshotClass": "fast", "labels": { "tier": "db" } })
}

const NAME: &str = "data-snapshot-u1-0-0";

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_made_once_and_waited_for() {
    let at = of_kind("volumesnapshot", "app", NAME);
    for (size, wanted) in [(json!("1Gi"), "1Gi"), (json!(null), "2Gi")] {
        let cluster = cluster();
        cluster.decree(Fate::DiesAfter(1));
        tokio::select! { _ = told(&cluster, "CreateCSISnapshot", create()) => {} () = cluster.death() => {} }
        cluster.revive();
        let made = told(&cluster, "CreateCSISnapshot", create());
        let (made, ()) = tokio::join!(made, becomes(&cluster, &at, 300, usable(size)));
        let wanted = json!({ "name": NAME, "namespace": "app", "pvc": "data", "restoreSize": wanted,
            "snapshotContent": "content-1" });
        assert_eq!(Json::Object(made.unwrap()), wanted);
        let object = cluster.object(&at).unwrap();
        assert_eq!(object["spec"]["source"]["persistentVolumeClaimName"], "data");
        assert_eq!(object["metadata"]["labels"]["tier"], "db");
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_fails_fails_the_phase_and_one_that_stumbles_does_not() {
    let at = of_kind("volumesnapshot", "app", NAME);
    let wrong = |said: &str| json!({ "error": { "message": said } });
    let cluster = cluster();
    let began = tokio::time::Instant::now();
    let made = told(&cluster, "CreateCSISnapshot", create());
    let (made, ()) = tokio::join!(made, becomes(&cluster, &at, 1, wrong("no room")));
    assert_eq!(made.unwrap_err(), format!("volumesnapshots app/{NAME} failed: no room"));
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());

    let cluster = self::cluster();
    let stumbles = async {
        becomes(&cluster, &at, 1, wrong("the object has been modified; please apply your changes")).await;
        becomes(&cluster, &at, 600, usable(json!("1Gi"))).await;
    };
    let made = told(&cluster, "CreateCSISnapshot", create());
    let (made, ()) = tokio::join!(made, stumbles);
    made.unwrap();

    let mut missing = create();
    missing["pvc"] = "gone".into();
    let reason = told(&cluster, "CreateCSISnapshot", missing).await.unwrap_err();
    assert_eq!(reason, "there is no persistentvolumeclaims app/gone");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_the_storage_is_bound() {
    let cluster = cluster();
    let args = json!({ "name": "old", "namespace": "app", "driver": "d", "snapshotHandle": "h-7",
        "snapshotClass": "fast" });
    let at = of_kind("volumesnapshot", "app", "old");
    let made = told(&cluster, "CreateCSISnapshotStatic", args);
    let (made, ()) = tokio::join!(made, becomes(&cluster, &at, 5, usable(json!("1Gi"))));
    assert_eq!(made.unwrap()["restoreSize"], "1Gi");
    let content = of_kind("volumesnapshotcontent", "", "old-content-u1-0-0");
    let spec = cluster.object(&content).unwrap()["spec"].clone();
    assert_eq!(
        (&spec["deletionPolicy"], &spec["source"]["snapshotHandle"]),
        (&json!("Retain"), &json!("h-7"))
    );
    let source = &cluster.object(&at).unwrap()["spec"]["source"];
    assert_eq!(source["volumeSnapshotContentName"], "old-content-u1-0-0");
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_made_out_of_a_snapshot() {
    let cluster = cluster();
    let args = json!({ "name": "snap", "pvc": "copy", "namespace": "app", "storageClass": "fast",
        "restoreSize": "1Gi" });
    let reason = told(&cluster, "RestoreCSISnapshot", args.clone()).await.unwrap_err();
    assert_eq!(reason, "there is no volumesnapshots app/snap");
    cluster.add(json!({ "kind": "VolumeSnapshot", "metadata": { "name": "snap", "namespace": "app" } }));
    for _ in 0..2 {
        told(&cluster, "RestoreCSISnapshot", args.clone()).await.unwrap();
    }
    let spec = cluster.object(&of_kind("pvc", "app", "copy")).unwrap()["spec"].clone();
    assert_eq!(spec["dataSource"]["name"], "snap");
    assert_eq!(
        (&spec["accessModes"], &spec["volumeMode"]),
        (&json!(["ReadWriteOnce"]), &json!("Filesystem"))
    );
    assert_eq!(spec["resources"]["requests"]["storage"], "1Gi");
    for (key, value, complaint) in [
        ("accessModes", json!(["ReadWriteOncePod"]), "\"ReadWriteOncePod\" is none of"),
        ("volumeMode", json!("Disk"), "volumeMode \"Disk\" is none of Filesystem, Block"),
        ("restoreSize", json!("<nil>"), "restoreSize is empty"),
        ("pvc", json!("data"), "is there already"),
    ] {
        let mut wrong = args.clone();
        wrong[key] = value;
        let reason = told(&cluster, "RestoreCSISnapshot", wrong).await.unwrap_err();
        assert!(reason.contains(complaint), "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn snapshots_and_contents_go_and_may_be_gone() {
    let cluster = cluster();
    let held = json!({ "name": "snap", "namespace": "app", "finalizers": ["bound"] });
    cluster.add(json!({ "kind": "VolumeSnapshot", "metadata": held }));
    cluster.add(json!({ "kind": "VolumeSnapshotContent", "metadata": { "name": "content" } }));
    let at = of_kind("volumesnapshot", "app", "snap");
    let args = json!({ "name": "snap", "namespace": "app" });
    let free = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let patch = json!({ "metadata": { "finalizers": null } });
        cluster.patch(&at, Patch::Merge, &patch).await.unwrap();
    };
    let began = tokio::time::Instant::now();
    let (gone, ()) = tokio::join!(told(&cluster, "DeleteCSISnapshot", args.clone()), free);
    gone.unwrap();
    assert!(began.elapsed().as_secs() >= 60, "it waits until the snapshot is gone");
    told(&cluster, "DeleteCSISnapshot", args).await.unwrap();
    for _ in 0..2 {
        told(&cluster, "DeleteCSISnapshotContent", json!({ "name": "content" })).await.unwrap();
    }
    assert_eq!(cluster.object(&of_kind("volumesnapshotcontent", "", "content")), None);
}
