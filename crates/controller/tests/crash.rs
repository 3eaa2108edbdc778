//! The controller dies, at every write and at every second, and another one goes on: each phase runs once,
//! deferred phases run, nothing is stuck, nothing is left behind.
#![allow(clippy::disallowed_methods, reason = "a test may unwrap")]

mod paper;

use cistern_api::State;
use cistern_api::wire::output_line;
use cistern_functions::ports::{Cluster as _, Patch};
use cistern_functions::reference::of_kind;
use cistern_sim::cluster::{Fate, PaperCluster, Plot};
use paper::{HOME, action_set, all_ended, began, controller, error, run, state, task};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// A dump, a check that names what the dump put out, a scaling, and something that runs last.
fn blueprint() -> Json {
    let mut check = task("check", "check");
    let words = check["args"]["command"].as_array_mut().unwrap();
    words.push(json!("{{ .Phases.dump.Output.id }}"));
    let scale = json!({ "func": "ScaleWorkload", "name": "scale", "args": { "replicas": 0, "namespace": "app",
        "kind": "StatefulSet", "name": "db-{{ .Options.of }}" } });
    let exec = json!({ "func": "KubeExec", "name": "exec", "args": { "namespace": "app", "pod": "db-0",
        "command": ["exec-{{ .Options.of }}"] } });
    let artifact = json!({ "copy": { "keyValue": {
        "id": "{{ .Phases.dump.Output.id }}", "before": "{{ .Phases.scale.Output.originalReplicaCount }}" } } });
    let unknown = json!({ "func": "CopyToTape", "name": "copy", "args": {} });
    json!({
        "kind": "Blueprint", "metadata": { "name": "bp", "namespace": HOME },
        "actions": {
            "backup": {
                "phases": [task("dump", "dump"), scale, check], "deferPhase": task("tidy", "tidy"),
                "outputArtifacts": artifact,
            },
            "exec": { "phases": [exec], "deferPhase": task("tidy", "tidy") },
            "lacks": { "phases": [task("dump", "dump"), unknown] },
        },
    })
}

/// ActionSets by name, each with the action it runs.
fn cluster(orders: &[(&str, &str)]) -> Arc<PaperCluster> {
    let plots = orders.iter().flat_map(|(name, _)| {
        let plot = |word: &str, secs| Plot {
            word: format!("{word}-{name}").leak(),
            secs,
            exit: i32::from(word == "dump" && name.starts_with("bad")),
            prints: output_line("id", &format!("7-{name}")).unwrap(),
            ..Plot::default()
        };
        let dump_secs = if name.starts_with("long") { 20 * 3600 } else { 40 };
        [plot("dump", dump_secs), plot("check", 10), plot("tidy", 5), plot("exec", 30)]
    });
    let cluster = PaperCluster::new(plots.collect());
    cluster.add(blueprint());
    for (name, action) in orders {
        let metadata = json!({ "name": format!("db-{name}"), "namespace": "app" });
        cluster.add(json!({ "kind": "StatefulSet", "metadata": metadata, "spec": { "replicas": 3 } }));
        let object = json!({ "kind": "Namespace", "name": "app", "namespace": "app" });
        let action =
            json!({ "name": action, "blueprint": "bp", "object": object, "options": { "of": name } });
        let metadata = json!({ "name": name, "namespace": HOME, "uid": format!("uid-{name}") });
        cluster.add(json!({ "apiVersion": "cr.kanister.io/v1alpha1", "kind": "ActionSet",
            "metadata": metadata, "spec": { "actions": [action] } }));
    }
    cluster.add(json!({ "kind": "Namespace", "metadata": { "name": "app" } }));
    Arc::new(cluster)
}

/// The phases that began, each once.
fn once(words: &[&str]) -> Vec<(String, usize)> {
    let mut once: Vec<_> = words.iter().map(|word| ((*word).to_owned(), 1)).collect();
    once.sort();
    once
}

/// What must be true of the three ActionSets whatever happened on the way.
fn check(cluster: &PaperCluster, about: &str) {
    let words =
        ["dump-one", "check-one", "tidy-one", "dump-two", "check-two", "tidy-two", "dump-bad", "tidy-bad"];
    assert_eq!(began(cluster), once(&words), "{about}");
    for name in ["one", "two"] {
        assert_eq!(state(cluster, name), Some(State::Complete), "{about}: {}", error(cluster, name));
        let status = action_set(cluster, name).unwrap().status.unwrap();
        let left = json!({ "id": format!("7-{name}"), "before": "3" });
        assert_eq!(json!(status.actions[0].artifacts["copy"].key_value), left, "{about}");
        assert_eq!(
            cluster.object(&of_kind("statefulset", "app", &format!("db-{name}"))).unwrap()["spec"]["replicas"],
            0
        );
    }
    assert_eq!(state(cluster, "bad"), Some(State::Failed), "{about}");
    assert!(error(cluster, "bad").contains("ended with status 1"), "{about}: {}", error(cluster, "bad"));
    for name in ["one", "two", "bad"] {
        let raw = cluster.object(&of_kind("actionset", HOME, name)).unwrap();
        assert_eq!(raw["metadata"]["finalizers"], json!([]), "{about}: it lets go of what has ended");
    }
}

const THREE: [(&str, &str); 3] = [("one", "backup"), ("two", "backup"), ("bad", "backup")];
const NAMES: [&str; 3] = ["one", "two", "bad"];

#[tokio::test(start_paused = true)]
async fn a_death_at_any_write_loses_and_repeats_nothing() {
    let calm = cluster(&THREE);
    assert_eq!(run(&calm, &NAMES, "calm").await, 1);
    check(&calm, "calm");
    let writes = calm.writes();
    assert!(writes > 40, "{writes}");
    for n in 1..=writes {
        for fate in [Fate::DiesBefore(n), Fate::DiesAfter(n), Fate::LosesReply(n)] {
            let about = format!("{fate:?} of {writes}");
            let cluster = cluster(&THREE);
            cluster.decree(fate);
            let lives = run(&cluster, &NAMES, &about).await;
            assert_eq!(lives, if fate == Fate::LosesReply(n) { 1 } else { 2 }, "{about}");
            check(&cluster, &about);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_death_at_any_second_and_again_and_again_loses_and_repeats_nothing() {
    for secs in 1..=70 {
        let cluster = cluster(&THREE);
        // So short a life gets nothing done: from the fifth on they live longer.
        for life in 0..5 {
            let (_changed, changed) = mpsc::channel(1);
            let ended = controller(&cluster, &format!("short{life}")).run(changed);
            assert!(timeout(Duration::from_secs(secs), ended).await.is_err());
        }
        let about = format!("every {secs} s");
        run(&cluster, &NAMES, &about).await;
        check(&cluster, &about);
    }
}

#[tokio::test(start_paused = true)]
async fn two_controllers_at_once_run_nothing_twice() {
    for secs in 0..60 {
        let cluster = cluster(&THREE);
        let (_a, changed) = mpsc::channel(1);
        let first = tokio::spawn(controller(&cluster, "first").run(changed));
        sleep(Duration::from_secs(secs)).await;
        let about = format!("a second one after {secs} s");
        run(&cluster, &NAMES, &about).await;
        check(&cluster, &about);
        first.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_for_long_fails_no_phase() {
    for secs in 0..70 {
        let cluster = cluster(&THREE);
        let outage = async {
            sleep(Duration::from_secs(secs)).await;
            cluster.go_away(Duration::from_secs(50 * 60));
        };
        let about = format!("away after {secs} s");
        let (lives, ()) = tokio::join!(run(&cluster, &NAMES, &about), outage);
        assert_eq!(lives, 1, "{about}");
        check(&cluster, &about);
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_cannot_be_found_again_fails_and_says_so() {
    let calm = cluster(&[("one", "exec")]);
    run(&calm, &["one"], "calm").await;
    assert_eq!(state(&calm, "one"), Some(State::Complete));
    let mut lost = 0;
    for n in 1..=calm.writes() {
        for fate in [Fate::DiesBefore(n), Fate::DiesAfter(n)] {
            let cluster = cluster(&[("one", "exec")]);
            cluster.decree(fate);
            run(&cluster, &["one"], &format!("{fate:?}")).await;
            let began = cluster.began();
            assert!(began.get("exec-one").is_none_or(|times| *times == 1), "{fate:?}: {began:?}");
            assert_eq!(began["tidy-one"], 1, "{fate:?}");
            if state(&cluster, "one") != Some(State::Complete) {
                lost += 1;
                assert!(error(&cluster, "one").contains("how it ended is not known"), "{fate:?}");
            }
        }
    }
    // Events are written meanwhile.
    assert!((2..12).contains(&lost), "only a death between the claim and the record is one: {lost}");
}

#[tokio::test(start_paused = true)]
async fn a_deletion_stops_the_phase_runs_the_deferred_one_and_lets_go() {
    for secs in 0..65 {
        for fate in [None, Some(Fate::DiesAfter(3)), Some(Fate::DiesAfter(7)), Some(Fate::DiesBefore(8))] {
            let about = format!("deleted after {secs} s, {fate:?}");
            let cluster = cluster(&[("one", "backup")]);
            fate.into_iter().for_each(|fate| cluster.decree(fate));
            let deletion = async {
                sleep(Duration::from_secs(secs)).await;
                cluster.delete_by_hand(&of_kind("actionset", HOME, "one"));
                cluster.began()
            };
            let (before, _) = tokio::join!(deletion, run(&cluster, &["one"], &about));
            // It may have ended before it was deleted; then there is nothing to let go of.
            assert!(action_set(&cluster, "one").is_none(), "{about}");
            let began = cluster.began();
            assert!(began.values().all(|times| *times == 1), "{about}: {began:?}");
            assert!(began.is_empty() || began.contains_key("tidy-one"), "{about}: {began:?}");
            let new = began.keys().filter(|word| !before.contains_key(*word) && *word != "tidy-one");
            assert_eq!(new.count(), 0, "{about}: {before:?} {began:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_does_not_wait_for_a_long_phase() {
    let cluster = cluster(&[("long", "backup")]);
    let deletion = async {
        sleep(Duration::from_secs(1000)).await;
        cluster.delete_by_hand(&of_kind("actionset", HOME, "long"));
        tokio::time::Instant::now()
    };
    let (deleted, _) = tokio::join!(deletion, run(&cluster, &["long"], "long"));
    assert!(deleted.elapsed() < Duration::from_secs(120), "{:?}", deleted.elapsed());
    assert_eq!(began(&cluster), once(&["dump-long", "tidy-long"]));
}

#[tokio::test(start_paused = true)]
async fn what_users_change_meanwhile_is_kept() {
    // A command in a container is lost if its ActionSet is let go of and taken up again.
    let orders = [("one", "backup"), ("two", "exec")];
    let cluster = cluster(&orders);
    let places = orders.map(|(name, _)| of_kind("actionset", HOME, name));
    let edits = async {
        for n in 0..20 {
            sleep(Duration::from_secs(5)).await;
            let label = json!({ "metadata": { "labels": { format!("edit-{n}"): "kept" } } });
            for at in &places {
                cluster.patch(at, Patch::Merge, &label).await.unwrap();
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! { () = edits => {}, _ = run(&cluster, &["one", "two"], "edits") => {} }
    for (at, (name, _)) in places.iter().zip(orders) {
        assert_eq!(state(&cluster, name), Some(State::Complete), "{}", error(&cluster, name));
        assert_eq!(cluster.object(at).unwrap()["metadata"]["labels"]["edit-3"], "kept");
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_that_there_is_not_fails_the_action_set_before_anything_runs() {
    let cluster = cluster(&[("one", "lacks")]);
    run(&cluster, &["one"], "lacking").await;
    assert_eq!(state(&cluster, "one"), Some(State::Failed));
    assert!(error(&cluster, "one").contains("CopyToTape"), "{}", error(&cluster, "one"));
    assert_eq!(began(&cluster), []);
}

#[tokio::test(start_paused = true)]
async fn no_more_action_sets_are_under_way_than_allowed() {
    let names: Vec<String> = (0..120).map(|n| format!("n{n}x")).collect();
    let orders: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "backup")).collect();
    let cluster = cluster(&orders);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let watch = async {
        loop {
            let running = names.iter().filter(|name| state(&cluster, name) == Some(State::Running)).count();
            assert!(running <= 50, "{running}");
            sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! { () = watch => {}, _ = run(&cluster, &names, "many") => {} }
    assert!(names.iter().all(|name| state(&cluster, name) == Some(State::Complete)));
    assert!(cluster.began().values().all(|times| *times == 1));
}

/// Numbers that look random and follow from a seed.
fn dice(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |sides| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % sides
    }
}

#[tokio::test(start_paused = true)]
async fn two_hundred_deaths_among_fifty_action_sets_lose_and_repeat_nothing() {
    let names: Vec<String> =
        (0..50).map(|n| format!("{}{n:02}x", if n % 5 == 0 { "bad" } else { "n" })).collect();
    let orders: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "backup")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (mut deaths, mut seed) = (0, 0);
    while deaths < 200 {
        seed += 1;
        let mut roll = dice(seed);
        let cluster = cluster(&orders);
        for life in 0.. {
            let about = format!("seed {seed}, life {life}");
            let nth = cluster.writes() + 1 + usize::try_from(roll(30)).unwrap();
            let fates = [Fate::DiesBefore(nth), Fate::DiesAfter(nth), Fate::LosesReply(nth)];
            cluster.decree(fates[usize::try_from(roll(3)).unwrap()]);
            let (_changed, changed) = mpsc::channel(1);
            let died = tokio::select! {
                ended = controller(&cluster, &about).run(changed) => panic!("{about}: {ended:?}"),
                () = cluster.death() => true,
                () = sleep(Duration::from_secs(1 + roll(120))) => true,
                () = all_ended(&cluster, &names) => false,
            };
            cluster.revive();
            deaths += usize::from(died);
            if !died {
                break;
            }
            assert!(life < 2000, "{about}: stuck");
        }
        for name in &names {
            let bad = name.starts_with("bad");
            let wanted = if bad { State::Failed } else { State::Complete };
            assert_eq!(state(&cluster, name), Some(wanted), "seed {seed}: {}", error(&cluster, name));
            let times = |word: &str| cluster.began().get(&format!("{word}-{name}")).copied().unwrap_or(0);
            let began = ["dump", "check", "tidy"].map(times);
            assert_eq!(began, [1, usize::from(!bad), 1], "seed {seed}, {name}");
        }
    }
}
