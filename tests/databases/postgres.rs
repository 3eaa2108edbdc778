//! PostgreSQL: pg_dump as text and as an archive, two nights, and back into a new database.

use crate::postgres_server::Postgres;
use crate::support::home::Home;
use crate::support::{assert_sound, listed, place::homes};
use crate::{assert_same_text, shell};

/// A database with everything in it.
const TYPES: &str = include_str!("types.pg.sql");
/// What happened during the day.
const DAY: &str = "update everything set t = t || ' changed', jb = jb || '{\"day\": 2}' where i4 % 300 = 7; delete \
                   from child where id % 200 = 3; insert into everything (t, i4) select 'new ' || g, g from \
                   generate_series(1, 200) g; refresh materialized view totals";

/// The lines of a dump as text, sorted, for a server puts rows where there is room; without the tokens that newer
/// versions make up anew each time.
fn dump(server: &Postgres, home: &Home, database: &str) -> String {
    let text = shell(home, &server.variables(), &format!("pg_dump {database}"));
    let mut lines: Vec<&str> = text.lines().filter(|l| !l.contains("restrict ")).collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// Pulls into a new database through `restore`, and compares it with what was dumped.
fn assert_restores(server: &Postgres, home: &Home, snapshot: &str, restore: &str, night: &Night) {
    server.create("restored", "");
    shell(home, &server.variables(), &format!("\"$0\" pull {snapshot} | {restore}"));
    assert_same_text(&night.dump, &dump(server, home, "restored"), snapshot);
    assert_eq!(night.checksums, server.checksums("restored"), "{snapshot}");
    server.sql("postgres", "drop database restored");
}

/// What a database held when it was dumped.
struct Night {
    dump: String,
    checksums: String,
    id: String,
}

/// Pushes the database by this pipeline, and notes what it holds.
fn night(server: &Postgres, home: &Home, pipeline: &str) -> Night {
    shell(home, &server.variables(), pipeline);
    let id = listed(home).last().unwrap()["id"].as_str().unwrap().to_owned();
    Night { dump: dump(server, home, "shop"), checksums: server.checksums("shop"), id }
}

fn two_nights(pipeline: &str, restore: &str) {
    let Some(server) = Postgres::start() else { return };
    for home in homes() {
        server.create("shop", TYPES);
        let first = night(&server, &home, pipeline);
        server.sql("shop", DAY);
        let second = night(&server, &home, pipeline);
        assert_ne!(first.checksums, second.checksums, "the day changed something");
        assert_restores(&server, &home, &format!("shop@{}", first.id), restore, &first);
        assert_restores(&server, &home, "shop", restore, &second);
        let listed = listed(&home);
        assert!(listed.iter().all(|s| s["completeness"] == "complete"), "{listed:?}");
        assert_sound(&home);
        server.sql("postgres", "drop database shop");
    }
}

#[test]
fn a_dump_as_text_comes_back_row_by_row() {
    two_nights("pg_dump shop | \"$0\" push shop", "psql -X -q -v ON_ERROR_STOP=1 -o /dev/null restored");
}

#[test]
fn an_archive_comes_back_row_by_row() {
    two_nights("pg_dump -Fc shop | \"$0\" push shop", "pg_restore --exit-on-error -d restored");
}

#[test]
fn an_uncompressed_archive_run_by_the_push_itself_comes_back() {
    two_nights("\"$0\" push shop -- pg_dump -Fc -Z0 shop", "pg_restore --exit-on-error -d restored");
}

#[test]
fn a_gzipped_dump_comes_back_with_and_without_gzip() {
    let Some(server) = Postgres::start() else { return };
    server.create("shop", TYPES);
    let home = Home::new();
    let night = night(&server, &home, "pg_dump shop | gzip | \"$0\" push shop");
    let psql = "psql -X -q -v ON_ERROR_STOP=1 -o /dev/null restored";
    assert_restores(&server, &home, "shop", &format!("gunzip | {psql}"), &night);
    assert_restores(&server, &home, "--as=content shop", psql, &night);
}
