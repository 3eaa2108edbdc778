//! A Repository: checked, pruned and verified by Jobs whose pods run this program; damage made and told; its
//! snapshots listed.

use crate::jobs;
use crate::stage::Stage;
use crate::support::home::{Home, Ran, files_below, run};
use crate::support::seeded;
use crate::world::{MOVER, USER, json_of, until};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use serde_json::{Value as Json, json};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;

/// A repository with three snapshots, and a key that cannot read them.
struct Kept {
    home: Home,
    key: String,
}

impl Kept {
    fn new() -> Kept {
        let home = Home::new();
        home.ok(&["init"], b"");
        home.ok(&["push", "dumps/a"], &seeded("a", 3 << 20));
        home.ok(&["push", "dumps/a"], &seeded("b", 1 << 20));
        home.ok(&["push", "shop"], b"small");
        let file = home.path("care.key");
        home.ok(&["key", "export", "--role", "maintain", "-o", file.to_str().unwrap()], b"");
        let kept = Kept { key: std::fs::read_to_string(file).unwrap(), home };
        kept.hand_over();
        kept
    }

    /// The user of pods may write to it.
    fn hand_over(&self) {
        let owner = format!("{USER}:{USER}");
        let told = Command::new("chown").args(["-R", &owner]).arg(self.home.repository()).status();
        assert!(told.unwrap().success());
    }

    /// Changes one byte of the largest pack.
    fn rot(&self) {
        let mut packs = files_below(&self.home.repository().join("packs"));
        packs.sort_by_key(|path| path.metadata().unwrap().len());
        let file = std::fs::File::options().read(true).write(true).open(packs.pop().unwrap()).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 1 << 19).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 1 << 19).unwrap();
    }
}

fn repositories(stage: &Stage) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("cistern.dev", "v1alpha1", "Repository");
    let resource = ApiResource::from_gvk_with_plural(&kind, "repositories");
    Api::namespaced_with(stage.world.client.clone(), &stage.namespace, &resource)
}

/// A Repository of that name with a volume at `/repository`; both tasks are asked for, besides far-off times.
async fn apply(stage: &Stage, name: &str, folder: &Path, more: Json) {
    let mut spec = json!({
        "location": "/repository", "keySecretRef": { "name": "care" },
        "podOverride": {
            "containers": [{
                "name": "container", "volumeMounts": [{ "name": "place", "mountPath": "/repository" }],
            }],
            "volumes": [{ "name": "place", "hostPath": { "path": folder } }],
        },
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let wishes = json!({ "cistern.dev/prune-now": "1", "cistern.dev/verify-now": "1" });
    let repository = json!({
        "apiVersion": "cistern.dev/v1alpha1", "kind": "Repository",
        "metadata": { "name": name, "annotations": wishes }, "spec": spec,
    });
    stage.apply(&repository.to_string()).await;
}

/// Its status, once it is as wanted.
async fn status(stage: &Stage, name: &str, what: &str, wanted: impl Fn(&Json) -> bool) -> Json {
    let api = repositories(stage);
    until(&format!("{name}: {what}"), async || {
        let status = json_of(&api.get(name).await.ok()?)["status"].clone();
        wanted(&status).then_some(status)
    })
    .await
}

fn ended(status: &Json, task: &str) -> bool {
    status[task]["active"].is_null() && !status[task]["lastRun"].is_null()
}

fn condition<'s>(status: &'s Json, kind: &str) -> (&'s str, &'s str) {
    let found = status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == kind).unwrap();
    (found["status"].as_str().unwrap(), found["reason"].as_str().unwrap())
}

/// Waits until a controller has made its Jobs and they have ended; then the next controller takes note.
async fn jobs_end(stage: &Stage, count: usize) {
    let api: Api<Job> = Api::namespaced(stage.world.client.clone(), &stage.namespace);
    until(&format!("{count} Jobs have ended"), async || {
        let all = api.list(&ListParams::default()).await.ok()?;
        let ended =
            |job: &&Job| job.status.iter().any(|s| s.conditions.iter().flatten().any(|c| c.status == "True"));
        (all.iter().filter(ended).count() == count).then_some(())
    })
    .await;
}

/// `kanctl snapshots`.
fn snapshots(stage: &Stage, args: &[&str]) -> Ran {
    let mut command = Home::new().command(&["kanctl", "snapshots"]);
    command
        .args(args)
        .arg("--kubeconfig")
        .arg(&stage.world.kubeconfig)
        .args(["--namespace", &stage.namespace]);
    command.current_dir("/").env("HOME", "/nowhere");
    run(command, b"")
}

/// What it printed, where it must succeed.
fn listed(stage: &Stage, args: &[&str]) -> String {
    let ran = snapshots(stage, args);
    assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.err);
    String::from_utf8(ran.out).unwrap()
}

#[test]
fn a_repository_is_kept_in_shape_and_its_damage_is_told() {
    let Some(stage) = Stage::new("repositories") else { return };
    stage.world.play(async {
        let kept = Kept::new();
        let folder = kept.home.repository();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "care" }, "stringData": { "cistern-key": kept.key },
        });
        stage.apply(&secret.to_string()).await;
        let schedules = json!({
            "prune": { "schedule": "0 4 29 2 *" }, "verify": { "schedule": "0 4 29 2 *" },
            "retention": { "names": ["dumps/*"], "keepLast": 1 },
        });
        apply(&stage, "main", &folder, schedules).await;
        let image = format!("--mover-image={MOVER}cistern");
        let controller = stage.controller(&[&image]);
        status(&stage, "main", "all Jobs are made", |s| {
            ["check", "prune", "verify"].iter().all(|task| s[task]["active"].is_string())
        })
        .await;
        assert_eq!(controller.stop(), Some(0));
        let _jobs = jobs::carry_out(&stage.world.client, &stage.namespace);
        jobs_end(&stage, 3).await;
        no_credential(&stage, &kept.key).await;
        // Another controller takes note of what the Jobs of the first have done.
        let controller = stage.controller(&[&image]);
        let all = |s: &Json| ["check", "prune", "verify"].iter().all(|task| ended(s, task));
        let good = status(&stage, "main", "all Jobs are noted", all).await;
        for task in ["check", "prune", "verify"] {
            assert_eq!(good[task]["lastRun"]["result"], "Succeeded", "{task}: {good}");
        }
        assert_eq!((&good["snapshots"], condition(&good, "Ready")), (&json!(2), ("True", "Opened")), "{good}");
        assert_eq!(condition(&good, "Degraded"), ("False", "AsExpected"));
        assert!(good["sizeBytes"].as_i64().unwrap() > 4 << 20 && good["savings"].is_string(), "{good}");
        let message = good["prune"]["lastRun"]["message"].as_str().unwrap();
        assert!(message.starts_with("forgot 1 snapshots, kept 1 of those names"), "{message}");
        assert_eq!(controller.stop(), Some(0));

        kept.rot();
        let wish = json!({ "metadata": { "annotations": { "cistern.dev/verify-now": "2" } } });
        repositories(&stage).patch("main", &PatchParams::default(), &Patch::Merge(&wish)).await.unwrap();
        let controller = stage.controller(&[&image]);
        jobs_end(&stage, 4).await;
        assert_eq!(controller.stop(), Some(0));
        let controller = stage.controller(&[&image]);
        let bad = status(&stage, "main", "damage is told", |s| s["verify"]["lastRun"]["result"] == "Damaged").await;
        assert_eq!(condition(&bad, "Degraded"), ("True", "Damaged"), "{bad}");
        let finding = bad["verify"]["lastRun"]["findings"][0].as_str().unwrap();
        assert!(finding.starts_with("DAMAGE  packs/"), "{bad}");
        told(&stage).await;
        controller.assert_well();
        assert!(!controller.said().contains(kept.key.trim()), "no key in the log");
        list(&stage, &folder).await;
    });
}

/// Neither Jobs nor pods hold the key.
async fn no_credential(stage: &Stage, key: &str) {
    let (client, namespace) = (&stage.world.client, &stage.namespace);
    let jobs: Api<Job> = Api::namespaced(client.clone(), namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let jobs = jobs.list(&ListParams::default()).await.unwrap().items;
    let pods = pods.list(&ListParams::default()).await.unwrap().items;
    assert!(jobs.len() == 3 && pods.len() >= 3, "{} {}", jobs.len(), pods.len());
    assert!(!serde_json::to_string(&(jobs, pods)).unwrap().contains(key.trim()));
}

async fn told(stage: &Stage) {
    let events: Api<Event> = Api::namespaced(stage.world.client.clone(), &stage.namespace);
    until("an event tells of the damage", async || {
        let all = events.list(&ListParams::default()).await.ok()?;
        let damaged = |event: &Event| {
            event.reason.as_deref() == Some("Damaged")
                && event.involved_object.name.as_deref() == Some("main")
        };
        all.iter().any(damaged).then_some(())
    })
    .await;
}

/// The same repository where `kanctl` finds it.
async fn list(stage: &Stage, folder: &Path) {
    apply(stage, "here", folder, json!({ "location": folder, "suspend": true })).await;
    let unclear = snapshots(stage, &[]);
    assert_eq!(unclear.code, Some(2), "{unclear:?}");
    assert!(unclear.err.contains("which Repository? There are here, main"), "{}", unclear.err);
    // There is no such directory here: that of the volume of its Jobs.
    let elsewhere = snapshots(stage, &["--repository", "main"]);
    assert_eq!(elsewhere.code, Some(5), "{elsewhere:?}");
    let table = listed(stage, &["--repository", "here"]);
    let names: Vec<&str> =
        table.lines().skip(1).map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(names, ["dumps/a", "shop"], "{table}");
    let all: Json =
        serde_json::from_str(&listed(stage, &["--repository", "here", "--json", "shop"])).unwrap();
    assert_eq!(
        (&all["snapshots"][0]["raw_bytes"], all["snapshots"].as_array().unwrap().len()),
        (&json!(5), 1)
    );
}

#[test]
fn slices_are_pods_of_an_indexed_job_or_it_is_said_that_there_are_none() {
    let Some(stage) = Stage::new("slices") else { return };
    stage.world.play(async {
        let kept = Kept::new();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "care" }, "stringData": { "cistern-key": kept.key },
        });
        stage.apply(&secret.to_string()).await;
        let verify = json!({ "verify": { "schedule": "0 4 29 2 *", "slices": 3, "parallelism": 2 } });
        apply(&stage, "main", &kept.home.repository(), verify).await;
        let _jobs = jobs::carry_out(&stage.world.client, &stage.namespace);
        let image = format!("--mover-image={MOVER}cistern");
        let controller = stage.controller(&[&image]);
        let minor = stage.world.client.apiserver_version().await.unwrap().minor;
        let indexed = minor.trim_end_matches('+').parse::<u32>().unwrap() >= 22;
        let status = status(&stage, "main", "the verify is over", |s| ended(s, "verify")).await;
        let run = &status["verify"]["lastRun"];
        let (result, word) = match indexed {
            true => ("Succeeded", "3 slices; the first: level 2"),
            false => ("Failed", "set spec.verify.slices to 1"),
        };
        assert_eq!(run["result"], result, "{status}");
        assert!(run["message"].as_str().unwrap().contains(word), "{status}");
        controller.assert_well();
    });
}
