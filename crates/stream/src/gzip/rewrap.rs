//! Puts gzip back on: segments and content in, a gzip stream of stored blocks out.

use super::header::{self, Parsed};
use super::{FOOTER_BYTES, Segment, isize_field};

/// Most a stored block can hold (RFC 1951, 3.2.4).
const STORED_BYTES_MAX: u64 = 65_535;

/// Why content could not be wrapped again. All of these mean that the snapshot's description and the content
/// do not belong together; nothing that `gunzip` would accept has been written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RewrapError {
    /// A segment is no gzip member.
    #[error("wrap as gzip: segment {segment} has {what}; the snapshot's description is damaged, run verify")]
    Malformed {
        /// Which segment, from 1.
        segment: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The content is not what the segment's footer was computed from.
    #[error(
        "wrap as gzip: the content of segment {segment} does not match its checksum; run verify \
         (the content can still be read without its wrapping)"
    )]
    Mismatch {
        /// Which segment, from 1.
        segment: u64,
    },
    /// The content ended before the segments did.
    #[error(
        "wrap as gzip: the content ends {missing_bytes} bytes short inside segment {segment}; run verify"
    )]
    Short {
        /// Which segment, from 1.
        segment: u64,
        /// What its content still lacks.
        missing_bytes: u64,
    },
    /// There is more content than the segments account for.
    #[error("wrap as gzip: the content goes on for {extra_bytes} bytes after the last segment; run verify")]
    Long {
        /// How much of the last push was left over.
        extra_bytes: u64,
    },
}

/// A stream being wrapped again.
///
/// The output costs 5 bytes per 65,535 of content and one CRC-32 over it; the content itself is handed
/// through without a copy. A member's footer is written only after its content matched it: on a mismatch the
/// output stays an unfinished gzip stream, which every reader rejects.
pub struct Rewrapper {
    segments: std::vec::IntoIter<Segment>,
    current: Option<Current>,
    /// Segments begun so far.
    segment: u64,
}

/// The segment being written.
struct Current {
    left_bytes: u64,
    member: Option<Member>,
}

/// What a gzip member needs beside its content.
struct Member {
    crc: crc32fast::Hasher,
    footer: [u8; FOOTER_BYTES],
    /// Content still missing from the stored block under way.
    block_left_bytes: u64,
    /// The block with the final flag has begun.
    last_block: bool,
}

impl Rewrapper {
    /// Checks the segments and starts before the first.
    pub fn new(segments: Vec<Segment>) -> Result<Self, RewrapError> {
        for (segment, number) in segments.iter().zip(1..) {
            check(segment).map_err(|what| RewrapError::Malformed { segment: number, what })?;
        }
        Ok(Rewrapper { segments: segments.into_iter(), current: None, segment: 0 })
    }

    /// Takes the next bytes of content and hands wrapped bytes to `wrapped`, in order, in slices as they
    /// fall: small ones for headers, whole stored blocks of content otherwise.
    pub fn push(&mut self, mut content: &[u8], wrapped: &mut impl FnMut(&[u8])) -> Result<(), RewrapError> {
        while !content.is_empty() {
            if self.current.is_none() && !self.open(wrapped) {
                return Err(RewrapError::Long { extra_bytes: content.len() as u64 });
            }
            if let Some(current) = &mut self.current {
                content = current.write(content, wrapped);
            }
            self.close(wrapped)?;
        }
        Ok(())
    }

    /// The content ended: writes what is left of empty segments and makes sure that nothing is missing.
    pub fn finish(mut self, wrapped: &mut impl FnMut(&[u8])) -> Result<(), RewrapError> {
        loop {
            self.close(wrapped)?;
            if let Some(current) = &self.current {
                let missing_bytes = current.left_bytes;
                return Err(RewrapError::Short { segment: self.segment, missing_bytes });
            }
            if !self.open(wrapped) {
                return Ok(());
            }
        }
    }

    /// Begins the next segment, if there is one.
    fn open(&mut self, wrapped: &mut impl FnMut(&[u8])) -> bool {
        let Some(segment) = self.segments.next() else { return false };
        self.segment += 1;
        let left_bytes = segment.content_bytes();
        let member = match segment {
            Segment::Raw { .. } => None,
            Segment::Gzip { header, footer, .. } => {
                wrapped(&header);
                let crc = crc32fast::Hasher::new();
                Some(Member { crc, footer, block_left_bytes: 0, last_block: false })
            }
        };
        self.current = Some(Current { left_bytes, member });
        true
    }

    /// Ends the segment under way, if its content is complete.
    fn close(&mut self, wrapped: &mut impl FnMut(&[u8])) -> Result<(), RewrapError> {
        let Some(current) = self.current.take_if(|current| current.left_bytes == 0) else { return Ok(()) };
        if let Some(mut member) = current.member {
            if !member.last_block {
                member.begin_block(0, wrapped);
            }
            if member.crc.finalize().to_le_bytes() != member.footer[..4] {
                return Err(RewrapError::Mismatch { segment: self.segment });
            }
            wrapped(&member.footer);
        }
        Ok(())
    }
}

/// Whether a segment can be wrapped at all.
fn check(segment: &Segment) -> Result<(), &'static str> {
    let Segment::Gzip { header, content_bytes, footer, .. } = segment else { return Ok(()) };
    if header::parse(header) != (Parsed::Header { header_bytes: header.len() }) {
        return Err("a header that is not a gzip header");
    }
    if footer[4..] != isize_field(*content_bytes) {
        return Err("a footer that disagrees with its length");
    }
    Ok(())
}

impl Current {
    /// Writes as much of `content` as belongs here (at most one stored block) and returns the rest.
    fn write<'c>(&mut self, content: &'c [u8], wrapped: &mut impl FnMut(&[u8])) -> &'c [u8] {
        let mut take = at_most(content.len(), self.left_bytes);
        if let Some(member) = &mut self.member {
            if take > 0 && member.block_left_bytes == 0 {
                member.begin_block(self.left_bytes, wrapped);
            }
            take = at_most(take, member.block_left_bytes);
            member.block_left_bytes -= take as u64;
            member.crc.update(&content[..take]);
        }
        if take > 0 {
            wrapped(&content[..take]);
        }
        self.left_bytes -= take as u64;
        &content[take..]
    }
}

impl Member {
    /// Writes the header of the next stored block, of which `left_bytes` of content remain.
    fn begin_block(&mut self, left_bytes: u64, wrapped: &mut impl FnMut(&[u8])) {
        self.block_left_bytes = left_bytes.min(STORED_BYTES_MAX);
        self.last_block = left_bytes <= STORED_BYTES_MAX;
        let [len0, len1, ..] = self.block_left_bytes.to_le_bytes();
        wrapped(&[u8::from(self.last_block), len0, len1, !len0, !len1]);
    }
}

fn at_most(len: usize, limit: u64) -> usize {
    usize::try_from(limit).map_or(len, |limit| len.min(limit))
}
