//! The credential of a profile: in a file of its pod, and in commands only where somebody wants it there.
#![allow(clippy::disallowed_methods, reason = "a test may unwrap")]

mod paper;

use cistern_api::State;
use cistern_controller::Rules;
use cistern_functions::reference::of_kind;
use cistern_sim::cluster::{PaperCluster, Plot};
use paper::{HOME, all_ended, controller_by, error, state};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

const POD: &str = "kanister-job-uid-one-0-0";

/// A backup that says `toJson .Profile`, with annotations of its blueprint and its profile.
fn cluster(blueprint: &Json, profile: &Json) -> Arc<PaperCluster> {
    let cluster = PaperCluster::new(vec![Plot { word: "dump", secs: 40, ..Plot::default() }]);
    let word = "dump | kando location push --profile '{{ toJson .Profile }}' -";
    let phase = json!({ "func": "KubeTask", "name": "dump",
        "args": { "image": "i", "namespace": "app", "command": ["sh", "-c", word] } });
    cluster.add(json!({
        "kind": "Blueprint", "metadata": { "name": "bp", "namespace": HOME, "annotations": blueprint },
        "actions": { "backup": { "phases": [phase] } },
    }));
    let named = |name: &str| json!({ "name": name, "namespace": HOME });
    let pair = json!({ "idField": "id", "secretField": "key", "secret": named("s3") });
    cluster.add(json!({
        "kind": "Profile", "metadata": { "name": "s3", "namespace": HOME, "annotations": profile },
        "location": { "type": "s3Compliant", "bucket": "b" },
        "credential": { "type": "keyPair", "keyPair": pair },
    }));
    // `me`, `s3cr3t`, and `k3y` with the line's end that files have.
    cluster.add(
        json!({ "kind": "Secret", "metadata": named("s3"), "data": { "id": "bWU=", "key": "czNjcjN0" } }),
    );
    cluster.add(
        json!({ "kind": "Secret", "metadata": named("repository"), "data": { "cistern-key": "azN5Cg==" } }),
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

/// Runs to the end; what the pod and the file of its Secret were meanwhile.
async fn run(cluster: &Arc<PaperCluster>, rules: Rules) -> (String, Option<Json>) {
    let (_changed, changed) = mpsc::channel(1);
    let watched = async {
        sleep(Duration::from_secs(20)).await;
        let pod = cluster.object(&of_kind("pod", "app", POD)).map(|pod| pod.to_string());
        let secret = cluster.object(&of_kind("secret", "app", &format!("{POD}-profile")));
        timeout(Duration::from_secs(3600), all_ended(cluster, &["one"])).await.unwrap();
        let file =
            secret.map(|s| serde_json::from_str(s["stringData"]["profile.json"].as_str().unwrap()).unwrap());
        (pod.unwrap_or_default(), file)
    };
    tokio::select! {
        ended = controller_by(cluster, "c1", rules).run(changed) => panic!("{ended:?}"),
        seen = watched => seen,
    }
}

#[tokio::test(start_paused = true)]
async fn the_credential_is_in_a_file_of_the_pod_with_what_opens_the_repository() {
    let cluster = cluster(&json!({}), &json!({ "cistern.dev/repository-secret": "repository" }));
    let (pod, file) = run(&cluster, Rules::within(HOME)).await;
    assert_eq!(state(&cluster, "one"), Some(State::Complete), "{}", error(&cluster, "one"));
    assert!(pod.contains("cistern.dev/profile-file") && !pod.contains("s3cr3t"), "{pod}");
    let file = file.unwrap();
    assert_eq!(file["Credential"]["KeyPair"]["Secret"], "s3cr3t");
    assert_eq!(file["cistern.dev/repository"], json!({ "key": "k3y" }));
    let left = cluster.object(&of_kind("secret", "app", &format!("{POD}-profile")));
    assert_eq!(left, None, "it goes with its pod");
}

#[tokio::test(start_paused = true)]
async fn it_is_in_commands_where_the_blueprint_or_the_controller_says_so() {
    let said = json!({ "cistern.dev/profile-in-commands": "true" });
    let all = Rules { profile_in_commands: true, ..Rules::within(HOME) };
    for (blueprint, rules) in [(said, Rules::within(HOME)), (json!({}), all)] {
        let cluster = cluster(&blueprint, &json!({}));
        let (pod, file) = run(&cluster, rules).await;
        assert!(pod.contains("s3cr3t"), "{pod}");
        assert_eq!(file, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_leads_nowhere_fails_the_action_set_with_a_sentence() {
    for (secret, said) in [
        ("gone", "there is no secrets kanister/gone"),
        ("s3", "secret \"s3\", which profile \"s3\" names, has none of cistern-repository, cistern-key"),
    ] {
        let cluster = cluster(&json!({}), &json!({ "cistern.dev/repository-secret": secret }));
        let (pod, _) = run(&cluster, Rules::within(HOME)).await;
        assert_eq!((pod.as_str(), state(&cluster, "one")), ("", Some(State::Failed)));
        assert!(error(&cluster, "one").contains(said), "{}", error(&cluster, "one"));
    }
}
