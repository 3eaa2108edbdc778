//! ActionSet: the order to run actions of a blueprint on objects, and the record of how that went.
//!
//! The status is no subresource: whoever updates an ActionSet may write it.

use crate::reference::ObjectReference;
use crate::resource::{Constant, KanisterV1Alpha1, resource};
use crate::{Object, null};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An order to run actions, and how far they have come.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionSet {
    /// Always `cr.kanister.io/v1alpha1`.
    #[serde(default)]
    pub api_version: Constant<KanisterV1Alpha1>,
    /// Always `ActionSet`.
    #[serde(default)]
    pub kind: Constant<ActionSetKind>,
    /// Name, namespace, labels.
    #[serde(default)]
    #[schemars(with = "Object")]
    pub metadata: ObjectMeta,
    /// What to run. Without it nothing can be done, and nothing is written to the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<ActionSetSpec>,
    /// How far it has come; absent until somebody has taken the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ActionSetStatus>,
}

resource!(ActionSet, ActionSetKind, "actionsets");

/// What to run.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionSetSpec {
    /// Actions, run side by side.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<ActionSpec>,
}

/// One action on one object.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionSpec {
    /// Name of the action in the blueprint.
    #[serde(default, deserialize_with = "null::as_default")]
    pub name: String,
    /// What to run it on.
    #[serde(default, deserialize_with = "null::as_default")]
    pub object: ObjectReference,
    /// Name of the blueprint, in the ActionSet's own namespace.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "String::is_empty")]
    pub blueprint: String,
    /// Artifacts handed in: `.ArtifactsIn`.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub artifacts: BTreeMap<String, Artifact>,
    /// Config maps handed in: `.ConfigMaps`.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub config_maps: BTreeMap<String, ObjectReference>,
    /// Secrets handed in: `.Secrets`.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, ObjectReference>,
    /// Profile handed in: `.Profile`; name and namespace count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ObjectReference>,
    /// Laid over the pods that functions create; not a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::free_form")]
    pub pod_override: Option<Object>,
    /// Options: `.Options`.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Version of the functions, as a semantic version.
    #[serde(default, deserialize_with = "null::as_default")]
    pub preferred_version: String,
    /// Labels of the pods that functions create.
    #[serde(default, deserialize_with = "null::as_default", serialize_with = "null::when_empty")]
    #[schemars(extend("nullable" = true))]
    pub pod_labels: BTreeMap<String, String>,
    /// Annotations of the pods that functions create.
    #[serde(default, deserialize_with = "null::as_default", serialize_with = "null::when_empty")]
    #[schemars(extend("nullable" = true))]
    pub pod_annotations: BTreeMap<String, String>,
}

/// How far the actions have come.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionSetStatus {
    /// State of the whole.
    #[serde(default, deserialize_with = "null::as_default")]
    pub state: State,
    /// One per action of the spec, in its order.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<ActionStatus>,
    /// Why it failed.
    #[serde(default, deserialize_with = "null::as_default")]
    pub error: ActionError,
    /// Progress of the whole.
    #[serde(default, deserialize_with = "null::as_default")]
    pub progress: ActionProgress,
    /// The state in the words that tools know which wait for any resource: `Ready`, `Reconciling`,
    /// `Stalled`. Kanister has none.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// When it came to its end; absent before. Kanister does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
}

/// How far one action has come.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionStatus {
    /// Name of the action, from the spec.
    #[serde(default, deserialize_with = "null::as_default")]
    pub name: String,
    /// What it runs on, from the spec.
    #[serde(default, deserialize_with = "null::as_default")]
    pub object: ObjectReference,
    /// Blueprint, from the spec.
    #[serde(default, deserialize_with = "null::as_default")]
    pub blueprint: String,
    /// One per phase of the blueprint's action, in its order; the deferPhase stands apart.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<Phase>,
    /// What the action leaves: templates until it is complete, then what they came to.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub artifacts: BTreeMap<String, Artifact>,
    /// The phase that runs last; written with empty name and state where the action has none.
    #[serde(default, deserialize_with = "null::as_default")]
    pub defer_phase: Phase,
}

/// State of an action set or of a phase. Kanister spells them in lower case.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[schemars(with = "String")]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing said: the deferPhase of an action that has none.
    #[default]
    #[serde(rename = "")]
    Unset,
    /// Not begun.
    Pending,
    /// Begun.
    Running,
    /// Ended badly.
    Failed,
    /// Ended well.
    Complete,
    /// A word that is none of Kanister's. Reading it must not fail: it would end a watch of all ActionSets.
    #[serde(other)]
    Unknown,
}

impl State {
    /// The word as the status spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unset => "",
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Failed => "failed",
            Self::Complete => "complete",
            Self::Unknown => "unknown",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One phase of a running action.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    /// Name, from the blueprint.
    #[serde(default, deserialize_with = "null::as_default")]
    pub name: String,
    /// State.
    #[serde(default, deserialize_with = "null::as_default")]
    pub state: State,
    /// What the phase put out, by key.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "Object::is_empty")]
    #[schemars(schema_with = "crate::crd::free_form")]
    pub output: Object,
    /// How far it has come.
    #[serde(default, deserialize_with = "null::as_default")]
    pub progress: PhaseProgress,
    /// Which attempt this is; zero and one are the first. Kanister makes no second one.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "is_first")]
    pub attempt: u32,
    /// When this attempt began. Kanister does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the next attempt may begin, while the phase waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_time: Option<Time>,
    /// Why the attempt before this one failed.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "String::is_empty")]
    pub last_error: String,
}

/// Nothing is written of a first attempt.
fn is_first(attempt: &u32) -> bool {
    *attempt <= 1
}

/// Why an action set failed.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionError {
    /// The reason in words.
    #[serde(default, deserialize_with = "null::as_default")]
    pub message: String,
}

/// Progress of an action set.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionProgress {
    /// The phase that runs; one word for all actions.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "String::is_empty")]
    pub running_phase: String,
    /// A whole number from 0 to 100, as text.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "String::is_empty")]
    pub percent_completed: String,
    /// Bytes fetched from the location.
    #[serde(
        default,
        rename = "sizeDownloadedB",
        deserialize_with = "null::as_default",
        skip_serializing_if = "null::is_zero"
    )]
    pub downloaded_bytes: i64,
    /// Bytes stored in the location.
    #[serde(
        default,
        rename = "sizeUploadedB",
        deserialize_with = "null::as_default",
        skip_serializing_if = "null::is_zero"
    )]
    pub uploaded_bytes: i64,
    /// Bytes that will have been fetched in the end.
    #[serde(
        default,
        rename = "estimatedDownloadSizeB",
        deserialize_with = "null::as_default",
        skip_serializing_if = "null::is_zero"
    )]
    pub estimated_download_bytes: i64,
    /// Bytes that will have been stored in the end.
    #[serde(
        default,
        rename = "estimatedUploadSizeB",
        deserialize_with = "null::as_default",
        skip_serializing_if = "null::is_zero"
    )]
    pub estimated_upload_bytes: i64,
    /// When the percentage or a size last changed; whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
}

/// Progress of a phase.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseProgress {
    /// A whole number from 0 to 100, as text.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "String::is_empty")]
    pub progress_percent: String,
    /// Bytes fetched from the location.
    #[serde(
        default,
        rename = "sizeDownloadedB",
        deserialize_with = "null::as_default",
        skip_serializing_if = "null::is_zero"
    )]
    pub downloaded_bytes: i64,
    /// Bytes stored in the location.
    #[serde(
        default,
        rename = "sizeUploadedB",
        deserialize_with = "null::as_default",
        skip_serializing_if = "null::is_zero"
    )]
    pub uploaded_bytes: i64,
    /// Bytes that will have been fetched in the end.
    #[serde(
        default,
        rename = "estimatedDownloadSizeB",
        deserialize_with = "null::as_default",
        skip_serializing_if = "null::is_zero"
    )]
    pub estimated_download_bytes: i64,
    /// Bytes that will have been stored in the end.
    #[serde(
        default,
        rename = "estimatedUploadSizeB",
        deserialize_with = "null::as_default",
        skip_serializing_if = "null::is_zero"
    )]
    pub estimated_upload_bytes: i64,
    /// Seconds the phase is expected to take. The name is the schema's; Kanister's own program misspells
    /// it, so that what it writes is pruned and never seen.
    #[serde(
        default,
        rename = "estimatedTimeSeconds",
        deserialize_with = "null::as_default",
        skip_serializing_if = "null::is_zero"
    )]
    pub estimated_secs: i64,
    /// When something last changed; whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
}

/// What an action leaves for another to find: keys and values, or the reference of a snapshot.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Free keys and values; templates in a blueprint.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub key_value: BTreeMap<String, String>,
    /// Reference of a snapshot, as the mover printed it.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "String::is_empty")]
    #[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
    pub kopia_snapshot: String,
}
