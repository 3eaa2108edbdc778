//! Definitions of the resources for a cluster, made from the types: Kanister's three, and ours.

use crate::{ActionSet, BackupSchedule, Blueprint, BlueprintBinding, Profile, Repository};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::schema::{OptionalEnum, StructuralSchemaRewriter};
use schemars::generate::SchemaSettings;
use schemars::transform::{AddNullable, Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// Kanister's three definitions in the order of their names, then ours.
pub fn definitions() -> [CustomResourceDefinition; 6] {
    [
        definition::<ActionSet>(progress_columns(), kanister_s),
        definition::<Blueprint>(json!([]), kanister_s),
        definition::<Profile>(json!([]), kanister_s),
        definition::<BackupSchedule>(schedule_columns(), of_schedules),
        definition::<BlueprintBinding>(binding_columns(), ours),
        short(definition::<Repository>(repository_columns(), ours), "crepo"),
    ]
}

/// Schema of an object whose fields nobody prescribes and nobody prunes.
pub(crate) fn free_form(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true })
}

fn definition<R: k8s_openapi::Resource + JsonSchema>(
    columns: Value,
    style: fn(SchemaSettings) -> SchemaSettings,
) -> CustomResourceDefinition {
    let mut version = json!({
        "name": R::VERSION,
        "served": true,
        "storage": true,
        "schema": { "openAPIV3Schema": schema::<R>(style) },
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

/// The same with a short name for `kubectl`.
fn short(mut definition: CustomResourceDefinition, name: &str) -> CustomResourceDefinition {
    definition.spec.names.short_names = Some(vec![name.to_owned()]);
    definition
}

/// Nothing is refused or filled in by the API server.
fn kanister_s(settings: SchemaSettings) -> SchemaSettings {
    settings.with_transform(Without(&["required", "default", "enum", "title"])).with_transform(Formats)
}

/// What cannot be meant is refused by the API server. What is left out stays so: the types know what it means.
fn ours(settings: SchemaSettings) -> SchemaSettings {
    settings.with_transform(Without(&["default", "title"])).with_transform(Operators).with_transform(Formats)
}

/// Also, a schedule must name objects and their blueprint, or look for objects. Not in CEL, which could say it in a
/// sentence: API servers before 1.25 refuse a definition with rules, and these words do on all of them.
fn of_schedules(settings: SchemaSettings) -> SchemaSettings {
    ours(settings).with_transform(|schema: &mut Schema| {
        let spec = schema.pointer_mut("/properties/spec").and_then(Value::as_object_mut);
        spec.expect("a schedule has a spec").insert(
            "anyOf".to_owned(),
            json!([
                { "required": ["select"], "properties": { "objects": { "maxItems": 0 } } },
                {
                    "required": ["blueprint", "objects"],
                    "properties": { "blueprint": { "minLength": 1 }, "objects": { "minItems": 1 } },
                },
            ]),
        );
    })
}

fn schema<R: JsonSchema>(style: fn(SchemaSettings) -> SchemaSettings) -> Value {
    let settings = SchemaSettings::openapi3().with(|s| {
        s.inline_subschemas = true;
        s.meta_schema = None;
    });
    let settings = settings
        .with_transform(AddNullable::default())
        .with_transform(StructuralSchemaRewriter)
        .with_transform(OptionalEnum);
    let schema = style(settings).into_generator().into_root_schema_for::<R>();
    let mut schema = Value::from(schema);
    // The three the API server knows by itself.
    schema["properties"]["metadata"] = json!({ "type": "object" });
    schema.as_object_mut().expect("a root schema is an object").remove("title");
    schema
}

/// Takes keywords out everywhere. Kanister's schemas have none that could make the API server refuse or fill in
/// a field: what they prune and keep is all that counts.
#[derive(Clone)]
struct Without(&'static [&'static str]);

impl Transform for Without {
    fn transform(&mut self, schema: &mut Schema) {
        for keyword in self.0 {
            schema.remove(*keyword);
        }
        transform_subschemas(self, schema);
    }
}

/// Names the operators of label selectors: one that is misspelt would find nothing, and nobody would be told.
#[derive(Clone)]
struct Operators;

impl Transform for Operators {
    fn transform(&mut self, schema: &mut Schema) {
        let found = schema.pointer_mut("/properties/operator").and_then(Value::as_object_mut);
        if let Some(operator) = found {
            operator.insert("enum".to_owned(), json!(["In", "NotIn", "Exists", "DoesNotExist"]));
        }
        transform_subschemas(self, schema);
    }
}

/// Takes away formats that Kubernetes does not know, such as `uint32`: it warns of them whenever they are applied.
#[derive(Clone)]
struct Formats;

impl Transform for Formats {
    fn transform(&mut self, schema: &mut Schema) {
        if schema.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
            schema.remove("format");
        }
        transform_subschemas(self, schema);
    }
}

fn column(name: &str, kind: &str, path: &str) -> Value {
    json!({ "name": name, "type": kind, "jsonPath": path })
}

/// What `kubectl get backupschedules` shows.
fn schedule_columns() -> Value {
    json!([
        column("Schedule", "string", ".spec.schedule"),
        column("Suspend", "boolean", ".spec.suspend"),
        column("Last Success", "date", ".status.lastSuccessfulTime"),
        column("Last", "date", ".status.lastScheduleTime"),
        column("Message", "string", ".status.message"),
    ])
}

/// What `kubectl get blueprintbindings` shows.
fn binding_columns() -> Value {
    json!([column("Blueprint", "string", ".spec.blueprint")])
}

/// What `kubectl get repositories` shows.
fn repository_columns() -> Value {
    let condition = |name: &str, what: &str| format!(".status.conditions[?(@.type==\"{name}\")].{what}");
    json!([
        column("Ready", "string", &condition("Ready", "status")),
        column("Degraded", "string", &condition("Degraded", "reason")),
        column("Size", "string", ".status.size"),
        column("Savings", "string", ".status.savings"),
        column("Snapshots", "integer", ".status.snapshots"),
        column("Last Prune", "date", ".status.prune.lastSuccessfulTime"),
        column("Last Verify", "date", ".status.verify.lastSuccessfulTime"),
    ])
}

/// What `kubectl get actionsets` shows.
fn progress_columns() -> Value {
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
