//! The configuration file, the environment, and which comes before which.

use crate::home::*;

const CONFIG: &str = ".config/cistern/config.toml";

#[test]
fn a_profile_says_where_and_how() {
    let home = Home::new();
    let text =
        "[profiles.prod]\nrepository = 'prod'\nkey_file = 'prod.key'\nhost = 'db1'\ntags = ['nightly']\n";
    home.write(CONFIG, text);
    home.ok(&["init", "--profile", "prod"], b"");
    let report = home.ok(&["push", "db", "--profile", "prod", "--json"], b"x").json();
    assert_eq!((&report["host"], &report["tags"]), (&"db1".into(), &serde_json::json!(["nightly"])));
    assert!(home.path("prod/cistern.json").exists() && home.path("prod.key").exists());
    let mut command = home.command(&["pull", "db"]);
    command.env("CISTERN_PROFILE", "prod");
    assert_eq!(run(command, b"").out, b"x");
    assert_eq!(home.run(&["pull", "db"], b"").code, Some(5), "without a profile the default place is meant");
    home.write(CONFIG, &format!("profile = 'prod'\n{text}"));
    assert_eq!(home.pull("db"), b"x");
}

#[test]
fn mistakes_are_shown_with_their_line() {
    let home = Home::new();
    for (text, line, told) in [
        ("[profiles.a]\nrepository = 'x'\nrepositry = 'y'\n", "line 3", "repositry"),
        ("\n[profiles.a.store]\nregion = 'x'\nregoin = 'y'\n", "line 4", "regoin"),
        ("[profiles.a.store]\nretry_secs = 'soon'\n", "line 2", "expected u64"),
        ("[profiles.a\n", "line 1", ""),
        ("[profiles.a.store]\n\nsecret_access_key = 'hunter2'\n", "line 3", "is a secret"),
        ("[profiles.a]\nkey_file = 'hunter2\n", "line 2", ""),
    ] {
        home.write(CONFIG, text);
        let ran = home.run(&["pull", "db", "--profile", "a"], b"");
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        assert!(ran.err.contains(line) && ran.err.contains(told), "{text}: {}", ran.err);
        assert!(ran.err.contains("config.toml") && !ran.err.contains("hunter2"), "{}", ran.err);
    }
}

#[test]
fn a_profile_or_file_that_was_named_must_be_there() {
    let home = Home::new();
    home.write("other.toml", "[profiles.a]\n[profiles.b]\n");
    let ran = home.run(&["pull", "db", "--config", "other.toml", "--profile", "c"], b"");
    assert!(ran.code == Some(2) && ran.err.contains("a, b"), "{}", ran.err);
    assert_eq!(home.run(&["pull", "db", "--config", "absent.toml"], b"").code, Some(2));
    assert_eq!(home.run(&["pull", "db", "--profile", "c"], b"").code, Some(2));
}

#[test]
fn two_repositories_at_once_are_a_contradiction() {
    let home = Home::new();
    home.write(CONFIG, "[profiles.prod]\nrepository = 'prod'\n");
    let run_with = |args: &[&str]| {
        let mut command = home.command(args);
        command.env("CISTERN_REPOSITORY", "test");
        run(command, b"")
    };
    let ran = run_with(&["init", "--profile", "prod"]);
    assert!(ran.code == Some(2) && ran.err.contains("CISTERN_REPOSITORY"), "{}", ran.err);
    assert_eq!(run_with(&["init"]).code, Some(0));
    assert!(home.path("test/cistern.json").exists());
    assert_eq!(run_with(&["init", "--profile", "prod", "--repo", "third"]).code, Some(0));
    assert!(home.path("third/cistern.json").exists() && !home.path("prod").exists());
}

#[test]
fn secrets_of_a_store_come_from_elsewhere() {
    let home = Home::new();
    home.write("secret", "hunter2\n");
    let config = |source: &str| {
        format!(
            "[profiles.a]\nrepository = 's3://bucket/x'\n[profiles.a.store]\nendpoint = 'http://127.0.0.1:1'\n\
             retry_secs = 0\naccess_key_id = 'id'\nsecret_access_key = {source}\n"
        )
    };
    // Nobody listens there: what is asked for is that the secret was found, not what is done with it.
    for source in ["{ file = 'secret' }", "{ command = 'cat secret' }", "{ env = 'S3_SECRET' }"] {
        home.write(CONFIG, &config(source));
        let mut command = home.command(&["pull", "db", "--profile", "a"]);
        command.env("S3_SECRET", "hunter2");
        let ran = run(command, b"");
        assert_eq!(ran.code, Some(6), "{source}: {}", ran.err);
        assert!(!ran.err.contains("hunter2"));
    }
    home.write(CONFIG, &config("{ file = 'absent' }"));
    let ran = home.run(&["pull", "db", "--profile", "a"], b"");
    assert!(ran.code == Some(4) && ran.err.contains("absent"), "{}", ran.err);
}

#[test]
fn locations_as_people_write_them() {
    let home = Home::new();
    let absolute = home.path("d").display().to_string();
    let url = format!("file://{}", home.path("e").display());
    for (location, made) in [
        ("a", "a"),
        ("./b", "b"),
        ("~/c", "c"),
        (absolute.as_str(), "d"),
        (url.as_str(), "e"),
        ("x y/z", "x y/z"),
    ] {
        home.ok(&["init", "--repo", location], b"");
        assert!(home.path(made).join("cistern.json").exists(), "{location}");
    }
    for wrong in ["", "ftp://x/y", "s3://", "s3://id:hunter2@bucket/x"] {
        let ran = home.run(&["init", "--repo", wrong], b"");
        assert_eq!(ran.code, Some(2), "{wrong}: {}", ran.err);
        assert!(!ran.err.contains("hunter2"));
    }
}

#[test]
fn what_is_not_there_is_not_found() {
    let home = Home::new();
    let ran = home.run(&["pull", "db", "--repo", "nowhere"], b"");
    assert_eq!(ran.code, Some(5), "{}", ran.err);
    let ran = home.run(&["push", "db", "--repo", "nowhere"], b"x");
    assert_eq!(ran.code, Some(5), "only the default place is made without asking: {}", ran.err);
    assert!(!home.path("nowhere").exists());
}
