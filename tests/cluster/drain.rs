//! Many ActionSets: how long a queue takes to drain, how long a start beside finished ones, and in how much memory.

use crate::stage::Stage;
use crate::support::home::now;
use crate::support::variable_of;
use crate::world::{object, until};
use futures::{StreamExt as _, stream};
use kube::api::{ListParams, PostParams};
use serde_json::{Value as Json, json};
use std::time::Duration;

/// How many are queued at once; `CISTERN_TEST_QUEUED`, and 1000 for the whole proof.
const QUEUED: usize = 60;
/// How many have ended long ago; `CISTERN_TEST_FINISHED`, and 10000 for the whole proof.
const FINISHED: usize = 300;
/// A start beside any number of finished ActionSets.
const START_MAX: Duration = Duration::from_secs(5);
/// What the manifests grant is 512 MiB; half of it is enough.
const MEMORY_BYTES_MAX: u64 = 256 << 20;
/// Requests of this test at the same time.
const AT_ONCE: usize = 16;

fn size(variable: &str, default: usize) -> usize {
    variable_of(variable).map_or(default, |text| text.parse().unwrap())
}

/// A blueprint that waits for what is true already: all that takes time is the controller.
async fn blueprint(stage: &Stage) {
    let wait = json!({ "func": "Wait", "name": "only", "args": {
        "timeout": "1m",
        "conditions": { "anyOf": [{
            "condition": "{{ if true }}true{{ end }}",
            "objectReference": {
                "apiVersion": "v1", "group": "", "resource": "configmaps", "name": "app",
                "namespace": stage.namespace,
            },
        }]},
    }});
    let blueprint = json!({
        "apiVersion": "cr.kanister.io/v1alpha1", "kind": "Blueprint", "metadata": { "name": "wait" },
        "actions": { "backup": { "phases": [wait] } },
    });
    stage.apply(&blueprint.to_string()).await;
}

async fn order_many(stage: &Stage, count: usize, prefix: &str, status: &Json) {
    let action = json!({
        "name": "backup", "blueprint": "wait", "object": {
            "apiVersion": "v1", "group": "", "resource": "configmaps", "name": "app", "namespace": stage.namespace,
        },
    });
    let api = &stage.action_sets();
    let (action, params) = (&action, &PostParams::default());
    stream::iter(0..count)
        .for_each_concurrent(AT_ONCE, |i| async move {
            let mut order = json!({
                "apiVersion": "cr.kanister.io/v1alpha1", "kind": "ActionSet",
                "metadata": { "name": format!("{prefix}-{i}") }, "spec": { "actions": [action] },
            });
            if !status.is_null() {
                order["status"] = status.clone();
            }
            api.create(params, &object(order)).await.unwrap();
        })
        .await;
}

async fn count(stage: &Stage, state: &str) -> usize {
    let all = stage.action_sets().list(&ListParams::default()).await.unwrap();
    all.items.iter().filter(|order| order.data["status"]["state"] == state).count()
}

#[test]
fn a_long_queue_drains_in_bounded_memory() {
    let Some(stage) = Stage::new("long_queue") else { return };
    let queued = size("CISTERN_TEST_QUEUED", QUEUED);
    stage.world.play(async {
        blueprint(&stage).await;
        order_many(&stage, queued, "queued", &Json::Null).await;
        let controller = stage.controller(&["--no-leader-election"]);
        let since = now();
        until("all have ended", async || (count(&stage, "complete").await == queued).then_some(())).await;
        let took = since.elapsed();
        let memory = controller.memory_bytes_max();
        let each = took / u32::try_from(queued).unwrap();
        println!(
            "{queued} ActionSets drained in {took:?}, {each:?} each; the controller had {} MiB",
            memory >> 20
        );
        assert!(memory < MEMORY_BYTES_MAX, "{memory} bytes");
        controller.assert_well();
    });
}

#[test]
fn a_start_beside_finished_orders_is_quick() {
    let Some(stage) = Stage::new("finished_orders") else { return };
    let finished = size("CISTERN_TEST_FINISHED", FINISHED);
    stage.world.play(async {
        blueprint(&stage).await;
        let phases = json!([{ "name": "only", "state": "complete", "output": { "version": "1" } }]);
        let status = json!({
            "state": "complete",
            "actions": [{ "name": "backup", "blueprint": "wait", "phases": phases, "artifacts": {} }],
        });
        order_many(&stage, finished, "finished", &status).await;
        order_many(&stage, 1, "new", &Json::Null).await;
        let since = now();
        let controller = stage.controller(&["--no-leader-election"]);
        let status = stage.ended("new-0").await;
        let took = since.elapsed();
        assert_eq!(status["state"], "complete", "{status}");
        let memory = controller.memory_bytes_max();
        println!(
            "beside {finished} finished ActionSets a new one had ended after {took:?}, {} MiB",
            memory >> 20
        );
        assert!(took < START_MAX, "{took:?}");
        assert!(memory < MEMORY_BYTES_MAX, "{memory} bytes");
    });
}
