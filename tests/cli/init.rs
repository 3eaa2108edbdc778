//! `cistern init`: what it makes, and what it will not touch.

use crate::home::*;

#[test]
fn it_tells_what_it_made() {
    let home = Home::new();
    let made = home.ok(&["init", "--repo", "repo", "--key-file", "my.key", "--json"], b"").json();
    assert_eq!((&made["key_file"], &made["passphrase"]), (&"my.key".into(), &false.into()));
    let marker = std::fs::read_to_string(home.path("repo/cistern.json")).unwrap();
    assert!(marker.contains(made["id"].as_str().unwrap()), "{marker} {made}");
    home.ok(&["push", "db", "--repo", "repo", "--key-file", "my.key"], b"x");
    assert!(!home.repository().exists() && !home.path(".config").exists(), "nothing but what was asked for");
}

#[test]
fn there_is_no_second_one_in_the_same_place() {
    let home = Home::new();
    home.ok(&["init"], b"");
    let ran = home.run(&["init"], b"");
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("already"), "{}", ran.err);
    home.key_file();
}

#[test]
fn a_key_file_that_is_there_is_not_touched() {
    let home = Home::new();
    let other = home.write("other.key", "the only key to something");
    let ran = home.run(&["init", "--repo", "repo", "--key-file", "other.key"], b"");
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert_eq!(std::fs::read_to_string(other).unwrap(), "the only key to something");
    assert!(!home.path("repo/cistern.json").exists(), "no key, no repository");
}

#[test]
fn a_key_that_cannot_be_written_makes_no_repository() {
    let home = Home::new();
    home.write("file", "");
    let ran = home.run(&["init", "--repo", "repo", "--key-file", "file/below.key"], b"");
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(!home.path("repo/cistern.json").exists());
    assert_eq!(home.run(&["pull", "db", "--repo", "repo"], b"").code, Some(5));
}

#[test]
fn a_passphrase_alone_opens_it() {
    let home = Home::new();
    home.write("pass", "correct horse battery\n");
    home.ok(&["init", "--repo", "repo", "--passphrase-file", "pass"], b"");
    assert!(!home.path(".config").exists(), "no key file was asked for");
    home.ok(&["push", "db", "--repo", "repo", "--passphrase-file", "pass"], b"x");
    home.write("pass", "wrong horse battery\n");
    let ran = home.run(&["pull", "db", "--repo", "repo", "--passphrase-file", "pass"], b"");
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    home.write("short", "seven77");
    let ran = home.run(&["init", "--repo", "another", "--passphrase-file", "short"], b"");
    assert_eq!(ran.code, Some(2), "{}", ran.err);
}

#[test]
fn chunks_are_as_large_as_was_asked() {
    let home = Home::new();
    home.ok(&["init", "--chunk-size", "64K"], b"");
    let report = home.ok(&["push", "db", "--json"], &noise(8 << 20)).json();
    let chunks = report["stored"]["chunks"].as_u64().unwrap();
    assert!((64..=256).contains(&chunks), "{chunks} chunks of 8 MiB");
    for wrong in ["0", "1", "12q", "9999G", "-3"] {
        let size = format!("--chunk-size={wrong}");
        let ran = home.run(&["init", "--repo", "other", &size], b"");
        assert_eq!(ran.code, Some(2), "{wrong}: {}", ran.err);
    }
}
