//! Controllers, servers and connections that die: every phase runs once all the same, and nothing is stuck.

use crate::faults::Proxy;
use crate::stage::{Replica, Stage, once};
use crate::support::{drawn, variable_of};
use crate::world::{OURS, until};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// How many ActionSets are under way; `CISTERN_TEST_ORDERS`, and 50 for the whole proof.
const ORDERS: u64 = 8;
/// How often the controller is killed; `CISTERN_TEST_KILLS`, and 200 for the whole proof.
const KILLS: u64 = 6;
const PHASES: [&str; 3] = ["first", "second", "last"];

fn size(variable: &str, default: u64) -> u64 {
    variable_of(variable).map_or(default, |text| text.parse().unwrap())
}

/// Orders ActionSets of two phases that take a moment each.
async fn order_all(stage: &Stage, secs: &str) -> Vec<String> {
    let artifacts = json!({ "made": { "keyValue": { "path": "{{ .Phases.second.Output.path }}" } } });
    let first = format!("sleep {secs}; kando output word '{{{{ .Options.id }}}}'");
    let second = format!("sleep {secs}; kando output path 'of-{{{{ .Phases.first.Output.word }}}}'");
    stage.blueprint("trace", &[("first", &first), ("second", &second)], artifacts).await;
    let names: Vec<String> = (0..size("CISTERN_TEST_ORDERS", ORDERS)).map(|i| format!("order-{i}")).collect();
    for name in &names {
        stage.order(name, "trace").await;
    }
    names
}

/// All are complete, with the right artifacts, and the pods themselves say that each phase ran once.
async fn assert_each_once(stage: &Stage, names: &[String]) {
    for name in names {
        let status = stage.ended(name).await;
        assert_eq!(status["state"], "complete", "{name}: {status}");
        let path = &status["actions"][0]["artifacts"]["made"]["keyValue"]["path"];
        assert_eq!(*path, format!("of-{name}"));
    }
    assert_eq!(stage.traces(), once(names, &PHASES));
}

async fn pause(seed: &str, most_millis: u64) {
    tokio::time::sleep(Duration::from_millis(drawn(seed, most_millis))).await;
}

#[test]
fn a_controller_that_is_killed_again_and_again_runs_every_phase_once() {
    let Some(stage) = Stage::new("killed_again") else { return };
    stage.world.play(async {
        let names = order_all(&stage, "0.7").await;
        for kill in 0..size("CISTERN_TEST_KILLS", KILLS) {
            let controller = stage.controller(&["--no-leader-election"]);
            pause(&format!("kill {kill}"), 2500).await;
            controller.assert_well();
            controller.kill();
        }
        let controller = stage.controller(&["--no-leader-election"]);
        assert_each_once(&stage, &names).await;
        controller.assert_well();
    });
}

#[test]
fn a_leader_that_was_frozen_does_nothing_when_it_is_thawed() {
    let Some(stage) = Stage::new("frozen_leader") else { return };
    stage.world.play(async {
        let first = stage.controller(&[]);
        led(&stage).await;
        let names = order_all(&stage, "1").await;
        until("the first phases run", async || (!stage.traces().is_empty()).then_some(())).await;
        first.freeze();
        let second = stage.controller(&[]);
        assert_each_once(&stage, &names).await;
        first.thaw();
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(stage.traces(), once(&names, &PHASES), "nothing ran twice after the thaw");
        second.assert_well();
        let said = first.said();
        assert!(!said.contains("panicked"), "{said}");
    });
}

/// Waits until somebody leads.
async fn led(stage: &Stage) {
    use k8s_openapi::api::coordination::v1::Lease;
    let leases: kube::Api<Lease> = kube::Api::namespaced(stage.world.client.clone(), &stage.namespace);
    until("somebody leads", async || leases.get("cistern").await.ok()?.spec?.holder_identity).await;
}

#[test]
fn a_controller_that_is_asked_to_stop_leaves_the_rest_to_the_next() {
    let Some(stage) = Stage::new("handed_over") else { return };
    stage.world.play(async {
        let first = stage.controller(&[]);
        let second = stage.controller(&[]);
        led(&stage).await;
        let names = order_all(&stage, "0.7").await;
        until("the first phases run", async || (!stage.traces().is_empty()).then_some(())).await;
        assert_eq!(first.stop(), Some(0));
        assert_each_once(&stage, &names).await;
        second.assert_well();
    });
}

#[test]
fn logs_that_are_cut_lose_nothing() {
    let Some(stage) = Stage::alone("cut_logs") else { return };
    let Some(kubelet) = stage.world.node("logs_that_are_cut_lose_nothing") else { return };
    stage.world.play(async {
        let controller = stage.controller(&["--no-leader-election"]);
        let names = order_all(&stage, "1").await;
        let cutting = async {
            loop {
                tokio::time::sleep(Duration::from_millis(300)).await;
                kubelet.cut();
            }
        };
        tokio::select! {
            () = cutting => unreachable!("it goes on for ever"),
            () = assert_each_once(&stage, &names) => {}
        }
        controller.assert_well();
    });
}

#[test]
fn outputs_arrive_though_no_log_does() {
    let Some(stage) = Stage::alone("lost_logs") else { return };
    let Some(kubelet) = stage.world.node("outputs_arrive_though_no_log_does") else { return };
    stage.world.play(async {
        let mut task = stage.phase("task", "kando output other 1; kando output word 'of-{{ .Options.id }}'");
        let container = &mut task["args"]["podOverride"]["containers"][0];
        container["securityContext"] = json!({ "readOnlyRootFilesystem": true });
        let told = "until [ -s /tmp/word ]; do sleep 0.1; done; kando output path \"$(cat /tmp/word)\"";
        let pair = json!({ "func": "MultiContainerRun", "name": "pair", "args": {
            "namespace": stage.namespace, "backgroundImage": format!("{OURS}tools"),
            "backgroundCommand": ["sh", "-c", "echo {{ .Phases.task.Output.word }} >/tmp/word"],
            "outputImage": format!("{OURS}tools"), "outputCommand": ["sh", "-c", told],
        }});
        let made = json!({ "keyValue": { "path": "{{ .Phases.pair.Output.path }}" } });
        let action = json!({ "phases": [task, pair], "outputArtifacts": { "made": made } });
        let blueprint = json!({
            "apiVersion": "cr.kanister.io/v1alpha1", "kind": "Blueprint", "metadata": { "name": "told" },
            "actions": { "backup": action },
        });
        stage.apply(&blueprint.to_string()).await;
        let controller = stage.controller(&["--no-leader-election"]);
        kubelet.lose_logs(true);
        stage.order("one", "told").await;
        let status = stage.ended("one").await;
        kubelet.lose_logs(false);
        assert_eq!(status["state"], "complete", "{status}");
        assert_eq!(status["actions"][0]["artifacts"]["made"]["keyValue"]["path"], "of-one");
        assert_eq!(status["actions"][0]["phases"][0]["output"]["other"], "1");
        controller.assert_well();
    });
}

#[test]
fn an_api_server_that_answers_badly() {
    let Some(stage) = Stage::new("bad_answers") else { return };
    let Some(plane) = stage.world.servers("an_api_server_that_answers_badly") else { return };
    stage.world.play(async {
        let proxy = Proxy::before(plane).await;
        let controller = stage.controller_as(&stage.kubeconfig_by(&proxy.url), &[]);
        let names = order_all(&stage, "0.3").await;
        // Somebody changes them all the time: that makes conflicts.
        let api = stage.action_sets();
        let disturbing = async {
            loop {
                for name in &names {
                    let note = json!({ "metadata": { "labels": { "touched": "yes" }, "annotations": { "note": null } } });
                    let other = json!({ "metadata": { "labels": { "touched": null }, "annotations": { "note": "x" } } });
                    for patch in [note, other] {
                        let _ = api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        };
        tokio::select! {
            () = disturbing => unreachable!("it goes on for ever"),
            () = assert_each_once(&stage, &names) => {}
        }
        let done = proxy.done();
        assert_eq!(done.len(), 7, "every fault has come about: {done:?}");
        controller.assert_well();
    });
}

#[test]
fn servers_that_die_and_come_back() {
    let Some(stage) = Stage::alone("servers_die") else { return };
    let Some(plane) = stage.world.servers("servers_that_die_and_come_back") else { return };
    stage.world.play(async {
        let controller: Replica = stage.controller(&[]);
        led(&stage).await;
        let names = order_all(&stage, "2").await;
        until("the first phases run", async || (!stage.traces().is_empty()).then_some(())).await;
        plane.kill_api();
        pause("api", 3000).await;
        plane.start_api();
        assert!(plane.answers());
        plane.freeze_etcd();
        tokio::time::sleep(Duration::from_secs(4)).await;
        plane.thaw_etcd();
        plane.kill_etcd();
        plane.start_etcd();
        assert!(plane.answers());
        assert_each_once(&stage, &names).await;
        controller.assert_well();
        let traces: BTreeMap<String, usize> = stage.traces();
        assert_eq!(traces.len(), names.len() * PHASES.len());
    });
}
