//! A reader that has seen enough, as `head` has.

use crate::support::home::{CISTERN, Home, Ran, run};
use crate::support::seeded;
use std::process::Command;

/// Runs a line of bash in the home.
fn bash(home: &Home, line: &str) -> Ran {
    let mut command = Command::new("bash");
    home.furnish(&mut command);
    command.args(["-c", line, CISTERN]);
    run(command, b"")
}

#[test]
fn a_pull_whose_reader_left_says_so_and_does_not_panic() {
    let home = Home::new();
    home.ok(&["push", "db"], &seeded("long", 16 << 20));
    let ran = bash(&home, "\"$0\" pull db | head -c 1 | wc -c; exit ${PIPESTATUS[0]}");
    assert_eq!(ran.code, Some(8), "{}", ran.err);
    assert_eq!(String::from_utf8_lossy(&ran.out).trim(), "1");
    assert!(!ran.err.contains("panicked") && ran.err.contains("cistern: "), "{}", ran.err);
}

#[test]
fn a_listing_whose_reader_left_is_no_failure() {
    let home = Home::new();
    home.ok(&["push", "db"], b"content");
    // The reader leaves before anything is written.
    let ran = bash(&home, "(sleep 0.3; \"$0\" ls) | true; exit ${PIPESTATUS[0]}");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
}
