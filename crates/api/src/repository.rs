//! Repository: a place that snapshots are in, what keeps it in shape at set times, and how it is.

use crate::reference::ObjectReference;
use crate::resource::{CisternV1Alpha1, Constant, OWN_API_VERSION, OWN_GROUP, resource};
use crate::schedule::CRON;
use crate::{Object, null};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A repository of snapshots. It is pruned and verified at set times, each time by a Job in its namespace.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Repository {
    /// Always `cistern.dev/v1alpha1`.
    #[serde(default)]
    pub api_version: Constant<CisternV1Alpha1>,
    /// Always `Repository`.
    #[serde(default)]
    pub kind: Constant<RepositoryKind>,
    /// Name, namespace, labels.
    #[serde(default)]
    #[schemars(with = "Object")]
    pub metadata: ObjectMeta,
    /// Where it is, what opens it, what is done to it when.
    pub spec: RepositorySpec,
    /// How it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<RepositoryStatus>,
}

resource!(Repository, RepositoryKind, "repositories", OWN_GROUP, OWN_API_VERSION);

/// Where it is, what opens it, what is done to it when.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RepositorySpec {
    /// Profile that leads there, and whose credential opens the bucket. The Repository's own namespace if it says
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ObjectReference>,
    /// Where it is, as `cistern --repo` takes it: `s3://bucket/prefix`. Wins over what the key Secret and the
    /// profile say; without a profile the bucket is reached by the role of the pods' service account.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "String::is_empty")]
    pub location: String,
    /// Secret in the Repository's namespace with `cistern-key` or `cistern-passphrase`, and perhaps
    /// `cistern-repository`; a key of role `maintain` is enough up to level 2 of `verify`. Without it the Secret
    /// that the profile names by `cistern.dev/repository-secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_secret_ref: Option<SecretName>,
    /// Which snapshots are kept; the others are forgotten before each prune. Without it all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<SnapshotRetention>,
    /// When space is given back. Without it, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<PruneSchedule>,
    /// When damage is looked for. Without it, never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<VerifySchedule>,
    /// No Job is started while this holds.
    #[serde(default, deserialize_with = "null::as_default")]
    pub suspend: bool,
    /// Laid over the spec of the Jobs' pods as a strategic merge patch; their container is `container`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::free_form")]
    pub pod_override: Option<Object>,
}

/// A Secret by its name.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct SecretName {
    /// The name.
    #[schemars(length(min = 1))]
    pub name: String,
}

/// Which snapshots of certain names are kept: one is, if any of these wants it, or a hold. Counts are per name; the
/// newest good one of each name always stays.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotRetention {
    /// Names of the snapshots it is about; `shop/*` is all that begin with `shop/`. Snapshots of other names stay:
    /// those of ActionSets are deleted by their schedules.
    #[schemars(length(min = 1))]
    pub names: Vec<String>,
    /// The newest so many.
    #[serde(default, deserialize_with = "null::as_default")]
    pub keep_last: u32,
    /// The newest of each of so many hours that have one.
    #[serde(default, deserialize_with = "null::as_default")]
    pub keep_hourly: u32,
    /// The newest of each of so many days that have one, by the time zone of `prune`.
    #[serde(default, deserialize_with = "null::as_default")]
    pub keep_daily: u32,
    /// The newest of each of so many weeks (from Monday) that have one.
    #[serde(default, deserialize_with = "null::as_default")]
    pub keep_weekly: u32,
    /// The newest of each of so many months that have one.
    #[serde(default, deserialize_with = "null::as_default")]
    pub keep_monthly: u32,
    /// The newest of each of so many years that have one.
    #[serde(default, deserialize_with = "null::as_default")]
    pub keep_yearly: u32,
    /// All with any of these tags.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "Vec::is_empty")]
    pub keep_tags: Vec<String>,
}

impl SnapshotRetention {
    /// Whether nothing is said to be kept: almost surely a slip of the finger.
    pub fn keeps_nothing(&self) -> bool {
        let counts = [
            self.keep_last,
            self.keep_hourly,
            self.keep_daily,
            self.keep_weekly,
            self.keep_monthly,
            self.keep_yearly,
        ];
        counts.iter().all(|count| *count == 0) && self.keep_tags.is_empty()
    }

    /// Whether it is about snapshots of this name.
    pub fn is_about(&self, name: &str) -> bool {
        self.names.iter().any(|wanted| match wanted.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == wanted,
        })
    }
}

/// When space is given back.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PruneSchedule {
    /// When: the five fields of cron (minute, hour, day of month, month, day of week), or `@daily` and its like.
    #[schemars(regex(pattern = CRON))]
    pub schedule: String,
    /// Time zone by its IANA name, such as `Europe/Berlin`; UTC if it says none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub time_zone: Option<String>,
    /// A Job is stopped that takes longer; a week if it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60))]
    pub active_deadline_seconds: Option<i64>,
}

/// When damage is looked for, and how deep.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifySchedule {
    /// When: the five fields of cron (minute, hour, day of month, month, day of week), or `@daily` and its like.
    #[schemars(regex(pattern = CRON))]
    pub schedule: String,
    /// Time zone by its IANA name, such as `Europe/Berlin`; UTC if it says none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub time_zone: Option<String>,
    /// The level of `cistern verify`, 0 to 4: 1 is all metadata, 2 (if it says nothing) every byte of the packs, 3
    /// every record opened, 4 every snapshot restored. 3 and 4 need a key that can read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4))]
    pub level: Option<u8>,
    /// The packs are read in so many slices, for levels 2 and 3: by the pods of an Indexed Job, one for each slice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub slices: Option<u32>,
    /// So many of these pods at the same time; all of them if it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub parallelism: Option<u32>,
    /// Each run reads one slice alone, in turn, instead of all: a whole that takes many nights.
    #[serde(default, deserialize_with = "null::as_default")]
    pub in_turn: bool,
    /// A Job is stopped that takes longer; a week if it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60))]
    pub active_deadline_seconds: Option<i64>,
}

/// Level of a verify that names none: bit-rot is found, and no data need be opened.
const LEVEL: u8 = 2;

impl VerifySchedule {
    /// How deep to look.
    pub fn level(&self) -> u8 {
        self.level.unwrap_or(LEVEL)
    }

    /// In how many slices the packs are read.
    pub fn slices(&self) -> u32 {
        self.slices.unwrap_or(1).max(1)
    }
}

/// How a repository is.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RepositoryStatus {
    /// `Ready`: the last Job opened it. `Degraded`: damage was found, or a Job failed.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// What is wrong, in words; empty if nothing is.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Bytes of its packs, for people.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "String::is_empty")]
    pub size: String,
    /// Bytes of its packs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<i64>,
    /// Bytes of the streams of all its snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_bytes: Option<i64>,
    /// Bytes of streams for each byte of packs, such as `12.4x`.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "String::is_empty")]
    pub savings: String,
    /// Snapshots that are not forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<i64>,
    /// When the newest of them was committed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub newest_snapshot_time: Option<Time>,
    /// When these were measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub measured_time: Option<Time>,
    /// The Job that opens it once when it is new or leads elsewhere.
    #[serde(default, deserialize_with = "null::as_default")]
    pub check: TaskStatus,
    /// The Jobs that prune.
    #[serde(default, deserialize_with = "null::as_default")]
    pub prune: TaskStatus,
    /// The Jobs that verify.
    #[serde(default, deserialize_with = "null::as_default")]
    pub verify: TaskStatus,
}

/// Jobs of one kind.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskStatus {
    /// The last time that was due and has been dealt with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_schedule_time: Option<Time>,
    /// When the next one is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub next_schedule_time: Option<Time>,
    /// The Job under way.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "String::is_empty")]
    pub active: String,
    /// The last run that was asked for by annotation; for a check, what it was about.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "String::is_empty")]
    pub request: String,
    /// When the last Job ended that did its work; for a verify: and found no damage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub last_successful_time: Option<Time>,
    /// The last Job that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<TaskRun>,
}

/// How a Job ended.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskRun {
    /// Its name.
    #[serde(default)]
    pub job: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time"))]
    pub ended: Option<Time>,
    /// What came of it.
    #[serde(default)]
    pub result: TaskResult,
    /// What was done or found, in words.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The first findings of a verify.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
    /// Damages that a verify found.
    #[serde(default, deserialize_with = "null::as_default", skip_serializing_if = "null::is_zero")]
    pub damages: i64,
}

/// What came of a Job.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TaskResult {
    /// It did its work, and found nothing wrong.
    Succeeded,
    /// It did its work, and found damage.
    Damaged,
    /// It could not do its work, or what came of it is not known.
    #[default]
    Failed,
}
