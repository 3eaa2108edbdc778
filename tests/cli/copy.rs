//! `cistern copy`: snapshots go to another repository, once.

use crate::home::*;

fn two_repositories() -> Home {
    let home = Home::new();
    home.ok(&["push", "a"], b"first of a");
    home.ok(&["push", "a", "--tag", "gold"], b"second of a");
    home.ok(&["push", "b"], b"only of b");
    home.ok(&["init", "--repo", "there", "--key-file", "there.key"], b"");
    home
}

const THERE: [&str; 4] = ["--to", "there", "--to-key-file", "there.key"];

fn copy(home: &Home, args: &[&str]) -> Ran {
    home.run(&[&["copy", "--json"], args, &THERE].concat(), b"")
}

fn pull_there(home: &Home, name: &str) -> Vec<u8> {
    home.ok(&["pull", name, "--repo", "there", "--key-file", "there.key"], b"").out
}

#[test]
fn what_is_not_there_yet_is_copied_with_its_time_and_tags() {
    let home = two_repositories();
    let report = copy(&home, &[]).json();
    assert_eq!(report["copied"].as_array().unwrap().len(), 3);
    assert_eq!(report["already_there"], 0);
    assert_eq!(pull_there(&home, "a"), b"second of a");
    assert_eq!(pull_there(&home, "b"), b"only of b");
    let list = |args: &[&str]| home.ok(&[&["ls", "--json"], args].concat(), b"").json();
    let (here, there) = (list(&[]), list(&["--repo", "there", "--key-file", "there.key"]));
    for (one, copied) in
        here["snapshots"].as_array().unwrap().iter().zip(there["snapshots"].as_array().unwrap())
    {
        for field in ["name", "raw_bytes", "digest", "tags", "committed_ms"] {
            assert_eq!(one[field], copied[field], "{field}");
        }
    }
    let again = copy(&home, &[]).json();
    assert_eq!(again["copied"], serde_json::json!([]), "they are there already");
    assert_eq!(again["already_there"], 3);
}

#[test]
fn names_narrow_it() {
    let home = two_repositories();
    assert_eq!(copy(&home, &["b"]).json()["copied"].as_array().unwrap().len(), 1);
    assert_eq!(copy(&home, &["typo"]).code, Some(5));
}

#[test]
fn a_profile_says_all_about_the_other_repository() {
    let home = two_repositories();
    home.write(
        ".config/cistern/config.toml",
        "[profiles.offsite]\nrepository = \"there\"\nkey_file = \"there.key\"\n",
    );
    home.ok(&["copy", "--to-profile", "offsite"], b"");
    assert_eq!(pull_there(&home, "b"), b"only of b");
}

#[test]
fn the_other_repository_must_be_there_and_open() {
    let home = two_repositories();
    let ran = home.run(&["copy", "--to", "nowhere"], b"");
    assert_eq!(ran.code, Some(5), "{}", ran.err);
    let ran = home.run(&["copy", "--to", "there"], b"");
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    assert!(ran.err.contains("--to-key-file"), "{}", ran.err);
    let ran = home.run(&["copy", "--to", ".local/share/cistern/repository"], b"");
    assert_eq!(ran.code, Some(2), "to itself: {}", ran.err);
    assert_eq!(home.run(&["copy"], b"").code, Some(2));
}
