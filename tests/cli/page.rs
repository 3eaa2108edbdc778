//! Help, completions, the manual page, and mistakes in what was typed.

use crate::home::*;

#[test]
fn help_tells_every_exit_code() {
    let home = Home::new();
    let help = String::from_utf8(home.ok(&["help"], b"").out).unwrap();
    for code in ["0", "1", "2", "3", "4", "5", "6", "7", "8"] {
        assert!(
            help.lines().any(|line| line.trim_start().starts_with(&format!("{code}   "))),
            "{code}: {help}"
        );
    }
    let page = include_str!("../../docs/exit-codes.md");
    for code in ["`0`", "`1`", "`2`", "`3`", "`4`", "`5`", "`6`", "`7`", "`8`", "`130`", "`143`"] {
        assert!(page.contains(&format!("| {code}")), "docs/exit-codes.md says nothing of {code}");
    }
}

#[test]
fn completions_and_manual_know_the_commands() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = String::from_utf8(home.ok(&["completions", shell], b"").out).unwrap();
        assert!(script.contains("pull") && script.contains("stall-timeout"), "{shell}");
    }
    let page = String::from_utf8(home.ok(&["man"], b"").out).unwrap();
    assert!(page.contains("cistern\\-push") && page.contains("stall\\-timeout"), "{page}");
    assert!(files_below(&home.path("")).is_empty(), "neither needs a home");
}

#[test]
fn mistakes_are_met_with_what_was_probably_meant() {
    let home = Home::new();
    for (args, meant) in [
        (&["pusj", "db"][..], "push"),
        (&["push", "db", "--acept-partial"], "--accept-partial"),
        (&["pull", "db", "--as=contnet"], "content"),
        (&["push"], "<NAME>"),
        (&["push", "db", "--then", "cat"], "--exec"),
        (&["push", "db", "--exec", "a", "--", "b"], "cannot be used"),
        (&["push", "db", "--stall-timeout", "soon"], "stall-timeout"),
    ] {
        let ran = home.run(args, b"");
        assert_eq!(ran.code, Some(2), "{args:?}");
        assert!(ran.err.contains(meant), "{args:?}: {}", ran.err);
    }
}

#[test]
fn a_reader_of_text_that_leaves_early_is_no_failure() {
    let home = Home::new();
    let mut command = home.command(&["man"]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.len()), (Some(0), 0));
}
