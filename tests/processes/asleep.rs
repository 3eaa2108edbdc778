//! A push that sleeps past every time-out while prunes run, and wakes: it is refused, or it had committed.

use crate::support::home::{Home, files_below, wait_until};
use crate::support::{assert_failed, assert_sound, listed_names, prune_now, seeded};
use crate::{feed, moment, rounds, seed, timed};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write as _;
use std::process::{Child, Stdio};
use std::time::Duration;

const STREAM_BYTES: usize = 36 << 20;
/// Longer than the time-out given to the prunes, in which a live push shows itself.
const SLEEP: Duration = Duration::from_millis(1300);

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Prunes as soon as can be, twice: what the first condemns the second may delete.
fn prune_twice(home: &Home) -> usize {
    let prune = ["prune", "--grace", "0s", "--session-timeout", "1s", "--json"];
    let refused = |report: serde_json::Value| report["refused_sessions"].as_array().unwrap().len();
    refused(home.ok(&prune, b"").json()) + refused(home.ok(&prune, b"").json())
}

/// A repository with something in it, and something to prune.
fn with_waste() -> Home {
    let home = Home::new();
    home.ok(&["push", "keep"], &seeded("keep", 3 << 20));
    home.ok(&["push", "keep"], &seeded("newer", 3 << 20));
    home.ok(&["forget", "keep", "--keep-last", "1"], b"");
    home
}

#[test]
fn a_push_that_slept_in_mid_stream_is_refused() {
    let home = with_waste();
    let stream = seeded("asleep", STREAM_BYTES);
    let packs = || files_below(&home.repository().join("packs")).len();
    let before = packs();
    let mut command = home.command(&["push", "sleeper"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(&stream).unwrap();
    wait_until("a pack is stored", || packs() > before);
    send(&child, Signal::STOP);
    std::thread::sleep(SLEEP);
    assert_eq!(prune_twice(&home), 1, "the sleeper was given up");
    send(&child, Signal::CONT);
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{err}");
    assert!(err.contains("run it again"), "{err}");
    assert_eq!(listed_names(&home), ["keep"]);
    assert_sound(&home);
    home.ok(&["push", "sleeper"], &stream);
    assert!(home.pull("sleeper") == stream);
    assert_sound(&home);
}

#[test]
fn a_push_that_slept_at_any_moment_is_there_whole_or_not_at_all() {
    let home = with_waste();
    let span = timed(|| drop(home.ok(&["push", "first"], &seeded("first", STREAM_BYTES))));
    let mut expected = vec!["keep".to_owned(), "first".to_owned()];
    for round in 0..rounds(8) {
        let (name, seed) = (format!("sleeper-{round}"), format!("sleep {} {round}", seed()));
        let stream = seeded(&seed, STREAM_BYTES);
        let child = feed(&home, &["push", &name], stream.clone());
        std::thread::sleep(moment(&seed, span));
        send(&child, Signal::STOP);
        std::thread::sleep(SLEEP);
        prune_twice(&home);
        send(&child, Signal::CONT);
        let output = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(0) => expected.push(name.clone()),
            Some(6) => home.assert_absent(&name),
            code => panic!("{seed}: {code:?}: {err}"),
        }
        assert_eq!(listed_names(&home), expected, "{seed}");
        if output.status.code() == Some(0) {
            assert!(home.pull(&name) == stream, "{seed}");
        }
    }
    assert_sound(&home);
    prune_now(&home);
    assert_sound(&home);
}

#[test]
fn a_prune_that_slept_deletes_nothing_that_came_into_use() {
    let home = with_waste();
    for round in 0..rounds(6) {
        let seed = format!("slow prune {} {round}", seed());
        let stream = seeded(&seed, 3 << 20);
        home.ok(&["push", "back"], &stream);
        home.ok(&["push", "back"], &seeded(&format!("{seed} other"), 1 << 20));
        home.ok(&["forget", "back", "--keep-last", "1"], b"");
        let prune = feed(&home, &["prune", "--grace", "0s", "--session-timeout", "1s"], vec![]);
        std::thread::sleep(moment(&seed, Duration::from_millis(200)));
        send(&prune, Signal::STOP);
        // What is about to be deleted is pushed again.
        home.ok(&["push", "again"], &stream);
        std::thread::sleep(SLEEP);
        home.ok(&["prune", "--grace", "0s", "--session-timeout", "1s"], b"");
        send(&prune, Signal::CONT);
        let output = prune.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(0 | 6)), "{seed}: {err}");
        assert!(home.pull("again") == stream, "{seed}");
        assert_sound(&home);
    }
}

#[test]
fn nobody_waits_for_ever_for_a_push_that_died() {
    let home = with_waste();
    let child = feed(&home, &["push", "sleeper"], seeded("dead", STREAM_BYTES));
    wait_until("it registered", || !files_below(&home.repository().join("sessions")).is_empty());
    send(&child, Signal::KILL);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), None);
    std::thread::sleep(SLEEP);
    assert_eq!(prune_twice(&home), 1);
    let ran = home.run(&["pull", "sleeper"], b"");
    assert_failed(&ran, 5);
}
