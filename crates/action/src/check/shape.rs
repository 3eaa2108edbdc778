//! The shape of a blueprint: which fields there are, and what each holds.

use serde_json::Value as Json;

use super::{EMPTY, OBJECT_KIND, OLD_FORM, Sheet, UNKNOWN_FIELD, WRONG_TYPE, escaped, old};
use crate::catalog::nearest;

/// `apiVersion` of a blueprint.
const API_VERSION: &str = "cr.kanister.io/v1alpha1";

const BLUEPRINT: &[&str] = &["apiVersion", "kind", "metadata", "actions"];
const ACTION: &[&str] = &[
    "name",
    "kind",
    "configMapNames",
    "secretNames",
    "inputArtifactNames",
    "outputArtifacts",
    "phases",
    "deferPhase",
];
const PHASE: &[&str] = &["func", "name", "objects", "args"];
const ARTIFACT: &[&str] = &["keyValue", "kopiaSnapshot"];
const REFERENCE: &[&str] = &["apiVersion", "group", "resource", "kind", "name", "namespace"];

/// The document as a whole.
pub(super) fn blueprint(sheet: &mut Sheet<'_>, root: &Json) {
    let Some(fields) = root.as_object() else {
        return sheet.value(WRONG_TYPE, "", format!("expected a Blueprint, found {}", kind_of(root)));
    };
    if root["kind"] != "Blueprint" {
        sheet.value(WRONG_TYPE, "/kind", "expected `kind: Blueprint`");
    }
    if root["apiVersion"] != API_VERSION {
        sheet.value(WRONG_TYPE, "/apiVersion", format!("expected `apiVersion: {API_VERSION}`"));
    }
    for key in fields.keys().filter(|key| !BLUEPRINT.contains(&key.as_str())) {
        let message = match key.as_str() {
            "spec" => "a Blueprint has no spec: `actions` stands at the top level".to_owned(),
            _ => unknown("a Blueprint", key, BLUEPRINT),
        };
        sheet.key(UNKNOWN_FIELD, &format!("/{}", escaped(key)), message);
    }
    match &root["actions"] {
        Json::Object(actions) if !actions.is_empty() => {
            for (name, json) in actions {
                action(sheet, &format!("/actions/{}", escaped(name)), json);
            }
        }
        Json::Null | Json::Object(_) => sheet.value(EMPTY, "/actions", "the blueprint has no actions"),
        other => wrong(sheet, "/actions", "a map of actions by name", other),
    }
}

fn action(sheet: &mut Sheet<'_>, pointer: &str, json: &Json) {
    let Json::Object(fields) = json else {
        if json.is_null() {
            return sheet.key(EMPTY, pointer, "the action is empty");
        }
        return wrong(sheet, pointer, "an action", json);
    };
    for key in fields.keys().filter(|key| !ACTION.contains(&key.as_str())) {
        let at = format!("{pointer}/{}", escaped(key));
        match old::action_field(key) {
            Some(instead) => sheet.key(OLD_FORM, &at, instead),
            None => sheet.key(UNKNOWN_FIELD, &at, unknown("an action", key, ACTION)),
        }
    }
    text(sheet, pointer, json, "name");
    text(sheet, pointer, json, "kind");
    for list in ["configMapNames", "secretNames", "inputArtifactNames"] {
        strings(sheet, &format!("{pointer}/{list}"), &json[list]);
    }
    artifacts(sheet, &format!("{pointer}/outputArtifacts"), &json["outputArtifacts"]);
    match &json["phases"] {
        Json::Array(phases) if !phases.is_empty() => {
            for (i, json) in phases.iter().enumerate() {
                phase(sheet, &format!("{pointer}/phases/{i}"), json);
            }
        }
        Json::Null | Json::Array(_) => {
            sheet.key(EMPTY, pointer, "the action has no phases: it would do nothing")
        }
        other => wrong(sheet, &format!("{pointer}/phases"), "a list of phases", other),
    }
    if !json["deferPhase"].is_null() {
        phase(sheet, &format!("{pointer}/deferPhase"), &json["deferPhase"]);
    }
}

fn phase(sheet: &mut Sheet<'_>, pointer: &str, json: &Json) {
    let Json::Object(fields) = json else { return wrong(sheet, pointer, "a phase", json) };
    for key in fields.keys().filter(|key| !PHASE.contains(&key.as_str())) {
        sheet.key(UNKNOWN_FIELD, &format!("{pointer}/{}", escaped(key)), unknown("a phase", key, PHASE));
    }
    text(sheet, pointer, json, "func");
    text(sheet, pointer, json, "name");
    if json["func"].as_str().unwrap_or_default().is_empty() {
        sheet.value(EMPTY, pointer, "the phase names no function: `func` is missing");
    }
    match &json["args"] {
        Json::Null | Json::Object(_) => {}
        Json::Array(_) => sheet.value(OLD_FORM, &format!("{pointer}/args"), old::LISTED_ARGS),
        other => wrong(sheet, &format!("{pointer}/args"), "a map of arguments", other),
    }
    objects(sheet, &format!("{pointer}/objects"), &json["objects"]);
}

fn objects(sheet: &mut Sheet<'_>, pointer: &str, json: &Json) {
    let Some(objects) = map(sheet, pointer, json, "references by name") else { return };
    for (name, reference) in objects {
        let pointer = format!("{pointer}/{}", escaped(name));
        let Some(fields) = map(sheet, &pointer, reference, "a reference to an object") else { continue };
        for key in fields.keys().filter(|key| !REFERENCE.contains(&key.as_str())) {
            let message = unknown("a reference", key, REFERENCE);
            sheet.key(UNKNOWN_FIELD, &format!("{pointer}/{}", escaped(key)), message);
        }
        for field in REFERENCE {
            text(sheet, &pointer, reference, field);
        }
        let kind = reference["kind"].as_str().unwrap_or_default();
        let fetched = ["secret", "configmap"].contains(&kind.to_lowercase().as_str());
        if !fetched && !kind.contains("{{") {
            let message = format!("objects of kind {kind:?} are not fetched: only Secret and ConfigMap are");
            sheet.value(OBJECT_KIND, &pointer, message);
        }
    }
}

fn artifacts(sheet: &mut Sheet<'_>, pointer: &str, json: &Json) {
    let Some(artifacts) = map(sheet, pointer, json, "artifacts by name") else { return };
    for (name, artifact) in artifacts {
        let pointer = format!("{pointer}/{}", escaped(name));
        let Some(fields) = map(sheet, &pointer, artifact, "an artifact") else { continue };
        for key in fields.keys().filter(|key| !ARTIFACT.contains(&key.as_str())) {
            let message = unknown("an artifact", key, ARTIFACT);
            sheet.key(UNKNOWN_FIELD, &format!("{pointer}/{}", escaped(key)), message);
        }
        text(sheet, &pointer, artifact, "kopiaSnapshot");
        let Some(values) =
            map(sheet, &format!("{pointer}/keyValue"), &artifact["keyValue"], "keys with texts")
        else {
            continue;
        };
        for (key, value) in values.iter().filter(|(_, value)| !value.is_string()) {
            wrong(sheet, &format!("{pointer}/keyValue/{}", escaped(key)), "a string", value);
        }
    }
}

fn map<'j>(
    sheet: &mut Sheet<'_>,
    pointer: &str,
    json: &'j Json,
    wanted: &str,
) -> Option<&'j cistern_api::Object> {
    match json {
        Json::Null => None,
        Json::Object(map) => Some(map),
        other => {
            wrong(sheet, pointer, wanted, other);
            None
        }
    }
}

fn text(sheet: &mut Sheet<'_>, pointer: &str, json: &Json, field: &str) {
    match &json[field] {
        Json::Null | Json::String(_) => {}
        other => wrong(sheet, &format!("{pointer}/{field}"), "a string", other),
    }
}

fn strings(sheet: &mut Sheet<'_>, pointer: &str, json: &Json) {
    match json {
        Json::Null => {}
        Json::Array(items) => {
            for (i, item) in items.iter().enumerate().filter(|(_, item)| !item.is_string()) {
                wrong(sheet, &format!("{pointer}/{i}"), "a name", item);
            }
        }
        other => wrong(sheet, pointer, "a list of names", other),
    }
}

fn wrong(sheet: &mut Sheet<'_>, pointer: &str, wanted: &str, found: &Json) {
    sheet.value(WRONG_TYPE, pointer, format!("expected {wanted}, found {}", kind_of(found)));
}

fn unknown(what: &str, key: &str, known: &[&str]) -> String {
    let hint = match nearest(key, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it has {}", known.join(", ")),
    };
    format!("{what} has no field `{key}`; {hint}")
}

/// A JSON value in words.
pub(super) fn kind_of(json: &Json) -> &'static str {
    match json {
        Json::Null => "nothing",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "a list",
        Json::Object(_) => "a map",
    }
}
