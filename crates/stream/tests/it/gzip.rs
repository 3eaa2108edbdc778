//! gzip off and on again: what real compressors write, what a stream may carry, and what must fail.

use super::{dump, dumps, irregular, judge, sniff, truncated, unknown};
use cistern_stream::gzip::{
    GzipError, HEADER_BYTES_MAX, Limits, RewrapError, Rewrapper, SEGMENTS_BYTES_MAX, Segment, Unwrapper,
    Verdict, looks_unwrappable,
};
use cistern_stream::{Completeness, Format};
use flate2::{Compression, GzBuilder, write::GzEncoder};
use std::io::{Read, Write};

type Unwrapped = Result<(Vec<u8>, Vec<Segment>), GzipError>;

fn unwrap_limited<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: Limits) -> Unwrapped {
    let mut content = Vec::new();
    let mut unwrapper = Unwrapper::new(limits);
    for piece in pieces {
        unwrapper.push(piece, &mut |bytes| content.extend_from_slice(bytes))?;
    }
    assert_eq!(unwrapper.content_bytes(), content.len() as u64);
    Ok((content, unwrapper.finish()?))
}

fn unwrap<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Unwrapped {
    unwrap_limited(pieces, Limits::default())
}

fn rewrap<'a>(
    segments: Vec<Segment>,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<u8>, Result<(), RewrapError>) {
    let mut wrapped = Vec::new();
    let mut put = |bytes: &[u8]| wrapped.extend_from_slice(bytes);
    let outcome = (|| {
        let mut rewrapper = Rewrapper::new(segments)?;
        for piece in pieces {
            rewrapper.push(piece, &mut put)?;
        }
        rewrapper.finish(&mut put)
    })();
    (wrapped, outcome)
}

/// An independent reader's opinion.
fn gunzip(wrapped: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    flate2::read::MultiGzDecoder::new(wrapped).read_to_end(&mut content).unwrap();
    content
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Everything that must hold for a stream that can be unwrapped. Returns its segments.
fn round_trip(stream: &[u8], content: &[u8]) -> Vec<Segment> {
    let (unwrapped, segments) = unwrap([stream]).unwrap();
    assert_eq!(unwrapped, content);
    let original_bytes: u64 = segments.iter().map(Segment::original_bytes).sum();
    assert_eq!(original_bytes, stream.len() as u64);
    assert_eq!(unwrap(stream.chunks(1)).unwrap(), (unwrapped.clone(), segments.clone()));
    for seed in 0..10 {
        assert_eq!(unwrap(irregular(stream, seed)).unwrap(), (unwrapped.clone(), segments.clone()));
    }

    let (wrapped, outcome) = rewrap(segments.clone(), [content]);
    outcome.unwrap();
    for pieces in [content.chunks(1).collect(), irregular(content, 3)] {
        assert_eq!(rewrap(segments.clone(), pieces), (wrapped.clone(), Ok(())));
    }
    // Members, headers, content and footers are what they were; only the deflate data differs.
    let (again, segments_again) = unwrap([&wrapped[..]]).unwrap();
    assert_eq!(again, content);
    let without_deflate = |segments: &[Segment]| -> Vec<Segment> {
        segments
            .iter()
            .map(|segment| match segment.clone() {
                Segment::Gzip { header, content_bytes, footer, .. } => {
                    Segment::Gzip { header, content_bytes, deflate_bytes: 0, footer }
                }
                raw => raw,
            })
            .collect()
    };
    assert_eq!(without_deflate(&segments_again), without_deflate(&segments));
    segments
}

#[test]
fn what_real_compressors_write() {
    let sql = dump("pg-dump.sql");
    let twice = [&sql[..], &sql].concat();
    let padded = [&sql[..], &[0; 700]].concat();
    let mut names: Vec<String> = std::fs::read_dir(dumps())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".gz"))
        .collect();
    names.sort();
    assert_eq!(names.len(), 10, "{names:?}");
    for name in names {
        let stream = dump(&name);
        let (content, expected_segments) = match &*name {
            "three-members.gz" => (&twice, 3),
            "zero-padded.gz" => (&padded, 2),
            _ => (&sql, 1),
        };
        let segments = round_trip(&stream, content);
        assert_eq!(segments.len(), expected_segments, "{name}");
        assert_eq!(looks_unwrappable(&stream), Verdict::Yes);
        let (wrapped, _) = rewrap(segments, [&content[..]]);
        let padding = if name == "zero-padded.gz" { 700 } else { 0 };
        assert_eq!(gunzip(&wrapped[..wrapped.len() - padding]), content[..content.len() - padding], "{name}");
    }
}

#[test]
fn header_fields_are_replayed() {
    let mut with_all = GzBuilder::new()
        .filename("dump.sql")
        .comment("nightly")
        .extra(b"xy\x03\0abc".to_vec())
        .mtime(1_700_000_000)
        .write(Vec::new(), Compression::fast());
    with_all.write_all(b"content").unwrap();
    let mut stream = with_all.finish().unwrap();
    let header_bytes = 10 + 2 + 7 + 9 + 8;
    let segments = round_trip(&stream, b"content");
    assert!(matches!(&segments[0], Segment::Gzip { header, .. } if *header == stream[..header_bytes]));

    // With a checksum of the header behind it (FHCRC), right and wrong.
    stream[3] |= 2;
    let crc = crc32fast::hash(&stream[..header_bytes]).to_le_bytes();
    stream.splice(header_bytes..header_bytes, crc[..2].to_vec());
    round_trip(&stream, b"content");
    stream[header_bytes] ^= 1;
    assert_eq!(looks_unwrappable(&stream), Verdict::No { why: "gzip header with a wrong checksum" });
    assert_eq!(unwrap([&stream[..]]).unwrap().1, [Segment::Raw { content_bytes: stream.len() as u64 }]);
}

#[test]
fn what_is_not_gzip_passes_unchanged() {
    let mut reserved = gzip(b"content");
    reserved[3] |= 0x80;
    let mut bgzf = GzBuilder::new().extra(b"BC\x02\0\x1b\0".to_vec()).write(Vec::new(), Compression::fast());
    bgzf.write_all(b"block").unwrap();
    let mut dictzip =
        GzBuilder::new().extra(b"xx\0\0RA\x02\0ab".to_vec()).write(Vec::new(), Compression::fast());
    dictzip.write_all(b"chunk").unwrap();
    let mut endless_name = vec![b'n'; HEADER_BYTES_MAX + 100];
    endless_name[..10].copy_from_slice(b"\x1f\x8b\x08\x08\0\0\0\0\0\x03");
    let mut large_extra = GzBuilder::new().extra(vec![0xee; 65_535]).write(Vec::new(), Compression::fast());
    large_extra.write_all(b"content").unwrap();
    let large_extra = large_extra.finish().unwrap();
    assert_eq!(looks_unwrappable(&large_extra), Verdict::No { why: "gzip header longer than 64 KiB" });
    for stream in [
        large_extra,
        b"plain".to_vec(),
        vec![0x1f, 0x8b, 7, 0],
        reserved,
        bgzf.finish().unwrap(),
        dictzip.finish().unwrap(),
        endless_name,
    ] {
        let (content, segments) = unwrap([&stream[..]]).unwrap();
        assert_eq!(content, stream);
        assert_eq!(segments, [Segment::Raw { content_bytes: stream.len() as u64 }]);
        assert_eq!(unwrap(stream.chunks(1)).unwrap(), (content, segments.clone()));
        assert_eq!(rewrap(segments, [&stream[..]]), (stream.clone(), Ok(())));
    }
    assert_eq!(unwrap([]).unwrap(), (vec![], vec![]));
    assert_eq!(rewrap(vec![], []), (vec![], Ok(())));
}

#[test]
fn verdict_on_a_growing_head() {
    let stream = dump("gnu-1.gz");
    let header_bytes = 10 + "pg-dump.sql\0".len();
    for len in 0..stream.len() {
        let expected = if len < header_bytes { Verdict::NeedMore } else { Verdict::Yes };
        assert_eq!(looks_unwrappable(&stream[..len]), expected, "{len} bytes");
    }
    assert_eq!(looks_unwrappable(b"\x1f\x8c"), Verdict::No { why: "not gzip" });
}

#[test]
fn empty_members_and_garbage_behind() {
    let stream = [gzip(b""), gzip(b"rows"), gzip(b""), b"garbage".to_vec()].concat();
    let segments = round_trip(&stream, b"rowsgarbage");
    let lengths: Vec<u64> = segments.iter().map(Segment::content_bytes).collect();
    assert_eq!(lengths, [0, 4, 0, 7]);
    assert_eq!(gunzip(&rewrap(vec![segments[0].clone()], []).0), b"");
}

/// Content longer than the buffers and than a stored block, at the sizes where blocks begin.
#[test]
fn stored_block_boundaries() {
    for len in [65_534usize, 65_535, 65_536, 131_070, 131_071, 600_000] {
        let content: Vec<u8> = (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let (_, segments) = unwrap([&gzip(&content)[..]]).unwrap();
        let (wrapped, outcome) = rewrap(segments, content.chunks(10_000));
        outcome.unwrap();
        assert_eq!(gunzip(&wrapped), content);
        let blocks = len.div_ceil(65_535);
        assert_eq!(wrapped.len(), 10 + 5 * blocks + len + 8);
    }
}

#[test]
fn every_cut_fails_and_says_where() {
    let stream = [gzip(b"first"), dump("gnu-6.gz")].concat();
    let second_at = gzip(b"first").len();
    for cut in 1..stream.len() {
        if cut == second_at {
            continue; // A whole first member: what is missing is for the sniffer to see.
        }
        let error = unwrap([&stream[..cut]]).unwrap_err();
        let expected_member = if cut < second_at { 1 } else { 2 };
        let GzipError::Truncated { member, offset_bytes, .. } = error else { panic!("{error} at {cut}") };
        assert_eq!((member, offset_bytes), (expected_member, cut as u64));
    }
    let message = unwrap([&stream[..stream.len() - 3]]).unwrap_err().to_string();
    assert!(
        message.contains("inside the footer of member 2") && message.contains("--unwrap=off"),
        "{message}"
    );
}

#[test]
fn damage_fails_and_says_where() {
    let stream = gzip(&dump("pg-dump.sql"));
    let damaged = |at: usize, flip: u8| {
        let mut damaged = stream.clone();
        damaged[at] ^= flip;
        unwrap([&damaged[..]]).unwrap_err()
    };
    let footer = stream.len() - 8;
    let end = stream.len() as u64;
    assert_eq!(damaged(footer, 1), GzipError::Mismatch { member: 1, field: "checksum", offset_bytes: end });
    assert_eq!(damaged(footer + 4, 1), GzipError::Mismatch { member: 1, field: "length", offset_bytes: end });
    // A reserved block type.
    let error = damaged(10, 0b110 ^ (stream[10] & 0b110));
    assert!(matches!(&error, GzipError::Corrupt { member: 1, offset_bytes: 10..20, .. }), "{error}");
    assert!(error.to_string().contains("--unwrap=off"));
}

#[test]
fn errors_stay() {
    let mut stream = gzip(b"content");
    let end = stream.len() - 1;
    stream[end] ^= 1;
    let mut unwrapper = Unwrapper::new(Limits::default());
    let error = unwrapper.push(&stream, &mut |_| {}).unwrap_err();
    assert_eq!(unwrapper.push(b"more", &mut |_| panic!("content after an error")).unwrap_err(), error);
    assert_eq!(unwrapper.finish().unwrap_err(), error);
}

/// 64 MiB of zeros in 64 KiB: slices stay small, and the limit stops it early.
#[test]
fn bombs_cost_no_memory_and_meet_the_limit() {
    let bomb = gzip(&vec![0; 64 << 20]);
    assert!(bomb.len() < 100_000);
    let (mut slice_max, mut total) = (0, 0);
    let mut unwrapper = Unwrapper::new(Limits { content_bytes_max: Some(64 << 20) });
    unwrapper
        .push(&bomb, &mut |bytes| {
            slice_max = slice_max.max(bytes.len());
            total += bytes.len();
        })
        .unwrap();
    assert!(unwrapper.finish().is_ok());
    assert_eq!((slice_max, total), (256 << 10, 64 << 20));

    let mut passed = 0;
    let mut unwrapper = Unwrapper::new(Limits { content_bytes_max: Some(1_000_000) });
    let error = unwrapper.push(&bomb, &mut |bytes| passed += bytes.len()).unwrap_err();
    assert!(matches!(error, GzipError::TooLarge { content_bytes_max: 1_000_000, member: 1, .. }));
    assert!(passed <= 1_000_000);
    let raw = unwrap_limited([&b"plain"[..]], Limits { content_bytes_max: Some(4) });
    assert!(matches!(raw, Err(GzipError::TooLarge { .. })));
}

#[test]
fn too_many_members_are_refused() {
    let tiny = gzip(b"");
    let many = tiny.repeat(1000);
    let mut unwrapper = Unwrapper::new(Limits::default());
    let error = (0..200).find_map(|_| unwrapper.push(&many, &mut |_| {}).err()).unwrap();
    let GzipError::TooManyMembers { member, offset_bytes } = error else { panic!("{error}") };
    assert_eq!(offset_bytes, (member - 1) * tiny.len() as u64);
    assert!(member > 70_000 && member < SEGMENTS_BYTES_MAX as u64 / 100, "{member}");
}

#[test]
fn content_that_is_not_the_segments() {
    let content = dump("pg-dump.sql");
    let (_, segments) = unwrap([&gzip(&content)[..]]).unwrap();
    let mut other = content.clone();
    other[100] ^= 1;
    let (wrapped, outcome) = rewrap(segments.clone(), [&other[..]]);
    assert_eq!(outcome, Err(RewrapError::Mismatch { segment: 1 }));
    assert!(matches!(unwrap([&wrapped[..]]), Err(GzipError::Truncated { part: "footer", .. })), "no footer");

    let (_, outcome) = rewrap(segments.clone(), [&content[..content.len() - 9]]);
    assert_eq!(outcome, Err(RewrapError::Short { segment: 1, missing_bytes: 9 }));
    let (_, outcome) = rewrap(segments.clone(), [&content[..], b"more"]);
    assert_eq!(outcome, Err(RewrapError::Long { extra_bytes: 4 }));

    let Segment::Gzip { header, content_bytes, deflate_bytes, footer } = segments[0].clone() else {
        panic!()
    };
    let no_header = Segment::Gzip { header: b"no header".to_vec(), content_bytes, deflate_bytes, footer };
    let longer = Segment::Gzip { header, content_bytes: content_bytes + 1, deflate_bytes, footer };
    for segment in [no_header, longer] {
        let segments = vec![segments[0].clone(), segment];
        assert!(matches!(Rewrapper::new(segments), Err(RewrapError::Malformed { segment: 2, .. })));
    }
}

#[test]
fn segments_at_rest_are_small() {
    let (_, segments) = unwrap([&dump("three-members.gz")[..]]).unwrap();
    let mut cbor = Vec::new();
    ciborium::into_writer(&segments, &mut cbor).unwrap();
    assert!(cbor.len() < 3 * 100, "{} bytes", cbor.len());
    assert_eq!(ciborium::from_reader::<Vec<Segment>, _>(&cbor[..]).unwrap(), segments);
    let json = serde_json::to_string(&segments).unwrap();
    assert!(json.starts_with(r#"[{"gzip":{"header":[31,139,8,"#), "{json}");
    assert_eq!(serde_json::from_str::<Vec<Segment>>(&json).unwrap(), segments);
}

proptest::proptest! {
    /// Members of any content at any level, put behind one another.
    #[test]
    fn members_survive_the_round_trip(
        members in proptest::collection::vec(
            (proptest::collection::vec(proptest::num::u8::ANY, 0..4000), 1..300usize, 0..9u32), 0..5),
        garbage in proptest::collection::vec(proptest::num::u8::ANY, 0..20),
    ) {
        let (mut stream, mut content) = (Vec::new(), Vec::new());
        for (bytes, repeat, level) in &members {
            let bytes = bytes.repeat(*repeat % 7 + 1);
            let mut encoder = GzEncoder::new(&mut stream, Compression::new(*level));
            encoder.write_all(&bytes).unwrap();
            encoder.finish().unwrap();
            content.extend_from_slice(&bytes);
        }
        // Garbage that begins like a member would be one.
        let garbage: Vec<u8> = garbage.into_iter().skip_while(|byte| *byte == 0x1f).collect();
        stream.extend_from_slice(&garbage);
        content.extend_from_slice(&garbage);
        let segments = round_trip(&stream, &content);
        proptest::prop_assert_eq!(segments.len(), members.len() + usize::from(!garbage.is_empty()));
    }
}

/// gzip that nobody takes off is looked into: what is cut inside, or cut itself, is as incomplete as without.
#[test]
fn the_dump_inside_gzip_that_stays_proves_its_end() {
    let whole = dump("pg-dump.sql");
    let wrapped = gzip(&whole);
    assert_eq!(judge(&wrapped), Completeness::Complete);
    assert_eq!(sniff([&wrapped[..]]).format, Format::Gzip, "what is stored is gzip");
    for cut in [3, 9, 500, wrapped.len() - 9, wrapped.len() - 1] {
        assert!(truncated(&wrapped[..cut]).contains("inside the"), "cut at {cut}");
    }
    let why = truncated(&gzip(&whole[..whole.len() / 2]));
    assert!(why.starts_with("pg-dump-plain inside: "), "{why}");
    let halves = [gzip(&whole[..100]), gzip(&whole[100..])].concat();
    assert_eq!(judge(&halves), Completeness::Complete, "a dump may go over members");
    let mut spoiled = wrapped.clone();
    let footer = spoiled.len() - 8;
    spoiled[footer] ^= 1;
    assert!(truncated(&spoiled).contains("checksum"));
    assert!(unknown(&gzip(b"notes")).contains("inside the gzip"));
}

/// gzip in gzip is looked into once, BGZF not at all.
#[test]
fn looking_into_gzip_ends_somewhere() {
    let mut nested = dump("pg-dump.sql");
    (0..50).for_each(|_| nested = gzip(&nested));
    assert!(unknown(&nested).contains("inside the gzip"));
    let bgzf =
        [&[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 6, 0, b'B', b'C', 2, 0, 0x1b, 0][..], &[0; 9]].concat();
    assert!(unknown(&bgzf).contains("not looked into"));
    assert!(unknown(&gzip(b"").repeat(100_000)).contains("more members"));
}
