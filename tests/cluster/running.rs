//! ActionSets under way: commands in containers that are there, connections that are cut, orders taken back.

use crate::stage::{Stage, once};
use crate::support::home::now;
use crate::world::{OURS, until};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use std::time::Duration;

/// A connection that is cut is noticed within.
const NOTICED: Duration = Duration::from_secs(30);

/// A blueprint `exec` that runs shell in the container of the pod `app`.
async fn exec_blueprint(stage: &Stage, script: &str) {
    let phase = json!({ "func": "KubeExec", "name": "only", "args": {
        "namespace": stage.namespace, "pod": "app", "container": "main", "command": ["sh", "-c", script],
    }});
    let artifacts = json!({ "made": { "keyValue": { "path": "{{ .Phases.only.Output.path }}" } } });
    let blueprint = json!({
        "apiVersion": "cr.kanister.io/v1alpha1", "kind": "Blueprint", "metadata": { "name": "exec" },
        "actions": { "backup": { "phases": [phase], "outputArtifacts": artifacts } },
    });
    stage.apply(&blueprint.to_string()).await;
}

/// The pod, once it runs.
async fn app(stage: &Stage) {
    let pods: Api<Pod> = Api::namespaced(stage.world.client.clone(), &stage.namespace);
    let pod = json!({ "metadata": { "name": "app" }, "spec": { "containers": [
        { "name": "main", "image": format!("{OURS}app"), "command": ["sleep", "1000"] },
    ]}});
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    until("the application runs", async || {
        let status = pods.get("app").await.ok()?.status?;
        (status.phase.as_deref() == Some("Running")).then_some(())
    })
    .await;
}

#[test]
fn a_command_in_a_container_puts_out_what_it_says() {
    let Some(stage) = Stage::new("exec") else { return };
    stage.world.play(async {
        app(&stage).await;
        exec_blueprint(&stage, "head -c 2000000 /dev/zero | base64; kando output path a/b").await;
        let controller = stage.controller(&["--no-leader-election"]);
        stage.order("one", "exec").await;
        let status = stage.ended("one").await;
        assert_eq!(status["state"], "complete", "{status}");
        assert_eq!(status["actions"][0]["artifacts"]["made"]["keyValue"]["path"], "a/b");
        exec_blueprint(&stage, "echo no such table >&2; exit 4").await;
        stage.order("two", "exec").await;
        let status = stage.ended("two").await;
        assert_eq!(status["state"], "failed", "{status}");
        let message = status["error"]["message"].as_str().unwrap();
        assert!(message.contains("no such table") && message.contains('4'), "{message}");
        controller.assert_well();
    });
}

#[test]
fn a_command_whose_connection_is_cut_is_no_success_and_hangs_nobody() {
    let Some(stage) = Stage::alone("cut_exec") else { return };
    let Some(kubelet) = stage.world.node("a_command_whose_connection_is_cut") else { return };
    stage.world.play(async {
        app(&stage).await;
        exec_blueprint(&stage, "kando output path a/b; echo begun >/tmp/begun; sleep 60").await;
        let controller = stage.controller(&["--no-leader-election"]);
        stage.order("one", "exec").await;
        let api = stage.action_sets();
        until("the command runs", async || {
            let phase = api.get("one").await.ok()?.data.pointer("/status/actions/0/phases/0/state")?.clone();
            (phase == "running").then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let since = now();
        kubelet.cut();
        let status = stage.ended("one").await;
        assert!(since.elapsed() < NOTICED, "{:?}", since.elapsed());
        assert_eq!(status["state"], "failed", "{status}");
        let message = status["error"]["message"].as_str().unwrap();
        assert!(message.contains("cut"), "{message}");
        controller.assert_well();
    });
}

/// One ActionSet whose first phase takes long, under way.
async fn long(stage: &Stage) {
    stage
        .blueprint(
            "long",
            &[("first", "trap 'exit 143' TERM; sleep 300 & wait"), ("second", "true")],
            serde_json::Value::Null,
        )
        .await;
    stage.order("one", "long").await;
    until("the first phase runs", async || stage.traces().contains_key("one first").then_some(())).await;
}

#[test]
fn a_cancelled_order_stops_its_pods_and_cleans_up() {
    let Some(stage) = Stage::new("cancelled") else { return };
    stage.world.play(async {
        let controller = stage.controller(&["--no-leader-election"]);
        long(&stage).await;
        let cancel = json!({ "metadata": { "annotations": { "cistern.dev/cancel": "true" } } });
        stage.action_sets().patch("one", &PatchParams::default(), &Patch::Merge(&cancel)).await.unwrap();
        let status = stage.ended("one").await;
        assert_eq!(status["state"], "failed", "{status}");
        let message = status["error"]["message"].as_str().unwrap();
        assert!(message.contains("cancel"), "{message}");
        assert_eq!(stage.traces(), once(&["one".to_owned()], &["first", "last"]));
        assert_no_pods(&stage).await;
        controller.assert_well();
    });
}

#[test]
fn a_deleted_order_cleans_up_and_goes() {
    let Some(stage) = Stage::new("deleted") else { return };
    stage.world.play(async {
        let controller = stage.controller(&["--no-leader-election"]);
        long(&stage).await;
        let api = stage.action_sets();
        api.delete("one", &DeleteParams::default()).await.unwrap();
        until("it is gone", async || api.get_opt("one").await.ok()?.is_none().then_some(())).await;
        assert_eq!(stage.traces(), once(&["one".to_owned()], &["first", "last"]));
        assert_no_pods(&stage).await;
        controller.assert_well();
    });
}

async fn assert_no_pods(stage: &Stage) {
    let pods: Api<Pod> = Api::namespaced(stage.world.client.clone(), &stage.namespace);
    until("no pod is left", async || {
        pods.list(&kube::api::ListParams::default()).await.ok()?.items.is_empty().then_some(())
    })
    .await;
}
