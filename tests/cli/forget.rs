//! `cistern forget`: plans, previews, and what it refuses.

use crate::home::*;
use crate::ls::fields;
use crate::terminal::{on_terminal, shown};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Makes the store believe that a snapshot was committed at this time, seconds since 1970.
fn commit_at(home: &Home, id: &str, epoch_secs: u64) {
    let path = home.repository().join("snapshots").join(id);
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(epoch_secs);
    std::fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

/// Pushes one snapshot of `name` for each time; returns their ids.
fn history(home: &Home, name: &str, times: &[u64]) -> Vec<String> {
    let push = |time: &u64| {
        let pushed = home.ok(&["push", name, "--json"], time.to_string().as_bytes()).json();
        let id = pushed["id"].as_str().or(pushed["snapshot"]["id"].as_str()).unwrap().to_owned();
        commit_at(home, &id, *time);
        id
    };
    times.iter().map(push).collect()
}

fn left(home: &Home) -> Vec<String> {
    let listed = home.ok(&["ls", "--json"], b"").json();
    listed["snapshots"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect()
}

/// 2026-11-16, a Monday, 12:00 UTC.
const MONDAY: u64 = 1_794_830_400;
const DAY: u64 = 24 * 3600;

#[test]
fn the_plan_gives_a_reason_for_each() {
    let home = Home::new();
    let ids = history(&home, "db", &[MONDAY, MONDAY + 3600, MONDAY + DAY]);
    let report = home.ok(&["forget", "--keep-daily", "5", "--tz", "UTC", "--json"], b"").json();
    assert_eq!(fields(&report), ["decisions", "dry_run", "forgotten", "kept", "prune"]);
    let decisions = report["decisions"].as_array().unwrap();
    assert_eq!(fields(&decisions[0]), ["committed_ms", "id", "keep", "name", "raw_bytes", "reasons"]);
    assert_eq!((&report["kept"], &report["forgotten"]), (&2.into(), &1.into()));
    assert_eq!(decisions[0]["reasons"][0], "daily 2026-11-17");
    assert_eq!(decisions[2]["reasons"][0], "no rule keeps it");
    let mut there = left(&home);
    there.sort();
    assert_eq!(there, ids[1..], "the newest of each day");
}

#[test]
fn days_are_those_of_the_time_zone() {
    let home = Home::new();
    // 12:00 and 16:00 UTC are one day in London and two in Tokyo.
    history(&home, "db", &[MONDAY, MONDAY + 4 * 3600]);
    let kept = |zone: &str| {
        home.ok(&["forget", "--keep-daily", "9", "--tz", zone, "--dry-run", "--json"], b"").json()["kept"]
            .clone()
    };
    assert_eq!((kept("Europe/London"), kept("Asia/Tokyo")), (1.into(), 2.into()));
    assert_eq!(home.run(&["forget", "--keep-daily", "9", "--tz", "Mars/Base"], b"").code, Some(2));
}

#[test]
fn a_dry_run_shows_the_plan_and_changes_nothing() {
    let home = Home::new();
    history(&home, "db", &[MONDAY, MONDAY + DAY]);
    let ran = home.ok(&["forget", "--keep-last", "1", "--dry-run", "--prune"], b"");
    let table = String::from_utf8_lossy(&ran.out).into_owned();
    assert!(table.contains("forget") && table.contains("no rule keeps it"), "{table}");
    assert_eq!(left(&home).len(), 2);
    home.ok(&["forget", "--keep-last", "1"], b"");
    assert_eq!(left(&home).len(), 1);
}

#[test]
fn names_ids_and_tags_narrow_it() {
    let home = Home::new();
    let db = history(&home, "db", &[MONDAY, MONDAY + DAY]);
    let other = history(&home, "other", &[MONDAY, MONDAY + DAY]);
    home.ok(&["tag", &db[0], "--add", "gold"], b"");
    home.ok(&["forget", "db", "--keep-last", "1", "--keep-tag", "gold"], b"");
    assert_eq!(left(&home).len(), 4, "the tag keeps it, and the other name was not meant");
    home.ok(&["forget", "--id", &db[0], &other[0]], b"");
    let mut there = left(&home);
    there.sort();
    let mut expected = vec![db[1].clone(), other[1].clone()];
    expected.sort();
    assert_eq!(there, expected);
}

#[test]
fn within_goes_back_from_the_newest() {
    let home = Home::new();
    let ids = history(&home, "db", &[MONDAY, MONDAY + 5 * DAY, MONDAY + 8 * DAY]);
    home.ok(&["forget", "--keep-within", "7d"], b"");
    assert!(!left(&home).contains(&ids[0]) && left(&home).len() == 2);
}

#[test]
fn slips_of_the_finger_forget_nothing() {
    let home = Home::new();
    let ids = history(&home, "db", &[MONDAY, MONDAY + DAY]);
    for args in [
        &["forget"][..],
        &["forget", "db"],
        &["forget", "--keep-last", "0"],
        &["forget", "--id", &ids[0], "--keep-last", "1"],
        &["forget", "db", "--id", &ids[0]],
    ] {
        let ran = home.run(args, b"");
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.err);
    }
    for args in
        [&["forget", "typo", "--keep-last", "1"][..], &["forget", "--id", "db"], &["forget", "--id", "0000"]]
    {
        assert_eq!(home.run(args, b"").code, Some(5), "{args:?}");
    }
    assert_eq!(left(&home).len(), 2);
}

#[test]
fn on_a_terminal_it_asks() {
    let home = Home::new();
    history(&home, "db", &[MONDAY, MONDAY + DAY]);
    let ran = on_terminal(&home, "$CISTERN forget --keep-last 1", b"n\n");
    assert_eq!(ran.code, Some(1), "{}", shown(&ran));
    assert!(shown(&ran).contains("Forget 1 of 2 snapshots?"), "{}", shown(&ran));
    assert_eq!(left(&home).len(), 2);
    assert_eq!(on_terminal(&home, "$CISTERN forget --keep-last 1 --yes", b"").code, Some(0));
    assert_eq!(left(&home).len(), 1);
}

#[test]
fn with_prune_the_space_comes_back_after_the_grace() {
    let home = Home::new();
    home.ok(&["push", "db"], &noise(3 << 20));
    home.ok(&["push", "db"], &noise(3 << 20).into_iter().rev().collect::<Vec<u8>>());
    let report = home.ok(&["forget", "--keep-last", "1", "--prune", "--json"], b"").json();
    assert!(report["prune"]["condemned_bytes"].as_u64().unwrap() > 3 << 20, "{report}");
    assert_eq!(report["prune"]["deleted_packs"], 0, "there is a day of grace");
}
