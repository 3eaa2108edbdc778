//! Dumps that break half way: refused, and nothing is listed.

use crate::bash;
use crate::mysql_server::Mariadb;
use crate::postgres_server::Postgres;
use crate::support::home::{CISTERN, Home, Ran, run, wait_until};
use crate::support::{assert_failed, listed_names};
use std::process::Command;

/// More than pipes and the tools hold, so that a dump of it waits for its reader.
const LARGE: &str =
    "create table large as select g as id, repeat(md5(g::text), 6) as body from generate_series(1, 150000) g";

/// Starts a dump whose reader stops after the first megabyte, does `harm` to it, and lets it go on. The shell's
/// status is that of the push alone, as it is for people without `pipefail`.
fn harmed(home: &Home, variables: &[(&str, &str)], dump: &str, harm: impl FnOnce()) -> Ran {
    let line = format!(
        "{{ echo $BASHPID > dump.pid; exec {dump}; }} | {{ head -c 1000000; touch half; until [ -e go ]; do sleep 0.05; \
         done; cat; }} | \"$0\" push db"
    );
    let mut command = Command::new("bash");
    home.furnish(&mut command);
    command.envs(variables.iter().copied()).args(["-c", &line, CISTERN]);
    std::thread::scope(|scope| {
        let ran = scope.spawn(|| run(command, b""));
        wait_until("the dump is half way", || home.path("half").exists());
        harm();
        home.write("go", "");
        ran.join().unwrap()
    })
}

fn kill_dump(home: &Home) {
    let pid = std::fs::read_to_string(home.path("dump.pid")).unwrap();
    assert!(Command::new("kill").args(["-9", pid.trim()]).status().unwrap().success());
}

fn assert_refused(home: &Home, ran: &Ran) {
    assert_failed(ran, 8);
    assert!(ran.err.contains("incomplete"), "{}", ran.err);
    assert_eq!(listed_names(home), ["before"]);
}

fn home() -> Home {
    let home = Home::new();
    home.ok(&["push", "before"], b"an earlier night");
    home
}

#[test]
fn a_dump_whose_backend_was_terminated_is_refused() {
    let Some(server) = Postgres::start() else { return };
    server.create("shop", LARGE);
    for dump in ["pg_dump shop", "pg_dump -Fc -Z0 shop"] {
        let home = home();
        let ran = harmed(&home, &server.variables(), dump, || {
            server.wait_for_backend("application_name = 'pg_dump' and query like 'COPY%'");
            let kill =
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pg_dump'";
            server.sql("postgres", kill);
        });
        assert_refused(&home, &ran);
    }
}

#[test]
fn a_pg_dump_that_was_killed_is_refused() {
    let Some(server) = Postgres::start() else { return };
    server.create("shop", LARGE);
    for dump in ["pg_dump shop", "pg_dumpall", "pg_dump -Fc -Z0 shop", "pg_dump -Ft shop"] {
        let home = home();
        let ran = harmed(&home, &server.variables(), dump, || kill_dump(&home));
        assert_refused(&home, &ran);
    }
}

#[test]
fn a_mariadb_dump_that_was_killed_is_refused() {
    let Some(server) = Mariadb::start() else { return };
    server.sql("", "create database shop");
    server.sql(
        "shop",
        "create table large (id int primary key, body text); insert into large select seq, \
                        repeat(md5(seq), 6) from seq_1_to_150000",
    );
    let home = home();
    let dump = format!("mariadb-dump --socket={} shop", server.socket());
    let ran = harmed(&home, &[], &dump, || kill_dump(&home));
    assert_refused(&home, &ran);
}

#[test]
fn an_unknown_database_fails_the_push_that_runs_the_dump_and_is_named() {
    let Some(server) = Postgres::start() else { return };
    let home = home();
    let ran = bash(&home, &server.variables(), "\"$0\" push db --json -- pg_dump no_such_database");
    assert_eq!(ran.code, Some(8), "{}", ran.err);
    let error = ran.json_error();
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("no_such_database") && message.contains("does not exist"), "{message}");
    assert_eq!(listed_names(&home), ["before"]);
}

#[test]
fn an_unknown_database_in_a_pipe_is_an_empty_stream() {
    let Some(server) = Postgres::start() else { return };
    let home = home();
    let ran =
        bash(&home, &server.variables(), "pg_dump no_such_database | \"$0\" push db; exit ${PIPESTATUS[1]}");
    assert_failed(&ran, 8);
    assert_eq!(listed_names(&home), ["before"]);
}
