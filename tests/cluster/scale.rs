//! ScaleWorkload: workloads stopped and started, and the number of pods they had.

use crate::recipe::{only, phase};
use crate::stage::Stage;
use crate::workloads::{Workloads, ready, sleeper, workload};
use serde_json::json;

#[test]
fn a_workload_stops_and_starts_with_as_many_pods_as_before() {
    let Some(stage) = Stage::new("scale") else { return };
    stage.world.play(async {
        let mut start = only("ScaleWorkload", json!({ "replicas": "{{ .ArtifactsIn.was.KeyValue.replicas }}" }));
        start["inputArtifactNames"] = json!(["was"]);
        let was = json!({ "was": { "keyValue": { "replicas": "{{ .Phases.only.Output.originalReplicaCount }}" } } });
        let mut stop = only("ScaleWorkload", json!({ "replicas": 0 }));
        stop["outputArtifacts"] = was;
        stage.recipe("scale", json!({ "stop": stop, "start": start })).await;
        let _workloads = Workloads::begin(&stage);
        let controller = stage.controller(&["--no-leader-election"]);
        for kind in ["StatefulSet", "Deployment"] {
            let name = kind.to_lowercase();
            workload(&stage, kind, &name, 2, json!({ "containers": [sleeper("main")] }), &[]).await;
            ready(&stage, kind, &name, 2).await;
        }
        for kind in ["StatefulSet", "Deployment"] {
            let name = kind.to_lowercase();
            let order = json!({ "name": "stop", "object": stage.the(kind, &name) });
            let stopped = stage.complete(&format!("stop-{name}"), "scale", order).await;
            assert_eq!(stopped["artifacts"]["was"]["keyValue"]["replicas"], "2");
            let left = stage.pods().await;
            assert!(left.iter().all(|pod| !pod.starts_with(&name)), "when it is over no pod runs: {left:?}");
            let order =
                json!({ "name": "start", "object": stage.the(kind, &name), "artifacts": stopped["artifacts"] });
            stage.complete(&format!("start-{name}"), "scale", order).await;
            let back = stage.pods().await;
            assert_eq!(back.iter().filter(|pod| pod.starts_with(&name)).count(), 2, "{back:?}");
        }
        controller.assert_well();
    });
}

#[test]
fn who_scales_waits_for_the_pods_unless_told_not_to_and_not_for_ever() {
    let Some(stage) = Stage::new("scale_waits") else { return };
    stage.world.play(async {
        // Nobody makes pods here.
        workload(&stage, "StatefulSet", "db", 1, json!({ "containers": [sleeper("main")] }), &[]).await;
        let named =
            json!({ "kind": "statefulset", "namespace": stage.namespace, "name": "db", "replicas": 3 });
        let mut at_once = named.clone();
        at_once["waitForReady"] = false.into();
        at_once["replicas"] = "2".into();
        let mut absent = named.clone();
        absent["name"] = "nobody".into();
        let actions = json!({
            "wait": { "phases": [phase("ScaleWorkload", "only", named)] },
            "at_once": only("ScaleWorkload", at_once), "absent": only("ScaleWorkload", absent),
            "unnamed": only("ScaleWorkload", json!({ "replicas": 1 })),
            "negative": only("ScaleWorkload", json!({ "replicas": -1 })),
        });
        let limit = json!({ "cistern.dev/timeout.wait.only": "3s" });
        stage.recipe_with("scale", limit, actions).await;
        let controller = stage.controller(&["--no-leader-election"]);
        let done = stage.complete("at-once", "scale", json!({ "name": "at_once" })).await;
        assert_eq!(done["phases"][0]["output"]["originalReplicaCount"], 1);
        let sets = stage.objects("apps/v1", "StatefulSet").await;
        assert_eq!(sets.get("db").await.unwrap().data["spec"]["replicas"], 2);
        for (action, words) in [
            ("wait", "it took longer than 3s"),
            ("absent", "statefulsets"),
            ("unnamed", "the action's object is no workload: name kind"),
            ("negative", "cannot be less than 0"),
        ] {
            let said = stage.failure(action, "scale", json!({ "name": action })).await;
            assert!(said.contains(words), "{action}: {said}");
        }
        controller.assert_well();
    });
}
