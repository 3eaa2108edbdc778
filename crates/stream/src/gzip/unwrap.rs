//! Takes gzip off while the stream passes: compressed bytes in, content and segments out.

use super::header::{self, HEADER_BYTES_MAX, Parsed};
use super::{FOOTER_BYTES, Segment, footer};
use flate2::{Decompress, FlushDecompress, Status};

/// Most memory the list of segments may take. It holds about 80,000 members with plain headers; streams of
/// more (appended logs, one member per record) are refused rather than remembered.
pub const SEGMENTS_BYTES_MAX: usize = 8 << 20;

/// What a segment costs beside its header, rounded up.
const SEGMENT_BYTES: usize = 96;

/// Content is handed over in slices of at most this size.
const SLICE_BYTES: usize = 256 << 10;

/// What an [`Unwrapper`] accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Fail when the content grows beyond this. Deflate expands up to 1032 times; memory does not grow, but
    /// time and storage do.
    pub content_bytes_max: Option<u64>,
}

/// Why a stream could not be unwrapped. Members count from 1, offsets are into the stream as it arrived.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GzipError {
    /// The stream ended inside a member, be it in its first byte: whoever wrote it did not finish.
    #[error(
        "unwrap gzip: the stream ends at byte {offset_bytes}, inside the {part} of member {member}; \
         the dump is incomplete, run it again (`--unwrap=off --accept-partial` stores the bytes as they are)"
    )]
    Truncated {
        /// Which member.
        member: u64,
        /// `header`, `deflate data` or `footer`.
        part: &'static str,
        /// Length of the stream.
        offset_bytes: u64,
    },
    /// The deflate data makes no sense.
    #[error(
        "unwrap gzip: member {member} cannot be inflated near byte {offset_bytes} ({why}); \
         run the dump again, or push with `--unwrap=off --accept-partial` to store the bytes as they are"
    )]
    Corrupt {
        /// Which member.
        member: u64,
        /// Where inflating stopped.
        offset_bytes: u64,
        /// What the inflater said.
        why: String,
    },
    /// The content is not what the member's footer promises.
    #[error(
        "unwrap gzip: the content of member {member} does not match its {field} (footer ends at byte \
         {offset_bytes}); run the dump again, or push with `--unwrap=off --accept-partial` to store the bytes \
         as they are"
    )]
    Mismatch {
        /// Which member.
        member: u64,
        /// `checksum` or `length`.
        field: &'static str,
        /// End of the footer.
        offset_bytes: u64,
    },
    /// More members than [`SEGMENTS_BYTES_MAX`] has room for.
    #[error(
        "unwrap gzip: more members than can be remembered (member {member} starts at byte {offset_bytes}); \
         push with `--unwrap=off`"
    )]
    TooManyMembers {
        /// The member that had no room.
        member: u64,
        /// Where it starts.
        offset_bytes: u64,
    },
    /// The content outgrew [`Limits::content_bytes_max`].
    #[error(
        "unwrap gzip: the content is larger than the {content_bytes_max} bytes allowed (member {member}, byte \
         {offset_bytes}); raise the limit, or push with `--unwrap=off`"
    )]
    TooLarge {
        /// The limit.
        content_bytes_max: u64,
        /// Which member.
        member: u64,
        /// How much of the stream had been read.
        offset_bytes: u64,
    },
}

/// A gzip stream being taken apart. Anything that is not gzip passes through untouched as [`Segment::Raw`].
///
/// # Guarantees
/// * Memory does not depend on the stream: two buffers, one inflater, at most [`SEGMENTS_BYTES_MAX`] of
///   segments.
/// * [`finish`](Self::finish) returns `Ok` only if every member was whole and matched its footer.
/// * After an error every further call returns the same error; the content seen so far is worth nothing.
pub struct Unwrapper {
    limits: Limits,
    place: Place,
    inflater: Decompress,
    slice: Box<[u8]>,
    segments: Vec<Segment>,
    segments_bytes: usize,
    /// Members begun so far.
    member: u64,
    /// Bytes of the stream consumed.
    offset_bytes: u64,
    content_bytes: u64,
}

/// Where in the stream we are.
enum Place {
    /// Before a member, with the bytes of its header that came so far.
    Header(Vec<u8>),
    Deflate(Member),
    Footer(Member, Vec<u8>),
    /// Past the last member, or never in one.
    Raw {
        content_bytes: u64,
    },
    Failed(GzipError),
}

/// The member being inflated.
struct Member {
    header: Vec<u8>,
    crc: crc32fast::Hasher,
    content_bytes: u64,
    deflate_bytes: u64,
}

impl Unwrapper {
    /// At the start of a stream.
    pub fn new(limits: Limits) -> Self {
        Unwrapper {
            limits,
            place: Place::Header(Vec::new()),
            inflater: Decompress::new(false),
            slice: vec![0; SLICE_BYTES].into_boxed_slice(),
            segments: Vec::new(),
            segments_bytes: 0,
            member: 0,
            offset_bytes: 0,
            content_bytes: 0,
        }
    }

    /// Takes the next bytes of the stream and hands their content to `content`, in order, in slices of at
    /// most 256 KiB (bytes that pass unchanged come as they are). May call it many times, or not at all.
    pub fn push(&mut self, mut bytes: &[u8], content: &mut impl FnMut(&[u8])) -> Result<(), GzipError> {
        while !bytes.is_empty() {
            bytes = match self.step(bytes, content) {
                Ok(rest) => rest,
                Err(error) => {
                    self.place = Place::Failed(error.clone());
                    return Err(error);
                }
            };
        }
        Ok(())
    }

    /// The stream ended. What to remember of its wrapping: empty for an empty stream, a single
    /// [`Segment::Raw`] if nothing was unwrapped.
    pub fn finish(mut self) -> Result<Vec<Segment>, GzipError> {
        let part = match std::mem::replace(&mut self.place, Place::Header(Vec::new())) {
            Place::Header(held) if held.is_empty() => return Ok(self.segments),
            Place::Raw { content_bytes } => {
                self.segments.push(Segment::Raw { content_bytes });
                return Ok(self.segments);
            }
            Place::Failed(error) => return Err(error),
            Place::Header(_) => {
                self.member += 1;
                "header"
            }
            Place::Deflate(_) => "deflate data",
            Place::Footer(..) => "footer",
        };
        Err(GzipError::Truncated { member: self.member, part, offset_bytes: self.offset_bytes })
    }

    /// How much content has been handed over.
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    fn step<'b>(&mut self, bytes: &'b [u8], content: &mut impl FnMut(&[u8])) -> Result<&'b [u8], GzipError> {
        match std::mem::replace(&mut self.place, Place::Raw { content_bytes: 0 }) {
            Place::Header(held) => self.header(held, bytes, content),
            Place::Deflate(member) => self.deflate(member, bytes, content),
            Place::Footer(member, held) => self.footer(member, held, bytes),
            Place::Raw { content_bytes } => {
                self.offset_bytes += bytes.len() as u64;
                self.count(bytes.len())?;
                content(bytes);
                self.place = Place::Raw { content_bytes: content_bytes + bytes.len() as u64 };
                Ok(&[])
            }
            Place::Failed(error) => Err(error),
        }
    }

    fn header<'b>(
        &mut self,
        mut held: Vec<u8>,
        bytes: &'b [u8],
        content: &mut impl FnMut(&[u8]),
    ) -> Result<&'b [u8], GzipError> {
        let held_before = held.len();
        // One byte more than a header may have, so that a longer one is seen to be longer.
        let room = (HEADER_BYTES_MAX + 1).saturating_sub(held_before).min(bytes.len());
        held.extend_from_slice(&bytes[..room]);
        match header::parse(&held) {
            Parsed::More => {
                self.offset_bytes += room as u64;
                self.place = Place::Header(held);
                Ok(&bytes[room..])
            }
            Parsed::Header { header_bytes } => {
                held.truncate(header_bytes);
                held.shrink_to_fit();
                self.begin_member(held, header_bytes - held_before)?;
                Ok(&bytes[header_bytes - held_before..])
            }
            Parsed::Not { .. } => {
                held.truncate(held_before);
                self.count(held.len())?;
                if !held.is_empty() {
                    content(&held);
                }
                self.place = Place::Raw { content_bytes: held.len() as u64 };
                Ok(bytes)
            }
        }
    }

    fn begin_member(&mut self, header: Vec<u8>, fresh_bytes: usize) -> Result<(), GzipError> {
        self.member += 1;
        self.offset_bytes += fresh_bytes as u64;
        self.segments_bytes += SEGMENT_BYTES + header.len();
        if self.segments_bytes > SEGMENTS_BYTES_MAX {
            let offset_bytes = self.offset_bytes - header.len() as u64;
            return Err(GzipError::TooManyMembers { member: self.member, offset_bytes });
        }
        self.inflater.reset(false);
        self.place = Place::Deflate(Member {
            header,
            crc: crc32fast::Hasher::new(),
            content_bytes: 0,
            deflate_bytes: 0,
        });
        Ok(())
    }

    fn deflate<'b>(
        &mut self,
        mut member: Member,
        mut bytes: &'b [u8],
        content: &mut impl FnMut(&[u8]),
    ) -> Result<&'b [u8], GzipError> {
        loop {
            let (in_before, out_before) = (self.inflater.total_in(), self.inflater.total_out());
            let status = self.inflater.decompress(bytes, &mut self.slice, FlushDecompress::None);
            let read = (self.inflater.total_in() - in_before) as usize;
            let made = (self.inflater.total_out() - out_before) as usize;
            self.offset_bytes += read as u64;
            bytes = &bytes[read..];
            let status = status.map_err(|e| self.corrupt(e.to_string()))?;
            self.count(made)?;
            let slice = &self.slice[..made];
            member.crc.update(slice);
            member.content_bytes += made as u64;
            member.deflate_bytes += read as u64;
            if made > 0 {
                content(slice);
            }
            if status == Status::StreamEnd {
                self.place = Place::Footer(member, Vec::with_capacity(FOOTER_BYTES));
                return Ok(bytes);
            }
            // The rest of a match may still be inside; it comes out with what follows, be it the footer.
            if bytes.is_empty() {
                self.place = Place::Deflate(member);
                return Ok(bytes);
            }
            if read == 0 && made == 0 {
                return Err(self.corrupt("the inflater makes no progress".into()));
            }
        }
    }

    fn footer<'b>(
        &mut self,
        member: Member,
        mut held: Vec<u8>,
        bytes: &'b [u8],
    ) -> Result<&'b [u8], GzipError> {
        let take = (FOOTER_BYTES - held.len()).min(bytes.len());
        held.extend_from_slice(&bytes[..take]);
        self.offset_bytes += take as u64;
        let Ok(stored) = <[u8; FOOTER_BYTES]>::try_from(held.as_slice()) else {
            self.place = Place::Footer(member, held);
            return Ok(&bytes[take..]);
        };
        let computed = footer(member.crc.finalize(), member.content_bytes);
        if stored != computed {
            let field = if stored[..4] == computed[..4] { "length" } else { "checksum" };
            return Err(GzipError::Mismatch { member: self.member, field, offset_bytes: self.offset_bytes });
        }
        self.segments.push(Segment::Gzip {
            header: member.header,
            content_bytes: member.content_bytes,
            deflate_bytes: member.deflate_bytes,
            footer: stored,
        });
        self.place = Place::Header(Vec::new());
        Ok(&bytes[take..])
    }

    /// Counts content before it is handed over.
    fn count(&mut self, bytes: usize) -> Result<(), GzipError> {
        self.content_bytes += bytes as u64;
        match self.limits.content_bytes_max {
            Some(content_bytes_max) if self.content_bytes > content_bytes_max => Err(GzipError::TooLarge {
                content_bytes_max,
                member: self.member,
                offset_bytes: self.offset_bytes,
            }),
            _ => Ok(()),
        }
    }

    fn corrupt(&self, why: String) -> GzipError {
        GzipError::Corrupt { member: self.member, offset_bytes: self.offset_bytes, why }
    }
}
