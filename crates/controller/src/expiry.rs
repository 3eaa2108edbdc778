//! Runs of a schedule that are not kept any longer: what they left is deleted by an action of their blueprint,
//! then their ActionSets.

use crate::keep::kept;
use cistern_action::follow;
use cistern_api::{
    ActionSet, ActionSetSpec, ActionSpec, BackupSchedule, Blueprint, ObjectReference, Retention, State,
};
use cistern_functions::patience::ask;
use cistern_functions::ports::{Cluster, Refusal, Why};
use cistern_functions::reference::of_kind;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// Label of an ActionSet that deletes what a run left: the uid of the schedule.
pub const EXPIRES_FOR: &str = "cistern.dev/expires-for-schedule-uid";
/// Annotation of such an ActionSet: the run's name.
pub const EXPIRES: &str = "cistern.dev/expires";
/// What the name of such an ActionSet ends with, behind the run's.
const SUFFIX: &str = "-expire";
/// So many runs of a schedule expire at the same time.
const AT_ONCE: usize = 4;

/// An ActionSet that a schedule started.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) name: String,
    /// The time that was due.
    pub(crate) due: Timestamp,
    pub(crate) state: State,
    /// It has been asked to stop.
    pub(crate) cancelled: bool,
    /// Its deletion has been asked for.
    pub(crate) deleted: bool,
    pub(crate) set: ActionSet,
}

impl Run {
    /// Whether it has not ended.
    pub(crate) fn under_way(&self) -> bool {
        !matches!(self.state, State::Complete | State::Failed)
    }
}

/// The end of a schedule's runs.
pub(crate) struct Expiry<'s> {
    cluster: &'s dyn Cluster,
    schedule: &'s BackupSchedule,
    zone: &'s TimeZone,
}

impl<'s> Expiry<'s> {
    pub(crate) fn of(
        cluster: &'s dyn Cluster,
        schedule: &'s BackupSchedule,
        zone: &'s TimeZone,
    ) -> Expiry<'s> {
        Expiry { cluster, schedule, zone }
    }

    fn namespace(&self) -> &str {
        self.schedule.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.schedule.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Does what is to be done now; says what hinders it.
    pub(crate) async fn carry_out(&self, runs: &[Run]) -> Result<Vec<String>, Refusal> {
        let Some(retention) = &self.schedule.spec.retention else { return Ok(Vec::new()) };
        self.delete_failed(runs, retention).await?;
        let complete: Vec<&Run> =
            runs.iter().filter(|run| run.state == State::Complete && !run.deleted).collect();
        let times: Vec<Timestamp> = complete.iter().map(|run| run.due).collect();
        let kept = kept(&times, retention, self.zone);
        let under_way = self.under_way().await?;
        let mut said = self.finish(&under_way, runs).await?;
        let busy = under_way.values().filter(|state| !matches!(state, State::Complete | State::Failed));
        let mut free = AT_ONCE.saturating_sub(busy.count());
        for (position, run) in complete.iter().enumerate().rev() {
            if kept.contains(&position) || under_way.contains_key(&run.name) || free == 0 {
                continue;
            }
            if let Err(reason) = self.begin(run, retention).await? {
                said.push(format!("what {} left stays: {reason}", run.name));
                // The next ones would say the same.
                break;
            }
            free -= 1;
        }
        Ok(said)
    }

    /// Failed ones left nothing that could be used; the last few stay for people to look at.
    async fn delete_failed(&self, runs: &[Run], retention: &Retention) -> Result<(), Refusal> {
        let failed: Vec<&Run> =
            runs.iter().filter(|run| run.state == State::Failed && !run.deleted).collect();
        let keep = usize::try_from(retention.keep_failed).unwrap_or(usize::MAX);
        for run in &failed[..failed.len().saturating_sub(keep)] {
            self.delete(&run.name).await?;
        }
        Ok(())
    }

    /// Runs whose deletion has begun, and how far it is.
    async fn under_way(&self) -> Result<BTreeMap<String, State>, Refusal> {
        let of = of_kind("actionset", self.namespace(), "");
        let selector = format!("{EXPIRES_FOR}={}", self.uid());
        let found = ask(|| self.cluster.list(&of, &selector)).await?;
        let pair = |raw: Json| {
            let run = raw["metadata"]["annotations"][EXPIRES].as_str()?.to_owned();
            let set: ActionSet = serde_json::from_value(raw).ok()?;
            Some((run, set.status.map(|status| status.state).unwrap_or_default()))
        };
        Ok(found.into_iter().filter_map(pair).collect())
    }

    /// Takes away the ActionSets of what has been deleted: the run's first, so that nothing is deleted twice.
    async fn finish(
        &self,
        under_way: &BTreeMap<String, State>,
        runs: &[Run],
    ) -> Result<Vec<String>, Refusal> {
        let mut said = Vec::new();
        for (run, state) in under_way {
            match state {
                State::Complete => {
                    self.delete(run).await?;
                    let gone = !runs.iter().any(|other| other.name == *run);
                    if gone || ask_gone(self.cluster, &self.at(run)).await? {
                        self.delete(&format!("{run}{SUFFIX}")).await?;
                    }
                }
                State::Failed => said.push(format!(
                    "what {run} left could not be deleted: see the ActionSet {run}{SUFFIX}, and delete it to have it tried again"
                )),
                _ => {}
            }
        }
        Ok(said)
    }

    /// Orders what a run left to be deleted; inside, why that cannot be.
    async fn begin(&self, run: &Run, retention: &Retention) -> Result<Result<(), String>, Refusal> {
        if let Err(reason) = follow::usable(&run.set) {
            return Ok(Err(reason));
        }
        let action = &retention.delete_action;
        let actions: Vec<ActionSpec> =
            follow::actions(&run.set).map(|again| ActionSpec { name: action.clone(), ..again }).collect();
        for ordered in &actions {
            if let Err(reason) = self.has_action(&ordered.blueprint, action).await? {
                return Ok(Err(reason));
            }
        }
        let set = ActionSet { spec: Some(ActionSetSpec { actions }), ..ActionSet::default() };
        let mut object = serde_json::to_value(&set).expect("an ActionSet is always JSON");
        object["metadata"]["labels"] = json!({ EXPIRES_FOR: self.uid() });
        object["metadata"]["annotations"] = json!({ EXPIRES: run.name });
        let at = self.at(&format!("{}{SUFFIX}", run.name));
        match ask(|| self.cluster.create(&at, &object)).await {
            Ok(_) => Ok(Ok(())),
            Err(refusal) if refusal.why == Why::Exists => {
                let there = ask(|| self.cluster.get(&at)).await?;
                let ours = there["metadata"]["labels"][EXPIRES_FOR] == self.uid();
                Ok(if ours { Ok(()) } else { Err(format!("there is another ActionSet {}", at.name)) })
            }
            Err(refusal) if refusal.why == Why::Busy => Err(refusal),
            Err(refusal) => Ok(Err(format!("the ActionSet {} {refusal}", at.name))),
        }
    }

    async fn has_action(&self, blueprint: &str, action: &str) -> Result<Result<(), String>, Refusal> {
        let at = of_kind("blueprint", self.namespace(), blueprint);
        let raw = match ask(|| self.cluster.get(&at)).await {
            Ok(raw) => raw,
            Err(refusal) if refusal.why == Why::Busy => return Err(refusal),
            Err(refusal) => return Ok(Err(format!("blueprint {blueprint} {refusal}"))),
        };
        let found: Result<Blueprint, _> = serde_json::from_value(raw);
        Ok(match found {
            Ok(found) if found.action(action).is_some() => Ok(()),
            Ok(_) => Err(format!("blueprint {blueprint} has no action {action:?}")),
            Err(e) => Err(format!("blueprint {blueprint} cannot be read: {e}")),
        })
    }

    fn at(&self, name: &str) -> ObjectReference {
        of_kind("actionset", self.namespace(), name)
    }

    async fn delete(&self, name: &str) -> Result<(), Refusal> {
        let at = self.at(name);
        match ask(|| self.cluster.delete(&at)).await {
            Err(refusal) if refusal.why != Why::Absent => Err(refusal),
            _ => Ok(()),
        }
    }
}

/// Whether an object is not there any more.
async fn ask_gone(cluster: &dyn Cluster, at: &ObjectReference) -> Result<bool, Refusal> {
    match ask(|| cluster.get(at)).await {
        Ok(_) => Ok(false),
        Err(refusal) if refusal.why == Why::Absent => Ok(true),
        Err(refusal) => Err(refusal),
    }
}
