//! `cistern doctor`: before there is a repository, with a sound one, and with what is wrong.

use crate::home::*;
use crate::ls::fields;
use crate::prune::two_days_old;

fn verdict<'r>(report: &'r serde_json::Value, check: &str) -> Vec<&'r str> {
    let of_check = |f: &&serde_json::Value| f["check"] == check;
    let findings = report["findings"].as_array().unwrap().iter().filter(of_check);
    findings.map(|f| f["verdict"].as_str().unwrap()).collect()
}

#[test]
fn it_works_before_init_and_leaves_nothing() {
    let home = Home::new();
    let report = home.ok(&["doctor", "--json"], b"").json();
    assert_eq!(fields(&report), ["findings", "location", "verdict"]);
    assert_eq!(fields(&report["findings"][0]), ["check", "meaning", "measured", "verdict"]);
    assert_eq!(report["verdict"], "good", "{report}");
    assert_eq!(verdict(&report, "create-if-absent"), ["good"]);
    assert_eq!(std::fs::read_dir(home.path("")).unwrap().count(), 0);
}

#[test]
fn it_opens_the_repository_and_knows_the_role() {
    let home = Home::new();
    home.ok(&["push", "db"], b"content");
    home.ok(&["key", "export", "--role", "push", "-o", "push.key"], b"");
    let ran = home.ok(&["doctor", "--key-file", "push.key"], b"");
    let text = String::from_utf8_lossy(&ran.out).into_owned();
    assert!(text.contains("role push") && text.contains("cannot read"), "{text}");
    assert!(files_below(&home.repository().join("doctor")).is_empty());
}

#[test]
fn a_wrong_key_is_bad() {
    let home = Home::new();
    home.ok(&["push", "db"], b"content");
    home.ok(&["init", "--repo", "other", "--key-file", "other.key"], b"");
    let ran = home.run(&["doctor", "--key-file", "other.key", "--json"], b"");
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert_eq!(verdict(&ran.json(), "repository"), ["bad"]);
}

#[test]
fn what_a_dead_push_left_limits_it() {
    let home = Home::new();
    home.ok(&["push", "db"], b"content");
    two_days_old(&home.repository().join("sessions/01M7WG34P6K7P0RN90GDPX77F7"), b"");
    let ran = home.run(&["doctor", "--json"], b"");
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert_eq!(verdict(&ran.json(), "sessions"), ["limited"]);
    assert!(ran.err.contains("sessions"), "{}", ran.err);
}
