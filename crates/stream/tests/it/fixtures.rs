//! Every real dump: whole it is complete, cut anywhere it is not, and the pieces do not matter.

use super::{dump, dumps, irregular, sniff};
use cistern_stream::{Completeness, Format};

/// What a fixture is, and the name of its verdict.
const FIXTURES: &[(&str, Format, &str)] = &[
    ("age.age", Format::Encrypted, "unknown"),
    ("bzip2.bz2", Format::Bzip2, "unknown"),
    ("etcd-snapshot.db", Format::EtcdSnapshot, "complete"),
    ("gnu.tar", Format::Tar, "complete"),
    ("gpg.gpg", Format::Encrypted, "unknown"),
    ("lz4-checked.lz4", Format::Lz4, "complete"),
    ("lz4.lz4", Format::Lz4, "complete"),
    ("mariabackup.xbstream", Format::Xbstream, "complete"),
    ("mariadb-dump-compact.sql", Format::Unknown, "unknown"),
    ("mariadb-dump-force-after-error.sql", Format::MariadbDump, "complete"),
    ("mariadb-dump-no-comments.sql", Format::MariadbDump, "complete"),
    ("mariadb-dump-no-date.sql", Format::MariadbDump, "complete"),
    ("mariadb-dump.sql", Format::MariadbDump, "complete"),
    ("mariadb-dump.xml", Format::MysqldumpXml, "complete"),
    ("mongodump.archive", Format::MongodumpArchive, "complete"),
    ("openssl.enc", Format::Encrypted, "unknown"),
    ("pg-dump-16-to-file.custom", Format::PgDumpCustom, "complete"),
    ("pg-dump-16.custom", Format::PgDumpCustom, "complete"),
    ("pg-dump-18-to-file.custom", Format::PgDumpCustom, "complete"),
    ("pg-dump-18.custom", Format::PgDumpCustom, "complete"),
    ("pg-dump-backend-terminated.sql", Format::PgDumpPlain, "truncated"),
    ("pg-dump-inserts.sql", Format::PgDumpPlain, "complete"),
    ("pg-dump-seekable.custom", Format::PgDumpCustom, "complete"),
    ("pg-dump-z0.custom", Format::PgDumpCustom, "complete"),
    ("pg-dump.custom", Format::PgDumpCustom, "complete"),
    ("pg-dump.sql", Format::PgDumpPlain, "complete"),
    ("pg-dump.tar", Format::PgDumpTar, "complete"),
    ("pg-dumpall.sql", Format::PgDumpall, "complete"),
    ("redis-cli-pipe.rdb", Format::RedisRdb, "complete"),
    ("redis-no-checksum.rdb", Format::RedisRdb, "unknown"),
    ("redis.rdb", Format::RedisRdb, "complete"),
    ("sqlite-dump.sql", Format::SqliteDump, "complete"),
    ("xz.xz", Format::Xz, "complete"),
    ("zstd-no-check.zst", Format::Zstd, "complete"),
    ("zstd-rle.zst", Format::Zstd, "complete"),
    ("zstd-small.zst", Format::Zstd, "complete"),
    ("zstd.zst", Format::Zstd, "complete"),
];

fn verdict(completeness: &Completeness) -> &'static str {
    match completeness {
        Completeness::Complete => "complete",
        Completeness::Truncated { .. } => "truncated",
        Completeness::Unknown { .. } => "unknown",
    }
}

#[test]
fn every_fixture_is_in_the_table() {
    let mut found: Vec<String> = std::fs::read_dir(dumps())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("make") && !name.ends_with(".gz"))
        .collect();
    found.sort();
    let listed: Vec<&str> = FIXTURES.iter().map(|(name, ..)| *name).collect();
    assert_eq!(found, listed);
}

#[test]
fn whole_dumps_are_recognised_and_judged() {
    for (name, format, expected) in FIXTURES {
        let finding = sniff([&dump(name)[..]]);
        assert_eq!(finding.format, *format, "{name}");
        assert_eq!(verdict(&finding.completeness), *expected, "{name}: {finding:?}");
    }
}

#[test]
fn pieces_do_not_change_the_finding() {
    for (name, ..) in FIXTURES {
        let stream = dump(name);
        // Also of a stream that is cut, where more depends on what is held back.
        for stream in [&stream[..], &stream[..stream.len() * 2 / 3]] {
            let whole = sniff([stream]);
            assert_eq!(sniff(stream.chunks(1)), whole, "{name} byte by byte");
            assert_eq!(sniff(stream.chunks(7)), whole, "{name} by sevens");
            assert_eq!(sniff(stream.chunks(512)), whole, "{name} by blocks");
            for seed in 0..20 {
                assert_eq!(sniff(irregular(stream, seed)), whole, "{name} in pieces of seed {seed}");
            }
        }
    }
}

/// Cuts after which a stream is still whole: nothing was lost but padding, or what was there already.
fn loses_nothing(name: &str, format: Format, stream: &[u8], cut: usize) -> bool {
    // The table of contents, a second time.
    if let Some(piped) = name.strip_suffix("-to-file.custom") {
        return cut == dump(&format!("{piped}.custom")).len();
    }
    match format {
        // Two blocks of zeros end a tar, GNU pads to twenty blocks.
        Format::Tar | Format::PgDumpTar => {
            cut.is_multiple_of(512)
                && stream[cut..].iter().all(|byte| *byte == 0)
                && stream[cut - 1024..cut].iter().all(|byte| *byte == 0)
        }
        // The end mark that redis-cli leaves behind.
        Format::RedisRdb => cut + 40 == stream.len() && cut > 600,
        _ => false,
    }
}

#[test]
fn no_cut_goes_unnoticed() {
    for (name, format, _) in FIXTURES {
        let stream = dump(name);
        for cut in 0..stream.len() {
            let found = sniff([&stream[..cut]]).completeness;
            let complete = loses_nothing(name, *format, &stream, cut);
            assert_eq!(found == Completeness::Complete, complete, "{name} cut at {cut}: {found:?}");
        }
    }
}

#[test]
fn what_defeats_deduplication_is_advised_against() {
    let advised: Vec<&str> = FIXTURES
        .iter()
        .filter(|(name, ..)| sniff([&dump(name)[..]]).advice.is_some())
        .map(|(name, ..)| *name)
        .collect();
    assert_eq!(
        advised,
        [
            "age.age",
            "bzip2.bz2",
            "gpg.gpg",
            "lz4-checked.lz4",
            "lz4.lz4",
            "openssl.enc",
            "pg-dump-16-to-file.custom",
            "pg-dump-16.custom",
            "pg-dump-18-to-file.custom",
            "pg-dump-18.custom",
            "pg-dump.custom",
            "xz.xz",
            "zstd-no-check.zst",
            "zstd-rle.zst",
            "zstd-small.zst",
            "zstd.zst",
        ]
    );
    assert!(sniff([&dump("gnu-6.gz")[..]]).advice.unwrap().contains("gzip"));
}
