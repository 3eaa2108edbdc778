//! Databases that a phase has made for itself go with it: also when the ActionSet is cancelled, and the controller
//! dies before they are gone.
#![allow(clippy::disallowed_methods, reason = "a test may unwrap")]

mod paper;

use cistern_api::State;
use cistern_controller::Rules;
use cistern_functions::databases::{Database, Form, Snapshot};
use cistern_functions::ports::{Cluster as _, Patch};
use cistern_functions::reference::of_kind;
use cistern_sim::cluster::{PaperCluster, Plot};
use cistern_sim::rds::PaperRds;
use paper::{HOME, all_ended, controller_by, error, state};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

fn cluster(annotations: &Json) -> Arc<PaperCluster> {
    let cluster = PaperCluster::new(vec![Plot { word: "pg_dump", secs: 3000, ..Plot::default() }]);
    let export = json!({ "func": "ExportRDSSnapshotToLocation", "name": "export", "args": {
        "namespace": "app", "instanceID": "db", "snapshotID": "kept", "dbEngine": "PostgreSQL", "region": "eu-1",
        "username": "u", "password": "p" } });
    cluster.add(json!({
        "kind": "Blueprint", "metadata": { "name": "bp", "namespace": HOME, "annotations": annotations },
        "actions": { "backup": { "phases": [export] } },
    }));
    let named = |name: &str| json!({ "name": name, "namespace": HOME });
    let pair = json!({ "idField": "id", "secretField": "key", "secret": named("s3") });
    cluster.add(json!({
        "kind": "Profile", "metadata": named("s3"), "location": { "type": "s3Compliant", "bucket": "b" },
        "credential": { "type": "keyPair", "keyPair": pair },
    }));
    cluster.add(
        json!({ "kind": "Secret", "metadata": named("s3"), "data": { "id": "bWU=", "key": "czNjcjN0" } }),
    );
    cluster.add(json!({ "kind": "Namespace", "metadata": { "name": "app" } }));
    let object = json!({ "kind": "Namespace", "name": "app", "namespace": "app" });
    let action = json!({ "name": "backup", "blueprint": "bp", "object": object, "profile": named("s3") });
    cluster.add(json!({
        "apiVersion": "cr.kanister.io/v1alpha1", "kind": "ActionSet",
        "metadata": { "name": "one", "namespace": HOME, "uid": "uid-one" }, "spec": { "actions": [action] },
    }));
    Arc::new(cluster)
}

fn service() -> PaperRds {
    let rds = PaperRds::default();
    rds.add(Form::Instance, "db", Database::default());
    rds.add_snapshot("kept", Snapshot::default());
    rds
}

/// A life of a controller, which ends after so many seconds, or when all has ended; whether it has.
async fn life(cluster: &Arc<PaperCluster>, rds: &PaperRds, identity: &str, secs: u64) -> bool {
    let rules = Rules { databases: Some(Arc::new(rds.clone())), ..Rules::within(HOME) };
    let (_changed, changed) = mpsc::channel(1);
    tokio::select! {
        ended = controller_by(cluster, identity, rules).run(changed) => panic!("{ended:?}"),
        ended = timeout(Duration::from_secs(secs), all_ended(cluster, &["one"])) => ended.is_ok(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_for_a_dump_goes_when_the_action_set_is_cancelled() {
    // While the database is being made, which cannot be deleted yet; while it is dumped.
    for (cancelled_secs, dies_secs) in [(100, 300), (100, 110), (2000, 2001), (2000, 2100)] {
        let about = format!("cancelled after {cancelled_secs} s, dies after {dies_secs} s");
        let (cluster, rds) = (cluster(&json!({})), service());
        let cancel = async {
            sleep(Duration::from_secs(cancelled_secs)).await;
            assert_eq!(rds.there().len(), 3, "{about}: it is there");
            let wish = json!({ "metadata": { "annotations": { "cistern.dev/cancel": "true" } } });
            cluster.patch(&of_kind("actionset", HOME, "one"), Patch::Merge, &wish).await.unwrap();
        };
        let lives = async {
            if !life(&cluster, &rds, "c1", dies_secs).await {
                assert!(life(&cluster, &rds, "c2", 24 * 3600).await, "{about}");
            }
        };
        tokio::join!(cancel, lives);
        assert_eq!(state(&cluster, "one"), Some(State::Failed), "{about}");
        assert!(error(&cluster, "one").contains("was cancelled"), "{about}: {}", error(&cluster, "one"));
        assert_eq!(rds.there(), ["db", "kept"], "{about}");
        assert_eq!(rds.asked().len(), 2, "{about}: {:?}", rds.asked());
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_for_a_dump_goes_when_the_time_is_up() {
    let limit = json!({ "cistern.dev/timeout.backup.export": "20m" });
    let (cluster, rds) = (cluster(&limit), service());
    assert!(life(&cluster, &rds, "c1", 24 * 3600).await);
    assert!(
        error(&cluster, "one").contains("it took longer than 20m, its limit"),
        "{}",
        error(&cluster, "one")
    );
    assert_eq!(rds.there(), ["db", "kept"]);
    assert_eq!(cluster.began()["pg_dump"], 1, "it was dumping");
}
