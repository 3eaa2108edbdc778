//! Blueprint: the recipe. Actions by name, each a row of phases, each phase a function and its arguments.
//!
//! There is no `spec`: `actions` stands beside `metadata`.

use crate::actionset::Artifact;
use crate::reference::ObjectReference;
use crate::resource::{Constant, KanisterV1Alpha1, resource};
use crate::{Object, null};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A recipe for one application: how to back it up, restore it, delete what was stored.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blueprint {
    /// Always `cr.kanister.io/v1alpha1`.
    #[serde(default)]
    pub api_version: Constant<KanisterV1Alpha1>,
    /// Always `Blueprint`.
    #[serde(default)]
    pub kind: Constant<BlueprintKind>,
    /// Name, namespace, labels.
    #[serde(default)]
    #[schemars(with = "Object")]
    pub metadata: ObjectMeta,
    /// Actions by name; any name is legal. A name may stand there without an action (`null`).
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub actions: BTreeMap<String, Option<BlueprintAction>>,
}

resource!(Blueprint, BlueprintKind, "blueprints");

impl Blueprint {
    /// The action of that name, if the blueprint has one.
    pub fn action(&self, name: &str) -> Option<&BlueprintAction> {
        self.actions.get(name).and_then(Option::as_ref)
    }
}

/// One action of a blueprint: phases in order, then one that runs whatever happened.
///
/// `name`, `kind`, `configMapNames`, `secretNames` and `inputArtifactNames` tell a reader what the action
/// expects; Kanister acts on none of them.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlueprintAction {
    /// The action's own name; the key it stands under is what counts.
    #[serde(default, deserialize_with = "null::as_default")]
    pub name: String,
    /// Kind of object the action is written for; not compared with the object it is run on.
    #[serde(default, deserialize_with = "null::as_default")]
    pub kind: String,
    /// Config maps the action expects, as named in `spec.actions[].configMaps` of an ActionSet.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "Vec::is_empty")]
    pub config_map_names: Vec<String>,
    /// Secrets the action expects, as named in `spec.actions[].secrets` of an ActionSet.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "Vec::is_empty")]
    pub secret_names: Vec<String>,
    /// Artifacts the action expects, as named in `spec.actions[].artifacts` of an ActionSet.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "Vec::is_empty")]
    pub input_artifact_names: Vec<String>,
    /// Artifacts the action leaves, as templates; rendered when all phases are done.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub output_artifacts: BTreeMap<String, Artifact>,
    /// Phases, run one after the other.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<BlueprintPhase>,
    /// Phase that runs last, also when another has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defer_phase: Option<BlueprintPhase>,
}

/// One phase: a function and the arguments it is called with.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlueprintPhase {
    /// Name of the function, upper and lower case as registered.
    #[serde(default, deserialize_with = "null::as_default")]
    pub func: String,
    /// Name of the phase: its key in `.Phases`. A deferPhase may go without one.
    #[serde(default, deserialize_with = "null::as_default")]
    pub name: String,
    /// Secrets and config maps the phase's templates may name; the references are templates themselves.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub objects: BTreeMap<String, ObjectReference>,
    /// Arguments of the function, with templates in their texts.
    #[serde(default, deserialize_with = "null::as_default")]
    #[schemars(schema_with = "crate::crd::free_form")]
    pub args: Object,
}
