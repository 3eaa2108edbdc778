//! The resources that are ours: names, what the API server refuses, and what the types make of little.

use cistern_api::{BackupSchedule, BlueprintBinding, ConcurrencyPolicy, Repository, crd};
use serde_json::{Value, json};

fn definition(kind: &str) -> Value {
    let all = crd::definitions();
    let found = all.iter().find(|d| d.spec.names.kind == kind).expect("it is one of ours");
    serde_json::to_value(found).unwrap()
}

#[test]
fn they_are_of_our_group_and_their_status_is_no_subresource() {
    let all = [
        ("BackupSchedule", "backupschedules"),
        ("BlueprintBinding", "blueprintbindings"),
        ("Repository", "repositories"),
    ];
    for (kind, plural) in all {
        let definition = definition(kind);
        assert_eq!(definition["metadata"]["name"], format!("{plural}.cistern.dev"));
        assert_eq!(definition["spec"]["scope"], "Namespaced");
        let version = &definition["spec"]["versions"][0];
        assert_eq!((&version["name"], &version["subresources"]), (&json!("v1alpha1"), &Value::Null));
    }
}

#[test]
fn the_api_server_refuses_what_cannot_be_meant() {
    let root = definition("BackupSchedule")["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    assert_eq!(root["required"], json!(["spec"]));
    let spec = &root["properties"]["spec"];
    assert_eq!(spec["required"], json!(["schedule"]));
    assert!(spec["properties"]["schedule"]["pattern"].is_string());
    assert_eq!(spec["anyOf"].as_array().unwrap().len(), 2, "objects with their blueprint, or a selector");
    assert_eq!(spec["properties"]["concurrencyPolicy"]["enum"], json!(["Forbid", "Allow", "Replace"]));
    assert_eq!(spec["properties"]["startingDeadlineSeconds"]["minimum"].as_f64(), Some(60.0));
    assert!(!root.to_string().contains("\"default\""), "what is left out stays so");
    let root = definition("BlueprintBinding")["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    assert_eq!(root["properties"]["spec"]["required"], json!(["blueprint"]));
    let root = definition("Repository")["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    let spec = &root["properties"]["spec"]["properties"];
    assert_eq!(spec["verify"]["properties"]["level"]["maximum"].as_f64(), Some(4.0));
    assert_eq!(spec["verify"]["required"], json!(["schedule"]));
    assert_eq!(spec["retention"]["required"], json!(["names"]), "no policy goes for all snapshots unsaid");
    assert_eq!(spec["podOverride"]["x-kubernetes-preserve-unknown-fields"], true);
    assert!(!root.to_string().contains("\"default\""), "what is left out stays so");
}

#[test]
fn little_is_enough() {
    let schedule: BackupSchedule = serde_json::from_value(json!({
        "metadata": {"name": "s"},
        "spec": {"schedule": "@daily", "retention": {"keepLast": 3}},
    }))
    .unwrap();
    let spec = &schedule.spec;
    assert_eq!((spec.action.as_str(), spec.concurrency_policy), ("backup", ConcurrencyPolicy::Forbid));
    let retention = spec.retention.clone().unwrap();
    assert_eq!((retention.keep_last, retention.keep_failed), (3, 3));
    assert_eq!((retention.keep_daily, retention.delete_action.as_str()), (0, "delete"));
    let again: BackupSchedule = serde_json::from_value(serde_json::to_value(&schedule).unwrap()).unwrap();
    assert_eq!(again, schedule);
    assert!(serde_json::from_value::<BlueprintBinding>(json!({"spec": {}})).is_err(), "no blueprint");
    let repository: Repository = serde_json::from_value(json!({
        "spec": {"location": "s3://b/p", "verify": {"schedule": "@weekly"}, "retention": {"names": ["shop/*", "a"]}},
    }))
    .unwrap();
    let verify = repository.spec.verify.unwrap();
    assert_eq!((verify.level(), verify.slices(), verify.in_turn), (2, 1, false));
    let retention = repository.spec.retention.unwrap();
    assert!(retention.keeps_nothing());
    let about = ["shop/db", "a", "shop", "ab"].map(|name| retention.is_about(name));
    assert_eq!(about, [true, true, false, false]);
}
