//! etcd: `etcdctl snapshot save` is a bbolt database with the SHA-256 of it behind.
//!
//! A database copied as a file has no hash. Its first page says how many pages are in use, so that at least a
//! copy that lacks some is noticed.

use super::delay::Delay;
use super::{Completeness, Format, Recognised, Walk};
use sha2::{Digest, Sha256};

const HASH_BYTES: usize = 32;
/// Databases are whole pages, and pages multiples of this: what is left over is the hash.
const SECTOR_BYTES: u64 = 512;
/// Where bbolt's first meta page keeps its fields, all little-endian, behind a page header of 16 bytes.
const META_AT: usize = 16;
const MAGIC: [u8; 4] = 0xED0C_DAED_u32.to_le_bytes();
const PAGE_BYTES_AT: usize = META_AT + 8;
/// The number of pages ever used: magic, version, page size, flags (4 each), root (16) and freelist (8) before it.
const PAGES_AT: usize = META_AT + 40;

pub(super) fn recognise(head: &[u8]) -> Option<Recognised> {
    if head.get(META_AT..META_AT + MAGIC.len()) != Some(&MAGIC) {
        return None;
    }
    let page_bytes = u32::from_le_bytes(*head.get(PAGE_BYTES_AT..)?.first_chunk()?);
    let pages = u64::from_le_bytes(*head.get(PAGES_AT..)?.first_chunk()?);
    let walk = Snapshot {
        database_bytes: pages.saturating_mul(u64::from(page_bytes)),
        end: Delay::default(),
        hash: Sha256::new(),
        hashed_bytes: 0,
    };
    Some(Recognised::new(Format::EtcdSnapshot, walk))
}

struct Snapshot {
    /// The least a whole database takes.
    database_bytes: u64,
    end: Delay<HASH_BYTES>,
    /// Of all that `end` let through.
    hash: Sha256,
    hashed_bytes: u64,
}

impl Walk for Snapshot {
    fn push(&mut self, bytes: &[u8]) {
        self.end.push(bytes, &mut |through| {
            self.hash.update(through);
            self.hashed_bytes += through.len() as u64;
        });
    }

    fn finish(self: Box<Self>) -> Completeness {
        let len = self.hashed_bytes + self.end.held().len() as u64;
        if self.hashed_bytes.is_multiple_of(SECTOR_BYTES)
            && self.hash.finalize().as_slice() == self.end.held()
        {
            return Completeness::Complete;
        }
        if len < self.database_bytes {
            return Completeness::truncated(format!(
                "etcd's database takes {} bytes, {len} came",
                self.database_bytes
            ));
        }
        match len % SECTOR_BYTES {
            0 => Completeness::unknown("a bare bbolt database: only `etcdctl snapshot save` adds a hash"),
            _ => Completeness::truncated("the hash at the end of the etcd snapshot is missing or wrong"),
        }
    }
}
