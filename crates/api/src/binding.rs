//! BlueprintBinding: which blueprint fits which workloads, so that nobody has to name it.

use crate::resource::{CisternV1Alpha1, Constant, OWN_API_VERSION, OWN_GROUP, resource};
use crate::select::ObjectSelector;
use crate::{Object, null};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A rule: objects like these belong to that blueprint. It lives beside the blueprint.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlueprintBinding {
    /// Always `cistern.dev/v1alpha1`.
    #[serde(default)]
    pub api_version: Constant<CisternV1Alpha1>,
    /// Always `BlueprintBinding`.
    #[serde(default)]
    pub kind: Constant<BlueprintBindingKind>,
    /// Name, namespace, labels.
    #[serde(default)]
    #[schemars(with = "Object")]
    pub metadata: ObjectMeta,
    /// The rule.
    pub spec: BlueprintBindingSpec,
}

resource!(BlueprintBinding, BlueprintBindingKind, "blueprintbindings", OWN_GROUP, OWN_API_VERSION);

/// The rule.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlueprintBindingSpec {
    /// Name of the blueprint, in the binding's namespace.
    #[serde(deserialize_with = "null::as_default")]
    #[schemars(length(min = 1))]
    pub blueprint: String,
    /// The objects it fits.
    #[serde(default, deserialize_with = "null::as_default")]
    pub objects: ObjectSelector,
}
