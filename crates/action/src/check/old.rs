//! Forms of early releases, and what replaced them.

use serde_json::Value as Json;

use super::{OLD_FORM, Sheet, escaped};

/// Annotations that named the blueprint of a workload.
const OLD_ANNOTATIONS: [&str; 2] = ["alpha.kanister.io/blueprint", "kanister.io/blueprint"];

/// Annotations of any object.
pub(super) fn annotations(sheet: &mut Sheet<'_>, root: &Json) {
    for key in root["metadata"]["annotations"].as_object().into_iter().flat_map(|map| map.keys()) {
        if OLD_ANNOTATIONS.contains(&key.as_str()) {
            let pointer = format!("/metadata/annotations/{}", escaped(key));
            sheet.key(OLD_FORM, &pointer, format!("{key} is now kanister.kasten.io/blueprint"));
        }
    }
}

/// What replaced a field of an action.
pub(super) fn action_field(name: &str) -> Option<&'static str> {
    match name {
        "type" => Some("`type` is now `kind`"),
        "artifacts" => {
            Some("`artifacts` is now `outputArtifacts`; what comes in is named by `inputArtifactNames`")
        }
        "inputArtifacts" => Some("`inputArtifacts` is now `inputArtifactNames`, a list of names"),
        _ => None,
    }
}

/// What replaced a name at the root of templates.
pub(super) fn root_name(name: &str) -> Option<&'static str> {
    match name {
        "Artifact" | "Artifacts" => Some(
            "artifacts that come in are `.ArtifactsIn.<name>.KeyValue.<key>`; what a command printed is \
             `.Phases.<phase>.Output.<key>`, put out with `kando output <key> <value>`",
        ),
        "ArtifactsOut" => Some(
            "there is no `.ArtifactsOut`: put values out with `kando output` and read them as \
             `.Phases.<phase>.Output.<key>`",
        ),
        "RepositoryServer" => Some("repository servers are gone since Kanister 0.120: use a profile"),
        _ => None,
    }
}

/// Arguments as a list.
pub(super) const LISTED_ARGS: &str = "args as a list is a form of 2017; write `args:` as a map, such as \
     `namespace: …`, `pod: …`, `command: […]`";
