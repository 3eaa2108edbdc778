//! BackupSchedules on the paper cluster: every run started once and every expired one deleted once, whenever
//! the controller dies; what cannot be done is told in the status.
#![allow(clippy::disallowed_methods, reason = "a test may unwrap")]

use cistern_api::{ObjectReference, Time};
use cistern_controller::schedules::{SCHEDULE_UID, Schedules};
use cistern_controller::{Rules, World};
use cistern_functions::ports::Cluster as _;
use cistern_functions::reference::of_kind;
use cistern_sim::cluster::{Fate, PaperCluster};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const HOME: &str = "kanister";

fn at(resource: &str, name: &str) -> ObjectReference {
    ObjectReference {
        api_version: "v1alpha1".to_owned(),
        group: "cistern.dev".to_owned(),
        resource: resource.to_owned(),
        ..ObjectReference::named(HOME, name)
    }
}

/// A cluster with a blueprint, a database, and a schedule `nightly` at three.
async fn cluster(more: Json) -> Arc<PaperCluster> {
    let cluster = Arc::new(PaperCluster::new(Vec::new()));
    cluster.add(json!({"kind": "Blueprint", "metadata": {"name": "bp", "namespace": HOME},
        "actions": {"backup": {"phases": []}, "delete": {"phases": []}}}));
    cluster.add(json!({"kind": "StatefulSet", "metadata": {"name": "db", "namespace": HOME}}));
    let mut spec = json!({
        "schedule": "0 3 * * *", "blueprint": "bp",
        "objects": [{"kind": "statefulset", "namespace": HOME, "name": "db"}],
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    cluster.create(&at("backupschedules", "nightly"), &json!({"spec": spec})).await.unwrap();
    cluster
}

/// One look at all schedules, at this moment; another controller goes on where one dies.
async fn look(cluster: &Arc<PaperCluster>, now: &str) {
    let now: Time = serde_json::from_value(json!(now)).unwrap();
    let world = World { identity: "test".to_owned(), now: Arc::new(move || now.clone()) };
    let schedules = Schedules::new(Arc::clone(cluster) as _, Rules::within(HOME), world);
    tokio::select! {
        looked = schedules.look_at_all() => looked.unwrap(),
        () = cluster.death() => cluster.revive(),
    }
}

/// Names of the ActionSets that are there.
fn sets(cluster: &PaperCluster) -> Vec<String> {
    let all = cluster.objects(&of_kind("actionset", HOME, ""));
    all.iter().map(|set| set["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

fn set(cluster: &PaperCluster, name: &str) -> Json {
    cluster.object(&of_kind("actionset", HOME, name)).unwrap()
}

/// Ends an ActionSet as the controller of ActionSets would.
fn end(cluster: &PaperCluster, name: &str, state: &str) {
    let set = set(cluster, name);
    let ordered = set["spec"]["actions"].as_array().unwrap();
    let done: Vec<Json> = ordered
        .iter()
        .map(|action| {
            json!({"name": action["name"], "object": action["object"], "blueprint": action["blueprint"],
                "artifacts": {"dump": {"keyValue": {"path": name}}}})
        })
        .collect();
    let patch = json!({"status": {"state": state, "actions": done}});
    cluster.change_by_hand(&of_kind("actionset", HOME, name), &patch);
}

fn status(cluster: &PaperCluster) -> Json {
    cluster.object(&at("backupschedules", "nightly")).unwrap()["status"].clone()
}

fn message(cluster: &PaperCluster) -> String {
    status(cluster)["message"].as_str().unwrap_or_default().to_owned()
}

/// Six nights, the third of which fails, and two are kept: how often each ActionSet was carried out.
async fn six_nights(cluster: &Arc<PaperCluster>) -> BTreeMap<String, usize> {
    let mut carried_out = BTreeMap::new();
    for night in 3..9 {
        for _ in 0..3 {
            let now = format!("2026-01-{night:02}T03:00:20Z");
            for _ in 0..3 {
                look(cluster, &now).await;
            }
            for name in sets(cluster) {
                if !set(cluster, &name)["status"].is_null() {
                    continue;
                }
                *carried_out.entry(name.clone()).or_default() += 1;
                end(
                    cluster,
                    &name,
                    if night == 5 && !name.ends_with("-expire") { "failed" } else { "complete" },
                );
            }
        }
    }
    carried_out
}

/// What must be true in the end, whatever happened on the way.
fn check(cluster: &PaperCluster, carried_out: &BTreeMap<String, usize>, about: &str) {
    let nights: Vec<&String> = carried_out.keys().filter(|name| !name.ends_with("-expire")).collect();
    assert_eq!(nights.len(), 6, "{about}: {carried_out:?}");
    let expired = [nights[0], nights[1], nights[3]].map(|name| format!("{name}-expire"));
    let expected: BTreeMap<String, usize> =
        nights.iter().map(|name| (*name).clone()).chain(expired).map(|name| (name, 1)).collect();
    assert_eq!(*carried_out, expected, "{about}: each once");
    let left = [nights[2], nights[4], nights[5]].map(Clone::clone);
    assert_eq!(sets(cluster), left, "{about}: the failed one, and the last two");
    let status = status(cluster);
    assert_eq!(status["lastScheduleTime"], "2026-01-08T03:00:00Z", "{about}");
    assert_eq!(status["lastSuccessfulTime"], "2026-01-08T03:00:00Z", "{about}");
    assert_eq!(status["nextScheduleTime"], "2026-01-09T03:00:00Z", "{about}");
    assert_eq!(status["lastActionSet"], nights[5].as_str(), "{about}");
    assert_eq!((&status["active"], &status["message"]), (&Json::Null, &Json::Null), "{about}");
}

#[tokio::test(start_paused = true)]
async fn a_death_at_any_write_loses_and_repeats_no_run() {
    let keep = json!({"retention": {"keepLast": 2}});
    let calm = cluster(keep.clone()).await;
    let carried_out = six_nights(&calm).await;
    check(&calm, &carried_out, "calm");
    let writes = calm.writes();
    assert!(writes > 20, "{writes}");
    for n in 2..=writes {
        for fate in [Fate::DiesBefore(n), Fate::DiesAfter(n), Fate::LosesReply(n)] {
            let about = format!("{fate:?} of {writes}");
            let cluster = cluster(keep.clone()).await;
            cluster.decree(fate);
            let carried_out = six_nights(&cluster).await;
            check(&cluster, &carried_out, &about);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_says_whose_it_is_and_hands_on_what_the_schedule_says() {
    let more = json!({"options": {"k": "v"}, "profile": {"namespace": HOME, "name": "p"},
        "secrets": {"pw": {"namespace": "app", "name": "pw"}}, "timeZone": "Europe/Berlin"});
    let cluster = cluster(more).await;
    look(&cluster, "2026-01-03T01:59:59Z").await;
    assert_eq!(
        (sets(&cluster).len(), &status(&cluster)["nextScheduleTime"]),
        (0, &json!("2026-01-03T02:00:00Z"))
    );
    look(&cluster, "2026-01-03T02:00:00Z").await;
    let [name] = sets(&cluster).try_into().unwrap();
    let made = set(&cluster, &name);
    let uid = &cluster.object(&at("backupschedules", "nightly")).unwrap()["metadata"]["uid"];
    assert_eq!(&made["metadata"]["labels"][SCHEDULE_UID], uid);
    assert_eq!(made["metadata"]["annotations"]["cistern.dev/scheduled-at"], "2026-01-03T02:00:00Z");
    let action = &made["spec"]["actions"][0];
    assert_eq!((&action["name"], &action["blueprint"]), (&json!("backup"), &json!("bp")));
    assert_eq!((&action["options"]["k"], &action["profile"]["name"]), (&json!("v"), &json!("p")));
    assert_eq!((&action["secrets"]["pw"]["name"], &action["object"]["name"]), (&json!("pw"), &json!("db")));
    assert_eq!(status(&cluster)["active"], json!([name]));
    let writes = cluster.writes();
    look(&cluster, "2026-01-03T02:00:30Z").await;
    assert_eq!(cluster.writes(), writes, "nothing to say, nothing written");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_due_waits_for_the_earlier_one_or_replaces_it() {
    for (policy, cancelled) in [("Forbid", false), ("Replace", true)] {
        let cluster = cluster(json!({"concurrencyPolicy": policy})).await;
        look(&cluster, "2026-01-03T03:00:00Z").await;
        let [first] = sets(&cluster).try_into().unwrap();
        for _ in 0..2 {
            look(&cluster, "2026-01-04T03:00:00Z").await;
        }
        assert_eq!(sets(&cluster), std::slice::from_ref(&first), "{policy}");
        assert!(message(&cluster).contains("waits for the earlier one"), "{policy}: {}", message(&cluster));
        let asked = !set(&cluster, &first)["metadata"]["annotations"]["cistern.dev/cancel"].is_null();
        assert_eq!(asked, cancelled, "{policy}");
        end(&cluster, &first, "failed");
        look(&cluster, "2026-01-04T03:05:00Z").await;
        assert_eq!((sets(&cluster).len(), message(&cluster)), (2, String::new()), "{policy}");
        assert_eq!(status(&cluster)["lastScheduleTime"], "2026-01-04T03:00:00Z");
    }
    let cluster = cluster(json!({"concurrencyPolicy": "Allow"})).await;
    look(&cluster, "2026-01-03T03:00:00Z").await;
    look(&cluster, "2026-01-04T03:00:00Z").await;
    assert_eq!(status(&cluster)["active"].as_array().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_missed_for_too_long_is_left_out_and_counted() {
    let cluster = cluster(json!({"startingDeadlineSeconds": 600})).await;
    look(&cluster, "2026-01-03T04:00:00Z").await;
    look(&cluster, "2026-01-03T04:01:00Z").await;
    assert_eq!((sets(&cluster).len(), &status(&cluster)["missed"]), (0, &json!(1)));
    look(&cluster, "2026-01-04T03:09:00Z").await;
    assert_eq!((sets(&cluster).len(), &status(&cluster)["missed"]), (1, &json!(1)));
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_told_and_made_up_for_when_it_is_mended() {
    let discovers = json!({"blueprint": "", "objects": [], "select": {}});
    let cluster = cluster(discovers).await;
    look(&cluster, "2026-01-03T03:00:00Z").await;
    assert!(message(&cluster).contains("it finds no object"), "{}", message(&cluster));
    let binding = json!({"spec": {"blueprint": "bp", "objects": {"kinds": ["statefulset"]}}});
    cluster.create(&at("blueprintbindings", "all"), &binding).await.unwrap();
    look(&cluster, "2026-01-03T03:10:00Z").await;
    let [name] = sets(&cluster).try_into().unwrap();
    assert_eq!(set(&cluster, &name)["spec"]["actions"][0]["blueprint"], "bp");
    assert_eq!(message(&cluster), "");
    for (patch, word) in [
        (json!({"schedule": "at noon"}), "spec.schedule \"at noon\""),
        (json!({"schedule": "@daily", "timeZone": "Mars"}), "spec.timeZone \"Mars\""),
    ] {
        cluster.change_by_hand(&at("backupschedules", "nightly"), &json!({ "spec": patch }));
        look(&cluster, "2026-01-04T03:00:00Z").await;
        assert!(message(&cluster).contains(word), "{}", message(&cluster));
    }
    assert_eq!(sets(&cluster).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn somebody_else_s_action_set_is_not_taken_for_a_run() {
    let first = cluster(json!({})).await;
    look(&first, "2026-01-03T03:00:00Z").await;
    let [name] = sets(&first).try_into().unwrap();
    let second = cluster(json!({})).await;
    second.add(json!({"kind": "ActionSet", "metadata": {"name": name, "namespace": HOME}}));
    look(&second, "2026-01-03T03:00:00Z").await;
    assert!(message(&second).contains(&format!("there is another ActionSet {name}")), "{}", message(&second));
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_and_nothing_expires_while_it_is_suspended() {
    let cluster = cluster(json!({"retention": {"keepLast": 1}})).await;
    for night in ["2026-01-03T03:00:00Z", "2026-01-04T03:00:00Z"] {
        look(&cluster, night).await;
        for name in sets(&cluster) {
            end(&cluster, &name, "complete");
        }
    }
    cluster.change_by_hand(&at("backupschedules", "nightly"), &json!({"spec": {"suspend": true}}));
    look(&cluster, "2026-01-05T03:00:00Z").await;
    assert_eq!((sets(&cluster).len(), &status(&cluster)["nextScheduleTime"]), (2, &Json::Null));
    cluster.change_by_hand(&at("backupschedules", "nightly"), &json!({"spec": {"suspend": false}}));
    look(&cluster, "2026-01-05T03:00:00Z").await;
    assert_eq!(sets(&cluster).len(), 4, "a run, and one that expires");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_deleted_stays_and_that_is_told() {
    let cluster = cluster(json!({"retention": {"keepLast": 1}})).await;
    let nights = ["2026-01-03T03:00:00Z", "2026-01-04T03:00:00Z"];
    for night in nights {
        look(&cluster, night).await;
        for name in sets(&cluster) {
            end(&cluster, &name, "complete");
        }
    }
    let runs = sets(&cluster);
    let expiry = format!("{}-expire", runs[0]);
    cluster.add(json!({"kind": "ActionSet", "metadata": {"name": expiry, "namespace": HOME}}));
    look(&cluster, nights[1]).await;
    let other = format!("there is another ActionSet {expiry}");
    assert!(message(&cluster).contains(&other), "{}", message(&cluster));
    cluster.delete_by_hand(&of_kind("actionset", HOME, &expiry));
    look(&cluster, nights[1]).await;
    let ordered = set(&cluster, &expiry)["spec"]["actions"][0].clone();
    assert_eq!((&ordered["name"], &ordered["blueprint"]), (&json!("delete"), &json!("bp")));
    assert_eq!(ordered["artifacts"]["dump"]["keyValue"]["path"], runs[0].as_str(), "what the run left");
    end(&cluster, &expiry, "failed");
    look(&cluster, nights[1]).await;
    assert!(message(&cluster).contains(&format!("see the ActionSet {expiry}")), "{}", message(&cluster));
    assert_eq!(sets(&cluster).len(), 3);
    // A blueprint that lost the action.
    cluster.delete_by_hand(&of_kind("actionset", HOME, &expiry));
    let lost = json!({"actions": {"delete": null}});
    cluster.change_by_hand(&of_kind("blueprint", HOME, "bp"), &lost);
    look(&cluster, nights[1]).await;
    assert!(message(&cluster).contains("blueprint bp has no action \"delete\""), "{}", message(&cluster));
    assert_eq!(sets(&cluster), runs);
}
