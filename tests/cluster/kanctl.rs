//! `kanctl` as people use it, against a real API server; the test plays the controller.

use crate::support::home::{Home, Ran, run};
use crate::world::{World, kanister, object, ours, until, world};
use cistern_controller::schedules::Schedules;
use cistern_controller::{Proxies, Rules, World as Outside, connect};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// `kanctl … --namespace NS` of an administrator.
fn kanctl(world: &World, namespace: &str, args: &[&str]) -> Ran {
    let home = Home::new();
    let mut command = home.command(&["kanctl"]);
    command.args(args).arg("--kubeconfig").arg(&world.kubeconfig).args(["--namespace", namespace]);
    run(command, b"")
}

/// What it printed, where it must succeed.
fn printed(world: &World, namespace: &str, args: &[&str]) -> String {
    let ran = kanctl(world, namespace, args);
    assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.err);
    String::from_utf8(ran.out).unwrap()
}

/// What it said on standard error, where it must fail with this code.
fn refused(world: &World, namespace: &str, args: &[&str], code: i32) -> String {
    let ran = kanctl(world, namespace, args);
    assert_eq!(ran.code, Some(code), "{args:?}: {} {}", String::from_utf8_lossy(&ran.out), ran.err);
    format!("{}{}", String::from_utf8_lossy(&ran.out), ran.err)
}

/// A namespace with a blueprint, an object to run it on, and its name.
async fn furnished(world: &World, wanted: &str) -> String {
    let namespace = world.namespace(wanted).await;
    let blueprint = json!({"apiVersion": "cr.kanister.io/v1alpha1", "kind": "Blueprint",
        "metadata": {"name": "bp"}, "actions": {"backup": {"phases": []}, "delete": {"phases": []}}});
    let blueprints = kanister(&world.client, "Blueprint", &namespace);
    blueprints.create(&PostParams::default(), &object(blueprint)).await.unwrap();
    let labels = json!({"app": "db"});
    let pods =
        json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "none"}]}});
    let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "db", "labels": labels},
        "spec": {"replicas": 0, "serviceName": "db", "selector": {"matchLabels": labels}, "template": pods}});
    let kind = GroupVersionKind::gvk("apps", "v1", "StatefulSet");
    let sets: Api<DynamicObject> =
        Api::namespaced_with(world.client.clone(), &namespace, &ApiResource::from_gvk(&kind));
    sets.create(&PostParams::default(), &object(set)).await.unwrap();
    namespace
}

/// Writes a status as the controller would.
async fn status(world: &World, namespace: &str, name: &str, state: &str, phase: &str) {
    let action = json!({"name": "backup", "blueprint": "bp",
        "object": {"kind": "statefulset", "namespace": namespace, "name": "db"},
        "artifacts": {"dump": {"keyValue": {"path": "p/1"}}},
        "phases": [{"name": "dump", "state": phase}]});
    let status = json!({"status": {"state": state, "actions": [action], "progress": {"percentCompleted": "10"},
        "error": {"message": if state == "failed" { "the disk is full" } else { "" }}}});
    let api = kanister(&world.client, "ActionSet", namespace);
    api.patch(name, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
}

#[test]
fn an_action_set_is_made_waited_for_listed_described_and_followed() {
    let Some(visit) = world() else { return };
    let world: &World = &visit;
    let ns = world.play(furnished(world, "kanctl"));
    let target = format!("{ns}/db");
    let create = ["create", "actionset", "-a", "backup", "-b", "bp", "-t", &target];
    let with = |more: &[&'static str]| [&create[..], more].concat();
    let said = printed(world, &ns, &with(&["--name", "b1"]));
    assert_eq!(said, "actionset b1 created\n");
    assert!(refused(world, &ns, &with(&["--name", "b1"]), 2).contains("create actionsets"));
    let (state, phases) = (["running", "complete"], ["running", "complete"]);
    let waited = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| printed(world, &ns, &["wait", "b1", "--timeout", "2m"]));
        for (state, phase) in state.into_iter().zip(phases) {
            std::thread::sleep(std::time::Duration::from_secs(2));
            world.play(status(world, &ns, "b1", state, phase));
        }
        waiting.join().unwrap()
    });
    assert!(waited.contains("b1: backup: phase dump complete\n"), "{waited}");
    assert!(waited.ends_with("actionset b1 complete\n"), "{waited}");
    let listed: Json = serde_json::from_str(&printed(world, &ns, &["list", "--json"])).unwrap();
    assert_eq!((&listed[0]["name"], &listed[0]["state"]), (&json!("b1"), &json!("complete")));
    assert_eq!(listed[0]["artifacts"], json!(["dump"]));
    let table = printed(world, &ns, &["list"]);
    assert!(table.starts_with("NAME") && table.contains("complete"), "{table}");
    let told = printed(world, &ns, &["describe", "b1"]);
    assert!(told.contains("Phase: dump  complete") && told.contains("    path: p/1"), "{told}");
    // The child takes over what its parent left.
    let said = printed(world, &ns, &["create", "actionset", "--from", "b1", "-a", "delete", "--name", "d1"]);
    assert_eq!(said, "actionset d1 created\n");
    let child = world.play(kanister(&world.client, "ActionSet", &ns).get("d1")).unwrap();
    assert_eq!(child.data["spec"]["actions"][0]["artifacts"]["dump"]["keyValue"]["path"], "p/1");
    assert!(printed(world, &ns, &["cancel", "d1"]).contains("asked to stop"));
    world.play(status(world, &ns, "d1", "failed", "failed"));
    assert!(refused(world, &ns, &["wait", "d1"], 1).contains("failed: the disk is full"));
    assert!(printed(world, &ns, &["logs", "d1"]).contains("the disk is full"));
    assert!(refused(world, &ns, &["describe", "none"], 5).contains("kanctl list"));
}

#[test]
fn what_is_misspelt_is_told_before_anything_is_made() {
    let Some(visit) = world() else { return };
    let world: &World = &visit;
    let ns = world.play(furnished(world, "verify"));
    let (db, none) = (format!("{ns}/db"), format!("{ns}/none"));
    let secret = format!("pw={ns}/pw");
    let args = ["create", "actionset", "-a", "backp", "-b", "bp", "-t", &db, "-t", &none, "-s", &secret];
    let said = refused(world, &ns, &[&args[..], &["-p", "p", "--name", "x"]].concat(), 2);
    for word in [
        "blueprint bp has no action \"backp\"; it has backup, delete",
        &format!("object not found: statefulsets {none}"),
        &format!("profile not found: profiles {ns}/p"),
        &format!("secret not found: secrets {ns}/pw"),
        "resource verification failed",
    ] {
        assert!(said.contains(word), "`{word}` is not in {said}");
    }
    assert_eq!(printed(world, &ns, &["list", "--json"]).trim(), "[]");
    printed(world, &ns, &[&args[..], &["--name", "x", "--skip-validation"]].concat());
}

#[test]
fn objects_are_found_by_label_by_annotation_and_by_binding() {
    let Some(visit) = world() else { return };
    let world: &World = &visit;
    let ns = world.play(furnished(world, "discover"));
    let create = ["create", "actionset", "-a", "backup", "--selector-namespace", &ns];
    let said =
        printed(world, &ns, &[&create[..], &["-b", "bp", "-l", "app=db", "--name", "by-label"]].concat());
    assert_eq!(said, "actionset by-label created\n");
    let discover = |name: &'static str| [&create[..], &["--discover", "--name", name]].concat();
    assert!(refused(world, &ns, &discover("none"), 2).contains("no object names its blueprint"));
    world.play(async {
        let binding = json!({"apiVersion": "cistern.dev/v1alpha1", "kind": "BlueprintBinding",
            "metadata": {"name": "all"}, "spec": {"blueprint": "bp", "objects": {"kinds": ["statefulset"]}}});
        let bindings = ours(world, "BlueprintBinding", &ns);
        bindings.create(&PostParams::default(), &object(binding)).await.unwrap();
    });
    assert_eq!(printed(world, &ns, &discover("by-binding")), "actionset by-binding created\n");
    let made = world.play(kanister(&world.client, "ActionSet", &ns).get("by-binding")).unwrap();
    let action = &made.data["spec"]["actions"][0];
    assert_eq!((&action["blueprint"], &action["object"]["name"]), (&json!("bp"), &json!("db")));
}

#[test]
fn a_profile_comes_with_its_secret_and_a_bad_one_leaves_nothing() {
    let Some(visit) = world() else { return };
    let world: &World = &visit;
    let ns = world.play(world.namespace("profile"));
    let create =
        ["create", "profile", "s3compliant", "-b", "b", "-r", "us-east-1", "-a", "AK", "-s", "S3CR3T"];
    let said = printed(world, &ns, &[&create[..], &["--skip-validation"]].concat());
    let (secret, profile) = said.split_once('\n').unwrap();
    assert!(
        secret.starts_with("secret 's3-secret-") && profile.starts_with("profile 's3-profile-"),
        "{said}"
    );
    let name = profile.trim_start_matches("profile '").trim_end_matches("' created\n");
    let found = world.play(kanister(&world.client, "Profile", &ns).get(name)).unwrap();
    let secret = secret.trim_start_matches("secret '").trim_end_matches("' created");
    assert_eq!(found.data["credential"]["keyPair"]["secret"]["name"], secret);
    let check =
        ["validate", "profile", "--name", name, "--resource-namespace", &ns, "--schema-validation-only"];
    assert!(printed(world, &ns, &check).contains("Passed the 'Validate Profile schema' check"));
    // Nobody listens there.
    let ran = kanctl(world, &ns, &[&create[..], &["-e", "http://127.0.0.1:9"]].concat());
    assert_ne!(ran.code, Some(0));
    assert!(!ran.err.contains("S3CR3T") && ran.err.contains("deleted"), "{}", ran.err);
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(world.client.clone(), &ns);
    let left = world.play(secrets.list(&Default::default())).unwrap();
    let ours = left.items.iter().filter(|s| s.metadata.name.as_ref().is_some_and(|n| n.starts_with("s3-")));
    assert_eq!(ours.count(), 1, "the one of the good profile");
}

#[test]
fn a_schedule_starts_runs_and_keeps_its_status() {
    let Some(visit) = world() else { return };
    let world: &World = &visit;
    let ns = world.play(furnished(world, "schedule"));
    let api = ours(world, "BackupSchedule", &ns);
    let schedule = |policy: &str| {
        object(json!({"apiVersion": "cistern.dev/v1alpha1", "kind": "BackupSchedule",
            "metadata": {"name": "nightly"},
            "spec": {"schedule": "0 3 * * *", "blueprint": "bp", "concurrencyPolicy": policy,
                "retention": {"keepLast": 2}, "select": {"labelSelector": {"matchLabels": {"app": "db"}}}}}))
    };
    world.play(async {
        let refusal = api.create(&PostParams::default(), &schedule("Sometimes")).await.unwrap_err();
        assert!(refusal.to_string().contains("concurrencyPolicy"), "{refusal}");
        api.create(&PostParams::default(), &schedule("Forbid")).await.unwrap();
        let cluster = Arc::new(connect(Some(&world.kubeconfig), None, &Proxies::default()).await.unwrap());
        // The day after tomorrow, when it has been due.
        let now = jiff::Timestamp::now().checked_add(jiff::SignedDuration::from_hours(48)).unwrap();
        let now: cistern_api::Time = serde_json::from_value(json!(now.to_string())).unwrap();
        let outside = Outside { identity: "test".to_owned(), now: Arc::new(move || now.clone()) };
        let schedules = Schedules::new(cluster, Rules::within(&ns), outside);
        let runs = kanister(&world.client, "ActionSet", &ns);
        let run = until("the run of the schedule", async || {
            schedules.look_at_all().await.unwrap();
            runs.list(&Default::default()).await.unwrap().items.pop()
        })
        .await;
        assert_eq!(run.data["spec"]["actions"][0]["object"]["name"], "db");
        let found = api.get("nightly").await.unwrap();
        assert_eq!(found.data["status"]["active"], json!([run.metadata.name]));
        schedules.look_at_all().await.unwrap();
        assert_eq!(runs.list(&Default::default()).await.unwrap().items.len(), 1);
    });
}
