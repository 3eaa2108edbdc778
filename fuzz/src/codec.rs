//! Squeezed chunks made of anything, against bases made of anything.

use arbitrary::{Arbitrary as _, Result, Unstructured};
use cistern_format::chunk::CHUNK_BYTES_MAX;
use cistern_format::codec::{Codec, Expander, Squeezer};

/// Expands what was never squeezed, or with another base than it was squeezed with.
pub fn run(input: &[u8]) {
    let mut u = Unstructured::new(input);
    let _ = if u.ratio(1, 4).unwrap_or(false) { sound(u) } else { hostile(u) };
}

fn hostile(mut u: Unstructured<'_>) -> Result<()> {
    let codec = *u.choose(&[Codec::Raw, Codec::Zstd, Codec::Delta])?;
    let raw_len = u32::arbitrary(&mut u)? % (CHUNK_BYTES_MAX + 1);
    let raw_len = if u.ratio(1, 8)? { raw_len } else { raw_len % 5000 };
    let base = if codec == Codec::Delta { Some(<&[u8]>::arbitrary(&mut u)?) } else { None };
    check(codec, u.take_rest(), raw_len as usize, base);
    Ok(())
}

fn sound(mut u: Unstructured<'_>) -> Result<()> {
    let base = <&[u8]>::arbitrary(&mut u)?;
    let other = <&[u8]>::arbitrary(&mut u)?;
    let raw = u.take_rest();
    let mut out = vec![0; Squeezer::bound(raw.len())];
    let mut squeezer = Squeezer::new(1);
    let (codec, len) = squeezer.squeeze(raw, &mut out);
    assert_eq!(Expander::default().expand(codec, &out[..len], raw.len(), None).as_deref(), Ok(raw));
    if let Some(len) = squeezer.squeeze_against(base, raw, &mut out) {
        let squeezed = &out[..len];
        let expanded = Expander::default().expand(Codec::Delta, squeezed, raw.len(), Some(base));
        assert_eq!(expanded.as_deref(), Ok(raw));
        check(Codec::Delta, squeezed, raw.len(), Some(other));
    }
    Ok(())
}

/// Whatever comes out has the length it was recorded with, twice the same.
fn check(codec: Codec, squeezed: &[u8], raw_len: usize, base: Option<&[u8]>) {
    let mut expander = Expander::default();
    let expanded = expander.expand(codec, squeezed, raw_len, base);
    if let Ok(raw) = &expanded {
        assert_eq!(raw.len(), raw_len);
    }
    assert_eq!(expander.expand(codec, squeezed, raw_len, base), expanded, "a failure leaves no trace");
}
