//! Content-defined cutting: bytes pushed in, cut points fall out.
//!
//! FastCDC (Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based
//! Storage Systems", IEEE TPDS 2020) with a gear table of our own, derived from a repository key.
//! The keyed table raises the bar for guessing content from chunk lengths; lengths themselves are
//! hidden by fixed-size packs and sealed directories, not by this.

use crate::Damage;
use fastcdc::v2020;
use serde::{Deserialize, Serialize};

/// Smallest, average and largest chunk. Part of a repository's configuration: all writers of one
/// repository cut alike, or nothing deduplicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkSizes {
    /// No chunk but the last of a stream is smaller, in bytes.
    pub min_bytes: u32,
    /// Average on random data, in bytes; a power of two.
    pub avg_bytes: u32,
    /// No chunk is larger, in bytes.
    pub max_bytes: u32,
}

/// Largest chunk any repository may have, in bytes. Bounds what one record can make a reader allocate.
pub const CHUNK_BYTES_MAX: u32 = 8 << 20;

impl ChunkSizes {
    /// A quarter and four times the average around it.
    ///
    /// # Errors
    /// If `avg_bytes` is not a power of two from 16 KiB to 2 MiB.
    pub fn around(avg_bytes: u32) -> Result<ChunkSizes, Damage> {
        let sizes =
            ChunkSizes { min_bytes: avg_bytes / 4, avg_bytes, max_bytes: avg_bytes.saturating_mul(4) };
        sizes.check()?;
        Ok(sizes)
    }

    /// Refuses sizes the cutter was not made for, such as those of a hostile configuration.
    pub fn check(&self) -> Result<(), Damage> {
        let ok = self.avg_bytes.is_power_of_two()
            && (16 << 10..=2 << 20).contains(&self.avg_bytes)
            && self.min_bytes >= 4096
            && self.min_bytes < self.avg_bytes
            && self.avg_bytes < self.max_bytes
            && self.max_bytes <= CHUNK_BYTES_MAX
            && self.min_bytes.is_multiple_of(2)
            && self.max_bytes.is_multiple_of(2);
        if ok { Ok(()) } else { Err(Damage::malformed("chunk sizes", format!("{self:?}"))) }
    }
}

/// Finds where chunks end. Holds no bytes of the stream.
pub struct Cutter {
    sizes: ChunkSizes,
    gear: Box<[u64; 256]>,
    gear_shifted: Box<[u64; 256]>,
    mask_small: u64,
    mask_large: u64,
}

impl Cutter {
    /// A cutter for these sizes, with the table grown from `gear_key`.
    pub fn new(sizes: ChunkSizes, gear_key: &[u8; 32]) -> Cutter {
        let gear = keyed_table(gear_key);
        let gear_shifted = Box::new(gear.map(|g| g << 1));
        let (mask_small, mask_large) =
            v2020::select_masks(sizes.avg_bytes as usize, v2020::Normalization::Level1);
        Cutter { sizes, gear, gear_shifted, mask_small, mask_large }
    }

    /// Length of the first chunk of `bytes`, or `None` when more bytes are needed to tell.
    ///
    /// `at_end` says that nothing follows `bytes`. The answer depends on content alone, never on
    /// how the stream was split into buffers.
    pub fn cut(&self, bytes: &[u8], at_end: bool) -> Option<usize> {
        let max = self.sizes.max_bytes as usize;
        if bytes.is_empty() || (bytes.len() < max && !at_end) {
            return None;
        }
        let (_, len) = v2020::cut_gear(
            bytes,
            self.sizes.min_bytes as usize,
            self.sizes.avg_bytes as usize,
            max,
            self.mask_small,
            self.mask_large,
            self.mask_small << 1,
            self.mask_large << 1,
            &self.gear[..],
            &self.gear_shifted[..],
        );
        Some(len)
    }

    /// The sizes this cutter was made for.
    pub fn sizes(&self) -> ChunkSizes {
        self.sizes
    }
}

/// 256 words from the extended output of BLAKE3 under `key`.
pub(crate) fn keyed_table(key: &[u8; 32]) -> Box<[u64; 256]> {
    let mut bytes = [0u8; 2048];
    blake3::Hasher::new_keyed(key).finalize_xof().fill(&mut bytes);
    let mut table = Box::new([0u64; 256]);
    for (word, eight) in table.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(eight.try_into().expect("chunks of eight"));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes with no structure, from a fixed key.
    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new_keyed(&[9; 32]).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn lengths(cutter: &Cutter, mut bytes: &[u8]) -> Vec<usize> {
        let mut all = Vec::new();
        while let Some(n) = cutter.cut(bytes, true) {
            all.push(n);
            bytes = &bytes[n..];
        }
        all
    }

    #[test]
    fn cut_points_are_frozen() {
        // Other numbers here mean that no repository deduplicates against its own past any more.
        let cutter = Cutter::new(ChunkSizes::around(16 << 10).expect("legal"), &[1; 32]);
        assert_eq!(
            lengths(&cutter, &noise(200_000)),
            [17349, 27212, 33962, 15018, 20194, 17236, 32981, 16323, 7030, 12695]
        );
    }

    #[test]
    fn an_insertion_moves_only_the_cuts_around_it() {
        let cutter = Cutter::new(ChunkSizes::around(16 << 10).expect("legal"), &[1; 32]);
        let before = noise(1 << 20);
        let mut after = before.clone();
        after.splice(300_000..300_000, *b"inserted row");
        let ends = |l: Vec<usize>| {
            l.iter()
                .scan(0, |s, n| {
                    *s += n;
                    Some(*s)
                })
                .collect::<Vec<_>>()
        };
        let (a, b) = (ends(lengths(&cutter, &before)), ends(lengths(&cutter, &after)));
        let same = a.iter().filter(|&&e| b.contains(&if e > 300_000 { e + 12 } else { e })).count();
        assert!(same >= a.len() - 3, "{same} of {}", a.len());
    }

    #[test]
    fn buffering_does_not_move_cuts() {
        let cutter = Cutter::new(ChunkSizes::around(16 << 10).expect("legal"), &[1; 32]);
        let bytes = noise(500_000);
        let (mut at, mut got) = (0, Vec::new());
        while at < bytes.len() {
            let mut window = 1000;
            let n = loop {
                let end = (at + window).min(bytes.len());
                if let Some(n) = cutter.cut(&bytes[at..end], end == bytes.len()) {
                    break n;
                }
                window += 777;
            };
            got.push(n);
            at += n;
        }
        assert_eq!(got, lengths(&cutter, &bytes));
    }

    #[test]
    fn hostile_sizes_are_refused() {
        for avg in [0, 1, 3 << 16, 8 << 10, 4 << 20, u32::MAX] {
            assert!(ChunkSizes::around(avg).is_err(), "{avg}");
        }
    }
}
