//! Directories in a repository: stored, brought back, forgotten; and the program's way into pods.

use crate::place::Place;
use crate::support::assert_failed;
use crate::support::home::{CISTERN, Ran, run};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// A profile in a file, with a passphrase beside it and a repository in the home.
fn profile(place: &Place, passphrase: &str) -> String {
    let repository = json!({ "location": place.home.path("repo"), "passphrase": passphrase });
    let profile = json!({
        "Location": { "type": "kopia" }, "Credential": { "Type": "kopia" },
        "cistern.dev/repository": repository,
    });
    let file = place.home.write("profile.json", &profile.to_string());
    json!({ "cistern.dev/profile-file": file }).to_string()
}

fn volume(place: &Place, passphrase: &str, verb: &str, args: &[&str]) -> Ran {
    let profile = profile(place, passphrase);
    place.run(&[&["volume", verb, "--profile", &profile], args].concat(), b"")
}

fn ok(place: &Place, verb: &str, args: &[&str]) -> BTreeMap<String, String> {
    let ran = volume(place, "right horse", verb, args);
    assert_eq!(ran.code, Some(0), "{verb} {args:?}: {}", ran.err);
    outputs(&ran)
}

fn outputs(ran: &Ran) -> BTreeMap<String, String> {
    let lines = std::str::from_utf8(&ran.out).unwrap().lines();
    lines
        .filter_map(|line| line.strip_prefix("###Phase-output###: "))
        .map(|json| {
            let output: Value = serde_json::from_str(json).unwrap();
            let text = |key: &str| output[key].as_str().unwrap().to_owned();
            (text("key"), text("value"))
        })
        .collect()
}

/// A directory with two files, one of them nobody else's business, and a link.
fn directory(place: &Place) -> String {
    place.home.write("data/db/one", "first");
    let two = place.home.write("data/db/deep/two words", "second");
    std::fs::set_permissions(&two, Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("one", place.home.path("data/db/link")).unwrap();
    place.home.path("data").display().to_string()
}

fn assert_same(restored: &Path) {
    let read = |name: &str| std::fs::read_to_string(restored.join(name)).unwrap();
    assert_eq!((read("db/one").as_str(), read("db/deep/two words").as_str()), ("first", "second"));
    let mode = std::fs::metadata(restored.join("db/deep/two words")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(std::fs::read_link(restored.join("db/link")).unwrap(), Path::new("one"));
}

#[test]
fn a_directory_goes_into_a_repository_and_comes_back() {
    let place = Place::nowhere();
    let data = directory(&place);
    let check = ok(&place, "check", &["--path", "db"]);
    assert_eq!((check["repoUnavailable"].as_str(), check["passwordIncorrect"].as_str()), ("true", "false"));

    let pushed = ok(&place, "push", &["--path", "db", "--", &data]);
    assert_eq!((pushed["fileCount"].as_str(), &pushed["backupTag"]), ("3", &pushed["backupID"]));
    let id = pushed["backupID"].clone();
    let check = ok(&place, "check", &["--path", "db"]);
    assert_eq!((check["repoUnavailable"].as_str(), check["passwordIncorrect"].as_str()), ("false", "false"));
    let check = volume(&place, "wrong horse", "check", &["--path", "db"]);
    assert_eq!(outputs(&check)["passwordIncorrect"], "true");
    let stats = ok(&place, "stats", &["--path", "db", "--snapshot", &id]);
    assert_eq!((&stats["fileCount"], &stats["size"]), (&pushed["fileCount"], &pushed["size"]));

    // Whole, below another root: names begin at the old one.
    let root = place.home.path("root");
    std::fs::create_dir(&root).unwrap();
    ok(&place, "pull", &["--path", "db", "--snapshot", &id, "--", root.to_str().unwrap()]);
    assert_same(&root.join(data.trim_start_matches('/')));
    // What was below the directory, into another one; what lies there is replaced, what else is there stays.
    let other = place.home.path("other");
    place.home.write("other/db/one", "changed since");
    place.home.write("other/mine", "stays");
    let args = ["--path", "db", "--snapshot", &id, "--below", &data, "--", other.to_str().unwrap()];
    ok(&place, "pull", &args);
    assert_same(&other);
    assert!(other.join("mine").exists());

    ok(&place, "delete", &["--path", "db", "--snapshot", &id]);
    let gone = volume(&place, "right horse", "pull", &args);
    assert_failed(&gone, 5);
}

#[test]
fn what_cannot_be_read_or_written_is_never_a_success() {
    let place = Place::nowhere();
    let missing = volume(&place, "right horse", "push", &["--path", "db", "--", "/no/such/place"]);
    assert_failed(&missing, 8);
    assert!(!place.home.path("repo").exists(), "nothing is made for a directory that is not there");
    let data = directory(&place);
    let id = ok(&place, "push", &["--path", "db", "--", &data])["backupID"].clone();
    let to =
        volume(&place, "right horse", "pull", &["--path", "db", "--snapshot", &id, "--", "/no/such/place"]);
    assert_failed(&to, 8);
    assert!(to.err.contains("could not write into /no/such/place"), "{}", to.err);
    let below = ["--path", "db", "--snapshot", &id, "--below", "/no/such", "--", &data];
    assert_failed(&volume(&place, "right horse", "pull", &below), 8);
    // A tar that fails half-way stores nothing.
    let tar = place.home.write("bin/tar", "#!/bin/sh\nhead -c 5000 /dev/zero\nexit 2\n");
    std::fs::set_permissions(&tar, Permissions::from_mode(0o755)).unwrap();
    let profile = profile(&place, "right horse");
    let mut command =
        place.command(&["volume", "push", "--profile", &profile, "--path", "half", "--", &data]);
    command.env("PATH", format!("{}:/usr/bin:/bin", place.home.path("bin").display()));
    assert_failed(&run(command, b""), 8);
    let wrong = volume(&place, "wrong horse", "push", &["--path", "db", "--", &data]);
    assert_failed(&wrong, 4);
    assert!(!wrong.err.contains("horse"), "{}", wrong.err);
}

#[test]
fn several_first_pushes_make_one_repository() {
    let place = Place::nowhere();
    let data = directory(&place);
    let profile = profile(&place, "right horse");
    let pushes: Vec<_> = (0..4)
        .map(|i| {
            let path = format!("db-{i}");
            place.command(&["volume", "push", "--profile", &profile, "--path", &path, "--", &data])
        })
        .map(|mut command| command.stdout(std::process::Stdio::null()).spawn().unwrap())
        .collect();
    for mut push in pushes {
        assert!(push.wait().unwrap().success());
    }
}

#[test]
fn a_restic_repository_is_refused() {
    let Some(place) = Place::named("CISTERN_TEST_S3") else { return };
    for name in ["config", "keys/1", "snapshots/1"] {
        place.push(&format!("old/{name}"), b"restic's");
    }
    let file = place.home.write("profile.json", &place.profile.to_string());
    let reference = json!({ "cistern.dev/profile-file": file }).to_string();
    let data = directory(&place);
    let push = |path: &str| {
        let args = ["volume", "push", "--profile", &reference, "--path", path, "--", &data];
        let mut command = place.command(&args);
        command.env("CISTERN_PASSPHRASE", "right horse");
        run(command, b"")
    };
    let refused = push("old");
    assert_failed(&refused, 2);
    assert!(refused.err.contains("a restic repository lies under `old`"), "{}", refused.err);
    assert_eq!(push("new").code, Some(0));
}

#[test]
fn the_program_is_put_into_pods_and_found_first() {
    let place = Place::nowhere();
    let target = place.home.path("injected");
    std::fs::create_dir(&target).unwrap();
    for _ in 0..2 {
        let ran = place.run(&["mover", "install", target.to_str().unwrap()], b"");
        assert_eq!(ran.code, Some(0), "{}", ran.err);
    }
    assert_eq!(
        std::fs::metadata(target.join("cistern")).unwrap().len(),
        std::fs::metadata(CISTERN).unwrap().len()
    );
    let mut command = Command::new(target.join("kando"));
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command.args(["mover", "exec", "--", "sh", "-c", "command -v kando; kando output a b; exit 7"]);
    let ran = run(command, b"");
    assert_eq!(ran.code, Some(7), "{}", ran.err);
    let out = String::from_utf8(ran.out).unwrap();
    assert!(out.starts_with(&format!("{}/kando\n", target.display())), "{out}");
    let absent = place.run(&["mover", "exec", "--", "no-such-program"], b"");
    assert_eq!(absent.code, Some(1));
    assert!(absent.err.contains("cannot start `no-such-program`"), "{}", absent.err);
}
