//! The Job of a task, as JSON: pure, from a Repository to a manifest.

use super::task::{Due, Task};
use crate::Rules;
use crate::events::fnv;
use crate::schedules::{SCHEDULED_AT, uid_tail};
use cistern_api::resource::OWN_API_VERSION;
use cistern_api::{ObjectReference, Repository, TaskStatus, VerifySchedule};
use cistern_functions::{mover, pod, profile, strategic};
use serde_json::{Value as Json, json};

/// Label of a Repository's Jobs and their pods: its uid.
pub const REPOSITORY_UID: &str = "cistern.dev/repository-uid";
/// Label of the same: `check`, `prune` or `verify`.
pub const TASK: &str = "cistern.dev/task";
/// Why a Job of several slices is taken away again where the API server makes another kind of Job of it.
pub(super) const NO_INDEX: &str = "spec.verify.slices needs Indexed Jobs, which this API server does not know \
                                   (Kubernetes has them since 1.22): set spec.verify.slices to 1, or spec.verify.inTurn";

/// Bytes of a Repository's name at the beginning of its Jobs' names: with what follows, the pods of an Indexed Job
/// have no more than 63.
const NAME_BYTES_MAX: usize = 30;
/// Where a container leaves its report for whoever reads the pod's status.
const REPORT: &str = "/dev/termination-log";
/// A pod that failed is made again so often.
const RETRIES: u32 = 3;
/// A Job is stopped after this unless its Repository says otherwise: a week.
const DEADLINE_SECS: i64 = 7 * 24 * 3600;
/// A Job that nobody has taken away goes so long after its end: a week.
const TTL_SECS: i64 = 7 * 24 * 3600;

/// Where a Job is.
pub(super) fn at(namespace: &str, name: &str) -> ObjectReference {
    ObjectReference {
        api_version: "v1".to_owned(),
        group: "batch".to_owned(),
        resource: "jobs".to_owned(),
        ..ObjectReference::named(namespace, name)
    }
}

/// The manifest. Its name follows from Repository, task and what is due.
///
/// # Errors
/// What is missing, or makes no sense, in words.
pub(super) fn manifest(
    repository: &Repository,
    task: Task,
    due: &Due,
    slot: &TaskStatus,
    rules: &Rules,
) -> Result<Json, String> {
    let meta = &repository.metadata;
    let (name, uid) = (meta.name.as_deref().unwrap_or_default(), meta.uid.as_deref().unwrap_or_default());
    let job = job_name(name, uid, task, due, slot);
    let labels = json!({ REPOSITORY_UID: uid, TASK: task.name() });
    let about = match due {
        Due::At(at) => json!({ SCHEDULED_AT: at.to_string() }),
        Due::Asked(_) => json!({}),
    };
    let owner = json!({ "apiVersion": OWN_API_VERSION, "kind": "Repository", "name": name, "uid": uid });
    let mut spec = json!({
        "backoffLimit": RETRIES,
        "activeDeadlineSeconds": deadline_secs(repository, task),
        "ttlSecondsAfterFinished": TTL_SECS,
        "template": {
            "metadata": { "labels": labels },
            "spec": pod_spec(repository, task, &job, rules)?,
        },
    });
    if let Some(verify) = spread(repository, task) {
        let slices = verify.slices();
        spec["completionMode"] = "Indexed".into();
        spec["completions"] = slices.into();
        spec["parallelism"] = verify.parallelism.unwrap_or(slices).min(slices).into();
        // Each slice may be tried again, not only so many of all.
        spec["backoffLimit"] = RETRIES.saturating_mul(slices).into();
    }
    Ok(json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": job, "namespace": meta.namespace, "labels": labels, "annotations": about,
            "ownerReferences": [owner],
        },
        "spec": spec,
    }))
}

/// The verify that is spread over the pods of an Indexed Job, if it is.
fn spread(repository: &Repository, task: Task) -> Option<&VerifySchedule> {
    let verify = repository.spec.verify.as_ref().filter(|_| task == Task::Verify)?;
    (verify.slices() > 1 && !verify.in_turn).then_some(verify)
}

/// Whether the API server has kept of the Job what it needs.
pub(super) fn is_whole(repository: &Repository, task: Task, job: &Json) -> bool {
    spread(repository, task).is_none() || job["spec"]["completionMode"] == "Indexed"
}

fn deadline_secs(repository: &Repository, task: Task) -> i64 {
    let spec = &repository.spec;
    let own = match task {
        Task::Check => None,
        Task::Prune => spec.prune.as_ref().and_then(|prune| prune.active_deadline_seconds),
        Task::Verify => spec.verify.as_ref().and_then(|verify| verify.active_deadline_seconds),
    };
    own.unwrap_or(DEADLINE_SECS)
}

fn pod_spec(repository: &Repository, task: Task, job: &str, rules: &Rules) -> Result<Json, String> {
    let image = rules.mover_image.as_deref().ok_or(
        "the controller has no image for it: start it with --mover-image (pods.injectKando of the chart)",
    )?;
    let mut container = pod::container(pod::CONTAINER, image, &command(repository, task));
    container["terminationMessagePath"] = REPORT.into();
    // Where there is no report, the last lines say why.
    container["terminationMessagePolicy"] = "FallbackToLogsOnError".into();
    let mut spec = json!({
        "restartPolicy": "Never", "containers": [container],
        // It talks to the store alone.
        "automountServiceAccountToken": false,
    });
    // The account may have a cloud's role for the store.
    let home = repository.metadata.namespace.as_deref() == Some(rules.namespace.as_str());
    if let Some(account) = rules.service_account.as_ref().filter(|_| home) {
        spec["serviceAccountName"] = account.clone().into();
    }
    if rules.restricted {
        pod::restrict(&mut spec);
    }
    if let Some(patch) = &repository.spec.pod_override {
        let patch = Json::Object(patch.clone());
        strategic::merge(&mut spec, &patch).map_err(|e| format!("spec.podOverride: {e}"))?;
    }
    profile::mount(&mut spec, job);
    Ok(spec)
}

fn command(repository: &Repository, task: Task) -> Vec<String> {
    let spec = &repository.spec;
    let mut words: Vec<String> =
        [mover::PROGRAM, "kando", "repository", task.name()].map(str::to_owned).into();
    words.extend(["--profile".to_owned(), profile::reference(), "--report".to_owned(), REPORT.to_owned()]);
    match task {
        Task::Check => {}
        Task::Prune => {
            if let Some(retention) = &spec.retention {
                let text = serde_json::to_string(retention).expect("a retention is always JSON");
                words.extend(["--retention".to_owned(), text]);
            }
            let zone = spec.prune.as_ref().and_then(|prune| prune.time_zone.as_deref());
            words.extend(["--tz".to_owned(), zone.unwrap_or("UTC").to_owned()]);
        }
        Task::Verify => {
            let verify = spec.verify.clone().unwrap_or_default();
            words.extend(["--level".to_owned(), verify.level().to_string()]);
            words.extend(["--slices".to_owned(), verify.slices().to_string()]);
            if verify.in_turn {
                words.push("--in-turn".to_owned());
            }
        }
    }
    words
}

/// Repository, task, when it was due in minutes since 1970 (or what was asked, as eight letters), some of the
/// Repository's uid. No dots: pods of an Indexed Job have host names made of it.
fn job_name(name: &str, uid: &str, task: Task, due: &Due, slot: &TaskStatus) -> String {
    let beginning: String = name.chars().take(NAME_BYTES_MAX).collect::<String>().replace('.', "-");
    let what = match due {
        Due::At(at) => (at.as_second() / 60).to_string(),
        // The same may be asked again.
        Due::Asked(request) => {
            let before = slot.last_run.as_ref().map_or("", |run| run.job.as_str());
            format!("{:08x}", fnv(format!("{request}/{before}").as_bytes()) >> 32)
        }
    };
    format!("{}-{}-{what}-{}", beginning.trim_end_matches('-'), task.name(), uid_tail(uid))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test may unwrap")]

    use super::*;

    const UID: &str = "0b5f3c1e-8f5d-4f7a-9c55-2f0a6d9e1b7c";

    fn made(spec: Json, task: Task) -> Json {
        let repository: Repository = serde_json::from_value(json!({
            "metadata": {"name": "main", "namespace": "kanister", "uid": UID}, "spec": spec,
        }))
        .unwrap();
        let mut rules = Rules::within("kanister");
        rules.mover_image = Some("cistern:1".to_owned());
        rules.service_account = Some("cistern".to_owned());
        let due = Due::At("2026-01-02T03:00:00Z".parse().unwrap());
        manifest(&repository, task, &due, &TaskStatus::default(), &rules).unwrap()
    }

    fn words(job: &Json) -> String {
        let words = job["spec"]["template"]["spec"]["containers"][0]["command"].as_array().unwrap();
        words.iter().map(|word| word.as_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_job_is_restricted_bounded_owned_and_has_its_credential_from_a_secret() {
        let job = made(json!({"location": "s3://b/p", "prune": {"schedule": "@daily"}}), Task::Prune);
        assert_eq!(job["metadata"]["name"], "main-prune-29455380-e1b7c");
        assert_eq!(job["metadata"]["ownerReferences"][0]["uid"], UID);
        let spec = &job["spec"];
        assert_eq!((&spec["backoffLimit"], &spec["activeDeadlineSeconds"]), (&json!(3), &json!(604_800)));
        let pod = &spec["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"], false);
        assert_eq!(
            (&pod["automountServiceAccountToken"], &pod["serviceAccountName"]),
            (&json!(false), &json!("cistern"))
        );
        assert_eq!(pod["volumes"][0]["secret"]["secretName"], "main-prune-29455380-e1b7c-profile");
        assert!(words(&job).starts_with("/cistern kando repository prune --profile "), "{}", words(&job));
        assert!(words(&job).ends_with(" --tz UTC"), "{}", words(&job));
        assert_eq!(spec["completionMode"], Json::Null);
    }

    #[test]
    fn a_verify_of_slices_is_an_indexed_job_and_one_in_turn_is_not() {
        let verify = json!({"schedule": "@weekly", "slices": 8, "parallelism": 3});
        let job = made(json!({ "verify": verify }), Task::Verify);
        let spec = &job["spec"];
        assert_eq!(
            (&spec["completionMode"], &spec["completions"], &spec["parallelism"], &spec["backoffLimit"]),
            (&json!("Indexed"), &json!(8), &json!(3), &json!(24))
        );
        assert!(words(&job).ends_with("--level 2 --slices 8"), "{}", words(&job));
        let verify = json!({"schedule": "@daily", "slices": 30, "inTurn": true, "level": 3});
        let job = made(json!({ "verify": verify }), Task::Verify);
        assert_eq!(job["spec"]["completions"], Json::Null);
        assert!(words(&job).ends_with("--level 3 --slices 30 --in-turn"), "{}", words(&job));
    }

    #[test]
    fn names_fit_whatever_the_repository_s_and_what_was_asked() {
        let slot = TaskStatus::default();
        let name = job_name(&"long.".repeat(40), UID, Task::Verify, &Due::Asked("x".repeat(5000)), &slot);
        assert!(name.len() + "-999-x2x4v".len() <= 63 && !name.contains('.'), "{name}");
        assert!(profile::secret_name(&name).len() <= 253);
        let again = job_name("main", UID, Task::Check, &Due::Asked("a".to_owned()), &slot);
        assert_eq!(again, job_name("main", UID, Task::Check, &Due::Asked("a".to_owned()), &slot));
        let run = cistern_api::TaskRun { job: again.clone(), ..Default::default() };
        let later = TaskStatus { last_run: Some(run), ..TaskStatus::default() };
        assert_ne!(again, job_name("main", UID, Task::Check, &Due::Asked("a".to_owned()), &later));
    }

    #[test]
    fn an_override_is_laid_over_the_pod() {
        let over = json!({"nodeSelector": {"disk": "big"}, "containers": [{"name": "container",
            "resources": {"limits": {"memory": "4Gi"}}}]});
        let job = made(json!({"location": "/nfs/r", "podOverride": over}), Task::Check);
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(pod["nodeSelector"]["disk"], "big");
        assert_eq!(pod["containers"].as_array().unwrap().len(), 1);
        assert_eq!(pod["containers"][0]["resources"]["limits"]["memory"], "4Gi");
        assert!(pod["containers"][0]["volumeMounts"].is_array());
    }
}
