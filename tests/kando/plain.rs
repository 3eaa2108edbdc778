//! Plain objects in S3, Azure and GCS, where Kanister writes them and looks for them.

use crate::bare::{request, unfinished_uploads};
use crate::place::{Place, stores};
use crate::support::home::{gzip, pg_dump, run, wait_until};
use crate::support::{assert_failed, given, seeded};
use std::io::Write as _;
use std::process::{Command, Stdio};

#[test]
fn a_stream_comes_back_from_every_cloud() {
    for place in stores() {
        // More than a pipe holds, and more than one part.
        let long = seeded("long", (40 << 20) + 3);
        for (path, bytes) in
            [("/short", &b"short"[..]), ("/a/long: 1.gz", &long), ("pg.sql.gz", &gzip(pg_dump().as_bytes()))]
        {
            place.push(path, bytes);
            assert!(place.pull(path) == bytes, "{path} at {}", place.kind());
        }
        place.push("/short", b"replaced");
        assert_eq!(place.pull("short"), b"replaced");
        place.assert_absent("/shor");
    }
}

#[test]
fn files_go_both_ways_and_a_failed_pull_leaves_none() {
    for place in stores() {
        let source = place.home.write("dump", "a longer dump than the next");
        place.ok("push", &[source.to_str().unwrap(), "--path", "x"], b"");
        let target = place.home.write("target", &"an old and much longer file ".repeat(10));
        place.ok("pull", &["--path", "x", target.to_str().unwrap()], b"");
        assert_eq!(std::fs::read(&target).unwrap(), b"a longer dump than the next");
        let fresh = place.home.path("fresh");
        assert_failed(&place.location("pull", &["--path", "y", fresh.to_str().unwrap()], b""), 5);
        assert!(!fresh.exists());
        assert_failed(&place.location("push", &["/", "--path", "x"], b""), 2);
    }
}

#[test]
fn what_we_push_a_plain_client_finds_and_the_other_way_round() {
    for place in stores().filter(|place| place.kind() != "azure") {
        let key = format!("{}/mysql/2026-11-20T03/dump.sql.gz", place.prefix());
        let pushed = seeded("pushed", 100_000);
        place.push("/mysql/2026-11-20T03/dump.sql.gz", &pushed);
        let (status, found) = request(&place, "GET", &key, b"");
        assert_eq!(status, 200);
        assert!(found == pushed, "the very bytes, at {}", place.kind());
        let placed = seeded("placed", 100_000);
        let key = format!("{}/placed/by/another", place.prefix());
        assert_eq!(request(&place, "PUT", &key, &placed).0, 200);
        assert!(place.pull("placed/by/another") == placed);
    }
}

#[test]
fn the_clients_of_the_stores_makers_read_what_we_push_and_we_what_they_put() {
    let Some(python) = given("CISTERN_TEST_PYTHON") else { return };
    // More than one part for them, and for us.
    let bytes = seeded("interchange", (21 << 20) + 5);
    for place in stores().filter(|place| place.kind() != "gcs") {
        let location = &place.profile["Location"];
        let kind = if place.kind() == "azure" { "azure" } else { "s3" };
        let [endpoint, bucket] = ["endpoint", "bucket"].map(|field| location[field].as_str().unwrap());
        let client = |verb: &str, path: &str, stdin: &[u8]| {
            let mut command = Command::new(&python);
            place.home.furnish(&mut command);
            command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/plain_client.py"));
            command.args([
                kind,
                verb,
                &format!("{endpoint}/{bucket}"),
                &format!("{}/{path}", place.prefix()),
            ]);
            let ran = run(command, stdin);
            assert_eq!(ran.code, Some(0), "{kind} {verb}: {}", ran.err);
            ran.out
        };
        place.push("/ours/pg: 1.sql", &bytes);
        assert!(client("get", "ours/pg: 1.sql", b"") == bytes, "{kind} reads other bytes");
        client("put", "theirs/pg: 1.sql", &bytes);
        assert!(place.pull("theirs/pg: 1.sql") == bytes, "other bytes come from {kind}");
        place.ok("delete", &["--path", "theirs"], b"");
        place.assert_absent("theirs/pg: 1.sql");
        assert!(client("get", "ours/pg: 1.sql", b"") == bytes);
    }
}

#[test]
fn delete_takes_what_was_named_and_nothing_else() {
    for place in stores() {
        for path in ["a/x", "a/x2", "a/x/1", "a/x/2/3", "b"] {
            place.push(path, path.as_bytes());
        }
        place.ok("delete", &["--path", "/a/x"], b"");
        for path in ["a/x", "a/x/1", "a/x/2/3"] {
            place.assert_absent(path);
        }
        place.ok("delete", &["--path", "/a/x"], b"");
        for path in ["", "/", ".", "a/.."] {
            assert_failed(&place.location("delete", &["--path", path], b""), 2);
        }
        assert_failed(&place.location("delete", &["--path", "../x"], b""), 2);
        for path in ["a/x2", "b"] {
            assert_eq!(place.pull(path), path.as_bytes(), "at {}", place.kind());
        }
    }
}

#[test]
fn a_dump_that_failed_is_never_seen_and_leaves_no_parts() {
    for place in stores() {
        place.push("db", b"the night before");
        let cut = pg_dump();
        let cut = &cut.as_bytes()[..cut.len() / 2];
        let zipped = gzip(&seeded("zipped", 40 << 20));
        // By the dump itself, inside gzip, by gzip, by nothing at all.
        for stream in [cut, &gzip(cut), &zipped[..zipped.len() - 9], b""] {
            assert_failed(&place.location("push", &["--path", "db", "-"], stream), 8);
        }
        // By whoever made it.
        for command in ["head -c 40000000 /dev/zero; exit 3", "kill -9 $$"] {
            let ran = place.location("push", &["--path", "db", "--", "sh", "-c", command], b"");
            assert_failed(&ran, 8);
            assert!(ran.err.contains("`sh` failed"), "{}", ran.err);
        }
        assert_eq!(place.pull("db"), b"the night before", "at {}", place.kind());
        if place.kind() != "azure" {
            assert_eq!(unfinished_uploads(&place), 0, "at {}", place.kind());
        }
        place.ok("push", &["--path", "part", "--accept-partial", "-"], cut);
        assert_eq!(place.pull("part"), cut);
        let ran = place.bash(
            &[("CISTERN_ACCEPT_PARTIAL", "1"), ("CISTERN_ALLOW_EMPTY", "true")],
            "kando location push -p \"$PROFILE\" -s empty - </dev/null",
        );
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        assert_eq!(place.pull("empty"), b"");
    }
}

#[test]
fn a_push_that_is_interrupted_cleans_up() {
    let Some(place) = Place::named("CISTERN_TEST_S3") else { return };
    let profile = place.profile.to_string();
    let mut command = place.command(&["location", "push", "--profile", &profile, "--path", "db", "-"]);
    let mut push = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = push.stdin.take().unwrap();
    input.write_all(&seeded("interrupted", 40 << 20)).unwrap();
    wait_until("an upload is under way", || unfinished_uploads(&place) == 1);
    rustix::process::kill_process(rustix::process::Pid::from_child(&push), rustix::process::Signal::TERM)
        .unwrap();
    assert_eq!(push.wait_with_output().unwrap().status.code(), Some(143));
    assert_eq!(unfinished_uploads(&place), 0);
    place.assert_absent("db");
}

#[test]
fn a_command_is_run_and_its_output_stored() {
    let Some(place) = Place::named("CISTERN_TEST_S3") else { return };
    place.ok("push", &["--path", "db", "--", "sh", "-c", "printf made"], b"");
    assert_eq!(place.pull("db"), b"made");
}

#[test]
fn the_profile_may_stand_in_a_file() {
    let Some(place) = Place::named("CISTERN_TEST_S3") else { return };
    let file = place.home.write("secret/profile.json", &place.profile.to_string());
    let at = format!("@{}", file.display());
    let reference = serde_json::json!({"cistern.dev/profile-file": file}).to_string();
    let pushed = place.run(&["location", "push", "-p", &at, "-s", "x", "-"], b"by file");
    assert_eq!(pushed.code, Some(0), "{}", pushed.err);
    let pulled = place.run(&["location", "pull", "-p", &reference, "-s", "x", "-"], b"");
    assert_eq!(pulled.out, b"by file", "{}", pulled.err);
}
