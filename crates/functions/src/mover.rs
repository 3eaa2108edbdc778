//! Our `kando` in pods of any image: an init container puts it on a volume, and commands find it first.
//!
//! The program itself starts the command of each container with a PATH that begins with its own directory:
//! what PATH an image has is not known here, and an image needs no shell for that.

use crate::profile::push;
use serde_json::{Value as Json, json};

/// Annotation of a pod, as blueprints and ActionSets give them: `off` leaves the image's own `kando` in place.
pub const ANNOTATION: &str = "cistern.dev/mover";
/// The program within its own image.
pub const PROGRAM: &str = "/cistern";
/// Where pods have it.
const DIRECTORY: &str = "/var/run/cistern/bin";
/// The volume of a pod that holds it.
const VOLUME: &str = "cistern-mover";
/// Bytes the volume may take; the program is some 30 MB.
const SIZE: &str = "256Mi";

/// Puts the program of `image` into every container of a pod's spec.
pub(crate) fn inject(spec: &mut Json, image: &str) {
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Json::as_array_mut).into_iter().flatten() {
            let mount = json!({ "name": VOLUME, "mountPath": DIRECTORY, "readOnly": true });
            push(&mut container["volumeMounts"], mount);
            // Without a command of its own it runs what its image says, which nobody here knows.
            if let Some(command) = container["command"].as_array().filter(|words| !words.is_empty()) {
                let first = [format!("{DIRECTORY}/kando"), "mover".into(), "exec".into(), "--".into()];
                let words = first.into_iter().map(Json::from).chain(command.iter().cloned());
                container["command"] = words.collect();
            }
        }
    }
    let install = json!({
        "name": VOLUME, "image": image, "imagePullPolicy": "IfNotPresent",
        "command": [PROGRAM, "kando", "mover", "install", DIRECTORY],
        "volumeMounts": [{ "name": VOLUME, "mountPath": DIRECTORY }],
    });
    match spec["initContainers"].as_array_mut() {
        Some(init) => init.insert(0, install),
        None => spec["initContainers"] = json!([install]),
    }
    push(&mut spec["volumes"], json!({ "name": VOLUME, "emptyDir": { "sizeLimit": SIZE } }));
}
