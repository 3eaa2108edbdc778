//! Controllers, servers and connections that die: every phase runs once all the same, and nothing is stuck.

use crate::faults::Proxy;
use crate::figures::{print_wait, size};
use crate::front::Front;
use crate::stage::{Replica, Stage, once};
use crate::support::drawn;
use crate::support::home::now;
use crate::world::{OURS, PATIENCE, until};
use cistern_sim::cluster::Fate;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

/// How many ActionSets are under way; `CISTERN_TEST_ORDERS`, and 50 for the whole proof.
const ORDERS: usize = 8;
/// How often the controller is killed; `CISTERN_TEST_KILLS`, and 200 for the whole proof.
const KILLS: usize = 6;
/// A controller lives no longer than this between two of these deaths.
const LIFE_MAX_MILLIS: u64 = 2500;
/// And writes no more often.
const LIFE_MAX_WRITES: u64 = 60;
/// An ActionSet among many may take so much longer, for each of them.
const EACH: Duration = Duration::from_secs(2);
const PHASES: [&str; 3] = ["first", "second", "last"];

fn orders() -> usize {
    size("CISTERN_TEST_ORDERS", ORDERS)
}

/// A blueprint of two phases that take a moment each.
async fn trace(stage: &Stage, secs: &str) {
    let artifacts = json!({ "made": { "keyValue": { "path": "{{ .Phases.second.Output.path }}" } } });
    let first = format!("sleep {secs}; kando output word '{{{{ .Options.id }}}}'");
    let second = format!("sleep {secs}; kando output path 'of-{{{{ .Phases.first.Output.word }}}}'");
    stage.blueprint("trace", &[("first", &first), ("second", &second)], artifacts).await;
}

/// Orders ActionSets of two phases that take a moment each.
async fn order_all(stage: &Stage, secs: &str) -> Vec<String> {
    trace(stage, secs).await;
    let names: Vec<String> = (0..orders()).map(|i| format!("order-{i}")).collect();
    for name in &names {
        stage.order(name, "trace").await;
    }
    names
}

/// All are complete, with the right artifacts, and the pods themselves say that each phase ran once.
async fn assert_each_once(stage: &Stage, names: &[String]) {
    let patience = PATIENCE + EACH * u32::try_from(names.len()).unwrap();
    for name in names {
        assert_right(&stage.ended_within(patience, name).await, name);
    }
    assert_eq!(stage.traces(), once(names, &PHASES));
}

fn assert_right(status: &Json, name: &str) {
    assert_eq!(status["state"], "complete", "{name}: {status}");
    let path = &status["actions"][0]["artifacts"]["made"]["keyValue"]["path"];
    assert_eq!(*path, format!("of-{name}"));
}

async fn pause(seed: &str, most_millis: u64) {
    tokio::time::sleep(Duration::from_millis(drawn(seed, most_millis))).await;
}

/// Lets the controller live for a while, or until a write; whether it was a write.
async fn live(front: &Front, kill: usize) -> bool {
    let seed = format!("kill {kill}");
    let nth = 1 + usize::try_from(drawn(&format!("{seed} write"), LIFE_MAX_WRITES)).unwrap();
    match kill % 3 {
        0 => {
            pause(&seed, LIFE_MAX_MILLIS).await;
            return false;
        }
        1 => front.decree(Fate::DiesBefore(nth)),
        _ => front.decree(Fate::DiesAfter(nth)),
    }
    timeout(Duration::from_millis(2 * LIFE_MAX_MILLIS), front.death()).await.is_ok()
}

#[test]
fn a_controller_that_is_killed_again_and_again_runs_every_phase_once() {
    let Some(stage) = Stage::new("killed_again") else { return };
    let (kills, since) = (size("CISTERN_TEST_KILLS", KILLS), now());
    stage.world.play(async {
        let front = stage.front().await;
        trace(&stage, "0.7").await;
        let (mut names, mut at_writes) = (Vec::new(), 0);
        for kill in 0..kills {
            // So many are under way until the last death.
            for _ in stage.unfinished().await..orders() {
                let name = format!("order-{}", names.len());
                stage.order(&name, "trace").await;
                names.push(name);
            }
            let controller = stage.controller_behind(&front, &["--no-leader-election"]);
            at_writes += usize::from(live(&front, kill).await);
            controller.assert_well();
            controller.kill();
            front.revive();
        }
        let controller = stage.controller_behind(&front, &["--no-leader-election"]);
        assert_each_once(&stage, &names).await;
        controller.assert_well();
        assert!(at_writes > 0, "it died at a write");
        let what = format!("{} complete, {kills} deaths, {at_writes} of them at a write", names.len());
        print_wait(&what, since.elapsed());
    });
}

/// One ActionSet whose controller suffers that fate; the controller that has brought it to its end.
async fn suffered(stage: &Stage, front: &Front, controller: Replica, name: &str, fate: Fate) -> Replica {
    front.decree(fate);
    stage.order(name, "trace").await;
    let controller = if matches!(fate, Fate::LosesReply(_)) {
        controller
    } else {
        timeout(PATIENCE, front.death()).await.unwrap_or_else(|_| panic!("{fate:?}: there is no such write"));
        controller.kill();
        front.revive();
        stage.controller_behind(front, &["--no-leader-election"])
    };
    settled(stage, name).await;
    controller.assert_well();
    controller
}

/// It is complete, and nothing is left of its pods.
async fn settled(stage: &Stage, name: &str) {
    assert_right(&stage.ended(name).await, name);
    let pods: Api<Pod> = Api::namespaced(stage.world.client.clone(), &stage.namespace);
    until(&format!("the pods of {name} are gone"), async || {
        let left = pods.list_metadata(&ListParams::default()).await.ok()?.items;
        left.is_empty().then_some(())
    })
    .await;
}

#[test]
fn a_death_at_any_write_repeats_no_phase() {
    let Some(stage) = Stage::new("any_write") else { return };
    stage.world.play(async {
        let front = stage.front().await;
        trace(&stage, "0").await;
        let mut controller = stage.controller_behind(&front, &["--no-leader-election"]);
        let mut names = vec!["calm".to_owned()];
        front.count();
        stage.order("calm", "trace").await;
        settled(&stage, "calm").await;
        let writes = front.writes();
        // Each pod is made, freed and deleted; what is claimed before, and recorded after it, is stored.
        assert!(writes >= 5 * PHASES.len(), "{writes}");
        for n in 1..=writes {
            for fate in [Fate::DiesBefore(n), Fate::DiesAfter(n), Fate::LosesReply(n)] {
                let name = format!("{fate:?}").to_lowercase().replace('(', "-").replace(')', "");
                controller = suffered(&stage, &front, controller, &name, fate).await;
                names.push(name);
            }
        }
        assert_eq!(stage.traces(), once(&names, &PHASES));
    });
}

#[test]
fn bad_weather_between_controller_and_api_server_costs_nothing_but_time() {
    let Some(stage) = Stage::new("bad_weather") else { return };
    let since = now();
    stage.world.play(async {
        let front = stage.front().await;
        let controller = stage.controller_behind(&front, &[]);
        led(&stage).await;
        front.begin_storm();
        let names = order_all(&stage, "0.3").await;
        assert_each_once(&stage, &names).await;
        controller.assert_well();
        let (requests, suffered) = front.suffered();
        assert!(suffered > requests / 10, "{suffered} of {requests}");
        let what = format!("{} complete, {suffered} of {requests} requests refused or cut off", names.len());
        print_wait(&what, since.elapsed());
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
        let second = stage.controller(&[]);
        first.freeze();
        let lost = leads(&stage).await;
        tokio::join!(taken_over(&stage, &lost, "frozen"), assert_each_once(&stage, &names));
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
    until("somebody leads", async || Some(leads(stage).await).filter(|leader| !leader.is_empty())).await;
}

/// Who leads; nobody is empty.
async fn leads(stage: &Stage) -> String {
    let leases: Api<Lease> = Api::namespaced(stage.world.client.clone(), &stage.namespace);
    let lease = leases.get("cistern").await.ok();
    lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default()
}

/// Waits until somebody else leads, and prints how long that takes.
async fn taken_over(stage: &Stage, lost: &str, how: &str) {
    let since = now();
    until("another leads", async || {
        Some(leads(stage).await).filter(|leader| !leader.is_empty() && leader != lost)
    })
    .await;
    print_wait(&format!("another leads after the leader was {how}"), since.elapsed());
}

#[test]
fn a_controller_that_is_asked_to_stop_leaves_the_rest_to_the_next() {
    let Some(stage) = Stage::new("handed_over") else { return };
    stage.world.play(async {
        let first = stage.controller(&[]);
        led(&stage).await;
        let second = stage.controller(&[]);
        let names = order_all(&stage, "0.7").await;
        until("the first phases run", async || (!stage.traces().is_empty()).then_some(())).await;
        let lost = leads(&stage).await;
        let stopped = async { assert_eq!(first.stop(), Some(0)) };
        tokio::join!(taken_over(&stage, &lost, "told to stop"), stopped);
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
