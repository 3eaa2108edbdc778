//! `cistern ls` and `cistern show`: what they say of snapshots, and the fields of their JSON.

use crate::home::*;

/// Sorted names of an object's fields.
pub fn fields(value: &serde_json::Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn text(ran: &Ran) -> String {
    String::from_utf8_lossy(&ran.out).into_owned()
}

#[test]
fn the_newest_is_last_and_a_name_narrows_it() {
    let home = Home::new();
    for (name, content) in [("a", "one"), ("b", "two"), ("a", "three")] {
        home.ok(&["push", name], content.as_bytes());
    }
    let listed = home.ok(&["ls", "--json"], b"").json();
    let names: Vec<_> = listed["snapshots"].as_array().unwrap().iter().map(|s| &s["name"]).collect();
    assert_eq!(names, ["a", "b", "a"]);
    assert_eq!(listed["snapshots"][2]["raw_bytes"], 5);
    let only = home.ok(&["ls", "a", "--json"], b"").json();
    assert_eq!(only["snapshots"].as_array().unwrap().len(), 2);
    let newest = home.ok(&["ls", "--last", "1", "--json"], b"").json();
    let newest: Vec<_> = newest["snapshots"].as_array().unwrap().iter().map(|s| &s["raw_bytes"]).collect();
    assert_eq!(newest, [3, 5], "the newest of each name");
    let ran = home.run(&["ls", "c"], b"");
    assert_eq!(ran.code, Some(5), "{}", ran.err);
}

#[test]
fn the_table_lines_up_and_says_what_is_special() {
    let home = Home::new();
    home.ok(&["push", "a"], b"one");
    home.ok(&["push", "longer-name", "--accept-partial"], &pg_dump().as_bytes()[..5000]);
    home.ok(&["hold", "a", "--name", "audit", "--reason", "case 7"], b"");
    home.ok(&["tag", "a", "--add", "gold"], b"");
    let ran = home.ok(&["ls"], b"");
    let text = text(&ran);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    let column = |head: &str| lines[0].find(head).unwrap();
    assert!(lines[1][column("FLAGS")..].starts_with("held"), "{text}");
    assert!(lines[2][column("FLAGS")..].starts_with("partial"), "{text}");
    assert!(lines[1][column("TAGS")..].starts_with("gold"), "{text}");
    assert!(lines[1][column("NAME")..].starts_with("a "), "{text}");
    assert!(ran.err.is_empty(), "{}", ran.err);
}

#[test]
fn the_short_id_finds_the_snapshot() {
    let home = Home::new();
    home.ok(&["push", "db"], b"first");
    home.ok(&["push", "db"], b"second");
    let listed = home.ok(&["ls", "--json"], b"").json();
    let short = listed["snapshots"][0]["short_id"].as_str().unwrap();
    assert_eq!(home.pull(&format!("db@{short}")), b"first");
    let shown = home.ok(&["show", short, "--json"], b"").json();
    assert_eq!(shown, listed["snapshots"][0], "show and ls speak alike");
}

#[test]
fn json_fields_are_these() {
    let home = Home::new();
    home.ok(&["push", "db", "--tag", "gold"], &gzip(pg_dump().as_bytes()));
    let shown = home.ok(&["show", "db", "--json"], b"").json();
    for field in [
        "id",
        "short_id",
        "receipt",
        "name",
        "host",
        "committed",
        "committed_ms",
        "started",
        "finished",
        "sequence",
        "previous",
        "raw_bytes",
        "added_bytes",
        "digest",
        "stored",
        "format",
        "completeness",
        "detail",
        "wrap",
        "tags",
        "holds",
        "producer",
        "deltas",
        "suspect",
    ] {
        assert!(fields(&shown).contains(&field), "{field} is gone: {shown}");
    }
    let stored =
        ["chunks", "delta_bytes", "delta_stored_bytes", "duplicate_bytes", "new_bytes", "new_stored_bytes"];
    assert_eq!(fields(&shown["stored"]), stored);
    assert_eq!(fields(&shown["wrap"]), ["original_bytes", "original_digest"]);
    assert_eq!(shown["tags"], serde_json::json!(["gold"]));
    assert_eq!(shown["completeness"], "complete");
}

#[test]
fn show_tells_everything_to_people() {
    let home = Home::new();
    let wrapped = gzip(pg_dump().as_bytes());
    home.ok(&["push", "db"], &wrapped);
    home.ok(&["hold", "db", "--name", "audit", "--reason", "case 7"], b"");
    let shown = home.ok(&["show", "db", "--json"], b"").json();
    let text = text(&home.ok(&["show", "db"], b""));
    for said in [
        shown["id"].as_str().unwrap(),
        shown["receipt"].as_str().unwrap(),
        shown["format"].as_str().unwrap(),
        "held:           audit: case 7",
        "complete",
        "arrived as gzip",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[test]
fn an_empty_repository_lists_nothing() {
    let home = Home::new();
    home.ok(&["init"], b"");
    let ran = home.ok(&["ls"], b"");
    assert!(ran.out.is_empty() && ran.err.contains("no snapshots"), "{ran:?}");
    assert_eq!(home.ok(&["ls", "--json"], b"").json(), serde_json::json!({"snapshots": []}));
}
