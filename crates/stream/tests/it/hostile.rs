//! Bytes made to break things: nothing panics, memory stays bounded, pieces never matter.

use super::{dump, dumps, irregular, judge, sniff, unknown};
use cistern_stream::gzip::{GzipError, Limits, Unwrapper};
use proptest::prelude::*;

/// Heads that lead into every walk.
const HEADS: &[&[u8]] = &[
    b"",
    b"--\n-- PostgreSQL database dump\n--\n",
    b"--\n-- PostgreSQL database cluster dump\n--\n",
    b"PGDMP\x01\x0e\0\x04\x08\x01",
    b"PGDMP\x01\x10\0\x08\x08\x01",
    b"-- MariaDB dump ",
    b"\x6d\xe2\x99\x81",
    b"REDIS0011",
    b"XBSTCK01\0P\x01\0\0\0a",
    b"\x28\xb5\x2f\xfd",
    b"\x04\x22\x4d\x18",
    b"\x1f\x8b\x08\0\0\0\0\0\0\x03",
    b"\x1f\x8b\x08\x1e",
    b"\xfd7zXZ\0",
    b"{\"_index\":",
];

/// Bytes in which small numbers, terminators and all ones are frequent: they reach further than noise.
fn structured_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => Just(0u8), 2 => 0..8u8, 1 => Just(0xff), 2 => any::<u8>()];
    proptest::collection::vec(byte, 0..3000)
}

/// Content and number of segments, or the error without what depends on the inflater's progress.
fn unwrap(pieces: &[&[u8]]) -> Result<(Vec<u8>, usize), String> {
    let mut content = Vec::new();
    let mut unwrapper = Unwrapper::new(Limits { content_bytes_max: Some(4 << 20) });
    let outcome = pieces
        .iter()
        .try_for_each(|piece| unwrapper.push(piece, &mut |bytes| content.extend_from_slice(bytes)))
        .and_then(|()| unwrapper.finish());
    match outcome {
        Ok(segments) => Ok((content, segments.len())),
        Err(GzipError::Corrupt { member, .. }) => Err(format!("corrupt member {member}")),
        Err(GzipError::TooLarge { member, .. }) => Err(format!("member {member} too large")),
        Err(error) => Err(error.to_string()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_bytes_in_arbitrary_pieces(
        head in proptest::sample::select(HEADS), tail in structured_bytes(), seed in any::<u64>()
    ) {
        let stream = [head, &tail].concat();
        let pieces = irregular(&stream, seed);
        prop_assert_eq!(sniff(pieces.iter().copied()), sniff([&stream[..]]));
        let (whole, in_pieces) = (unwrap(&[&stream]), unwrap(&pieces));
        prop_assert_eq!(whole, in_pieces);
    }

    #[test]
    fn damaged_dumps_in_arbitrary_pieces(
        pick in any::<proptest::sample::Index>(),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        seed in any::<u64>(),
    ) {
        let mut names: Vec<_> = std::fs::read_dir(dumps()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        let mut stream = dump(pick.get(&names).to_str().unwrap());
        for (at, byte) in damage {
            *at.get_mut(&mut stream) = byte;
        }
        let pieces = irregular(&stream, seed);
        prop_assert_eq!(sniff(pieces.iter().copied()), sniff([&stream[..]]));
        prop_assert_eq!(unwrap(&[&stream]), unwrap(&pieces));
    }
}

/// Everything that is remembered per file, collection or table has a limit, and going beyond it is *unknown*.
#[test]
fn what_is_remembered_is_limited() {
    let open: Vec<u8> = (0..5000u32)
        .flat_map(|i| {
            let mut chunk = b"XBSTCK01\0P\x04\0\0\0".to_vec();
            chunk.extend_from_slice(&i.to_be_bytes());
            chunk.extend_from_slice(&[0; 20]);
            chunk
        })
        .collect();
    assert!(unknown(&open).contains("more xbstream files"));
    assert!(unknown(b"XBSTCK01\0P\xff\xff\xff\x7f").contains("path"));

    let mut mongo = b"\x6d\xe2\x99\x81\x05\0\0\0\0".to_vec();
    for i in 0..70_000u32 {
        mongo.extend_from_slice(b"\x28\0\0\0\x02db\0\x02\0\0\0d\0\x02collection\0\x09\0\0\0");
        mongo.extend_from_slice(format!("{i:08x}").as_bytes());
        mongo.extend_from_slice(b"\0\0");
    }
    assert!(unknown(&mongo).contains("more collections"));

    // A table of contents that promises 2^31 entries, each of them with data.
    let mut archive = b"PGDMP\x01\x0c\0\x04\x08\x01".to_vec();
    archive.extend_from_slice(&[0; 5 * 8]);
    archive.extend_from_slice(&b"\x01\x01\0\0\0".repeat(3));
    archive.extend_from_slice(b"\0\xff\xff\xff\x7f");
    for id in 0..(1u32 << 20) + 1 {
        archive.push(0);
        archive.extend_from_slice(&id.to_le_bytes());
        archive.extend_from_slice(b"\0\x01\0\0\0");
        archive.extend_from_slice(&b"\x01\x01\0\0\0".repeat(4));
        archive.extend_from_slice(&[0; 5]);
        archive.extend_from_slice(&b"\x01\x01\0\0\0".repeat(5 + 2 + 1));
        archive.extend_from_slice(&[0; 9]);
    }
    assert!(unknown(&archive).contains("more tables"), "{:?}", judge(&archive));
}
