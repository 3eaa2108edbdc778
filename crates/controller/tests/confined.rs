//! A controller with Roles in some namespaces alone, which may list nothing across all of them.
#![allow(clippy::disallowed_methods, reason = "a test may unwrap")]

mod paper;

use cistern_api::State;
use cistern_controller::Rules;
use cistern_functions::ports::Cluster as _;
use cistern_functions::reference::of_kind;
use cistern_sim::cluster::{PaperCluster, Plot};
use paper::{HOME, controller_by, state, task};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// An ActionSet whose pod runs in the namespace `app`.
fn scene() -> Arc<PaperCluster> {
    let cluster = PaperCluster::new(vec![Plot { word: "dump-one", secs: 40, ..Plot::default() }]);
    let phases = json!([task("dump", "dump")]);
    cluster.add(json!({ "kind": "Blueprint", "metadata": { "name": "bp", "namespace": HOME },
        "actions": { "backup": { "phases": phases } } }));
    cluster.add(json!({ "kind": "Namespace", "metadata": { "name": "app" } }));
    let object = json!({ "kind": "Namespace", "name": "app", "namespace": "app" });
    let action = json!({ "name": "backup", "blueprint": "bp", "object": object, "options": { "of": "one" } });
    cluster.add(json!({ "apiVersion": "cr.kanister.io/v1alpha1", "kind": "ActionSet",
        "metadata": { "name": "one", "namespace": HOME, "uid": "uid-one" }, "spec": { "actions": [action] } }));
    cluster.confine();
    Arc::new(cluster)
}

fn rules() -> Rules {
    Rules { applications: vec!["app".to_owned()], ..Rules::within(HOME) }
}

async fn pods(cluster: &PaperCluster) -> Vec<Json> {
    cluster.list(&of_kind("pod", "app", ""), "").await.unwrap()
}

/// Until the ActionSet has ended and its pod is gone.
async fn settled(cluster: &PaperCluster) {
    while state(cluster, "one") != Some(State::Complete) || !pods(cluster).await.is_empty() {
        sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn pods_of_applications_are_taken_away() {
    let cluster = scene();
    let (_changed, changed) = mpsc::channel(1);
    tokio::select! {
        ended = controller_by(&cluster, "a", rules()).run(changed) => panic!("{ended:?}"),
        settled = timeout(Duration::from_secs(120), settled(&cluster)) => settled.expect("the pod stays"),
    }
}

#[tokio::test(start_paused = true)]
async fn so_are_those_of_a_controller_that_died() {
    let cluster = scene();
    let (_changed, changed) = mpsc::channel(1);
    let first = controller_by(&cluster, "a", rules()).run(changed);
    assert!(timeout(Duration::from_secs(20), first).await.is_err());
    assert_eq!(pods(&cluster).await.len(), 1);
    let at = of_kind("actionset", HOME, "one");
    cluster.delete(&at).await.unwrap();
    let (_changed, changed) = mpsc::channel(1);
    let gone = async {
        while cluster.object(&at).is_some() || !pods(&cluster).await.is_empty() {
            sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        ended = controller_by(&cluster, "b", rules()).run(changed) => panic!("{ended:?}"),
        gone = timeout(Duration::from_secs(600), gone) => gone.expect("the pod stays"),
    }
}
