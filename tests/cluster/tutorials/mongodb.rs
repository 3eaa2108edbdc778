//! 3. MongoDB, played: backup, disaster, restore, into a bucket that `kanctl create profile` has tried.

use super::{assert_told, ordered};
use crate::bucket::Bucket;
use crate::images::server;
use crate::stage::Stage;
use crate::support::place::Place;
use crate::workloads::{sleeper, workload};
use crate::world::MOVER;
use serde_json::json;
use std::fs::{read_to_string, remove_file, write};
use std::path::Path;

const DOCUMENTS: &str = "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n{\"a\":\"ä 4\"}\n";
/// One that every kind of quoting but a single quote trips over.
const PASSWORD: &str = "p q $(a) `b` \"c\" \\ &";

/// The bucket, and a profile that leads there, as an operator makes it.
fn profile(stage: &Stage) -> Option<(Bucket, String)> {
    let place = Place::named("CISTERN_TEST_S3")?;
    let (endpoint, name) = place.url.rsplit_once('/').unwrap();
    let prefix = stage.namespace.clone();
    let flags =
        ["-b", name, "-e", endpoint, "-p", &prefix, "-r", "us-east-1", "-a", "any", "-s", "s3cr3t-key"];
    let said = stage.kanctl(&[&["create", "profile", "s3compliant"], &flags[..]].concat());
    let profile = said.split("profile '").nth(1).and_then(|rest| rest.split('\'').next());
    let profile = profile.unwrap_or_else(|| panic!("no profile in {said}")).to_owned();
    Some((Bucket { endpoint: endpoint.to_owned(), name: name.to_owned(), prefix }, profile))
}

#[test]
fn mongodb_survives_a_disaster() {
    let Some(stage) = Stage::new("mongodb") else { return };
    stage.world.play(async {
        let Some((bucket, profile)) = profile(&stage) else { return };
        let mongo = server(stage.world.plane.as_ref().unwrap(), "mongodb");
        write(mongo.join("documents"), DOCUMENTS).unwrap();
        write(mongo.join("password"), PASSWORD).unwrap();
        crate::images::open(&mongo.join("documents"));
        stage.published("good/mongodb.yaml").await;
        let set = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "db" },
            "spec": {
                "serviceName": "db", "selector": { "matchLabels": { "app": "db" } },
                "template": {
                    "metadata": { "labels": { "app": "db" } },
                    "spec": { "containers": [{ "name": "mongod", "image": "mongo" }] },
                },
            },
        });
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "db" },
            "stringData": { "mongodb-root-password": PASSWORD },
        });
        for object in [&set, &secret] {
            stage.apply(&object.to_string()).await;
        }
        let mover = format!("--mover-image={MOVER}cistern");
        let controller = stage.controller(&["--no-leader-election", &mover]);
        let ns = &stage.namespace;
        let object = format!("{ns}/db");
        let flags = ["-a", "backup", "-b", "mongodb-blueprint", "-t", &object, "-p", &profile];
        let (backup, action) = ordered(&stage, &flags).await;
        let artifact = &action["artifacts"]["cloudObject"]["keyValue"];
        assert_eq!(artifact["documents"], "4");
        // Computed twice, in the command and in the artifact.
        let path = artifact["path"].as_str().unwrap().trim_start_matches('/');
        assert_eq!(bucket.keys(), [path]);
        assert!(mongo.join("unlocked").exists(), "the deferred phase ran");
        assert_eq!(read_to_string(mongo.join("asked")).unwrap(), "mongodump --archive\n");
        assert_told(
            &stage,
            &backup,
            &["Started Phase", "Ended Phase", "Started deferPhase", "Ended deferPhase"],
        )
        .await;

        write(mongo.join("documents"), "").unwrap();
        let said = stage.kanctl(&["create", "actionset", "-a", "restore", "--from", &backup, "--wait"]);
        assert!(said.contains("restore: phase pullFromStore complete"), "{said}");
        assert_eq!(read_to_string(mongo.join("documents")).unwrap(), DOCUMENTS);

        // A dump that breaks off is no backup, and the server is unlocked all the same.
        remove_file(mongo.join("unlocked")).unwrap();
        write(mongo.join("dies"), "").unwrap();
        let said = failed(&stage, &flags).await;
        assert!(said.contains("1 of 1 collections did not end"), "{said}");
        assert!(mongo.join("unlocked").exists());
        write(mongo.join("password"), "another").unwrap();
        let said = failed(&stage, &flags).await;
        assert!(said.contains("Authentication failed"), "{said}");
        assert_eq!(bucket.keys(), [path], "nothing was left of what failed");

        ordered(&stage, &["-a", "delete", "--from", &backup, "-T", ns]).await;
        assert!(bucket.keys().is_empty());
        controller.assert_well();
        let log = controller.said();
        assert!(!log.contains("s3cr3t-key") && !log.contains("p q $(a)"), "no secret in the log");
    });
}

#[test]
fn our_own_blueprint_asks_for_the_oplog_and_reads_every_backup_back() {
    let Some(stage) = Stage::new("our_mongodb") else { return };
    stage.world.play(async {
        let Some(bucket) = Bucket::at(&stage).await else { return };
        let mongo = server(stage.world.plane.as_ref().unwrap(), "cistern-tools-mongodb");
        let host = format!("db.{}", stage.namespace);
        for (name, text) in
            [("documents", DOCUMENTS), ("username", "root"), ("password", PASSWORD), ("host", &host)]
        {
            write(mongo.join(name), text).unwrap();
        }
        crate::images::open(&mongo.join("documents"));
        let blueprint = Path::new(env!("CARGO_MANIFEST_DIR")).join("blueprints/mongodb/blueprint.yaml");
        stage.apply(&read_to_string(blueprint).unwrap()).await;
        workload(&stage, "StatefulSet", "db", 1, json!({ "containers": [sleeper("mongod")] }), &[]).await;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "database" },
            "stringData": { "username": "root", "password": PASSWORD },
        });
        stage.apply(&secret.to_string()).await;
        let mover = format!("--mover-image={MOVER}cistern");
        let controller = stage.controller(&["--no-leader-election", &mover]);
        let ns = &stage.namespace;
        let (object, secret) = (format!("{ns}/db"), format!("database={ns}/database"));
        let flags = ["-a", "backup", "-b", "mongodb", "-t", &object, "-p", "store", "-s", &secret];
        let (backup, action) = ordered(&stage, &flags).await;
        let path = action["artifacts"]["mongodb"]["keyValue"]["path"].as_str().unwrap();
        assert_eq!(bucket.keys(), [path]);
        let asked = || read_to_string(mongo.join("asked")).unwrap();
        assert_eq!(asked(), "mongodump --oplog --archive\nmongorestore --archive --dryRun\n");
        write(mongo.join("documents"), "").unwrap();
        ordered(&stage, &["-a", "restore", "--from", &backup]).await;
        assert_eq!(read_to_string(mongo.join("documents")).unwrap(), DOCUMENTS);
        assert!(asked().ends_with("mongorestore --archive --oplogReplay --drop --stopOnError\n"));
        write(mongo.join("password"), "another").unwrap();
        let said = failed(&stage, &flags).await;
        assert!(said.contains("Authentication failed"), "{said}");
        ordered(&stage, &["-a", "delete", "--from", &backup, "-T", ns]).await;
        assert!(bucket.keys().is_empty());
        controller.assert_well();
    });
}

/// Why an ActionSet failed that these flags make.
async fn failed(stage: &Stage, flags: &[&str]) -> String {
    let said = stage.kanctl(&[&["create", "actionset"], flags].concat());
    let name = said.trim().trim_start_matches("actionset ").trim_end_matches(" created").to_owned();
    let status = stage.ended(&name).await;
    assert_eq!(status["state"], "failed", "{status}");
    status["error"]["message"].as_str().unwrap().to_owned()
}
