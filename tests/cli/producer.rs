//! `cistern push` running the dump program itself: exit statuses, last words, stalls, nothing left behind.

use crate::home::*;

#[test]
fn a_program_and_a_pipeline_are_stored() {
    let home = Home::new();
    let report = home.ok(&["push", "db", "--json", "--", "seq", "5"], b"not read").json();
    assert_eq!(report["producer"], "seq");
    assert_eq!(home.pull("db"), b"1\n2\n3\n4\n5\n");
    let report = home
        .ok(&["push", "tail", "--json", "--exec", "seq 5", "--then", "tac", "--then", "head -2"], b"")
        .json();
    assert_eq!(report["producer"], "seq | tac | head");
    assert_eq!(home.pull("tail"), b"5\n4\n");
}

#[test]
fn a_program_that_fails_leaves_nothing_and_its_last_words_are_told() {
    let home = Home::new();
    let ran = home.run(&["push", "db", "--", "sh", "-c", "echo data; echo no such table >&2; exit 3"], b"");
    assert_eq!(ran.code, Some(8), "{}", ran.err);
    assert!(ran.err.contains("status 3"), "{}", ran.err);
    assert_eq!(ran.err.matches("no such table").count(), 2, "passed on, and told again: {}", ran.err);
    home.assert_absent("db");
}

#[test]
fn any_stage_that_fails_fails_the_push() {
    let home = Home::new();
    for (first, second, blamed) in
        [("echo a; exit 4", "cat", "stage 1 of 2"), ("echo a", "cat; exit 5", "stage 2 of 2")]
    {
        let ran = home.run(&["push", "db", "--json", "--exec", first, "--then", second], b"");
        assert_eq!(ran.code, Some(8), "{}", ran.err);
        let error = ran.json_error();
        assert_eq!((&error["error"]["code"], &error["error"]["kind"]), (&8.into(), &"stream".into()));
        assert!(error["error"]["message"].as_str().unwrap().contains(blamed), "{error}");
        home.assert_absent("db");
    }
}

#[test]
fn a_program_that_is_killed_fails_the_push() {
    let home = Home::new();
    let ran = home.run(&["push", "db", "--exec", "echo data; kill -9 $$"], b"");
    assert_eq!(ran.code, Some(8), "{}", ran.err);
    assert!(ran.err.contains("killed by signal 9"), "{}", ran.err);
    home.assert_absent("db");
}

#[test]
fn last_words_are_few_and_short_and_harmless() {
    let home = Home::new();
    let noisy = "for i in $(seq 2000); do echo line $i >&2; done; head -c 100000 /dev/zero | tr '\\0' x >&2; \
                 printf '\\n\\033[2Jclear\\n' >&2; exit 1";
    let ran = home.run(&["push", "db", "--json", "--exec", noisy], b"");
    let last = ran.err.lines().last().unwrap();
    assert!(ran.err.contains("line 1\n"), "all of it is passed on");
    assert!(last.contains("line 2000") && !last.contains("line 1900"), "the last lines only: {last}");
    assert!(last.len() < 10_000, "{} bytes", last.len());
    assert!(!last.contains("\\u001b[2J") && last.contains("clear"), "{last}");
}

#[test]
fn gzip_from_a_program_that_died_is_blamed_on_the_program() {
    let home = Home::new();
    let ran = home.run(&["push", "db", "--exec", "seq 100000 | gzip | head -c 5000; exit 7"], b"");
    assert_eq!(ran.code, Some(8), "{}", ran.err);
    assert!(ran.err.contains("status 7"), "{}", ran.err);
    home.assert_absent("db");
}

#[test]
fn a_program_that_is_not_there() {
    let home = Home::new();
    let ran = home.run(&["push", "db", "--", "/nonexistent/pg_dump", "--password=hunter2"], b"");
    assert_eq!(ran.code, Some(8), "{}", ran.err);
    assert!(ran.err.contains("pg_dump") && !ran.err.contains("hunter2"), "{}", ran.err);
}

#[test]
fn a_silent_program_is_given_up_and_stopped() {
    let home = Home::new();
    let script = "echo $$ > pid; echo data; trap '' TERM; while :; do sleep 0.05; done";
    let ran = home.run(&["push", "db", "--stall-timeout", "300ms", "--exec", script], b"");
    assert_eq!(ran.code, Some(8), "{}", ran.err);
    assert!(ran.err.contains("300ms"), "{}", ran.err);
    assert_gone(&home, "pid");
    home.assert_absent("db");
}

#[test]
fn a_program_that_closes_its_output_and_stays_is_given_up() {
    let home = Home::new();
    let script = "echo $$ > pid; echo data; exec >&-; sleep 60";
    let ran = home.run(&["push", "db", "--stall-timeout", "300ms", "--exec", script], b"");
    assert_eq!(ran.code, Some(8), "{}", ran.err);
    assert!(ran.err.contains("does not end"), "{}", ran.err);
    assert_gone(&home, "pid");
    home.assert_absent("db");
}

/// The process whose id a script wrote down is gone, and so are its children.
pub fn assert_gone(home: &Home, file: &str) {
    let pid = std::fs::read_to_string(home.path(file)).unwrap();
    let group = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    wait_until("the producers are gone", || {
        rustix::process::test_kill_process_group(group) == Err(rustix::io::Errno::SRCH)
    });
}

#[test]
fn a_truncated_dump_is_refused_though_the_program_says_it_went_well() {
    let home = Home::new();
    home.write("dump.sql", &pg_dump()[..9000]);
    let ran = home.run(&["push", "db", "--", "cat", "dump.sql"], b"");
    assert_eq!(ran.code, Some(8), "{}", ran.err);
    home.assert_absent("db");
}

#[test]
fn secrets_of_a_command_line_are_not_kept() {
    let home = Home::new();
    let report = home.ok(&["push", "db", "--json", "--exec", "PGPASSWORD=hunter2 echo x"], b"");
    assert_eq!(report.json()["producer"], "sh");
    assert!(!format!("{report:?}").contains("hunter2"));
}
