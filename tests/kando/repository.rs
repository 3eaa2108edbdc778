//! A Cistern repository behind a profile: found, asked for, told apart from plain objects.

use crate::bare::request;
use crate::place::Place;
use crate::support::assert_failed;
use crate::support::home::{Ran, gunzip, gzip, pg_dump, run};
use cistern_api::PhaseProgress;
use cistern_api::wire::progress_in;
use serde_json::{Value, json};

/// A repository in S3 under the profile's prefix, whose key is kept in the home.
fn with_repository() -> Option<Place> {
    let place = Place::named("CISTERN_TEST_S3")?;
    place.init();
    Some(place)
}

/// `kando` with a repository in the home, and no profile.
fn local(place: &Place, args: &[&str], stdin: &[u8]) -> Ran {
    let mut command = place.command(&[&["location"], args].concat());
    command.env("CISTERN_REPOSITORY", place.home.repository());
    run(command, stdin)
}

fn output(ran: &Ran) -> (String, String) {
    let line = String::from_utf8(ran.out.clone()).unwrap();
    let json: Value = serde_json::from_str(line.strip_prefix("###Phase-output###: ").expect(&line)).unwrap();
    (json["key"].as_str().unwrap().to_owned(), json["value"].as_str().unwrap().to_owned())
}

#[test]
fn a_push_goes_into_the_repository_that_lies_there() {
    let Some(place) = with_repository() else { return };
    place.push("/db/monday", b"into the repository");
    assert_eq!(
        request(&place, "GET", &format!("{}/db/monday", place.prefix()), b"").0,
        404,
        "no plain object"
    );
    assert_eq!(place.pull("db/monday"), b"into the repository");
    place.ok("delete", &["--path", "db"], b"");
    place.assert_absent("db/monday");
    place.ok("delete", &["--path", "db"], b"");
}

#[test]
fn plain_objects_beside_a_repository_are_found_too() {
    let Some(place) = Place::named("CISTERN_TEST_S3") else { return };
    place.push("old/dump", b"before there was a repository");
    place.init();
    assert_eq!(place.pull("old/dump"), b"before there was a repository");
    place.push("new/dump", b"in it");
    // The repository's own objects are nobody's streams.
    for path in ["packs", "cistern.json", "index", "keys", "snapshots"] {
        place.ok("delete", &["--path", path], b"");
        place.assert_absent(path);
    }
    assert_eq!(place.pull("new/dump"), b"in it");
    place.ok("delete", &["--path", "old"], b"");
    place.assert_absent("old/dump");
}

#[test]
fn a_directory_with_a_repository_below_is_not_deleted() {
    let Some(mut place) = with_repository() else { return };
    place.push("db", b"safe");
    let inner = place.profile.clone();
    let prefix = place.prefix();
    place.profile["Location"]["prefix"] = "".into();
    let ran = place.location("delete", &["--path", &prefix], b"");
    assert_failed(&ran, 2);
    assert!(ran.err.contains("repository"), "{}", ran.err);
    place.profile = inner;
    assert_eq!(place.pull("db"), b"safe");
}

#[test]
fn a_repository_that_cannot_be_opened_is_never_written_beside() {
    let Some(place) = with_repository() else { return };
    std::fs::remove_dir_all(place.home.path(".config/cistern/keys")).unwrap();
    let ran = place.location("push", &["--path", "db", "-"], b"secret rows");
    assert_failed(&ran, 4);
    assert_eq!(request(&place, "GET", &format!("{}/db", place.prefix()), b"").0, 404);
    // Somebody who means it says so.
    let script = "echo plain | kando location push -p \"$PROFILE\" -s db -";
    let ran = place.bash(&[("CISTERN_REPOSITORY", "none")], script);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(request(&place, "GET", &format!("{}/db", place.prefix()), b""), (200, b"plain\n".to_vec()));
}

#[test]
fn a_key_without_a_repository_is_an_error_and_not_a_plain_object() {
    let Some(place) = Place::named("CISTERN_TEST_S3") else { return };
    let key = place.home.write("key", "some key");
    let script = "echo x | kando location push -p \"$PROFILE\" -s db -";
    let ran = place.bash(&[("CISTERN_KEY_FILE", key.to_str().unwrap())], script);
    assert_failed(&ran, 5);
    assert!(ran.err.contains("cistern init"), "{}", ran.err);
    place.assert_absent("db");
}

#[test]
fn a_secret_beside_the_profile_opens_the_repository() {
    let Some(place) = with_repository() else { return };
    let key = place.home.key_file();
    let file = place.home.write("mounted/profile.json", &place.profile.to_string());
    std::fs::rename(&key, place.home.path("mounted/cistern-key")).unwrap();
    let at = format!("@{}", file.display());
    let ran = place.run(&["location", "push", "-p", &at, "-s", "db", "-"], b"beside");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(place.run(&["location", "pull", "-p", &at, "-s", "db", "-"], b"").out, b"beside");
    assert_failed(&place.location("pull", &["--path", "db", "-"], b""), 4);
}

#[test]
fn a_repository_elsewhere_is_reached_with_the_credential_of_the_profile() {
    let Some(mut place) = with_repository() else { return };
    let bucket = place.profile["Location"]["bucket"].as_str().unwrap().to_owned();
    let repository = format!("s3://{bucket}/{}", place.prefix());
    let inside = place.profile.clone();
    let elsewhere = format!("{}-elsewhere", place.prefix());
    place.profile["Location"]["prefix"] = elsewhere.clone().into();
    let variables = [("CISTERN_REPOSITORY", repository.as_str())];
    let ran = place.bash(&variables, "echo rows | kando location push -p \"$PROFILE\" -s db -");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(request(&place, "GET", &format!("{elsewhere}/db"), b"").0, 404, "no plain object");
    let ran = place.bash(&variables, "kando location pull -p \"$PROFILE\" -s db -");
    assert_eq!(ran.out, b"rows\n", "{}", ran.err);
    place.profile = inside;
    assert_eq!(place.pull("db"), b"rows\n");
}

#[test]
fn a_snapshot_reference_leads_back_to_its_snapshot() {
    let place = Place::nowhere();
    place.home.ok(&["init"], b"");
    let pushed =
        local(&place, &["push", "--path", "dump.sql", "--output-name", "kopiaOutput", "-"], b"first");
    assert_eq!(pushed.code, Some(0), "{}", pushed.err);
    let (key, first) = output(&pushed);
    assert_eq!(key, "kopiaOutput");
    let reference: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(reference["logicalSize"], 5);
    assert!(reference["physicalSize"].as_i64().unwrap() > 0);
    let (_, second) = output(&local(&place, &["push", "--path", "dump.sql", "-o", "o", "-"], b"second"));
    let pull = |reference: &str| {
        local(&place, &["pull", "--path", "dump.sql", "--kopia-snapshot", reference, "-"], b"")
    };
    assert_eq!((pull(&first).out, pull(&second).out), (b"first".to_vec(), b"second".to_vec()));
    assert_eq!(local(&place, &["delete", "--path", "dump.sql", "-k", &first], b"").code, Some(0));
    assert_failed(&pull(&first), 5);
    assert_eq!(pull(&second).out, b"second", "only the one that was meant");
    assert_eq!(
        local(&place, &["delete", "--path", "dump.sql", "-k", &first], b"").code,
        Some(0),
        "missing is fine"
    );
    let foreign = json!({"id": "k0123456789abcdef", "logicalSize": 1, "physicalSize": 0}).to_string();
    let ran = pull(&foreign);
    assert_failed(&ran, 2);
    assert!(ran.err.contains("kopia"), "{}", ran.err);
}

#[test]
fn a_push_says_how_far_it_is_by_the_length_of_the_last_one() {
    let place = Place::nowhere();
    place.home.ok(&["init"], b"");
    let push = |script: &str| {
        let channel = place.home.path("channel");
        std::fs::write(&channel, "").unwrap();
        let mut command =
            place.command(&["location", "push", "-s", "db", "-o", "snap", "--", "sh", "-c", script]);
        command.env("CISTERN_REPOSITORY", place.home.repository()).env("CISTERN_PROGRESS_LINES", "1");
        command.env("CISTERN_OUTPUT_CHANNEL", &channel);
        let ran = run(command, b"");
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        assert_eq!(std::fs::read(&channel).unwrap(), ran.out, "the reference is in the channel");
        let lines: Vec<PhaseProgress> = ran.err.lines().filter_map(progress_in).collect();
        assert!(!lines.is_empty(), "{}", ran.err);
        lines
    };
    let halves = "head -c 40000000 /dev/zero; sleep 2.5; head -c 40000000 /dev/zero";
    let first = push(halves);
    assert!(first.iter().all(|p| p.progress_percent.is_empty() && p.estimated_secs == 0), "{first:?}");
    let second = push(halves);
    let half = |p: &PhaseProgress| (40..60).contains(&p.progress_percent.parse::<u8>().unwrap_or(0));
    assert!(second.iter().any(|p| half(p) && (1..10).contains(&p.estimated_secs)), "{second:?}");
    let longer = push("head -c 120000000 /dev/zero; sleep 2.5; echo end");
    assert!(longer.iter().any(|p| p.progress_percent == "99" && p.estimated_secs == 0), "{longer:?}");
}

#[test]
fn a_kopia_profile_whose_endpoint_is_a_repository_prints_its_output() {
    let mut place = Place::nowhere();
    place.home.write("passphrase", "correct horse");
    let repository = place.home.path("repo").display().to_string();
    place.home.ok(&["init", "--repo", &repository, "--passphrase-file", "passphrase"], b"");
    place.profile = json!({
        "Location": {"type": "kopia", "endpoint": repository},
        "Credential": {"Type": "kopia", "KopiaServerSecret": {"Username": "u", "Password": "correct horse"}},
    });
    let pushed = place.ok("push", &["--path", "/dir/dump.sql", "-"], b"rows");
    let (key, reference) = output(&pushed);
    assert_eq!(key, "kandoOutput");
    let pulled = place.ok("pull", &["--path", "/dir/dump.sql", "--kopia-snapshot", &reference, "-"], b"");
    assert_eq!(pulled.out, b"rows");
    place.profile["Credential"]["KopiaServerSecret"]["Password"] = "wrong".into();
    assert_failed(&place.location("pull", &["--path", "/dir/dump.sql", "-"], b""), 4);
}

#[test]
fn gzip_is_taken_off_on_the_way_in_unless_told_otherwise() {
    let place = Place::nowhere();
    place.home.ok(&["init"], b"");
    let dump = pg_dump();
    let zipped = gzip(dump.as_bytes());
    assert_eq!(local(&place, &["push", "-s", "db", "-"], &zipped).code, Some(0));
    assert_eq!(place.home.pull("db"), dump.as_bytes(), "stored without gzip");
    assert_eq!(gunzip(&local(&place, &["pull", "-s", "db", "-"], b"").out), dump.as_bytes());
    let mut command = place.command(&["location", "push", "-s", "as-is", "-"]);
    command.env("CISTERN_REPOSITORY", place.home.repository()).env("CISTERN_UNWRAP", "off");
    assert_eq!(run(command, &zipped).code, Some(0));
    assert!(local(&place, &["pull", "-s", "as-is", "-"], b"").out == zipped, "the very bytes");
    // A cut one is refused either way.
    for unwrap in ["auto", "off"] {
        let ran =
            local(&place, &["push", "-s", "cut", "--unwrap", unwrap, "-"], &zipped[..zipped.len() - 20]);
        assert_failed(&ran, 8);
    }
    place.home.assert_absent("cut");
}

#[test]
fn names_that_look_like_ids_or_times_mean_themselves() {
    let place = Place::nowhere();
    place.home.ok(&["init"], b"");
    let pushed = local(&place, &["push", "-s", "db", "-o", "o", "-"], b"rows");
    let id = serde_json::from_str::<Value>(&output(&pushed).1).unwrap()["id"].as_str().unwrap().to_owned();
    for path in [&id[..], &format!("db@{id}"), "db@2099-01-01"] {
        assert_failed(&local(&place, &["pull", "-s", path, "-"], b""), 5);
        assert_eq!(local(&place, &["delete", "-s", path], b"").code, Some(0));
    }
    assert_eq!(local(&place, &["pull", "-s", "db", "-"], b"").out, b"rows");
}
