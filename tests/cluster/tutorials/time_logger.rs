//! 1. The time logger: a command in a Deployment's pod, a ConfigMap, a Secret, artifacts, `kanctl create --from`.

use super::{assert_told, ordered};
use crate::images::{open, server};
use crate::stage::Stage;
use crate::support::home::wait_until;
use crate::workloads::{Workloads, ready, sleeper, workload};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Appends the time to `time.log` where it stands, until it is told to rest.
const LOGGER: &str =
    "trap 'exit 0' TERM; while :; do [ -e rest ] || date >>time.log; sleep 0.1 & wait $!; done";

/// The logger's directory and the store's, on this machine.
async fn logger(stage: &Stage) -> (PathBuf, PathBuf) {
    let plane = stage.world.plane.as_ref().unwrap();
    let store = server(plane, "busybox");
    let logs = stage.folder().join("logs");
    std::fs::create_dir_all(&logs).unwrap();
    open(&logs);
    let mut container = sleeper("test-container");
    container["command"] = json!(["sh", "-c", LOGGER]);
    container["workingDir"] = "/var/log/time".into();
    container["volumeMounts"] =
        json!([{ "name": "logs", "mountPath": "/var/log/time" }, { "name": "store", "mountPath": "/store" }]);
    let host = |name: &str, path: &Path| json!({ "name": name, "hostPath": { "path": path } });
    let pod = json!({ "containers": [container], "volumes": [host("logs", &logs), host("store", &store)] });
    workload(stage, "Deployment", "time-logger", 1, pod, &[]).await;
    ready(stage, "Deployment", "time-logger", 1).await;
    (logs.join("time.log"), store)
}

#[test]
fn the_time_logger_is_backed_up_restored_and_deleted() {
    let Some(stage) = Stage::new("time_logger") else { return };
    stage.world.play(async {
        let _workloads = Workloads::begin(&stage);
        let (log, store) = logger(&stage).await;
        stage.published("good/time-log.yaml").await;
        let path = format!("/store/{}", stage.namespace);
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "s3-location" }, "data": { "path": path },
        });
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "aws-creds" },
            "stringData": { "aws_access_key_id": "AKIA", "aws_secret_access_key": "s3cr3t" },
        });
        for object in [map, secret] {
            stage.apply(&object.to_string()).await;
        }
        wait_until("the logger has written", || std::fs::read_to_string(&log).is_ok_and(|t| t.lines().count() > 1));
        let controller = stage.controller(&["--no-leader-election"]);

        let ns = &stage.namespace;
        let (object, map) = (format!("{ns}/time-logger"), format!("location={ns}/s3-location"));
        let secret = format!("aws={ns}/aws-creds");
        let flags = ["-a", "backup", "-b", "time-log-bp", "-d", &object, "-c", &map, "-s", &secret];
        let (backup, action) = ordered(&stage, &flags).await;
        assert_eq!(action["artifacts"]["timeLog"]["keyValue"]["path"], format!("{path}/time-log/"));
        let stored = store.join(ns).join("time-log/time.log");
        let kept = std::fs::read_to_string(&stored).unwrap();
        assert!(kept.lines().count() > 1, "{kept}");
        let told = ["Started Action", "Started Phase", "Ended Phase", "ActionSetComplete"];
        assert_told(&stage, &backup, &told).await;
        assert!(stage.kanctl(&["describe", &backup]).contains("backupToS3  complete"));

        std::fs::write(log.with_file_name("rest"), "").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(300));
        std::fs::write(&log, "lost\n").unwrap();
        let (restore, action) = ordered(&stage, &["-a", "restore", "--from", &backup]).await;
        assert!(restore.starts_with(&format!("restore-{backup}-")), "{restore} is named after its parent");
        assert_eq!(action["object"]["name"], "time-logger", "{action}");
        assert_eq!(std::fs::read_to_string(&log).unwrap(), kept);

        ordered(&stage, &["-a", "delete", "--from", &backup, "-T", ns]).await;
        assert!(!stored.exists());
        // There is nothing to restore any more.
        let said = stage.try_kanctl(&["create", "actionset", "-a", "restore", "--from", &backup, "--wait"]);
        assert_eq!(said.code, Some(1), "{}", said.err);
        assert!(said.err.contains("No such file"), "{}", said.err);
        controller.assert_well();
        assert!(!controller.said().contains("s3cr3t"));
    });
}
