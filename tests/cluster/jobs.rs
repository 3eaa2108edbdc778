//! Jobs in a namespace where no controller-manager runs: pods made of their template, their end in their status.
//!
//! What is there is what our Jobs use: completions, parallelism, completion indexes, a limit of failures.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::task::AbortHandle;

const LOOK_EVERY: Duration = Duration::from_millis(200);
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// Carries out Jobs until it is dropped.
pub struct Jobs(AbortHandle);

impl Drop for Jobs {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Begins to carry out the Jobs of a namespace; within a runtime.
pub fn carry_out(client: &Client, namespace: &str) -> Jobs {
    let jobs: Api<Job> = Api::namespaced(client.clone(), namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let task = tokio::spawn(async move {
        loop {
            // What does not work now is tried again.
            for job in jobs.list(&ListParams::default()).await.into_iter().flatten() {
                if let Err(error) = attend(&jobs, &pods, &job).await {
                    println!("the Job {}: {error}", job.name_any());
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    });
    Jobs(task.abort_handle())
}

async fn attend(jobs: &Api<Job>, pods: &Api<Pod>, job: &Job) -> kube::Result<()> {
    let ended = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    if ended.into_iter().any(|c| c.status == "True" && (c.type_ == "Complete" || c.type_ == "Failed")) {
        return Ok(());
    }
    let spec = serde_json::to_value(&job.spec).unwrap();
    let indexed = spec["completionMode"] == "Indexed";
    let number = |field: &str| spec[field].as_u64().unwrap_or(1);
    let name = job.name_any();
    let all = pods.list(&ListParams::default().labels(&format!("job-name={name}"))).await?.items;
    let of = |phase: &str| all.iter().filter(|pod| phase_of(pod) == phase).collect::<Vec<_>>();
    let (good, bad) = (of("Succeeded"), of("Failed"));
    let done: BTreeSet<u64> = good.iter().map(|pod| index_of(pod)).collect();
    let complete = if indexed { done.len() } else { good.len() } as u64;
    if complete >= number("completions") {
        return end(jobs, &name, "Complete", "").await;
    }
    if bad.len() as u64 > number("backoffLimit") {
        return end(jobs, &name, "Failed", "Job has reached the specified backoff limit").await;
    }
    let busy: BTreeSet<u64> =
        all.iter().filter(|pod| !["Succeeded", "Failed"].contains(&phase_of(pod))).map(index_of).collect();
    let active = all.len() - good.len() - bad.len();
    let room = number("parallelism").min(number("completions") - complete).saturating_sub(active as u64);
    let free = (0..number("completions")).filter(|i| !indexed || !(done.contains(i) || busy.contains(i)));
    for (more, index) in free.take(usize::try_from(room).unwrap()).enumerate() {
        let pod = pod(job, &spec["template"], all.len() + more, indexed.then_some(index));
        pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await?;
    }
    Ok(())
}

fn phase_of(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

fn index_of(pod: &Pod) -> u64 {
    pod.annotations().get(INDEX).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn pod(job: &Job, template: &Json, number: usize, index: Option<u64>) -> Json {
    let mut pod = json!({ "metadata": template["metadata"], "spec": template["spec"] });
    let meta = &mut pod["metadata"];
    meta["name"] = format!("{}-{number}", job.name_any()).into();
    meta["labels"]["job-name"] = job.name_any().into();
    meta["ownerReferences"] = json!([{
        "apiVersion": "batch/v1", "kind": "Job", "name": job.name_any(), "uid": job.uid(), "controller": true,
    }]);
    if let Some(index) = index {
        meta["annotations"] = json!({ INDEX: index.to_string() });
        for container in pod["spec"]["containers"].as_array_mut().unwrap() {
            let variable = json!({ "name": "JOB_COMPLETION_INDEX", "value": index.to_string() });
            container["env"] = json!([variable]);
        }
    }
    pod
}

async fn end(jobs: &Api<Job>, name: &str, kind: &str, message: &str) -> kube::Result<()> {
    let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap().to_string();
    // Since 1.31 the API server takes the end only together with what led to it.
    let before = if kind == "Complete" { "SuccessCriteriaMet" } else { "FailureTarget" };
    let conditions = [before, kind].map(|kind| {
        json!({ "type": kind, "status": "True", "message": message, "lastTransitionTime": now, "lastProbeTime": now })
    });
    let mut status = json!({ "conditions": conditions, "startTime": now });
    if kind == "Complete" {
        status["completionTime"] = now.into();
    }
    let patch = Patch::Merge(json!({ "status": status }));
    jobs.patch_status(name, &PatchParams::default(), &patch).await.map(drop)
}
