//! Which outputs of which phase an action reads, found without running it.

use std::collections::{BTreeMap, BTreeSet};

use cistern_api::BlueprintAction;
use cistern_template::{Read, ReadStep, Template};
use serde_json::Value as Json;

use crate::render::{TEMPLATE_NAME, functions};

/// Keys by phase; those of the deferred phase stand under `None`.
pub type OutputsRead = BTreeMap<Option<String>, BTreeSet<String>>;

/// The outputs that templates of an action name. A template that cannot be read names none.
pub fn outputs_read(action: &BlueprintAction) -> OutputsRead {
    let mut read = OutputsRead::new();
    let phases = action.phases.iter().chain(&action.defer_phase);
    for phase in phases {
        phase.args.iter().for_each(|(key, value)| {
            in_text(key, &mut read);
            in_json(value, &mut read);
        });
    }
    for artifact in action.output_artifacts.values() {
        artifact
            .key_value
            .values()
            .chain([&artifact.kopia_snapshot])
            .for_each(|text| in_text(text, &mut read));
    }
    read
}

fn in_json(json: &Json, read: &mut OutputsRead) {
    match json {
        Json::String(text) => in_text(text, read),
        Json::Array(items) => items.iter().for_each(|item| in_json(item, read)),
        Json::Object(map) => map.iter().for_each(|(key, value)| {
            in_text(key, read);
            in_json(value, read);
        }),
        _ => {}
    }
}

fn in_text(text: &str, read: &mut OutputsRead) {
    if !text.contains("{{") {
        return;
    }
    let Ok(template) = Template::parse(TEMPLATE_NAME, text, functions()) else { return };
    for Read { path, .. } in template.reads() {
        let names: Vec<Option<&str>> = path.iter().map(name).collect();
        match names.as_slice() {
            [Some("Phases"), Some(phase), Some("Output"), Some(key), ..] => {
                read.entry(Some((*phase).to_owned())).or_default().insert((*key).to_owned());
            }
            [Some("DeferPhase"), Some("Output"), Some(key), ..] => {
                read.entry(None).or_default().insert((*key).to_owned());
            }
            _ => {}
        }
    }
}

fn name(step: &ReadStep) -> Option<&str> {
    match step {
        ReadStep::Field(name) | ReadStep::Key(name) => Some(name),
        ReadStep::Element => None,
    }
}
