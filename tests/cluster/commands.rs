//! Commands in many containers and in pods of several: KubeExecAll, MultiContainerRun, PrepareData; and what
//! blueprints and ActionSets say of pods.

use crate::recipe::only;
use crate::stage::Stage;
use crate::workloads::{Workloads, ready, sleeper, workload};
use crate::world::OURS;
use serde_json::{Value as Json, json};

/// A container that knows its name.
fn named(name: &str) -> Json {
    let mut container = sleeper(name);
    container["env"] = json!([{ "name": "ROLE", "value": name }]);
    container
}

fn tools() -> String {
    format!("{OURS}tools")
}

#[test]
fn every_container_of_every_pod_runs_the_command() {
    let Some(stage) = Stage::new("exec_all") else { return };
    stage.world.play(async {
        let _workloads = Workloads::begin(&stage);
        workload(
            &stage,
            "StatefulSet",
            "db",
            2,
            json!({ "containers": [named("main"), named("side")] }),
            &[],
        )
        .await;
        ready(&stage, "StatefulSet", "db", 2).await;
        let all = |script: &str| {
            only(
                "KubeExecAll",
                json!({
                    "namespace": "{{ .StatefulSet.Namespace }}", "containers": "main side",
                    "pods": "{{ range .StatefulSet.Pods }} {{ . }}{{ end }}", "command": ["sh", "-c", script],
                }),
            )
        };
        let actions = json!({
            "flush": all("kando output \"$(echo \"$HOSTNAME-$ROLE\" | tr - _)\" \"flushed by $ROLE\""),
            "fail": all("test $ROLE = main || { echo \"no room on $HOSTNAME\" >&2; exit 3; }"),
        });
        stage.recipe("all", actions).await;
        let controller = stage.controller(&["--no-leader-election"]);
        let object = stage.the("StatefulSet", "db");
        let done = stage.complete("flush", "all", json!({ "name": "flush", "object": object })).await;
        let outputs = json!({
            "db_0_main": "flushed by main", "db_0_side": "flushed by side",
            "db_1_main": "flushed by main", "db_1_side": "flushed by side",
        });
        assert_eq!(done["phases"][0]["output"], outputs);
        let said = stage.failure("fail", "all", json!({ "name": "fail", "object": object })).await;
        for words in ["db-0, side", "db-1, side", "no room on db-0", "no room on db-1", "status 3"] {
            assert!(said.contains(words), "`{words}` is not in: {said}");
        }
        assert!(!said.contains("main"), "those did not fail: {said}");
        controller.assert_well();
    });
}

/// What a pod says of itself: labels, annotation, account, and who won of two overrides.
const TELL: &str = "kando output tier \"$TIER\"; kando output note \"$NOTE\"; kando output maker \"$MAKER\"; \
                    kando output account \"$ACCOUNT\"; kando output both \"$ONE$TWO$THREE\"";

/// An override that puts what the pod is into the command's environment.
fn mirror() -> Json {
    let field =
        |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    json!({ "containers": [{ "name": "container", "env": [
        field("TIER", "metadata.labels['tier']"), field("NOTE", "metadata.annotations['note']"),
        field("MAKER", "metadata.labels['createdBy']"), field("ACCOUNT", "spec.serviceAccountName"),
        { "name": "ONE", "value": "1" }, { "name": "TWO", "value": "of the blueprint" },
    ]}]})
}

#[test]
fn labels_annotations_and_overrides_reach_the_pod() {
    let Some(stage) = Stage::new("overrides") else { return };
    stage.world.play(async {
        let task = |over: Json| {
            only(
                "KubeTask",
                json!({
                    "namespace": stage.namespace, "image": tools(), "command": ["sh", "-c", TELL],
                    "podLabels": { "tier": "db" }, "podOverride": over,
                }),
            )
        };
        let actions = json!({
            "tell": task(mirror()), "wrong": task(json!("containers")),
            "keyless": task(json!({ "containers": [{ "image": "x" }] })),
        });
        stage.recipe("tell", actions).await;
        let controller = stage.controller(&["--no-leader-election"]);
        // Lists with a key are merged: of the ActionSet's environment one variable is new, one wins.
        let over = json!({ "containers": [{ "name": "container", "env": [
            { "name": "TWO", "value": "2" }, { "name": "THREE", "value": "3" },
        ]}]});
        let more = json!({
            "name": "tell", "podLabels": { "tier": "none" }, "podAnnotations": { "note": "by hand" }, "podOverride": over,
        });
        let outputs = &stage.complete("tell", "tell", more).await["phases"][0]["output"];
        let wanted = json!({
            "tier": "db", "note": "by hand", "maker": "kanister", "account": "cistern", "both": "123",
        });
        assert_eq!(outputs, &wanted);
        let said = stage.failure("wrong", "tell", json!({ "name": "wrong" })).await;
        assert!(said.contains("podOverride must be a map"), "{said}");
        let said = stage.failure("keyless", "tell", json!({ "name": "keyless" })).await;
        assert!(said.contains("podOverride of the blueprint") && said.contains("name"), "{said}");
        controller.assert_well();
    });
}

#[test]
fn two_containers_share_a_directory_and_the_outputs_are_those_of_one() {
    let Some(stage) = Stage::new("multi_container") else { return };
    stage.world.play(async {
        let run = |background: &str| {
            only(
                "MultiContainerRun",
                json!({
                    "namespace": stage.namespace, "initImage": tools(), "backgroundImage": tools(), "outputImage": tools(),
                    "initCommand": ["sh", "-c", "mkfifo /shared/asked /shared/answer && echo $WORD >/shared/prepared"],
                    "backgroundCommand": ["sh", "-c", background],
                    "outputCommand": ["sh", "-c",
                        "cat /shared/prepared >/shared/asked; kando output answer \"$(cat /shared/answer)\""],
                    "sharedVolumeDir": "/shared", "sharedVolumeMedium": "Memory", "sharedVolumeSizeLimit": "16Mi",
                }),
            )
        };
        let serve = "kando output secret 'of no interest'; tr a-z A-Z </shared/asked >/shared/answer";
        let break_down = format!("{serve}; echo the engine broke >&2; exit 4");
        stage.recipe("pair", json!({ "run": run(serve), "fail": run(&break_down) })).await;
        let controller = stage.controller(&["--no-leader-election"]);
        // What an ActionSet says of the one container of other pods goes for all of these.
        let over = json!({ "containers": [{ "name": "container", "env": [{ "name": "WORD", "value": "sesame" }] }] });
        let done = stage.complete("run", "pair", json!({ "name": "run", "podOverride": over })).await;
        assert_eq!(done["phases"][0]["output"], json!({ "answer": "SESAME" }));
        let said = stage.failure("fail", "pair", json!({ "name": "fail", "podOverride": over })).await;
        assert!(said.contains("background") && said.contains('4'), "{said}");
        controller.assert_well();
    });
}

#[test]
fn volumes_are_prepared_and_a_failure_counts_where_it_is_to() {
    let Some(stage) = Stage::new("prepare_data") else { return };
    stage.world.play(async {
        let _workloads = Workloads::begin(&stage);
        let mut main = sleeper("main");
        main["volumeMounts"] = json!([{ "name": "data", "mountPath": "/data" }]);
        workload(&stage, "StatefulSet", "db", 1, json!({ "containers": [main] }), &["data"]).await;
        ready(&stage, "StatefulSet", "db", 1).await;
        let robot = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "robot" } });
        stage.apply(&robot.to_string()).await;
        let prepare = |script: &str, more: Json| {
            let mut args = json!({
                "namespace": stage.namespace, "image": tools(), "command": ["sh", "-c", script],
            });
            args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            only("PrepareData", args)
        };
        let account = json!({ "containers": [{ "name": "container", "env": [
            { "name": "ACCOUNT", "valueFrom": { "fieldRef": { "fieldPath": "spec.serviceAccountName" } } },
        ]}]});
        let named = json!({ "volumes": { "data-db-0": "/mnt" }, "serviceaccount": "robot", "podOverride": account });
        let actions = json!({
            // The claims of the workload's pods, where none is named.
            "own": prepare("cd /mnt/prepare_data/data-db-0 && echo prepared >mark && kando output where \"$PWD\"", json!({})),
            "named": prepare("kando output mark \"$(cat /mnt/mark)\"; kando output account $ACCOUNT", named),
            "careless": prepare("exit 3", json!({})),
            "careful": prepare("echo a broken table >&2; exit 3", json!({ "failOnError": true })),
            "absent": prepare("true", json!({ "volumes": { "nothing": "/mnt" } })),
        });
        stage.recipe("prepare", actions).await;
        let controller = stage.controller(&["--no-leader-election"]);
        let order = |action: &str| json!({ "name": action, "object": stage.the("StatefulSet", "db") });
        let own = stage.complete("own", "prepare", order("own")).await;
        assert_eq!(own["phases"][0]["output"]["where"], "/mnt/prepare_data/data-db-0");
        assert_eq!(std::fs::read_to_string(stage.claim("data-db-0").join("mark")).unwrap(), "prepared\n");
        let named = stage.complete("named", "prepare", order("named")).await;
        assert_eq!(named["phases"][0]["output"], json!({ "mark": "prepared", "account": "robot" }));
        stage.complete("careless", "prepare", order("careless")).await;
        let said = stage.failure("careful", "prepare", order("careful")).await;
        assert!(said.contains("a broken table"), "{said}");
        let said = stage.failure("absent", "prepare", order("absent")).await;
        assert!(said.contains("the volume nothing"), "{said}");
        // A Secret or map has no volumes.
        let said = stage.failure("no-volumes", "prepare", json!({ "name": "own" })).await;
        assert!(said.contains("name them in `volumes`"), "{said}");
        controller.assert_well();
    });
}
