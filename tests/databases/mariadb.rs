//! MariaDB: mariadb-dump, two nights, and back into a new database.

use crate::mysql_server::Mariadb;
use crate::support::home::Home;
use crate::support::{assert_sound, listed, place::homes};
use crate::{assert_same_text, shell};

/// A database with everything in it.
const TYPES: &str = include_str!("types.my.sql");
/// What happened during the day.
const DAY: &str = "update everything set t = concat(t, ' changed') where i3 % 300 = 7; delete from child where id % 200 = \
                   3; insert into everything (t, i8) select concat('new ', seq), seq from seq_1_to_200";

/// The tool, with all that a database holds.
fn dump_command(server: &Mariadb) -> String {
    let socket = server.socket();
    format!(
        "mariadb-dump --no-defaults --user=root --socket={socket} --single-transaction --routines --hex-blob"
    )
}

struct Night {
    dump: String,
    checksums: String,
    id: String,
}

/// A dump as text, without what tells one database or moment from another.
fn dump(server: &Mariadb, home: &Home, database: &str) -> String {
    let text = shell(home, &[], &format!("{} --skip-comments {database}", dump_command(server)));
    text.replace(&format!("`{database}`"), "`it`")
}

fn night(server: &Mariadb, home: &Home, filter: &str) -> Night {
    shell(home, &[], &format!("{} shop {filter} | \"$0\" push shop", dump_command(server)));
    let id = listed(home).last().unwrap()["id"].as_str().unwrap().to_owned();
    Night { dump: dump(server, home, "shop"), checksums: server.checksums("shop"), id }
}

fn assert_restores(server: &Mariadb, home: &Home, snapshot: &str, filter: &str, night: &Night) {
    server.sql("", "create database restored");
    let client = format!("mariadb --no-defaults --user=root --socket={} restored", server.socket());
    shell(home, &[], &format!("\"$0\" pull {snapshot} {filter} | {client}"));
    assert_same_text(&night.dump, &dump(server, home, "restored"), snapshot);
    assert_eq!(night.checksums, server.checksums("restored"), "{snapshot}");
    server.sql("", "drop database restored");
}

fn two_nights(server: &Mariadb, home: &Home, wrap: &str, unwrap: &str) {
    server.sql("", "create database shop");
    server.sql("shop", TYPES);
    let first = night(server, home, wrap);
    server.sql("shop", DAY);
    let second = night(server, home, wrap);
    assert_ne!(first.checksums, second.checksums, "the day changed something");
    assert_restores(server, home, &format!("shop@{}", first.id), unwrap, &first);
    assert_restores(server, home, "shop", unwrap, &second);
    let listed = listed(home);
    assert!(listed.iter().all(|s| s["completeness"] == "complete"), "{listed:?}");
    assert_sound(home);
    server.sql("", "drop database shop");
}

#[test]
fn a_dump_comes_back_row_by_row() {
    let Some(server) = Mariadb::start() else { return };
    for home in homes() {
        two_nights(&server, &home, "", "");
    }
}

#[test]
fn a_gzipped_dump_comes_back_row_by_row() {
    let Some(server) = Mariadb::start() else { return };
    two_nights(&server, &Home::new(), "| gzip", "| gunzip");
}
