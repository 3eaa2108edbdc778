//! The known ways in which a dump looks whole and is not, or looks cut and is whole.

use super::{dump, ends_of, judge, sniff, truncated, unknown};
use cistern_stream::{Completeness, Format};

/// A server process that dies during COPY leaves valid SQL: pg_dump ends the table and exits 1.
#[test]
fn backend_terminated_ends_with_a_closed_copy() {
    let stream = dump("pg-dump-backend-terminated.sql");
    assert!(stream.ends_with(b"\n\\.\n\n\n"));
    assert!(truncated(&stream).contains("PostgreSQL database dump complete"));
}

/// The databases inside a pg_dumpall end like dumps of their own.
#[test]
fn pg_dumpall_cut_at_a_database_boundary() {
    let stream = dump("pg-dumpall.sql");
    let token = b"--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict ";
    let boundaries: Vec<usize> = ends_of(token, &stream)
        .into_iter()
        .map(|at| at + memchr::memmem::find(&stream[at..], b"\n\n").unwrap() + 2)
        .collect();
    assert!(boundaries.len() >= 3, "postgres, shop and stock");
    for cut in boundaries {
        assert!(truncated(&stream[..cut]).contains("cluster dump complete"));
        // The same bytes, begun where the last database begins, are a whole pg_dump.
        let begin = memchr::memmem::rfind(&stream[..cut], b"--\n-- PostgreSQL database dump\n--\n").unwrap();
        assert_eq!(judge(&stream[begin..cut]), Completeness::Complete);
    }
}

/// Data that spells the trailer, in a dump that is cut right there: only the token tells.
#[test]
fn pg_dump_cut_behind_a_trailer_in_the_data() {
    let stream = dump("pg-dump-inserts.sql");
    let trailers = ends_of(b"\n--\n-- PostgreSQL database dump complete\n--\n\n", &stream);
    assert_eq!(trailers.len(), 2, "one in a row, one at the end");
    assert!(truncated(&stream[..trailers[0]]).contains("unrestrict"));
}

#[test]
fn restrict_token_of_another_dump() {
    let (ours, theirs) = (dump("pg-dump.sql"), dump("pg-dump-inserts.sql"));
    let joined = [&ours[..], &theirs[..]].concat();
    assert!(truncated(&joined).contains("another dump"));
}

/// Before August 2025 there were no tokens; a token without its lock is somebody else's.
#[test]
fn pg_dump_without_restrict() {
    let plain = b"--\n-- PostgreSQL database dump\n--\n\nSELECT 1;\n\n\n--\n-- PostgreSQL database dump complete\n--\n\n";
    assert_eq!(judge(plain), Completeness::Complete);
    assert!(truncated(&[&plain[..], b"\\unrestrict abc\n\n"].concat()).contains("another dump"));
}

/// `--force` goes on after an error and writes the trailer. Nothing in the format tells; the exit status does.
#[test]
fn mysqldump_force_writes_the_trailer_after_errors() {
    let stream = dump("mariadb-dump-force-after-error.sql");
    assert_eq!(ends_of(b"-- failed on view `cheap`", &stream).len(), 1);
    assert_eq!(judge(&stream), Completeness::Complete);
}

#[test]
fn mysqldump_trailer_forms() {
    let dump =
        |end: &str| format!("-- MySQL dump 10.13  Distrib 8.4.3, for Linux (x86_64)\n--\nSELECT 1;\n{end}");
    for end in [
        "\n-- Dump completed\n",
        "\n-- Dump completed on 2026-11-20 12:00:05\n",
        "\n-- Dump completed on 2026-11-20  1:00:05\n",
    ] {
        assert_eq!(judge(dump(end).as_bytes()), Completeness::Complete, "{end:?}");
    }
    for end in [
        "\n-- Dump completed on 2026-11-20 12:00:05",
        "\n-- Dump completed on 2026-11-20 12:00\n",
        "\n-- Dump completed on Friday, 20 November\n",
        "\n-- Dump completed on 2026-11-20 12.00.05\n",
        "\n-- Dump completed on 2026-11-2O 12:00:05\n",
        "\n-- Dump completed on 2026-11-20 12:00:05\nINSERT INTO t VALUES (1);\n",
        "/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;\n\n",
    ] {
        assert!(truncated(dump(end).as_bytes()).contains("Dump completed"), "{end:?}");
    }
}

/// Without comments the last statement gives a variable back; which one depends on the version.
#[test]
fn mysqldump_without_comments() {
    let head = "/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;\nSELECT 1;\n";
    for end in ["SQL_NOTES=@OLD_SQL_NOTES", "NOTE_VERBOSITY=@OLD_NOTE_VERBOSITY"] {
        let version = if end.starts_with("SQL") { "!40111" } else { "M!100616" };
        let stream = format!("{head}/*{version} SET {end} */;\n\n");
        let finding = sniff([stream.as_bytes()]);
        assert_eq!((finding.format, finding.completeness), (Format::Mysqldump, Completeness::Complete));
    }
    assert!(truncated(head.as_bytes()).contains("--skip-comments"));
}

/// The end mark of diskless replication stays behind the snapshot.
#[test]
fn redis_cli_leaves_forty_extra_bytes() {
    let piped = dump("redis-cli-pipe.rdb");
    assert_eq!(judge(&piped), Completeness::Complete);
    assert_eq!(judge(&piped[..piped.len() - 40]), Completeness::Complete);
    truncated(&[&piped[..], b"x"].concat());
    truncated(&piped[..piped.len() - 1]);
    for at in [20, 300, piped.len() - 45] {
        let mut damaged = piped.clone();
        damaged[at] ^= 1;
        assert!(truncated(&damaged).contains("checksum"), "flipped at {at}");
    }
}

#[test]
fn valkey_is_redis_under_another_name() {
    let mut body = b"VALKEY080\xfa\x0avalkey-ver\x059.0.0\xff".to_vec();
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Redis, &body);
    body.extend_from_slice(&crc.to_le_bytes());
    let finding = sniff([&body[..]]);
    assert_eq!((finding.format, finding.completeness), (Format::RedisRdb, Completeness::Complete));
}

/// Between two tables only the count says that the rest is missing.
#[test]
fn custom_archive_cut_on_a_block_boundary() {
    for name in [
        "pg-dump.custom",
        "pg-dump-z0.custom",
        "pg-dump-seekable.custom",
        "pg-dump-16.custom",
        "pg-dump-18.custom",
        "pg-dump-18-to-file.custom",
    ] {
        let stream = dump(name);
        let counted: Vec<String> = (0..stream.len())
            .map(|cut| judge(&stream[..cut]))
            .filter_map(|found| match found {
                Completeness::Truncated { why } if why.contains("ends after the data of") => Some(why),
                _ => None,
            })
            .collect();
        assert_eq!(
            counted,
            [
                "the archive ends after the data of 0 of 3 tables",
                "the archive ends after the data of 1 of 3 tables",
                "the archive ends after the data of 2 of 3 tables",
            ],
            "two tables and the large objects of {name}"
        );
    }
}

#[test]
fn custom_archive_with_a_block_too_many() {
    let stream = dump("pg-dump.custom");
    let last_block = (0..stream.len())
        .rfind(|cut| matches!(judge(&stream[..*cut]), Completeness::Truncated { why } if why.contains("after the data")))
        .unwrap();
    let twice = [&stream[..], &stream[last_block..]].concat();
    assert!(unknown(&twice).contains("had it already"));
}

#[test]
fn redis_without_an_end() {
    let with_crc = |body: &[u8]| {
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Redis, body);
        [body, &crc.to_le_bytes()].concat()
    };
    assert_eq!(judge(&with_crc(b"REDIS0011 keys\xff")), Completeness::Complete);
    assert!(truncated(&with_crc(b"REDIS0011 keys")).contains("missing"), "a checksum, but no end");
    assert!(unknown(b"REDIS0003 keys\xff").contains("no checksum"));
    assert!(truncated(b"REDIS0003 keys").contains("missing"));
}

/// Packets of an OpenPGP message with lengths of one and two bytes.
#[test]
fn openpgp_in_either_packet_form() {
    for head in
        [&b"\x85\x01\x0c\x03"[..], b"\x84\x5e\x03", b"\xc1\xc0\x4c\x03", b"\xc3\x0d\x04", b"\x8c\x0d\x04"]
    {
        assert_eq!(sniff([head]).format, Format::Encrypted, "{head:x?}");
    }
    assert_eq!(sniff([&b"\xc1\xc0\x03\x09"[..]]).format, Format::Unknown);
}

#[test]
fn sqlite_that_gave_up() {
    let mut stream = dump("sqlite-dump.sql");
    stream.truncate(stream.len() - "COMMIT;\n".len());
    stream.extend_from_slice(b"ROLLBACK; -- due to errors\n");
    assert!(truncated(&stream).contains("gave up"));
}

/// Two rows of it: the lines are whole, more cannot be known.
#[test]
fn elasticdump_has_no_end() {
    let lines =
        b"{\"_index\":\"a\",\"_id\":\"1\",\"_source\":{}}\n{\"_index\":\"a\",\"_id\":\"2\",\"_source\":{}}\n";
    let finding = sniff([&lines[..]]);
    assert_eq!(finding.format, Format::ElasticdumpNdjson);
    assert!(matches!(finding.completeness, Completeness::Unknown { .. }));
    assert!(truncated(&lines[..lines.len() - 10]).contains("last line"));
}

#[test]
fn an_empty_stream_is_no_dump() {
    let finding = sniff([]);
    assert_eq!(finding.format, Format::Unknown);
    assert!(matches!(finding.completeness, Completeness::Unknown { why } if why.contains("empty")));
}

/// Snapshots carry these names.
#[test]
fn findings_at_rest() {
    let json = |stream: &[u8]| serde_json::to_string(&sniff([stream])).unwrap();
    assert_eq!(json(&dump("pg-dumpall.sql")), r#"{"format":"pg-dumpall","completeness":"complete"}"#);
    assert_eq!(
        json(b"random"),
        r#"{"format":"unknown","completeness":"unknown","why":"not a dump format that is known here"}"#
    );
    let finding = sniff([&dump("pg-dump.custom")[..]]);
    let mut cbor = Vec::new();
    ciborium::into_writer(&finding, &mut cbor).unwrap();
    assert_eq!(ciborium::from_reader::<cistern_stream::Finding, _>(&cbor[..]).unwrap(), finding);
    // A name from a newer version must not make a snapshot unreadable.
    let newer = r#"{"format":"oracle-datapump","completeness":"complete"}"#;
    assert_eq!(serde_json::from_str::<cistern_stream::Finding>(newer).unwrap().format, Format::Unknown);
    assert_eq!(Format::PgDumpCustom.to_string(), "pg-dump-custom");
}
