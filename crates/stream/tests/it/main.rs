//! The stream crate from outside: real dumps, the ways they fail, and hostile bytes.

#![allow(clippy::disallowed_methods, reason = "a test may unwrap")]

mod fixtures;
mod gzip;
mod hostile;
mod structures;
mod traps;

use cistern_stream::{Completeness, Finding, Sniffer};
use std::path::PathBuf;

/// Where the real dumps are.
fn dumps() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/dumps")
}

/// One of the real dumps.
fn dump(name: &str) -> Vec<u8> {
    std::fs::read(dumps().join(name)).unwrap()
}

/// What a stream is found to be when it comes in these pieces.
fn sniff<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Finding {
    let mut sniffer = Sniffer::new();
    pieces.into_iter().for_each(|piece| sniffer.push(piece));
    sniffer.finish()
}

/// The verdict on a whole stream.
fn judge(stream: &[u8]) -> Completeness {
    sniff([stream]).completeness
}

/// Why a stream is called truncated. Panics if it is not.
fn truncated(stream: &[u8]) -> String {
    match judge(stream) {
        Completeness::Truncated { why } => why,
        other => panic!("not truncated: {other:?}"),
    }
}

/// Why nothing can be said of a stream. Panics if something is.
fn unknown(stream: &[u8]) -> String {
    match judge(stream) {
        Completeness::Unknown { why } => why,
        other => panic!("not unknown: {other:?}"),
    }
}

/// Cuts a stream into pieces of irregular sizes, some of them empty; the seed decides.
fn irregular(mut stream: &[u8], mut seed: u64) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while !stream.is_empty() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (piece, rest) = stream.split_at(((seed >> 33) as usize % 700).min(stream.len()));
        pieces.push(piece);
        stream = rest;
    }
    pieces
}

/// Where `needle` ends in `stream`, each time it occurs.
fn ends_of(needle: &[u8], stream: &[u8]) -> Vec<usize> {
    memchr::memmem::find_iter(stream, needle).map(|at| at + needle.len()).collect()
}
