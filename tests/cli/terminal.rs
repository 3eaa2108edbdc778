//! What happens on a terminal and only there. `script` (bsdutils) provides one.

use crate::home::*;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

/// Runs a shell line on a terminal; what the terminal showed is in `out`.
pub fn on_terminal(home: &Home, line: &str, typed: &[u8]) -> Ran {
    run(terminal(home, line), typed)
}

fn terminal(home: &Home, line: &str) -> Command {
    let mut command = Command::new("script");
    home.furnish(&mut command);
    command.env("CISTERN", CISTERN).env("TERM", "xterm").env("SHELL", "/bin/sh");
    command.args(["--quiet", "--return", "--command", line, "/dev/null"]);
    command
}

pub fn shown(ran: &Ran) -> String {
    String::from_utf8_lossy(&ran.out).into_owned()
}

#[test]
fn a_terminal_is_no_stream() {
    let home = Home::new();
    let ran = on_terminal(&home, "$CISTERN push db", b"");
    assert_eq!(ran.code, Some(2), "{}", shown(&ran));
    assert!(shown(&ran).contains("terminal"), "{}", shown(&ran));
    assert!(!home.repository().exists());
}

#[test]
fn a_dump_is_not_thrown_at_a_terminal() {
    let home = Home::new();
    home.ok(&["push", "db"], b"some content");
    let ran = on_terminal(&home, "$CISTERN pull db", b"");
    assert_eq!(ran.code, Some(2), "{}", shown(&ran));
    assert!(!shown(&ran).contains("some content") && shown(&ran).contains("-o"), "{}", shown(&ran));
    let ran = on_terminal(&home, "$CISTERN pull db -o -", b"");
    assert_eq!(ran.code, Some(0), "{}", shown(&ran));
    assert!(shown(&ran).contains("some content"), "{}", shown(&ran));
}

#[test]
fn a_line_moves_while_a_stream_does_and_tells_the_time_left() {
    let home = Home::new();
    home.ok(&["push", "db"], &noise(6 << 20));
    let slowly = "(head -c 3000000 /dev/zero; sleep 1) | $CISTERN push db";
    let ran = on_terminal(&home, slowly, b"");
    let text = shown(&ran);
    assert_eq!(ran.code, Some(0), "{text}");
    assert!(text.contains("/s  ") && text.contains("% known") && text.contains(" left"), "{text:?}");
    assert!(text.contains("Stored db as"), "{text:?}");
    let ran = on_terminal(&home, &format!("{slowly} -q"), b"");
    assert!(!shown(&ran).contains("known"), "{:?}", shown(&ran));
}

#[test]
fn a_line_moves_while_a_repository_is_cared_for() {
    let home = Home::new();
    home.ok(&["push", "db"], &noise(6 << 20));
    for command in ["prune", "repair", "optimize", "verify", "verify --level 3"] {
        let ran = on_terminal(&home, &format!("$CISTERN {command}"), b"");
        assert_eq!(ran.code, Some(0), "{command}: {}", shown(&ran));
        assert!(shown(&ran).contains("\x1b[2K"), "{command} draws: {:?}", shown(&ran));
        for quiet in [format!("$CISTERN {command} -q"), format!("$CISTERN {command} 2>log; cat log")] {
            let ran = on_terminal(&home, &quiet, b"");
            assert!(!shown(&ran).contains("\x1b[2K"), "{quiet}: {:?}", shown(&ran));
        }
    }
}

#[test]
fn a_passphrase_is_asked_for_and_not_shown() {
    let home = Home::new();
    home.write("pass", "correct horse battery");
    home.ok(&["init", "--repo", "repo", "--passphrase-file", "pass"], b"");
    home.ok(&["push", "db", "--repo", "repo", "--passphrase-file", "pass"], b"content");
    let mut command = terminal(&home, "$CISTERN pull db --repo repo -o restored");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut text = Vec::new();
    while !text.ends_with(b"Passphrase of repo: ") {
        let mut byte = [0];
        assert_eq!(out.read(&mut byte).unwrap(), 1, "it asks: {}", String::from_utf8_lossy(&text));
        text.extend(byte);
    }
    child.stdin.as_mut().unwrap().write_all(b"correct horse battery\n").unwrap();
    out.read_to_end(&mut text).unwrap();
    let text = String::from_utf8_lossy(&text);
    assert!(child.wait().unwrap().success(), "{text}");
    assert!(!text.contains("horse"), "{text}");
    assert_eq!(std::fs::read(home.path("restored")).unwrap(), b"content");
}
