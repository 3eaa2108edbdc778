//! `cistern tag` and `cistern hold`: what is said of snapshots after their push.

use crate::home::*;
use crate::ls::fields;
use serde_json::json;

fn tags(home: &Home, snapshot: &str) -> serde_json::Value {
    home.ok(&["show", snapshot, "--json"], b"").json()["tags"].clone()
}

#[test]
fn tags_come_and_go() {
    let home = Home::new();
    home.ok(&["push", "a"], b"one");
    home.ok(&["push", "b"], b"two");
    let ran = home.ok(&["tag", "a", "b", "--add", "gold", "--add", "old", "--json"], b"").json();
    assert_eq!(ran["changed"].as_array().unwrap().len(), 2);
    assert_eq!(fields(&ran["changed"][0]), ["id", "name", "tags"]);
    assert_eq!((tags(&home, "a"), tags(&home, "b")), (json!(["gold", "old"]), json!(["gold", "old"])));
    home.ok(&["tag", "a", "--remove", "gold", "--add", "new"], b"");
    assert_eq!((tags(&home, "a"), tags(&home, "b")), (json!(["new", "old"]), json!(["gold", "old"])));
    assert_eq!(
        home.ok(&["ls", "--tag", "new", "--json"], b"").json()["snapshots"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn one_unknown_snapshot_and_none_is_tagged() {
    let home = Home::new();
    home.ok(&["push", "a"], b"one");
    assert_eq!(home.run(&["tag", "a", "nothing", "--add", "x"], b"").code, Some(5));
    assert_eq!(tags(&home, "a"), json!([]));
    assert_eq!(home.run(&["tag", "a"], b"").code, Some(2), "neither --add nor --remove");
    assert_eq!(home.run(&["tag", "a", "--add", "x,y"], b"").code, Some(2), "a comma splits lists");
}

#[test]
fn a_held_snapshot_is_not_forgotten_until_the_hold_is_lifted() {
    let home = Home::new();
    home.ok(&["push", "a"], b"one");
    home.ok(&["push", "a"], b"two");
    let id = home.ok(&["ls", "--json"], b"").json()["snapshots"][0]["id"].as_str().unwrap().to_owned();
    home.ok(&["hold", &id, "--name", "audit", "--reason", "case 7"], b"");
    home.ok(&["forget", "--keep-last", "1"], b"");
    let ran = home.run(&["forget", "--id", &id], b"");
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("audit") && ran.err.contains("case 7"), "{}", ran.err);
    assert_eq!(home.pull(&id), b"one");

    let ran = home.run(&["hold", &id, "--lift", "other"], b"");
    assert_eq!(ran.code, Some(5), "{}", ran.err);
    assert!(ran.err.contains("audit"), "it says by whom it is held: {}", ran.err);
    let lifted = home.ok(&["hold", &id, "--lift", "audit", "--json"], b"").json();
    assert_eq!(lifted["changed"][0]["holds"], json!([]));
    home.ok(&["forget", "--keep-last", "1"], b"");
    home.assert_absent(&id);
}

#[test]
fn a_hold_needs_a_name_and_a_reason() {
    let home = Home::new();
    home.ok(&["push", "a"], b"one");
    for args in [
        &["hold", "a"][..],
        &["hold", "a", "--name", "x"],
        &["hold", "a", "--reason", "y"],
        &["hold", "a", "--name", "x", "--reason", " "],
        &["hold", "a", "--name", "x", "--reason", "y", "--lift", "x"],
    ] {
        assert_eq!(home.run(args, b"").code, Some(2), "{args:?}");
    }
    assert_eq!(home.ok(&["show", "a", "--json"], b"").json()["holds"], json!({}));
}
