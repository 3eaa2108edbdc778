//! Flags, standard output and exit codes, without any store.

use crate::place::Place;
use crate::support::assert_failed;
use crate::support::home::{CISTERN, run};
use std::process::Command;

#[test]
fn output_prints_the_line_of_a_phase() {
    let place = Place::nowhere();
    let ran = place.run(&["output", "s3path", "a\"b<c>\n/x"], b"");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let line = String::from_utf8(ran.out).unwrap();
    assert_eq!(line, "###Phase-output###: {\"key\":\"s3path\",\"value\":\"a\\\"b\\u003cc\\u003e\\n/x\"}\n");
    let ran = place.run(&["output", "key", "--", "-value"], b"");
    assert_eq!(
        String::from_utf8(ran.out).unwrap(),
        "###Phase-output###: {\"key\":\"key\",\"value\":\"-value\"}\n"
    );
}

#[test]
fn output_goes_into_the_channel_of_a_controller_too() {
    let place = Place::nowhere();
    let channel = place.home.path("channel");
    std::fs::write(&channel, "").unwrap();
    let put_out = |key: &str, value: &str| {
        let mut command = place.command(&["output", key, value]);
        command.env("CISTERN_OUTPUT_CHANNEL", &channel).env("CISTERN_OUTPUT_CHANNEL_BYTES", "200");
        let ran = run(command, b"");
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        String::from_utf8(ran.out).unwrap()
    };
    let printed = put_out("first", "1") + &put_out("second", "2");
    let held = || std::fs::read_to_string(&channel).unwrap();
    assert_eq!(held(), printed, "beside the log");
    let long = put_out("long", &"v".repeat(300));
    assert!(long.contains("vvv"));
    assert_eq!(held(), printed + "###Phase-output-in-log###: long\n");
    // A channel that is not there is no failure.
    std::fs::remove_file(&channel).unwrap();
    assert!(put_out("third", "3").contains("third") && !channel.exists());
}

#[test]
fn output_refuses_what_no_template_could_name() {
    let place = Place::nowhere();
    for (args, said) in [
        (&["output", "key"][..], "Command accepts 2 arguments, received 1 arguments"),
        (&["output", "", "v"], "Key should not be empty"),
        (&["output", "a-b", "v"], "Key should contain only alphanumeric characters and underscore"),
    ] {
        let ran = place.run(args, b"");
        assert_failed(&ran, 2);
        assert!(ran.err.contains(said) && ran.out.is_empty(), "{ran:?}");
    }
}

#[test]
fn the_name_or_the_first_argument_picks_the_door() {
    let place = Place::nowhere();
    let version = place.run(&["version"], b"").out;
    assert!(String::from_utf8_lossy(&version).starts_with("kando version {\"version\": \""));
    assert_eq!(place.run(&["--version"], b"").out, version);
    let mut command = Command::new(CISTERN);
    place.home.furnish(&mut command);
    command.args(["kando", "version"]);
    assert_eq!(run(command, b"").out, version);
}

#[test]
fn what_is_missing_or_misspelt_is_said() {
    let place = Place::nowhere();
    let ran = place.run(&["location", "push", "--path", "x", "-"], b"x");
    assert_failed(&ran, 2);
    assert!(ran.err.contains("Please provide the --profile flag"), "{}", ran.err);
    let ran = place.run(&["location", "push", "--profil", "{}", "-"], b"x");
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("--profile"), "the near one is named: {}", ran.err);
    let ran = place.run(&["location", "push", "--path", "x", "--profile", "{}"], b"x");
    assert_eq!(ran.code, Some(2), "without a source");
}

#[test]
fn a_malformed_profile_names_the_field_and_no_secret() {
    let place = Place::nowhere();
    let profile = r#"{"location":{"type":"s3Compliant"},"credential":{"type":"keyPair","keyPair":{"id":"hunter2","secret":"hunter2"}}}"#;
    let ran = place.run(&["location", "push", "--path", "x", "-p", profile, "-"], b"x");
    assert_failed(&ran, 2);
    assert!(ran.err.contains("`Location.bucket` is missing") && !ran.err.contains("hunter2"), "{}", ran.err);
    let ran =
        place.run(&["location", "push", "--path", "x", "-p", "{\"Location\":{\"bucket\":5}}", "-"], b"x");
    assert_failed(&ran, 2);
    assert!(ran.err.contains("Location.bucket"), "{}", ran.err);
    let ran = place.run(&["location", "push", "--path", "x", "-p", "@/nowhere", "-"], b"x");
    assert_failed(&ran, 2);
    assert!(ran.err.contains("/nowhere"), "{}", ran.err);
}

#[test]
fn a_kopia_server_is_refused_with_what_to_do() {
    let place = Place::nowhere();
    let profile =
        r#"{"Location":{"type":"kopia","endpoint":"https://kopia:51515"},"Credential":{"Type":"kopia"}}"#;
    let ran = place.run(&["location", "push", "--path", "x", "-p", profile, "-"], b"x");
    assert_failed(&ran, 2);
    assert!(ran.err.contains("Location.endpoint") && ran.err.contains("s3://"), "{}", ran.err);
}
