//! `cistern key`: passphrases come, go and change; credentials are written once, for their owner only.

use crate::home::*;
use crate::ls::fields;
use std::os::unix::fs::PermissionsExt as _;

const FIRST: &str = "correct horse battery";
const SECOND: &str = "staple that nobody guesses";

/// A repository with a passphrase; returns the id of its slot.
fn with_passphrase() -> (Home, String) {
    let home = Home::new();
    home.ok(&["push", "db"], b"content");
    home.write("first", FIRST);
    home.write("second", SECOND);
    let added =
        home.ok(&["key", "add", "--label", "ops", "--new-passphrase-file", "first", "--json"], b"").json();
    assert_eq!(fields(&added), ["added", "removed"]);
    let id = added["added"]["id"].as_str().unwrap().to_owned();
    (home, id)
}

fn opens(home: &Home, file: &str) -> Option<i32> {
    home.run(&["ls", "--passphrase-file", file], b"").code
}

#[test]
fn an_added_passphrase_opens_and_a_removed_one_does_not() {
    let (home, id) = with_passphrase();
    assert_eq!(opens(&home, "first"), Some(0));
    assert_eq!(opens(&home, "second"), Some(4));
    let ran = home.ok(&["key", "list", "--json"], b"");
    let listed = ran.json();
    assert_eq!(fields(&listed["slots"][0]), ["id", "label", "role"]);
    assert_eq!((&listed["slots"][0]["label"], &listed["slots"][0]["role"]), (&"ops".into(), &"owner".into()));
    let table = String::from_utf8_lossy(&home.ok(&["key", "list"], b"").out).into_owned();
    assert!(table.contains(&id) && table.contains("ops"), "{table}");
    home.ok(&["key", "remove", &id], b"");
    assert_eq!(opens(&home, "first"), Some(4));
    assert_eq!(home.run(&["key", "remove", &id], b"").code, Some(5));
}

#[test]
fn rotation_ends_with_the_new_one_alone() {
    let (home, id) = with_passphrase();
    home.ok(&["key", "rotate", &id, "--new-passphrase-command", "cat second"], b"");
    assert_eq!((opens(&home, "first"), opens(&home, "second")), (Some(4), Some(0)));
    let listed = home.ok(&["key", "list", "--json"], b"").json();
    assert_eq!(listed["slots"].as_array().unwrap().len(), 1);
    assert_eq!(listed["slots"][0]["label"], "ops");
}

#[test]
fn a_passphrase_of_a_lesser_role_may_do_less() {
    let (home, _) = with_passphrase();
    home.ok(&["key", "add", "--role", "push", "--label", "node", "--new-passphrase-file", "second"], b"");
    home.ok(&["push", "db", "--passphrase-file", "second"], b"by the node");
    assert_eq!(home.run(&["pull", "db", "--passphrase-file", "second"], b"").code, Some(4));
    assert_eq!(home.pull("db"), b"by the node");
}

#[test]
fn a_passphrase_that_cannot_be_had_adds_nothing() {
    let (home, _) = with_passphrase();
    home.write("short", "1234567");
    for (args, code) in [
        (["--new-passphrase-file", "short"], 2),
        (["--new-passphrase-file", "absent"], 4),
        (["--new-passphrase-command", "exit 3"], 4),
        (["--new-passphrase-env", "NOT_SET"], 4),
    ] {
        let ran = home.run(&[&["key", "add", "--label", "x"], &args[..]].concat(), b"");
        assert_eq!(ran.code, Some(code), "{args:?}: {}", ran.err);
    }
    let listed = home.ok(&["key", "list", "--json"], b"").json();
    assert_eq!(listed["slots"].as_array().unwrap().len(), 1);
}

#[test]
fn an_exported_key_is_its_owners_and_overwrites_nothing() {
    let (home, _) = with_passphrase();
    let ran = home.ok(&["key", "export", "--role", "pull", "-o", "pull.key", "--json"], b"");
    assert_eq!(fields(&ran.json()), ["file", "role"]);
    let path = home.path("pull.key");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let key = std::fs::read_to_string(&path).unwrap();
    assert!(!String::from_utf8_lossy(&ran.out).contains(key.trim()) && !ran.err.contains(key.trim()));
    home.ok(&["pull", "db", "--key-file", "pull.key"], b"");
    assert_eq!(home.run(&["key", "export", "--role", "push", "-o", "pull.key"], b"").code, Some(2));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), key);
    assert_eq!(home.run(&["key", "export", "--role", "king", "-o", "x"], b"").code, Some(2));
}
