//! `cistern pull`: forms, selectors, files replaced at once or not at all.

use crate::home::*;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

#[test]
fn gzip_is_put_back_unless_content_is_asked_for() {
    let home = Home::new();
    // Two members, as `cat a.gz b.gz` makes them.
    let wrapped = [gzip(b"first\n"), gzip(&noise(200_000))].concat();
    home.ok(&["push", "db"], &wrapped);
    let ran = home.ok(&["pull", "db"], b"");
    assert_eq!(ran.out[..3], [0x1f, 0x8b, 8]);
    assert!(gunzip(&ran.out) == gunzip(&wrapped));
    assert!(ran.err.contains("gzip put back"), "{}", ran.err);
    assert!(home.ok(&["pull", "db", "--as=content"], b"").out == gunzip(&wrapped));
    home.ok(&["pull", "db", "-o", "file.gz"], b"");
    assert!(gunzip(&std::fs::read(home.path("file.gz")).unwrap()) == gunzip(&wrapped));
}

#[test]
fn a_file_is_replaced_at_once_and_keeps_its_mode() {
    let home = Home::new();
    home.ok(&["push", "db"], b"new content\n");
    let old = home.write("restored", "old content");
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o640)).unwrap();
    let open = std::fs::File::open(&old).unwrap();
    home.ok(&["pull", "db", "-o", "restored"], b"");
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "new content\n");
    assert_eq!(std::fs::metadata(&old).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(std::io::read_to_string(open).unwrap(), "old content", "the old file was not written into");
    home.ok(&["pull", "db", "-o", "fresh"], b"");
    assert_eq!(std::fs::metadata(home.path("fresh")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_link_stays_a_link_and_a_device_a_device() {
    let home = Home::new();
    home.ok(&["push", "db"], b"new\n");
    let target = home.write("real", "old");
    std::os::unix::fs::symlink(&target, home.path("link")).unwrap();
    home.ok(&["pull", "db", "-o", "link"], b"");
    assert!(home.path("link").is_symlink());
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "new\n");
    home.ok(&["pull", "db", "-o", "/dev/null"], b"");
    assert_eq!(home.ok(&["pull", "db", "-o", "-"], b"").out, b"new\n");
}

#[test]
fn a_pull_that_fails_leaves_the_old_file_and_no_other() {
    let home = Home::new();
    home.ok(&["push", "db"], &noise(12 << 20));
    for pack in files_below(&home.repository().join("packs")) {
        let mut bytes = std::fs::read(&pack).unwrap();
        // Late in the stream, so that its beginning is written before the damage is met.
        let late = bytes.len() / 8 * 7;
        bytes[late] ^= 1;
        std::fs::set_permissions(&pack, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::io::Write::write_all(&mut std::fs::File::create(&pack).unwrap(), &bytes).unwrap();
    }
    let old = home.write("folder/restored", "old");
    let ran = home.run(&["pull", "db", "-o", "folder/restored"], b"");
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    assert!(ran.err.contains("verify"), "{}", ran.err);
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "old");
    assert_eq!(files_below(&home.path("folder")), [old]);
}

#[test]
fn a_place_that_cannot_be_written() {
    let home = Home::new();
    home.ok(&["push", "db"], b"x");
    let ran = home.run(&["pull", "db", "-o", "no/such/folder"], b"");
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains("no/such/folder"), "{}", ran.err);
    let ran = home.run(&["pull", "db", "-o", "/dev/full"], b"");
    assert_eq!(ran.code, Some(7), "{}", ran.err);
}

#[test]
fn a_reader_that_leaves_early_makes_it_fail() {
    let home = Home::new();
    home.ok(&["push", "db"], &noise(8 << 20));
    let mut child =
        home.command(&["pull", "db"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(8));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("pipe"));
}

#[test]
fn snapshots_are_named_in_several_ways() {
    let home = Home::new();
    let first = home.ok(&["push", "db", "--json"], b"first\n").json();
    home.ok(&["push", "db"], b"second\n");
    let id = first["id"].as_str().unwrap();
    let end = &id[id.len() - 8..];
    for text in [id.to_owned(), end.to_lowercase(), format!("db@{id}"), format!("db@{end}")] {
        assert_eq!(home.pull(&text), b"first\n", "{text}");
    }
    let started = first["started"].as_str().unwrap();
    assert_eq!(home.pull(&format!("db@{started}")), b"first\n");
    let before = home.run(&["pull", "db@2001-01-01"], b"");
    assert_eq!(before.code, Some(5), "{}", before.err);
    let unknown = home.run(&["pull", "bd"], b"");
    assert!(unknown.code == Some(5) && unknown.err.contains("there are: db"), "{}", unknown.err);
}

#[test]
fn only_the_expected_receipt_will_do() {
    let home = Home::new();
    let first = home.ok(&["push", "db", "--json"], b"first\n").json();
    let receipt = first["receipt"].as_str().unwrap();
    assert_eq!(home.ok(&["pull", "db", "--expect", receipt], b"").out, b"first\n");
    home.ok(&["push", "db"], b"second\n");
    let ran = home.run(&["pull", "db", "--expect", receipt], b"");
    assert_eq!((ran.code, ran.out.len()), (Some(3), 0), "{}", ran.err);
    assert_eq!(home.run(&["pull", "db", "--expect", "abc"], b"").code, Some(2));
}

#[test]
fn the_report_goes_where_the_data_does_not() {
    let home = Home::new();
    home.ok(&["push", "db"], &gzip(b"content\n"));
    let ran = home.ok(&["pull", "db", "--json", "--as=content"], b"");
    assert_eq!(ran.out, b"content\n");
    let report: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!((&report["wrapped"], &report["raw_bytes"]), (&false.into(), &8.into()));
    let report = home.ok(&["pull", "db", "--json", "-o", "file"], b"").json();
    assert_eq!((&report["wrapped"], &report["output"]), (&true.into(), &"file".into()));
    let quiet = home.ok(&["pull", "db", "-q"], b"");
    assert_eq!(quiet.err, "");
}

#[test]
fn it_is_said_when_the_newest_is_passed_over() {
    let home = Home::new();
    home.ok(&["push", "db"], &noise(100_000));
    let small = home.ok(&["push", "db", "--json"], b"almost nothing").json();
    let ran = home.ok(&["pull", "db"], b"");
    assert!(ran.out == noise(100_000), "the newest good one");
    assert!(ran.err.contains(small["id"].as_str().unwrap()) && ran.err.contains("suspect"), "{}", ran.err);
}
