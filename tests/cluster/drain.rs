//! Many ActionSets: how long a queue takes to drain, how long a start beside finished ones, and in how much memory.

use crate::figures::{Measurement, size};
use crate::stage::Stage;
use crate::support::home::now;
use crate::world::{object, until_within};
use futures::{StreamExt as _, stream};
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value as Json, json};
use std::time::Duration;

/// How many are queued at once; `CISTERN_TEST_QUEUED`, and 1000 for the whole proof.
const QUEUED: usize = 60;
/// How often so many are queued, to see whether memory grows; `CISTERN_TEST_ROUNDS`, and 5 for the whole proof.
const ROUNDS: usize = 2;
/// How many have ended long ago; `CISTERN_TEST_FINISHED`, and 10000 for the whole proof.
const FINISHED: usize = 300;
/// A start beside any number of finished ActionSets.
const START_MAX: Duration = Duration::from_secs(5);
/// What the manifests grant is 512 MiB; half of it is enough.
const MEMORY_BYTES_MAX: u64 = 256 << 20;
/// By as much may memory differ between two rounds.
const MEMORY_GROWTH_BYTES_MAX: u64 = 16 << 20;
/// A queue may take so long for each of those in it, on a busy machine, and a minute besides.
const EACH_MAX: Duration = Duration::from_millis(500);
/// Requests of this test at the same time.
const AT_ONCE: usize = 16;

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

async fn order_many(stage: &Stage, count: usize, prefix: &str, labels: &Json, status: &Json) {
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
                "metadata": { "name": format!("{prefix}-{i}"), "labels": labels },
                "spec": { "actions": [action] },
            });
            if !status.is_null() {
                order["status"] = status.clone();
            }
            api.create(params, &object(order)).await.unwrap();
        })
        .await;
}

/// Waits until nothing is left to do.
async fn drained(stage: &Stage, queued: usize) {
    let patience = Duration::from_secs(60) + EACH_MAX * u32::try_from(queued).unwrap();
    until_within(patience, "all have ended", async || {
        let left = stage.unfinished().await;
        // Looking costs those who are looked at: less often while there is much to do.
        tokio::time::sleep(Duration::from_millis(left.min(20) as u64 * 50)).await;
        (left == 0).then_some(())
    })
    .await;
    let all = stage.action_sets().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(all.len(), queued);
    assert!(all.iter().all(|order| order.data["status"]["state"] == "complete"));
}

#[test]
fn long_queues_drain_in_bounded_memory() {
    let Some(stage) = Stage::new("long_queue") else { return };
    let plane = stage.world.plane.as_ref().unwrap();
    let (queued, rounds) = (size("CISTERN_TEST_QUEUED", QUEUED), size("CISTERN_TEST_ROUNDS", ROUNDS));
    stage.world.play(async {
        blueprint(&stage).await;
        order_many(&stage, queued, "queued", &json!({}), &Json::Null).await;
        let measurement = Measurement::begin(plane);
        let controller = stage.controller(&["--no-leader-election"]);
        drained(&stage, queued).await;
        measurement.print(&format!("a queue of {queued} drains"), queued, &controller);
        let first = controller.used().memory_bytes;
        for round in 2..=rounds {
            stage
                .action_sets()
                .delete_collection(&DeleteParams::default(), &ListParams::default())
                .await
                .unwrap();
            let measurement = Measurement::begin_with(plane, &controller);
            order_many(&stage, queued, "queued", &json!({}), &Json::Null).await;
            drained(&stage, queued).await;
            measurement.print(&format!("{queued} more come, the {round}. time"), queued, &controller);
        }
        let used = controller.used();
        assert!(used.memory_bytes_max < MEMORY_BYTES_MAX, "{used:?}");
        assert!(
            used.memory_bytes < first + MEMORY_GROWTH_BYTES_MAX,
            "{used:?}, {first} after the first round"
        );
        controller.assert_well();
    });
}

/// How long it takes from the start of a controller to the end of a new ActionSet, beside many that have ended and
/// carry these labels.
fn start_beside(story: &str, whose: &str, labels: &Json) {
    let Some(stage) = Stage::new(story) else { return };
    let plane = stage.world.plane.as_ref().unwrap();
    let finished = size("CISTERN_TEST_FINISHED", FINISHED);
    stage.world.play(async {
        blueprint(&stage).await;
        let phases = json!([{ "name": "only", "state": "complete", "output": { "version": "1" } }]);
        let status = json!({
            "state": "complete",
            "actions": [{ "name": "backup", "blueprint": "wait", "phases": phases, "artifacts": {} }],
        });
        order_many(&stage, finished, "finished", labels, &status).await;
        order_many(&stage, 1, "new", &json!({}), &Json::Null).await;
        let measurement = Measurement::begin(plane);
        let since = now();
        let controller = stage.controller(&["--no-leader-election"]);
        let status = stage.ended("new-0").await;
        let took = since.elapsed();
        assert_eq!(status["state"], "complete", "{status}");
        let what = format!("a start, and a new one, beside {finished} that {whose} has carried out");
        measurement.print(&what, 1, &controller);
        let memory = controller.used().memory_bytes_max;
        assert!(took < START_MAX, "{took:?}");
        assert!(memory < MEMORY_BYTES_MAX, "{memory} bytes");
    });
}

#[test]
fn a_start_beside_finished_orders_is_quick() {
    start_beside("finished_orders", "this controller", &json!({ "cistern.dev/state": "complete" }));
}

#[test]
fn so_it_is_beside_those_that_kanister_has_carried_out() {
    start_beside("kanisters_orders", "Kanister", &json!({}));
}
