//! What the stream crate costs per byte of content: `cargo bench -p cistern-stream`.

#![allow(clippy::disallowed_methods, reason = "a benchmark may unwrap")]

use cistern_stream::gzip::{Limits, Rewrapper, Unwrapper};
use cistern_stream::{Completeness, Sniffer};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use std::hint::black_box;
use std::io::Write;

/// As a pipe hands them over.
const PIECE_BYTES: usize = 256 << 10;
const CONTENT_BYTES: usize = 64 << 20;

/// Rows of a table in COPY format, with columns that compress about as real ones do.
fn rows(len: usize) -> Vec<u8> {
    let mut rows = Vec::with_capacity(len + 200);
    let mut state = 1u64;
    while rows.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (id, customer, cents) = (rows.len() / 90, state >> 44, (state >> 20) % 100_000);
        writeln!(
            rows,
            "{id}\t{customer}\tshipped\t2026-11-20 08:{:02}:00+00\t{cents}\tcustomer number {customer}",
            id % 60
        )
        .unwrap();
    }
    rows.truncate(len);
    rows
}

fn pg_dump() -> Vec<u8> {
    let mut dump = b"--\n-- PostgreSQL database dump\n--\n\nCOPY public.orders FROM stdin;\n".to_vec();
    dump.extend_from_slice(&rows(CONTENT_BYTES));
    dump.extend_from_slice(b"\n\\.\n\n--\n-- PostgreSQL database dump complete\n--\n\n");
    dump
}

fn rdb() -> Vec<u8> {
    let mut rdb = b"REDIS0011".to_vec();
    rdb.extend_from_slice(&rows(CONTENT_BYTES));
    rdb.push(0xff);
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Redis, &rdb);
    rdb.extend_from_slice(&crc.to_le_bytes());
    rdb
}

/// One collection of documents of 300 bytes.
fn mongodump() -> Vec<u8> {
    let header = |end: u8, crc: u64| {
        let mut body = b"\x02db\0\x02\0\0\0d\0\x02collection\0\x02\0\0\0c\0\x08EOF\0".to_vec();
        body.push(end);
        body.extend_from_slice(b"\x12CRC\0");
        body.extend_from_slice(&crc.to_le_bytes());
        body.push(0);
        [&(body.len() as u32 + 4).to_le_bytes()[..], &body].concat()
    };
    let mut documents = Vec::new();
    for text in rows(CONTENT_BYTES).chunks_exact(300 - 16) {
        documents.extend_from_slice(&300u32.to_le_bytes());
        documents.extend_from_slice(b"\x02text\0");
        documents.extend_from_slice(&(text.len() as u32 + 1).to_le_bytes());
        documents.extend_from_slice(text);
        documents.extend_from_slice(b"\0\0");
    }
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Xz, &documents);
    let terminator = [0xff; 4];
    [
        &b"\x6d\xe2\x99\x81\x05\0\0\0\0"[..],
        &terminator,
        &header(0, 0),
        &documents,
        &terminator,
        &header(1, crc),
        &terminator,
    ]
    .concat()
}

/// An archive of one table, uncompressed: a piece per row.
fn pg_custom() -> Vec<u8> {
    let int = |value: u32| [&[0][..], &value.to_le_bytes()].concat();
    let mut archive = b"PGDMP\x01\x0e\0\x04\x08\x01".to_vec();
    // Compression and time; three names; one entry, with data.
    archive.extend_from_slice(&int(0).repeat(8 + 3));
    archive.extend_from_slice(&[int(1), int(7), int(1)].concat());
    // Empty strings, a section, no dependencies, no offset.
    archive.extend_from_slice(&int(0).repeat(4 + 1 + 6 + 2));
    archive.extend_from_slice(&b"\x01\x01\0\0\0\x01\0\0\0\0\0\0\0\0"[..]);
    archive.push(1);
    archive.extend_from_slice(&int(7));
    for row in rows(CONTENT_BYTES).split_inclusive(|byte| *byte == b'\n') {
        archive.extend_from_slice(&int(row.len() as u32));
        archive.extend_from_slice(row);
    }
    archive.extend_from_slice(&int(0));
    archive
}

fn etcd() -> Vec<u8> {
    let mut database = rows(CONTENT_BYTES);
    database[16..20].copy_from_slice(&0xED0C_DAED_u32.to_le_bytes());
    database[24..28].copy_from_slice(&4096u32.to_le_bytes());
    database[56..64].fill(0);
    let hash = Sha256::digest(&database);
    database.extend_from_slice(&hash);
    database
}

/// Frames of LZ4 blocks of 64 KiB stand for every walk that skips.
fn lz4() -> Vec<u8> {
    let mut stream = b"\x04\x22\x4d\x18\x40\x40\xc0".to_vec();
    for block in rows(CONTENT_BYTES).chunks(64 << 10) {
        stream.extend_from_slice(&(block.len() as u32 | 1 << 31).to_le_bytes());
        stream.extend_from_slice(block);
    }
    stream.extend_from_slice(&[0; 4]);
    stream
}

fn sniffing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sniff");
    group.sample_size(20);
    let streams = [
        ("text", pg_dump()),
        ("redis", rdb()),
        ("mongo", mongodump()),
        ("pg-custom", pg_custom()),
        ("etcd", etcd()),
        ("walk", lz4()),
    ];
    for (name, stream) in streams {
        group.throughput(Throughput::Bytes(stream.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut sniffer = Sniffer::new();
                black_box(&stream).chunks(PIECE_BYTES).for_each(|piece| sniffer.push(piece));
                assert_eq!(sniffer.finish().completeness, Completeness::Complete);
            });
        });
    }
    group.finish();
}

fn wrapping(criterion: &mut Criterion) {
    let content = pg_dump();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&content).unwrap();
    let stream = encoder.finish().unwrap();
    let unwrap = || {
        let mut unwrapper = Unwrapper::new(Limits::default());
        for piece in black_box(&stream).chunks(PIECE_BYTES) {
            unwrapper.push(piece, &mut |bytes| {
                black_box(bytes);
            })?;
        }
        unwrapper.finish()
    };
    let segments = unwrap().unwrap();

    let mut group = criterion.benchmark_group("gzip");
    group.sample_size(20);
    group.throughput(Throughput::Bytes(content.len() as u64));
    group.bench_function("unwrap", |bencher| bencher.iter(unwrap));
    group.bench_function("rewrap", |bencher| {
        bencher.iter(|| {
            let mut rewrapper = Rewrapper::new(segments.clone()).unwrap();
            let mut sink = |bytes: &[u8]| {
                black_box(bytes);
            };
            for piece in black_box(&content).chunks(PIECE_BYTES) {
                rewrapper.push(piece, &mut sink).unwrap();
            }
            rewrapper.finish(&mut sink).unwrap();
        });
    });
    group.finish();
}

criterion_group!(benches, sniffing, wrapping);
criterion_main!(benches);
