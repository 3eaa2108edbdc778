//! ActionSets from the order to its end: outputs, artifacts, and every wrong order fails with a sentence.

use crate::recipe::only;
use crate::stage::{Stage, once};
use crate::support::home::now;
use crate::world::{NOWHERE, OURS, until};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{DeleteParams, ListParams, LogParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// "Within seconds", of a wrong order; what sometimes passes by itself is waited for a while.
const SECONDS: Duration = Duration::from_secs(45);

/// CPU time that a controller without work may take in three seconds.
const IDLE_MAX: Duration = Duration::from_millis(300);

#[test]
fn outputs_become_artifacts() {
    let Some(stage) = Stage::new("outputs_become_artifacts") else { return };
    stage.world.play(async {
        let artifacts = json!({ "made": { "keyValue": { "path": "{{ .Phases.second.Output.path }}" } } });
        let phases = [
            ("first", "kando output word 'open sesame'"),
            ("second", "kando output path 'a/{{ .Phases.first.Output.word }}/b'"),
        ];
        stage.blueprint("trace", &phases, artifacts).await;
        let controller = stage.controller(&[]);
        stage.order("one", "trace").await;
        let status = stage.ended("one").await;
        assert_eq!(status["state"], "complete", "{status}");
        let action = &status["actions"][0];
        assert_eq!(action["artifacts"]["made"]["keyValue"]["path"], "a/open sesame/b");
        assert_eq!(action["phases"][0]["output"]["word"], "open sesame");
        assert_eq!(stage.traces(), once(&["one".to_owned()], &["first", "second", "last"]));
        controller.assert_well();
        assert_eq!(controller.stop(), Some(0));
    });
}

#[test]
fn a_failed_phase_is_told_with_its_last_words_and_the_deferred_one_runs() {
    let Some(stage) = Stage::new("failed_phase") else { return };
    stage.world.play(async {
        let phases = [("first", "echo the disk is full >&2; exit 3"), ("second", "true")];
        stage.blueprint("trace", &phases, Json::Null).await;
        let controller = stage.controller(&[]);
        stage.order("one", "trace").await;
        let status = stage.ended("one").await;
        assert_eq!(status["state"], "failed", "{status}");
        let message = status["error"]["message"].as_str().unwrap();
        assert!(message.contains("the disk is full") && message.contains('3'), "{message}");
        assert_eq!(stage.traces(), once(&["one".to_owned()], &["first", "last"]));
        controller.assert_well();
    });
}

#[test]
fn a_failure_leaves_events_conditions_and_its_pods() {
    let Some(stage) = Stage::new("failure_left") else { return };
    stage.world.play(async {
        stage.blueprint("trace", &[("first", "echo the disk is full >&2; exit 3")], Json::Null).await;
        let controller = stage.controller(&["--no-leader-election"]);
        let notes = json!({ "cistern.dev/keep-failed-pods": "1h", "cistern.dev/retries.backup.first": "1" });
        stage.order_noted("one", "trace", notes).await;
        let status = stage.ended("one").await;
        let conditions: Vec<String> =
            status["conditions"].as_array().unwrap().iter().map(condition).collect();
        assert_eq!(conditions, ["Ready=False Failed", "Stalled=True Failed"]);
        assert!(status["actions"][0]["phases"][0]["lastError"].as_str().unwrap().contains("disk is full"));
        // As `kubectl wait` and `kubectl get events --field-selector` ask.
        let events: Api<Event> = Api::namespaced(stage.world.client.clone(), &stage.namespace);
        let of_set = ListParams::default().fields("involvedObject.kind=ActionSet,involvedObject.name=one");
        let told = until("the end is told", async || {
            let found = events.list(&of_set).await.ok()?.items;
            let told: BTreeMap<String, i32> = found
                .into_iter()
                .map(|e| (e.reason.unwrap_or_default(), e.count.unwrap_or_default()))
                .collect();
            told.contains_key("ActionSetFailed").then_some(told)
        })
        .await;
        let counts = |reason: &str| told.get(reason).copied();
        assert_eq!((counts("Started Phase"), counts("Retrying Phase")), (Some(2), Some(1)), "{told:?}");
        assert_eq!((counts("Failed Phase"), counts("Ended deferPhase")), (Some(1), Some(1)), "{told:?}");
        // The pods of both attempts can be looked at, and taken away by who has done so.
        let pods: Api<Pod> = Api::namespaced(stage.world.client.clone(), &stage.namespace);
        let kept = pods.list(&ListParams::default()).await.unwrap().items;
        assert_eq!(kept.len(), 2, "{kept:?}");
        for pod in kept {
            let log = pods.logs(&pod.name_any(), &LogParams::default()).await.unwrap();
            assert!(log.contains("the disk is full"), "{log}");
            pods.delete(&pod.name_any(), &DeleteParams::default()).await.unwrap();
        }
        until("they are gone", async || {
            pods.list(&ListParams::default()).await.ok()?.items.is_empty().then_some(())
        })
        .await;
        controller.assert_well();
    });
}

/// `Ready=False Failed`
fn condition(condition: &Json) -> String {
    let text = |key: &str| condition[key].as_str().unwrap_or_default();
    format!("{}={} {}", text("type"), text("status"), text("reason"))
}

#[test]
fn wrong_orders_fail_within_seconds_with_a_sentence() {
    let Some(stage) = Stage::new("wrong_orders") else { return };
    stage.world.play(async {
        stage.blueprint("trace", &[("only", "true")], Json::Null).await;
        stage.blueprint("broken", &[("only", "echo {{ .Options.nobody.knows }}")], Json::Null).await;
        let mut absent = stage.phase("only", "true");
        absent["args"]["image"] = format!("{NOWHERE}tools").into();
        let mut elsewhere = stage.phase("only", "true");
        elsewhere["args"]["namespace"] = "kube-system".into();
        for (name, phase, secrets) in
            [("unpulled", absent, Json::Null), ("denied", elsewhere, Json::Null), ("unkept", stage.phase("only", "true"), json!(["password"]))]
        {
            let mut action = json!({ "phases": [phase] });
            if !secrets.is_null() {
                action["secretNames"] = secrets;
            }
            stage
                .apply(&json!({
                    "apiVersion": "cr.kanister.io/v1alpha1", "kind": "Blueprint", "metadata": { "name": name },
                    "actions": { "backup": action },
                }).to_string())
                .await;
        }
        let controller = stage.controller(&[]);
        let secret = json!({ "secrets": { "password": { "name": "not-there", "namespace": stage.namespace } } });
        let unknown = json!({ "object": {
            "apiVersion": "v1", "group": "", "resource": "configmaps", "name": "not-there", "namespace": stage.namespace,
        }});
        let profile = json!({ "profile": { "name": "not-there", "namespace": stage.namespace } });
        let action = json!({ "name": "restore" });
        let none = || json!({});
        let cases: [(&str, &str, Json, &str); 8] = [
            ("no-blueprint", "not-there", none(), "not-there"),
            ("no-action", "trace", action, "restore"),
            ("no-object", "trace", unknown, "not-there"),
            ("no-secret", "unkept", secret, "not-there"),
            ("no-profile", "trace", profile, "not-there"),
            ("no-template", "broken", none(), "nobody"),
            ("no-image", "unpulled", none(), "nowhere.invalid"),
            ("no-right", "denied", none(), "forbidden"),
        ];
        let since = now();
        for (name, blueprint, more, _) in &cases {
            stage.order_with(name, blueprint, more.clone()).await;
        }
        for (name, _, _, word) in &cases {
            let status = stage.ended(name).await;
            assert_eq!(status["state"], "failed", "{name}: {status}");
            let message = status["error"]["message"].as_str().unwrap_or_default();
            assert!(message.contains(word), "{name}: `{word}` is not in: {message}");
            println!("{name}: {message}");
        }
        assert!(since.elapsed() < SECONDS, "all of them took {:?}", since.elapsed());
        controller.assert_well();
        assert!(!stage.traces().contains_key("no-image only"), "it did not run: {OURS}");
    });
}

/// A phase that puts out more than an ActionSet can hold.
const TOO_LARGE: &str = "i=0; while [ $i -lt 20 ]; do kando output k$i \"$(head -c 60000 /dev/zero | tr '\\0' x)\"; i=$((i+1)); done";

#[test]
fn wrong_blueprints_fail_within_seconds_with_a_sentence_and_cost_nothing_afterwards() {
    let Some(stage) = Stage::new("wrong_blueprints") else { return };
    stage.world.play(async {
        let task = |more: Json| {
            let mut args = stage.phase("only", "true")["args"].clone();
            args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            only("KubeTask", args)
        };
        let exec = |namespace: &str, pod: &str| {
            only("KubeExec", json!({ "namespace": namespace, "pod": pod, "command": ["true"] }))
        };
        let mut unread = task(json!({}));
        unread["phases"][0]["args"]["command"] = json!(["sh", "-c", "echo {{ .Options.id "]);
        let mut artifact = task(json!({}));
        artifact["outputArtifacts"] =
            json!({ "made": { "keyValue": { "path": "{{ .Phases.nobody.Output.x }}" } } });
        let cases = [
            ("misspelt", only("KubeTsk", json!({})), "KubeTask"),
            ("removed", only("CreateVolumeSnapshot", json!({})), "use CreateCSISnapshot"),
            ("lacking", only("KubeTask", json!({ "image": "x" })), "command"),
            ("superfluous", task(json!({ "imagePolicy": "Always" })), "imagePolicy"),
            ("shape", task(json!({ "command": { "a": 1 } })), "command"),
            ("unread", unread, "unclosed action"),
            ("artifact", artifact, "nobody"),
            (
                "large",
                json!({ "phases": [stage.phase("only", TOO_LARGE)] }),
                "store what is large in the location",
            ),
            ("no-pod", exec(&stage.namespace, "nobody"), "nobody"),
            ("no-exec", exec("kube-system", "nobody"), "needs a Role that allows it"),
            ("absent-program", task(json!({ "command": ["no-such-program"] })), "no-such-program"),
        ];
        for (name, action, _) in &cases {
            stage.recipe(name, json!({ "backup": action })).await;
        }
        let controller = stage.controller(&[]);
        let since = now();
        for (name, ..) in &cases {
            stage.order(name, name).await;
        }
        for (name, _, word) in &cases {
            let status = stage.ended(name).await;
            assert_eq!(status["state"], "failed", "{name}: {status}");
            let message = status["error"]["message"].as_str().unwrap_or_default();
            assert!(message.contains(word), "{name}: `{word}` is not in: {message}");
            println!("{name}: {message}");
        }
        assert!(since.elapsed() < SECONDS, "all of them took {:?}", since.elapsed());
        let before = controller.used().cpu;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let used = controller.used().cpu - before;
        assert!(used <= IDLE_MAX, "it has nothing to do, and took {used:?} of CPU for it");
        controller.assert_well();
    });
}

#[test]
fn a_controller_without_rights_says_so() {
    let Some(stage) = Stage::new("no_rights") else { return };
    stage.world.play(async {
        let nobody = stage.nobody().await;
        let (code, said) = stage.controller_as(&nobody, &["--no-leader-election"]).ended();
        assert_eq!(code, Some(4), "{said}");
        assert!(said.contains("forbidden"), "{said}");
        // Who waits for a lease waits for the right to it as well.
        let waiting = stage.controller_as(&nobody, &[]);
        until("it says that it may not", async || waiting.said().contains("forbidden").then_some(())).await;
        waiting.assert_well();
    });
}
