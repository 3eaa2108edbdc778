//! Objects that a call makes once: it knows its own again by a mark, whoever made the call before.

use crate::patience::{Looks, ask};
use crate::ports::{Cluster, Refusal, Why};
use crate::reference::words;
use crate::setting::Setting;
use cistern_api::ObjectReference;
use serde_json::{Value as Json, json};

/// Annotation of an object: the call that made it.
const MADE_BY: &str = "cistern.dev/made-by";

/// Makes the object, or finds that the call with this trace has made it before; the object as it is.
///
/// # Errors
/// In words: another one of that name is there, or the cluster refuses.
pub(crate) async fn make(
    cluster: &dyn Cluster,
    at: &ObjectReference,
    mut object: Json,
    trace: &str,
) -> Result<Json, String> {
    let meta = &mut object["metadata"];
    if !meta["annotations"].is_object() {
        meta["annotations"] = json!({});
    }
    meta["annotations"][MADE_BY] = trace.into();
    match ask(|| cluster.create(at, &object)).await {
        Ok(made) => Ok(made),
        Err(refusal) if refusal.why == Why::Exists => {
            let there = ask(|| cluster.get(at)).await.map_err(|e| refused(at, &e))?;
            let own = there["metadata"]["annotations"][MADE_BY] == trace;
            if own { Ok(there) } else { Err(refused(at, &refusal)) }
        }
        Err(refusal) => Err(refused(at, &refusal)),
    }
}

/// Asks for the object to be deleted. One that is not there is fine.
///
/// # Errors
/// In words: the cluster refuses.
pub(crate) async fn delete(cluster: &dyn Cluster, at: &ObjectReference) -> Result<(), String> {
    match ask(|| cluster.delete(at)).await {
        Err(refusal) if refusal.why != Why::Absent => Err(refused(at, &refusal)),
        _ => Ok(()),
    }
}

/// Waits until the object with this uid is gone.
///
/// # Errors
/// In words: it is still there after the limit, or the cluster refuses.
pub(crate) async fn gone(
    cluster: &dyn Cluster,
    setting: &Setting,
    at: &ObjectReference,
    uid: &Json,
) -> Result<(), String> {
    let mut looks = Looks::new(setting.limits.gone, setting.limits.look_every);
    loop {
        match ask(|| cluster.get(at)).await {
            // Another one of that name is not the one that was to go.
            Ok(there) if there["metadata"]["uid"] != *uid => return Ok(()),
            Ok(_) => {}
            Err(refusal) if refusal.why == Why::Absent => return Ok(()),
            Err(refusal) => return Err(refused(at, &refusal)),
        }
        if !looks.again().await {
            let minutes = setting.limits.gone.as_secs() / 60;
            return Err(format!("{} was still there {minutes} minutes after its deletion", words(at)));
        }
    }
}

/// A refusal with the object it is about.
pub(crate) fn refused(at: &ObjectReference, refusal: &Refusal) -> String {
    format!("{} {refusal}", words(at))
}
