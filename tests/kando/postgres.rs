//! A real PostgreSQL through the pipeline of the official blueprint, two nights in a row.

use crate::place::Place;
use crate::postgres_server::Postgres;
use crate::support::{listed, pack_bytes};

const ROWS: &str = "create table t (id bigint primary key, a text, b text); insert into t select n, md5(n::text), \
                    md5((n * 7)::text) from generate_series(1, 60000) n";

#[test]
fn the_second_gzipped_dump_of_a_database_costs_next_to_nothing() {
    let Some(server) = Postgres::start() else { return };
    server.create("shop", ROWS);
    let before = server.checksums("shop");
    let place = Place::nowhere();
    place.home.ok(&["init"], b"");
    let repository = place.home.repository().display().to_string();
    let mut variables = server.variables().to_vec();
    variables.push(("CISTERN_REPOSITORY", &repository));
    let backup = |path: &str| {
        let script = format!("pg_dumpall --clean -U $PGUSER | gzip -c | kando location push --path {path} -");
        let ran = place.bash(&variables, &script);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        println!("{}", ran.err.trim());
        pack_bytes(&place.home)
    };
    let first = backup("/pg/2026-01-01/backup.sql.gz");
    server.sql("shop", "update t set b = 'changed' where id between 1000 and 1100");
    let second = backup("/pg/2026-01-02/backup.sql.gz") - first;
    assert!(second * 10 < first, "{first} bytes the first night, {second} the second");
    assert_eq!(listed(&place.home).len(), 2);
    server.sql("postgres", "drop database shop");
    let restore =
        "kando location pull --path /pg/2026-01-01/backup.sql.gz - | gunzip -c -f | psql -q -X -d postgres";
    let ran = place.bash(&variables, restore);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(server.checksums("shop"), before);
}
