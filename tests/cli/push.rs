//! `cistern push` from a pipe or file: the default repository, what is refused, what is reported.

use crate::home::*;
use std::io::Write as _;
use std::process::Stdio;

#[test]
fn with_nothing_configured_a_repository_and_a_key_are_made() {
    let home = Home::new();
    let ran = home.ok(&["push", "db"], b"hello\n");
    assert!(home.repository().join("cistern.json").exists());
    let key = home.key_file();
    assert_eq!(mode(&key), 0o600);
    assert_eq!(ran.err.matches(key.to_str().unwrap()).count(), 1, "{}", ran.err);
    assert!(ran.err.contains("safe place"), "{}", ran.err);
    assert!(!key.starts_with(home.repository()), "whoever takes the repository must not have the key");
    let again = home.ok(&["push", "db"], b"hello again\n");
    assert!(!again.err.contains("safe place"), "said once: {}", again.err);
    assert_eq!(home.pull("db"), b"hello again\n");
}

fn mode(path: &std::path::Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_key_in_the_key_file_is_needed() {
    let home = Home::new();
    home.ok(&["push", "db"], b"hello\n");
    std::fs::remove_file(home.key_file()).unwrap();
    let ran = home.run(&["pull", "db"], b"");
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    assert!(ran.err.contains("--key-file"), "{}", ran.err);
}

#[test]
fn a_truncated_dump_is_refused_and_leaves_nothing() {
    let home = Home::new();
    let dump = pg_dump();
    let cut = &dump.as_bytes()[..dump.len() / 2];
    for wrapped in [cut.to_vec(), gzip(cut)] {
        let ran = home.run(&["push", "db"], &wrapped);
        assert_eq!(ran.code, Some(8), "{}", ran.err);
        assert!(ran.err.contains("incomplete") && ran.err.contains("--accept-partial"), "{}", ran.err);
        home.assert_absent("db");
    }
    home.ok(&["push", "db"], dump.as_bytes());
    assert_eq!(home.pull("db"), dump.as_bytes());
}

#[test]
fn a_partial_dump_that_was_asked_for_is_marked() {
    let home = Home::new();
    let dump = pg_dump();
    let cut = &dump.as_bytes()[..dump.len() / 2];
    let report = home.ok(&["push", "db", "--accept-partial", "--json"], cut).json();
    assert_eq!(report["completeness"], "truncated");
    assert!(report["suspect"].as_str().unwrap().contains("pg-dump-plain"), "{report}");
    assert_eq!(home.pull("db"), cut);
    home.ok(&["push", "db"], dump.as_bytes());
    home.ok(&["push", "db", "--accept-partial"], cut);
    assert_eq!(home.pull("db"), dump.as_bytes(), "the newest good one is meant");
}

#[test]
fn an_empty_stream_is_refused() {
    let home = Home::new();
    let ran = home.run(&["push", "db"], b"");
    assert_eq!(ran.code, Some(8), "{}", ran.err);
    home.assert_absent("db");
    home.ok(&["push", "db", "--allow-empty"], b"");
    assert_eq!(home.pull("db"), b"");
}

#[test]
fn gzip_on_a_pipe_is_taken_off_and_known_content_costs_nothing() {
    let home = Home::new();
    let content = noise(3_000_000);
    let plain = home.ok(&["push", "db", "--json"], &content).json();
    assert_eq!((plain["identical"].as_bool(), plain["wrap"].is_null()), (Some(true), true));
    let wrapped = gzip(&content);
    let report = home.ok(&["push", "db", "--json"], &wrapped).json();
    assert_eq!(report["raw_bytes"], 3_000_000);
    assert_eq!(report["identical"], false);
    assert_eq!(report["wrap"]["original_bytes"].as_u64(), Some(wrapped.len() as u64));
    assert_eq!(report["wrap"]["original_digest"], blake3::hash(&wrapped).to_hex().as_str());
    assert_eq!(report["stored"]["duplicate_bytes"], 3_000_000, "the same content is known");
    let told = home.ok(&["push", "db"], &wrapped).err;
    assert!(told.contains("not the same compressed bytes"), "{told}");
}

#[test]
fn gzip_stays_where_it_should() {
    let home = Home::new();
    let wrapped = gzip(b"content\n");
    home.ok(&["push", "off", "--unwrap=off"], &wrapped);
    assert_eq!(home.pull("off"), wrapped);
    // A file keeps its bytes unless it is said otherwise.
    let path = home.path("dump.gz");
    std::fs::File::create(&path).and_then(|mut f| std::io::Write::write_all(&mut f, &wrapped)).unwrap();
    for (name, flags, expected) in
        [("kept", &[][..], wrapped.as_slice()), ("unwrapped", &["--unwrap=auto"], b"content\n")]
    {
        let mut command = home.command(&[&["push", name], flags].concat());
        command.stdin(std::fs::File::open(&path).unwrap()).stderr(Stdio::null());
        assert!(command.status().unwrap().success());
        assert_eq!(home.pull(name), expected, "{flags:?}");
    }
}

#[test]
fn gzip_that_is_cut_short_is_refused() {
    let home = Home::new();
    let wrapped = gzip(&noise(100_000));
    for len in [3, 9, 500, wrapped.len() - 1] {
        let ran = home.run(&["push", "db"], &wrapped[..len]);
        assert_eq!(ran.code, Some(8), "{len} bytes: {}", ran.err);
        home.assert_absent("db");
    }
}

#[test]
fn gzip_that_stays_as_it_is_must_be_whole_too() {
    let home = Home::new();
    let dump = pg_dump();
    let wrapped = gzip(dump.as_bytes());
    let cut_inside = gzip(&dump.as_bytes()[..dump.len() / 2]);
    for broken in [&wrapped[..wrapped.len() - 1], &cut_inside] {
        let ran = home.run(&["push", "db", "--unwrap=off"], broken);
        assert_eq!(ran.code, Some(8), "{}", ran.err);
        assert!(ran.err.contains("incomplete (truncated gzip: "), "{}", ran.err);
        home.assert_absent("db");
        home.ok(&["push", "partial", "--unwrap=off", "--accept-partial"], broken);
        assert_eq!(home.pull("partial"), broken, "every byte as it came");
    }
    let report = home.ok(&["push", "db", "--unwrap=off", "--json"], &wrapped).json();
    assert_eq!((&report["format"], &report["completeness"]), (&"gzip".into(), &"complete".into()));
    assert_eq!(home.pull("db"), wrapped);
}

#[test]
fn streams_of_every_small_length_come_back() {
    let home = Home::new();
    for len in [1usize, 2, 3, 6, 65_535, 65_536, 65_537, 131_072, 2_000_000] {
        let bytes = noise(len);
        home.ok(&["push", "db"], &bytes);
        assert!(home.pull("db") == bytes, "{len} bytes");
        home.ok(&["push", "gz"], &gzip(&bytes));
        assert!(home.pull("gz") == bytes, "{len} bytes in gzip");
    }
}

#[test]
fn the_report_has_the_shape_that_scripts_rely_on() {
    let home = Home::new();
    let ran = home.ok(&["push", "db", "--json", "--tag", "nightly", "--host", "db1"], pg_dump().as_bytes());
    assert_eq!(ran.out.iter().filter(|b| **b == b'\n').count(), 1, "one line");
    let report = ran.json();
    for field in [
        "repository",
        "id",
        "receipt",
        "name",
        "host",
        "started",
        "finished",
        "sequence",
        "previous",
        "raw_bytes",
        "digest",
        "stored",
        "stored_bytes",
        "format",
        "completeness",
        "detail",
        "wrap",
        "tags",
        "producer",
        "deltas",
        "suspect",
        "identical",
        "secs",
        "bytes_per_sec",
        "advice",
    ] {
        assert!(report.get(field).is_some(), "{field} is missing: {report}");
    }
    let stored = &report["stored"];
    let sum: u64 =
        ["duplicate_bytes", "delta_bytes", "new_bytes"].iter().map(|f| stored[f].as_u64().unwrap()).sum();
    assert_eq!(Some(sum), report["raw_bytes"].as_u64(), "every byte went somewhere");
    assert_eq!(report["digest"], blake3::hash(pg_dump().as_bytes()).to_hex().as_str());
    assert_eq!((&report["format"], &report["completeness"]), (&"pg-dump-plain".into(), &"complete".into()));
    assert_eq!((&report["tags"], &report["host"]), (&serde_json::json!(["nightly"]), &"db1".into()));
    assert_eq!(report["receipt"].as_str().unwrap().len(), 64);
}

#[test]
fn one_line_in_a_pipe_and_none_when_quiet() {
    let home = Home::new();
    home.ok(&["init"], b"");
    let told = home.ok(&["push", "db"], b"hello\n");
    assert!(told.err.starts_with("Stored db as ") && told.err.lines().count() == 1, "{}", told.err);
    assert!(!told.err.contains(['\r', '\x1b']), "nothing moves in a pipe");
    let quiet = home.ok(&["push", "db", "-q"], b"hello\n");
    assert_eq!((quiet.err.as_str(), quiet.out.len()), ("", 0));
}

#[test]
fn names_with_odd_characters() {
    let home = Home::new();
    for name in ["a b", "søster/日本", "--drop", "x@y", "../../etc", "'\"$HOME`", "01J"] {
        // A name that begins like a flag comes after `--`; a command of its own would need another one.
        let place = if name.starts_with('-') {
            vec!["push", "--exec", "echo odd", "--", name]
        } else {
            vec!["push", name]
        };
        if name.starts_with('-') {
            let ran = home.run(&place, b"");
            assert_eq!(ran.code, Some(2), "{}", ran.err);
            continue;
        }
        home.ok(&place, name.as_bytes());
        assert_eq!(home.pull(name), name.as_bytes());
    }
    assert!(!home.path("etc").exists());
}

#[test]
fn a_name_nobody_could_type_is_wrong_usage() {
    let home = Home::new();
    for name in ["", " x", "a\nb", "\x1b[2J"] {
        let ran = home.run(&["push", name], b"hello\n");
        assert_eq!(ran.code, Some(2), "{name:?}: {}", ran.err);
        assert!(!ran.err.contains('\x1b'));
    }
    assert!(!home.repository().exists(), "refused before anything is made");
}

#[test]
fn a_silent_pipe_is_given_up() {
    let home = Home::new();
    let mut command = home.command(&["push", "db", "--stall-timeout", "200ms"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    (&stdin).write_all(b"the beginning").unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(8));
    let err = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(err.contains("200ms") && err.contains("--stall-timeout"), "{err}");
    drop(stdin);
    home.assert_absent("db");
}

#[test]
fn advice_on_the_dump_command_is_passed_on() {
    let home = Home::new();
    let wrapped = gzip(pg_dump().as_bytes());
    let ran = home.ok(&["push", "db", "--unwrap=off"], &wrapped);
    assert!(ran.err.contains("advice: gzip defeats deduplication"), "{}", ran.err);
    let report = home.ok(&["push", "db", "--unwrap=off", "--json"], &wrapped).json();
    assert!(report["advice"].as_str().unwrap().contains("gzip"), "{report}");
    let ran = home.ok(&["push", "db"], &wrapped);
    assert!(!ran.err.contains("advice"), "{}", ran.err);
}
