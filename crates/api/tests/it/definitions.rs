//! The definitions in deploy/crds: the same as the types, and Kanister's in what counts.

use cistern_api::{ActionSet, Blueprint, Profile, crd, yaml};
use serde_json::{Value, json};

fn on_disk(name: &str) -> String {
    let path = format!("{}/../../deploy/crds/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn schema(of: usize) -> Value {
    let definition = serde_json::to_value(&crd::definitions()[of]).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

#[test]
fn the_files_are_what_the_types_say() {
    for definition in crd::definitions() {
        let name = definition.spec.names.singular.clone().unwrap();
        assert_eq!(
            on_disk(&name),
            yaml::print(&definition).unwrap(),
            "cargo run -p cistern-api --example crds {name} > deploy/crds/{name}.yaml"
        );
    }
}

#[test]
fn group_version_names_and_scope_are_kanister_s() {
    let expected = [
        ("actionsets", "ActionSet", "ActionSetList"),
        ("blueprints", "Blueprint", "BlueprintList"),
        ("profiles", "Profile", "ProfileList"),
    ];
    for (definition, (plural, kind, list)) in crd::definitions().iter().zip(expected) {
        let spec = &definition.spec;
        assert_eq!(definition.metadata.name, Some(format!("{plural}.cr.kanister.io")));
        assert_eq!((spec.group.as_str(), spec.scope.as_str()), ("cr.kanister.io", "Namespaced"));
        assert_eq!((spec.names.kind.as_str(), spec.names.list_kind.as_deref()), (kind, Some(list)));
        assert_eq!((&spec.names.short_names, &spec.names.categories), (&None, &None));
        let [version] = spec.versions.as_slice() else { panic!("one version") };
        assert_eq!((version.name.as_str(), version.served, version.storage), ("v1alpha1", true, true));
        // Status is written with a plain update.
        assert!(version.subresources.is_none(), "{plural}");
    }
}

#[test]
fn action_sets_have_kanister_s_columns() {
    let columns = crd::definitions()[0].spec.versions[0].additional_printer_columns.clone().unwrap();
    let shown: Vec<(&str, &str, &str)> =
        columns.iter().map(|c| (c.name.as_str(), c.type_.as_str(), c.json_path.as_str())).collect();
    assert_eq!(
        shown,
        [
            ("Progress", "string", ".status.progress.percentCompleted"),
            ("SizeDownloadedB", "integer", ".status.progress.sizeDownloadedB"),
            ("SizeUploadedB", "integer", ".status.progress.sizeUploadedB"),
            ("EstimatedDownloadSizeB", "integer", ".status.progress.estimatedDownloadSizeB"),
            ("EstimatedUploadSizeB", "integer", ".status.progress.estimatedUploadSizeB"),
            ("Running Phase", "string", ".status.progress.runningPhase"),
            ("Last Transition Time", "string", ".status.progress.lastTransitionTime"),
            ("State", "string", ".status.state"),
        ]
    );
}

#[test]
fn nothing_is_required_filled_in_or_enumerated() {
    fn look(at: &str, value: &Value) {
        if let Value::Object(object) = value {
            for (key, inner) in object {
                let keyword = !at.ends_with("/properties");
                assert!(
                    !(keyword
                        && ["required", "default", "enum", "anyOf", "oneOf", "$ref", "pattern"]
                            .contains(&key.as_str())),
                    "{at}/{key}"
                );
                look(&format!("{at}/{key}"), inner);
            }
        }
    }
    for of in 0..3 {
        look("", &schema(of));
    }
}

#[test]
fn what_is_free_form_is_kept_whole() {
    let preserved = |schema: &Value, path: &str| {
        assert_eq!(
            schema.pointer(path).unwrap()["x-kubernetes-preserve-unknown-fields"],
            json!(true),
            "{path}"
        );
    };
    let action = "/properties/spec/properties/actions/items/properties";
    let status = "/properties/status/properties/actions/items/properties";
    preserved(&schema(0), &format!("{action}/podOverride"));
    preserved(&schema(0), &format!("{action}/artifacts/additionalProperties/properties/kopiaSnapshot"));
    preserved(&schema(0), &format!("{status}/phases/items/properties/output"));
    preserved(&schema(0), &format!("{status}/deferPhase/properties/output"));
    let phase = "/properties/actions/additionalProperties/properties";
    preserved(&schema(1), &format!("{phase}/phases/items/properties/args"));
    preserved(&schema(1), &format!("{phase}/deferPhase/properties/args"));
    preserved(&schema(2), "/properties/credential/properties/kopiaServerSecret");
}

/// A schema prunes what it does not name: so it must name every field that a type writes.
#[test]
fn the_schema_names_every_field_the_types_write() {
    let filled: [(usize, Value); 3] = [
        (0, serde_json::to_value(filled::<ActionSet>("actionset-filled.yaml")).unwrap()),
        (1, serde_json::to_value(filled::<Blueprint>("blueprint-filled.yaml")).unwrap()),
        (2, serde_json::to_value(filled::<Profile>("profile-filled.yaml")).unwrap()),
    ];
    for (of, value) in filled {
        pruned("", &value, &schema(of));
    }
}

fn filled<T: serde::de::DeserializeOwned>(name: &str) -> T {
    yaml::decode(&crate::shapes::fixture(name)).unwrap()
}

fn pruned(at: &str, value: &Value, schema: &Value) {
    if schema["x-kubernetes-preserve-unknown-fields"] == json!(true) || at == "/metadata" {
        return;
    }
    match value {
        Value::Object(object) => {
            for (key, inner) in object {
                let named =
                    schema.pointer(&format!("/properties/{key}")).or(schema.get("additionalProperties"));
                let named = named.unwrap_or_else(|| panic!("{at}/{key} would be pruned"));
                pruned(&format!("{at}/{key}"), inner, named);
            }
        }
        Value::Array(items) => {
            items.iter().for_each(|item| pruned(&format!("{at}[]"), item, &schema["items"]))
        }
        _ => {}
    }
}
