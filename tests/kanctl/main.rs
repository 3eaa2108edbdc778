//! The door `kanctl` as people and scripts use it: the built program under its name.

#![allow(clippy::disallowed_methods, reason = "a test that unwraps says where it failed")]

#[path = "../support/mod.rs"]
mod support;

mod actionset;
mod door;
mod laptop;
mod lint;
mod profile;
mod render;
mod run;
mod validate;

use support::home::{Home, Ran, run};

/// `cistern kanctl …` in a home of its own.
fn kanctl(args: &[&str], stdin: &str) -> Ran {
    let home = Home::new();
    run(home.command(&[&["kanctl"], args].concat()), stdin.as_bytes())
}

/// Runs what must succeed, and gives what it printed.
fn printed(args: &[&str], stdin: &str) -> String {
    let ran = kanctl(args, stdin);
    assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.err);
    String::from_utf8(ran.out).unwrap()
}

/// Runs what must fail with this code and with these words on standard error, and print nothing.
fn refused(args: &[&str], stdin: &str, code: i32, words: &[&str]) {
    let ran = kanctl(args, stdin);
    assert_eq!(ran.code, Some(code), "{args:?}: {}", ran.err);
    assert!(ran.out.is_empty() && !ran.err.contains("panicked"), "{args:?}: {ran:?}");
    for word in words {
        assert!(ran.err.contains(word), "{args:?}: `{word}` is not in {}", ran.err);
    }
}

fn fixture(name: &str) -> String {
    let path = format!("{}/fixtures/kanister/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}
