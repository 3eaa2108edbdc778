//! Stories of the functions over RDS: each step dies once, loses its reply once, and is taken up again.
#![allow(clippy::disallowed_methods, reason = "a test may unwrap")]

mod common;

use cistern_api::{ActionSpec, Object};
use cistern_functions::databases::{Access, AccessKey, Database, Form, Snapshot};
use cistern_functions::reference::of_kind;
use cistern_functions::setting::Setting;
use cistern_sim::cluster::{Fate, PaperCluster, Plot};
use cistern_sim::rds::PaperRds;
use common::{call, setting};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

/// A service with an instance, a cluster with two members, and a snapshot of each.
fn service() -> PaperRds {
    let rds = PaperRds::default();
    let database = |class: &str| Database {
        allocated_gib: 20,
        class: class.to_owned(),
        security_groups: texts(&["sg-1", "sg-2"]),
        subnet_group: "inner".to_owned(),
        ..Database::default()
    };
    rds.add(Form::Instance, "db", database("db.t3.micro"));
    rds.add(Form::Cluster, "many", database(""));
    for id in ["many-a", "many-b"] {
        rds.add(Form::Instance, id, database("db.r6g.large"));
        rds.join("many", id);
    }
    let taken = |engine: &str| Snapshot { engine: engine.to_owned(), ..Snapshot::default() };
    rds.add_snapshot("kept", taken("postgres"));
    rds.add_snapshot("kept-many", taken("aurora-mysql"));
    rds
}

fn setting_with(rds: &PaperRds) -> Setting {
    Setting { databases: Some(Arc::new(rds.clone())), ..setting() }
}

async fn told(rds: &PaperRds, cluster: &PaperCluster, function: &str, args: &Json) -> Result<Object, String> {
    let call = call(function, args.clone(), ActionSpec::default());
    cistern_functions::call(&call, &setting_with(rds), cluster).await
}

/// The same, made again by others whenever the one who makes it dies.
async fn told_by_several(
    rds: &PaperRds,
    cluster: &PaperCluster,
    function: &str,
    args: &Json,
) -> Result<Object, String> {
    loop {
        tokio::select! {
            outcome = told(rds, cluster, function, args) => return outcome,
            () = rds.death() => { rds.revive(); }
            () = cluster.death() => cluster.revive(),
        }
        tokio::time::sleep(Duration::from_secs(7)).await;
    }
}

fn cluster() -> PaperCluster {
    let dump = Plot { word: "pg_dump", secs: 900, ..Plot::default() };
    let pour = Plot { word: "drop database", secs: 900, ..Plot::default() };
    PaperCluster::new(vec![dump, pour])
}

/// Lets every write, to the service and to the cluster, be the last of whoever makes it, before and after it lands,
/// and lose its answer; each time the outcome and what was done must be the same.
async fn whatever_happens(function: &str, args: Json, done: &[&str], there: &[&str]) -> Object {
    let (rds, cluster) = (service(), self::cluster());
    let first = told(&rds, &cluster, function, &args).await.unwrap();
    assert_eq!(rds.asked(), texts(done), "undisturbed");
    let (writes, in_cluster) = (rds.asked().len(), cluster.writes());
    for number in 1..=writes.max(in_cluster) {
        for fate in [Fate::DiesBefore(number), Fate::DiesAfter(number), Fate::LosesReply(number)] {
            for ours in [true, false] {
                let (rds, cluster) = (service(), self::cluster());
                if ours {
                    rds.decree(fate)
                } else {
                    cluster.decree(fate)
                }
                rds.throttle(3);
                let outcome = told_by_several(&rds, &cluster, function, &args).await;
                assert_eq!(outcome.as_ref(), Ok(&first), "{fate:?} {ours}");
                assert_eq!(rds.asked(), texts(done), "{fate:?} {ours}");
                assert_eq!(rds.there(), texts(there), "{fate:?} {ours}");
                let pods = cluster.asked().iter().filter(|what| what.starts_with("create pods")).count();
                assert!(
                    pods <= 2 && cluster.began().values().all(|n| *n == 1),
                    "{fate:?}: {:?}",
                    cluster.asked()
                );
            }
        }
    }
    first
}

/// What stands for the attempt in identifiers.
const MARK: &str = "tgewf4ht3f";

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_taken_once_and_waited_for() {
    let id = format!("db-{MARK}");
    let there = ["many", "db", "many-a", "many-b", &id, "kept", "kept-many"];
    let args = json!({ "instanceID": "db" });
    let made = whatever_happens("CreateRDSSnapshot", args, &["snapshot db"], &there).await;
    let wanted = json!({ "snapshotID": id, "instanceID": "db", "securityGroupID": "- sg-1\n- sg-2\n",
        "allocatedStorage": "20GiB", "dbSubnetGroup": "inner" });
    assert_eq!(Json::Object(made), wanted);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_has_its_own_snapshots_and_no_size() {
    let (rds, cluster) = (service(), cluster());
    let args = json!({ "instanceID": "many", "dbEngine": "aurora-postgresql" });
    let made = told(&rds, &cluster, "CreateRDSSnapshot", &args).await.unwrap();
    assert_eq!(made["allocatedStorage"], "0GiB");
    assert_eq!(rds.asked(), ["snapshot many"]);
    let reason =
        told(&rds, &cluster, "CreateRDSSnapshot", &json!({ "instanceID": "many" })).await.unwrap_err();
    assert_eq!(reason, "there is no RDS instance many");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_fails_is_taken_away() {
    let (rds, cluster) = (service(), cluster());
    rds.ends_as("failed");
    let reason = told(&rds, &cluster, "CreateRDSSnapshot", &json!({ "instanceID": "db" })).await.unwrap_err();
    assert!(reason.contains("of RDS instance db failed; the events"), "{reason}");
    assert!(!rds.there().iter().any(|id| id.starts_with("db-")), "{:?}", rds.there());
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_goes_and_one_that_is_not_there_is_gone() {
    let there = ["many", "db", "many-a", "many-b", "kept-many"];
    let args = json!({ "snapshotID": "kept" });
    whatever_happens("DeleteRDSSnapshot", args, &["delete snapshot kept"], &there).await;
    let (rds, cluster) = (service(), cluster());
    told(&rds, &cluster, "DeleteRDSSnapshot", &json!({ "snapshotID": "never" })).await.unwrap();
    assert_eq!(rds.asked(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_replaced_by_what_is_in_its_snapshot() {
    let there = ["many", "db", "many-a", "many-b", "kept", "kept-many"];
    let args = json!({ "instanceID": "db", "snapshotID": "kept", "securityGroupID": "- sg-9\n",
        "dbSubnetGroup": "outer" });
    let done = ["delete db", "restore db from kept in outer with sg-9"];
    let outputs = whatever_happens("RestoreRDSSnapshot", args, &done, &there).await;
    assert_eq!(outputs, Object::new());
    // What nobody names is as it was, also for whoever comes when the instance is gone.
    let args = json!({ "instanceID": "db", "snapshotID": "kept" });
    let done = ["delete db", "restore db from kept in inner with sg-1,sg-2"];
    whatever_happens("RestoreRDSSnapshot", args, &done, &there).await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_is_replaced_with_one_instance_of_the_class_it_had() {
    let there = ["many", "db", "many-instance-1", "kept", "kept-many"];
    let args = json!({ "instanceID": "many", "snapshotID": "kept-many", "dbEngine": "aurora-mysql" });
    let done = [
        "delete many-a",
        "delete many-b",
        "delete many",
        "restore many from kept-many in inner with sg-1,sg-2",
        "member many-instance-1 db.r6g.large of many",
    ];
    whatever_happens("RestoreRDSSnapshot", args, &done, &there).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_deleted_for_a_snapshot_that_cannot_be_restored() {
    let (rds, cluster) = (service(), cluster());
    let args = json!({ "instanceID": "db", "snapshotID": "never" });
    let reason = told(&rds, &cluster, "RestoreRDSSnapshot", &args).await.unwrap_err();
    assert_eq!(reason, "there is no RDS snapshot never");
    let args = json!({ "instanceID": "new", "snapshotID": "kept" });
    let reason = told(&rds, &cluster, "RestoreRDSSnapshot", &args).await.unwrap_err();
    assert!(reason.contains("name them in securityGroupID"), "{reason}");
    let args = json!({ "instanceID": "db" });
    let reason = told(&rds, &cluster, "RestoreRDSSnapshot", &args).await.unwrap_err();
    assert!(reason.starts_with("it needs snapshotID, or else namespace, backupArtifactPrefix"), "{reason}");
    for (function, missing) in [("RestoreRDSSnapshot", "instanceID"), ("DeleteRDSSnapshot", "snapshotID")] {
        let reason =
            told(&rds, &cluster, function, &json!({ "instanceID": "", "snapshotID": "" })).await.unwrap_err();
        assert_eq!(reason, format!("it has no {missing}"));
    }
    assert_eq!(rds.asked(), [""; 0]);
    // One that is not there yet is made.
    let args = json!({ "instanceID": "new", "snapshotID": "kept", "securityGroupID": ["sg-9"] });
    told(&rds, &cluster, "RestoreRDSSnapshot", &args).await.unwrap();
    assert_eq!(rds.asked(), ["restore new from kept in  with sg-9"]);
}

#[tokio::test(start_paused = true)]
async fn a_restore_that_does_not_become_available_fails() {
    let (rds, cluster) = (service(), cluster());
    rds.ends_as("incompatible-network");
    let args = json!({ "instanceID": "db", "snapshotID": "kept" });
    let reason = told(&rds, &cluster, "RestoreRDSSnapshot", &args).await.unwrap_err();
    assert!(reason.starts_with("RDS instance db is incompatible-network"), "{reason}");
}

fn export() -> Json {
    json!({ "namespace": "app", "instanceID": "db", "snapshotID": "kept", "dbEngine": "PostgreSQL",
        "username": "admin\n", "password": "p4ss", "databases": "- shop\n- \"two words\"\n",
        "backupArtifactPrefix": "dumps/db" })
}

#[tokio::test(start_paused = true)]
async fn a_dump_is_made_of_a_database_for_this_purpose_which_goes_again() {
    let temporary = format!("db-{MARK}");
    let there = ["many", "db", "many-a", "many-b", "kept", "kept-many"];
    let restored = format!("restore {temporary} from kept in inner with sg-1,sg-2");
    let deleted = format!("delete {temporary}");
    let function = "ExportRDSSnapshotToLocation";
    let outputs = whatever_happens(function, export(), &[&restored, &deleted], &there).await;
    let backup = format!("backup-{MARK}.tar.gz");
    let wanted = json!({ "backupID": backup, "snapshotID": "kept", "instanceID": "db",
        "securityGroupID": "- sg-1\n- sg-2\n" });
    assert_eq!(Json::Object(outputs), wanted);

    let (rds, cluster) = (service(), cluster());
    told(&rds, &cluster, "ExportRDSSnapshotToLocation", &export()).await.unwrap();
    let pod = cluster.object(&of_kind("pod", "app", "kanister-job-u1-0-0")).unwrap();
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["image"], "postgres-tools");
    let words: Vec<&str> =
        container["command"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
    assert_eq!(words[words.len() - 3..], [&format!("dumps/db/{backup}"), "shop", "two words"]);
    let host = format!("{temporary}.rds");
    for (i, (name, value)) in [("PGHOST", &*host), ("PGPORT", "5432")].iter().enumerate() {
        assert_eq!(container["env"][i], json!({ "name": name, "value": value }));
    }
    let secret = cluster.object(&of_kind("secret", "app", "kanister-job-u1-0-0-profile")).unwrap();
    assert_eq!(secret["stringData"]["username"], "admin", "what was typed after it is none of it");
    assert_eq!(secret["stringData"]["password"], "p4ss");
    assert!(!pod.to_string().contains("p4ss"), "the pod does not hold it");
}

#[tokio::test(start_paused = true)]
async fn a_database_for_a_dump_goes_whatever_happens() {
    let gone =
        |rds: &PaperRds| rds.there() == texts(&["many", "db", "many-a", "many-b", "kept", "kept-many"]);
    let rds = service();
    let fails = PaperCluster::new(vec![Plot { word: "pg_dump", exit: 3, ..Plot::default() }]);
    let cluster = fails;
    let reason = told(&rds, &cluster, "ExportRDSSnapshotToLocation", &export()).await.unwrap_err();
    assert!(reason.contains("ended with status 3"), "{reason}");
    assert!(gone(&rds), "{:?}", rds.there());

    let rds = service();
    rds.ends_as("storage-full");
    let limits = cistern_functions::setting::Limits { call: Duration::from_secs(1000), ..Default::default() };
    let setting = Setting { limits, ..setting_with(&rds) };
    let made = call("ExportRDSSnapshotToLocation", export(), ActionSpec::default());
    let reason = cistern_functions::call(&made, &setting, &self::cluster()).await.unwrap_err();
    assert!(reason.starts_with("it took longer than"), "{reason}");
    assert!(gone(&rds), "ended by its limit: {:?}", rds.there());

    // Ended from outside while the database is being made, which cannot be deleted yet.
    let rds = service();
    let setting = setting_with(&rds);
    let cluster = self::cluster();
    let under_way = cistern_functions::call(&made, &setting, &cluster);
    assert!(tokio::time::timeout(Duration::from_secs(60), under_way).await.is_err());
    assert!(!gone(&rds));
    let reason = cistern_functions::ended_by_force(&made, &setting, "cancelled".to_owned()).await;
    assert_eq!(reason, "cancelled");
    assert!(gone(&rds), "{:?}", rds.there());
    let again = cistern_functions::ended_by_force(&made, &setting, "cancelled".to_owned()).await;
    assert_eq!(again, "cancelled", "it can be repeated");
}

#[tokio::test(start_paused = true)]
async fn a_dump_comes_back_into_the_instance_that_is_there() {
    let args = json!({ "namespace": "app", "instanceID": "db", "backupArtifactPrefix": "dumps/db",
        "backupID": "backup-x.tar.gz", "username": "admin", "password": "p4ss", "dbEngine": "PostgreSQL" });
    let (rds, cluster) = (service(), cluster());
    let listens = Database {
        endpoint: Some(cistern_functions::databases::Endpoint { host: "db.rds".to_owned(), port: 5433 }),
        ..Database::default()
    };
    rds.add(Form::Instance, "db", listens);
    let outputs = told(&rds, &cluster, "RestoreRDSSnapshot", &args).await.unwrap();
    assert_eq!(Json::Object(outputs), json!({ "endpoint": "db.rds" }));
    assert_eq!(cluster.began()["drop database"], 1);
    assert_eq!(rds.asked(), [""; 0], "the instance is not touched");
    let mut other = args;
    other["dbEngine"] = "MySQL".into();
    let reason = told(&rds, &cluster, "RestoreRDSSnapshot", &other).await.unwrap_err();
    assert_eq!(reason, "dbEngine \"MySQL\": dumps are made of PostgreSQL only");
}

/// By what right a call with these arguments reaches the service, or why it does not.
async fn right(args: Json, secrets: BTreeMap<String, Json>) -> Result<Access, String> {
    let rds = service();
    let mut made = call("DeleteRDSSnapshot", args, ActionSpec::default());
    made.secrets = secrets;
    made.args.insert("snapshotID".to_owned(), "never".into());
    cistern_functions::call(&made, &setting_with(&rds), &cluster()).await?;
    Ok(rds.reached().remove(0))
}

#[tokio::test(start_paused = true)]
async fn the_right_comes_from_the_profile_a_secret_or_the_surroundings() {
    let key = |id: &str, secret: &str| {
        Some(AccessKey { id: id.to_owned(), secret: secret.into(), ..AccessKey::default() })
    };
    let of_profile = right(json!({ "region": "eu-1" }), BTreeMap::new()).await.unwrap();
    assert_eq!(
        of_profile,
        Access { region: "eu-1".to_owned(), key: key("me", "s3cr3t"), ..Access::default() }
    );
    assert!(!format!("{of_profile:?}").contains("s3cr3t"), "{of_profile:?}");

    let secret = |data: Json| BTreeMap::from([("aws".to_owned(), json!({ "data": data }))]);
    let named = json!({ "credentialsSource": "secret", "credentialsSecret": "aws" });
    let data = json!({ "aws_access_key_id": "aWQ=", "aws_secret_access_key": "a2V5", "role": "YXJuOng=" });
    let of_secret = right(named.clone(), secret(data)).await.unwrap();
    assert_eq!(of_secret, Access { key: key("id", "key"), role: "arn:x".to_owned(), ..Access::default() });
    let reason = right(named.clone(), secret(json!({ "aws_access_key_id": "aWQ=" }))).await.unwrap_err();
    assert!(reason.contains("only one of aws_access_key_id and aws_secret_access_key"), "{reason}");
    let reason = right(named, BTreeMap::new()).await.unwrap_err();
    assert!(reason.contains("neither among the ActionSet's secrets nor the phase's objects"), "{reason}");

    for name in ["eks_service_account", "serviceaccount"] {
        let own = right(json!({ "credentialsSource": name }), BTreeMap::new()).await.unwrap();
        assert_eq!(own, Access::default());
    }
    let reason = right(json!({ "credentialsSource": "magic" }), BTreeMap::new()).await.unwrap_err();
    assert!(reason.contains("is none of profile, secret and eks_service_account"), "{reason}");
}
