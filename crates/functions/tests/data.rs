//! Stories of the credential's way into pods and containers, and of the functions that move data.
#![allow(clippy::disallowed_methods, reason = "a test may unwrap")]

mod common;

use cistern_api::ActionSpec;
use cistern_api::wire::output_line;
use cistern_functions::ports::Cluster as _;
use cistern_functions::reference::of_kind;
use cistern_functions::setting::Setting;
use cistern_functions::{mover, profile, run};
use cistern_sim::cluster::{Fate, PaperCluster, Plot};
use common::{call, setting, told};
use serde_json::{Value as Json, json};

const ID: &str = "01JD3Q5Z6V8W9X0Y1Z2A3B4C5D";
const OTHER_ID: &str = "01JD3Q5Z6V8W9X0Y1Z2A3B4C5E";

/// What a template makes of `toJson .Profile`.
fn reference() -> String {
    json!({ "cistern.dev/profile-file": profile::FILE }).to_string()
}

fn plot(word: &'static str, outputs: &[(&str, &str)]) -> Plot {
    let prints = outputs.iter().map(|(key, value)| output_line(key, value).unwrap()).collect();
    Plot { word, secs: 60, prints, ..Plot::default() }
}

fn push() -> Plot {
    let outputs =
        [("backupID", ID), ("backupTag", ID), ("fileCount", "3"), ("size", "1.000 KiB"), ("phySize", "9 B")];
    plot("volume push", &outputs)
}

fn claim(cluster: &PaperCluster, name: &str) {
    let metadata = json!({ "name": name, "namespace": "app" });
    let spec = json!({ "accessModes": ["ReadWriteOnce"] });
    cluster.add(json!({ "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec }));
}

fn pod(cluster: &PaperCluster, namespace: &str, name: &str) -> Json {
    cluster.object(&of_kind("pod", namespace, name)).unwrap()
}

fn secret(cluster: &PaperCluster, namespace: &str, pod: &str) -> Option<Json> {
    let found = cluster.object(&of_kind("secret", namespace, &format!("{pod}-profile")))?;
    Some(serde_json::from_str(found["stringData"]["profile.json"].as_str().unwrap()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_pod_finds_the_credential_in_a_file_that_goes_with_it() {
    let cluster = PaperCluster::new(vec![plot("dump", &[])]);
    let words = ["dump", "--profile", &reference()];
    let args = json!({ "image": "i", "namespace": "app", "command": words });
    told(&cluster, "KubeTask", args).await.unwrap();
    let name = "kanister-job-u1-0-0";
    let made = pod(&cluster, "app", name);
    assert!(!made.to_string().contains("s3cr3t") && !made.to_string().contains("k3y"), "{made}");
    let mount = &made["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["mountPath"], "/var/run/cistern/profile");
    assert_eq!(made["spec"]["volumes"][0]["secret"]["secretName"], format!("{name}-profile"));
    let file = secret(&cluster, "app", name).unwrap();
    assert_eq!(file["Credential"]["KeyPair"]["Secret"], "s3cr3t");
    assert_eq!(file["cistern.dev/repository"], json!({ "location": "s3://b/repo", "key": "k3y" }));
    run::remove(&cluster, &of_kind("pod", "app", name)).await.unwrap();
    assert_eq!(secret(&cluster, "app", name), None, "the Secret belongs to its pod");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_does_not_ask_for_the_credential_does_not_get_it() {
    let cluster = PaperCluster::new(vec![plot("dump", &[])]);
    let args = json!({ "image": "i", "namespace": "app", "command": ["dump"] });
    told(&cluster, "KubeTask", args).await.unwrap();
    assert_eq!(secret(&cluster, "app", "kanister-job-u1-0-0"), None);
}

#[tokio::test(start_paused = true)]
async fn a_pod_whose_secret_was_not_made_in_time_gets_it_from_the_next_call() {
    let words = ["dump", &reference()];
    let args = json!({ "image": "i", "namespace": "app", "command": words });
    for fate in [Fate::DiesAfter(1), Fate::DiesBefore(2), Fate::DiesAfter(2), Fate::LosesReply(2)] {
        let cluster = PaperCluster::new(vec![plot("dump", &[])]);
        cluster.decree(fate);
        tokio::select! {
            _ = told(&cluster, "KubeTask", args.clone()) => {}
            () = cluster.death() => {}
        }
        cluster.revive();
        told(&cluster, "KubeTask", args.clone()).await.unwrap();
        assert!(secret(&cluster, "app", "kanister-job-u1-0-0").is_some(), "{fate:?}");
        assert_eq!(cluster.began()["dump"], 1, "{fate:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_of_others_gets_the_credential_on_standard_input() {
    let cluster = PaperCluster::new(vec![plot("dump", &[("id", "7")])]);
    let words = ["sh", "-c", &format!("dump | kando location push --profile '{}' -", reference())];
    let args = json!({ "namespace": "app", "pod": "db-0", "command": words });
    told(&cluster, "KubeExec", args).await.unwrap();
    let asked = cluster.asked().concat();
    assert!(!asked.contains("s3cr3t") && asked.contains("/proc/self/fd/9"), "{asked}");
    assert!(cluster.inputs()[0].contains("s3cr3t"));
    let args = json!({ "namespace": "app", "pod": "db-0", "command": ["dump"] });
    told(&cluster, "KubeExec", args).await.unwrap();
    assert_eq!(cluster.inputs()[1], "", "a command that does not ask for it does not get it");
}

#[tokio::test(start_paused = true)]
async fn our_program_comes_first_in_pods_of_any_image() {
    let setting = Setting { mover_image: Some("ours:1".to_owned()), ..setting() };
    let args = json!({
        "backgroundImage": "b", "backgroundCommand": ["serve"], "outputImage": "o",
        "outputCommand": ["bash", "-c", "dump"], "initImage": "x", "initCommand": ["prepare"],
    });
    let cluster = PaperCluster::new(vec![plot("dump", &[])]);
    let asked = call("MultiContainerRun", args.clone(), ActionSpec::default());
    cistern_functions::call(&asked, &setting, &cluster).await.unwrap();
    let spec = &pod(&cluster, "kanister", "kanister-job-u1-0-0")["spec"];
    let install = &spec["initContainers"][0];
    assert_eq!(install["image"], "ours:1");
    assert_eq!(install["command"], json!(["/cistern", "kando", "mover", "install", "/var/run/cistern/bin"]));
    assert_eq!(install["securityContext"]["allowPrivilegeEscalation"], false);
    let output = &spec["containers"][0];
    let first = ["/var/run/cistern/bin/kando", "mover", "exec", "--", "bash", "-c", "dump"];
    assert_eq!(output["command"], json!(first));
    for container in [output, &spec["containers"][1], &spec["initContainers"][1]] {
        let mounts = container["volumeMounts"].as_array().unwrap();
        let paths: Vec<_> = mounts.iter().map(|m| m["mountPath"].as_str().unwrap()).collect();
        assert_eq!(paths, ["/tmp/", "/var/run/cistern/bin"]);
    }
    let mut off = args;
    off["podAnnotations"] = json!({ mover::ANNOTATION: "off" });
    let cluster = PaperCluster::new(vec![plot("dump", &[])]);
    let asked = call("MultiContainerRun", off, ActionSpec::default());
    cistern_functions::call(&asked, &setting, &cluster).await.unwrap();
    let spec = &pod(&cluster, "kanister", "kanister-job-u1-0-0")["spec"];
    assert_eq!(spec["containers"][0]["command"], json!(["bash", "-c", "dump"]));
}

fn backup() -> Json {
    json!({ "namespace": "app", "pod": "db-0", "container": "db", "includePath": "/var/lib/db",
        "backupArtifactPrefix": "b/db/nightly", "encryptionKey": "pass phrase" })
}

#[tokio::test(start_paused = true)]
async fn a_directory_is_stored_from_within_its_container() {
    let cluster = PaperCluster::new(vec![push()]);
    let output = told(&cluster, "BackupData", backup()).await.unwrap();
    let wanted = json!({ "backupID": ID, "backupTag": ID, "fileCount": "3", "size": "1.000 KiB",
        "phySize": "9 B", "version": "v0.0.0" });
    assert_eq!(Json::Object(output), wanted);
    let asked = cluster.asked().concat();
    assert!(asked.starts_with("exec app/db-0 kando volume push --profile {"), "{asked}");
    assert!(asked.ends_with("--path db/nightly -- /var/lib/db"), "the bucket is no part of it: {asked}");
    let input: Json = serde_json::from_str(&cluster.inputs()[0]).unwrap();
    let repository = json!({ "location": "s3://b/repo", "passphrase": "pass phrase" });
    assert_eq!(input["cistern.dev/repository"], repository);
    let cluster = PaperCluster::new(vec![Plot { exit: 8, ..push() }]);
    assert!(told(&cluster, "BackupData", backup()).await.unwrap_err().contains("ended with status 8"));
}

#[tokio::test(start_paused = true)]
async fn all_pods_of_a_workload_are_stored_and_come_back_and_go() {
    let cluster = PaperCluster::new(vec![push()]);
    let mut args = backup();
    args.as_object_mut().unwrap().remove("pod");
    let output = told(&cluster, "BackupDataAll", args.clone()).await.unwrap();
    let info = output["BackupAllInfo"].as_str().unwrap().to_owned();
    let one = |pod: &str| json!({ "PodName": pod, "BackupID": ID, "BackupTag": ID });
    let wanted = json!({ "db-0": one("db-0"), "db-1": one("db-1") });
    assert_eq!(serde_json::from_str::<Json>(&info).unwrap(), wanted);
    let asked = cluster.asked().concat();
    assert!(
        asked.contains("--path db/nightly/db-0 ") && asked.contains("--path db/nightly/db-1 "),
        "{asked}"
    );

    for pod in ["db-0", "db-1"] {
        claim(&cluster, &format!("data-{pod}"));
    }
    let restore = json!({ "namespace": "app", "image": "i", "backupArtifactPrefix": "db/nightly",
        "backupInfo": info });
    told(&cluster, "RestoreDataAll", restore.clone()).await.unwrap();
    for (i, of) in ["db-0", "db-1"].iter().enumerate() {
        let pod = pod(&cluster, "app", &format!("restore-data-all-u1-0-0-{i}"));
        let volume = &pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"];
        assert_eq!(*volume, format!("data-{of}"));
    }
    let mut more = restore;
    more["pods"] = "db-0 db-7".into();
    let reason = told(&cluster, "RestoreDataAll", more).await.unwrap_err();
    assert_eq!(reason, "backupInfo has no pod \"db-7\"; it has db-0, db-1");

    let delete = json!({ "namespace": "app", "backupArtifactPrefix": "db/nightly", "backupInfo": info });
    let output = told(&cluster, "DeleteDataAll", delete).await.unwrap();
    assert_eq!(Json::Object(output), json!({ "spaceFreed": "0 B" }));
}

#[tokio::test(start_paused = true)]
async fn a_volume_is_stored_from_a_pod_of_its_own() {
    let cluster = PaperCluster::new(vec![push()]);
    claim(&cluster, "data");
    let args = json!({ "namespace": "app", "volume": "data", "dataArtifactPrefix": "db" });
    let output = told(&cluster, "CopyVolumeData", args).await.unwrap();
    assert_eq!((&output["backupRoot"], &output["backupID"]), (&json!("/mnt/vol_data/data"), &json!(ID)));
    assert_eq!(output["backupArtifactLocation"], "db");
    let pod = pod(&cluster, "app", "copy-vol-data-u1-0-0");
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["image"], "tools");
    assert_eq!(container["volumeMounts"][0]["mountPath"], "/mnt/vol_data/data");
    assert_eq!(container["command"].as_array().unwrap().last().unwrap(), "/mnt/vol_data/data");
}

fn restore(id: &str) -> Json {
    json!({ "namespace": "app", "image": "i", "backupArtifactPrefix": "db", "backupIdentifier": id,
        "pod": "db-0", "backupPath": "/var/lib/db", "restorePath": "/var/lib/db" })
}

#[tokio::test(start_paused = true)]
async fn a_directory_comes_back_into_the_volumes_of_a_pod_that_may_be_gone() {
    let cluster = PaperCluster::new(vec![plot("volume pull", &[])]);
    claim(&cluster, "data-db-0");
    told(&cluster, "RestoreData", restore(ID)).await.unwrap();
    let pod = pod(&cluster, "app", "restore-data-u1-0-0");
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["volumeMounts"][0]["mountPath"], "/var/lib/db");
    let words = container["command"].as_array().unwrap();
    let end: Vec<_> = words.iter().skip(5).map(|word| word.as_str().unwrap()).collect();
    let wanted = ["--path", "db", "--snapshot", ID, "--below", "/var/lib/db", "--", "/var/lib/db"];
    assert_eq!(end, wanted);

    let mut keyed = restore(ID);
    keyed["encryptionKey"] = "pass phrase".into();
    let other = PaperCluster::new(vec![plot("volume pull", &[])]);
    claim(&other, "data-db-0");
    told(&other, "RestoreData", keyed).await.unwrap();
    let made = self::pod(&other, "app", "restore-data-u1-0-0").to_string();
    assert!(!made.contains("pass phrase") && !made.contains("s3cr3t"), "{made}");
    let file = secret(&other, "app", "restore-data-u1-0-0").unwrap();
    assert_eq!(file["cistern.dev/repository"]["passphrase"], "pass phrase");

    let restic = told(&cluster, "RestoreData", restore("40dc1520")).await.unwrap_err();
    assert!(restic.contains("40dc1520 is a snapshot of a restic repository"), "{restic}");
    let mut both = restore(ID);
    both["backupTag"] = ID.into();
    let reason = told(&cluster, "RestoreData", both).await.unwrap_err();
    assert_eq!(reason, "it takes backupIdentifier or backupTag, not both");
    let mut stranger = restore(ID);
    stranger["pod"] = "web-0".into();
    assert!(told(&cluster, "RestoreData", stranger).await.unwrap_err().contains("has no pod \"web-0\""));
}

#[tokio::test(start_paused = true)]
async fn a_restore_is_taken_up_by_the_next_call() {
    let cluster = PaperCluster::new(vec![Plot { secs: 600, ..plot("volume pull", &[]) }]);
    claim(&cluster, "data-db-0");
    let given_up = std::time::Duration::from_secs(30);
    assert!(tokio::time::timeout(given_up, told(&cluster, "RestoreData", restore(ID))).await.is_err());
    told(&cluster, "RestoreData", restore(ID)).await.unwrap();
    assert_eq!(cluster.began()["volume pull"], 1);
}

#[tokio::test(start_paused = true)]
async fn snapshots_are_forgotten_by_id() {
    let cluster = PaperCluster::new(vec![plot("volume delete", &[])]);
    let ids = format!("{ID} {OTHER_ID}");
    let args = json!({ "namespace": "app", "backupArtifactPrefix": "b/db b/db2", "backupID": ids,
        "reclaimSpace": true });
    let output = told(&cluster, "DeleteData", args.clone()).await.unwrap();
    assert_eq!(Json::Object(output), json!({ "spaceFreed": "0 B" }));
    let command = pod(&cluster, "app", "delete-data-u1-0-0")["spec"]["containers"][0]["command"].clone();
    let words: Vec<_> = command.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(words[5..], ["--path", "db", "--snapshot", ID, "--snapshot", OTHER_ID]);
    let mut neither = args;
    neither["backupID"] = "".into();
    let reason = told(&cluster, "DeleteData", neither).await.unwrap_err();
    assert_eq!(reason, "it needs backupID or backupTag");
}

#[tokio::test(start_paused = true)]
async fn sizes_of_a_snapshot_are_told() {
    let said = [("fileCount", "3"), ("size", "1.000 KiB"), ("phySize", "9 B")];
    for (mode, size) in [("", "1.000 KiB"), ("raw-data", "9 B")] {
        let cluster = PaperCluster::new(vec![plot("volume stats", &said)]);
        let args =
            json!({ "namespace": "app", "backupArtifactPrefix": "db", "backupID": ID, "statsMode": mode });
        let output = told(&cluster, "BackupDataStats", args).await.unwrap();
        let mode = if mode.is_empty() { "restore-size" } else { mode };
        let wanted = json!({ "mode": mode, "fileCount": "3", "size": size, "version": "v0.0.0" });
        assert_eq!(Json::Object(output), wanted);
    }
    let cluster = PaperCluster::new(Vec::new());
    let args = json!({ "namespace": "app", "backupArtifactPrefix": "db", "backupID": ID, "statsMode": "x" });
    assert!(told(&cluster, "BackupDataStats", args).await.unwrap_err().contains("is none of restore-size"));
}

#[tokio::test(start_paused = true)]
async fn a_repository_is_checked_and_a_location_tidied_from_the_controllers_namespace() {
    let said = [("passwordIncorrect", "true"), ("repoUnavailable", "false")];
    let cluster = PaperCluster::new(vec![plot("volume check", &said)]);
    let output = told(&cluster, "CheckRepository", json!({ "backupArtifactPrefix": "db" })).await.unwrap();
    assert_eq!((&output["passwordIncorrect"], &output["version"]), (&json!("true"), &json!("v0.0.0")));
    pod(&cluster, "kanister", "check-repository-u1-0-0");
    told(&cluster, "LocationDelete", json!({ "artifact": "s3://b/db/monday" })).await.unwrap();
    let made = pod(&cluster, "kanister", "location-delete-u1-0-0");
    let words = made["spec"]["containers"][0]["command"].as_array().unwrap();
    assert_eq!(words.last().unwrap(), "db/monday");
    let reason = told(&cluster, "LocationDelete", json!({ "artifact": "b" })).await.unwrap_err();
    assert_eq!(reason, "the path \"b\" names nothing below the location");
    // Nothing that was asked for in writing holds the credential, but the Secrets.
    for at in cluster.list(&of_kind("pod", "", ""), "").await.unwrap() {
        assert!(!at.to_string().contains("s3cr3t"), "{at}");
    }
}
