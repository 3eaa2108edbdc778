//! The header of a gzip member: where it ends, and whether we may take it off.

use memchr::memchr;

/// Longest member header we hold in memory. Real ones are 10 bytes, or 30 with a file name.
pub const HEADER_BYTES_MAX: usize = 64 << 10;

/// Magic and compression method 8, deflate (RFC 1952, 2.3.1).
const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
const FIXED_BYTES: usize = 10;
const FLAG_HEADER_CRC: u8 = 1 << 1;
const FLAG_EXTRA: u8 = 1 << 2;
const FLAG_NAME: u8 = 1 << 3;
const FLAG_COMMENT: u8 = 1 << 4;
const FLAGS_RESERVED: u8 = 0b1110_0000;

/// Extra fields that announce an index into the compressed bytes: BGZF blocks and dictzip's chunk table.
const INDEXED: [(&[u8; 2], &str); 2] = [
    (b"BC", "BGZF: its readers seek by compressed offsets"),
    (b"RA", "dictzip: its readers seek by compressed offsets"),
];

/// Whether a stream that starts like this can be unwrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A gzip member with an acceptable header.
    Yes,
    /// Leave the stream as it is.
    No {
        /// In a few words, for the log.
        why: &'static str,
    },
    /// The header is not all here yet. Ask again with more, up to [`HEADER_BYTES_MAX`] bytes.
    NeedMore,
}

/// Decides from the first bytes of a stream. [`Unwrapper`](super::Unwrapper) comes to the same conclusion by
/// itself; this is for those who want to know beforehand.
pub fn looks_unwrappable(head: &[u8]) -> Verdict {
    match parse(head) {
        Parsed::Header { .. } => Verdict::Yes,
        Parsed::More => Verdict::NeedMore,
        Parsed::Not { why } => Verdict::No { why },
    }
}

/// What the first bytes of a would-be member are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A header of this length; deflate data follows.
    Header { header_bytes: usize },
    /// So far a header, but not all of it.
    More,
    /// No member, or none that we unwrap.
    Not { why: &'static str },
}

pub(super) fn parse(bytes: &[u8]) -> Parsed {
    if !bytes.starts_with(&MAGIC) {
        return if MAGIC.starts_with(bytes) { Parsed::More } else { Parsed::Not { why: "not gzip" } };
    }
    match end_of_header(bytes) {
        Ok(Some(header_bytes)) if header_bytes <= HEADER_BYTES_MAX => Parsed::Header { header_bytes },
        Ok(None) if bytes.len() <= HEADER_BYTES_MAX => Parsed::More,
        Ok(_) => Parsed::Not { why: "gzip header longer than 64 KiB" },
        Err(why) => Parsed::Not { why },
    }
}

/// Length of the header, `None` while it is incomplete, or why we do not want it.
fn end_of_header(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    let Some(&flags) = bytes.get(3) else { return Ok(None) };
    if flags & FLAGS_RESERVED != 0 {
        return Err("gzip header with reserved flags");
    }
    let mut at = FIXED_BYTES;
    if flags & FLAG_EXTRA != 0 {
        let Some(extra) = extra_field(bytes, at) else { return Ok(None) };
        refuse_indexed(extra)?;
        at += 2 + extra.len();
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            let Some(end) = bytes.get(at..).and_then(|rest| memchr(0, rest)) else { return Ok(None) };
            at += end + 1;
        }
    }
    if flags & FLAG_HEADER_CRC != 0 {
        let Some(stored) = bytes.get(at..at + 2) else { return Ok(None) };
        if crc32fast::hash(&bytes[..at]).to_le_bytes()[..2] != *stored {
            return Err("gzip header with a wrong checksum");
        }
        at += 2;
    }
    Ok((bytes.len() >= at).then_some(at))
}

fn extra_field(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let len = u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]);
    bytes.get(at + 2..at + 2 + usize::from(len))
}

fn refuse_indexed(mut extra: &[u8]) -> Result<(), &'static str> {
    while let [id0, id1, len0, len1, rest @ ..] = extra {
        if let Some((_, why)) = INDEXED.iter().find(|(id, _)| **id == [*id0, *id1]) {
            return Err(why);
        }
        extra = rest.get(usize::from(u16::from_le_bytes([*len0, *len1]))..).unwrap_or_default();
    }
    Ok(())
}
