//! Directories and volumes into a repository in an object store and back, and what looks after them.

use crate::bucket::Bucket;
use crate::recipe::{only, phase};
use crate::stage::{Replica, Stage};
use crate::workloads::{Workloads, ready, sleeper, workload};
use crate::world::{MOVER, OURS, PLAIN};
use serde_json::{Value as Json, json};
use std::os::unix::fs::PermissionsExt as _;

/// What opens the repositories, which the first push makes.
const PASSPHRASE: &str = "correct horse battery staple";

/// A StatefulSet of two pods with a claim each, and a controller with the images it needs.
struct Shop {
    stage: Stage,
    bucket: Bucket,
    controller: Replica,
    _workloads: Workloads,
}

impl Shop {
    async fn open(stage: Stage) -> Option<Shop> {
        let bucket = Bucket::at(&stage).await?;
        let workloads = Workloads::begin(&stage);
        let mut main = sleeper("main");
        main["volumeMounts"] = json!([{ "name": "data", "mountPath": "/data" }]);
        workload(&stage, "StatefulSet", "db", 2, json!({ "containers": [main] }), &["data"]).await;
        ready(&stage, "StatefulSet", "db", 2).await;
        let images = [format!("--mover-image={MOVER}cistern"), format!("--tools-image={PLAIN}tools")];
        let controller = stage.controller(&["--no-leader-election", &images[0], &images[1]]);
        let shop = Shop { stage, bucket, controller, _workloads: workloads };
        for pod in 0..2 {
            shop.fill(pod, &format!("table of {pod}"));
        }
        Some(shop)
    }

    /// What a pod has in its volume: a file, and one in a directory; and what a new file system has, root's alone.
    fn fill(&self, pod: usize, text: &str) {
        let folder = self.stage.claim(&format!("data-db-{pod}"));
        std::fs::create_dir_all(folder.join("deep")).unwrap();
        std::fs::create_dir_all(folder.join("lost+found")).unwrap();
        std::fs::set_permissions(folder.join("lost+found"), std::fs::Permissions::from_mode(0o700)).unwrap();
        for file in ["table", "deep/index"] {
            std::fs::write(folder.join(file), text).unwrap();
        }
        for path in [folder.join("deep"), folder.join("table"), folder.join("deep/index")] {
            std::os::unix::fs::chown(path, Some(crate::world::USER), None).unwrap();
        }
    }

    fn read(&self, pod: usize) -> String {
        let folder = self.stage.claim(&format!("data-db-{pod}"));
        let [table, index] = ["table", "deep/index"].map(|file| std::fs::read_to_string(folder.join(file)));
        let (table, index) = (table.unwrap_or_default(), index.unwrap_or_default());
        assert_eq!(table, index, "both files are of one time");
        table
    }

    fn order(&self, action: &str, more: Json) -> Json {
        let mut order = json!({
            "name": action, "object": self.stage.the("StatefulSet", "db"),
            "profile": { "name": "store", "namespace": self.stage.namespace },
        });
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        order
    }

    /// The outputs of an action of the blueprint `data`.
    async fn outputs(&self, action: &str, options: Json) -> Json {
        let order = self.order(action, json!({ "options": options }));
        self.stage.complete(&action.replace('_', "-"), "data", order).await["phases"][0]["output"].clone()
    }
}

/// A call with what all of these functions take.
fn call(func: &str, more: Json) -> Json {
    let mut args = json!({ "namespace": "{{ .StatefulSet.Namespace }}", "encryptionKey": PASSPHRASE });
    if func == "CheckRepository" {
        args = json!({ "encryptionKey": PASSPHRASE });
    }
    args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    only(func, args)
}

fn text<'j>(outputs: &'j Json, key: &str) -> &'j str {
    outputs[key].as_str().unwrap_or_else(|| panic!("no {key}: {outputs}"))
}

#[test]
fn a_directory_of_a_container_there_and_back() {
    let Some(stage) = Stage::new("backup_data") else { return };
    let world = stage.world.runtime.handle().clone();
    world.block_on(async {
        let Some(shop) = Shop::open(stage).await else { return };
        let id = "{{ .Options.id }}";
        let inside = json!({ "pod": "db-0", "container": "main", "includePath": "/data", "backupArtifactPrefix": "shop/db-0" });
        let back = |key: &str| {
            json!({ "image": format!("{PLAIN}tools"), "backupArtifactPrefix": "shop/db-0", "pod": "db-0", key: id })
        };
        let stats = |mode: &str| json!({ "backupArtifactPrefix": "shop/db-0", "backupID": id, "statsMode": mode });
        let check = json!({ "backupArtifactPrefix": "shop" });
        let mut wrong = check.clone();
        wrong["encryptionKey"] = "another one than that".into();
        let actions = json!({
            "check": call("CheckRepository", check), "wrong": call("CheckRepository", wrong),
            "backup": call("BackupData", inside), "restore": call("RestoreData", back("backupIdentifier")),
            "tagged": call("RestoreData", back("backupTag")),
            "stats": call("BackupDataStats", stats("restore-size")), "raw": call("BackupDataStats", stats("raw-data")),
            "delete": call("DeleteData", json!({ "backupArtifactPrefix": "shop/db-0", "backupID": id, "reclaimSpace": true })),
        });
        shop.stage.recipe("data", actions).await;
        let none = shop.order("check", json!({}));
        let none = shop.stage.complete("nothing-there", "data", none).await["phases"][0]["output"].clone();
        assert_eq!(none, json!({ "passwordIncorrect": "false", "repoUnavailable": "true", "version": "v0.0.0" }));
        let made = shop.outputs("backup", json!({})).await;
        assert_eq!((&made["fileCount"], &made["version"]), (&json!("2"), &json!("v0.0.0")));
        assert_eq!(made["backupTag"], made["backupID"]);
        assert!(text(&made, "size").ends_with("KiB") && !text(&made, "phySize").is_empty(), "{made}");
        assert!(!shop.bucket.keys().is_empty());
        let there = json!({ "passwordIncorrect": "false", "repoUnavailable": "false", "version": "v0.0.0" });
        assert_eq!(shop.outputs("check", json!({})).await, there);
        let wrong = shop.outputs("wrong", json!({})).await;
        assert_eq!(wrong["passwordIncorrect"], "true");
        let id = json!({ "id": made["backupID"] });
        for action in ["restore", "tagged"] {
            shop.fill(0, "damaged");
            shop.outputs(action, id.clone()).await;
            assert_eq!(shop.read(0), "table of 0", "{action}");
        }
        let stats = shop.outputs("stats", id.clone()).await;
        let wanted = json!({ "mode": "restore-size", "fileCount": "2", "size": made["size"], "version": "v0.0.0" });
        assert_eq!(stats, wanted);
        let raw = shop.outputs("raw", id.clone()).await;
        assert_eq!((&raw["mode"], &raw["size"]), (&json!("raw-data"), &made["phySize"]));
        assert_eq!(shop.outputs("delete", id.clone()).await, json!({ "spaceFreed": "0 B" }));
        for (order, id, words) in [
            ("gone", made["backupID"].clone(), "restore"),
            ("restic", "40dc1520".into(), "restic repository"),
            ("no-id", "what".into(), "is no id of a snapshot"),
        ] {
            let more = shop.order("restore", json!({ "options": { "id": id } }));
            let said = shop.stage.failure(order, "data", more).await;
            assert!(said.contains(words), "{order}: {said}");
        }
        assert_eq!(shop.read(0), "table of 0");
        shop.controller.assert_well();
        let said = shop.controller.said();
        assert!(!said.contains(PASSPHRASE), "no passphrase in the log");
    });
}

#[test]
fn all_pods_of_a_workload_there_and_back() {
    let Some(stage) = Stage::new("backup_data_all") else { return };
    let world = stage.world.runtime.handle().clone();
    world.block_on(async {
        let Some(shop) = Shop::open(stage).await else { return };
        let info = "{{ .ArtifactsIn.all.KeyValue.info }}";
        let prefix = json!({ "backupArtifactPrefix": format!("{}/all", shop.bucket.name), "backupInfo": info });
        let mut restore = prefix.clone();
        restore["image"] = format!("{PLAIN}tools").into();
        let back = |func: &str, args: Json| {
            let mut action = call(func, args);
            action["inputArtifactNames"] = json!(["all"]);
            action
        };
        let inside = json!({ "container": "main", "includePath": "/data", "backupArtifactPrefix": prefix["backupArtifactPrefix"] });
        let mut backup = call("BackupDataAll", inside);
        backup["outputArtifacts"] =
            json!({ "all": { "keyValue": { "info": "{{ .Phases.only.Output.BackupAllInfo }}" } } });
        let actions = json!({
            "backup": backup, "restore": back("RestoreDataAll", restore), "delete": back("DeleteDataAll", prefix),
        });
        shop.stage.recipe("data", actions).await;
        let made = shop.stage.complete("backup", "data", shop.order("backup", json!({}))).await;
        let info = text(&made["artifacts"]["all"]["keyValue"], "info");
        let pods: Json = serde_json::from_str(info).unwrap();
        for pod in ["db-0", "db-1"] {
            assert_eq!(pods[pod]["PodName"], pod);
            assert_eq!(text(&pods[pod], "BackupID").len(), 26);
        }
        assert_ne!(pods["db-0"]["BackupID"], pods["db-1"]["BackupID"]);
        (0..2).for_each(|pod| shop.fill(pod, "damaged"));
        let artifacts = json!({ "artifacts": made["artifacts"] });
        let order = shop.order("restore", artifacts.clone());
        shop.stage.complete("restore", "data", order).await;
        assert_eq!([shop.read(0), shop.read(1)], ["table of 0", "table of 1"]);
        let order = shop.order("delete", artifacts.clone());
        let freed = shop.stage.complete("delete", "data", order).await["phases"][0]["output"].clone();
        assert_eq!(freed, json!({ "spaceFreed": "0 B" }));
        let said = shop.stage.failure("gone", "data", shop.order("restore", artifacts)).await;
        for pod in pods.as_object().unwrap().values() {
            assert!(said.contains(text(pod, "BackupID")), "each pod's reason is told: {said}");
        }
        shop.controller.assert_well();
    });
}

#[test]
fn a_volume_is_copied_and_what_lies_under_a_path_is_deleted() {
    let Some(stage) = Stage::new("copy_volume") else { return };
    let world = stage.world.runtime.handle().clone();
    world.block_on(async {
        let Some(shop) = Shop::open(stage).await else { return };
        let copy = json!({ "volume": "data-db-1", "dataArtifactPrefix": "copies/db-1" });
        // Into the same volume, at another place than it was copied from.
        let back = json!({
            "image": format!("{PLAIN}tools"), "backupArtifactPrefix": "copies/db-1", "backupIdentifier": "{{ .Options.id }}",
            "volumes": { "data-db-1": "/target" }, "restorePath": "/target", "backupPath": "{{ .Options.root }}",
        });
        let push = |path: &str| {
            let command = format!("echo {path} | kando location push --profile '{{{{ toJson .Profile }}}}' --path {path} -");
            let args = json!({ "namespace": "{{ .StatefulSet.Namespace }}", "image": format!("{OURS}tools"), "command": ["sh", "-c", command] });
            phase("KubeTask", &path.replace('/', ""), args)
        };
        let actions = json!({
            "copy": call("CopyVolumeData", copy), "restore": call("RestoreData", back),
            "push": { "phases": [push("dumps/monday"), push("dumps/tuesday"), push("dumpsters")] },
            "clean": only("LocationDelete", json!({ "artifact": "{{ .Options.path }}" })),
        });
        shop.stage.recipe("data", actions).await;
        let made = shop.outputs("copy", json!({})).await;
        assert_eq!(made["backupRoot"], "/mnt/vol_data/data-db-1");
        assert_eq!((&made["backupArtifactLocation"], &made["fileCount"]), (&json!("copies/db-1"), &json!("2")));
        shop.fill(1, "damaged");
        shop.outputs("restore", json!({ "id": made["backupID"], "root": made["backupRoot"] })).await;
        assert_eq!([shop.read(0), shop.read(1)], ["table of 0", "table of 1"]);
        // Plain objects, beside the repository's prefix.
        let plain = format!("{}/plain", shop.bucket.prefix);
        shop.bucket.profile(&shop.stage, "plain", &plain).await;
        let profile = json!({ "name": "plain", "namespace": shop.stage.namespace });
        let plain = || shop.bucket.keys().into_iter().filter(|key| key.starts_with("plain/")).collect::<Vec<_>>();
        let order = shop.order("push", json!({ "profile": profile }));
        shop.stage.complete("push", "data", order).await;
        assert_eq!(plain(), ["plain/dumps/monday", "plain/dumps/tuesday", "plain/dumpsters"]);
        let path = format!("{}/dumps", shop.bucket.name);
        let order = shop.order("clean", json!({ "profile": profile, "options": { "path": path } }));
        shop.stage.complete("clean", "data", order).await;
        assert_eq!(plain(), ["plain/dumpsters"]);
        let order = shop.order("clean", json!({ "profile": profile, "options": { "path": shop.bucket.name } }));
        let said = shop.stage.failure("clean-all", "data", order).await;
        assert!(said.contains("names nothing below the location"), "{said}");
        assert_eq!(plain(), ["plain/dumpsters"]);
        shop.controller.assert_well();
    });
}
