//! Redis and Valkey snapshots (RDB): opcode `ff`, then a CRC-64 of everything before it.
//!
//! `redis-cli --rdb -` writes to a pipe what the server sent, and a server that streams without a file marks the
//! end with 40 random characters, which stay in the output. So the CRC stands 8 or 48 bytes before the end.

use super::delay::Delay;
use super::{Completeness, Format, Recognised, Walk};
use crc_fast::{CrcAlgorithm, Digest};

/// Followed by a version: four digits in Redis, three in Valkey.
const MAGICS: [&[u8]; 2] = [b"REDIS0", b"VALKEY"];
const MAGIC_BYTES: usize = 9;
/// The first version with a checksum.
const VERSION_CHECKSUM: u32 = 5;
const OPCODE_EOF: u8 = 0xff;
const CRC_BYTES: usize = 8;
/// The end mark of diskless replication.
const MARK_BYTES: usize = 40;
const END_BYTES: usize = 1 + CRC_BYTES + MARK_BYTES;

pub(super) fn recognise(head: &[u8]) -> Option<Recognised> {
    let magic = MAGICS.iter().find(|magic| head.starts_with(magic))?;
    let version = std::str::from_utf8(head.get(magic.len()..MAGIC_BYTES)?).ok()?.parse().ok()?;
    let walk = Rdb { version, end: Delay::default(), crc: Digest::new(CrcAlgorithm::Crc64Redis) };
    Some(Recognised::new(Format::RedisRdb, walk))
}

struct Rdb {
    version: u32,
    end: Delay<END_BYTES>,
    /// Of all that `end` let through.
    crc: Digest,
}

impl Walk for Rdb {
    fn push(&mut self, bytes: &[u8]) {
        self.end.push(bytes, &mut |through| self.crc.update(through));
    }

    fn finish(self: Box<Self>) -> Completeness {
        let end = self.end.held();
        if self.version < VERSION_CHECKSUM {
            return match end.last() {
                Some(&OPCODE_EOF) => Completeness::unknown("an RDB this old has no checksum"),
                _ => Completeness::truncated("the end of the RDB is missing"),
            };
        }
        let ends = [end, end.get(..end.len().saturating_sub(MARK_BYTES)).unwrap_or_default()];
        let verdicts = ends.map(|end| check_end(end, self.crc));
        if verdicts.contains(&Ended::Checked) {
            Completeness::Complete
        } else if verdicts.contains(&Ended::Unchecked) {
            Completeness::unknown("the RDB ends as it should, but without a checksum (`rdbchecksum no`)")
        } else {
            Completeness::truncated("the end of the RDB is missing, or its checksum is wrong")
        }
    }
}

#[derive(PartialEq, Eq)]
enum Ended {
    Checked,
    /// By a checksum of zero, which says that none was computed.
    Unchecked,
    Not,
}

/// Whether `end` closes a snapshot whose bytes before it have this checksum.
fn check_end(end: &[u8], mut crc: Digest) -> Ended {
    let Some((covered, stored)) = end.split_last_chunk::<CRC_BYTES>() else { return Ended::Not };
    if covered.last() != Some(&OPCODE_EOF) {
        return Ended::Not;
    }
    crc.update(covered);
    match u64::from_le_bytes(*stored) {
        0 => Ended::Unchecked,
        stored if stored == crc.finalize() => Ended::Checked,
        _ => Ended::Not,
    }
}
