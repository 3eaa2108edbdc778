//! A few bytes that tell which chunks are alike: the base finder's memory.
//!
//! Gear hashes of a chunk are sampled one in 512, and the smallest eight kept (bottom-k sketch,
//! Broder, "On the resemblance and containment of documents", 1997). Two chunks that share most of
//! their rows share most of their smallest hashes. The table is keyed: a sketch tells a store nothing.
//!
//! Losing sketches costs space on the next push, never data.

use crate::Damage;
use crate::chunk::keyed_table;
use crate::id::ChunkId;
use crate::keys::Secret32;
use crate::reader::Reader;

/// Hashes in a sketch.
pub const FEATURES: usize = 8;
/// Chunks shorter than this get no sketch: a delta would save little and cost a seek.
pub const CHUNK_BYTES_MIN: usize = 4096;
/// Bytes a gear hash of 64 bits remembers: older ones are shifted out of it.
const WINDOW: usize = 64;
/// Parts of a chunk that are hashed side by side, so that the processor need not wait for one sum
/// before it begins the next.
const LANES: usize = 4;

/// The smallest hashes of a chunk, ascending by the order they were picked in; zeros fill up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sketch(pub [u32; FEATURES]);

/// Makes sketches.
pub struct Sketcher {
    table: Box<[u64; 256]>,
}

impl Sketcher {
    /// With the table grown from the repository's sketch key.
    pub fn new(key: &Secret32) -> Sketcher {
        Sketcher { table: keyed_table(&key.0) }
    }

    /// The sketch of a chunk; `None` if the chunk is too short or too uniform to have one.
    pub fn sketch(&self, chunk: &[u8]) -> Option<Sketch> {
        if chunk.len() < CHUNK_BYTES_MIN {
            return None;
        }
        let mut smallest = [u64::MAX; FEATURES];
        self.sample(chunk, &mut |hash| insert(&mut smallest, hash.wrapping_mul(MIX)));
        let mut features = [0; FEATURES];
        for (feature, hash) in features.iter_mut().zip(smallest) {
            // The top bits chose the hash; the bits below tell it from others.
            *feature = if hash == u64::MAX { 0 } else { (hash >> 8) as u32 };
        }
        (smallest[0] != u64::MAX).then_some(Sketch(features))
    }
}

impl Sketcher {
    /// Calls `sampled` with one in 512 of the gear hashes of all windows of `chunk`.
    fn sample(&self, chunk: &[u8], sampled: &mut dyn FnMut(u64)) {
        let lane_len = chunk.len() / LANES;
        let mut hashes = [0u64; LANES];
        // A lane starts with what the one before it ends with, so that no window is missed.
        for (lane, hash) in hashes.iter_mut().enumerate() {
            let start = lane * lane_len;
            for &byte in &chunk[start.saturating_sub(WINDOW)..start] {
                *hash = self.roll(*hash, byte);
            }
        }
        let (first, rest) = chunk.split_at(lane_len);
        let (second, rest) = rest.split_at(lane_len);
        let (third, rest) = rest.split_at(lane_len);
        let (fourth, tail) = rest.split_at(lane_len);
        let lanes = first.iter().zip(second).zip(third.iter().zip(fourth));
        for ((&a, &b), (&c, &d)) in lanes {
            for (hash, byte) in hashes.iter_mut().zip([a, b, c, d]) {
                *hash = self.roll(*hash, byte);
                if *hash >> 55 == 0 {
                    sampled(*hash);
                }
            }
        }
        for &byte in tail {
            hashes[LANES - 1] = self.roll(hashes[LANES - 1], byte);
            if hashes[LANES - 1] >> 55 == 0 {
                sampled(hashes[LANES - 1]);
            }
        }
    }

    fn roll(&self, hash: u64, byte: u8) -> u64 {
        (hash << 1).wrapping_add(self.table[byte as usize])
    }
}

/// An odd constant near 2^64 divided by the golden ratio: spreads sampled hashes evenly (Knuth, TAOCP 3, 6.4).
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

fn insert(smallest: &mut [u64; FEATURES], hash: u64) {
    if hash >= smallest[FEATURES - 1] || smallest.contains(&hash) {
        return;
    }
    let at = smallest.partition_point(|&s| s < hash);
    smallest.copy_within(at..FEATURES - 1, at + 1);
    smallest[at] = hash;
}

/// What one push remembers for the next: the chunks it stored whole, in stream order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SketchList {
    /// Keyed digest of the snapshot's name: whose dumps these chunks are from.
    pub series: [u8; 16],
    /// How many snapshots of the name there were before.
    pub sequence: u64,
    /// Chunk and sketch.
    pub sketches: Vec<(ChunkId, Sketch)>,
}

/// Which series a name is, without telling the name.
pub fn series(keys: &crate::keys::Keyring, name: &str) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key("cistern v1 series");
    hasher.update(&keys.meta().0).update(name.as_bytes());
    hasher.finalize().as_bytes()[..16].try_into().expect("32 bytes have 16")
}

impl SketchList {
    /// To the body of a sketch object: `series[16] ‖ u64 sequence ‖ u32 n ‖ n × (chunk id[32] ‖ 8 × u32)`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.series.to_vec();
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.extend_from_slice(&(self.sketches.len() as u32).to_le_bytes());
        for (id, sketch) in &self.sketches {
            out.extend_from_slice(&id.0);
            sketch.0.iter().for_each(|f| out.extend_from_slice(&f.to_le_bytes()));
        }
        out
    }

    /// From the body of a sketch object.
    pub fn decode(body: &[u8]) -> Result<SketchList, Damage> {
        let mut r = Reader::new("sketch object", body);
        let (series, sequence) = (r.array()?, r.u64()?);
        let mut sketches = Vec::new();
        for _ in 0..r.count(32 + 4 * FEATURES)? {
            let id = ChunkId(r.array()?);
            let mut sketch = Sketch([0; FEATURES]);
            for feature in &mut sketch.0 {
                *feature = r.u32()?;
            }
            sketches.push((id, sketch));
        }
        r.end()?;
        Ok(SketchList { series, sequence, sketches })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(seed: u64, n: u64) -> Vec<u8> {
        let row = |i: u64| format!("{i}\t{}\tabc\n", blake3::hash(&(i ^ seed << 40).to_le_bytes()));
        (0..n).flat_map(|i| row(i).into_bytes()).collect()
    }

    fn shared(a: Sketch, b: Sketch) -> usize {
        a.0.iter().filter(|f| **f != 0 && b.0.contains(f)).count()
    }

    #[test]
    fn alike_chunks_have_alike_sketches_and_others_do_not() {
        let sketcher = Sketcher::new(&Secret32([1; 32]));
        let old = rows(1, 7000);
        let mut new = old.clone();
        for at in (0..new.len()).step_by(20_000).rev() {
            new.splice(at..at + 3, *b"five5");
        }
        let sketch = |bytes: &[u8]| sketcher.sketch(bytes).expect("long enough");
        assert!(shared(sketch(&old), sketch(&new)) >= 5);
        assert_eq!(shared(sketch(&old), sketch(&rows(2, 7000))), 0);
        let other_key = Sketcher::new(&Secret32([2; 32])).sketch(&old).expect("long enough");
        assert_eq!(shared(sketch(&old), other_key), 0, "sketches are keyed");
    }

    #[test]
    fn lanes_see_every_window_once() {
        let sketcher = Sketcher::new(&Secret32([1; 32]));
        for len in [4096, 4097, 50_003] {
            let chunk = &rows(3, 2000)[..len];
            let (mut one, mut hash) = (Vec::new(), 0);
            for &byte in chunk {
                hash = sketcher.roll(hash, byte);
                if hash >> 55 == 0 {
                    one.push(hash);
                }
            }
            let mut lanes = Vec::new();
            sketcher.sample(chunk, &mut |hash| lanes.push(hash));
            one.sort_unstable();
            lanes.sort_unstable();
            assert_eq!(one, lanes);
        }
    }

    #[test]
    fn short_and_uniform_chunks_have_none() {
        let sketcher = Sketcher::new(&Secret32([1; 32]));
        assert_eq!(sketcher.sketch(&rows(1, 10)), None);
        let zeros = sketcher.sketch(&vec![0; 1 << 20]);
        assert!(zeros.is_none_or(|s| s.0.iter().filter(|&&f| f != 0).count() <= 1));
    }

    #[test]
    fn a_list_reads_back() {
        let list = SketchList {
            series: [1; 16],
            sequence: 9,
            sketches: vec![(ChunkId([2; 32]), Sketch([3; 8])); 4],
        };
        let bytes = list.encode();
        assert_eq!(SketchList::decode(&bytes), Ok(list));
        assert!((0..bytes.len()).all(|cut| SketchList::decode(&bytes[..cut]).is_err()));
    }
}
