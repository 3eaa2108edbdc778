//! gzip, taken off at push and put back at pull: the content is kept, its compressed form is not.
//!
//! A stream becomes a list of [`Segment`]s and the content between them. The list is what a snapshot must
//! remember; the content is what gets deduplicated. Putting the wrapping back yields a gzip stream with the
//! same members, the same headers and footers and the same content, but its deflate data is *stored*, not
//! compressed: `gunzip` gives what it gave before, the compressed bytes differ.
//!
//! # Policy
//! * Every member is one segment: header verbatim, length of the content, length of the deflate data, footer.
//! * What follows the last member (zero padding, garbage) is one [`Segment::Raw`], replayed verbatim.
//! * BGZF and dictzip stay wrapped: their readers seek by offsets into the compressed bytes.
//! * Reserved header flags or a wrong header checksum mean that this is not gzip as we know it: left alone.
//! * A member that is cut short, cannot be inflated or disagrees with its footer fails the stream. Its
//!   compressed bytes are gone by then, so there is no falling back.

mod header;
mod rewrap;
mod unwrap;

pub use header::{HEADER_BYTES_MAX, Verdict, looks_unwrappable};
pub use rewrap::{RewrapError, Rewrapper};
pub use unwrap::{GzipError, Limits, SEGMENTS_BYTES_MAX, Unwrapper};

use serde::{Deserialize, Serialize};

/// A stretch of the original stream, in order; together they say how to wrap the content again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Segment {
    /// Bytes that are content as they stand.
    Raw {
        /// How many bytes of content belong here.
        content_bytes: u64,
    },
    /// One gzip member (RFC 1952) whose content was inflated.
    Gzip {
        /// The member's header, verbatim: name, time and extra fields are replayed as they came.
        #[serde(with = "serde_bytes")]
        header: Vec<u8>,
        /// Length of the inflated content.
        content_bytes: u64,
        /// Length of the deflate data in the original stream.
        deflate_bytes: u64,
        /// CRC-32 and length modulo 2^32 of the content, both little-endian, as the member ended.
        #[serde(with = "serde_bytes")]
        footer: [u8; FOOTER_BYTES],
    },
}

/// CRC-32 and ISIZE at the end of a member (RFC 1952, 2.3.1).
const FOOTER_BYTES: usize = 8;

/// The footer of a member with this content.
fn footer(crc: u32, content_bytes: u64) -> [u8; FOOTER_BYTES] {
    let mut footer = [0; FOOTER_BYTES];
    footer[..4].copy_from_slice(&crc.to_le_bytes());
    footer[4..].copy_from_slice(&isize_field(content_bytes));
    footer
}

/// The length field of a footer: the content's length modulo 2^32.
fn isize_field(content_bytes: u64) -> [u8; 4] {
    let le = content_bytes.to_le_bytes();
    [le[0], le[1], le[2], le[3]]
}

impl Segment {
    /// Length of the content that belongs to this segment.
    pub fn content_bytes(&self) -> u64 {
        match self {
            Segment::Raw { content_bytes } | Segment::Gzip { content_bytes, .. } => *content_bytes,
        }
    }

    /// Length of this segment in the stream as it arrived.
    pub fn original_bytes(&self) -> u64 {
        match self {
            Segment::Raw { content_bytes } => *content_bytes,
            Segment::Gzip { header, deflate_bytes, .. } => {
                deflate_bytes.saturating_add((header.len() + FOOTER_BYTES) as u64)
            }
        }
    }
}
