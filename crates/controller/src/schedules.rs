//! BackupSchedules, looked at and carried out: runs started, expired ones deleted, the status kept.
//!
//! # Guarantees
//! * A time that is due starts one ActionSet at most: its name follows from schedule and time, and it is made
//!   before the time is written down as dealt with. A controller may die in between; the next one finds it there.
//! * What a run left is deleted by an action of its blueprint, once, and its ActionSet goes only when that has
//!   ended well.

use crate::discover::{self, Target};
use crate::expiry::{Expiry, Run};
use crate::rhythm::{Rhythm, Terms, Verdict, decide};
use crate::wishes::CANCEL;
use crate::{Rules, World};
use cistern_api::resource::{OWN_API_VERSION, OWN_GROUP, VERSION};
use cistern_api::{
    ActionSet, ActionSetSpec, ActionSpec, BackupSchedule, BackupScheduleStatus, ObjectReference, State, Time,
};
use cistern_functions::patience::ask;
use cistern_functions::ports::{Cluster, Patch, Refusal, Why};
use cistern_functions::reference::of_kind;
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;

/// Label of an ActionSet that a schedule started: the schedule's uid.
pub const SCHEDULE_UID: &str = "cistern.dev/schedule-uid";
/// Annotation of such an ActionSet: the time it was due, RFC 3339.
pub const SCHEDULED_AT: &str = "cistern.dev/scheduled-at";
/// Annotation of such an ActionSet: the schedule's name.
pub const SCHEDULE: &str = "cistern.dev/schedule";

/// Between two looks at all schedules. Cron counts in minutes.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// Objects of one run; more do not fit into one object of a cluster.
const TARGETS_MAX: usize = 500;
/// ActionSets under way that the status names.
const ACTIVE_MAX: usize = 20;
/// Bytes of a schedule's name at the beginning of its ActionSets' names.
const NAME_BYTES_MAX: usize = 180;
/// Letters of a schedule's uid in its ActionSets' names: a new schedule of an old name makes new ones.
const UID_LETTERS: usize = 5;

/// All BackupSchedules of the watched namespaces.
pub struct Schedules {
    cluster: Arc<dyn Cluster>,
    rules: Rules,
    world: World,
}

impl Schedules {
    /// Schedules that nobody has looked at yet.
    pub fn new(cluster: Arc<dyn Cluster>, rules: Rules, world: World) -> Schedules {
        Schedules { cluster, rules, world }
    }

    /// Carries them out until it is dropped. Only one may run for a namespace at a time; a second one would
    /// start nothing twice, but write statuses to and fro.
    pub async fn run(self) {
        let mut rounds = tokio::time::interval(LOOK_EVERY);
        loop {
            rounds.tick().await;
            // What is refused now is tried again in the next round.
            let _ = self.look_at_all().await;
        }
    }

    /// Looks at each schedule once.
    ///
    /// # Errors
    /// The schedules of a namespace cannot be listed. A schedule that fails does not stop the others.
    pub async fn look_at_all(&self) -> Result<(), Refusal> {
        let own = &self.rules.watched;
        let watched = if own.is_empty() { vec![String::new()] } else { own.clone() };
        for namespace in watched {
            let of = at(&namespace, "");
            let found = match ask(|| self.cluster.list(&of, "")).await {
                Ok(found) => found,
                // The resource is not defined: nobody uses it.
                Err(refusal) if refusal.why == Why::Absent => continue,
                Err(refusal) => return Err(refusal),
            };
            for raw in found {
                if let Some(due) = Due::read(self, raw) {
                    // The next round tries again.
                    let _ = due.carry_out().await;
                }
            }
        }
        Ok(())
    }
}

/// Where a schedule is.
fn at(namespace: &str, name: &str) -> ObjectReference {
    ObjectReference {
        api_version: VERSION.to_owned(),
        group: OWN_GROUP.to_owned(),
        resource: "backupschedules".to_owned(),
        ..ObjectReference::named(namespace, name)
    }
}

/// One schedule, looked at now.
struct Due<'s> {
    cluster: &'s dyn Cluster,
    raw: Json,
    schedule: BackupSchedule,
    now: Timestamp,
}

impl<'s> Due<'s> {
    /// A schedule that can be read and is not being deleted.
    fn read(all: &'s Schedules, raw: Json) -> Option<Due<'s>> {
        let schedule: BackupSchedule = serde_json::from_value(raw.clone()).ok()?;
        let Time(now) = (all.world.now)();
        let deleted = schedule.metadata.deletion_timestamp.is_some();
        (!deleted).then_some(Due { cluster: &*all.cluster, raw, schedule, now })
    }

    fn name(&self) -> &str {
        self.schedule.metadata.name.as_deref().unwrap_or_default()
    }

    fn namespace(&self) -> &str {
        self.schedule.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.schedule.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Does what is to be done now, and writes down how things are.
    async fn carry_out(&self) -> Result<(), Refusal> {
        let mut status = self.schedule.status.clone().unwrap_or_default();
        status.message.clear();
        let spec = &self.schedule.spec;
        match Rhythm::parse(&spec.schedule, spec.time_zone.as_deref(), "spec") {
            Err(reason) => {
                status.next_schedule_time = None;
                status.message = reason;
            }
            Ok(rhythm) => {
                let runs = self.runs().await?;
                look_back(&mut status, &runs);
                let mut said = self.start(&rhythm, &mut status, &runs).await?;
                if !self.schedule.spec.suspend {
                    let expiry = Expiry::of(self.cluster, &self.schedule, &rhythm.zone);
                    said.extend(expiry.carry_out(&runs).await?);
                }
                let next = rhythm.next_due(self.now).filter(|_| !self.schedule.spec.suspend);
                status.next_schedule_time = next.map(Time);
                status.message = said.join("; ");
            }
        }
        self.store(&status).await
    }

    /// The ActionSets this schedule has started.
    async fn runs(&self) -> Result<Vec<Run>, Refusal> {
        let of = of_kind("actionset", self.namespace(), "");
        let selector = format!("{SCHEDULE_UID}={}", self.uid());
        let found = ask(|| self.cluster.list(&of, &selector)).await?;
        let mut runs: Vec<Run> = found.into_iter().filter_map(run).collect();
        runs.sort_by(|a, b| (a.due, &a.name).cmp(&(b.due, &b.name)));
        Ok(runs)
    }

    /// Starts what is due, as far as it may; says what hinders it.
    async fn start(
        &self,
        rhythm: &Rhythm,
        status: &mut BackupScheduleStatus,
        runs: &[Run],
    ) -> Result<Vec<String>, Refusal> {
        let made = self.schedule.metadata.creation_timestamp.as_ref();
        let last = [status.last_schedule_time.as_ref(), made].into_iter().flatten().map(|time| time.0).max();
        let last = last.unwrap_or(Timestamp::UNIX_EPOCH);
        let active: Vec<&Run> = runs.iter().filter(|run| run.under_way()).collect();
        let spec = &self.schedule.spec;
        let terms = Terms {
            suspend: spec.suspend,
            deadline_secs: spec.starting_deadline_seconds,
            policy: spec.concurrency_policy,
        };
        match decide(terms, rhythm, last, active.len(), self.now) {
            Verdict::Idle => {}
            Verdict::Missed(due) => {
                status.last_schedule_time = Some(Time(due));
                status.missed += 1;
            }
            Verdict::Wait => return Ok(vec!["a run is due and waits for the earlier one to end".to_owned()]),
            Verdict::Replace => {
                for run in active {
                    self.cancel(run).await?;
                }
                return Ok(vec!["a run is due and waits for the earlier one to be cancelled".to_owned()]);
            }
            Verdict::Start(due) => match self.make(due).await? {
                Ok(name) => {
                    status.last_schedule_time = Some(Time(due));
                    status.active.push(name.clone());
                    status.last_action_set = name;
                }
                // It is tried again until the next one is due.
                Err(reason) => return Ok(vec![format!("the run due at {due} cannot be started: {reason}")]),
            },
        }
        Ok(Vec::new())
    }

    /// Makes the ActionSet of a run and says its name; inside, why that cannot be.
    async fn make(&self, due: Timestamp) -> Result<Result<String, String>, Refusal> {
        let actions = match self.actions().await {
            Ok(Ok(actions)) => actions,
            Ok(Err(reason)) => return Ok(Err(reason)),
            Err(refusal) if refusal.why == Why::Busy => return Err(refusal),
            Err(refusal) => return Ok(Err(format!("something it looks for {refusal}"))),
        };
        let name = run_name(self.name(), self.uid(), due);
        let set = ActionSet { spec: Some(ActionSetSpec { actions }), ..ActionSet::default() };
        let mut object = serde_json::to_value(&set).expect("an ActionSet is always JSON");
        object["metadata"]["labels"] = json!({ SCHEDULE_UID: self.uid() });
        object["metadata"]["annotations"] = json!({ SCHEDULED_AT: due.to_string(), SCHEDULE: self.name() });
        let at = of_kind("actionset", self.namespace(), &name);
        match ask(|| self.cluster.create(&at, &object)).await {
            Ok(_) => Ok(Ok(name)),
            Err(refusal) if refusal.why == Why::Exists => {
                let there = ask(|| self.cluster.get(&at)).await?;
                let ours = there["metadata"]["labels"][SCHEDULE_UID] == self.uid();
                Ok(if ours { Ok(name) } else { Err(format!("there is another ActionSet {name}")) })
            }
            Err(refusal) if refusal.why == Why::Busy => Err(refusal),
            Err(refusal) => Ok(Err(format!("the ActionSet {name} {refusal}"))),
        }
    }

    /// One action per object; inside, why there is none.
    async fn actions(&self) -> Result<Result<Vec<ActionSpec>, String>, Refusal> {
        let spec = &self.schedule.spec;
        let targets = match self.targets().await? {
            Ok(targets) => targets,
            Err(reason) => return Ok(Err(reason)),
        };
        if targets.is_empty() {
            return Ok(Err("it finds no object: look at spec.objects and spec.select".to_owned()));
        }
        if targets.len() > TARGETS_MAX {
            let found = targets.len();
            return Ok(Err(format!(
                "it finds {found} objects, and one ActionSet holds {TARGETS_MAX} at most"
            )));
        }
        let action = |target: Target| ActionSpec {
            name: spec.action.clone(),
            blueprint: target.blueprint,
            object: target.object,
            profile: spec.profile.clone(),
            secrets: spec.secrets.clone(),
            config_maps: spec.config_maps.clone(),
            options: spec.options.clone(),
            ..ActionSpec::default()
        };
        Ok(Ok(targets.into_iter().map(action).collect()))
    }

    async fn targets(&self) -> Result<Result<Vec<Target>, String>, Refusal> {
        let spec = &self.schedule.spec;
        let blueprint = &spec.blueprint;
        if blueprint.is_empty() && !spec.objects.is_empty() {
            return Ok(Err("spec.objects needs spec.blueprint".to_owned()));
        }
        let bound = |object: ObjectReference| Target { object, blueprint: blueprint.clone() };
        let mut targets: Vec<Target> = spec.objects.iter().cloned().map(bound).collect();
        if let Some(wanted) = &spec.select {
            let found = if blueprint.is_empty() {
                discover::discover(self.cluster, wanted, self.namespace()).await?
            } else {
                let found = discover::select(self.cluster, wanted, self.namespace()).await?;
                found.into_iter().map(bound).collect()
            };
            targets.extend(found);
        }
        targets.sort();
        targets.dedup();
        Ok(Ok(targets))
    }

    async fn cancel(&self, run: &Run) -> Result<(), Refusal> {
        if run.cancelled {
            return Ok(());
        }
        let at = of_kind("actionset", self.namespace(), &run.name);
        let patch = json!({ "metadata": { "annotations": { CANCEL: "true" } } });
        match ask(|| self.cluster.patch(&at, Patch::Merge, &patch)).await {
            Err(refusal) if refusal.why != Why::Absent => Err(refusal),
            _ => Ok(()),
        }
    }

    /// Writes the status, if it has changed. Where somebody else has changed the schedule meanwhile, the next
    /// round looks at it anew.
    async fn store(&self, status: &BackupScheduleStatus) -> Result<(), Refusal> {
        if self.schedule.status.as_ref() == Some(status) {
            return Ok(());
        }
        let mut next = self.raw.clone();
        next["apiVersion"] = OWN_API_VERSION.into();
        next["kind"] = "BackupSchedule".into();
        next["status"] = serde_json::to_value(status).expect("a status is always JSON");
        let at = at(self.namespace(), self.name());
        match ask(|| self.cluster.replace(&at, &next)).await {
            Err(refusal) if !matches!(refusal.why, Why::Conflict | Why::Absent) => Err(refusal),
            _ => Ok(()),
        }
    }
}

/// What the ActionSets say about earlier runs.
fn look_back(status: &mut BackupScheduleStatus, runs: &[Run]) {
    let active = runs.iter().filter(|run| run.under_way());
    status.active = active.map(|run| run.name.clone()).take(ACTIVE_MAX).collect();
    let good = runs.iter().filter(|run| run.state == State::Complete).map(|run| run.due).max();
    // The ActionSet of the last success may have expired.
    let before = status.last_successful_time.as_ref().map(|time| time.0);
    status.last_successful_time = good.into_iter().chain(before).max().map(Time);
}

/// An ActionSet as a run; `None` for one that does not say when it was due.
fn run(raw: Json) -> Option<Run> {
    let note = |name: &str| raw["metadata"]["annotations"][name].as_str();
    let due = note(SCHEDULED_AT)?.parse().ok()?;
    let cancelled = note(CANCEL).is_some();
    let name = raw["metadata"]["name"].as_str()?.to_owned();
    let deleted = !raw["metadata"]["deletionTimestamp"].is_null();
    let set: ActionSet = serde_json::from_value(raw).ok()?;
    let state = set.status.as_ref().map(|status| status.state).unwrap_or_default();
    Some(Run { name, due, state, cancelled, deleted, set })
}

/// The name of the ActionSet of a run: the schedule's, the minutes since 1970, some of the schedule's uid.
fn run_name(schedule: &str, uid: &str, due: Timestamp) -> String {
    let end = (0..=schedule.len().min(NAME_BYTES_MAX)).rev().find(|at| schedule.is_char_boundary(*at));
    let beginning = &schedule[..end.unwrap_or(0)];
    format!("{}-{}-{}", beginning.trim_end_matches(['-', '.']), due.as_second() / 60, uid_tail(uid))
}

/// Some letters of a uid, for names that follow from the object.
pub(crate) fn uid_tail(uid: &str) -> String {
    let letters: Vec<char> = uid.chars().filter(char::is_ascii_alphanumeric).collect();
    letters[letters.len().saturating_sub(UID_LETTERS)..].iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_a_name_of_its_own_that_follows_from_schedule_and_time() {
        let due: Timestamp = "2026-01-02T03:00:00Z".parse().unwrap();
        let name = run_name("nightly", "0b5f3c1e-8f5d-4f7a-9c55-2f0a6d9e1b7c", due);
        assert_eq!(name, "nightly-29455380-e1b7c");
        let next: Timestamp = "2026-01-02T03:01:00Z".parse().unwrap();
        assert_ne!(run_name("nightly", "uid-1", due), run_name("nightly", "uid-1", next));
        assert_ne!(run_name("nightly", "uid-1", due), run_name("nightly", "uid-2", due));
        assert!(run_name(&"long-".repeat(60), "uid-1", due).len() < 253 - "-expire".len());
    }
}
