//! Signals and sudden death in the middle of a push or pull: nothing is half there.

use crate::home::*;
use crate::producer::assert_gone;
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write as _;
use std::process::{Child, Stdio};

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn packs(home: &Home) -> usize {
    files_below(&home.repository().join("packs")).len()
}

/// A push that waits for more of its stream.
fn waiting_push(home: &Home) -> Child {
    let mut command = home.command(&["push", "db"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(&noise(40 << 20)).unwrap();
    child
}

#[test]
fn signals_end_a_push_with_their_own_exit_codes() {
    let home = Home::new();
    home.ok(&["init"], b"");
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut child = waiting_push(&home);
        send(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(code));
        home.assert_absent("db");
    }
}

#[test]
fn a_signal_that_was_ignored_from_the_start_stays_ignored() {
    let home = Home::new();
    home.ok(&["init"], b"");
    let mut command = std::process::Command::new("sh");
    home.furnish(&mut command);
    // What `nohup` does.
    command.args(["-c", "trap '' HUP; exec \"$0\" push db", CISTERN]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(&noise(20 << 20)).unwrap();
    send(&child, Signal::HUP);
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(child.try_wait().unwrap().is_none(), "it goes on");
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_signal_is_passed_on_to_the_producers_and_they_are_reaped() {
    let home = Home::new();
    let script =
        "echo $$ > pid; trap 'echo heard > heard; exit 0' INT; echo data; while :; do sleep 0.02; done";
    let mut command = home.command(&["push", "db", "--exec", script, "--then", "cat"]);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the producer runs", || home.path("pid").exists());
    std::thread::sleep(std::time::Duration::from_millis(100));
    send(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(home.path("heard").exists(), "it was INT that arrived, and there was time to act on it");
    assert_gone(&home, "pid");
    home.assert_absent("db");
}

#[test]
fn what_a_killed_push_stored_is_used_by_the_next() {
    let home = Home::new();
    home.ok(&["init"], b"");
    let mut child = waiting_push(&home);
    wait_until("a pack is stored", || packs(&home) > 0);
    send(&child, Signal::KILL);
    child.wait().unwrap();
    home.assert_absent("db");
    let stream = noise(40 << 20);
    let report = home.ok(&["push", "db", "--json"], &stream).json();
    let known = report["stored"]["duplicate_bytes"].as_u64().unwrap();
    assert!(known > 8 << 20, "{known} bytes were known: {report}");
    assert!(home.pull("db") == stream);
}

#[test]
fn an_interrupted_pull_leaves_the_old_file_and_no_other() {
    let home = Home::new();
    home.ok(&["push", "db"], &noise(64 << 20));
    let target = home.write("folder/restored", "old");
    let folder = || files_below(&home.path("folder"));
    let mut command = home.command(&["pull", "db", "-o", "folder/restored"]);
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    wait_until("the temporary file is there", || folder().len() == 2);
    send(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "old");
    assert_eq!(folder(), [target]);
}

#[test]
fn a_pull_that_waits_for_its_reader_can_be_ended() {
    let home = Home::new();
    home.ok(&["push", "db"], &noise(8 << 20));
    let mut command = home.command(&["pull", "db"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(child.try_wait().unwrap().is_none(), "eight MiB do not fit into a pipe");
    send(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(143));
}
