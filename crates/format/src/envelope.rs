//! One sealed wrapping for every metadata object: index, session, trash, snapshot, marks.
//!
//! ```text
//! 0   8   "CSTN" and four letters for the kind
//! 8   1   version = 1      9  1 codec (0 raw, 1 zstd)
//! 10  2   key epoch = 0 (reserved)      12  2  domain = 0 (reserved)      14  2  zero
//! 16  16  repository id
//! 32  24  nonce
//! 56  32  commitment: derive_key("cistern v1 envelope commitment", meta key ‖ bytes 0..56)
//! 88  n   XChaCha20-Poly1305 of { u32 body length ‖ body ‖ zeros to the Padmé length }
//! +16     its tag; associated data: bytes 0..88 ‖ the object's key in the store
//! ```
//! The key in the associated data keeps a store from showing one object under another's name; the
//! commitment keeps one envelope from opening under two keys.

use crate::id::RepoId;
use crate::keys::{Keyring, Secret32};
use crate::padme::padded_len;
use crate::{Damage, VERSION};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use subtle::ConstantTimeEq;

/// What an envelope holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Parameters of the repository.
    Config,
    /// Where chunks are.
    Index,
    /// Sketches of chunks that can serve as bases.
    Sketches,
    /// A push that is or was under way.
    Session,
    /// A committed snapshot.
    Snapshot,
    /// The refusal of a session: it can never commit.
    Tombstone,
    /// Tags and holds added or taken away.
    Mark,
    /// A snapshot that is no more.
    Forgotten,
    /// Packs that are condemned, or the sessions to wait for before they go.
    Trash,
    /// What a verification found.
    Verified,
}

impl Kind {
    fn letters(self) -> &'static [u8; 4] {
        match self {
            Kind::Config => b"CONF",
            Kind::Index => b"INDX",
            Kind::Sketches => b"SKCH",
            Kind::Session => b"SESS",
            Kind::Snapshot => b"SNAP",
            Kind::Tombstone => b"TOMB",
            Kind::Mark => b"MARK",
            Kind::Forgotten => b"FRGT",
            Kind::Trash => b"TRSH",
            Kind::Verified => b"VRFY",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Kind::Config => "configuration",
            Kind::Index => "index object",
            Kind::Sketches => "sketch object",
            Kind::Session => "session",
            Kind::Snapshot => "snapshot",
            Kind::Tombstone => "tombstone",
            Kind::Mark => "mark",
            Kind::Forgotten => "forget marker",
            Kind::Trash => "trash list",
            Kind::Verified => "verify report",
        }
    }
}

const HEADER_LEN: usize = 88;
const TAG_LEN: usize = 16;
const CODEC_RAW: u8 = 0;
const CODEC_ZSTD: u8 = 1;

/// Largest body, in bytes, that will be unpacked.
pub const BODY_BYTES_MAX: usize = 256 << 20;

/// Seals `body` as the object that will be stored under `key`.
///
/// `nonce` must be 24 fresh random bytes.
pub fn seal(keys: &Keyring, kind: Kind, key: &str, nonce: [u8; 24], body: &[u8]) -> Vec<u8> {
    let (codec, packed) = match zstd_compress(body) {
        Some(smaller) => (CODEC_ZSTD, smaller),
        None => (CODEC_RAW, body.to_vec()),
    };
    let mut object = header(kind, codec, keys.repo(), &nonce);
    let commitment = commitment(keys.meta(), &object);
    object.extend_from_slice(&commitment);
    let inner_len = padded_len(4 + packed.len() as u64) as usize;
    object.extend_from_slice(&(packed.len() as u32).to_le_bytes());
    object.extend_from_slice(&packed);
    object.resize(HEADER_LEN + inner_len, 0);
    let (head, inner) = object.split_at_mut(HEADER_LEN);
    let tag = cipher(keys.meta())
        .encrypt_inout_detached(&nonce.into(), &associated(head, key), inner.into())
        .expect("metadata is far below the cipher's limit");
    object.extend_from_slice(&tag);
    object
}

/// The kind of a sealed object, without opening it. `None` if it is no envelope of ours.
pub fn kind_of(object: &[u8]) -> Option<Kind> {
    let letters = object.get(..8)?.strip_prefix(b"CSTN")?;
    [
        Kind::Config,
        Kind::Index,
        Kind::Sketches,
        Kind::Session,
        Kind::Snapshot,
        Kind::Tombstone,
        Kind::Mark,
        Kind::Forgotten,
        Kind::Trash,
        Kind::Verified,
    ]
    .into_iter()
    .find(|k| k.letters() == letters)
}

/// Opens the object found under `key`.
///
/// # Errors
/// [`Damage::WrongKey`] if another key sealed it, [`Damage::Mismatch`] if it was changed or stood
/// under another name, [`Damage::TooNew`] if a later version wrote it.
pub fn open(keys: &Keyring, kind: Kind, key: &str, object: &[u8]) -> Result<Vec<u8>, Damage> {
    let what = kind.what();
    let want = (HEADER_LEN + 4 + TAG_LEN) as u64;
    if (object.len() as u64) < want {
        return Err(Damage::CutShort { what, have: object.len() as u64, want });
    }
    let (head, rest) = object.split_at(HEADER_LEN);
    if &head[..4] != b"CSTN" || &head[4..8] != kind.letters() {
        return Err(Damage::malformed(what, "its first bytes are those of something else"));
    }
    if head[8] > VERSION {
        return Err(Damage::TooNew { what, found: head[8].into(), known: VERSION.into() });
    }
    if head[16..32] != keys.repo().0 {
        return Err(Damage::malformed(what, "it belongs to another repository"));
    }
    if !bool::from(commitment(keys.meta(), &head[..56]).ct_eq(&head[56..])) {
        return Err(Damage::WrongKey { what });
    }
    let nonce: [u8; 24] = head[32..56].try_into().expect("a slice of 24");
    let (inner, tag) = rest.split_at(rest.len() - TAG_LEN);
    let tag: [u8; TAG_LEN] = tag.try_into().expect("split off as many");
    let mut inner = inner.to_vec();
    cipher(keys.meta())
        .decrypt_inout_detached(
            &nonce.into(),
            &associated(head, key),
            inner.as_mut_slice().into(),
            &tag.into(),
        )
        .map_err(|_| Damage::Mismatch { what })?;
    unpack(what, head[9], &inner)
}

fn unpack(what: &'static str, codec: u8, inner: &[u8]) -> Result<Vec<u8>, Damage> {
    let mut r = crate::reader::Reader::new(what, inner);
    let len = r.u32()? as usize;
    let packed = r.take(len)?;
    match codec {
        CODEC_RAW => Ok(packed.to_vec()),
        CODEC_ZSTD => {
            let len = zstd_safe::get_frame_content_size(packed).ok().flatten().unwrap_or(u64::MAX);
            if len > BODY_BYTES_MAX as u64 {
                return Err(Damage::malformed(what, "it would unpack to more than is allowed"));
            }
            let mut body = Vec::with_capacity(len as usize);
            zstd_safe::decompress(&mut body, packed)
                .map_err(|code| Damage::malformed(what, zstd_safe::get_error_name(code)))?;
            Ok(body)
        }
        other => Err(Damage::malformed(what, format!("codec {other} is unknown"))),
    }
}

fn zstd_compress(body: &[u8]) -> Option<Vec<u8>> {
    if body.len() < 128 {
        return None;
    }
    let mut out = Vec::with_capacity(zstd_safe::compress_bound(body.len()));
    zstd_safe::compress(&mut out, body, 1).ok().filter(|&n| n < body.len()).map(|_| out)
}

fn header(kind: Kind, codec: u8, repo: RepoId, nonce: &[u8; 24]) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEADER_LEN);
    head.extend_from_slice(b"CSTN");
    head.extend_from_slice(kind.letters());
    head.extend_from_slice(&[VERSION, codec, 0, 0, 0, 0, 0, 0]);
    head.extend_from_slice(&repo.0);
    head.extend_from_slice(nonce);
    head
}

fn commitment(key: &Secret32, head: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("cistern v1 envelope commitment");
    hasher.update(&key.0).update(head);
    *hasher.finalize().as_bytes()
}

fn associated(head: &[u8], key: &str) -> Vec<u8> {
    [head, key.as_bytes()].concat()
}

pub(crate) fn cipher(key: &Secret32) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&key.0.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(byte: u8) -> Keyring {
        Keyring::from_root(Secret32([byte; 32]), RepoId([2; 16]))
    }

    #[test]
    fn opens_under_its_own_key_and_name_only() {
        for body in [&b""[..], b"short", &[7; 5000]] {
            let object = seal(&keys(1), Kind::Index, "index/A", [3; 24], body);
            assert_eq!(kind_of(&object), Some(Kind::Index));
            assert_eq!(open(&keys(1), Kind::Index, "index/A", &object).as_deref(), Ok(body));
            let what = "index object";
            assert_eq!(open(&keys(1), Kind::Index, "index/B", &object), Err(Damage::Mismatch { what }));
            assert_eq!(open(&keys(9), Kind::Index, "index/A", &object), Err(Damage::WrongKey { what }));
            assert!(open(&keys(1), Kind::Trash, "index/A", &object).is_err());
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let object = seal(&keys(1), Kind::Session, "sessions/A", [3; 24], b"some body");
        for at in 0..object.len() {
            let mut flipped = object.clone();
            flipped[at] ^= 1;
            assert!(open(&keys(1), Kind::Session, "sessions/A", &flipped).is_err(), "byte {at}");
            assert!(open(&keys(1), Kind::Session, "sessions/A", &object[..at]).is_err(), "cut at {at}");
        }
    }
}
