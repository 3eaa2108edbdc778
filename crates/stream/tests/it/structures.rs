//! Structured formats taken apart and put together wrongly.

use super::{dump, ends_of, judge, sniff, truncated, unknown};
use cistern_stream::{Completeness, Format};
use sha2::{Digest, Sha256};

const TERMINATOR: [u8; 4] = [0xff; 4];

/// A mongodump archive ends in a terminator; so does every segment before.
#[test]
fn mongo_archive_cut_behind_a_terminator() {
    let stream = dump("mongodump.archive");
    let ends = ends_of(&TERMINATOR, &stream);
    let (last, others) = ends.split_last().unwrap();
    assert_eq!(*last, stream.len());
    assert_eq!(others.len(), 7);
    for cut in others {
        assert!(truncated(&stream[..*cut]).contains("did not end"), "cut at {cut}");
    }
}

#[test]
fn mongo_archive_with_a_document_changed() {
    let mut stream = dump("mongodump.archive");
    let at = memchr::memmem::find(&stream, b"a thing to sell").unwrap();
    stream[at] = b'A';
    assert!(truncated(&stream).contains("1 collections have a wrong checksum"));
}

#[test]
fn mongo_archive_that_makes_no_sense() {
    let stream = dump("mongodump.archive");
    let mut twice = stream.clone();
    let prelude = memchr::memmem::find(&stream, &TERMINATOR).unwrap() + 4;
    twice.extend_from_slice(&stream[prelude..]);
    assert!(unknown(&twice).contains("goes on after its end"));
    assert!(unknown(&[&stream[..], b"\x03\0\0\0"].concat()).contains("impossible length"));
    assert!(unknown(&[&stream[..], b"\xff\xff\xff\x7f"].concat()).contains("more than 1 MiB"));
}

/// A chunk of an xbstream.
fn chunk(kind: u8, path: &str, payload: &[u8]) -> Vec<u8> {
    let mut chunk = b"XBSTCK01\0".to_vec();
    chunk.push(kind);
    chunk.extend_from_slice(&(path.len() as u32).to_le_bytes());
    chunk.extend_from_slice(path.as_bytes());
    if kind == b'S' {
        chunk.extend_from_slice(&2u32.to_le_bytes());
    }
    if kind != b'E' {
        chunk.extend_from_slice(&(payload.len() as u64).to_le_bytes());
        chunk.extend_from_slice(&[0; 12]);
        chunk.extend_from_slice(if kind == b'S' { &[0; 16] } else { &[] });
        chunk.extend_from_slice(payload);
    }
    chunk
}

#[test]
fn xbstream_files_that_did_not_end() {
    let (open, info) = (chunk(b'P', "ibdata1", b"rows"), chunk(b'P', "xtrabackup_info", b"done"));
    let (close, close_info) = (chunk(b'E', "ibdata1", b""), chunk(b'E', "xtrabackup_info", b""));
    let sparse = chunk(b'S', "ibdata1", b"sparse rows");
    let whole = [&open[..], &sparse, &info, &close, &close_info].concat();
    assert_eq!(judge(&whole), Completeness::Complete);
    assert!(
        truncated(&[&open[..], &info, &close_info].concat()).contains("1 files of the backup did not end")
    );
    assert!(truncated(&[&open[..], &close].concat()).contains("description of the backup"));
    assert!(unknown(&[&whole[..], &chunk(b'Q', "x", b"")].concat()).contains("unknown type"));
    assert!(unknown(&[&whole[..], b"no chunk at all"].concat()).contains("no xbstream chunk"));
}

/// xtrabackup packs the files one by one, and its own description with them.
#[test]
fn xbstream_of_packed_files() {
    let file = |path: &str| [chunk(b'P', path, b"packed"), chunk(b'E', path, b"")].concat();
    let packed = [file("ibdata1.zst.xbcrypt"), file("xtrabackup_info.zst.xbcrypt")].concat();
    let finding = sniff([&packed[..]]);
    assert_eq!(finding.completeness, Completeness::Complete);
    assert!(finding.advice.unwrap().contains("--compress"));
    let plain = [file("ibdata1"), file("mariadb_backup_info")].concat();
    let finding = sniff([&plain[..]]);
    assert_eq!((finding.completeness, finding.advice), (Completeness::Complete, None));
    let other = [file("ibdata1"), file("xtrabackup_information")].concat();
    assert!(truncated(&other).contains("description of the backup"));
}

/// A header of a tar, changed before its checksum is computed.
fn header(name: &str, size: u64, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[257..263].copy_from_slice(b"ustar\0");
    block[156] = b'0';
    change(&mut block);
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

/// A member of a tar.
fn member(name: &str, content: &[u8]) -> Vec<u8> {
    let mut member = header(name, content.len() as u64, |_| {});
    member.extend_from_slice(content);
    member.resize(member.len().next_multiple_of(512), 0);
    member
}

fn manifest() -> Vec<u8> {
    let mut text = b"{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n],\n".to_vec();
    let hash: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
    text.extend_from_slice(format!("\"Manifest-Checksum\": \"{hash}\"}}\n").as_bytes());
    text
}

const TAR_END: [u8; 1024] = [0; 1024];

#[test]
fn pg_basebackup_and_its_manifest() {
    let (label, manifest) = (member("backup_label", b"START WAL LOCATION"), manifest());
    let whole = [&label[..], &member("backup_manifest", &manifest), &TAR_END].concat();
    let finding = sniff([&whole[..]]);
    assert_eq!((finding.format, finding.completeness), (Format::PgBasebackup, Completeness::Complete));
    assert_eq!(sniff(whole.chunks(1)), sniff([&whole[..]]));
    for cut in 600..whole.len() {
        assert_ne!(judge(&whole[..cut]), Completeness::Complete, "cut at {cut}");
    }

    let mut changed = manifest.clone();
    changed[5] ^= 1;
    let changed = [&label[..], &member("backup_manifest", &changed), &TAR_END].concat();
    assert!(truncated(&changed).contains("checksum"));
    assert!(unknown(&[&label[..], &TAR_END].concat()).contains("no `backup_manifest`"));
}

#[test]
fn pg_dump_tar_without_its_last_member() {
    let (toc, data) = (member("toc.dat", b"PGDMP"), member("3348.dat", b"1\tnail\n\\.\n"));
    let whole = [&toc[..], &data, &member("restore.sql", b"SELECT 1;\n"), &TAR_END].concat();
    assert_eq!(judge(&whole), Completeness::Complete);
    assert!(truncated(&[&toc[..], &data, &TAR_END].concat()).contains("restore.sql"));
}

/// A size in a pax header overrides the header's own, which has no room for more than 8 GiB.
#[test]
fn tar_with_a_pax_size() {
    let large = [header("large", 0, |_| {}), vec![b'x'; 1024]].concat();
    let mut pax = header("PaxHeaders/large", 13, |block| block[156] = b'x');
    pax.extend_from_slice(b"13 size=1000\n");
    pax.resize(1024, 0);
    assert_eq!(judge(&[&pax[..], &large, &TAR_END].concat()), Completeness::Complete);
    assert!(unknown(&[&large[..], &TAR_END].concat()).contains("no tar header"), "the content is in the way");
}

#[test]
fn tar_members_of_other_kinds() {
    let content = [b'x'; 1024];
    let binary_size =
        header("large", 0, |block| block[124..136].copy_from_slice(b"\x80\0\0\0\0\0\0\0\0\0\x04\0"));
    let directory = header("directory", 4096, |block| block[156] = b'5');
    let sparse = header("sparse", 1024, |block| (block[156], block[482]) = (b'S', 1));
    let (mut more, last) = ([0; 512], [0; 512]);
    more[504] = 1;
    let whole = [&binary_size[..], &content, &directory, &sparse, &more, &last, &content, &TAR_END].concat();
    assert_eq!(judge(&whole), Completeness::Complete);
    for without in [&whole[..512], &whole[..512 + 1024 + 512 + 512 + 512]] {
        truncated(without);
    }
}

#[test]
fn tars_one_after_the_other() {
    let one = [&member("a", b"1")[..], &TAR_END].concat();
    assert!(unknown(&[&one[..], &one].concat()).contains("after the end of the tar"));
}

#[test]
fn etcd_without_its_hash() {
    let mut snapshot = dump("etcd-snapshot.db");
    let database = snapshot.len() - 32;
    assert!(unknown(&snapshot[..database]).contains("bare bbolt database"));
    assert!(truncated(&snapshot[..4096]).contains("takes"));
    snapshot[100] ^= 1;
    assert!(truncated(&snapshot).contains("hash"));
}

/// Frames may follow one another, with skippable ones between; each end is checked.
#[test]
fn zstd_and_lz4_frames_in_a_row() {
    let skippable = b"\x52\x2a\x4d\x18\x05\0\0\0hello";
    for name in ["zstd.zst", "lz4-checked.lz4"] {
        let frame = dump(name);
        let row = [&frame[..], skippable, &frame].concat();
        assert_eq!(judge(&row), Completeness::Complete, "{name}");
        truncated(&row[..row.len() - 1]);
        truncated(&row[..frame.len() + skippable.len() - 1]);
        assert!(unknown(&[&frame[..], b"more"].concat()).contains("frame"));
    }
}
