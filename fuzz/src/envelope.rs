//! Envelopes: ones nobody sealed, ones that were changed, and rightly sealed ones with nonsense inside.

use crate::keys;
use arbitrary::{Arbitrary as _, Result, Unstructured};
use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305};
use cistern_format::envelope::{BODY_BYTES_MAX, Kind, kind_of, open, seal};

/// Letters and kinds, as `docs/format.md` lists them.
const KINDS: [(&[u8; 4], Kind); 10] = [
    (b"CONF", Kind::Config),
    (b"INDX", Kind::Index),
    (b"SKCH", Kind::Sketches),
    (b"SESS", Kind::Session),
    (b"SNAP", Kind::Snapshot),
    (b"TOMB", Kind::Tombstone),
    (b"MARK", Kind::Mark),
    (b"FRGT", Kind::Forgotten),
    (b"TRSH", Kind::Trash),
    (b"VRFY", Kind::Verified),
];

/// A name that every envelope here stands under.
const KEY: &str = "marks/01";

pub fn run(input: &[u8]) {
    let mut u = Unstructured::new(input);
    let _ = match u.int_in_range(0..=2).unwrap_or(0) {
        0 => unsealed(u),
        1 => changed(u),
        _ => forged(u),
    };
}

fn unsealed(mut u: Unstructured<'_>) -> Result<()> {
    let (_, kind) = *u.choose(&KINDS)?;
    let object = u.take_rest();
    if let Some(found) = kind_of(object) {
        assert!(KINDS.contains(&(object[4..8].try_into().unwrap(), found)));
    }
    if let Ok(body) = open(&keys(), kind, KEY, object) {
        assert!(body.len() <= BODY_BYTES_MAX);
    }
    Ok(())
}

fn changed(mut u: Unstructured<'_>) -> Result<()> {
    let (_, kind) = *u.choose(&KINDS)?;
    let (at, change) = (usize::arbitrary(&mut u)?, u8::arbitrary(&mut u)?);
    let body = u.take_rest();
    let keys = keys();
    let mut object = seal(&keys, kind, KEY, [3; 24], body);
    assert_eq!(open(&keys, kind, KEY, &object).as_deref(), Ok(body));
    let len = object.len();
    object[at % len] ^= change;
    assert_eq!(open(&keys, kind, KEY, &object).is_ok(), change == 0, "a changed byte is noticed");
    Ok(())
}

fn forged(mut u: Unstructured<'_>) -> Result<()> {
    let (letters, kind) = *u.choose(&KINDS)?;
    let codec = if u.ratio(7, 8)? { u.int_in_range(0..=1)? } else { u8::arbitrary(&mut u)? };
    let lie = if u.ratio(1, 4)? { Some(u32::arbitrary(&mut u)?) } else { None };
    let packed = u.take_rest();
    let len = lie.unwrap_or(packed.len() as u32);
    let inner = [&len.to_le_bytes(), packed].concat();
    let opened = open(&keys(), kind, KEY, &sealed(letters, codec, &inner));
    match opened {
        Ok(body) if codec == 0 => assert_eq!(body, packed[..len as usize]),
        Ok(body) => assert!(codec == 1 && body.len() <= BODY_BYTES_MAX),
        Err(_) => assert!(codec != 0 || len as usize > packed.len(), "nothing was wrong with it"),
    }
    Ok(())
}

/// An envelope with a right seal around `inner`, made as `docs/format.md` says.
fn sealed(letters: &[u8; 4], codec: u8, inner: &[u8]) -> Vec<u8> {
    let (keys, nonce) = (keys(), [3; 24]);
    let mut object = [b"CSTN", &letters[..], &[1, codec, 0, 0, 0, 0, 0, 0], &keys.repo().0, &nonce].concat();
    let mut commitment = blake3::Hasher::new_derive_key("cistern v1 envelope commitment");
    commitment.update(&keys.meta().0).update(&object);
    object.extend_from_slice(commitment.finalize().as_bytes());
    let associated = [&object, KEY.as_bytes()].concat();
    let mut inner = inner.to_vec();
    let tag = XChaCha20Poly1305::new(&keys.meta().0.into())
        .encrypt_inout_detached(&nonce.into(), &associated, inner.as_mut_slice().into())
        .expect("a short text");
    object.extend_from_slice(&inner);
    object.extend_from_slice(&tag);
    object
}
