//! The blueprint for MySQL and MariaDB: backup, damage, restore, compare.

use crate::mysql_server::Mariadb;
use crate::stage::Stage;
use crate::support::{assert_sound, listed_names};

const SHOP: &str = "create table t (id int primary key, text varchar(40) character set utf8mb4, b blob); \
                    insert into t select seq, concat('row ä ', seq), unhex(md5(seq)) from seq_1_to_3000; \
                    create view v as select id from t where id < 10; \
                    create procedure p() select 'procedure'; create user app@localhost identified by 'x'; \
                    grant select on shop.t to app@localhost";

fn state(server: &Mariadb) -> [String; 4] {
    [
        server.checksums("shop"),
        server.sql("shop", "select count(*) from v"),
        server.sql("shop", "call p()"),
        server.sql("", "show grants for app@localhost"),
    ]
}

#[test]
fn all_databases_as_one_stream() {
    let Some(server) = Mariadb::start() else { return };
    server.sql("", "create database shop");
    server.sql("shop", SHOP);
    let flags = format!("flags=--socket={}", server.socket());
    let stage = Stage::new("mysql/blueprint.yaml", "StatefulSet", "root", "", &["host=localhost", &flags]);
    let before = state(&server);
    stage.backup("mysql");
    assert_eq!(listed_names(&stage.home).len(), 1);
    server.sql(
        "shop",
        "delete from t where id % 2 = 0; update t set text = 'bad'; drop procedure p; drop view v",
    );
    server.sql("", "drop user app@localhost");
    stage.follow_ok("restore", &[]);
    assert_eq!(state(&server), before);
    assert_sound(&stage.home);
    stage.delete();

    stage.log_in("nobody", "wrong");
    let ran = stage.try_backup();
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert_eq!(listed_names(&stage.home), Vec::<String>::new());
}
