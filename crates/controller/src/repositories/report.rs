//! A Repository's status told: as conditions, and as events of what has come about since the last one. Pure.

use super::task::Task;
use crate::events::{Event, Subject};
use cistern_api::{Condition, RepositoryStatus, TaskResult, TaskRun, Time};

/// The status with message and conditions. `said` is what hinders its Jobs.
pub(super) fn conclude(status: &mut RepositoryStatus, said: &[String], now: &Time) {
    status.message = said.join("; ");
    let told = [ready(status), degraded(status)];
    let before = std::mem::take(&mut status.conditions);
    status.conditions = told
        .map(|(type_, holds, reason, message)| {
            let holds = holds.map_or("Unknown", |holds| if holds { "True" } else { "False" });
            let same = before.iter().find(|c| c.type_ == type_ && c.status == holds);
            Condition {
                type_: type_.to_owned(),
                status: holds.to_owned(),
                reason,
                message,
                last_transition_time: same.map_or_else(|| now.clone(), |c| c.last_transition_time.clone()),
                observed_generation: None,
            }
        })
        .into();
}

/// Type, answer (`None` is not known), reason, message.
type Told = (&'static str, Option<bool>, String, String);

/// The last Job of all, whatever it did.
fn newest(status: &RepositoryStatus) -> Option<(Task, &TaskRun)> {
    let runs = Task::ALL.into_iter().filter_map(|task| Some((task, task.of(status).last_run.as_ref()?)));
    runs.max_by_key(|(_, run)| run.ended.as_ref().map(|time| time.0))
}

fn ready(status: &RepositoryStatus) -> Told {
    let (holds, reason, message) = match newest(status) {
        None => (None, "NotOpenedYet".to_owned(), "no Job has opened it yet".to_owned()),
        Some((task, run)) if run.result == TaskResult::Failed => {
            (Some(false), failed(task), run.message.clone())
        }
        Some((_, run)) => (Some(true), "Opened".to_owned(), format!("the Job {} has opened it", run.job)),
    };
    ("Ready", holds, reason, message)
}

fn degraded(status: &RepositoryStatus) -> Told {
    let run = |task: Task, result| task.of(status).last_run.as_ref().filter(|run| run.result == result);
    let unopened =
        newest(status).is_some_and(|(task, run)| task == Task::Check && run.result == TaskResult::Failed);
    let failure =
        [Task::Prune, Task::Verify].into_iter().find(|task| run(*task, TaskResult::Failed).is_some());
    let failure = failure.or(unopened.then_some(Task::Check));
    let (holds, reason, message) = if let Some(run) = run(Task::Verify, TaskResult::Damaged) {
        let found = run.findings.first().map(String::as_str).unwrap_or_default();
        (true, "Damaged".to_owned(), format!("{}; {found}", run.message))
    } else if let Some(task) = failure {
        let message = task.of(status).last_run.as_ref().map(|run| run.message.clone());
        (true, failed(task), message.unwrap_or_default())
    } else if !status.message.is_empty() {
        (true, "Hindered".to_owned(), status.message.clone())
    } else {
        (false, "AsExpected".to_owned(), "no damage is known, and no Job has failed".to_owned())
    };
    ("Degraded", Some(holds), reason, message)
}

/// The reason of conditions and events for a task that failed.
fn failed(task: Task) -> String {
    words(task).1.to_owned()
}

/// Reasons for a task that did its work, and for one that did not.
fn words(task: Task) -> (&'static str, &'static str) {
    match task {
        Task::Check => ("Checked", "CheckFailed"),
        Task::Prune => ("Pruned", "PruneFailed"),
        Task::Verify => ("Verified", "VerifyFailed"),
    }
}

/// Events of the Jobs that have ended between two statuses.
pub(super) fn told(subject: &Subject, before: &RepositoryStatus, after: &RepositoryStatus) -> Vec<Event> {
    let mut events = Vec::new();
    for task in Task::ALL {
        let (old, new) = (task.of(before).last_run.as_ref(), task.of(after).last_run.as_ref());
        let Some(run) = new.filter(|_| old != new) else { continue };
        let (well, badly) = words(task);
        let (kind, reason) = match run.result {
            TaskResult::Succeeded => ("Normal", well),
            TaskResult::Damaged => ("Warning", "Damaged"),
            TaskResult::Failed => ("Warning", badly),
        };
        let message =
            format!("{}: {}", run.job, [&[run.message.clone()][..], &run.findings].concat().join("; "));
        let about = task.name().to_owned();
        events.push(Event { subject: subject.clone(), kind, reason, message, about });
    }
    events
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test may unwrap")]

    use super::*;

    fn run(result: TaskResult, ended: &str) -> Option<TaskRun> {
        let ended = Some(Time(ended.parse().unwrap()));
        Some(TaskRun { job: "j".to_owned(), ended, result, message: "m".to_owned(), ..TaskRun::default() })
    }

    fn conditions(status: &mut RepositoryStatus, said: &[String]) -> Vec<(String, String)> {
        conclude(status, said, &Time("2026-01-05T00:00:00Z".parse().unwrap()));
        status.conditions.iter().map(|c| (c.status.clone(), c.reason.clone())).collect()
    }

    fn pairs(ready: (&str, &str), degraded: (&str, &str)) -> Vec<(String, String)> {
        [ready, degraded].map(|(status, reason)| (status.to_owned(), reason.to_owned())).into()
    }

    #[test]
    fn damage_outlives_a_good_prune_and_goes_with_a_good_verify() {
        let mut status = RepositoryStatus::default();
        let found = conditions(&mut status, &[]);
        assert_eq!(found, pairs(("Unknown", "NotOpenedYet"), ("False", "AsExpected")));
        status.check.last_run = run(TaskResult::Failed, "2026-01-01T00:00:00Z");
        assert_eq!(conditions(&mut status, &[]), pairs(("False", "CheckFailed"), ("True", "CheckFailed")));
        status.verify.last_run = run(TaskResult::Damaged, "2026-01-02T00:00:00Z");
        status.prune.last_run = run(TaskResult::Succeeded, "2026-01-03T00:00:00Z");
        assert_eq!(conditions(&mut status, &[]), pairs(("True", "Opened"), ("True", "Damaged")));
        status.verify.last_run = run(TaskResult::Succeeded, "2026-01-04T00:00:00Z");
        assert_eq!(conditions(&mut status, &[]), pairs(("True", "Opened"), ("False", "AsExpected")));
        let hindered = ["no key".to_owned()];
        assert_eq!(conditions(&mut status, &hindered), pairs(("True", "Opened"), ("True", "Hindered")));
        status.prune.last_run = run(TaskResult::Failed, "2026-01-05T00:00:00Z");
        assert_eq!(conditions(&mut status, &[]), pairs(("False", "PruneFailed"), ("True", "PruneFailed")));
    }

    #[test]
    fn each_job_that_has_ended_is_told_once() {
        let subject = Subject {
            api_version: "v",
            kind: "Repository",
            namespace: "n".to_owned(),
            name: "main".to_owned(),
            uid: "u".to_owned(),
        };
        let before = RepositoryStatus::default();
        let mut after = before.clone();
        after.verify.last_run = run(TaskResult::Damaged, "2026-01-02T00:00:00Z");
        after.prune.last_run = run(TaskResult::Succeeded, "2026-01-02T00:00:00Z");
        let told: Vec<(&str, &str)> =
            super::told(&subject, &before, &after).iter().map(|event| (event.kind, event.reason)).collect();
        assert_eq!(told, [("Normal", "Pruned"), ("Warning", "Damaged")]);
        assert!(super::told(&subject, &after, &after).is_empty());
    }
}
