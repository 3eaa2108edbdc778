//! xbstream, as mariabackup and xtrabackup write it: chunks of many files, interleaved.
//!
//! A file ends with a chunk of type `E`. The backup is whole when every file has ended, and among them the
//! description of the backup itself, which is written when all else is.

use super::walk::{Grammar, ITEM_BYTES_MAX, Walker, Want, number_le};
use super::{Completeness, Format, Recognised};
use std::collections::HashSet;

const MAGIC: &[u8] = b"XBSTCK01";
/// Magic, flags, type and the length of the path.
const HEADER_BYTES: usize = 8 + 1 + 1 + 4;
/// A chunk of this flag may be passed over by readers that do not know its type.
const FLAG_IGNORABLE: u8 = 1;
const TYPE_PAYLOAD: u8 = b'P';
const TYPE_SPARSE: u8 = b'S';
const TYPE_END: u8 = b'E';
/// Length, offset and CRC-32.
const PAYLOAD_BYTES: usize = 8 + 8 + 4;
/// As above, with the number of entries of the sparse map in front; an entry takes 8 bytes.
const SPARSE_BYTES: usize = 4 + PAYLOAD_BYTES;
const SPARSE_ENTRY_BYTES: u64 = 8;
/// Longer than any path a server can have.
const PATH_BYTES_MAX: u64 = 4096;
/// Threads that copy have one file open each.
const OPEN_FILES_MAX: usize = 4096;
/// The description of the backup, written at the end. Newer MariaDB renamed it; xtrabackup adds `.zst` or `.xbcrypt`
/// when it compresses or encrypts.
const INFO_NAMES: [&[u8]; 2] = [b"xtrabackup_info", b"mariadb_backup_info"];

/// What compressed or encrypted files end in.
const PACKED_SUFFIXES: [&[u8]; 4] = [b".zst", b".lz4", b".qp", b".xbcrypt"];

pub(super) fn recognise(head: &[u8]) -> Option<Recognised> {
    if !head.starts_with(MAGIC) {
        return None;
    }
    let chunks = Chunks { open: HashSet::new(), info_ended: false, kind: 0, next: Next::Header };
    let known = Recognised::new(Format::Xbstream, Walker::new(chunks, Want::Item(HEADER_BYTES)));
    Some(match is_packed(head) {
        true => known.advise(
            "the backup compresses or encrypts its files, which defeats deduplication: drop --compress and \
             --encrypt, storage does both",
        ),
        false => known,
    })
}

struct Chunks {
    /// Files that have begun and not ended.
    open: HashSet<Vec<u8>>,
    /// The description of the backup has ended.
    info_ended: bool,
    /// The type of the chunk under way.
    kind: u8,
    next: Next,
}

enum Next {
    Header,
    Path,
    Lengths,
    Payload,
}

impl Chunks {
    fn want(&mut self, next: Next, item_bytes: usize) -> Want {
        self.next = next;
        Want::Item(item_bytes)
    }

    fn header(&mut self, header: &[u8]) -> Want {
        if !header.starts_with(MAGIC) {
            return Want::Lost("no xbstream chunk".into());
        }
        self.kind = header[9];
        let known = matches!(self.kind, TYPE_PAYLOAD | TYPE_SPARSE | TYPE_END);
        let path_bytes = number_le(&header[10..]);
        if !known || header[8] & !FLAG_IGNORABLE != 0 {
            return Want::Lost("an xbstream chunk of unknown type".into());
        }
        if path_bytes > PATH_BYTES_MAX.min(ITEM_BYTES_MAX as u64) {
            return Want::Lost(format!("an xbstream path of {path_bytes} bytes"));
        }
        self.want(Next::Path, path_bytes as usize)
    }

    fn path(&mut self, path: &[u8]) -> Want {
        if self.kind == TYPE_END {
            self.open.remove(path);
            self.info_ended |= is_info(path);
            return self.want(Next::Header, HEADER_BYTES);
        }
        if !self.open.contains(path) {
            if self.open.len() == OPEN_FILES_MAX {
                return Want::Lost("more xbstream files open at once than are kept track of".into());
            }
            self.open.insert(path.to_vec());
        }
        self.want(Next::Lengths, if self.kind == TYPE_SPARSE { SPARSE_BYTES } else { PAYLOAD_BYTES })
    }

    fn lengths(&mut self, lengths: &[u8]) -> Want {
        let (entries, lengths) = lengths.split_at(lengths.len() - PAYLOAD_BYTES);
        let map_bytes = number_le(entries) * SPARSE_ENTRY_BYTES;
        self.next = Next::Payload;
        match number_le(&lengths[..8]).checked_add(map_bytes) {
            Some(bytes) => Want::Skip(bytes),
            None => Want::Lost("an xbstream payload of impossible length".into()),
        }
    }
}

fn is_info(path: &[u8]) -> bool {
    let rest = INFO_NAMES.iter().find_map(|name| path.strip_prefix(*name));
    rest.is_some_and(|suffix| suffix.is_empty() || suffix.starts_with(b"."))
}

/// Judged by the first file.
fn is_packed(head: &[u8]) -> bool {
    let path_bytes = head.get(HEADER_BYTES - 4..HEADER_BYTES).map_or(0, number_le);
    let path_end = HEADER_BYTES.saturating_add(path_bytes.min(PATH_BYTES_MAX) as usize);
    let path = head.get(HEADER_BYTES..path_end).unwrap_or_default();
    PACKED_SUFFIXES.iter().any(|suffix| path.ends_with(suffix))
}

impl Grammar for Chunks {
    fn item(&mut self, item: &[u8]) -> Want {
        match self.next {
            Next::Header => self.header(item),
            Next::Path => self.path(item),
            Next::Lengths | Next::Payload => self.lengths(item),
        }
    }

    fn skipped(&mut self) -> Want {
        self.want(Next::Header, HEADER_BYTES)
    }

    fn judge(&self, between_items: bool) -> Completeness {
        if !between_items || !matches!(self.next, Next::Header) {
            Completeness::truncated("the stream ends inside an xbstream chunk")
        } else if !self.open.is_empty() {
            Completeness::truncated(format!("{} files of the backup did not end", self.open.len()))
        } else if !self.info_ended {
            Completeness::truncated("the description of the backup (`xtrabackup_info`) is missing")
        } else {
            Completeness::Complete
        }
    }
}
