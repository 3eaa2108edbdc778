//! Dumps of real databases through the built program and back into new ones, compared row by row.
//!
//! Servers are throw-away: each lives in a folder of its own and listens on a socket there.
#![expect(clippy::disallowed_methods, reason = "a test may unwrap")]

mod broken;
mod etcd;
mod etcd_server;
mod mariadb;
mod mysql_server;
mod nights;
mod postgres;
mod postgres_server;
mod redis;
#[path = "../support/mod.rs"]
mod support;

use std::process::Command;
use support::home::{CISTERN, Home, Ran, run};

/// A line for bash whose `$0` is the program, in a home, with variables of a database's tools. A pipeline fails
/// with whatever of it fails.
fn bash(home: &Home, variables: &[(&str, &str)], line: &str) -> Ran {
    let mut command = Command::new("bash");
    home.furnish(&mut command);
    command.envs(variables.iter().copied()).args(["-o", "pipefail", "-c", line, CISTERN]);
    run(command, b"")
}

/// The same, for what must succeed; returns what it printed.
fn shell(home: &Home, variables: &[(&str, &str)], line: &str) -> String {
    let ran = bash(home, variables, line);
    assert_eq!(ran.code, Some(0), "{line}: {}", ran.err);
    String::from_utf8(ran.out).unwrap()
}

/// The first lines that differ, for messages: a whole dump would help nobody.
fn assert_same_text(left: &str, right: &str, what: &str) {
    let differing = left.lines().zip(right.lines()).enumerate().find(|(_, (l, r))| l != r);
    if let Some((number, (l, r))) = differing {
        panic!("{what}, line {}:\n{l:.300}\n{r:.300}", number + 1);
    }
    assert_eq!(left.len(), right.len(), "{what}: one goes on");
}
