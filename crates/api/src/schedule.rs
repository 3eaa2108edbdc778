//! BackupSchedule: actions at set times, and how long what they leave is kept.

use crate::reference::ObjectReference;
use crate::resource::{CisternV1Alpha1, Constant, OWN_API_VERSION, OWN_GROUP, resource};
use crate::select::ObjectSelector;
use crate::{Object, null};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The shape of a time of cron: five fields, or a name.
pub(crate) const CRON: &str = r"^\s*(@[A-Za-z]+|\S+(\s+\S+){4})\s*$";

/// Actions at set times. Each run is an ActionSet in the schedule's namespace.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupSchedule {
    /// Always `cistern.dev/v1alpha1`.
    #[serde(default)]
    pub api_version: Constant<CisternV1Alpha1>,
    /// Always `BackupSchedule`.
    #[serde(default)]
    pub kind: Constant<BackupScheduleKind>,
    /// Name, namespace, labels.
    #[serde(default)]
    #[schemars(with = "Object")]
    pub metadata: ObjectMeta,
    /// When, what, on what.
    pub spec: BackupScheduleSpec,
    /// What has come of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<BackupScheduleStatus>,
}

resource!(BackupSchedule, BackupScheduleKind, "backupschedules", OWN_GROUP, OWN_API_VERSION);

/// When, what, on what.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupScheduleSpec {
    /// When: the five fields of cron (minute, hour, day of month, month, day of week), or `@daily` and its like.
    #[schemars(regex(pattern = CRON))]
    pub schedule: String,
    /// Time zone by its IANA name, such as `Europe/Berlin`; UTC if it says none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub time_zone: Option<String>,
    /// Nothing is started while this holds, and nothing expires.
    #[serde(default, deserialize_with = "null::as_default")]
    pub suspend: bool,
    /// What happens when a run is due while an earlier one has not ended.
    #[serde(default, deserialize_with = "null::as_default")]
    pub concurrency_policy: ConcurrencyPolicy,
    /// A run that could not be started within so many seconds is left out; without it the last one that was
    /// missed is made up for, however late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60))]
    pub starting_deadline_seconds: Option<i64>,
    /// Action of the blueprint.
    #[serde(default = "backup")]
    pub action: String,
    /// Name of the blueprint, in the schedule's namespace. Without it objects are found that name theirs, by the
    /// annotation `kanister.kasten.io/blueprint` or a BlueprintBinding.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "String::is_empty")]
    pub blueprint: String,
    /// Objects by name, as in an ActionSet.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectReference>,
    /// Objects looked up at each run, besides those named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select: Option<ObjectSelector>,
    /// Profile handed to the action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ObjectReference>,
    /// Secrets handed to the action.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, ObjectReference>,
    /// Config maps handed to the action.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub config_maps: BTreeMap<String, ObjectReference>,
    /// Options of the action.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// How long runs are kept; without it for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

/// Name of the action that is run when none is named.
fn backup() -> String {
    "backup".to_owned()
}

impl Default for BackupScheduleSpec {
    fn default() -> Self {
        Self {
            schedule: String::new(),
            time_zone: None,
            suspend: false,
            concurrency_policy: ConcurrencyPolicy::default(),
            starting_deadline_seconds: None,
            action: backup(),
            blueprint: String::new(),
            objects: Vec::new(),
            select: None,
            profile: None,
            secrets: BTreeMap::new(),
            config_maps: BTreeMap::new(),
            options: BTreeMap::new(),
            retention: None,
        }
    }
}

/// What happens when a run is due while an earlier one has not ended.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ConcurrencyPolicy {
    /// It waits for the earlier one to end.
    #[default]
    Forbid,
    /// They run side by side.
    Allow,
    /// The earlier one is cancelled.
    Replace,
}

/// Which runs are kept: a run is, if any of these wants it. What the others left is deleted by an action of
/// the blueprint, then their ActionSets.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// The last so many.
    #[serde(default, deserialize_with = "null::as_default")]
    pub keep_last: u32,
    /// The last one of each of the last so many hours that have one.
    #[serde(default, deserialize_with = "null::as_default")]
    pub keep_hourly: u32,
    /// The last one of each of the last so many days that have one, by the schedule's time zone.
    #[serde(default, deserialize_with = "null::as_default")]
    pub keep_daily: u32,
    /// The last one of each of the last so many weeks (from Monday) that have one.
    #[serde(default, deserialize_with = "null::as_default")]
    pub keep_weekly: u32,
    /// The last one of each of the last so many months that have one.
    #[serde(default, deserialize_with = "null::as_default")]
    pub keep_monthly: u32,
    /// The last one of each of the last so many years that have one.
    #[serde(default, deserialize_with = "null::as_default")]
    pub keep_yearly: u32,
    /// So many failed ActionSets are kept for people to look at.
    #[serde(default = "keep_failed")]
    pub keep_failed: u32,
    /// Action that deletes what a run left.
    #[serde(default = "delete")]
    pub delete_action: String,
}

fn keep_failed() -> u32 {
    3
}

/// Name of the action that deletes when none is named.
fn delete() -> String {
    "delete".to_owned()
}

/// What has come of a schedule.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupScheduleStatus {
    /// The last time that was due and has been dealt with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_schedule_time: Option<Time>,
    /// The ActionSet of the last run that was started.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "String::is_empty")]
    pub last_action_set: String,
    /// When the last run was due that ended well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_successful_time: Option<Time>,
    /// When the next one is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub next_schedule_time: Option<Time>,
    /// ActionSets under way, at most a few.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "Vec::is_empty")]
    pub active: Vec<String>,
    /// Runs that were left out because they could not be started in time.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "null::is_zero")]
    pub missed: i64,
    /// What is wrong with the schedule, in words; empty if nothing is.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "String::is_empty")]
    pub message: String,
}
