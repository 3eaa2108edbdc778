//! tar, and the two dumps of PostgreSQL that are one: `pg_dump -Ft` and `pg_basebackup -Ft -D -`.
//!
//! Headers are walked, content is skipped. The end of a tar is two blocks of zeros. `pg_dump -Ft` writes
//! `restore.sql` last, `pg_basebackup` (since 13) `backup_manifest`, which closes with the SHA-256 of itself.

use super::delay::Delay;
use super::walk::{Grammar, ITEM_BYTES_MAX, Walker, Want};
use super::{Completeness, Format, Recognised};
use sha2::{Digest, Sha256};

const BLOCK_BYTES: usize = 512;
const MAGIC_AT: usize = 257;
const MAGIC: &[u8] = b"ustar";
/// Fields of a header (POSIX.1-1988): where they are.
const NAME: std::ops::Range<usize> = 0..100;
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const KIND_AT: usize = 156;
/// Kinds of members that matter here.
const KIND_PAX: u8 = b'x';
const KIND_GNU_SPARSE: u8 = b'S';
/// Links, devices, directories, FIFOs: whatever their size field says, nothing follows them.
const KINDS_EMPTY: std::ops::RangeInclusive<u8> = b'2'..=b'6';
/// Says whether blocks of GNU's sparse map follow the header, or the block of the map.
const SPARSE_MORE_AT: usize = 482;
const SPARSE_BLOCK_MORE_AT: usize = 504;

const PG_DUMP_FIRST: &[u8] = b"toc.dat";
const PG_DUMP_LAST: &[u8] = b"restore.sql";
const PG_BASEBACKUP_FIRST: &[u8] = b"backup_label";
const PG_MANIFEST: &[u8] = b"backup_manifest";
/// `"Manifest-Checksum": "` + 64 hexadecimal digits + `"}` and a newline.
const MANIFEST_END_BYTES: usize = MANIFEST_KEY.len() + 64 + MANIFEST_CLOSE.len();
const MANIFEST_KEY: &[u8] = b"\"Manifest-Checksum\": \"";
const MANIFEST_CLOSE: &[u8] = b"\"}\n";

pub(super) fn recognise(head: &[u8]) -> Option<Recognised> {
    let block = head.get(..BLOCK_BYTES)?;
    if block[MAGIC_AT..MAGIC_AT + MAGIC.len()] != *MAGIC || !checksum_matches(block) {
        return None;
    }
    let format = match field_text(&block[NAME]) {
        PG_DUMP_FIRST => Format::PgDumpTar,
        PG_BASEBACKUP_FIRST => Format::PgBasebackup,
        _ => Format::Tar,
    };
    let members = Members {
        format,
        last_name: Vec::new(),
        pax_size: None,
        zero_blocks: 0,
        manifest: None,
        next: Next::Header,
    };
    Some(Recognised::new(format, Walker::new(members, Want::Item(BLOCK_BYTES))))
}

struct Members {
    format: Format,
    /// The member that came last.
    last_name: Vec<u8>,
    /// A size that overrides the next header's, from a pax header.
    pax_size: Option<u64>,
    zero_blocks: u64,
    manifest: Option<Manifest>,
    next: Next,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A header, or a block of zeros.
    Header,
    /// The records of a pax header, of this size without their padding.
    PaxRecords(usize),
    /// A block of GNU's sparse map; then content of this size, padded.
    SparseMap(u64),
    Content,
    Padding,
}

impl Members {
    fn want(&mut self, next: Next, item_bytes: usize) -> Want {
        self.next = next;
        Want::Item(item_bytes)
    }

    fn header(&mut self, block: &[u8]) -> Want {
        if block.iter().all(|byte| *byte == 0) {
            self.zero_blocks += 1;
            return self.want(Next::Header, BLOCK_BYTES);
        }
        if self.zero_blocks > 0 {
            return Want::Lost("more members after the end of the tar".into());
        }
        if !checksum_matches(block) {
            return Want::Lost("no tar header".into());
        }
        let Some(size) = number(&block[SIZE]) else {
            return Want::Lost("a tar member of impossible size".into());
        };
        let kind = block[KIND_AT];
        if kind == KIND_PAX {
            return match usize::try_from(size) {
                Ok(size) if size <= ITEM_BYTES_MAX - BLOCK_BYTES => {
                    self.want(Next::PaxRecords(size), size.next_multiple_of(BLOCK_BYTES))
                }
                _ => Want::Lost("a pax header of more than 1 MiB".into()),
            };
        }
        let size = self.pax_size.take().unwrap_or(size);
        self.last_name = field_text(&block[NAME]).to_vec();
        match kind {
            KIND_GNU_SPARSE if block[SPARSE_MORE_AT] != 0 => self.want(Next::SparseMap(size), BLOCK_BYTES),
            kind if KINDS_EMPTY.contains(&kind) => self.want(Next::Header, BLOCK_BYTES),
            _ => self.content(size),
        }
    }

    fn content(&mut self, size: u64) -> Want {
        if self.format == Format::PgBasebackup && self.last_name == PG_MANIFEST {
            self.manifest = Some(Manifest::default());
            self.next = Next::Content;
            return Want::Skip(size);
        }
        self.padding(size)
    }

    fn padding(&mut self, size: u64) -> Want {
        self.next = Next::Padding;
        match size.checked_next_multiple_of(BLOCK_BYTES as u64) {
            Some(padded) => Want::Skip(padded),
            None => Want::Lost("a tar member of impossible size".into()),
        }
    }
}

impl Grammar for Members {
    fn item(&mut self, item: &[u8]) -> Want {
        match self.next {
            Next::PaxRecords(size) => {
                self.pax_size = pax_size(&item[..size]);
                self.want(Next::Header, BLOCK_BYTES)
            }
            Next::SparseMap(size) if item[SPARSE_BLOCK_MORE_AT] == 0 => self.content(size),
            Next::SparseMap(size) => self.want(Next::SparseMap(size), BLOCK_BYTES),
            Next::Header | Next::Content | Next::Padding => self.header(item),
        }
    }

    fn passed(&mut self, piece: &[u8]) {
        if let (Next::Content, Some(manifest)) = (self.next, &mut self.manifest) {
            manifest.push(piece);
        }
    }

    fn skipped(&mut self) -> Want {
        match (self.next, &self.manifest) {
            (Next::Content, Some(manifest)) => {
                let over = manifest.bytes % BLOCK_BYTES as u64;
                self.next = Next::Padding;
                Want::Skip(if over == 0 { 0 } else { BLOCK_BYTES as u64 - over })
            }
            _ => self.want(Next::Header, BLOCK_BYTES),
        }
    }

    fn judge(&self, between_items: bool) -> Completeness {
        if self.next != Next::Header || !between_items {
            return Completeness::truncated("the stream ends inside a member of the tar");
        }
        if self.zero_blocks < 2 {
            return Completeness::truncated("the two blocks of zeros that end a tar are missing");
        }
        match (self.format, &self.manifest) {
            (Format::PgDumpTar, _) if self.last_name != PG_DUMP_LAST => {
                Completeness::truncated("`restore.sql`, the last member of pg_dump -Ft, is missing")
            }
            (Format::PgBasebackup, Some(manifest)) if !manifest.checks() => {
                Completeness::truncated("`backup_manifest` does not match its own checksum")
            }
            (Format::PgBasebackup, None) => Completeness::unknown(
                "the tar is whole, but has no `backup_manifest` (PostgreSQL before 13, or --no-manifest)",
            ),
            _ => Completeness::Complete,
        }
    }
}

/// pg_basebackup's manifest, passing by.
#[derive(Default)]
struct Manifest {
    bytes: u64,
    /// Of all but its last line.
    hash: Sha256,
    end: Delay<MANIFEST_END_BYTES>,
}

impl Manifest {
    fn push(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        self.end.push(piece, &mut |through| self.hash.update(through));
    }

    fn checks(&self) -> bool {
        let stored =
            self.end.held().strip_prefix(MANIFEST_KEY).and_then(|rest| rest.strip_suffix(MANIFEST_CLOSE));
        let computed: String =
            self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        stored == Some(computed.as_bytes())
    }
}

/// A name up to its first zero.
fn field_text(field: &[u8]) -> &[u8] {
    &field[..memchr::memchr(0, field).unwrap_or(field.len())]
}

/// Octal digits between spaces and zeros, or, with the first bit set, a big-endian number (GNU).
fn number(field: &[u8]) -> Option<u64> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        return rest
            .iter()
            .try_fold(u64::from(first & 0x7f), |n, byte| n.checked_mul(256)?.checked_add(u64::from(*byte)));
    }
    let digits = field_text(field).trim_ascii();
    digits.iter().try_fold(0u64, |n, digit| match digit {
        b'0'..=b'7' => n.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// The sum of the header's bytes, with its own field taken as spaces.
fn checksum_matches(block: &[u8]) -> bool {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    let spaces = CHECKSUM.len() as u64 * u64::from(b' ');
    number(&block[CHECKSUM]) == Some(sum(block) - sum(&block[CHECKSUM]) + spaces)
}

/// The size among pax records, each of them `length key=value\n`, the length counting itself.
fn pax_size(mut records: &[u8]) -> Option<u64> {
    let mut size = None;
    while let Some(space) = memchr::memchr(b' ', records) {
        let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
        let record = records.get(space + 1..length)?;
        if let Some(value) = record.strip_prefix(b"size=") {
            size = std::str::from_utf8(value).ok()?.trim_end().parse().ok();
        }
        records = &records[length..];
    }
    size
}
