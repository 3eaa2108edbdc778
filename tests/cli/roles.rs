//! What each role's key file may do, and that the rest is refused with exit code 4 before anything changes.

use crate::home::*;

fn with_keys() -> Home {
    let home = Home::new();
    home.ok(&["push", "db"], b"first");
    home.ok(&["push", "db"], b"second");
    home.ok(&["hold", "db", "--name", "audit", "--reason", "case 7"], b"");
    for role in ["push", "pull", "maintain"] {
        home.ok(&["key", "export", "--role", role, "-o", &format!("{role}.key")], b"");
    }
    home.write("pass", "correct horse battery");
    home
}

/// The exit code of a command under a role's key.
fn code(home: &Home, role: &str, args: &[&str]) -> i32 {
    let key = format!("{role}.key");
    let ran = home.run(&[args, &["--key-file", &key]].concat(), b"by a role");
    assert!(ran.code != Some(4) || ran.err.contains("role"), "it says why: {}", ran.err);
    ran.code.unwrap()
}

const LS: &[&str] = &["ls"];
const PUSH: &[&str] = &["push", "by-role"];
const PULL: &[&str] = &["pull", "db"];
const FORGET: &[&str] = &["forget", "db", "--keep-last", "1"];
const PRUNE: &[&str] = &["prune"];
const REPAIR: &[&str] = &["repair"];
const VERIFY_BYTES: &[&str] = &["verify", "--level", "2"];
const VERIFY_DATA: &[&str] = &["verify", "--level", "3"];
const LIFT: &[&str] = &["hold", "db", "--lift", "audit"];
const UNTAG: &[&str] = &["tag", "db", "--remove", "x"];
const ADD_KEY: &[&str] = &["key", "add", "--label", "x", "--new-passphrase-file", "pass"];
const EXPORT: &[&str] = &["key", "export", "--role", "push", "-o", "more.key"];
const COPY: &[&str] = &["copy", "--to", "there", "--to-key-file", "there.key"];
const OPTIMIZE: &[&str] = &["optimize"];

#[test]
fn a_push_key_stores_and_no_more() {
    let home = with_keys();
    home.ok(&["init", "--repo", "there", "--key-file", "there.key"], b"");
    for refused in [PULL, FORGET, PRUNE, REPAIR, VERIFY_DATA, LIFT, UNTAG, ADD_KEY, EXPORT, COPY, OPTIMIZE] {
        assert_eq!(code(&home, "push", refused), 4, "{refused:?}");
    }
    for allowed in [LS, PUSH] {
        assert_eq!(code(&home, "push", allowed), 0, "{allowed:?}");
    }
    assert_eq!(home.pull("by-role"), b"by a role");
    assert_eq!(home.ok(&["ls", "db", "--json"], b"").json()["snapshots"].as_array().unwrap().len(), 2);
    assert!(!home.path("more.key").exists());
}

#[test]
fn a_maintain_key_takes_away_and_reads_nothing() {
    let home = with_keys();
    for refused in [PUSH, PULL, VERIFY_DATA, ADD_KEY, EXPORT, OPTIMIZE] {
        assert_eq!(code(&home, "maintain", refused), 4, "{refused:?}");
    }
    for allowed in [LS, FORGET, PRUNE, VERIFY_BYTES, REPAIR, UNTAG, LIFT] {
        assert_eq!(code(&home, "maintain", allowed), 0, "{allowed:?}");
    }
    home.assert_absent("by-role");
    assert_eq!(home.ok(&["ls", "db", "--json"], b"").json()["snapshots"].as_array().unwrap().len(), 1);
}

#[test]
fn a_pull_key_reads_and_takes_nothing_away() {
    let home = with_keys();
    for refused in [FORGET, PRUNE, REPAIR, LIFT, ADD_KEY, EXPORT] {
        assert_eq!(code(&home, "pull", refused), 4, "{refused:?}");
    }
    for allowed in [LS, PULL, VERIFY_DATA] {
        assert_eq!(code(&home, "pull", allowed), 0, "{allowed:?}");
    }
}

#[test]
fn a_push_key_with_session_keys_kept_here_makes_deltas_at_once() {
    let home = with_keys();
    let rows = |night: u64| {
        (0..60_000u64)
            .map(|i| {
                format!(
                    "{i}\t{:x}\n",
                    (i + if i % 5000 == night { 1 } else { 0 }).wrapping_mul(0x9e37_79b9_7f4a_7c15)
                )
            })
            .collect::<String>()
    };
    let push = |night: u64, keep: bool| {
        let mut command = home.command(&["push", "rows", "--key-file", "push.key", "--json"]);
        if keep {
            command.env("CISTERN_SESSION_KEYS", home.path("session-keys"));
        }
        run(command, rows(night).as_bytes()).json()
    };
    push(1, true);
    let report = push(2, true);
    assert!(report["stored"]["delta_bytes"].as_u64() > Some(0), "{report}");
    assert!(report["deltas"].as_str().unwrap().contains("keeps"), "{report}");
    let report = push(3, false);
    assert_eq!(report["stored"]["delta_bytes"], 0, "without the keys it cannot read: {report}");
    assert_eq!(code(&home, "push", PULL), 4, "they do not let it pull");
    let mode = std::fs::metadata(home.path("session-keys")).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o077, 0, "the place is private");
    assert_eq!(home.pull("rows"), rows(3).as_bytes());
}
