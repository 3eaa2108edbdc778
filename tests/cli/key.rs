//! Where keys come from, and that they go nowhere else.

use crate::home::*;

fn made(home: &Home) -> String {
    home.ok(&["init", "--repo", "repo", "--key-file", "my.key"], b"");
    home.ok(&["push", "db", "--repo", "repo", "--key-file", "my.key"], b"x");
    std::fs::read_to_string(home.path("my.key")).unwrap().trim().to_owned()
}

#[test]
fn from_a_file_a_variable_and_a_command() {
    let home = Home::new();
    let key = made(&home);
    let pull = ["pull", "db", "--repo", "repo"];
    for (name, value) in
        [("CISTERN_KEY", key.as_str()), ("CISTERN_KEY_FILE", "my.key"), ("CISTERN_KEY_COMMAND", "cat my.key")]
    {
        let mut command = home.command(&pull);
        command.env(name, value);
        assert_eq!(run(command, b"").code, Some(0), "{name}");
    }
    home.ok(&["pull", "db", "--repo", "repo", "--key-command", "cat my.key"], b"");
    assert_eq!(home.run(&pull, b"").code, Some(4), "without a key it does not open");
}

#[test]
fn a_flag_comes_before_the_environment() {
    let home = Home::new();
    made(&home);
    let mut command = home.command(&["pull", "db", "--repo", "repo", "--key-file", "my.key"]);
    command.env("CISTERN_KEY", "nonsense").env("CISTERN_PASSPHRASE", "nonsense");
    assert_eq!(run(command, b"").code, Some(0));
}

#[test]
fn the_key_of_another_repository_is_refused() {
    let home = Home::new();
    made(&home);
    home.ok(&["init", "--repo", "other", "--key-file", "other.key"], b"");
    let ran = home.run(&["pull", "db", "--repo", "repo", "--key-file", "other.key"], b"");
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    assert!(ran.err.contains("another repository"), "{}", ran.err);
}

#[test]
fn sources_that_fail_are_named_and_nothing_secret_is_told() {
    let home = Home::new();
    let key = made(&home);
    let spoiled = key.replace(&key[20..24], "!!!!");
    let at = ["pull", "db", "--repo", "repo"];
    let mut wrong = home.command(&at);
    wrong.env("CISTERN_KEY", &spoiled);
    let mut failing = home.command(&at);
    failing.env("CISTERN_KEY_COMMAND", "echo hunter2; exit 1");
    let mut absent = home.command(&at);
    absent.env("CISTERN_KEY_FILE", "absent.key");
    let mut endless = home.command(&at);
    endless.env("CISTERN_KEY_COMMAND", "yes hunter2");
    for (command, told) in
        [(wrong, ""), (failing, "its command"), (absent, "absent.key"), (endless, "longer")]
    {
        let ran = run(command, b"");
        assert_eq!(ran.code, Some(4), "{}", ran.err);
        assert!(ran.err.contains(told), "{}", ran.err);
        assert!(!ran.err.contains("hunter2") && !ran.err.contains(&spoiled[30..]), "{}", ran.err);
    }
}

#[test]
fn a_service_without_a_home_works_with_what_it_is_told() {
    let home = Home::new();
    made(&home);
    let mut command = home.command(&["pull", "db", "--repo", "repo", "--key-file", "my.key"]);
    command.env_remove("HOME");
    let ran = run(command, b"");
    assert_eq!((ran.code, ran.out.as_slice()), (Some(0), b"x".as_slice()), "{}", ran.err);
}
