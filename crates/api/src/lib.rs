//! Bytes on the wire: Kanister's resources and ours, and what passes between controller and pod.
//!
//! Names and shapes of Kanister's are not ours to improve. Fields keep their Go meaning: a `null` is a
//! zero value, unknown fields are passed over, and what Go writes even when it is empty is written here.
//!
//! **What is absent on purpose:** no behaviour, no client, no file, no clock. A value comes in, bytes go
//! out, and the other way round.

#![allow(
    clippy::disallowed_methods,
    reason = "json! and derive(JsonSchema) unwrap what cannot fail; tests/tidy.rs holds this crate to the same words"
)]

pub mod actionset;
pub mod args;
pub mod binding;
pub mod blueprint;
pub mod crd;
mod null;
pub mod profile;
pub mod reference;
pub mod repository;
pub mod resource;
pub mod schedule;
pub mod select;
pub mod sensitive;
pub mod wire;
pub mod yaml;

pub use actionset::{
    ActionError, ActionProgress, ActionSet, ActionSetSpec, ActionSetStatus, ActionSpec, ActionStatus,
    Artifact, Phase, PhaseProgress, State,
};
pub use binding::{BlueprintBinding, BlueprintBindingSpec};
pub use blueprint::{Blueprint, BlueprintAction, BlueprintPhase};
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, ObjectMeta, Time};
pub use profile::{
    Credential, CredentialType, KeyPair, KopiaServerSecret, KopiaServerSecretRef, Location, LocationType,
    Profile,
};
pub use reference::ObjectReference;
pub use repository::{
    PruneSchedule, Repository, RepositorySpec, RepositoryStatus, SecretName, SnapshotRetention, TaskResult,
    TaskRun, TaskStatus, VerifySchedule,
};
pub use schedule::{BackupSchedule, BackupScheduleSpec, BackupScheduleStatus, ConcurrencyPolicy, Retention};
pub use select::ObjectSelector;
pub use sensitive::Sensitive;

/// A free-form JSON object: arguments, phase outputs, pod overrides.
pub type Object = serde_json::Map<String, serde_json::Value>;
