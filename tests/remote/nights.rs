//! What a user does with a repository in a bucket, from the first day on.

use crate::support::home::Home;
use crate::support::place::{Place, two_nights};
use crate::support::{assert_sound, listed, listed_names, prune_now};

/// What the doctor says of a check: `good`, `limited` or `bad`.
fn verdict(report: &serde_json::Value, check: &str) -> String {
    let findings = report["findings"].as_array().unwrap();
    let finding = findings.iter().find(|f| f["check"] == check);
    finding.unwrap_or_else(|| panic!("{check} was not looked at: {report}"))["verdict"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn examine(home: &Home) -> serde_json::Value {
    let ran = home.run(&["doctor", "--json"], b"");
    // Plain HTTP and the like are limits, and the exit status says so.
    assert!(matches!(ran.code, Some(0 | 1)), "{}", ran.err);
    let report = ran.json();
    for check in ["create-if-absent", "racing-writers", "range-read"] {
        assert_eq!(verdict(&report, check), "good", "{report}");
    }
    report
}

fn nights_in(variable: &str) {
    let Some(place) = Place::named(variable) else { return };
    let home = place.home();
    examine(&home);
    assert_eq!(home.run(&["ls"], b"").code, Some(5), "there is nothing yet");
    home.ok(&["init"], b"");
    assert_eq!(home.run(&["init"], b"").code, Some(2), "there is one already");
    let (first, second) = two_nights(variable);
    home.ok(&["push", "db"], &first);
    let report = home.ok(&["push", "db", "--json"], &second).json();
    let new = report["stored"]["new_bytes"].as_u64().unwrap();
    assert!(new < 8 << 20, "what changed lies in few chunks: {report}");
    let ids: Vec<String> = listed(&home).iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect();
    assert!(home.pull(&format!("db@{}", ids[0])) == first);
    assert!(home.pull("db") == second);
    home.ok(&["forget", "db", "--keep-last", "1"], b"");
    let bytes = |pruned: &serde_json::Value, field: &str| pruned[field].as_u64().unwrap();
    // A base that went because its deltas were made anew leaves its pack to the next prune.
    let mut runs = (0..4).map(|_| prune_now(&home));
    let pruned = runs.find(|pruned| bytes(pruned, "condemned_packs") == 0).expect("prune comes to rest");
    assert!(bytes(&pruned, "unused_bytes") < bytes(&pruned, "pack_bytes") / 8, "{pruned}");
    assert_eq!(listed_names(&home), ["db"]);
    assert!(home.pull("db") == second);
    assert_sound(&home);
    assert_eq!(verdict(&examine(&home), "repository"), "good");
}

#[test]
fn two_nights_in_s3() {
    nights_in("CISTERN_TEST_S3");
}

#[test]
fn two_nights_in_s3_over_tls() {
    nights_in("CISTERN_TEST_S3_TLS");
}

#[test]
fn two_nights_in_azure() {
    nights_in("CISTERN_TEST_AZURE");
}

#[test]
fn two_nights_in_gcs() {
    nights_in("CISTERN_TEST_GCS");
}

#[test]
fn the_doctor_warns_of_a_store_that_replaces_what_is_there() {
    let Some(place) = Place::named("CISTERN_TEST_RCLONE") else { return };
    let ran = place.home().run(&["doctor", "--json"], b"");
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert_eq!(verdict(&ran.json(), "create-if-absent"), "bad");
}

#[test]
fn a_certificate_nobody_vouches_for_is_refused() {
    let Some(place) = Place::named("CISTERN_TEST_S3_TLS") else { return };
    let options = "access_key_id = 'any'\n".to_owned();
    let ran = Place { options, ..place }.home().run(&["init"], b"");
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("ca_file"), "{}", ran.err);
}
