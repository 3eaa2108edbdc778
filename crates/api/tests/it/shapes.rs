//! The three resources: every field read and written, Go's nulls and empty keys, nothing refused that the
//! API server lets through.

use cistern_api::{
    ActionSet, Blueprint, CredentialType, LocationType, ObjectReference, Profile, State, yaml,
};
use proptest::prelude::*;
use serde_json::{Value, json};

pub fn fixture(name: &str) -> String {
    let path = format!("{}/../../fixtures/kanister/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Reads a fixture as a type and writes it again; what comes out must hold what went in.
fn there_and_back<T: serde::de::DeserializeOwned + serde::Serialize>(name: &str) -> (T, Value) {
    let read: T = yaml::decode(&fixture(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let written = serde_json::to_value(&read).unwrap();
    let original: Value = yaml::decode(&fixture(name)).unwrap();
    contains("", &written, &original);
    (read, written)
}

fn contains(at: &str, whole: &Value, part: &Value) {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            for (key, value) in part {
                contains(
                    &format!("{at}/{key}"),
                    whole.get(key).unwrap_or_else(|| panic!("{at}/{key} is lost")),
                    value,
                );
            }
        }
        (Value::Array(whole), Value::Array(part)) => {
            assert_eq!(whole.len(), part.len(), "{at}");
            whole.iter().zip(part).for_each(|(w, p)| contains(&format!("{at}[]"), w, p));
        }
        _ => assert_eq!(whole, part, "{at}"),
    }
}

#[test]
fn a_complete_action_set_keeps_its_shape() {
    let (read, _) = there_and_back::<ActionSet>("actionset-complete.yaml");
    let status = read.status.unwrap();
    assert_eq!(status.state, State::Complete);
    assert_eq!(status.progress.percent_completed, "100");
    let action = &status.actions[0];
    assert_eq!(action.artifacts["mysqlCloudDump"].key_value["s3path"], action.phases[0].output["s3path"]);
    assert_eq!((action.defer_phase.name.as_str(), action.defer_phase.state), ("", State::Unset));
}

#[test]
fn no_field_is_lost() {
    there_and_back::<ActionSet>("actionset-filled.yaml");
    there_and_back::<Blueprint>("blueprint-filled.yaml");
    there_and_back::<Profile>("profile-filled.yaml");
}

#[test]
fn what_go_writes_for_emptiness_is_read() {
    let read: ActionSet = yaml::decode(&fixture("actionset-nulls.yaml")).unwrap();
    let action = &read.spec.as_ref().unwrap().actions[0];
    assert!(action.pod_labels.is_empty() && action.options.is_empty() && action.profile.is_none());
    assert_eq!(read.status.as_ref().unwrap().state, State::Pending);
    let blueprint: Blueprint =
        yaml::decode("actions:\n  backup: null\n  delete: {phases: null, deferPhase: null}\n").unwrap();
    assert!(blueprint.action("backup").is_none() && blueprint.actions.contains_key("backup"));
    assert_eq!(blueprint.action("delete").unwrap().phases, []);
    let profile: Profile =
        yaml::decode("location: null\ncredential: {type: null}\nskipSSLVerify: null\n").unwrap();
    assert_eq!(
        (profile.location.kind, profile.credential.kind),
        (LocationType::Unset, CredentialType::Unset)
    );
}

#[test]
fn what_go_always_writes_is_written() {
    let written = serde_json::to_value(ActionSet {
        spec: Some(cistern_api::ActionSetSpec { actions: vec![Default::default()] }),
        status: Some(cistern_api::ActionSetStatus {
            actions: vec![Default::default()],
            ..Default::default()
        }),
        ..Default::default()
    })
    .unwrap();
    let reference = json!({"apiVersion": "", "group": "", "resource": "", "kind": "", "name": ""});
    assert_eq!(
        written,
        json!({
            "apiVersion": "cr.kanister.io/v1alpha1", "kind": "ActionSet", "metadata": {},
            "spec": {"actions": [{
                "name": "", "object": reference, "preferredVersion": "", "podLabels": null, "podAnnotations": null
            }]},
            "status": {"state": "", "error": {"message": ""}, "progress": {}, "actions": [{
                "name": "", "object": reference, "blueprint": "",
                "deferPhase": {"name": "", "state": "", "progress": {}}
            }]},
        })
    );
    let blueprint: Blueprint = yaml::decode("actions: {a: {phases: [{}], deferPhase: {}}}").unwrap();
    let phase = json!({"func": "", "name": "", "args": {}});
    assert_eq!(
        serde_json::to_value(&blueprint).unwrap()["actions"],
        json!({"a": {"name": "", "kind": "", "phases": [phase], "deferPhase": phase}})
    );
}

#[test]
fn an_action_set_without_spec_or_with_an_unknown_state_is_read() {
    let read: ActionSet = yaml::decode("metadata: {name: x}\n").unwrap();
    assert!(read.spec.is_none() && read.status.is_none());
    let read: ActionSet =
        yaml::decode("status: {state: Complete, actions: [{deferPhase: {state: odd}}]}\n").unwrap();
    let status = read.status.unwrap();
    assert_eq!((status.state, status.actions[0].defer_phase.state), (State::Unknown, State::Unknown));
}

#[test]
fn unknown_fields_are_passed_over() {
    let read: Blueprint = yaml::decode("spec: {x: 1}\nactions: {a: {kind: Deployment, new: [1]}}\n").unwrap();
    assert_eq!(read.action("a").unwrap().kind, "Deployment");
    let read: Profile = yaml::decode("location: {type: nfs, s3Compliant: {bucket: b}}\n").unwrap();
    assert_eq!((read.location.kind, read.location.bucket.as_str()), (LocationType::Other("nfs".into()), ""));
}

#[test]
fn states_are_spelled_in_lower_case() {
    for (state, word) in [
        (State::Pending, "pending"),
        (State::Running, "running"),
        (State::Failed, "failed"),
        (State::Complete, "complete"),
        (State::Unset, ""),
    ] {
        assert_eq!(serde_json::to_value(state).unwrap(), json!(word));
        assert_eq!(serde_json::from_value::<State>(json!(word)).unwrap(), state);
        assert_eq!(state.to_string(), word);
    }
}

#[test]
fn a_group_may_end_in_a_slash() {
    let reference = ObjectReference { group: "apps/".to_owned(), ..Default::default() };
    assert_eq!(reference.group_name(), "apps");
}

fn reference() -> impl Strategy<Value = ObjectReference> {
    proptest::array::uniform6("[ -~]{0,8}").prop_map(
        |[api_version, group, resource, kind, name, namespace]| ObjectReference {
            api_version,
            group,
            resource,
            kind,
            name,
            namespace,
        },
    )
}

fn action_set() -> impl Strategy<Value = ActionSet> {
    let map = || proptest::collection::btree_map("[a-z/.-]{1,6}", any::<String>(), 0..3);
    let state =
        proptest::sample::select(vec![State::Pending, State::Running, State::Failed, State::Complete]);
    (
        reference(),
        map(),
        map(),
        map(),
        any::<String>(),
        state,
        any::<i64>(),
        proptest::option::of(reference()),
    )
        .prop_map(|(object, options, labels, key_value, text, state, bytes, profile)| {
            let artifacts =
                [("a".to_owned(), cistern_api::Artifact { key_value, kopia_snapshot: text.clone() })];
            let spec = cistern_api::ActionSpec {
                object: object.clone(),
                profile,
                options,
                pod_labels: labels,
                artifacts: artifacts.clone().into(),
                ..Default::default()
            };
            let phase = cistern_api::Phase {
                name: text,
                state,
                progress: cistern_api::PhaseProgress { uploaded_bytes: bytes, ..Default::default() },
                ..Default::default()
            };
            let action = cistern_api::ActionStatus {
                object,
                phases: vec![phase.clone()],
                artifacts: artifacts.into(),
                defer_phase: phase,
                ..Default::default()
            };
            ActionSet {
                spec: Some(cistern_api::ActionSetSpec { actions: vec![spec] }),
                status: Some(cistern_api::ActionSetStatus {
                    state,
                    actions: vec![action],
                    ..Default::default()
                }),
                ..Default::default()
            }
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(set in action_set()) {
        let text = yaml::print(&set).unwrap();
        let back: ActionSet = yaml::decode(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        prop_assert_eq!(back, set);
    }
}
