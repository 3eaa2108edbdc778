//! `cistern prune` and `cistern optimize`: space comes back, and not before its time.

use crate::home::*;
use crate::ls::fields;
use std::path::Path;
use std::time::{Duration, SystemTime};

fn pack_bytes(home: &Home) -> u64 {
    files_below(&home.repository().join("packs")).iter().map(|p| p.metadata().unwrap().len()).sum()
}

/// Writes a file that looks two days old.
pub fn two_days_old(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = std::fs::File::create(path).unwrap();
    std::io::Write::write_all(&mut file, content).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test of a program that runs on real time")]
    let now = SystemTime::now();
    file.set_modified(now - Duration::from_secs(48 * 3600)).unwrap();
}

/// Two streams that share nothing, the first of them forgotten.
fn with_waste() -> Home {
    let home = Home::new();
    home.ok(&["push", "db"], &noise(3 << 20));
    home.ok(&["push", "db"], &second());
    home.ok(&["forget", "--keep-last", "1"], b"");
    home
}

fn second() -> Vec<u8> {
    noise(3 << 20).into_iter().rev().collect()
}

#[test]
fn forgotten_space_is_kept_for_a_day_and_then_given_back() {
    let home = with_waste();
    let before = pack_bytes(&home);
    assert!(before > 6 << 20);
    let ran = home.ok(&["prune"], b"");
    let text = String::from_utf8_lossy(&ran.out).into_owned();
    assert!(text.contains("condemned 1 packs") && text.contains("waiting:"), "{text}");
    assert_eq!(pack_bytes(&home), before, "condemned is not deleted");
    let report = home.ok(&["prune", "--grace", "0s", "--json"], b"").json();
    assert_eq!(report["deleted_packs"], 1, "{report}");
    assert!(pack_bytes(&home) < 4 << 20);
    assert_eq!(home.pull("db"), second());
}

#[test]
fn a_dry_run_deletes_nothing() {
    let home = with_waste();
    let before = files_below(&home.repository());
    let report = home.ok(&["prune", "--grace", "0s", "--dry-run", "--json"], b"").json();
    assert_eq!((&report["dry_run"], &report["condemned_packs"]), (&true.into(), &1.into()), "{report}");
    assert_eq!(files_below(&home.repository()), before);
}

#[test]
fn json_fields_are_these() {
    let home = with_waste();
    let report = home.ok(&["prune", "--json"], b"").json();
    for field in [
        "condemned_bytes",
        "condemned_packs",
        "copied_bytes",
        "released_bases",
        "rebased_deltas",
        "deleted_packs",
        "dry_run",
        "freed_bytes",
        "index_objects",
        "optimize",
        "pack_bytes",
        "packs",
        "refused_sessions",
        "removed_snapshots",
        "staging_files",
        "unused_bytes",
        "waiting",
    ] {
        assert!(fields(&report).contains(&field), "{field} is gone: {report}");
    }
}

#[test]
fn what_crashed_writers_left_is_cleaned_up_when_it_is_old() {
    let home = with_waste();
    let staging = home.repository().join(".staging");
    two_days_old(&staging.join("0123456789abcdef"), b"half a pack");
    std::fs::File::create(staging.join("fedcba9876543210")).unwrap();
    assert_eq!(home.ok(&["prune", "--dry-run", "--json"], b"").json()["staging_files"], 0);
    assert_eq!(home.ok(&["prune", "--json"], b"").json()["staging_files"], 1);
    assert!(staging.join("fedcba9876543210").exists(), "it may be a live writer's");
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let home = with_waste();
    for args in [
        ["--max-unused", "101%"],
        ["--max-unused", "lots"],
        ["--grace", "soon"],
        ["--max-repack", "9X"],
        ["--session-timeout", "-1h"],
    ] {
        assert_eq!(home.run(&["prune", args[0], args[1]], b"").code, Some(2), "{args:?}");
    }
}

/// Two dumps that differ in every chunk but little, the second pushed without reading the first.
fn pushed_blindly(home: &Home) -> String {
    home.ok(&["push", "db"], rows(0).as_bytes());
    home.ok(&["key", "export", "--role", "push", "-o", "push.key"], b"");
    home.ok(&["push", "db", "--key-file", "push.key"], rows(1).as_bytes());
    rows(1)
}

fn rows(night: u32) -> String {
    (0..60_000u32)
        .map(|i| {
            let version = if i % 500 == 7 { night } else { 0 };
            let dice = (i ^ version << 20).wrapping_mul(2_654_435_761);
            format!("{i}\t{dice:08x}\trow number {}\t{}\n", dice % 977, dice % 31)
        })
        .collect()
}

#[test]
fn chunks_stored_blindly_become_deltas() {
    let home = Home::new();
    let second = pushed_blindly(&home);
    let preview = home.ok(&["optimize", "--dry-run", "--json"], b"").json();
    assert!(preview["deltas"].as_u64().unwrap() > 0 && preview["dry_run"] == true, "{preview}");
    let report = home.ok(&["optimize", "--json"], b"").json();
    assert_eq!(report["deltas"], preview["deltas"]);
    assert_eq!(home.ok(&["stats", "--json"], b"").json()["delta_chunks"], report["deltas"]);
    assert!(report["after_bytes"].as_u64() < report["before_bytes"].as_u64(), "{report}");
    assert_eq!(home.pull("db"), second.as_bytes());
}

#[test]
fn prune_optimizes_where_the_key_can_read() {
    let home = Home::new();
    let second = pushed_blindly(&home);
    home.ok(&["key", "export", "--role", "maintain", "-o", "maintain.key"], b"");
    let by_maintain = home.ok(&["prune", "--json", "--key-file", "maintain.key"], b"").json();
    assert!(by_maintain["optimize"].is_null(), "{by_maintain}");
    assert!(home.ok(&["prune", "--no-optimize", "--json"], b"").json()["optimize"].is_null());
    let by_owner = home.ok(&["prune", "--json"], b"").json();
    assert!(by_owner["optimize"]["deltas"].as_u64().unwrap() > 0, "{by_owner}");
    assert_eq!(home.pull("db"), second.as_bytes());
}
