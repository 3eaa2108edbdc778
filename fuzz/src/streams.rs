//! Streams: sniffed, unwrapped and wrapped again, in pieces of any size.

use arbitrary::{Arbitrary as _, Result, Unstructured};
use cistern_format::object::{from_cbor, to_cbor};
use cistern_stream::gzip::{GzipError, Limits, Rewrapper, SEGMENTS_BYTES_MAX, Segment, Unwrapper};
use cistern_stream::{Finding, Sniffer};
use std::io::{Read as _, Write as _};

/// Content beyond this is refused, so that no input takes long.
const CONTENT_BYTES_MAX: u64 = 4 << 20;

/// The verdict on a stream does not depend on how it is cut into pieces.
pub fn sniffer(input: &[u8]) {
    let mut u = Unstructured::new(input);
    let Ok(sizes) = <[u8; 4]>::arbitrary(&mut u) else { return };
    let stream = u.take_rest();
    let whole = sniff(&[stream]);
    assert_eq!(sniff(&pieces(stream, sizes)), whole, "the pieces decided");
    assert_eq!(sniff(&pieces(stream, [1; 4])), whole, "single bytes decided");
}

fn sniff(pieces: &[&[u8]]) -> Finding {
    let mut sniffer = Sniffer::new();
    pieces.iter().for_each(|piece| sniffer.push(piece));
    sniffer.finish()
}

/// A stream in pieces of these sizes, over and over; 0 stands for 4 KiB.
fn pieces(mut stream: &[u8], sizes: [u8; 4]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    for size in sizes.into_iter().cycle() {
        let size = if size == 0 { 4096 } else { usize::from(size) };
        let (piece, rest) = stream.split_at(size.min(stream.len()));
        pieces.push(piece);
        stream = rest;
        if stream.is_empty() {
            return pieces;
        }
    }
    unreachable!("cycles do not end")
}

/// gzip comes off the same however it is cut, and what came off goes on again.
pub fn gunzip(input: &[u8]) {
    let u = Unstructured::new(input);
    let _ = take_off(u);
}

fn take_off(mut u: Unstructured<'_>) -> Result<()> {
    let sizes = <[u8; 4]>::arbitrary(&mut u)?;
    let members = u.int_in_range(0..=3)?;
    let mut stream = Vec::new();
    let mut contents = Vec::new();
    for _ in 0..members {
        let content = <&[u8]>::arbitrary(&mut u)?;
        let mut encoder =
            flate2::write::GzEncoder::new(stream, flate2::Compression::new(u32::from(sizes[0]) % 10));
        encoder.write_all(content).expect("a Vec takes every write");
        stream = encoder.finish().expect("a Vec takes every write");
        contents.extend_from_slice(content);
    }
    let tail = u.take_rest();
    stream.extend_from_slice(tail);
    let whole = unwrap(&[&stream]);
    assert_eq!(unwrap(&pieces(&stream, sizes)), whole, "the pieces decided");
    let Ok((content, segments)) = whole else { return Ok(()) };
    assert!(content.starts_with(&contents), "whole members come out whole");
    let total = |of: fn(&Segment) -> u64| segments.iter().map(of).sum::<u64>();
    assert_eq!(total(Segment::content_bytes), content.len() as u64);
    assert_eq!(total(Segment::original_bytes), stream.len() as u64);
    assert_eq!(from_cbor::<Vec<Segment>>("segments", &to_cbor(&segments)).as_ref(), Ok(&segments));

    let again = wrap(&segments, &content).expect("they belong together");
    let (content_again, segments_again) = unwrap(&[&again]).expect("it was wrapped by us");
    assert_eq!(content_again, content);
    let like = |s: &Segment| match s.clone() {
        Segment::Gzip { header, content_bytes, footer, .. } => (header, content_bytes, footer),
        Segment::Raw { content_bytes } => (Vec::new(), content_bytes, [0; 8]),
    };
    assert!(segments_again.iter().map(like).eq(segments.iter().map(like)), "the members are the same");
    if matches!(segments.as_slice(), [.., Segment::Gzip { .. }]) {
        let mut plain = Vec::new();
        flate2::read::MultiGzDecoder::new(&again[..]).read_to_end(&mut plain).expect("every gunzip reads it");
        assert_eq!(plain, content);
    }
    Ok(())
}

/// Content and segments, or the error without what depends on the inflater's progress.
fn unwrap(pieces: &[&[u8]]) -> std::result::Result<(Vec<u8>, Vec<Segment>), String> {
    let mut content = Vec::new();
    let mut unwrapper = Unwrapper::new(Limits { content_bytes_max: Some(CONTENT_BYTES_MAX) });
    let mut pushes = pieces.iter();
    let pushed =
        pushes.try_for_each(|piece| unwrapper.push(piece, &mut |bytes| content.extend_from_slice(bytes)));
    assert!(content.len() as u64 <= CONTENT_BYTES_MAX, "the limit holds");
    if let Err(error) = &pushed {
        assert_eq!(
            unwrapper.push(b"more", &mut |_| panic!("no content after an error")).as_ref(),
            Err(error)
        );
    }
    match pushed.and_then(|()| unwrapper.finish()) {
        Ok(segments) => Ok((content, segments)),
        Err(GzipError::Corrupt { member, .. }) => Err(format!("corrupt member {member}")),
        Err(GzipError::TooLarge { member, .. }) => Err(format!("member {member} too large")),
        Err(error) => Err(error.to_string()),
    }
}

/// Segments and content that need not belong together.
pub fn rewrap(input: &[u8]) {
    let mut u = Unstructured::new(input);
    let Ok(segments) = <&[u8]>::arbitrary(&mut u) else { return };
    let Ok(segments) = from_cbor::<Vec<Segment>>("segments", segments) else { return };
    let content = u.take_rest();
    let Ok(wrapped) = wrap(&segments, content) else { return };
    let (total, is_gzip) = (content.len(), |s: &Segment| matches!(s, Segment::Gzip { .. }));
    let overhead: usize = segments.iter().map(|s| s.original_bytes().min(70_000) as usize + 96).sum();
    assert!(wrapped.len() <= total + total / 65_535 * 5 + overhead + 70_000, "wrapping costs little");
    if segments.iter().all(is_gzip) && !segments.is_empty() {
        let (again, found) = unwrap(&[&wrapped]).expect("what was wrapped to the end is sound");
        assert_eq!((again.as_slice(), found.len()), (content, segments.len()));
    }
}

fn wrap(segments: &[Segment], content: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let mut wrapped = Vec::new();
    let mut out = |bytes: &[u8]| wrapped.extend_from_slice(bytes);
    let mut rewrapper = Rewrapper::new(segments.to_vec()).map_err(|e| e.to_string())?;
    for piece in pieces(content, [0, 1, 200, 0]) {
        rewrapper.push(piece, &mut out).map_err(|e| e.to_string())?;
    }
    rewrapper.finish(&mut out).map_err(|e| e.to_string())?;
    Ok(wrapped)
}

/// What a snapshot says of its wrapping, which may be nonsense.
pub fn described(segments: &[u8]) {
    if let Ok(segments) = from_cbor::<Vec<Segment>>("segments", segments) {
        assert!(segments.len() <= SEGMENTS_BYTES_MAX, "a segment takes a byte at least");
        let _ = wrap(&segments, b"");
    }
}
