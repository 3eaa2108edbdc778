//! Repositories on the paper cluster: every run one Job, whenever the controller dies; what came of it in the
//! status, in events, in metrics; no credential in a Job.
#![allow(clippy::disallowed_methods, reason = "a test may unwrap")]

use base64::Engine as _;
use cistern_api::wire::{RepositorySize, UpkeepReport};
use cistern_api::{ObjectReference, Time};
use cistern_controller::repositories::{REPOSITORY_UID, Repositories, TASK, at};
use cistern_controller::{Metrics, Rules, World};
use cistern_functions::ports::Cluster as _;
use cistern_functions::reference::of_kind;
use cistern_sim::cluster::{Fate, PaperCluster};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const HOME: &str = "kanister";
const KEY: &str = "CISTERN-KEY-SECRET";

fn jobs_at(name: &str) -> ObjectReference {
    ObjectReference {
        api_version: "v1".to_owned(),
        group: "batch".to_owned(),
        resource: "jobs".to_owned(),
        ..ObjectReference::named(HOME, name)
    }
}

/// A cluster with a key, and a Repository `main` that is pruned at one and verified at three.
async fn cluster(more: Json) -> Arc<PaperCluster> {
    let cluster = Arc::new(PaperCluster::new(Vec::new()));
    let key = base64::engine::general_purpose::STANDARD.encode(KEY);
    cluster.add(json!({"kind": "Secret", "metadata": {"name": "key", "namespace": HOME}, "data": {"cistern-key": key}}));
    let mut spec = json!({
        "location": "s3://bucket/repository", "keySecretRef": {"name": "key"},
        "prune": {"schedule": "0 1 * * *"}, "verify": {"schedule": "0 3 * * *"},
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    cluster.create(&at(HOME, "main"), &json!({ "spec": spec })).await.unwrap();
    cluster
}

fn repositories(cluster: &Arc<PaperCluster>, now: &str, metrics: &Arc<Metrics>) -> Repositories {
    let now: Time = serde_json::from_value(json!(now)).unwrap();
    let world = World { identity: "test".to_owned(), now: Arc::new(move || now.clone()) };
    let mut rules = Rules::within(HOME);
    rules.mover_image = Some("cistern:1".to_owned());
    Repositories::new(Arc::clone(cluster) as _, rules, world).counting(Arc::clone(metrics))
}

/// One look at all Repositories, at this moment; another controller goes on where one dies.
async fn look(cluster: &Arc<PaperCluster>, now: &str) {
    let repositories = repositories(cluster, now, &Arc::new(Metrics::new()));
    tokio::select! {
        looked = repositories.look_at_all() => looked.unwrap(),
        () = cluster.death() => cluster.revive(),
    }
}

/// The same by a controller that goes on until its events are written; what it has counted.
async fn work(cluster: &Arc<PaperCluster>, now: &str) -> String {
    let metrics = Arc::new(Metrics::new());
    let page = {
        let mut run = std::pin::pin!(repositories(cluster, now, &metrics).run());
        let _ = tokio::time::timeout(Duration::from_secs(10), &mut run).await;
        metrics.render()
    };
    assert!(!metrics.render().contains("repository=\"main\""), "who leads no longer says nothing");
    page
}

/// Jobs that have not ended.
fn under_way(cluster: &PaperCluster) -> Vec<Json> {
    let all = cluster.objects(&jobs_at(""));
    all.into_iter().filter(|job| job["status"]["conditions"].is_null()).collect()
}

fn name(object: &Json) -> String {
    object["metadata"]["name"].as_str().unwrap().to_owned()
}

fn report(damages: i64) -> UpkeepReport {
    let size = RepositorySize {
        size: "1.0 GiB".to_owned(),
        savings: "9.5x".to_owned(),
        pack_bytes: 1 << 30,
        stream_bytes: 10_200_547_328,
        snapshots: 12,
        newest_ms: Some(1_767_000_000_123),
        measured_ms: 1_767_300_000_000,
    };
    let findings = if damages > 0 { vec!["DAMAGE  packs/01: wrong bytes".to_owned()] } else { Vec::new() };
    UpkeepReport { size: Some(size), done: "all is well".to_owned(), damages, findings }
}

/// Ends a Job as the controller of Jobs would: a pod for each slice, with what it left behind.
fn end(cluster: &PaperCluster, job: &Json, kind: &str, messages: &[String]) {
    let job = name(job);
    for (index, message) in messages.iter().enumerate() {
        let phase = if kind == "Complete" { "Succeeded" } else { "Failed" };
        cluster.add(json!({
            "kind": "Pod",
            "metadata": {"name": format!("{job}-{index}"), "namespace": HOME, "labels": {"job-name": job},
                "annotations": {"batch.kubernetes.io/job-completion-index": index.to_string()}},
            "status": {"phase": phase, "containerStatuses": [{"state": {"terminated": {"message": message}}}]},
        }));
    }
    let condition = json!({"type": kind, "status": "True", "message": "Job has ended"});
    cluster.change_by_hand(&jobs_at(&job), &json!({"status": {"conditions": [condition]}}));
}

fn status(cluster: &PaperCluster) -> Json {
    cluster.object(&at(HOME, "main")).unwrap()["status"].clone()
}

fn condition(cluster: &PaperCluster, kind: &str) -> (String, String) {
    let status = status(cluster);
    let found = status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == kind).unwrap().clone();
    (found["status"].as_str().unwrap().to_owned(), found["reason"].as_str().unwrap().to_owned())
}

/// Four nights, each with a prune and a verify; how often each Job was carried out.
async fn four_nights(cluster: &Arc<PaperCluster>) -> BTreeMap<String, usize> {
    let mut carried_out = BTreeMap::new();
    for night in 3..7 {
        for time in ["01:00:20", "03:00:20"] {
            for _ in 0..3 {
                for _ in 0..3 {
                    look(cluster, &format!("2026-01-{night:02}T{time}Z")).await;
                }
                for job in under_way(cluster) {
                    let secret = format!("{}-profile", name(&job));
                    assert!(cluster.object(&of_kind("secret", HOME, &secret)).is_some(), "{secret}");
                    *carried_out.entry(name(&job)).or_default() += 1;
                    end(cluster, &job, "Complete", &[report(0).to_json()]);
                }
            }
        }
    }
    carried_out
}

/// What must be true in the end, whatever happened on the way.
fn check(cluster: &PaperCluster, carried_out: &BTreeMap<String, usize>, about: &str) {
    let of = |task: &str| carried_out.keys().filter(|name| name.contains(&format!("-{task}-"))).count();
    assert_eq!((of("check"), of("prune"), of("verify")), (1, 4, 4), "{about}: {carried_out:?}");
    assert!(carried_out.values().all(|times| *times == 1), "{about}: each once: {carried_out:?}");
    let status = status(cluster);
    assert_eq!(status["prune"]["lastScheduleTime"], "2026-01-06T01:00:00Z", "{about}");
    assert_eq!(status["verify"]["lastScheduleTime"], "2026-01-06T03:00:00Z", "{about}");
    assert_eq!(status["verify"]["nextScheduleTime"], "2026-01-07T03:00:00Z", "{about}");
    assert_eq!(status["verify"]["lastRun"]["result"], "Succeeded", "{about}");
    assert_eq!((&status["snapshots"], &status["sizeBytes"]), (&json!(12), &json!(1 << 30)), "{about}");
    assert_eq!((&status["savings"], &status["message"]), (&json!("9.5x"), &Json::Null), "{about}");
    assert_eq!(status["verify"]["active"], Json::Null, "{about}");
    assert_eq!(condition(cluster, "Ready").0, "True", "{about}");
    assert_eq!(condition(cluster, "Degraded").0, "False", "{about}");
    let left = cluster.objects(&jobs_at(""));
    let left = |task: &str| left.iter().filter(|job| job["metadata"]["labels"][TASK] == task).count();
    // One that died while it took them away leaves that to the next night.
    assert!((3..=4).contains(&left("prune")) && (3..=4).contains(&left("verify")), "{about}");
}

#[tokio::test(start_paused = true)]
async fn a_death_at_any_write_loses_and_repeats_no_run() {
    let calm = cluster(json!({})).await;
    let carried_out = four_nights(&calm).await;
    check(&calm, &carried_out, "calm");
    let writes = calm.writes();
    assert!(writes > 30, "{writes}");
    for n in 2..=writes {
        for fate in [Fate::DiesBefore(n), Fate::DiesAfter(n), Fate::LosesReply(n)] {
            let cluster = cluster(json!({})).await;
            cluster.decree(fate);
            let carried_out = four_nights(&cluster).await;
            check(&cluster, &carried_out, &format!("{fate:?} of {writes}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_credential_stands_in_a_job_and_its_secret_goes_with_it() {
    let cluster = cluster(json!({})).await;
    look(&cluster, "2026-01-03T03:00:00Z").await;
    let jobs = under_way(&cluster);
    assert_eq!(jobs.len(), 3, "a check, a prune, a verify");
    let uid = &cluster.object(&at(HOME, "main")).unwrap()["metadata"]["uid"];
    for job in &jobs {
        assert!(!job.to_string().contains(KEY), "{job}");
        assert_eq!(&job["metadata"]["labels"][REPOSITORY_UID], uid);
        assert_eq!(&job["metadata"]["ownerReferences"][0]["uid"], uid);
        let secret = cluster.object(&of_kind("secret", HOME, &format!("{}-profile", name(job)))).unwrap();
        let content: Json =
            serde_json::from_str(secret["stringData"]["profile.json"].as_str().unwrap()).unwrap();
        assert_eq!(
            content["cistern.dev/repository"],
            json!({"key": KEY, "location": "s3://bucket/repository"})
        );
        assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], job["metadata"]["uid"]);
    }
    let writes = cluster.writes();
    look(&cluster, "2026-01-03T03:00:15Z").await;
    assert_eq!(cluster.writes(), writes, "nothing to say, nothing written");
}

#[tokio::test(start_paused = true)]
async fn what_opens_it_comes_from_its_profile_and_what_it_says_itself_wins() {
    let coded = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let opened = async |more: Json| {
        let cluster = cluster(more).await;
        for (name, data) in [
            ("bucket", json!({"id": coded("ID"), "secret": coded("SECRET")})),
            (
                "owner",
                json!({"cistern-key": coded("OWNER"), "cistern-repository": coded("s3://bucket/there\n")}),
            ),
        ] {
            cluster
                .add(json!({"kind": "Secret", "metadata": {"name": name, "namespace": HOME}, "data": data}));
        }
        let pair = json!({"idField": "id", "secretField": "secret", "secret": {"name": "bucket", "namespace": HOME}});
        cluster.add(json!({
            "kind": "Profile",
            "metadata": {"name": "p", "namespace": HOME, "annotations": {"cistern.dev/repository-secret": "owner"}},
            "location": {"type": "s3Compliant", "bucket": "bucket"},
            "credential": {"type": "keyPair", "keyPair": pair},
        }));
        look(&cluster, "2026-01-03T00:00:00Z").await;
        let [job] = under_way(&cluster).try_into().unwrap();
        let secret = cluster.object(&of_kind("secret", HOME, &format!("{}-profile", name(&job)))).unwrap();
        serde_json::from_str::<Json>(secret["stringData"]["profile.json"].as_str().unwrap()).unwrap()
    };
    let from_profile = json!({"profile": {"name": "p"}, "location": "", "keySecretRef": null});
    let content = opened(from_profile.clone()).await;
    assert_eq!(content["Credential"]["KeyPair"], json!({"ID": "ID", "Secret": "SECRET"}));
    let wanted = json!({"key": "OWNER", "location": "s3://bucket/there"});
    assert_eq!(content["cistern.dev/repository"], wanted);
    let mut own = from_profile;
    own["keySecretRef"] = json!({"name": "key"});
    let wanted = json!({"key": KEY, "location": "s3://bucket/there"});
    assert_eq!(opened(own.clone()).await["cistern.dev/repository"], wanted);
    own["location"] = "s3://bucket/here".into();
    let wanted = json!({"key": KEY, "location": "s3://bucket/here"});
    assert_eq!(opened(own).await["cistern.dev/repository"], wanted);
}

#[tokio::test(start_paused = true)]
async fn damage_is_told_in_status_events_and_metrics_until_a_verify_finds_none() {
    let cluster = cluster(json!({})).await;
    look(&cluster, "2026-01-03T03:00:00Z").await;
    for job in under_way(&cluster) {
        let damages = i64::from(job["metadata"]["labels"][TASK] == "verify");
        end(&cluster, &job, "Complete", &[report(damages).to_json()]);
    }
    let page = work(&cluster, "2026-01-03T03:30:00Z").await;
    assert_eq!(condition(&cluster, "Degraded"), ("True".to_owned(), "Damaged".to_owned()));
    assert_eq!(condition(&cluster, "Ready").0, "True", "it opens, and what is sound can be restored");
    let run = status(&cluster)["verify"]["lastRun"].clone();
    assert_eq!((&run["result"], &run["damages"]), (&json!("Damaged"), &json!(1)));
    assert_eq!(run["findings"], json!(["DAMAGE  packs/01: wrong bytes"]));
    assert_eq!(status(&cluster)["verify"]["lastSuccessfulTime"], Json::Null);
    let events = ObjectReference {
        api_version: "v1".to_owned(),
        resource: "events".to_owned(),
        ..ObjectReference::named(HOME, "")
    };
    let told: Vec<(Json, Json, Json)> = cluster
        .objects(&events)
        .into_iter()
        .map(|e| (e["type"].clone(), e["reason"].clone(), e["involvedObject"]["apiVersion"].clone()))
        .collect();
    assert!(told.contains(&(json!("Warning"), json!("Damaged"), json!("cistern.dev/v1alpha1"))), "{told:?}");
    assert!(told.contains(&(json!("Normal"), json!("Pruned"), json!("cistern.dev/v1alpha1"))), "{told:?}");
    let of = r#"repository_namespace="kanister",repository="main""#;
    for line in [
        format!("cistern_repository_damages{{{of}}} 1"),
        format!("cistern_repository_degraded{{{of}}} 1"),
        format!("cistern_repository_size_bytes{{{of}}} 1073741824"),
        format!("cistern_repository_snapshots{{{of}}} 12"),
    ] {
        assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
    }
    // Asked for by a user, after a repair.
    let wish = json!({"metadata": {"annotations": {"cistern.dev/verify-now": "repaired"}}});
    cluster.change_by_hand(&at(HOME, "main"), &wish);
    look(&cluster, "2026-01-03T04:00:00Z").await;
    let [job] = under_way(&cluster).try_into().unwrap();
    end(&cluster, &job, "Complete", &[report(0).to_json()]);
    let page = work(&cluster, "2026-01-03T04:10:00Z").await;
    assert_eq!(condition(&cluster, "Degraded").0, "False");
    assert!(page.contains(&format!("cistern_repository_damages{{{of}}} 0")), "{page}");
    assert!(under_way(&cluster).is_empty(), "once for each value");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_failed_says_why_and_one_that_vanished_too() {
    let cluster = cluster(json!({"verify": null})).await;
    look(&cluster, "2026-01-03T01:00:00Z").await;
    for job in under_way(&cluster) {
        if job["metadata"]["labels"][TASK] == "prune" {
            end(&cluster, &job, "Failed", &["cistern: cannot list packs: no answer".to_owned()]);
        } else {
            cluster.delete_by_hand(&jobs_at(&name(&job)));
        }
    }
    look(&cluster, "2026-01-03T02:00:00Z").await;
    let status = status(&cluster);
    let message = status["prune"]["lastRun"]["message"].as_str().unwrap();
    assert!(message.contains("no answer"), "{message}");
    let message = status["check"]["lastRun"]["message"].as_str().unwrap();
    assert!(message.contains("taken away"), "{message}");
    assert_eq!(condition(&cluster, "Degraded"), ("True".to_owned(), "PruneFailed".to_owned()));
    assert_eq!(condition(&cluster, "Ready").0, "False");
    // The check is made again after a while, under another name.
    look(&cluster, "2026-01-03T02:16:00Z").await;
    assert_eq!(under_way(&cluster).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_told_and_made_up_for_when_it_is_there() {
    let cluster = cluster(json!({"keySecretRef": {"name": "other"}, "verify": null})).await;
    look(&cluster, "2026-01-03T01:10:00Z").await;
    let message = status(&cluster)["message"].as_str().unwrap().to_owned();
    assert!(message.contains("prune cannot be started: there is no secrets kanister/other"), "{message}");
    assert_eq!(condition(&cluster, "Degraded"), ("True".to_owned(), "Hindered".to_owned()));
    assert!(under_way(&cluster).is_empty());
    cluster.add(
        json!({"kind": "Secret", "metadata": {"name": "other", "namespace": HOME}, "data": {"x": "eA=="}}),
    );
    look(&cluster, "2026-01-03T01:20:00Z").await;
    let message = status(&cluster)["message"].as_str().unwrap().to_owned();
    assert!(message.contains("has none of cistern-repository, cistern-key, cistern-passphrase"), "{message}");
    let data = json!({"data": {"cistern-passphrase": "eA=="}});
    cluster.change_by_hand(&of_kind("secret", HOME, "other"), &data);
    look(&cluster, "2026-01-03T01:30:00Z").await;
    assert_eq!(under_way(&cluster).len(), 2);
    assert_eq!(status(&cluster)["prune"]["lastScheduleTime"], "2026-01-03T01:00:00Z");
    assert_eq!(status(&cluster)["message"], Json::Null);
}

#[tokio::test(start_paused = true)]
async fn of_several_missed_times_the_last_is_made_up_for_and_none_while_suspended() {
    let cluster = cluster(json!({"suspend": true})).await;
    look(&cluster, "2026-01-05T12:00:00Z").await;
    assert!(under_way(&cluster).is_empty());
    assert_eq!(status(&cluster)["prune"]["nextScheduleTime"], Json::Null);
    cluster.change_by_hand(&at(HOME, "main"), &json!({"spec": {"suspend": false}}));
    for _ in 0..2 {
        look(&cluster, "2026-01-05T12:00:00Z").await;
    }
    assert_eq!(under_way(&cluster).len(), 3, "a check, a prune, a verify");
    // One that runs on into the next night is not joined by another.
    look(&cluster, "2026-01-06T12:00:00Z").await;
    assert_eq!(under_way(&cluster).len(), 3);
    assert_eq!(status(&cluster)["prune"]["lastScheduleTime"], "2026-01-05T01:00:00Z");
}

#[tokio::test(start_paused = true)]
async fn a_verify_is_spread_over_an_indexed_job_where_there_are_such() {
    let verify = json!({"schedule": "0 3 * * *", "slices": 3, "parallelism": 2});
    let spread = cluster(json!({"prune": null, "verify": verify})).await;
    look(&spread, "2026-01-03T03:00:00Z").await;
    let job = under_way(&spread).into_iter().find(|job| job["metadata"]["labels"][TASK] == "verify").unwrap();
    assert_eq!((&job["spec"]["completions"], &job["spec"]["parallelism"]), (&json!(3), &json!(2)));
    let messages = [0, 2, 0].map(|damages| report(damages).to_json());
    end(&spread, &job, "Complete", &messages);
    look(&spread, "2026-01-03T04:00:00Z").await;
    assert_eq!(status(&spread)["verify"]["lastRun"]["damages"], 2);
    // An API server before 1.22 makes an ordinary Job of it.
    let old = cluster(json!({"prune": null, "verify": verify})).await;
    old.forget_completion_modes();
    look(&old, "2026-01-03T03:00:00Z").await;
    look(&old, "2026-01-03T03:01:00Z").await;
    assert!(under_way(&old).iter().all(|job| job["metadata"]["labels"][TASK] == "check"), "it is taken away");
    let message = status(&old)["verify"]["lastRun"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("set spec.verify.slices to 1"), "{message}");
    assert_eq!(condition(&old, "Degraded"), ("True".to_owned(), "VerifyFailed".to_owned()));
}
