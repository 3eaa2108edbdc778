//! The three blueprints for PostgreSQL: backup, damage, restore, compare; and dumps that fail.

use crate::postgres_server::Postgres;
use crate::stage::Stage;
use crate::support::{assert_sound, given, listed_names};

/// A password that every kind of quoting trips over.
const PASSWORD: &str = "it's $(a) `b` \"c\" \\ &";

const SHOP: &str = "create table t as select g as id, md5(g::text) as text from generate_series(1, 5000) g; \
                    create table u (id int primary key, b bytea); insert into u values (1, '\\x00ff'), (2, null); \
                    create sequence s start 7; create view v as select count(*) from t";

/// Rows are gone and changed, a table is missing, another is new.
const DAMAGE: &str =
    "delete from t where id % 2 = 0; update t set text = 'bad'; drop table u; create table extra (i int)";

fn server() -> Option<Postgres> {
    let server = Postgres::start()?;
    server.create("shop", SHOP);
    server.create("\"odd name\"", "");
    server.sql("odd name", "create table t (id int); insert into t values (42)");
    Some(server)
}

fn stage(blueprint: &str, server: &Postgres, options: &[&str]) -> Stage {
    let host = format!("host={}", server.variables()[0].1);
    Stage::new(blueprint, "StatefulSet", "postgres", PASSWORD, &[&[host.as_str()], options].concat())
}

/// Backs up, damages, restores, and finds everything as it was.
fn there_and_back(blueprint: &str, options: &[&str], streams: usize) {
    let Some(server) = server() else { return };
    let stage = stage(blueprint, &server, options);
    let before = server.checksums("shop");
    stage.backup("postgresql");
    assert_eq!(listed_names(&stage.home).len(), streams, "{:?}", listed_names(&stage.home));
    server.sql("shop", DAMAGE);
    assert_ne!(server.checksums("shop"), before);
    stage.follow_ok("restore", &[]);
    server.sql("shop", "drop table if exists extra");
    assert_eq!(server.checksums("shop"), before);
    assert_eq!(server.sql("shop", "select nextval('s')").trim(), "7");
    assert_eq!(server.sql("odd name", "select id from t").trim(), "42");
    assert_sound(&stage.home);
    stage.delete();
}

#[test]
fn each_database_as_a_stream() {
    // Three databases, the roles, and the list.
    there_and_back("postgresql/pg-dump.yaml", &[], 5);
}

#[test]
fn all_databases_as_one_stream() {
    there_and_back("postgresql/pg-dumpall.yaml", &[], 1);
}

#[test]
fn each_table_as_a_stream() {
    // Two tables, the table of contents, and the list.
    there_and_back("postgresql/pg-dump-parallel.yaml", &["database=shop"], 4);
}

#[test]
fn plain_objects_in_a_bucket() {
    let (Some(url), Some(server)) = (given("CISTERN_TEST_S3"), server()) else { return };
    for blueprint in ["pg-dump.yaml", "pg-dump-parallel.yaml", "pg-dumpall.yaml"] {
        let stage = stage(&format!("postgresql/{blueprint}"), &server, &["database=shop"]).into_bucket(&url);
        let before = server.checksums("shop");
        stage.backup_path("postgresql");
        server.sql("shop", DAMAGE);
        stage.follow_ok("restore", &[]);
        server.sql("shop", "drop table if exists extra");
        assert_eq!(server.checksums("shop"), before, "{blueprint}");
        stage.follow_ok("delete", &[]);
        let gone = stage.follow("restore", &[]);
        assert_eq!(gone.code, Some(1), "{blueprint}: {}", gone.err);
    }
}

#[test]
fn a_database_that_is_gone_is_made_anew() {
    let Some(server) = server() else { return };
    let stage = stage("postgresql/pg-dump.yaml", &server, &["databases=shop"]);
    let before = server.checksums("shop");
    stage.backup("postgresql");
    server.sql("postgres", "drop database shop");
    stage.follow_ok("restore", &[]);
    assert_eq!(server.checksums("shop"), before);
}

/// An account that may not read the last table lets the dump begin, and fail.
#[test]
fn a_dump_that_fails_leaves_nothing_that_is_listed() {
    let Some(server) = server() else { return };
    server.sql("postgres", "create role limited login");
    server.sql("postgres", "grant select on pg_authid to limited");
    server.sql("shop", "grant select on t to limited; grant select on s to limited");
    let all = [
        ("pg-dump.yaml", "databases=postgres shop"),
        ("pg-dump-parallel.yaml", "database=shop"),
        ("pg-dumpall.yaml", ""),
    ];
    for (blueprint, option) in all {
        let options: &[&str] = if option.is_empty() { &[] } else { &[option] };
        let stage = stage(&format!("postgresql/{blueprint}"), &server, options);
        stage.log_in("limited", PASSWORD);
        let ran = stage.try_backup();
        assert_eq!(ran.code, Some(1), "{blueprint}: {}", ran.err);
        assert!(ran.err.contains("permission denied"), "{blueprint}: {}", ran.err);
        assert!(String::from_utf8_lossy(&ran.out).contains("state: failed"), "{blueprint}");
        assert_eq!(listed_names(&stage.home), Vec::<String>::new(), "{blueprint}: {}", ran.err);
        let restore = stage.follow("restore", &[]);
        assert_ne!(restore.code, Some(0), "{blueprint}");
    }
}

/// A view that the backup does not know stands in the way, after other tables have been dropped.
#[test]
fn a_restore_that_fails_changes_nothing() {
    let Some(server) = server() else { return };
    let stage = stage("postgresql/pg-dump.yaml", &server, &["databases=shop"]);
    stage.backup("postgresql");
    server.sql("shop", "update t set text = 'new' where id < 10; create view mine as select id from t");
    let before = server.checksums("shop");
    let ran = stage.follow("restore", &[]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains("mine depends on table"), "{}", ran.err);
    assert_eq!(server.checksums("shop"), before, "{}", ran.err);
}

#[test]
fn no_password_stands_in_an_argument_or_a_log() {
    let Some(server) = server() else { return };
    let stage = stage("postgresql/pg-dump.yaml", &server, &[]);
    let ran = stage.try_backup();
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(!ran.err.contains(PASSWORD) && !String::from_utf8_lossy(&ran.out).contains(PASSWORD));
}
