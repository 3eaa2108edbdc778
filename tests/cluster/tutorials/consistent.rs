//! 4. An application-consistent snapshot: held still while it is cut and no longer, and freed whatever happens.

use crate::images::open;
use crate::stage::Stage;
use crate::storage::{SNAPSHOTS, Storage, hold, release, shelf};
use crate::support::home::wait_until;
use crate::workloads::{Workloads, ready, sleeper, workload};
use serde_json::{Value as Json, json};
use std::fs::{read_to_string, write};
use std::path::Path;

/// Writes each number into two files, which agree while nobody writes.
const DATABASE: &str = "trap 'exit 0' TERM; cd /data; n=0
while :; do
  if [ -e locked ]; then : >idle; else rm -f idle; n=$((n+1)); echo $n >left; sleep 0.02; echo $n >right; fi
  sleep 0.02 & wait $!
done";
/// The application's own tools; what was asked of them stands in `history`.
const TOOLS: [(&str, &str); 2] = [
    (
        "quiesce",
        "#!/bin/sh\ncd /data; : >locked; until [ -e idle ]; do sleep 0.02; done; echo quiesce >>/tools/history\n",
    ),
    ("unquiesce", "#!/bin/sh\nrm -f /data/locked; echo unquiesce >>/tools/history\n"),
];

async fn database(stage: &Stage, tools: &Path) {
    std::fs::create_dir_all(tools).unwrap();
    open(tools);
    for (name, text) in TOOLS {
        write(tools.join(name), text).unwrap();
        open(&tools.join(name));
    }
    let mut main = sleeper("db");
    main["command"] = json!(["sh", "-c", DATABASE]);
    main["env"] = json!([{ "name": "PATH", "value": "/tools:/usr/bin:/bin" }]);
    main["volumeMounts"] =
        json!([{ "name": "data", "mountPath": "/data" }, { "name": "tools", "mountPath": "/tools" }]);
    let pod =
        json!({ "containers": [main], "volumes": [{ "name": "tools", "hostPath": { "path": tools } }] });
    workload(stage, "StatefulSet", "db", 1, pod, &["data"]).await;
    ready(stage, "StatefulSet", "db", 1).await;
    let right = stage.claim("data-db-0").join("right");
    wait_until("the database writes", || read_to_string(&right).is_ok());
}

/// What an operator turns on: snapshots, and that claims may be replaced.
const RIGHTS: [&str; 4] = [
    "rbac.functions.snapshots=true",
    "rbac.extraRules[0].apiGroups[0]=",
    "rbac.extraRules[0].resources={persistentvolumeclaims}",
    "rbac.extraRules[0].verbs={delete}",
];

fn history(tools: &Path) -> Vec<String> {
    read_to_string(tools.join("history")).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn an_application_is_held_still_while_its_snapshot_is_cut() {
    let Some(stage) = Stage::new("consistent") else { return };
    stage.world.play(async {
        let storage = Storage::begin(&stage).await;
        let _workloads = Workloads::begin(&stage);
        if stage.chart(&RIGHTS).await.is_none() {
            return;
        }
        let tools = stage.folder().join("tools");
        database(&stage, &tools).await;
        stage.published("good/consistent-snapshot.yaml").await;
        let controller = stage.controller(&["--no-leader-election"]);
        let order = |action: &str, more: Json| {
            let mut order = json!({
                "name": action, "object": stage.the("StatefulSet", "db"), "options": { "class": stage.namespace },
            });
            order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            order
        };
        hold(&stage);
        stage.order_with("backup", "consistent-snapshot", order("backup", json!({}))).await;
        wait_until("the application goes on", || history(&tools) == ["quiesce", "unquiesce"]);
        let snapshots = stage.objects(SNAPSHOTS, "VolumeSnapshot").await;
        let cut = snapshots.list(&Default::default()).await.unwrap().items.remove(0);
        assert_eq!(cut.data["status"]["readyToUse"], false, "it is cut, and the storage still at work");
        release(&stage);
        let made = stage.completed("backup").await;
        assert_eq!(made["artifacts"]["snapshot"]["keyValue"]["name"], cut.metadata.name.unwrap());
        assert_eq!(history(&tools), ["quiesce", "unquiesce", "unquiesce"], "the deferred one frees it in any case");
        let kept = shelf(&stage).join(cut.metadata.uid.unwrap());
        let file = |name: &str| read_to_string(kept.join(name)).unwrap();
        assert_eq!(file("left"), file("right"), "nobody wrote while it was cut");
        assert!(kept.join("locked").exists());

        let artifacts = json!({ "artifacts": made["artifacts"] });
        std::fs::remove_file(kept.join("locked")).unwrap();
        write(kept.join("mark"), "of the snapshot").unwrap();
        stage.complete("restore", "consistent-snapshot", order("restore", artifacts.clone())).await;
        assert_eq!(read_to_string(stage.claim("data-db-0").join("mark")).unwrap(), "of the snapshot");
        ready(&stage, "StatefulSet", "db", 1).await;
        let mut delete = order("delete", artifacts);
        delete["object"] = json!({ "kind": "Namespace", "name": stage.namespace, "namespace": stage.namespace });
        stage.complete("delete", "consistent-snapshot", delete).await;
        assert!(!kept.exists());
        controller.assert_well();
        drop(storage);
    });
}

#[test]
fn an_application_goes_on_when_its_snapshot_fails() {
    let Some(stage) = Stage::new("consistent_fails") else { return };
    stage.world.play(async {
        let storage = Storage::begin(&stage).await;
        let _workloads = Workloads::begin(&stage);
        if stage.chart(&RIGHTS).await.is_none() {
            return;
        }
        let tools = stage.folder().join("tools");
        database(&stage, &tools).await;
        stage.published("good/consistent-snapshot.yaml").await;
        let controller = stage.controller(&["--no-leader-election"]);
        let options = json!({ "class": format!("{}-full", stage.namespace) });
        let order = json!({ "object": stage.the("StatefulSet", "db"), "options": options });
        let said = stage.failure("backup", "consistent-snapshot", order).await;
        assert!(said.contains("isCut") && said.contains("not met within 10 seconds"), "{said}");
        assert_eq!(history(&tools), ["quiesce", "unquiesce"]);
        assert!(!stage.claim("data-db-0").join("locked").exists());
        controller.assert_well();
        drop(storage);
    });
}
