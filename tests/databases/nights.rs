//! A whole server every night, through gzip as so many do it: what it costs, and its way back after a prune.

use crate::postgres_server::Postgres;
use crate::shell;
use crate::support::home::Home;
use crate::support::{assert_sound, listed, listed_names, pack_bytes, prune_now};

/// Two databases and a role; rows that compress about as well as people's do.
fn furnished() -> Option<Postgres> {
    let server = Postgres::start()?;
    let table = "create table t as select g as id, md5(g::text) as code, 'customer ' || g % 977 as who, now()::date - g \
                 % 500 as since from generate_series(1, 120000) g";
    server.create("app", table);
    server.create(
        "crm",
        "create table notes as select g as id, repeat(md5(g::text), 3) as body from generate_series(1, \
                          30000) g",
    );
    server.sql("postgres", "create role clerk");
    server.sql("app", "grant select on t to clerk");
    Some(server)
}

/// What the last push added to the repository, in bytes.
fn added(home: &Home) -> u64 {
    listed(home).last().unwrap()["added_bytes"].as_u64().unwrap()
}

/// Every database's content, in one text.
fn content(server: &Postgres) -> String {
    [server.checksums("app"), server.checksums("crm")].concat()
}

#[test]
fn gzip_every_night_costs_what_plain_text_does_and_comes_back_after_a_prune() {
    let Some(server) = furnished() else { return };
    let (plain, gzipped) = (Home::new(), Home::new());
    let night = || {
        shell(&plain, &server.variables(), "pg_dumpall | \"$0\" push all");
        shell(&gzipped, &server.variables(), "pg_dumpall | gzip | \"$0\" push all");
        (added(&plain), added(&gzipped))
    };
    let first = night();
    server.sql("app", "update t set who = 'changed ' || id where id between 50000 and 50500");
    server.sql("crm", "insert into notes select g, 'new ' || g from generate_series(1, 500) g");
    let second = night();
    println!("first night {first:?}, second night {second:?} bytes, plain and gzipped");
    for (nth, (plain, gzipped)) in [("first", first), ("second", second)] {
        assert!(gzipped < plain + plain / 10 + (64 << 10), "{nth} night: {gzipped} bytes, plain {plain}");
    }
    assert!(second.1 < first.1 / 3, "the second night is cheap: {} after {}", second.1, first.1);

    let before = pack_bytes(&gzipped);
    gzipped.ok(&["forget", "all", "--keep-last", "1"], b"");
    prune_now(&gzipped);
    prune_now(&gzipped);
    assert!(pack_bytes(&gzipped) <= before);
    assert_eq!(listed_names(&gzipped), ["all"]);
    assert_sound(&gzipped);

    let Some(other) = Postgres::start() else { return };
    // The role that restores is there already; everything else must go through.
    shell(
        &gzipped,
        &other.variables(),
        "\"$0\" pull all | gunzip | grep -v '^CREATE ROLE postgres;' | psql -X -q -v \
                                         ON_ERROR_STOP=1 -o /dev/null postgres",
    );
    assert_eq!(content(&server), content(&other));
    assert_eq!(other.sql("app", "select has_table_privilege('clerk', 't', 'select')").trim(), "t");
}
