//! What the API server does with Kanister's resources: definitions, versions, finalizers, stray fields.

use crate::world::{World, apply_definitions, definitions, json_of, kanister, object, ours, until, world};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value as Json, json};

fn action_set(name: &str) -> Json {
    json!({
        "apiVersion": "cr.kanister.io/v1alpha1",
        "kind": "ActionSet",
        "metadata": { "name": name },
        "spec": { "actions": [{
            "name": "backup", "blueprint": "time-log",
            "object": { "kind": "Namespace", "name": "app" },
            "options": { "depth": "3" },
            "podOverride": { "containers": [{ "name": "container", "imagePullPolicy": "Always" }] },
        }] },
    })
}

fn code(refusal: kube::Error) -> u16 {
    match refusal {
        kube::Error::Api(status) => status.code,
        other => panic!("no answer of the API server: {other}"),
    }
}

#[test]
fn definitions_are_served_and_applying_them_again_changes_nothing() {
    let Some(world) = world() else { return };
    world.play(async {
        let api = kube::Api::all(world.client.clone());
        let versions = async |_: &str| {
            let mut found = Vec::new();
            for definition in definitions() {
                let read: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition =
                    api.get(&definition.name_any()).await.unwrap();
                found.push((definition.name_any(), read.metadata.generation));
            }
            found
        };
        let before = versions("before").await;
        assert_eq!(before.len(), cistern_api::crd::definitions().len());
        apply_definitions(&world.client).await;
        assert_eq!(before, versions("after").await);
    });
}

#[test]
fn an_action_set_comes_back_as_it_was_sent() {
    let Some(world) = world() else { return };
    world.play(async {
        let namespace = world.namespace("whole").await;
        let api = kanister(&world.client, "ActionSet", &namespace);
        let sent = action_set("one");
        api.create(&PostParams::default(), &object(sent.clone())).await.unwrap();
        let read = json_of(&api.get("one").await.unwrap());
        assert_eq!(read["spec"], sent["spec"], "nothing is pruned and nothing is added");
        // The status is no subresource: whoever writes the object writes it.
        let status = json!({ "status": { "state": "running", "error": { "message": "" }, "stray": 1 } });
        api.patch("one", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
        let read = json_of(&api.get("one").await.unwrap());
        assert_eq!(read["status"]["state"], "running");
        assert_eq!(
            read["status"]["stray"],
            Json::Null,
            "a field that the definition does not know is pruned"
        );
    });
}

#[test]
fn a_write_over_a_newer_version_is_refused() {
    let Some(world) = world() else { return };
    world.play(async {
        let namespace = world.namespace("conflict").await;
        let api = kanister(&world.client, "ActionSet", &namespace);
        let old = api.create(&PostParams::default(), &object(action_set("one"))).await.unwrap();
        let label = json!({ "metadata": { "labels": { "who": "somebody-else" } } });
        api.patch("one", &PatchParams::default(), &Patch::Merge(&label)).await.unwrap();
        let refused = api.replace("one", &PostParams::default(), &old).await.unwrap_err();
        assert_eq!(code(refused), 409);
        let exists = api.create(&PostParams::default(), &object(action_set("one"))).await.unwrap_err();
        assert_eq!(code(exists), 409);
        let new = api.get("one").await.unwrap();
        api.replace("one", &PostParams::default(), &new).await.unwrap();
    });
}

#[test]
fn a_finalizer_keeps_an_action_set_that_is_deleted() {
    let Some(world) = world() else { return };
    world.play(async {
        let namespace = world.namespace("finalizer").await;
        let api = kanister(&world.client, "ActionSet", &namespace);
        let mut sent = action_set("one");
        sent["metadata"]["finalizers"] = json!(["cistern.dev/test"]);
        api.create(&PostParams::default(), &object(sent)).await.unwrap();
        api.delete("one", &DeleteParams::default()).await.unwrap();
        let held = api.get("one").await.unwrap();
        assert!(held.metadata.deletion_timestamp.is_some());
        let none = json!({ "metadata": { "finalizers": [] } });
        api.patch("one", &PatchParams::default(), &Patch::Merge(&none)).await.unwrap();
        until("the ActionSet is gone", async || api.get_opt("one").await.unwrap().is_none().then_some(()))
            .await;
    });
}

#[test]
fn a_schedule_that_means_nothing_is_refused() {
    let Some(world) = world() else { return };
    world.play(async {
        let namespace = world.namespace("senseless").await;
        let told = async |spec: Json| refusal(&world, &namespace, "BackupSchedule", spec).await;
        let db = json!([{ "kind": "statefulset", "name": "db" }]);
        let odd = json!({ "matchExpressions": [{ "key": "tier", "operator": "Notin", "values": ["test"] }] });
        for (spec, field) in [
            (json!({ "schedule": "0 3 * *", "select": {} }), "spec.schedule"),
            (json!({ "schedule": "@daily", "select": {}, "timeZone": "" }), "spec.timeZone"),
            (json!({ "schedule": "@daily", "select": { "kinds": ["statefulsets"] } }), "spec.select.kinds"),
            (json!({ "schedule": "@daily", "select": { "labelSelector": odd } }), "operator"),
            (json!({ "schedule": "@daily", "objects": [] }), "spec.select"),
            (json!({ "schedule": "@daily", "objects": db }), "spec.select"),
            (json!({ "schedule": "@daily", "objects": db, "select": {} }), "spec.objects"),
        ] {
            let told = told(spec.clone()).await;
            assert!(told.contains(field), "{spec}: {told:?}");
        }
        for spec in [
            json!({ "schedule": "*/5 3 * * MON-FRI", "select": { "kinds": ["StatefulSet"] } }),
            json!({ "schedule": "@daily", "objects": db, "blueprint": "bp", "select": null, "timeZone": null }),
        ] {
            assert_eq!(told(spec.clone()).await, "", "{spec}");
        }
        let repository = |task: &str, when: Json| json!({ "location": "s3://backups/cistern", task: when });
        for (task, when, field) in [
            ("prune", json!({ "schedule": "nightly" }), "spec.prune.schedule"),
            ("prune", json!({ "schedule": "0 4 * * *", "timeZone": "" }), "spec.prune.timeZone"),
            ("verify", json!({ "schedule": "" }), "spec.verify.schedule"),
            ("verify", json!({ "schedule": "@weekly", "level": 5 }), "spec.verify.level"),
        ] {
            let spec = repository(task, when);
            let told = refusal(&world, &namespace, "Repository", spec.clone()).await;
            assert!(told.contains(field), "{spec}: {told:?}");
        }
        let right = repository("prune", json!({ "schedule": "0 4 * * SUN" }));
        assert_eq!(refusal(&world, &namespace, "Repository", right).await, "");
    });
}

/// What the API server says to such an object of ours; nothing if it takes it.
async fn refusal(world: &World, namespace: &str, kind: &str, spec: Json) -> String {
    let sent = object(json!({ "apiVersion": "cistern.dev/v1alpha1", "kind": kind,
        "metadata": { "generateName": "x-" }, "spec": spec }));
    let made = ours(world, kind, namespace).create(&PostParams::default(), &sent).await;
    made.err().map(|refusal| refusal.to_string()).unwrap_or_default()
}
