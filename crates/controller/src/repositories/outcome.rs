//! What came of a Job: from its status and what its pods left, to a run in the Repository's status. Pure.
//!
//! That a Job is complete says that the work was done. What was found stands in the reports of its pods: a verify
//! that finds damage has done its work, and every slice must be read however many are damaged.

use super::task::Task;
use cistern_api::wire::{RepositorySize, UpkeepReport};
use cistern_api::{RepositoryStatus, TaskResult, TaskRun, Time};
use jiff::Timestamp;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// Findings of all pods of a Job that the status shows.
const FINDINGS_MAX: usize = 10;
/// Bytes of a message in the status.
const MESSAGE_BYTES_MAX: usize = 1000;
/// Which slice a pod of an Indexed Job has.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// What a pod waits for in the first moments of every pod.
const USUAL: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// How a Job ended.
#[derive(Debug)]
pub(super) struct End {
    well: bool,
    at: Option<Time>,
    said: String,
}

/// How the Job ended, if it has.
pub(super) fn end(job: &Json) -> Option<End> {
    let mut conditions = job["status"]["conditions"].as_array().into_iter().flatten();
    let condition =
        conditions.find(|c| c["status"] == "True" && (c["type"] == "Complete" || c["type"] == "Failed"))?;
    let time = |value: &Json| value.as_str().and_then(|text| text.parse().ok()).map(Time);
    Some(End {
        well: condition["type"] == "Complete",
        at: time(&job["status"]["completionTime"]).or_else(|| time(&condition["lastTransitionTime"])),
        said: text(&condition["message"]),
    })
}

/// What its pods wait for, if it is out of the ordinary.
pub(super) fn waits(pods: &[Json]) -> Vec<String> {
    let mut said = BTreeSet::new();
    for pod in pods.iter().filter(|pod| pod["status"]["phase"] == "Pending") {
        let name = text(&pod["metadata"]["name"]);
        let unplaced = items(&pod["status"]["conditions"])
            .find(|c| c["type"] == "PodScheduled" && c["status"] == "False");
        let waiting = items(&pod["status"]["containerStatuses"]).map(|c| &c["state"]["waiting"]);
        let waiting = waiting.filter(|w| w["reason"].as_str().is_some_and(|reason| !USUAL.contains(&reason)));
        for what in waiting.chain(unplaced) {
            said.insert(format!("pod {name} waits: {}: {}", text(&what["reason"]), text(&what["message"])));
        }
    }
    // Those of many slices wait for the same.
    said.into_iter().take(1).map(|said| shortened(&said)).collect()
}

/// The run, and how large the repository is.
pub(super) fn of(job: &Json, end: &End, pods: &[Json], now: &Time) -> (TaskRun, Option<RepositorySize>) {
    let reports = reports(pods);
    let wanted = job["spec"]["completions"].as_u64().unwrap_or(1);
    let known = u64::try_from(reports.len()).unwrap_or(u64::MAX);
    let findings: BTreeSet<&String> = reports.values().flat_map(|report| &report.findings).collect();
    // What several slices found alike is one damage; how much else is alike is not known.
    let damages = reports.values().map(|report| report.damages).max().unwrap_or(0);
    let done = reports.values().next().map_or("", |report| report.done.as_str());
    let (mut result, mut message) = match (end.well, known < wanted) {
        (true, false) if wanted > 1 => (TaskResult::Succeeded, format!("{wanted} slices; the first: {done}")),
        (true, false) => (TaskResult::Succeeded, done.to_owned()),
        (true, true) => {
            let message = format!("what came of it is not known: {known} of {wanted} pods left a report");
            (TaskResult::Failed, message)
        }
        (false, _) => (TaskResult::Failed, [end.said.clone(), last_words(pods)].join(": ")),
    };
    if damages > 0 {
        result = TaskResult::Damaged;
        message = format!("{damages} damages or more; {message}");
    }
    let run = TaskRun {
        job: text(&job["metadata"]["name"]),
        ended: Some(end.at.clone().unwrap_or_else(|| now.clone())),
        result,
        message: shortened(message.trim_end_matches(": ")),
        findings: findings.into_iter().take(FINDINGS_MAX).cloned().collect(),
        damages,
    };
    (run, reports.into_values().find_map(|report| report.size))
}

/// Writes down that a Job has ended.
pub(super) fn record(status: &mut RepositoryStatus, task: Task, run: TaskRun, size: Option<RepositorySize>) {
    if let Some(size) = size {
        measured(status, size);
    }
    let slot = task.of_mut(status);
    slot.active.clear();
    if run.result == TaskResult::Succeeded {
        slot.last_successful_time.clone_from(&run.ended);
    }
    slot.last_run = Some(run);
}

/// Takes over how large the repository is, unless that is known from later on: Jobs run side by side.
fn measured(status: &mut RepositoryStatus, size: RepositorySize) {
    let time = |ms| Timestamp::from_millisecond(ms).ok().map(Time);
    let now = time(size.measured_ms);
    if status.measured_time.as_ref().map(|time| time.0) <= now.as_ref().map(|time| time.0) {
        status.newest_snapshot_time = size.newest_ms.and_then(time);
        status.measured_time = now;
        status.size = size.size;
        status.savings = size.savings;
        status.size_bytes = Some(size.pack_bytes);
        status.stream_bytes = Some(size.stream_bytes);
        status.snapshots = Some(size.snapshots);
    }
}

/// What each pod reported that ended well, by its slice; two of one slice say the same.
fn reports(pods: &[Json]) -> BTreeMap<u64, UpkeepReport> {
    let mut reports = BTreeMap::new();
    for pod in pods.iter().filter(|pod| pod["status"]["phase"] == "Succeeded") {
        let index = pod["metadata"]["annotations"][INDEX].as_str().and_then(|text| text.parse().ok());
        if let Some(report) = UpkeepReport::parse(&message(pod)) {
            reports.insert(index.unwrap_or(0), report);
        }
    }
    reports
}

/// Why the pod that failed last did.
fn last_words(pods: &[Json]) -> String {
    let failed = pods.iter().filter(|pod| pod["status"]["phase"] == "Failed");
    let last = failed.max_by_key(|pod| text(&pod["metadata"]["creationTimestamp"]));
    last.map(message).unwrap_or_default().trim().to_owned()
}

/// The termination message of a pod's first container.
fn message(pod: &Json) -> String {
    text(&pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"])
}

fn text(value: &Json) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn items(list: &Json) -> impl Iterator<Item = &Json> {
    list.as_array().into_iter().flatten()
}

/// The end of a long message is where the reason stands.
fn shortened(message: &str) -> String {
    let from = message.len().saturating_sub(MESSAGE_BYTES_MAX);
    let from = (from..=message.len()).find(|at| message.is_char_boundary(*at)).unwrap_or(0);
    message[from..].to_owned()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test may unwrap")]

    use super::*;
    use serde_json::json;

    fn pod(index: u64, phase: &str, message: &str) -> Json {
        json!({
            "metadata": {"name": format!("p-{index}"), "annotations": {INDEX: index.to_string()}},
            "status": {"phase": phase, "containerStatuses": [{"state": {"terminated": {"message": message}}}]},
        })
    }

    fn report(damages: i64, findings: &[&str]) -> String {
        let findings = findings.iter().map(|text| (*text).to_owned()).collect();
        UpkeepReport { done: "read 3 packs".to_owned(), damages, findings, ..UpkeepReport::default() }
            .to_json()
    }

    fn job(kind: &str, completions: u64) -> Json {
        json!({
            "metadata": {"name": "j"}, "spec": {"completions": completions},
            "status": {"conditions": [{"type": kind, "status": "True", "message": "it says",
                "lastTransitionTime": "2026-01-02T03:04:05Z"}]},
        })
    }

    fn outcome(kind: &str, completions: u64, pods: &[Json]) -> TaskRun {
        let job = job(kind, completions);
        of(&job, &end(&job).unwrap(), pods, &Time(Timestamp::UNIX_EPOCH)).0
    }

    #[test]
    fn the_result_is_put_together_from_all_slices() {
        let good = pod(0, "Succeeded", &report(0, &[]));
        let run = outcome("Complete", 1, std::slice::from_ref(&good));
        assert_eq!((run.result, run.message.as_str()), (TaskResult::Succeeded, "read 3 packs"));
        assert_eq!(run.ended.unwrap().0.to_string(), "2026-01-02T03:04:05Z");
        let bad = pod(1, "Succeeded", &report(2, &["damage a", "damage b"]));
        let also = pod(2, "Succeeded", &report(1, &["damage a"]));
        let run = outcome("Complete", 3, &[good.clone(), bad.clone(), also]);
        assert_eq!((run.result, run.damages), (TaskResult::Damaged, 2));
        assert_eq!(run.findings, ["damage a", "damage b"]);
        // A slice that was tried again counts once, and one that is missing is not taken for sound.
        let failed = pod(1, "Failed", "cistern: cannot read: no answer");
        let run = outcome("Complete", 2, &[good.clone(), failed.clone()]);
        assert_eq!(run.result, TaskResult::Failed);
        assert!(run.message.contains("1 of 2 pods"), "{}", run.message);
        let run = outcome("Failed", 2, &[good.clone(), failed.clone()]);
        assert_eq!(run.message, "it says: cistern: cannot read: no answer");
        let run = outcome("Failed", 3, &[good, bad, failed]);
        assert_eq!(run.result, TaskResult::Damaged, "damage that was seen is told, whatever else went wrong");
    }

    #[test]
    fn the_size_that_was_measured_last_stands_in_the_status() {
        let mut status = RepositoryStatus::default();
        for (measured_ms, snapshots, expected) in [(1500, 3, 3), (1200, 9, 3), (1700, 2, 2)] {
            let size = RepositorySize { measured_ms, snapshots, ..RepositorySize::default() };
            record(&mut status, Task::Verify, TaskRun::default(), Some(size));
            assert_eq!(status.snapshots, Some(expected));
        }
    }

    #[test]
    fn what_is_no_report_is_no_success() {
        let run = outcome("Complete", 1, &[pod(0, "Succeeded", "hello")]);
        assert_eq!(run.result, TaskResult::Failed);
        assert_eq!(outcome("Complete", 1, &[]).result, TaskResult::Failed);
        assert!(end(&json!({"status": {"conditions": [{"type": "Complete", "status": "False"}]}})).is_none());
        assert!(
            end(&json!({"status": {"conditions": [{"type": "SuccessCriteriaMet", "status": "True"}]}}))
                .is_none()
        );
    }

    #[test]
    fn what_a_pod_waits_for_is_told_once_and_only_if_it_is_unusual() {
        let waiting = |reason: &str| {
            json!({"metadata": {"name": "p"}, "status": {"phase": "Pending",
                "containerStatuses": [{"state": {"waiting": {"reason": reason, "message": "why"}}}]}})
        };
        assert!(waits(&[waiting("ContainerCreating")]).is_empty());
        let pulls = waiting("ImagePullBackOff");
        assert_eq!(waits(&[pulls.clone(), pulls]), ["pod p waits: ImagePullBackOff: why"]);
    }
}
