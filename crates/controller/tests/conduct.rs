//! What users say about how an ActionSet is carried out, and what they are told: cancel, suspend, limits, further
//! attempts, events, conditions; thousands of ActionSets at once.
#![allow(clippy::disallowed_methods, reason = "a test may unwrap")]

mod paper;

use cistern_api::wire::{output_line, progress_line};
use cistern_api::{ActionSetStatus, ObjectReference, Phase, PhaseProgress, State};
use cistern_controller::{Metrics, Place, Rules};
use cistern_functions::ports::{Cluster as _, Patch};
use cistern_functions::reference::of_kind;
use cistern_sim::cluster::{Fate, PaperCluster, Plot};
use paper::{HOME, action_set, all_ended, began, controller, controller_by, error, run, state, task};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

/// A dump of 40 seconds, a check of ten, and something that runs last; or one command in a container.
fn blueprint(annotations: Json) -> Json {
    let exec = json!({ "func": "KubeExec", "name": "exec", "args": { "namespace": "app", "pod": "db-0",
        "command": ["exec-{{ .Options.of }}"] } });
    json!({
        "kind": "Blueprint",
        "metadata": { "name": "bp", "namespace": HOME, "uid": "uid-bp", "annotations": annotations },
        "actions": {
            "backup": { "phases": [task("dump", "dump"), task("check", "check")], "deferPhase": task("tidy", "tidy") },
            "exec": { "phases": [exec], "deferPhase": task("tidy", "tidy") },
        },
    })
}

fn set(name: &str, action: &str, annotations: Json) -> Json {
    let object = json!({ "kind": "Namespace", "name": "app", "namespace": "app" });
    let action = json!({ "name": action, "blueprint": "bp", "object": object, "options": { "of": name } });
    let metadata =
        json!({ "name": name, "namespace": HOME, "uid": format!("uid-{name}"), "annotations": annotations });
    json!({ "apiVersion": "cr.kanister.io/v1alpha1", "kind": "ActionSet",
        "metadata": metadata, "spec": { "actions": [action] } })
}

fn plot(word: &'static str, secs: u64) -> Plot {
    Plot { word, secs, ..Plot::default() }
}

/// The plots of an ActionSet named `one`.
fn plots() -> Vec<Plot> {
    vec![plot("dump-one", 40), plot("check-one", 10), plot("tidy-one", 5), plot("exec-one", 30)]
}

fn scene(plots: Vec<Plot>, blueprint: Json, sets: Vec<Json>) -> Arc<PaperCluster> {
    let cluster = PaperCluster::new(plots);
    cluster.add(blueprint);
    cluster.add(json!({ "kind": "Namespace", "metadata": { "name": "app" } }));
    sets.into_iter().for_each(|set| cluster.add(set));
    Arc::new(cluster)
}

/// One ActionSet named `one`.
fn one(action: &str, on_blueprint: Json, on_action_set: Json) -> Arc<PaperCluster> {
    scene(plots(), blueprint(on_blueprint), vec![set("one", action, on_action_set)])
}

fn place(name: &str) -> ObjectReference {
    of_kind("actionset", HOME, name)
}

async fn annotate(cluster: &PaperCluster, name: &str, key: &str, value: Json) {
    let patch = json!({ "metadata": { "annotations": { key: value } } });
    // The cluster may be between two controllers.
    while cluster.patch(&place(name), Patch::Merge, &patch).await.is_err() {
        sleep(Duration::from_secs(1)).await;
    }
}

fn status(cluster: &PaperCluster, name: &str) -> ActionSetStatus {
    action_set(cluster, name).unwrap().status.unwrap_or_default()
}

fn first_phase(cluster: &PaperCluster) -> Phase {
    status(cluster, "one").actions[0].phases[0].clone()
}

/// A condition as `Ready=False Suspended`.
fn conditions(cluster: &PaperCluster, name: &str) -> Vec<String> {
    let conditions = status(cluster, name).conditions;
    conditions.iter().map(|c| format!("{}={} {}", c.type_, c.status, c.reason)).collect()
}

/// Events by reason, with how often each was counted.
async fn events(cluster: &PaperCluster, kind: &str) -> BTreeMap<String, i64> {
    let of = ObjectReference {
        api_version: "v1".to_owned(),
        resource: "events".to_owned(),
        ..ObjectReference::default()
    };
    let mut counts = BTreeMap::new();
    for event in cluster.list(&of, "").await.unwrap() {
        assert_eq!(event["metadata"]["namespace"], event["involvedObject"]["namespace"]);
        if event["involvedObject"]["kind"] == kind {
            *counts.entry(event["reason"].as_str().unwrap().to_owned()).or_default() +=
                event["count"].as_i64().unwrap();
        }
    }
    counts
}

fn times(cluster: &PaperCluster, word: &str) -> usize {
    cluster.began().get(word).copied().unwrap_or(0)
}

/// Runs a controller while `story` is told.
async fn during<T>(cluster: &Arc<PaperCluster>, story: impl Future<Output = T>) -> T {
    let (_changed, changed) = mpsc::channel(1);
    tokio::select! {
        ended = controller(cluster, "c1").run(changed) => panic!("{ended:?}"),
        told = story => told,
    }
}

#[tokio::test(start_paused = true)]
async fn cancelling_ends_what_runs_and_the_deferred_phase_runs() {
    for secs in 0..65 {
        for fate in [None, Some(Fate::DiesAfter(3)), Some(Fate::DiesBefore(5)), Some(Fate::DiesAfter(8))] {
            let about = format!("cancelled after {secs} s, {fate:?}");
            let cluster = one("backup", json!({}), json!({}));
            fate.into_iter().for_each(|fate| cluster.decree(fate));
            let cancel = async {
                sleep(Duration::from_secs(secs)).await;
                let ended = matches!(state(&cluster, "one"), Some(State::Complete));
                annotate(&cluster, "one", "cistern.dev/cancel", json!("")).await;
                (cluster.began(), ended)
            };
            let ((before, ended), _) = tokio::join!(cancel, run(&cluster, &["one"], &about));
            let began = cluster.began();
            assert!(began.values().all(|times| *times == 1), "{about}: {began:?}");
            let raw = cluster.object(&place("one")).unwrap();
            assert_eq!(raw["metadata"]["finalizers"], json!([]), "{about}");
            // It may have come too late.
            if state(&cluster, "one") == Some(State::Failed) {
                assert!(
                    error(&cluster, "one").contains("was cancelled"),
                    "{about}: {}",
                    error(&cluster, "one")
                );
                assert!(began.is_empty() || began.contains_key("tidy-one"), "{about}: {began:?}");
                let new = began.keys().filter(|word| !before.contains_key(*word) && *word != "tidy-one");
                assert!(new.count() <= usize::from(fate.is_some()), "{about}: {before:?} {began:?}");
            } else {
                // Nobody tells the controller; it looks every half a minute.
                assert!(ended || secs > 40, "{about}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspended_action_set_does_not_begin_until_that_is_lifted() {
    let cluster = one("backup", json!({}), json!({ "cistern.dev/suspend": "true" }));
    during(&cluster, async {
        sleep(Duration::from_secs(1000)).await;
        assert_eq!(began(&cluster), []);
        assert_eq!(state(&cluster, "one"), Some(State::Pending));
        assert_eq!(conditions(&cluster, "one"), ["Ready=False Suspended", "Reconciling=True Suspended"]);
        assert_eq!(
            events(&cluster, "ActionSet").await,
            BTreeMap::from([("ActionSetSuspended".to_owned(), 1)])
        );
        let writes = cluster.writes();
        sleep(Duration::from_secs(1000)).await;
        assert_eq!(cluster.writes(), writes, "nothing is written while it waits");
        annotate(&cluster, "one", "cistern.dev/suspend", Json::Null).await;
        timeout(Duration::from_secs(300), all_ended(&cluster, &["one"])).await.unwrap();
    })
    .await;
    assert_eq!(state(&cluster, "one"), Some(State::Complete), "{}", error(&cluster, "one"));
    assert_eq!(conditions(&cluster, "one"), ["Ready=True Complete"]);
}

#[tokio::test(start_paused = true)]
async fn suspended_between_two_phases_it_waits_and_blocks_nobody() {
    for second_life in [false, true] {
        let others =
            (0..49).map(|n| set(&format!("other{n}"), "backup", json!({ "cistern.dev/suspend": "true" })));
        let sets = [set("one", "backup", json!({}))].into_iter().chain(others);
        let cluster = scene(plots(), blueprint(json!({})), sets.collect());
        let (_changed, changed) = mpsc::channel(1);
        let first = tokio::spawn(controller(&cluster, "first").run(changed));
        sleep(Duration::from_secs(20)).await;
        annotate(&cluster, "one", "cistern.dev/suspend", json!("true")).await;
        if second_life {
            first.abort();
            let _ = first.await;
            let (_changed, changed) = mpsc::channel(1);
            tokio::spawn(controller(&cluster, "second").run(changed));
        }
        sleep(Duration::from_secs(400)).await;
        assert_eq!((times(&cluster, "dump-one"), times(&cluster, "check-one")), (1, 0));
        // Fifty are suspended: there is room for another one.
        cluster.add(set("later", "backup", json!({})));
        sleep(Duration::from_secs(200)).await;
        assert_eq!(state(&cluster, "later"), Some(State::Complete));
        annotate(&cluster, "one", "cistern.dev/suspend", json!("false")).await;
        timeout(Duration::from_secs(200), all_ended(&cluster, &["one"])).await.unwrap();
        assert_eq!(state(&cluster, "one"), Some(State::Complete), "{}", error(&cluster, "one"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_suspended_can_be_cancelled_and_runs_out_of_time() {
    for (key, value, why) in [
        ("cistern.dev/cancel", "true", "was cancelled"),
        ("cistern.dev/timeout", "10m", "took longer than 10m"),
    ] {
        let cluster = one("backup", json!({}), json!({ "cistern.dev/suspend": "true" }));
        during(&cluster, async {
            sleep(Duration::from_secs(100)).await;
            annotate(&cluster, "one", key, json!(value)).await;
            timeout(Duration::from_secs(700), all_ended(&cluster, &["one"])).await.unwrap();
        })
        .await;
        assert_eq!(state(&cluster, "one"), Some(State::Failed));
        assert!(error(&cluster, "one").contains(why), "{}", error(&cluster, "one"));
        assert_eq!(began(&cluster), []);
        assert_eq!(conditions(&cluster, "one"), ["Ready=False Failed", "Stalled=True Failed"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_phase_has_the_time_its_blueprint_gives_it() {
    let limit = json!({ "cistern.dev/timeout.backup.dump": "30s", "cistern.dev/timeout.backup.tidy": "1s" });
    let cluster = one("backup", limit, json!({}));
    run(&cluster, &["one"], "a mistake").await;
    assert!(error(&cluster, "one").contains("timeout.backup.tidy of blueprint \"bp\" names no phase"));
    assert_eq!(began(&cluster), []);

    for fate in [None, Some(Fate::DiesAfter(3)), Some(Fate::DiesAfter(4))] {
        let cluster = one("backup", json!({ "cistern.dev/timeout.backup.dump": "30s" }), json!({}));
        fate.into_iter().for_each(|fate| cluster.decree(fate));
        let began_at = Instant::now();
        run(&cluster, &["one"], "30 s").await;
        assert!(began_at.elapsed() < Duration::from_secs(50), "{:?}", began_at.elapsed());
        assert_eq!(state(&cluster, "one"), Some(State::Failed));
        let said = error(&cluster, "one");
        assert!(said.contains("phase \"dump\" failed: it took longer than 30s, its limit"), "{said}");
        assert_eq!(times(&cluster, "tidy-one"), 1, "{fate:?}");
    }
    // The ActionSet knows better.
    let overruled = json!({ "cistern.dev/timeout.backup.dump": "1m" });
    let cluster = one("backup", json!({ "cistern.dev/timeout.backup.dump": "30s" }), overruled);
    run(&cluster, &["one"], "1 m").await;
    assert_eq!(state(&cluster, "one"), Some(State::Complete), "{}", error(&cluster, "one"));
}

#[tokio::test(start_paused = true)]
async fn an_action_set_has_the_time_it_asks_for() {
    for secs in [5, 35, 45, 55] {
        for fate in [None, Some(Fate::DiesAfter(4)), Some(Fate::DiesBefore(8))] {
            let limit = json!({ "cistern.dev/timeout": format!("{secs}s") });
            let cluster = one("backup", json!({}), limit);
            fate.into_iter().for_each(|fate| cluster.decree(fate));
            let began_at = Instant::now();
            run(&cluster, &["one"], "limited").await;
            assert!(began_at.elapsed() < Duration::from_secs(secs + 20), "{:?}", began_at.elapsed());
            let said = error(&cluster, "one");
            if state(&cluster, "one") == Some(State::Failed) {
                assert!(said.contains(&format!("took longer than {secs}s")), "{said}");
            } else {
                assert_eq!(secs, 55, "it takes about 52 seconds in all");
            }
            assert_eq!(times(&cluster, "tidy-one"), 1, "{secs} s, {fate:?}");
        }
    }
}

fn failing(word: &'static str, fails_first: usize, name: &str) -> Plot {
    let prints = output_line("id", name).unwrap();
    Plot { word, secs: 10, fails_first, prints, ..Plot::default() }
}

#[tokio::test(start_paused = true)]
async fn a_phase_is_tried_again_as_often_as_its_blueprint_says() {
    let said =
        json!({ "cistern.dev/retries.backup.dump": "2", "cistern.dev/retries.backup.deferPhase": "1" });
    let scene = |fails| {
        let plots = vec![failing("dump-one", fails, "7"), failing("tidy-one", 1, "8"), plot("check-one", 10)];
        scene(plots, blueprint(said.clone()), vec![set("one", "backup", json!({}))])
    };
    let check = |cluster: &PaperCluster, about: &str| {
        assert_eq!(state(cluster, "one"), Some(State::Complete), "{about}: {}", error(cluster, "one"));
        assert_eq!(first_phase(cluster).attempt, 3, "{about}");
        assert!(first_phase(cluster).last_error.contains("ended with status 1"), "{about}");
        let began = cluster.began();
        let counts = ["dump-one", "check-one", "tidy-one"].map(|word| began[word]);
        assert_eq!(counts, [3, 1, 2], "{about}");
    };
    let calm = scene(2);
    let began_at = Instant::now();
    run(&calm, &["one"], "calm").await;
    check(&calm, "calm");
    // Ten seconds before the second attempt, twenty before the third.
    assert!(began_at.elapsed() > Duration::from_secs(30 + 30 + 10 + 20), "{:?}", began_at.elapsed());
    assert_eq!(events(&calm, "ActionSet").await["Retrying Phase"], 3);
    assert_eq!(events(&calm, "ActionSet").await["Started Phase"], 4);
    for n in 1..=calm.writes() {
        for fate in [Fate::DiesBefore(n), Fate::DiesAfter(n), Fate::LosesReply(n)] {
            let cluster = scene(2);
            cluster.decree(fate);
            run(&cluster, &["one"], &format!("{fate:?}")).await;
            check(&cluster, &format!("{fate:?}"));
        }
    }
    // One more, and it is over.
    let cluster = scene(3);
    run(&cluster, &["one"], "three failures").await;
    assert_eq!((state(&cluster, "one"), times(&cluster, "dump-one")), (Some(State::Failed), 3));
    assert_eq!(times(&cluster, "check-one"), 0);
}

#[tokio::test(start_paused = true)]
async fn cancelled_while_it_waits_for_another_attempt_it_makes_none() {
    let said = json!({ "cistern.dev/retries.backup.dump": "5" });
    let plots = vec![failing("dump-one", 9, "7")];
    let cluster = scene(plots, blueprint(said), vec![set("one", "backup", json!({}))]);
    during(&cluster, async {
        sleep(Duration::from_secs(15)).await;
        assert_eq!(conditions(&cluster, "one"), ["Ready=False Retrying", "Reconciling=True Retrying"]);
        annotate(&cluster, "one", "cistern.dev/cancel", json!("true")).await;
        timeout(Duration::from_secs(60), all_ended(&cluster, &["one"])).await.unwrap();
    })
    .await;
    assert_eq!(times(&cluster, "dump-one"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_may_run_twice_is_begun_again_where_nobody_knows_how_it_ended() {
    let calm = one("exec", json!({}), json!({}));
    run(&calm, &["one"], "calm").await;
    let mut twice = 0;
    for n in 1..=calm.writes() {
        for fate in [Fate::DiesBefore(n), Fate::DiesAfter(n)] {
            let cluster = one("exec", json!({ "cistern.dev/idempotent.exec.exec": "true" }), json!({}));
            cluster.decree(fate);
            run(&cluster, &["one"], &format!("{fate:?}")).await;
            assert_eq!(state(&cluster, "one"), Some(State::Complete), "{fate:?}: {}", error(&cluster, "one"));
            twice += usize::from(times(&cluster, "exec-one") == 2);
        }
    }
    assert!(
        (1..4).contains(&twice),
        "only a death between the claim and the record makes it run twice: {twice}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_ended_long_ago_is_deleted_where_that_is_wanted() {
    let ttl = json!({ "cistern.dev/ttl-seconds-after-finished": "900" });
    let sets = vec![set("one", "backup", ttl), set("two", "backup", json!({}))];
    let cluster = scene(plots(), blueprint(json!({})), sets);
    during(&cluster, async {
        all_ended(&cluster, &["one", "two"]).await;
        sleep(Duration::from_secs(800)).await;
        assert!(action_set(&cluster, "one").is_some());
        sleep(Duration::from_secs(800)).await;
        assert!(action_set(&cluster, "one").is_none());
        assert!(action_set(&cluster, "two").is_some(), "it says nothing");
    })
    .await;
    let rules = Rules { ttl_after_finished: Some(Duration::from_secs(3600)), ..Rules::within(HOME) };
    let (_changed, changed) = mpsc::channel(1);
    tokio::spawn(controller_by(&cluster, "c2", rules).run(changed));
    sleep(Duration::from_secs(5000)).await;
    assert!(action_set(&cluster, "two").is_none(), "the controller says so for all");
}

#[tokio::test(start_paused = true)]
async fn whose_status_is_taken_away_is_carried_out_once_more() {
    let cluster =
        scene(vec![plot("dump-one", 100)], blueprint(json!({})), vec![set("one", "backup", json!({}))]);
    during(&cluster, async {
        all_ended(&cluster, &["one"]).await;
        let label = |cluster: &PaperCluster| {
            cluster.object(&place("one")).unwrap()["metadata"]["labels"]["cistern.dev/state"].clone()
        };
        assert_eq!(label(&cluster), "complete");
        cluster.patch(&place("one"), Patch::Merge, &json!({ "status": null })).await.unwrap();
        // What has ended is looked at every ten minutes; what runs is swept by nobody meanwhile.
        sleep(Duration::from_secs(1000)).await;
        assert_eq!(state(&cluster, "one"), Some(State::Complete), "{}", error(&cluster, "one"));
        assert_eq!((times(&cluster, "dump-one"), label(&cluster)), (2, json!("complete")));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn pods_that_failed_are_kept_for_as_long_as_a_user_wants() {
    let scene = || {
        let keep = json!({ "cistern.dev/keep-failed-pods": "10m" });
        scene(vec![failing("dump-one", 9, "7")], blueprint(json!({})), vec![set("one", "backup", keep)])
    };
    let pods = async |cluster: &PaperCluster| cluster.list(&of_kind("pod", "", ""), "").await.unwrap();
    let calm = scene();
    during(&calm, async {
        sleep(Duration::from_secs(60)).await;
        assert_eq!(state(&calm, "one"), Some(State::Failed));
        let kept = pods(&calm).await;
        assert_eq!(kept.len(), 1, "the deferred phase's pod is gone: {kept:?}");
        assert_eq!(kept[0]["metadata"]["finalizers"], json!([]), "a user can delete it");
        sleep(Duration::from_secs(400)).await;
        assert_eq!(pods(&calm).await.len(), 1);
        sleep(Duration::from_secs(400)).await;
        assert_eq!(pods(&calm).await.len(), 0);
    })
    .await;
    for n in 1..=calm.writes() {
        let cluster = scene();
        cluster.decree(Fate::DiesAfter(n));
        let (_changed, changed) = mpsc::channel(1);
        tokio::select! {
            ended = controller(&cluster, "c1").run(changed) => panic!("{ended:?}"),
            () = cluster.death() => {}
        }
        cluster.revive();
        during(&cluster, async {
            sleep(Duration::from_secs(200)).await;
            assert_eq!(state(&cluster, "one"), Some(State::Failed));
            assert!(n + 2 >= calm.writes() || pods(&cluster).await.len() == 1, "died after {n}");
            sleep(Duration::from_secs(700)).await;
            assert_eq!(pods(&cluster).await.len(), 0, "died after {n}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn events_tell_the_story_once() {
    let told = |pairs: &[(&str, i64)]| -> BTreeMap<String, i64> {
        pairs.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect()
    };
    let story = told(&[
        ("ActionSetComplete", 1),
        ("Ended Phase", 2),
        ("Ended deferPhase", 1),
        ("Started Action", 1),
        ("Started Phase", 2),
        ("Started deferPhase", 1),
    ]);
    let calm = one("backup", json!({}), json!({}));
    run(&calm, &["one"], "calm").await;
    assert_eq!(events(&calm, "ActionSet").await, story);
    assert_eq!(events(&calm, "Blueprint").await, told(&[]));
    for n in 1..=calm.writes() {
        let cluster = one("backup", json!({}), json!({}));
        cluster.decree(Fate::LosesReply(n));
        during(&cluster, async {
            all_ended(&cluster, &["one"]).await;
            // An event is tried again after a pause.
            sleep(Duration::from_secs(5)).await;
        })
        .await;
        let asked = cluster.asked();
        assert_eq!(events(&cluster, "ActionSet").await, story, "the answer to {n} was lost: {asked:#?}");
        for fate in [Fate::DiesBefore(n), Fate::DiesAfter(n)] {
            let cluster = one("backup", json!({}), json!({}));
            cluster.decree(fate);
            run(&cluster, &["one"], "died").await;
            let events = events(&cluster, "ActionSet").await;
            assert!(events.iter().all(|(reason, count)| *count <= story[reason]), "{fate:?}: {events:?}");
        }
    }
    let cluster =
        scene(vec![failing("dump-one", 9, "7")], blueprint(json!({})), vec![set("one", "backup", json!({}))]);
    run(&cluster, &["one"], "failing").await;
    let events_of_set = events(&cluster, "ActionSet").await;
    assert_eq!((events_of_set["Failed Phase"], events_of_set["ActionSetFailed"]), (1, 1));
    assert_eq!(events(&cluster, "Blueprint").await, told(&[("ActionSetFailed", 1)]));
}

#[tokio::test(start_paused = true)]
async fn metrics_count_what_happened() {
    let reference = json!({ "id": "x", "logicalSize": 5000, "physicalSize": 50 }).to_string();
    let dump = Plot { prints: output_line("kopiaOutput", &reference).unwrap(), ..plot("dump-one", 40) };
    let said = json!({ "cistern.dev/retries.backup.check": "1" });
    let plots = vec![dump, failing("check-one", 1, "c"), failing("dump-two", 9, "d")];
    let cluster = scene(plots, blueprint(said), ["one", "two"].map(|n| set(n, "backup", json!({}))).to_vec());
    let metrics = Arc::new(Metrics::new());
    let (_changed, changed) = mpsc::channel(1);
    tokio::spawn(controller(&cluster, "c1").counting(Arc::clone(&metrics)).run(changed));
    all_ended(&cluster, &["one", "two"]).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(status(&cluster, "one").progress.uploaded_bytes, 50);
    let page = metrics.render();
    let labels = r#"blueprint="bp",action="backup",kind="Namespace",object_namespace="app",object="app""#;
    for line in [
        r#"cistern_action_sets{state="complete"} 1"#.to_owned(),
        r#"cistern_action_sets{state="failed"} 1"#.to_owned(),
        r#"cistern_action_sets{state="running"} 0"#.to_owned(),
        "cistern_queue_length 0".to_owned(),
        r#"cistern_phase_duration_seconds_count{function="KubeTask",result="failed"} 2"#.to_owned(),
        r#"cistern_phase_retries_total{function="KubeTask",result="failed"} 1"#.to_owned(),
        format!("cistern_stream_bytes_total{{{labels}}} 5000"),
        format!("cistern_dedup_ratio{{{labels}}} 100.0"),
    ] {
        assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_phase_says_of_its_progress_is_shown_now_and_then() {
    let said = PhaseProgress {
        progress_percent: "40".to_owned(),
        uploaded_bytes: 100,
        estimated_upload_bytes: 1000,
        ..PhaseProgress::default()
    };
    let prints = progress_line(&said).repeat(1000);
    let dump = Plot { prints, exit: 1, ..plot("dump-one", 60) };
    let cluster = scene(vec![dump], blueprint(json!({})), vec![set("one", "backup", json!({}))]);
    during(&cluster, async {
        sleep(Duration::from_secs(25)).await;
        let told = status(&cluster, "one").progress;
        assert_eq!((told.percent_completed.as_str(), told.uploaded_bytes), ("20", 100), "of two phases");
        assert_eq!(first_phase(&cluster).progress.estimated_upload_bytes, 1000);
        let writes = cluster.writes();
        sleep(Duration::from_secs(25)).await;
        assert_eq!(cluster.writes(), writes, "what is nothing new is not written");
        all_ended(&cluster, &["one"]).await;
    })
    .await;
    assert!(!error(&cluster, "one").contains("Phase-progress"), "{}", error(&cluster, "one"));
}

#[tokio::test(start_paused = true)]
async fn what_waits_and_is_cancelled_ends_at_once() {
    let suspended = json!({ "cistern.dev/suspend": "true" });
    let sets = vec![
        set("held-1", "backup", suspended.clone()),
        set("held-2", "backup", suspended),
        set("one", "backup", json!({})),
        set("wait-1", "backup", json!({})),
        set("wait-2", "backup", json!({})),
    ];
    let cluster = scene(plots(), blueprint(json!({})), sets);
    let rules = Rules { under_way_max: 1, ..Rules::within(HOME) };
    let (changed, news) = mpsc::channel(1);
    tokio::spawn(controller_by(&cluster, "c1", rules).run(news));
    let tell = async |name: &str| {
        let place = Place { namespace: HOME.to_owned(), name: name.to_owned() };
        changed.send(place).await.unwrap();
    };
    sleep(Duration::from_secs(10)).await;
    assert_eq!(state(&cluster, "held-1"), Some(State::Pending), "it was taken up, and is held back");
    // From now on it waits in the line.
    annotate(&cluster, "held-2", "cistern.dev/suspend", Json::Null).await;
    tell("held-2").await;
    sleep(Duration::from_secs(1)).await;
    for name in ["held-1", "wait-1"] {
        annotate(&cluster, name, "cistern.dev/cancel", json!("true")).await;
        tell(name).await;
    }
    for name in ["held-2", "wait-2"] {
        cluster.delete(&place(name)).await.unwrap();
        tell(name).await;
    }
    sleep(Duration::from_secs(3)).await;
    assert_eq!(began(&cluster), [("dump-one".to_owned(), 1)], "the only place is taken");
    for name in ["held-1", "wait-1"] {
        assert_eq!(state(&cluster, name), Some(State::Failed), "{name}");
        assert!(error(&cluster, name).contains("was cancelled"), "{}", error(&cluster, name));
        assert_eq!(conditions(&cluster, name), ["Ready=False Failed", "Stalled=True Failed"]);
    }
    for name in ["held-2", "wait-2"] {
        assert_eq!(state(&cluster, name), None, "{name} is gone");
    }
    timeout(Duration::from_secs(200), all_ended(&cluster, &["one"])).await.unwrap();
    assert_eq!(state(&cluster, "one"), Some(State::Complete));
    assert!(began(&cluster).iter().all(|(word, times)| word.ends_with("-one") && *times == 1));
}

#[tokio::test(start_paused = true)]
async fn the_last_success_is_known_after_a_restart() {
    let mut old = set("old", "backup", json!({}));
    old["status"] = json!({ "state": "complete", "completionTime": "2026-01-01T03:00:00Z", "actions": [{
        "name": "backup", "blueprint": "bp", "object": { "kind": "Namespace", "namespace": "app", "name": "app" },
        "phases": [{ "name": "dump", "state": "complete" }] }] });
    let cluster = scene(plots(), blueprint(json!({})), vec![old]);
    let (_changed, changed) = mpsc::channel(1);
    let metrics = Arc::new(Metrics::new());
    tokio::spawn(
        controller_by(&cluster, "c1", Rules::within(HOME)).counting(Arc::clone(&metrics)).run(changed),
    );
    sleep(Duration::from_secs(1)).await;
    let line = r#"cistern_last_success_timestamp_seconds{blueprint="bp",action="backup",kind="Namespace",object_namespace="app",object="app"} 1767236400"#;
    assert!(metrics.render().lines().any(|shown| shown == line), "{}", metrics.render());
}

#[tokio::test(start_paused = true)]
async fn a_crowd_of_one_namespace_leaves_room_for_others() {
    let mut sets: Vec<Json> = (0..1000).map(|n| set(&format!("a{n:04}"), "backup", json!({}))).collect();
    let mut other = set("late", "backup", json!({}));
    other["metadata"]["namespace"] = json!("other");
    sets.push(other);
    let mut plan = blueprint(json!({}));
    let cluster = scene(vec![], plan.clone(), sets);
    plan["metadata"]["namespace"] = json!("other");
    cluster.add(plan);
    let rules = Rules { watched: vec![], under_way_max_per_namespace: 10, ..Rules::within(HOME) };
    let (_changed, changed) = mpsc::channel(1);
    let metrics = Arc::new(Metrics::new());
    tokio::spawn(controller_by(&cluster, "c1", rules).counting(Arc::clone(&metrics)).run(changed));
    sleep(Duration::from_secs(1)).await;
    assert!(metrics.render().contains("cistern_queue_length 990"), "{}", metrics.render());
    sleep(Duration::from_secs(20)).await;
    let late = cluster.object(&of_kind("actionset", "other", "late")).unwrap();
    assert_eq!(late["status"]["state"], "complete", "it did not wait for a thousand");
    let names: Vec<String> = (0..1000).map(|n| format!("a{n:04}")).collect();
    let (mut most, mut left) = (0, names.len());
    while left > 0 {
        sleep(Duration::from_secs(7)).await;
        let states: Vec<Json> = names
            .iter()
            .map(|name| cluster.object(&place(name)).unwrap()["status"]["state"].clone())
            .collect();
        most = most.max(states.iter().filter(|state| **state == "running").count());
        left = states.iter().filter(|state| **state != "complete").count();
    }
    assert!((5..=10).contains(&most), "{most}");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_that_have_ended_delay_no_start() {
    let mut sets: Vec<Json> = (0..10_000)
        .map(|n| {
            let mut ended = set(&format!("old{n:05}"), "backup", json!({}));
            ended["status"] = json!({ "state": "complete", "actions": [{ "name": "backup", "blueprint": "bp",
                "phases": [{ "name": "dump", "state": "complete" }] }] });
            ended
        })
        .collect();
    sets.push(set("one", "backup", json!({})));
    let cluster = scene(plots(), blueprint(json!({})), sets);
    let began_at = std::time::Instant::now();
    during(&cluster, async {
        while times(&cluster, "dump-one") == 0 {
            sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let took = began_at.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let written = cluster.asked();
    assert!(written.iter().all(|write| !write.contains("old")), "what has ended is left alone");
}
