//! How the credential of a profile reaches a command: as a file, never in its arguments.
//!
//! A template that says `toJson .Profile` yields a reference to [`FILE`]. In a pod of ours that is a Secret,
//! mounted; the Secret belongs to its pod and goes with it. A container that is not ours gets the text on
//! its standard input and holds it in a file without a name, see [`crate::exec`].

use crate::patience::ask;
use crate::pod::{ACTION_SET_UID, CREATED_BY};
use crate::ports::{Cluster, Refusal, Why};
use crate::reference::{of_kind, words};
use cistern_action::machine::Call;
use cistern_api::wire::{ProfileArgument, REPOSITORY};
use cistern_api::{Object, ObjectReference};
use serde_json::{Value as Json, json};

/// Where a pod of ours finds the profile.
pub const FILE: &str = "/var/run/cistern/profile/profile.json";
/// The directory of [`FILE`].
const DIRECTORY: &str = "/var/run/cistern/profile";
/// The name of [`FILE`] in its directory and in the Secret.
pub const KEY: &str = "profile.json";
/// The volume of a pod that holds it.
const VOLUME: &str = "cistern-profile";
/// Arguments with the login of a database: fields of the Secret, and so files beside [`FILE`].
const LOGIN: [&str; 2] = ["username", "password"];
/// The argument of functions that move data: a passphrase.
const ENCRYPTION_KEY: &str = "encryptionKey";

/// The argument of `kando --profile` that refers to the file.
pub fn reference() -> String {
    ProfileArgument::file_reference(FILE).to_string()
}

/// The text of the file, for the calls of an action that names a profile. A passphrase among the arguments
/// is what opens the repository then.
pub(crate) fn content(call: &Call) -> Result<String, String> {
    let profile = call.material.profile.as_ref();
    let profile =
        profile.ok_or("it needs a profile, and the action names none (`profile` in the ActionSet)")?;
    let passphrase: Option<String> = match call.function.argument(ENCRYPTION_KEY) {
        Some(_) => cistern_api::args::argument(&call.args, ENCRYPTION_KEY).map_err(|e| e.to_string())?,
        None => None,
    };
    let Some(passphrase) = passphrase.filter(|text| !text.is_empty()) else { return Ok(profile.content()) };
    let location = profile.repository.as_ref().map(|r| r["location"].clone()).filter(Json::is_string);
    let mut repository = Object::from_iter([("passphrase".to_owned(), passphrase.into())]);
    repository.extend(location.map(|location| ("location".to_owned(), location)));
    let mut whole: Json = serde_json::from_str(&profile.content()).map_err(|e| e.to_string())?;
    whole[REPOSITORY] = repository.into();
    Ok(whole.to_string())
}

/// Mounts the file in every container of a pod's spec, if anything there refers to it. `pod` is the pod's name, or
/// that of the Job whose pods share it.
pub fn mount(spec: &mut Json, pod: &str) {
    if !spec.to_string().contains(FILE) {
        return;
    }
    let mount = json!({ "name": VOLUME, "mountPath": DIRECTORY, "readOnly": true });
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).and_then(Json::as_array_mut).into_iter().flatten() {
            push(&mut container["volumeMounts"], mount.clone());
        }
    }
    // Readable by whoever the image runs as: nobody but this pod has the volume.
    let secret = json!({ "secretName": secret_name(pod), "defaultMode": 0o444 });
    push(&mut spec["volumes"], json!({ "name": VOLUME, "secret": secret }));
}

/// Adds to a list that may not be there yet.
pub(crate) fn push(list: &mut Json, item: Json) {
    match list.as_array_mut() {
        Some(items) => items.push(item),
        None => *list = json!([item]),
    }
}

/// The Secret that [`mount`] mounts.
pub fn secret_name(pod: &str) -> String {
    format!("{pod}-profile")
}

/// Makes the Secret of a pod that is there and mounts one. The pod waits for it, and owns it: whoever takes
/// the pod away takes the Secret away.
pub(crate) async fn deliver(
    cluster: &dyn Cluster,
    call: &Call,
    at: &ObjectReference,
    pod: &Json,
) -> Result<(), String> {
    let volumes = pod["spec"]["volumes"].as_array();
    if !volumes.into_iter().flatten().any(|volume| volume["name"] == VOLUME) {
        return Ok(());
    }
    let secret = of_kind("secret", &at.namespace, &secret_name(&at.name));
    let owner = json!({ "apiVersion": "v1", "kind": "Pod", "name": at.name, "uid": pod["metadata"]["uid"] });
    let labels = &pod["metadata"]["labels"];
    let mut fields = json!({ KEY: content(call)? });
    for name in LOGIN.iter().filter(|name| call.function.argument(name).is_some()) {
        let text: Option<String> =
            cistern_api::args::argument(&call.args, name).map_err(|e| e.to_string())?;
        // Secrets made from files end in a newline that is no part of them.
        fields[*name] = text.unwrap_or_default().trim().into();
    }
    let manifest = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {
            "name": secret.name, "namespace": secret.namespace, "ownerReferences": [owner],
            "labels": { CREATED_BY.0: CREATED_BY.1, ACTION_SET_UID: labels[ACTION_SET_UID] },
        },
        "stringData": fields,
    });
    match ask(|| cluster.create(&secret, &manifest)).await {
        // Made before the one who made the call died.
        Err(Refusal { why: Why::Exists, .. }) | Ok(_) => Ok(()),
        Err(refusal) => {
            Err(format!("the credential of its profile cannot be handed over, {} {refusal}", words(&secret)))
        }
    }
}
