//! KubeOps: create, patch and delete objects of any kind.

use crate::own::{self, refused};
use crate::patience::ask;
use crate::ports::{Cluster, Patch, Why};
use crate::setting::Setting;
use cistern_action::machine::Call;
use cistern_api::{Object, ObjectReference, args, yaml};
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// More objects are not made in one phase.
const DOCUMENTS_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OpsArgs {
    operation: String,
    #[serde(default)]
    spec: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    object_reference: Option<ObjectReference>,
}

/// KubeOps. Its output is the last object it dealt with.
pub(crate) async fn kube_ops(
    call: &Call,
    setting: &Setting,
    cluster: &dyn Cluster,
) -> Result<Object, String> {
    let mut args: OpsArgs = args::decode(&call.args).map_err(|e| e.to_string())?;
    if args.namespace.is_empty() {
        "default".clone_into(&mut args.namespace);
    }
    match args.operation.as_str() {
        "create" => create(cluster, &setting.trace(call.id), &args).await,
        "patch" => patch(cluster, &args).await,
        "delete" => delete(cluster, setting, &args).await,
        other => Err(format!("operation {other:?} is none of create, patch, delete")),
    }
}

async fn create(cluster: &dyn Cluster, trace: &str, args: &OpsArgs) -> Result<Object, String> {
    let documents = yaml::parse(&args.spec).map_err(|e| format!("spec: {e}"))?;
    let objects: Vec<&Json> = documents.iter().map(yaml::Document::value).filter(|v| !v.is_null()).collect();
    if objects.is_empty() || objects.len() > DOCUMENTS_MAX {
        let count = objects.len();
        return Err(format!("spec holds {count} objects; from 1 to {DOCUMENTS_MAX} can be created"));
    }
    let mut last = ObjectReference::default();
    for (i, object) in objects.into_iter().enumerate() {
        last = create_one(cluster, &format!("{trace}-{i}"), args, object).await?;
    }
    Ok(reference_output(&last))
}

async fn create_one(
    cluster: &dyn Cluster,
    trace: &str,
    args: &OpsArgs,
    object: &Json,
) -> Result<ObjectReference, String> {
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    if version.is_empty() || kind.is_empty() {
        return Err("spec: an object has no apiVersion or no kind".to_owned());
    }
    let (group, version) = version.split_once('/').unwrap_or(("", &version));
    let asked = ObjectReference {
        api_version: version.to_owned(),
        group: group.to_owned(),
        kind,
        ..ObjectReference::default()
    };
    let resource = ask(|| cluster.resolve(&asked)).await.map_err(|e| format!("spec: {e}"))?;
    let mut object = object.clone();
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    let meta = &mut object["metadata"];
    // A name the API server chose would not be found again.
    if meta["name"].is_null() && meta["generateName"].is_string() {
        meta["name"] = format!("{}{trace}", text(&meta["generateName"])).into();
    }
    let namespace =
        meta["namespace"].as_str().filter(|n| !n.is_empty()).unwrap_or(&args.namespace).to_owned();
    let at = resource.object(&namespace, &text(&meta["name"]));
    own::make(cluster, &at, object, trace).await.map(|_| at)
}

/// Strategic where the resource knows how, merge where it does not.
async fn patch(cluster: &dyn Cluster, args: &OpsArgs) -> Result<Object, String> {
    let reference = args.object_reference.as_ref().ok_or("patch needs objectReference")?;
    let at = target(cluster, reference, &reference.namespace).await?;
    let patch: Json = yaml::decode(&args.spec).map_err(|e| format!("spec: {e}"))?;
    let strategic = ask(|| cluster.patch(&at, Patch::Strategic, &patch)).await;
    let done = match strategic {
        Err(refusal) if refusal.why == Why::Invalid => {
            let merged = ask(|| cluster.patch(&at, Patch::Merge, &patch)).await;
            // Where both are refused, the first reason is the one that fits built-in resources.
            merged.map_err(|_| refusal)
        }
        other => other,
    };
    done.map_err(|refusal| refused(&at, &refusal))?;
    Ok(reference_output(reference))
}

async fn delete(cluster: &dyn Cluster, setting: &Setting, args: &OpsArgs) -> Result<Object, String> {
    let reference = args.object_reference.as_ref().ok_or("delete needs objectReference")?;
    let namespace = if reference.namespace.is_empty() { &args.namespace } else { &reference.namespace };
    let at = target(cluster, reference, namespace).await?;
    let uid = match ask(|| cluster.get(&at)).await {
        Ok(there) => there["metadata"]["uid"].clone(),
        // Begun before: it is gone because of us, as far as anybody can know.
        Err(refusal) if refusal.why == Why::Absent && setting.resumed => {
            return Ok(reference_output(reference));
        }
        Err(refusal) => return Err(refused(&at, &refusal)),
    };
    own::delete(cluster, &at).await?;
    own::gone(cluster, setting, &at, &uid).await?;
    Ok(reference_output(reference))
}

async fn target(
    cluster: &dyn Cluster,
    reference: &ObjectReference,
    namespace: &str,
) -> Result<ObjectReference, String> {
    let resource = ask(|| cluster.resolve(reference)).await;
    let resource = resource.map_err(|e| format!("objectReference: {e}"))?;
    Ok(resource.object(namespace, &reference.name))
}

/// A reference as blueprints read it: all fields, the namespace only where there is one.
fn reference_output(reference: &ObjectReference) -> Object {
    match serde_json::to_value(reference).expect("a reference is always JSON") {
        Json::Object(fields) => fields,
        _ => Object::new(),
    }
}
