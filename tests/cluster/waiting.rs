//! Wait and WaitV2: conditions that come true, that do not, and that never can.

use crate::recipe::only;
use crate::stage::Stage;
use crate::workloads::{sleeper, workload};
use kube::api::{Patch, PatchParams};
use serde_json::{Value as Json, json};

/// A condition on the Deployment `app` of the story.
fn on_app(condition: &str) -> Json {
    json!({ "condition": condition, "objectReference": {
        "apiVersion": "v1", "group": "apps", "resource": "deployments", "name": "app",
        // Rendered at each look.
        "namespace": "{{ .Object.metadata.namespace }}",
    }})
}

/// The conditions of the Deployment, as its controller would write them.
async fn available(stage: &Stage, status: &str, ready: u32) {
    let conditions =
        json!([{ "type": "Progressing", "status": "True" }, { "type": "Available", "status": status }]);
    let status = json!({ "status": { "replicas": 2, "readyReplicas": ready, "conditions": conditions } });
    let sets = stage.objects("apps/v1", "Deployment").await;
    sets.patch_status("app", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
}

#[test]
fn conditions_are_waited_for_in_both_dialects() {
    let Some(stage) = Stage::new("wait") else { return };
    stage.world.play(async {
        workload(&stage, "Deployment", "app", 2, json!({ "containers": [sleeper("main")] }), &[]).await;
        available(&stage, "False", 1).await;
        let range = "{{ range .status.conditions }}{{ if eq .type \"Available\" }}{{ eq .status \"True\" }}\
                     {{ end }}{{ end }}";
        let never = on_app("{{ eq .metadata.name \"nobody\" }}");
        let all = json!({ "allOf": [
            on_app("{{ if eq \"{ $.status.readyReplicas }\" \"{ $.spec.replicas }\" }}true{{ end }}"),
            on_app("{{ eq \"{ $.metadata.name }\" \"app\" }}"),
        ]});
        let any = json!({ "anyOf": [never, on_app(range)] });
        let actions = json!({
            "paths": only("Wait", json!({ "timeout": "80s", "conditions": all })),
            "template": only("WaitV2", json!({ "timeout": "80s", "conditions": any })),
        });
        stage.recipe("wait", actions).await;
        let controller = stage.controller(&["--no-leader-election"]);
        for action in ["paths", "template"] {
            stage.order_with(action, "wait", json!({ "name": action })).await;
            stage.phase_is(action, "running").await;
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        for action in ["paths", "template"] {
            let status = stage.action_sets().get(action).await.unwrap().data["status"].clone();
            assert_eq!(status["state"], "running", "{action} holds not yet: {status}");
        }
        available(&stage, "True", 2).await;
        for action in ["paths", "template"] {
            stage.completed(action).await;
        }
        controller.assert_well();
    });
}

#[test]
fn a_condition_that_does_not_come_true_fails_with_what_was_seen_last() {
    let Some(stage) = Stage::new("wait_in_vain") else { return };
    stage.world.play(async {
        workload(&stage, "Deployment", "app", 2, json!({ "containers": [sleeper("main")] }), &[]).await;
        available(&stage, "False", 1).await;
        let mut elsewhere = on_app("true");
        elsewhere["objectReference"] =
            json!({ "apiVersion": "v1", "resource": "services", "name": "app", "namespace": stage.namespace });
        let mut absent = on_app("true");
        absent["objectReference"]["name"] = "nobody".into();
        let short = |conditions: Json| json!({ "timeout": "2s", "conditions": conditions });
        let long = |conditions: Json| json!({ "timeout": "30m", "conditions": conditions });
        let actions = json!({
            "late": only("Wait", short(json!({ "allOf": [on_app("{ $.status.readyReplicas } of 2")] }))),
            "absent": only("WaitV2", short(json!({ "anyOf": [absent] }))),
            // What no later look can change is not waited for.
            "unreadable": only("WaitV2", long(json!({ "anyOf": [on_app("{{ if }}")] }))),
            "empty": only("WaitV2", long(json!({}))),
            "denied": only("Wait", long(json!({ "anyOf": [elsewhere] }))),
        });
        stage.recipe("wait", actions).await;
        let controller = stage.controller(&["--no-leader-election"]);
        let cases = [
            ("late", "not met within 2 seconds; for deployments", "it was last \"1 of 2\""),
            ("absent", "not met within 2 seconds", "nobody"),
            ("unreadable", "a condition cannot be read", "condition"),
            ("empty", "conditions are empty", "for ever"),
            ("denied", "services", "is denied"),
        ];
        for (action, ..) in cases {
            stage.order_with(action, "wait", json!({ "name": action })).await;
        }
        for (action, first, second) in cases {
            let status = stage.ended(action).await;
            let said = status["error"]["message"].as_str().unwrap_or_default();
            assert!(said.contains(first) && said.contains(second), "{action}: {status}");
        }
        controller.assert_well();
    });
}
