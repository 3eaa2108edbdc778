//! `cistern stats`: where the bytes went.

use crate::home::*;
use crate::ls::fields;

#[test]
fn duplicate_and_new_bytes_are_told_apart() {
    let home = Home::new();
    let dump = noise(2 << 20);
    home.ok(&["push", "db"], &dump);
    home.ok(&["push", "db"], &dump);
    let report = home.ok(&["stats", "--json"], b"").json();
    assert_eq!((&report["snapshots"], &report["raw_bytes"]), (&2.into(), &(4u32 << 20).into()));
    let stored = &report["names"]["db"]["stored"];
    assert_eq!(stored["new_bytes"], 2 << 20);
    assert_eq!(stored["duplicate_bytes"], 2 << 20);
    let factor = report["savings_factor"].as_f64().unwrap();
    assert!((1.7..2.05).contains(&factor), "{factor}");
    for field in [
        "condemned_packs",
        "delta_chunks",
        "delta_record_bytes",
        "index_bytes",
        "index_memory_bytes",
        "index_objects",
        "names",
        "pack_bytes",
        "packs",
        "raw_bytes",
        "recipe_pieces",
        "recipe_record_bytes",
        "savings_factor",
        "snapshots",
        "unused_record_bytes",
        "used_record_bytes",
        "whole_chunks",
        "whole_record_bytes",
    ] {
        assert!(fields(&report).contains(&field), "{field} is gone: {report}");
    }
    let text = String::from_utf8_lossy(&home.ok(&["stats"], b"").out).into_owned();
    assert!(text.contains("4.00 MiB of streams") && text.contains("DUPLICATE"), "{text}");
}

#[test]
fn what_was_forgotten_is_unused() {
    let home = Home::new();
    home.ok(&["push", "db"], &noise(2 << 20));
    home.ok(&["push", "db"], &noise(2 << 20).into_iter().rev().collect::<Vec<u8>>());
    assert_eq!(home.ok(&["stats", "--json"], b"").json()["unused_record_bytes"], 0);
    home.ok(&["forget", "--keep-last", "1"], b"");
    let unused = home.ok(&["stats", "--json"], b"").json()["unused_record_bytes"].as_u64().unwrap();
    assert!(unused >= 2 << 20, "{unused}");
}

#[test]
fn an_empty_repository_has_sums_too() {
    let home = Home::new();
    home.ok(&["init"], b"");
    assert!(home.ok(&["stats", "--json"], b"").json()["savings_factor"].is_null());
    assert!(String::from_utf8_lossy(&home.ok(&["stats"], b"").out).contains("no snapshots"));
}
