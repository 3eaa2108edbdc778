//! What a controller counts, in the text format that Prometheus reads.
//!
//! Names and labels are an interface: dashboards and alerts in `deploy/` go by them. The number of series is
//! bounded: beyond that, new objects are counted in `cistern_series_dropped_total` and not by themselves.
//!
//! Counters begin at zero with each process. What is said of the *last* backup does not: it is found again in the
//! ActionSets that are there when a controller begins.

use cistern_api::wire::SnapshotJson;
use cistern_api::{ActionStatus, Object, RepositoryStatus, State, TaskResult, TaskStatus, Time};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use serde::Deserialize as _;
use serde_json::Value as Json;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// So many blueprints, actions and objects are counted by themselves.
const SERIES_MAX: usize = 2000;
/// Upper ends of the buckets of phase durations, in seconds: from a quick command to the longest dump.
const PHASE_SECS: [f64; 12] =
    [1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0, 43_200.0, 86_400.0];

type Ratio = Gauge<f64, AtomicU64>;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OfState {
    state: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OfReason {
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OfFunction {
    function: String,
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OfAction {
    blueprint: String,
    action: String,
    result: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OfObject {
    blueprint: String,
    action: String,
    kind: String,
    object_namespace: String,
    object: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OfRepository {
    repository_namespace: String,
    repository: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OfTask {
    repository_namespace: String,
    repository: String,
    task: &'static str,
}

/// The counters of a process; one for all controllers that it runs one after the other.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    action_sets: Family<OfState, Gauge>,
    queue: Gauge,
    ended: Family<OfAction, Counter>,
    phases: Family<OfFunction, Histogram>,
    retries: Family<OfFunction, Counter>,
    errors: Family<OfReason, Counter>,
    last_success: Family<OfObject, Gauge>,
    read_bytes: Family<OfObject, Counter>,
    stored_bytes: Family<OfObject, Counter>,
    last_read_bytes: Family<OfObject, Gauge>,
    last_stored_bytes: Family<OfObject, Gauge>,
    dedup_ratio: Family<OfObject, Ratio>,
    repository_bytes: Family<OfRepository, Gauge>,
    repository_stream_bytes: Family<OfRepository, Gauge>,
    repository_snapshots: Family<OfRepository, Gauge>,
    repository_damages: Family<OfRepository, Gauge>,
    repository_degraded: Family<OfRepository, Gauge>,
    repository_last_success: Family<OfTask, Gauge>,
    /// The Repositories that are counted.
    repositories: Mutex<BTreeSet<(String, String)>>,
    events_dropped: Counter,
    series_dropped: Counter,
    /// The series that have labels users choose, as far as there was room, with the last success in Unix time.
    series: Mutex<HashMap<OfObject, Option<i64>>>,
}

/// Why something the controller does for an ActionSet did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// ActionSets cannot be listed.
    List,
    /// Another controller carries the ActionSet out.
    Taken,
    /// Its status cannot be stored, or the cluster not be asked.
    Refused,
    /// A pod or an ActionSet whose time has come cannot be taken away.
    Sweep,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Metrics {
        let histogram: fn() -> Histogram = || Histogram::new(PHASE_SECS);
        let mut metrics = Metrics {
            registry: Registry::with_prefix("cistern"),
            action_sets: Family::default(),
            queue: Gauge::default(),
            ended: Family::default(),
            phases: Family::new_with_constructor(histogram),
            retries: Family::default(),
            errors: Family::default(),
            last_success: Family::default(),
            read_bytes: Family::default(),
            stored_bytes: Family::default(),
            last_read_bytes: Family::default(),
            last_stored_bytes: Family::default(),
            dedup_ratio: Family::default(),
            repository_bytes: Family::default(),
            repository_stream_bytes: Family::default(),
            repository_snapshots: Family::default(),
            repository_damages: Family::default(),
            repository_degraded: Family::default(),
            repository_last_success: Family::default(),
            repositories: Mutex::default(),
            events_dropped: Counter::default(),
            series_dropped: Counter::default(),
            series: Mutex::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("action_sets", "ActionSets by state", self.action_sets.clone());
        r.register("queue_length", "ActionSets that wait for their turn", self.queue.clone());
        r.register("action_sets_ended", "Actions of ActionSets that ended", self.ended.clone());
        r.register("phase_duration_seconds", "How long phases took", self.phases.clone());
        r.register("phase_retries", "Attempts at phases after the first", self.retries.clone());
        r.register("reconcile_errors", "What did not work for the controller itself", self.errors.clone());
        let help = "When the action last succeeded on the object, in Unix time";
        r.register("last_success_timestamp_seconds", help, self.last_success.clone());
        r.register("stream_bytes", "Bytes of the streams that were backed up", self.read_bytes.clone());
        r.register("stored_bytes", "Bytes that they took in the repository", self.stored_bytes.clone());
        r.register("last_stream_bytes", "Bytes of the last stream", self.last_read_bytes.clone());
        let help = "Bytes that the last stream took in the repository";
        r.register("last_stored_bytes", help, self.last_stored_bytes.clone());
        let help = "Bytes of the last stream for each byte that it took in the repository";
        r.register("dedup_ratio", help, self.dedup_ratio.clone());
        self.register_repositories();
        let r = &mut self.registry;
        r.register("events_dropped", "Events that were not written", self.events_dropped.clone());
        let help = "Times that an object was not counted by itself, because there are too many";
        r.register("series_dropped", help, self.series_dropped.clone());
    }

    fn register_repositories(&mut self) {
        let r = &mut self.registry;
        r.register("repository_size_bytes", "Bytes of a repository's packs", self.repository_bytes.clone());
        let help = "Bytes of the streams of a repository's snapshots";
        r.register("repository_stream_bytes", help, self.repository_stream_bytes.clone());
        r.register("repository_snapshots", "Snapshots in a repository", self.repository_snapshots.clone());
        let help = "Damages that the last verify found, or more";
        r.register("repository_damages", help, self.repository_damages.clone());
        let help = "1 where damage was found, a Job failed, or none can be started; else 0";
        r.register("repository_degraded", help, self.repository_degraded.clone());
        let help = "When the last Job of a repository ended that found nothing wrong, in Unix time";
        r.register("repository_last_success_timestamp_seconds", help, self.repository_last_success.clone());
    }

    /// The text for `/metrics`, in the OpenMetrics format.
    pub fn render(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.registry).expect("a string takes everything");
        page
    }

    pub(crate) fn count_states(&self, waiting: usize, under_way: usize) {
        self.queue.set(gauge(waiting));
        self.of_state("waiting").set(gauge(waiting));
        self.of_state("running").set(gauge(under_way));
    }

    /// All ActionSets have been looked at: so many of them have ended.
    pub(crate) fn count_ended(&self, complete: usize, failed: usize) {
        self.of_state("complete").set(gauge(complete));
        self.of_state("failed").set(gauge(failed));
    }

    /// How a Repository is; a series that says nothing is not there.
    pub(crate) fn repository(&self, namespace: &str, name: &str, status: &RepositoryStatus) {
        let of = OfRepository { repository_namespace: namespace.to_owned(), repository: name.to_owned() };
        let mut known = self.repositories.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= SERIES_MAX && !known.contains(&(namespace.to_owned(), name.to_owned())) {
            self.series_dropped.inc();
            return;
        }
        known.insert((namespace.to_owned(), name.to_owned()));
        for (family, value) in [
            (&self.repository_bytes, status.size_bytes),
            (&self.repository_stream_bytes, status.stream_bytes),
            (&self.repository_snapshots, status.snapshots),
        ] {
            if let Some(value) = value {
                family.get_or_create(&of).set(value);
            }
        }
        if let Some(run) = status.verify.last_run.as_ref().filter(|run| run.result != TaskResult::Failed) {
            self.repository_damages.get_or_create(&of).set(run.damages);
        }
        let degraded = status.conditions.iter().any(|c| c.type_ == "Degraded" && c.status == "True");
        self.repository_degraded.get_or_create(&of).set(i64::from(degraded));
        for (task, slot) in tasks(status) {
            if let Some(time) = &slot.last_successful_time {
                let OfRepository { repository_namespace, repository } = of.clone();
                let of = OfTask { repository_namespace, repository, task };
                self.repository_last_success.get_or_create(&of).set(time.0.as_second());
            }
        }
    }

    /// Forgets Repositories that are not there any more.
    pub(crate) fn only_repositories(&self, seen: &BTreeSet<(String, String)>) {
        let mut known = self.repositories.lock().unwrap_or_else(PoisonError::into_inner);
        for (repository_namespace, repository) in known.difference(seen).cloned() {
            let of = OfRepository { repository_namespace, repository };
            for family in [
                &self.repository_bytes,
                &self.repository_stream_bytes,
                &self.repository_snapshots,
                &self.repository_damages,
                &self.repository_degraded,
            ] {
                family.remove(&of);
            }
            for (task, _) in tasks(&RepositoryStatus::default()) {
                let OfRepository { repository_namespace, repository } = of.clone();
                self.repository_last_success.remove(&OfTask { repository_namespace, repository, task });
            }
        }
        known.retain(|one| seen.contains(one));
    }

    fn of_state(&self, state: &'static str) -> Gauge {
        self.action_sets.get_or_create_owned(&OfState { state })
    }

    pub(crate) fn trouble(&self, trouble: Trouble) {
        let reason = match trouble {
            Trouble::List => "list",
            Trouble::Taken => "taken",
            Trouble::Refused => "refused",
            Trouble::Sweep => "sweep",
        };
        self.errors.get_or_create(&OfReason { reason }).inc();
    }

    pub(crate) fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// An attempt at a phase came to its end.
    pub(crate) fn phase_ended(&self, function: &str, well: bool, took: Duration) {
        let labels = OfFunction { function: function.to_owned(), result: result(well) };
        self.phases.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Another attempt at a phase will be made.
    pub(crate) fn phase_retried(&self, function: &str) {
        let labels = OfFunction { function: function.to_owned(), result: result(false) };
        self.retries.get_or_create(&labels).inc();
    }

    /// An ActionSet ended, in this state and with these actions.
    pub(crate) fn action_set_ended(&self, state: State, actions: &[ActionStatus], now: &Time) {
        let well = state == State::Complete;
        self.of_state(result(well)).inc();
        actions.iter().for_each(|action| self.action_ended(action, well, now));
    }

    fn action_ended(&self, action: &ActionStatus, well: bool, now: &Time) {
        let object = OfObject::of(action);
        if !self.room_for(&object) {
            return;
        }
        let (blueprint, name) = (action.blueprint.clone(), action.name.clone());
        self.ended.get_or_create(&OfAction { blueprint, action: name, result: result(well) }).inc();
        if well {
            let (read, stored) = self.succeeded(action, &object, now.0.as_second());
            if read > 0 {
                self.read_bytes.get_or_create(&object).inc_by(read);
                self.stored_bytes.get_or_create(&object).inc_by(stored);
            }
        }
    }

    /// Takes from an ActionSet of the past what is said of the last success of its actions, unless a later one is
    /// known.
    pub(crate) fn remember(&self, action_set: &Json) {
        let status = &action_set["status"];
        if status["state"] != State::Complete.as_str() {
            return;
        }
        // Kanister's own controller knows no time of completion.
        let times = [&status["completionTime"], &status["progress"]["lastTransitionTime"]];
        let mut times = times.into_iter().filter_map(|time| time.as_str()?.parse::<jiff::Timestamp>().ok());
        let Some(ended) = times.next() else { return };
        for action in status["actions"].as_array().into_iter().flatten() {
            let Ok(action) = ActionStatus::deserialize(action) else { continue };
            let object = OfObject::of(&action);
            if self.room_for(&object) {
                self.succeeded(&action, &object, ended.as_second());
            }
        }
    }

    /// The action succeeded; the bytes of its streams, and what they took. Says so unless a later success is known.
    fn succeeded(&self, action: &ActionStatus, object: &OfObject, at: i64) -> (u64, u64) {
        let (read, stored) = bytes(action);
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let last = series.entry(object.clone()).or_default();
        if last.is_some_and(|last| last > at) {
            return (read, stored);
        }
        *last = Some(at);
        self.last_success.get_or_create(object).set(at);
        if read > 0 {
            let shown = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
            self.last_read_bytes.get_or_create(object).set(shown(read));
            self.last_stored_bytes.get_or_create(object).set(shown(stored));
            self.dedup_ratio.get_or_create(object).set(read as f64 / stored.max(1) as f64);
        }
        (read, stored)
    }

    fn room_for(&self, object: &OfObject) -> bool {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let room = series.contains_key(object) || series.len() < SERIES_MAX;
        if room {
            series.entry(object.clone()).or_default();
        } else {
            self.series_dropped.inc();
        }
        room
    }
}

fn tasks(status: &RepositoryStatus) -> [(&'static str, &TaskStatus); 3] {
    [("check", &status.check), ("prune", &status.prune), ("verify", &status.verify)]
}

impl OfObject {
    fn of(action: &ActionStatus) -> OfObject {
        OfObject {
            blueprint: action.blueprint.clone(),
            action: action.name.clone(),
            kind: action.object.kind.clone(),
            object_namespace: action.object.namespace.clone(),
            object: action.object.name.clone(),
        }
    }
}

/// Bytes that the mover told of in the outputs of the phases: of the streams, and what they took.
fn bytes(action: &ActionStatus) -> (u64, u64) {
    let bytes = |n: i64| u64::try_from(n).unwrap_or(0);
    let told = action.phases.iter().flat_map(|phase| snapshots(&phase.output));
    told.fold((0, 0), |(read, stored), snapshot| {
        (read + bytes(snapshot.logical_bytes), stored + bytes(snapshot.physical_bytes))
    })
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn result(well: bool) -> &'static str {
    if well { "complete" } else { "failed" }
}

/// References of snapshots among the outputs of a phase.
fn snapshots(output: &Object) -> impl Iterator<Item = SnapshotJson> {
    let texts = output.values().filter_map(|value| value.as_str());
    texts.filter(|text| text.starts_with('{')).filter_map(|text| SnapshotJson::parse(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn action(object: &str) -> ActionStatus {
        let snapshot = json!({ "id": "7", "logicalSize": 1000, "physicalSize": 10 }).to_string();
        serde_json::from_value(json!({
            "name": "backup", "blueprint": "pg", "phases": [{ "output": { "snap": snapshot, "n": "1" } }],
            "object": { "kind": "StatefulSet", "namespace": "app", "name": object },
        }))
        .unwrap()
    }

    #[test]
    fn what_happened_stands_on_the_page() {
        let metrics = Metrics::new();
        let now = Time("2026-01-02T03:04:05Z".parse().unwrap());
        metrics.count_states(3, 2);
        metrics.count_ended(10, 1);
        metrics.phase_ended("KubeTask", true, Duration::from_secs(20));
        metrics.action_set_ended(State::Complete, &[action("db"), action("web")], &now);
        metrics.action_set_ended(State::Failed, &[action("db")], &now);
        metrics.trouble(Trouble::Taken);
        let page = metrics.render();
        let labels =
            r#"blueprint="pg",action="backup",kind="StatefulSet",object_namespace="app",object="db""#;
        for line in [
            "cistern_queue_length 3".to_owned(),
            r#"cistern_action_sets{state="complete"} 11"#.to_owned(),
            r#"cistern_action_sets{state="failed"} 2"#.to_owned(),
            r#"cistern_action_sets{state="running"} 2"#.to_owned(),
            r#"cistern_action_sets_ended_total{blueprint="pg",action="backup",result="failed"} 1"#.to_owned(),
            r#"cistern_phase_duration_seconds_bucket{le="60.0",function="KubeTask",result="complete"} 1"#
                .to_owned(),
            r#"cistern_reconcile_errors_total{reason="taken"} 1"#.to_owned(),
            format!("cistern_last_success_timestamp_seconds{{{labels}}} {}", now.0.as_second()),
            format!("cistern_stream_bytes_total{{{labels}}} 1000"),
            format!("cistern_stored_bytes_total{{{labels}}} 10"),
            format!("cistern_last_stream_bytes{{{labels}}} 1000"),
            format!("cistern_last_stored_bytes{{{labels}}} 10"),
            format!("cistern_dedup_ratio{{{labels}}} 100.0"),
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
    }

    /// An ActionSet of the past.
    fn ended(object: &str, state: &str, at: &str, read: u64) -> Json {
        let mut action = serde_json::to_value(action(object)).unwrap();
        let snapshot = json!({ "id": "7", "logicalSize": read, "physicalSize": 10 }).to_string();
        action["phases"][0]["output"]["snap"] = snapshot.into();
        json!({ "status": { "state": state, "completionTime": at, "actions": [action] } })
    }

    #[test]
    fn the_last_success_is_found_again() {
        let metrics = Metrics::new();
        metrics.remember(&ended("db", "complete", "2026-01-02T00:00:00Z", 500));
        metrics.remember(&ended("db", "complete", "2026-01-01T00:00:00Z", 400));
        metrics.remember(&ended("db", "failed", "2026-01-03T00:00:00Z", 300));
        metrics.remember(&json!({ "status": { "state": "complete" } }));
        metrics.remember(&json!({}));
        let mut theirs = ended("web", "complete", "", 0);
        theirs["status"]["progress"]["lastTransitionTime"] = json!("2026-01-01T00:00:00Z");
        metrics.remember(&theirs);
        let second = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second();
        let shows = |name: &str, object: &str, value: i64| {
            let page = metrics.render();
            let series =
                |line: &&str| line.starts_with(name) && line.contains(&format!("object=\"{object}\""));
            let line = page.lines().find(series).map(str::to_owned);
            assert!(
                line.as_ref().is_some_and(|line| line.ends_with(&format!("}} {value}"))),
                "{name} {line:?}"
            );
        };
        shows("cistern_last_success_timestamp_seconds{", "db", second("2026-01-02T00:00:00Z"));
        shows("cistern_last_success_timestamp_seconds{", "web", second("2026-01-01T00:00:00Z"));
        shows("cistern_last_stream_bytes{", "db", 500);
        assert!(
            !metrics.render().contains("cistern_stream_bytes_total{"),
            "a counter counts what happens now"
        );
        let now = Time("2026-01-04T00:00:00Z".parse().unwrap());
        metrics.action_set_ended(State::Complete, &[action("db")], &now);
        metrics.remember(&ended("db", "complete", "2026-01-02T00:00:00Z", 500));
        shows("cistern_last_success_timestamp_seconds{", "db", second("2026-01-04T00:00:00Z"));
        shows("cistern_last_stream_bytes{", "db", 1000);
    }

    #[test]
    fn a_repository_that_is_gone_is_not_told_of() {
        let metrics = Metrics::new();
        let time = Some(Time("2026-01-02T03:04:05Z".parse().unwrap()));
        let mut status = RepositoryStatus { size_bytes: Some(5), ..RepositoryStatus::default() };
        status.verify.last_successful_time = time;
        metrics.repository("ns", "main", &status);
        metrics.repository("ns", "other", &status);
        let seen = BTreeSet::from([("ns".to_owned(), "other".to_owned())]);
        metrics.only_repositories(&seen);
        let page = metrics.render();
        assert!(!page.contains(r#"repository="main""#), "{page}");
        let of = r#"repository_namespace="ns",repository="other""#;
        for line in [
            format!("cistern_repository_size_bytes{{{of}}} 5"),
            format!("cistern_repository_degraded{{{of}}} 0"),
            format!(r#"cistern_repository_last_success_timestamp_seconds{{{of},task="verify"}} 1767323045"#),
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn the_number_of_series_is_bounded() {
        let metrics = Metrics::new();
        let now = Time("2026-01-02T03:04:05Z".parse().unwrap());
        for n in 0..SERIES_MAX + 5 {
            metrics.action_set_ended(State::Complete, &[action(&format!("db-{n}"))], &now);
        }
        let page = metrics.render();
        let series = page.lines().filter(|line| line.starts_with("cistern_last_success_timestamp_seconds{"));
        assert_eq!(series.count(), SERIES_MAX);
        assert!(page.contains("cistern_series_dropped_total 5"), "{page}");
    }
}
