//! Squeezing one chunk: raw, zstd, or zstd against a similar chunk (a delta).
//!
//! Every chunk is a frame of its own: no shared dictionary, no context across chunks, so nothing
//! can be learned by watching how well one secret compresses beside another.

use crate::Damage;
use serde::{Deserialize, Serialize};
use zstd_safe::{CCtx, CParameter, DCtx, DParameter};

/// How a record's bytes stand for its chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// The chunk itself.
    Raw = 0,
    /// One zstd frame.
    Zstd = 1,
    /// One zstd frame with another chunk, the base, as prefix. The base is never a delta itself.
    Delta = 3,
}

impl TryFrom<u8> for Codec {
    type Error = Damage;

    fn try_from(byte: u8) -> Result<Codec, Damage> {
        match byte {
            0 => Ok(Codec::Raw),
            1 => Ok(Codec::Zstd),
            3 => Ok(Codec::Delta),
            other => Err(Damage::malformed("record", format!("codec {other} is unknown"))),
        }
    }
}

/// A compressed form is kept only if it is at most this share of the raw one; else the chunk is
/// stored raw, which reads faster.
const WORTH_NUMERATOR: usize = 97;
const WORTH_DENOMINATOR: usize = 100;

/// Compresses chunks one by one; reused, because setting up a zstd context costs as much as
/// compressing a small chunk.
pub struct Squeezer {
    plain: CCtx<'static>,
    level: i32,
}

impl Squeezer {
    /// A squeezer at zstd level `level`.
    pub fn new(level: i32) -> Squeezer {
        let mut plain = CCtx::create();
        set(&mut plain, CParameter::CompressionLevel(level));
        Squeezer { plain, level }
    }

    /// Room `squeeze` and `squeeze_against` need for a chunk of `raw_len` bytes.
    pub fn bound(raw_len: usize) -> usize {
        zstd_safe::compress_bound(raw_len).max(raw_len)
    }

    /// Writes the smaller of raw and zstd to the start of `out`; tells which and how long.
    ///
    /// # Panics
    /// If `out` is shorter than [`Squeezer::bound`].
    pub fn squeeze(&mut self, raw: &[u8], out: &mut [u8]) -> (Codec, usize) {
        match self.plain.compress2(out, raw) {
            Ok(len) if len <= raw.len() * WORTH_NUMERATOR / WORTH_DENOMINATOR => (Codec::Zstd, len),
            // zstd does not fail on a large enough buffer; raw is right even if it did.
            _ => {
                out[..raw.len()].copy_from_slice(raw);
                (Codec::Raw, raw.len())
            }
        }
    }

    /// Writes `raw` as a delta against `base` to the start of `out`; tells how long it became, or
    /// `None` if zstd refused.
    pub fn squeeze_against(&mut self, base: &[u8], raw: &[u8], out: &mut [u8]) -> Option<usize> {
        let mut cctx = CCtx::create();
        set(&mut cctx, CParameter::CompressionLevel(self.level.max(DELTA_LEVEL)));
        set(&mut cctx, CParameter::WindowLog(window_log(base.len() + raw.len())));
        set(&mut cctx, CParameter::EnableLongDistanceMatching(true));
        cctx.ref_prefix(base).ok()?;
        cctx.compress2(out, raw).ok()
    }
}

/// Level of deltas: what the dumps of `docs/performance.md` gained nothing beyond.
const DELTA_LEVEL: i32 = 3;

/// Smallest zstd window that spans `bytes`.
fn window_log(bytes: usize) -> u32 {
    (usize::BITS - bytes.leading_zeros()).clamp(17, 25)
}

fn set(cctx: &mut CCtx<'_>, parameter: CParameter) {
    cctx.set_parameter(parameter).expect("constant parameters are in zstd's range");
}

/// Turns records back into chunks; reused, like [`Squeezer`].
pub struct Expander {
    plain: DCtx<'static>,
}

impl Default for Expander {
    fn default() -> Expander {
        Expander { plain: DCtx::create() }
    }
}

impl Expander {
    /// The chunk of exactly `raw_len` bytes that `squeezed` stands for.
    ///
    /// # Errors
    /// As [`Expander::expand_into`].
    pub fn expand(
        &mut self,
        codec: Codec,
        squeezed: &[u8],
        raw_len: usize,
        base: Option<&[u8]>,
    ) -> Result<Vec<u8>, Damage> {
        let mut raw = Vec::new();
        self.expand_into(codec, squeezed, raw_len, base, &mut raw)?;
        Ok(raw)
    }

    /// The same into a buffer, in place of what was in it.
    ///
    /// `raw_len` bounds the memory: a frame that would grow beyond it, or beyond the buffer if that is
    /// larger, is refused, not followed.
    ///
    /// # Errors
    /// [`Damage`] if the frame is broken, its content has another length, or a base is missing or
    /// not wanted.
    pub fn expand_into(
        &mut self,
        codec: Codec,
        squeezed: &[u8],
        raw_len: usize,
        base: Option<&[u8]>,
        raw: &mut Vec<u8>,
    ) -> Result<(), Damage> {
        let broken = |why: &str| Damage::malformed("compressed chunk", why);
        let zstd = |code| broken(zstd_safe::get_error_name(code));
        raw.clear();
        raw.reserve_exact(raw_len);
        match (codec, base) {
            (Codec::Raw, None) if squeezed.len() == raw_len => raw.extend_from_slice(squeezed),
            (Codec::Raw, None) => {}
            (Codec::Zstd, None) => {
                self.plain.decompress(raw, squeezed).map_err(zstd)?;
            }
            (Codec::Delta, Some(base)) => {
                // Not reused: a context cannot outlive the base it refers to.
                let mut dctx = DCtx::create();
                let window = DParameter::WindowLogMax(27);
                dctx.set_parameter(window).expect("a constant in zstd's range");
                dctx.ref_prefix(base).map_err(zstd)?;
                dctx.decompress(raw, squeezed).map_err(zstd)?;
            }
            (Codec::Delta, None) => return Err(broken("a delta without its base")),
            (_, Some(_)) => return Err(broken("a base for a record that is no delta")),
        }
        if raw.len() == raw_len {
            Ok(())
        } else {
            Err(broken("its content has another length than recorded"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(seed: u32, n: u32) -> Vec<u8> {
        (0..n)
            .flat_map(|i| format!("{i}\t{}\tname {}\n", i.wrapping_mul(seed), i % 97).into_bytes())
            .collect()
    }

    fn there_and_back(raw: &[u8], base: Option<&[u8]>) -> (Codec, usize) {
        let mut out = vec![0; Squeezer::bound(raw.len())];
        let mut squeezer = Squeezer::new(1);
        let (codec, len) = match base {
            None => squeezer.squeeze(raw, &mut out),
            Some(b) => (Codec::Delta, squeezer.squeeze_against(b, raw, &mut out).expect("zstd works")),
        };
        let back = Expander::default().expand(codec, &out[..len], raw.len(), base).expect("sound");
        assert_eq!(back, raw);
        (codec, len)
    }

    #[test]
    fn each_codec_gives_back_what_it_was_given() {
        let text = rows(7, 20_000);
        let (codec, plain) = there_and_back(&text, None);
        assert!(codec == Codec::Zstd && plain < text.len() / 2);
        let mut changed = text.clone();
        for at in (500..changed.len()).step_by(9000) {
            changed[at] ^= 1;
        }
        let (_, delta) = there_and_back(&changed, Some(&text));
        assert!(delta * 20 < plain, "delta {delta}, plain {plain}");
        let mut noise = vec![0; 50_000];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        assert_eq!(there_and_back(&noise, None), (Codec::Raw, 50_000));
        there_and_back(b"", None);
    }

    #[test]
    fn a_bomb_is_refused_at_the_recorded_length() {
        let zeros = vec![0; 4 << 20];
        let mut out = vec![0; Squeezer::bound(zeros.len())];
        let (codec, len) = Squeezer::new(1).squeeze(&zeros, &mut out);
        assert!(Expander::default().expand(codec, &out[..len], 1000, None).is_err());
    }

    #[test]
    fn a_wrong_or_missing_base_is_an_error_not_a_guess() {
        let (base, raw) = (rows(1, 3000), rows(1, 3001));
        let mut out = vec![0; Squeezer::bound(raw.len())];
        let len = Squeezer::new(1).squeeze_against(&base, &raw, &mut out).expect("zstd works");
        let mut expander = Expander::default();
        assert!(expander.expand(Codec::Delta, &out[..len], raw.len(), None).is_err());
        let wrong = rows(5, 10);
        let got = expander.expand(Codec::Delta, &out[..len], raw.len(), Some(&wrong));
        assert!(got.as_ref() != Ok(&raw), "the chunk id check above this catches what zstd cannot");
    }
}
