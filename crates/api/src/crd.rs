//! Definitions of the three resources for a cluster, made from the types.

use crate::{ActionSet, Blueprint, Profile};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::schema::{OptionalEnum, StructuralSchemaRewriter};
use schemars::generate::SchemaSettings;
use schemars::transform::{AddNullable, Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// The three definitions, in the order of their names.
pub fn definitions() -> [CustomResourceDefinition; 3] {
    [
        definition::<ActionSet>(progress_columns()),
        definition::<Blueprint>(json!([])),
        definition::<Profile>(json!([])),
    ]
}

/// Schema of an object whose fields nobody prescribes and nobody prunes.
pub(crate) fn free_form(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true })
}

fn definition<R: k8s_openapi::Resource + JsonSchema>(columns: Value) -> CustomResourceDefinition {
    let mut version = json!({
        "name": R::VERSION,
        "served": true,
        "storage": true,
        "schema": { "openAPIV3Schema": schema::<R>() },
    });
    if columns.as_array().is_some_and(|c| !c.is_empty()) {
        version["additionalPrinterColumns"] = columns;
    }
    let plural = R::URL_PATH_SEGMENT;
    serde_json::from_value(json!({
        "metadata": { "name": format!("{plural}.{}", R::GROUP) },
        "spec": {
            "group": R::GROUP,
            "names": {
                "kind": R::KIND,
                "listKind": format!("{}List", R::KIND),
                "plural": plural,
                "singular": R::KIND.to_lowercase(),
            },
            "scope": "Namespaced",
            "versions": [version],
        },
    }))
    .expect("a definition put together from constants has the shape of one")
}

fn schema<R: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|s| {
        s.inline_subschemas = true;
        s.meta_schema = None;
    });
    let schema = settings
        .with_transform(AddNullable::default())
        .with_transform(StructuralSchemaRewriter)
        .with_transform(OptionalEnum)
        .with_transform(Unprescribed)
        .into_generator()
        .into_root_schema_for::<R>();
    let mut schema = Value::from(schema);
    // The three the API server knows by itself.
    schema["properties"]["metadata"] = json!({ "type": "object" });
    schema.as_object_mut().expect("a root schema is an object").remove("title");
    schema
}

/// Takes out everything that could make the API server refuse or fill in a field. Kanister's schemas have
/// none of it: what they prune and keep is all that counts.
#[derive(Clone)]
struct Unprescribed;

impl Transform for Unprescribed {
    fn transform(&mut self, schema: &mut Schema) {
        for keyword in ["required", "default", "enum", "title"] {
            schema.remove(keyword);
        }
        transform_subschemas(self, schema);
    }
}

/// What `kubectl get actionsets` shows.
fn progress_columns() -> Value {
    let column = |name: &str, kind: &str, path: &str| json!({ "name": name, "type": kind, "jsonPath": path });
    let mut columns = vec![column("Progress", "string", ".status.progress.percentCompleted")];
    for name in ["SizeDownloadedB", "SizeUploadedB", "EstimatedDownloadSizeB", "EstimatedUploadSizeB"] {
        let field = name[..1].to_lowercase() + &name[1..];
        columns.push(column(name, "integer", &format!(".status.progress.{field}")));
    }
    columns.push(column("Running Phase", "string", ".status.progress.runningPhase"));
    let mut when = column("Last Transition Time", "string", ".status.progress.lastTransitionTime");
    when["format"] = "date-time".into();
    columns.push(when);
    columns.push(column("State", "string", ".status.state"));
    Value::Array(columns)
}
