//! Zstandard: frames are walked by their block headers (RFC 8878), nothing is decompressed.

use super::walk::{Grammar, Walker, Want, number_le};
use super::{Completeness, Format, Recognised};

const MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// Skippable frames: sixteen magics that differ in the lowest four bits (RFC 8878, 3.1.2).
const SKIPPABLE_MAGIC: u64 = 0x184d_2a50;
const FLAG_CHECKSUM: u8 = 1 << 2;
const FLAG_SINGLE_SEGMENT: u8 = 1 << 5;
/// A block of this type is one byte, to be repeated.
const BLOCK_RLE: u64 = 1;
const BLOCK_RESERVED: u64 = 3;

pub(super) fn recognise(head: &[u8]) -> Option<Recognised> {
    let skippable = head.get(..4).is_some_and(is_skippable);
    (head.starts_with(MAGIC) || skippable).then(|| {
        let frames = Frames { checksum: false, last_block: false, next: Next::Magic };
        Recognised::new(Format::Zstd, Walker::new(frames, Want::Item(4)))
            .advise("zstd defeats deduplication: drop it from the dump command, storage is compressed here")
    })
}

fn is_skippable(magic: &[u8]) -> bool {
    number_le(magic) & !0xf == SKIPPABLE_MAGIC
}

/// A stream of frames; what is remembered is of the frame under way.
struct Frames {
    checksum: bool,
    last_block: bool,
    next: Next,
}

enum Next {
    Magic,
    Descriptor,
    BlockHeader,
    SkippableSize,
    /// Skipping what stands between here and a block header, another block header or the next frame.
    HeaderRest,
    Block,
    FrameEnd,
}

impl Frames {
    fn want(&mut self, next: Next, item_bytes: usize) -> Want {
        self.next = next;
        Want::Item(item_bytes)
    }

    fn skip(&mut self, next: Next, bytes: u64) -> Want {
        self.next = next;
        Want::Skip(bytes)
    }

    /// The rest of a frame header: window, dictionary id and content size, each of them optional.
    fn header(&mut self, descriptor: u8) -> Want {
        self.checksum = descriptor & FLAG_CHECKSUM != 0;
        let single_segment = descriptor & FLAG_SINGLE_SEGMENT != 0;
        let window_bytes = u64::from(!single_segment);
        let dictionary_bytes = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let size_bytes = match descriptor >> 6 {
            0 => u64::from(single_segment),
            exponent => 1 << exponent,
        };
        self.skip(Next::HeaderRest, window_bytes + dictionary_bytes + size_bytes)
    }

    fn block(&mut self, header: u64) -> Want {
        self.last_block = header & 1 != 0;
        match header >> 1 & 3 {
            BLOCK_RESERVED => Want::Lost("a zstd block of the reserved type".into()),
            BLOCK_RLE => self.skip(Next::Block, 1),
            _ => self.skip(Next::Block, header >> 3),
        }
    }
}

impl Grammar for Frames {
    fn item(&mut self, item: &[u8]) -> Want {
        match self.next {
            Next::Magic if item == MAGIC => self.want(Next::Descriptor, 1),
            Next::Magic if is_skippable(item) => self.want(Next::SkippableSize, 4),
            Next::Descriptor => self.header(item[0]),
            Next::BlockHeader => self.block(number_le(item)),
            Next::SkippableSize => self.skip(Next::FrameEnd, number_le(item)),
            _ => Want::Lost("no zstd frame".into()),
        }
    }

    fn skipped(&mut self) -> Want {
        match self.next {
            Next::Block if self.last_block => {
                let checksum_bytes = if self.checksum { 4 } else { 0 };
                self.skip(Next::FrameEnd, checksum_bytes)
            }
            Next::FrameEnd => self.want(Next::Magic, 4),
            _ => self.want(Next::BlockHeader, 3),
        }
    }

    fn judge(&self, between_items: bool) -> Completeness {
        match self.next {
            Next::Magic if between_items => Completeness::Complete,
            _ => Completeness::truncated("the stream ends inside a zstd frame"),
        }
    }
}
