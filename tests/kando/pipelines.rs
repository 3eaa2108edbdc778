//! The shell pipelines of the official blueprint library, with stand-ins for the tools of databases: a dump tool
//! prints its dump, a restore tool keeps what it reads.
//!
//! Each runs as a phase does, under `bash -o errexit -o pipefail`, on plain objects in all three clouds and on a
//! repository.

use crate::place::{Place, stores};
use crate::support::home::pg_dump;
use std::os::unix::fs::PermissionsExt as _;

/// Blueprint, backup, restore, and the file that holds what was restored.
const PIPELINES: &[(&str, &str, &str)] = &[
    (
        "redis",
        "redis-dump -a pw -h host | gzip - | kando location push --profile \"$PROFILE\" --path $S3 -",
        "kando location pull --profile \"$PROFILE\" --path $S3 - | gunzip | redis-cli -a pw -h host",
    ),
    (
        "mysql",
        "mysqldump --column-statistics=0 -u root --password=pw -h host --single-transaction --all-databases | gzip - | \
         kando location push --profile \"$PROFILE\" --path $S3 -",
        "kando location pull --profile \"$PROFILE\" --path $S3 - | gunzip | mysql -u root --password=pw -h host",
    ),
    (
        "postgresql",
        "pg_dumpall --clean -U $PGUSER | gzip -c | kando location push --profile \"$PROFILE\" --path \"$S3\" -",
        "kando location pull --profile \"$PROFILE\" --path \"$S3\" - | gunzip -c -f | \
         sed 's/LOCALE_PROVIDER = libc//' | sed 's/LOCALE/LC_COLLATE/' | psql -q -U \"$PGUSER\"",
    ),
    (
        "mongodb",
        "mongodump --oplog --gzip --archive --host h -u root -p pw | kando location push --profile \"$PROFILE\" --path \
         '/mongodb-backups/ns/x/rs_backup.gz' -",
        "kando location pull --profile \"$PROFILE\" --path '/mongodb-backups/ns/x/rs_backup.gz' - | mongorestore --gzip \
         --archive --oplogReplay --drop --host h",
    ),
    (
        "foundationdb",
        "mkdir -p data/fdbbackup; echo kept > data/fdbbackup/file; tar zcvf - -C data/ fdbbackup | \
         kando location push --profile \"$PROFILE\" --path $S3 -",
        "mkdir -p restored; kando location pull --profile \"$PROFILE\" --path $S3 - | tar zxvf - -C restored; \
         cat restored/fdbbackup/file > kept; cp kept dumped",
    ),
    (
        "elasticsearch",
        "rm -f backup backup.gz; elasticdump --input=http://h --output=backup > /dev/null; elasticdump > backup; \
         gzip backup; kando location push --profile \"$PROFILE\" backup.gz --path $S3",
        "kando location pull --profile \"$PROFILE\" --path $S3 - | gunzip | restore --output=https://h",
    ),
    (
        "mssql",
        "mkdir -p backup; mssqldump > backup/db.bak; tar -zcf backup.tar.gz backup/; kando location push --profile \
         \"$PROFILE\" --path $S3 backup.tar.gz",
        "kando location pull --profile \"$PROFILE\" --path $S3 - | tar zxvf - -C bin/; restore < bin/backup/db.bak",
    ),
];

/// Tools that print the dump and write it down, and tools that keep what they are given.
fn furnish(place: &Place) {
    let tool = |name: &str, script: &str| {
        let path = place.home.write(&format!("bin/{name}"), &format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    place.home.write("dump", &pg_dump());
    for name in ["redis-dump", "mysqldump", "pg_dumpall", "mongodump", "elasticdump", "mssqldump"] {
        tool(name, "cat \"$HOME/dump\" | tee \"$HOME/dumped\"");
    }
    for name in ["redis-cli", "mysql", "psql", "mongorestore", "restore"] {
        tool(name, "cat > \"$HOME/kept\"");
    }
}

fn phase(place: &Place, script: &str) -> String {
    let variables = [("S3", "/backups/ns/db/2026-01-02T03-04-05/dump.gz"), ("PGUSER", "postgres")];
    let ran = place.bash(&variables, script);
    assert_eq!(ran.code, Some(0), "{script} at {}: {}", place.kind(), ran.err);
    String::from_utf8_lossy(&ran.out).into_owned()
}

fn round_trip(place: &Place, (name, backup, restore): &(&str, &str, &str)) {
    let said = phase(place, &format!("{backup}\nkando output s3path \"$S3\""));
    let line =
        "###Phase-output###: {\"key\":\"s3path\",\"value\":\"/backups/ns/db/2026-01-02T03-04-05/dump.gz\"}\n";
    assert!(said.ends_with(line), "{name}: {said}");
    phase(place, restore);
    let read = |file: &str| std::fs::read(place.home.path(file)).unwrap();
    assert!(read("kept") == read("dumped"), "{name} at {}", place.kind());
    for path in ["$S3", "'/mongodb-backups/ns/x/rs_backup.gz'"] {
        phase(place, &format!("kando location delete --profile \"$PROFILE\" --path {path}"));
    }
    place.assert_absent("/backups/ns/db/2026-01-02T03-04-05/dump.gz");
}

#[test]
fn every_pipeline_runs_on_plain_objects_in_all_clouds() {
    for place in stores() {
        furnish(&place);
        for pipeline in PIPELINES {
            round_trip(&place, pipeline);
        }
    }
}

#[test]
fn every_pipeline_runs_on_a_repository() {
    let Some(place) = Place::named("CISTERN_TEST_S3") else { return };
    place.init();
    furnish(&place);
    for pipeline in PIPELINES {
        round_trip(&place, pipeline);
    }
}

#[test]
fn the_kopia_pipelines_carry_the_reference_of_the_snapshot() {
    let Some(place) = Place::named("CISTERN_TEST_S3") else { return };
    place.init();
    furnish(&place);
    let backup =
        "mysqldump | kando location push --profile \"$PROFILE\" --path dump.sql --output-name kopiaOutput -";
    let said = phase(&place, backup);
    let json: serde_json::Value =
        serde_json::from_str(said.trim().strip_prefix("###Phase-output###: ").expect(&said)).unwrap();
    assert_eq!(json["key"], "kopiaOutput");
    let reference = json["value"].as_str().unwrap();
    let with = |script: &str| place.bash(&[("SNAP", reference)], script);
    let ran = with(
        "kando location pull --profile \"$PROFILE\" --path dump.sql --kopia-snapshot \"$SNAP\" - | mysql",
    );
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(std::fs::read(place.home.path("kept")).unwrap() == pg_dump().as_bytes());
    let ran = with("kando location delete --profile \"$PROFILE\" --path dump.sql --kopia-snapshot \"$SNAP\"");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    place.assert_absent("dump.sql");
}

#[test]
fn a_dump_tool_that_fails_in_the_pipe_fails_the_phase_and_stores_nothing() {
    for place in stores() {
        furnish(&place);
        let dump = pg_dump();
        place.home.write("half", &dump[..dump.len() / 2]);
        // The shell tells the phase; kando, which cannot know of the shell, tells by the dump.
        let script = "(cat half; exit 1) | gzip - | kando location push --profile \"$PROFILE\" --path db -";
        assert_ne!(place.bash(&[], script).code, Some(0));
        place.assert_absent("db");
        assert_ne!(place.bash(&[], &format!("set +o pipefail; {script}")).code, Some(0));
        place.assert_absent("db");
    }
}
