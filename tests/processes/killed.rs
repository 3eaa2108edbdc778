//! Sudden death at random moments: of a push, of a prune; and Ctrl-C, which is less sudden.

use crate::support::home::{Home, Ran};
use crate::support::{assert_sound, drawn, listed, listed_names, pack_bytes, prune_now, seeded};
use crate::{feed, moment, rounds, seed, timed};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::process::Child;
use std::time::Duration;

/// More than two packs of data that does not compress.
const STREAM_BYTES: usize = 36 << 20;

/// Lets it run for so long, sends the signal, and tells how it ended.
fn end_after(mut child: Child, wait: Duration, signal: Signal) -> Ran {
    std::thread::sleep(wait);
    if child.try_wait().unwrap().is_none() {
        kill_process(Pid::from_child(&child), signal).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    Ran { code: output.status.code(), out: output.stdout, err }
}

/// Forgets every snapshot of a name.
fn forget(home: &Home, name: &str) {
    for snapshot in listed(home).iter().filter(|s| s["name"] == name) {
        home.ok(&["forget", "--id", snapshot["id"].as_str().unwrap()], b"");
    }
}

/// What is listed is what completed, but for the one that was killed: that one is whole or not there.
/// Returns whether it is there.
fn is_listed(home: &Home, completed: &BTreeSet<String>, name: &str, stream: &[u8]) -> bool {
    let names: BTreeSet<String> = listed_names(home).into_iter().collect();
    assert!(names.is_superset(completed), "lost: {names:?}, completed were {completed:?}");
    let more: Vec<_> = names.difference(completed).collect();
    if more.is_empty() {
        return false;
    }
    assert_eq!(more, [name], "listed without having been completed");
    assert!(home.pull(name) == stream, "listed, and not whole");
    true
}

#[test]
fn a_push_killed_at_any_moment_is_not_half_there_and_the_next_one_uses_what_it_stored() {
    let home = Home::new();
    let span = timed(|| drop(home.ok(&["push", "first"], &seeded("first", STREAM_BYTES))));
    let mut completed = BTreeSet::from(["first".to_owned()]);
    let (mut killed, mut reused_bytes) = (0, 0);
    for round in 0..rounds(30) {
        let (name, seed) = (format!("night-{round}"), format!("push {} {round}", seed()));
        let stream = seeded(&seed, STREAM_BYTES);
        let ended =
            end_after(feed(&home, &["push", &name], stream.clone()), moment(&seed, span), Signal::KILL);
        let there = is_listed(&home, &completed, &name, &stream);
        assert!(
            there || ended.code.is_none(),
            "{seed}: it said it was done, and is not there: {}",
            ended.err
        );
        killed += u32::from(ended.code.is_none());
        let again = home.ok(&["push", &name, "--json"], &stream).json();
        let known = again["stored"]["duplicate_bytes"].as_u64().unwrap();
        if !there {
            reused_bytes += known;
        }
        completed.insert(name);
        // Keeps the disk small, and gives prune something to find.
        if round % 3 == 2 {
            let doomed = format!("night-{}", round - drawn(&seed, 3) as u32);
            forget(&home, &doomed);
            completed.remove(&doomed);
        }
    }
    assert!(killed > 0, "no moment was early enough");
    assert!(reused_bytes > 0, "what killed pushes stored was of no use");
    assert_sound(&home);
    prune_now(&home);
    prune_now(&home);
    let live = (completed.len() * STREAM_BYTES) as u64;
    assert!(pack_bytes(&home) < live + live / 10, "{} bytes for {live}", pack_bytes(&home));
    assert_sound(&home);
}

#[test]
fn a_push_interrupted_at_any_moment_says_130_and_is_not_there() {
    let home = Home::new();
    let span = timed(|| drop(home.ok(&["push", "first"], &seeded("first", STREAM_BYTES))));
    let mut completed = BTreeSet::from(["first".to_owned()]);
    let mut interrupted = 0;
    for round in 0..rounds(8) {
        let (name, seed) = (format!("night-{round}"), format!("interrupt {} {round}", seed()));
        let stream = seeded(&seed, STREAM_BYTES);
        // Not in the first instants, in which the program does not listen yet and simply dies.
        let wait = Duration::from_millis(100) + moment(&seed, span);
        let ended = end_after(feed(&home, &["push", &name], stream.clone()), wait, Signal::INT);
        let there = is_listed(&home, &completed, &name, &stream);
        match ended.code {
            Some(0) => assert!(there, "{seed}"),
            Some(130) => interrupted += 1,
            code => panic!("{seed}: {code:?}: {}", ended.err),
        }
        if there {
            completed.insert(name);
        }
    }
    assert!(interrupted > 0, "no moment was early enough");
    assert_sound(&home);
}

#[test]
fn a_prune_killed_at_any_moment_is_carried_on_by_the_next() {
    let home = Home::new();
    let half = |seed: &str| seeded(seed, STREAM_BYTES / 4);
    let mut span = Duration::from_millis(300);
    let mut killed = 0;
    for round in 0..rounds(12) {
        let seed = format!("prune {} {round}", seed());
        // One pack is shared by what stays and what goes, so that records have to move.
        home.ok(&["push", "db"], &[half(&seed), half(&format!("{seed} x"))].concat());
        home.ok(&["push", "db"], &[half(&seed), half(&format!("{seed} y"))].concat());
        home.ok(&["forget", "db", "--keep-last", "1"], b"");
        let prune = ["prune", "--grace", "0s", "--session-timeout", "0s", "--max-unused", "0%"];
        if round == 0 {
            span = timed(|| drop(home.ok(&prune, b"")));
            continue;
        }
        let ended = end_after(feed(&home, &prune, vec![]), moment(&seed, span), Signal::KILL);
        killed += u32::from(ended.code.is_none());
        let expected = [half(&seed), half(&format!("{seed} y"))].concat();
        assert!(home.pull("db") == expected, "{seed}");
    }
    assert!(killed > 0, "no moment was early enough");
    assert_sound(&home);
    prune_now(&home);
    prune_now(&home);
    assert_sound(&home);
    let live = (STREAM_BYTES / 2) as u64;
    assert!(pack_bytes(&home) < live + live / 10, "{} bytes for {live}", pack_bytes(&home));
}
