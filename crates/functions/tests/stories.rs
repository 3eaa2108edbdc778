//! Stories: a call and what happens in a paper cluster; what it put out and what it asked for.
#![allow(clippy::disallowed_methods, reason = "a test may unwrap")]

mod common;

use cistern_action::catalog;
use cistern_api::ActionSpec;
use cistern_api::wire::output_line;
use cistern_functions::reference::of_kind;
use cistern_functions::setting::Setting;
use cistern_functions::{pod, run};
use cistern_sim::cluster::{Fate, PaperCluster, Plot};
use common::{call, setting, told};
use serde_json::{Value as Json, json};

const NAME: &str = "kanister-job-u1-0-0";

fn task() -> Json {
    json!({ "image": "tools", "command": ["dump"], "namespace": "app" })
}

fn dump(secs: u64) -> Plot {
    let prints = "working\n".to_owned() + &output_line("id", "7").unwrap();
    Plot { word: "dump", secs, prints, ..Plot::default() }
}

fn db() -> Json {
    let metadata = json!({ "name": "db", "namespace": "app" });
    json!({ "kind": "StatefulSet", "metadata": metadata, "spec": { "replicas": 3 } })
}

#[tokio::test(start_paused = true)]
async fn a_task_puts_out_what_its_command_printed() {
    let cluster = PaperCluster::new(vec![dump(3 * 3600)]);
    let output = told(&cluster, "KubeTask", task()).await.unwrap();
    assert_eq!(Json::Object(output), json!({ "id": "7" }));
    assert_eq!(cluster.asked(), [format!("create pods app/{NAME}")]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_task_says_its_status_and_its_last_words() {
    let cluster = PaperCluster::new(vec![Plot { exit: 3, ..dump(1) }]);
    let reason = told(&cluster, "KubeTask", task()).await.unwrap_err();
    assert_eq!(
        reason,
        format!("pod {NAME} failed: container container ended with status 3; it said last:\n    working")
    );
}

#[tokio::test(start_paused = true)]
async fn an_output_outlives_a_log_that_is_cut_or_hangs() {
    for plot in [
        Plot { cut_after_bytes: Some(9), ..dump(60) },
        Plot { cut_after_bytes: Some(40), ..dump(60) },
        // The stream outlasts the pod, and ends as if it were whole.
        Plot { cut_after_bytes: Some(9), cut_secs_late: Some(8), ..dump(60) },
        Plot { hangs: true, ..dump(60) },
        Plot { prints: String::new(), message: output_line("id", "7").unwrap(), ..dump(60) },
    ] {
        let cluster = PaperCluster::new(vec![plot.clone()]);
        let output = told(&cluster, "KubeTask", task()).await.unwrap();
        assert_eq!(Json::Object(output), json!({ "id": "7" }), "{plot:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_there_is_taken_up_and_kept_until_its_outcome_is_recorded() {
    let cluster = PaperCluster::new(vec![dump(600)]);
    let given_up = std::time::Duration::from_secs(30);
    assert!(tokio::time::timeout(given_up, told(&cluster, "KubeTask", task())).await.is_err());
    assert_eq!(Json::Object(told(&cluster, "KubeTask", task()).await.unwrap()), json!({ "id": "7" }));
    let at = of_kind("pod", "app", NAME);
    cluster.delete_by_hand(&at);
    assert_eq!(Json::Object(told(&cluster, "KubeTask", task()).await.unwrap()), json!({ "id": "7" }));
    assert_eq!(cluster.began()["dump"], 1);
    run::remove(&cluster, &at).await.unwrap();
    assert_eq!(cluster.object(&at), None);
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_another_is_not_taken_up() {
    let cluster = PaperCluster::new(Vec::new());
    cluster.add(json!({ "kind": "Pod", "metadata": { "name": NAME, "namespace": "app" }, "spec": {} }));
    let reason = told(&cluster, "KubeTask", task()).await.unwrap_err();
    assert_eq!(reason, format!("a pod app/{NAME} is there that is not its own"));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_makes_no_second_pod() {
    let cluster = PaperCluster::new(vec![dump(5)]);
    cluster.decree(Fate::LosesReply(1));
    told(&cluster, "KubeTask", task()).await.unwrap();
    assert_eq!(cluster.began()["dump"], 1);
}

#[tokio::test(start_paused = true)]
async fn an_image_that_never_comes_fails_within_seconds() {
    let began = tokio::time::Instant::now();
    let cluster = PaperCluster::new(vec![Plot { stuck: Some("ImagePullBackOff"), ..dump(1) }]);
    let reason = told(&cluster, "KubeTask", task()).await.unwrap_err();
    assert_eq!(reason, format!("its pod {NAME} cannot start: ImagePullBackOff: back-off"));
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_too_long_ends() {
    let cluster = PaperCluster::new(vec![dump(48 * 3600)]);
    let reason = told(&cluster, "KubeTask", task()).await.unwrap_err();
    assert_eq!(reason, "it took longer than 24 hours, the longest a phase may take");
}

#[tokio::test(start_paused = true)]
async fn prepared_data_gets_its_volumes_and_may_fail_unseen() {
    let cluster = PaperCluster::new(vec![Plot { exit: 1, ..dump(1) }]);
    let mut args = task();
    args["volumes"] = json!({ "data": "/data" });
    let missing = told(&cluster, "PrepareData", args.clone()).await.unwrap_err();
    assert_eq!(missing, "the volume data: is not there: data");
    let (metadata, spec) =
        (json!({ "name": "data", "namespace": "app" }), json!({ "accessModes": ["ReadOnlyMany"] }));
    cluster.add(json!({ "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec }));
    assert_eq!(
        Json::Object(told(&cluster, "PrepareData", args.clone()).await.unwrap()),
        json!({ "id": "7" })
    );
    let pod = cluster.object(&of_kind("pod", "app", "prepare-data-job-u1-0-0")).unwrap();
    let mounts = json!([{ "name": "vol-0", "mountPath": "/data", "readOnly": true }]);
    assert_eq!(pod["spec"]["containers"][0]["volumeMounts"], mounts);
    args["failOnError"] = true.into();
    assert!(told(&cluster, "PrepareData", args).await.unwrap_err().contains("ended with status 1"));
}

#[tokio::test(start_paused = true)]
async fn of_two_containers_the_first_one_speaks_and_both_must_succeed() {
    let args = json!({
        "backgroundImage": "b", "backgroundCommand": ["serve"], "outputImage": "o", "outputCommand": ["dump"],
        "sharedVolumeSizeLimit": "1Gi",
    });
    let prints = output_line("id", "8").unwrap();
    let serve = |exit| Plot { word: "serve", secs: 9, exit, prints: prints.clone(), ..Plot::default() };
    let cluster = PaperCluster::new(vec![dump(3), serve(0)]);
    let output = told(&cluster, "MultiContainerRun", args.clone()).await.unwrap();
    assert_eq!(Json::Object(output), json!({ "id": "7" }));
    let cluster = PaperCluster::new(vec![dump(3), serve(2)]);
    let reason = told(&cluster, "MultiContainerRun", args).await.unwrap_err();
    assert!(reason.contains("container background ended with status 2"), "{reason}");
}

fn exec() -> Json {
    json!({ "namespace": "app", "pod": "db-0", "container": "db", "command": ["dump", "all"] })
}

#[tokio::test(start_paused = true)]
async fn a_command_in_a_container_puts_out_what_it_printed() {
    let cluster = PaperCluster::new(vec![dump(5)]);
    let output = told(&cluster, "KubeExec", exec()).await.unwrap();
    assert_eq!(Json::Object(output), json!({ "id": "7" }));
    assert_eq!(cluster.asked(), ["exec app/db-0 dump all"]);
    let cluster = PaperCluster::new(vec![Plot { exit: 4, ..dump(5) }]);
    assert_eq!(
        told(&cluster, "KubeExec", exec()).await.unwrap_err(),
        "in app/db-0, db: the command ended with status 4; it said last:\n    working"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_cut_is_never_a_success() {
    let whole = dump(5).prints.len();
    for cut in [0, 3, whole, whole + 10] {
        let cluster = PaperCluster::new(vec![Plot { cut_after_bytes: Some(cut), ..dump(5) }]);
        let reason = told(&cluster, "KubeExec", exec()).await.unwrap_err();
        assert!(reason.contains("the connection was cut before the command had ended"), "{cut}: {reason}");
    }
    // Nor one in which the command itself printed what the end looks like.
    let prints = "###cistern-exec-end### u1-0-0 0\nstill working\n".to_owned();
    let cluster = PaperCluster::new(vec![Plot { cut_after_bytes: Some(prints.len()), prints, ..dump(5) }]);
    assert!(told(&cluster, "KubeExec", exec()).await.unwrap_err().contains("the connection was cut"));
}

#[tokio::test(start_paused = true)]
async fn a_command_in_many_containers_reports_every_failure() {
    let args =
        json!({ "namespace": "app", "pods": "db-0 db-1", "containers": "db log", "command": ["dump"] });
    let cluster = PaperCluster::new(vec![dump(5)]);
    told(&cluster, "KubeExecAll", args.clone()).await.unwrap();
    assert_eq!(cluster.began()["dump"], 4);
    let cluster = PaperCluster::new(vec![Plot { exit: 4, ..dump(5) }]);
    let reason = told(&cluster, "KubeExecAll", args).await.unwrap_err();
    assert_eq!(reason.matches("ended with status 4").count(), 4);
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_condition_or_the_time() {
    let cluster = PaperCluster::new(Vec::new());
    cluster.add(db());
    let reference = json!({ "kind": "StatefulSet", "namespace": "app", "name": "{{ .StatefulSet.Name }}" });
    let wait = |condition: &str| {
        let all = json!([{ "objectReference": reference, "condition": condition }]);
        json!({ "timeout": "1m30s", "conditions": { "allOf": all } })
    };
    let ready = wait(r#"{{ if eq "{ $.status.readyReplicas }" "3" }}true{{ end }}"#);
    told(&cluster, "Wait", ready).await.unwrap();
    told(&cluster, "WaitV2", wait("{{ eq (len .metadata.name) 2 }}")).await.unwrap();
    let began = tokio::time::Instant::now();
    let reason = told(&cluster, "WaitV2", wait("{{ .spec.replicas }}")).await.unwrap_err();
    assert_eq!(
        reason,
        "the condition was not met within 90 seconds; for statefulsets app/db it was last \"3\", not \"true\""
    );
    assert_eq!(began.elapsed().as_secs(), 90);
    let began = tokio::time::Instant::now();
    assert!(told(&cluster, "WaitV2", wait("{{ if }}")).await.unwrap_err().contains("cannot be read"));
    assert_eq!(began.elapsed().as_secs(), 0, "what no object can change fails at once");
}

#[tokio::test(start_paused = true)]
async fn the_number_of_replicas_before_outlives_a_second_try() {
    let cluster = PaperCluster::new(Vec::new());
    cluster.add(db());
    cluster.decree(Fate::LosesReply(1));
    for _ in 0..2 {
        let output = told(&cluster, "ScaleWorkload", json!({ "replicas": "0" })).await.unwrap();
        assert_eq!(Json::Object(output), json!({ "originalReplicaCount": 3 }));
    }
    assert_eq!(cluster.object(&of_kind("statefulset", "app", "db")).unwrap()["spec"]["replicas"], 0);
}

#[tokio::test(start_paused = true)]
async fn objects_are_created_once_patched_and_deleted() {
    let cluster = PaperCluster::new(Vec::new());
    let spec = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\n---\n\
                apiVersion: example.com/v1\nkind: Widget\nmetadata:\n  generateName: w-\n";
    let create = json!({ "operation": "create", "namespace": "app", "spec": spec });
    cluster.decree(Fate::LosesReply(1));
    for _ in 0..2 {
        let output = told(&cluster, "KubeOps", create.clone()).await.unwrap();
        let made = json!({
            "apiVersion": "v1", "group": "example.com", "resource": "widgets", "kind": "",
            "name": "w-u1-0-0-1", "namespace": "app",
        });
        assert_eq!(Json::Object(output), made);
    }
    let reference = |kind: &str, name: &str| json!({ "kind": kind, "name": name, "namespace": "app" });
    for (kind, name) in [("ConfigMap", "one"), ("Widget", "w-u1-0-0-1")] {
        let on = reference(kind, name);
        let patch = json!({ "operation": "patch", "spec": "data: { k: v }", "objectReference": on });
        told(&cluster, "KubeOps", patch).await.unwrap();
    }
    let at = of_kind("configmap", "app", "one");
    assert_eq!(cluster.object(&at).unwrap()["data"]["k"], "v");
    let delete = json!({ "operation": "delete", "objectReference": reference("ConfigMap", "one") });
    told(&cluster, "KubeOps", delete.clone()).await.unwrap();
    assert_eq!(cluster.object(&at), None);
    assert!(told(&cluster, "KubeOps", delete.clone()).await.is_err());
    let resumed = Setting { resumed: true, ..setting() };
    let again = call("KubeOps", delete, ActionSpec::default());
    cistern_functions::call(&again, &resumed, &cluster).await.unwrap();
}

#[test]
fn the_action_set_wins_over_the_blueprint_and_the_blueprint_over_its_labels() {
    let mut args = task();
    args["podOverride"] = json!({ "nodeName": "bp", "containers": [
        { "name": "container", "env": [{ "name": "A", "value": "bp" }] },
        { "name": "aside", "image": "s" },
    ] });
    args["podLabels"] = json!({ "team": "bp" });
    let over = json!({ "nodeName": "as", "containers": [
        { "name": "container", "securityContext": { "allowPrivilegeEscalation": true } },
    ] });
    let spec = ActionSpec {
        pod_override: over.as_object().cloned(),
        pod_labels: [("team", "as"), ("tier", "1")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        ..ActionSpec::default()
    };
    let wish = pod::Wish {
        prefix: "kanister-job-",
        containers: vec![pod::container("container", "tools", &["dump".to_owned()])],
        ..pod::Wish::default()
    };
    let made = pod::manifest(&call("KubeTask", args, spec), &setting(), wish).unwrap();
    assert_eq!(made["spec"]["nodeName"], "as");
    let first = &made["spec"]["containers"][0];
    assert_eq!(first["env"][0]["value"], "bp");
    assert_eq!(first["securityContext"]["allowPrivilegeEscalation"], true);
    assert_eq!(first["securityContext"]["capabilities"]["drop"][0], "ALL");
    assert_eq!(made["spec"]["containers"][1]["name"], "aside");
    assert_eq!(made["spec"]["serviceAccountName"], "controller");
    let labels = &made["metadata"]["labels"];
    assert_eq!((&labels["team"], &labels["tier"]), (&json!("bp"), &json!("1")));
    assert_eq!(labels["kanister.io/JobID"], "j7");
    assert_eq!(made["metadata"]["ownerReferences"][0]["uid"], "u1");
}

#[test]
fn an_override_of_the_container_goes_for_both_of_two() {
    let over =
        json!({ "containers": [{ "name": "container", "tty": true }, { "name": "output", "tty": false }] });
    let spec = ActionSpec { pod_override: over.as_object().cloned(), ..ActionSpec::default() };
    let wish = pod::Wish {
        prefix: "kanister-job-",
        namespace: "elsewhere".to_owned(),
        containers: vec![pod::container("output", "o", &[]), pod::container("background", "b", &[])],
        ..pod::Wish::default()
    };
    let made = pod::manifest(&call("MultiContainerRun", json!({}), spec), &setting(), wish).unwrap();
    let containers = made["spec"]["containers"].as_array().unwrap();
    let ttys: Vec<_> = containers.iter().map(|c| (&c["name"], &c["tty"])).collect();
    assert_eq!(ttys, [(&json!("output"), &json!(false)), (&json!("background"), &json!(true))]);
    assert_eq!(made["spec"]["serviceAccountName"], Json::Null, "the controller's account is not lent out");
    assert_eq!(made["spec"]["automountServiceAccountToken"], false);
    assert_eq!(made["metadata"]["ownerReferences"], Json::Null);
}

#[test]
fn every_function_of_the_catalog_has_a_story() {
    let stories = [
        include_str!("stories.rs"),
        include_str!("data.rs"),
        include_str!("snapshots.rs"),
        include_str!("rds.rs"),
    ];
    let stories = stories.concat();
    for function in catalog::FUNCTIONS {
        let told =
            [format!("&cluster, \"{}\"", function.name), format!("whatever_happens(\"{}\"", function.name)];
        assert!(told.iter().any(|told| stories.contains(told)), "{}", function.name);
    }
}
