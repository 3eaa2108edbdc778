//! Compressed streams that stay as they are: LZ4, xz, bzip2.
//!
//! LZ4 is walked to its end mark and xz is known by its footer. bzip2 would have to be decoded.

use super::text::Text;
use super::walk::{Grammar, Walker, Want, number_le};
use super::{Completeness, Format, Recognised};

const LZ4_MAGIC: &[u8] = &[0x04, 0x22, 0x4d, 0x18];
const XZ_MAGIC: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
/// Followed by the level, 1 to 9, and the first block's magic.
const BZIP2_MAGIC: &[u8] = b"BZh";
const BZIP2_BLOCK_MAGIC: &[u8] = &[0x31, 0x41, 0x59, 0x26, 0x53, 0x59];

pub(super) fn recognise(head: &[u8]) -> Option<Recognised> {
    if head.starts_with(LZ4_MAGIC) {
        let walk = Walker::new(Lz4 { flags: 0, next: Lz4Next::Magic }, Want::Item(4));
        Some(Recognised::new(Format::Lz4, walk).advise(
            "lz4 defeats most deduplication: drop it from the dump command, storage is compressed here",
        ))
    } else if head.starts_with(XZ_MAGIC) {
        Some(
            Recognised::new(Format::Xz, Text::new(judge_xz)).advise(
                "xz defeats deduplication: drop it from the dump command, storage is compressed here",
            ),
        )
    } else if head.starts_with(BZIP2_MAGIC) && head.get(4..10) == Some(BZIP2_BLOCK_MAGIC) {
        Some(
            Recognised::new(Format::Bzip2, Text::new(judge_bzip2)).advise(
                "bzip2 defeats deduplication: drop it from the dump command, storage is compressed here",
            ),
        )
    } else {
        None
    }
}

fn judge_bzip2(_head: &[u8], _tail: &[u8]) -> Completeness {
    Completeness::unknown("bzip2 is not decoded here")
}

/// The stream footer (xz file format 2.1.2): CRC-32, backward size, flags, magic; then padding in fours.
fn judge_xz(_head: &[u8], tail: &[u8]) -> Completeness {
    let mut tail = tail;
    while let Some(before) = tail.strip_suffix(&[0; 4]) {
        tail = before;
    }
    match tail.last_chunk::<12>() {
        Some([c0, c1, c2, c3, sized @ .., b'Y', b'Z'])
            if crc32fast::hash(sized).to_le_bytes() == [*c0, *c1, *c2, *c3] =>
        {
            Completeness::Complete
        }
        _ => Completeness::truncated("the footer of the xz stream is missing"),
    }
}

/// LZ4 frames (LZ4 frame format 1.6.3): blocks by their length up to an end mark of zero.
struct Lz4 {
    flags: u8,
    next: Lz4Next,
}

enum Lz4Next {
    Magic,
    Flags,
    HeaderRest,
    BlockSize,
    Block,
    ContentChecksum,
    SkippableSize,
    Skippable,
}

const LZ4_FLAG_DICTIONARY: u8 = 1;
const LZ4_FLAG_CONTENT_CHECKSUM: u8 = 1 << 2;
const LZ4_FLAG_CONTENT_SIZE: u8 = 1 << 3;
const LZ4_FLAG_BLOCK_CHECKSUM: u8 = 1 << 4;
/// Set in a block's size when the block is stored as it is.
const LZ4_STORED: u64 = 1 << 31;
/// Skippable frames, shared with Zstandard: sixteen magics that differ in the lowest four bits.
const SKIPPABLE_MAGIC: u64 = 0x184d_2a50;

impl Lz4 {
    fn want(&mut self, next: Lz4Next, item_bytes: usize) -> Want {
        self.next = next;
        Want::Item(item_bytes)
    }

    fn skip(&mut self, next: Lz4Next, bytes: u64) -> Want {
        self.next = next;
        Want::Skip(bytes)
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn block(&mut self, size: u64) -> Want {
        if size != 0 {
            let checksum_bytes = if self.has(LZ4_FLAG_BLOCK_CHECKSUM) { 4 } else { 0 };
            return self.skip(Lz4Next::Block, (size & !LZ4_STORED) + checksum_bytes);
        }
        match self.has(LZ4_FLAG_CONTENT_CHECKSUM) {
            true => self.want(Lz4Next::ContentChecksum, 4),
            false => self.want(Lz4Next::Magic, 4),
        }
    }
}

impl Grammar for Lz4 {
    fn item(&mut self, item: &[u8]) -> Want {
        match self.next {
            Lz4Next::Magic if item == LZ4_MAGIC => self.want(Lz4Next::Flags, 2),
            Lz4Next::Magic if number_le(item) & !0xf == SKIPPABLE_MAGIC => {
                self.want(Lz4Next::SkippableSize, 4)
            }
            Lz4Next::Flags => {
                self.flags = item[0];
                let size_bytes = if self.has(LZ4_FLAG_CONTENT_SIZE) { 8 } else { 0 };
                let dictionary_bytes = if self.has(LZ4_FLAG_DICTIONARY) { 4 } else { 0 };
                self.want(Lz4Next::HeaderRest, size_bytes + dictionary_bytes + 1)
            }
            Lz4Next::HeaderRest => self.want(Lz4Next::BlockSize, 4),
            Lz4Next::BlockSize => self.block(number_le(item)),
            Lz4Next::ContentChecksum => self.want(Lz4Next::Magic, 4),
            Lz4Next::SkippableSize => self.skip(Lz4Next::Skippable, number_le(item)),
            Lz4Next::Magic | Lz4Next::Block | Lz4Next::Skippable => Want::Lost("no LZ4 frame".into()),
        }
    }

    fn skipped(&mut self) -> Want {
        match self.next {
            Lz4Next::Block => self.want(Lz4Next::BlockSize, 4),
            _ => self.want(Lz4Next::Magic, 4),
        }
    }

    fn judge(&self, between_items: bool) -> Completeness {
        match self.next {
            Lz4Next::Magic if between_items => Completeness::Complete,
            _ => Completeness::truncated("the stream ends inside an LZ4 frame"),
        }
    }
}
