//! One sealed chunk: portable, so that prune moves it without any key to data.
//!
//! ```text
//! nonce[24] ‖ XChaCha20-Poly1305 ciphertext ‖ tag[16]
//! associated data: "CSTNREC1" ‖ repository id ‖ session of the key ‖ chunk id ‖ codec ‖ kind ‖ u32 raw length [‖ base id]
//! ```
//! Neither pack nor offset is bound, so a record may be copied elsewhere; swapping records is caught
//! by the chunk id, which the reader computes again from the plain bytes.

use crate::Damage;
use crate::codec::Codec;
use crate::envelope::cipher;
use crate::id::{ChunkId, RepoId, SessionId};
use crate::keys::{DataKey, Keyring, Secret32};
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::AeadInOut;
use serde::{Deserialize, Serialize};

/// Bytes a record has before its ciphertext.
pub const NONCE_LEN: usize = 24;
/// Bytes a record has more than the squeezed chunk in it.
pub const OVERHEAD: usize = NONCE_LEN + 16;

/// What a record's chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChunkKind {
    /// Bytes of a stream, under the data key of a session.
    Data = 0,
    /// A piece of a recipe, under the metadata key, so that prune can follow it.
    Recipe = 1,
}

impl TryFrom<u8> for ChunkKind {
    type Error = Damage;

    fn try_from(byte: u8) -> Result<ChunkKind, Damage> {
        match byte {
            0 => Ok(ChunkKind::Data),
            1 => Ok(ChunkKind::Recipe),
            other => Err(Damage::malformed("record", format!("kind {other} is unknown"))),
        }
    }
}

/// What a record is sealed to. Stands in the pack's directory, not in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Name of the chunk.
    pub id: ChunkId,
    /// Data or recipe.
    pub kind: ChunkKind,
    /// How the chunk is squeezed.
    pub codec: Codec,
    /// Length of the plain chunk in bytes.
    pub raw_len: u32,
    /// The base, exactly for [`Codec::Delta`].
    pub base: Option<ChunkId>,
}

impl Binding {
    fn associated(&self, repo: RepoId, session: SessionId) -> Vec<u8> {
        let mut aad = Vec::with_capacity(110);
        aad.extend_from_slice(b"CSTNREC1");
        aad.extend_from_slice(&repo.0);
        aad.extend_from_slice(&session.0);
        aad.extend_from_slice(&self.id.0);
        aad.extend_from_slice(&[self.codec as u8, self.kind as u8]);
        aad.extend_from_slice(&self.raw_len.to_le_bytes());
        if let Some(base) = &self.base {
            aad.extend_from_slice(&base.0);
        }
        aad
    }
}

/// The key of some records, set up once: by session for data, the metadata key for recipes.
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    repo: RepoId,
    session: SessionId,
}

/// Stands in the place of a session for records under the metadata key.
pub const META_SESSION: SessionId = SessionId([0; 16]);

impl Sealer {
    /// For data records of a session.
    pub fn data(repo: RepoId, key: &DataKey) -> Sealer {
        Sealer { cipher: cipher(&key.key), repo, session: key.session }
    }

    /// For recipe records.
    pub fn recipe(keys: &Keyring) -> Sealer {
        Sealer { cipher: cipher(keys.meta()), repo: keys.repo(), session: META_SESSION }
    }

    /// Seals in place: `buffer` holds [`NONCE_LEN`] bytes of room, then the squeezed chunk of
    /// `squeezed_len` bytes, then room for the tag. Returns the record's length.
    ///
    /// `nonce` must be fresh random bytes.
    ///
    /// # Panics
    /// If `buffer` is shorter than `squeezed_len` and [`OVERHEAD`].
    pub fn seal(&self, binding: &Binding, nonce: [u8; 24], buffer: &mut [u8], squeezed_len: usize) -> usize {
        let end = NONCE_LEN + squeezed_len;
        buffer[..NONCE_LEN].copy_from_slice(&nonce);
        let aad = binding.associated(self.repo, self.session);
        let tag = self
            .cipher
            .encrypt_inout_detached(&nonce.into(), &aad, (&mut buffer[NONCE_LEN..end]).into())
            .expect("chunks are far below the cipher's limit");
        buffer[end..end + 16].copy_from_slice(&tag);
        end + 16
    }

    /// Opens a record in place; the squeezed chunk is what is returned.
    ///
    /// # Errors
    /// [`Damage`] if it was changed, belongs to another chunk, or was sealed under another key.
    pub fn open<'a>(&self, binding: &Binding, record: &'a mut [u8]) -> Result<&'a [u8], Damage> {
        let what = "record";
        if record.len() < OVERHEAD {
            return Err(Damage::CutShort { what, have: record.len() as u64, want: OVERHEAD as u64 });
        }
        let end = record.len() - 16;
        let nonce: [u8; 24] = record[..NONCE_LEN].try_into().expect("a slice of 24");
        let tag: [u8; 16] = record[end..].try_into().expect("a slice of 16");
        let aad = binding.associated(self.repo, self.session);
        self.cipher
            .decrypt_inout_detached(&nonce.into(), &aad, (&mut record[NONCE_LEN..end]).into(), &tag.into())
            .map_err(|_| Damage::Mismatch { what })?;
        Ok(&record[NONCE_LEN..end])
    }
}

/// Names chunks. Recipe segments have names of their own, so a dump that happens to contain one
/// cannot be taken for it.
pub fn chunk_id(key: &Secret32, raw: &[u8]) -> ChunkId {
    ChunkId(*blake3::keyed_hash(&key.0, raw).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_opens_for_its_chunk_only() {
        let keys = Keyring::from_root(Secret32([1; 32]), RepoId([2; 16]));
        let session = SessionId::new(1, [1; 10]);
        let data = keys.new_data_key(session, [5; 64]).expect("owner");
        let sealer = Sealer::data(keys.repo(), &data);
        let id = chunk_id(keys.chunk_id().expect("owner"), b"squeezed");
        let binding = Binding { id, kind: ChunkKind::Data, codec: Codec::Raw, raw_len: 8, base: None };
        let mut buffer = vec![0; OVERHEAD + 8];
        buffer[NONCE_LEN..NONCE_LEN + 8].copy_from_slice(b"squeezed");
        let len = sealer.seal(&binding, [9; 24], &mut buffer, 8);
        assert_eq!(len, buffer.len());
        assert_eq!(sealer.open(&binding, &mut buffer.clone()), Ok(&b"squeezed"[..]));
        let base = Some(ChunkId([0; 32]));
        for wrong in [
            Binding { id: ChunkId([0; 32]), ..binding },
            Binding { kind: ChunkKind::Recipe, ..binding },
            Binding { codec: Codec::Zstd, ..binding },
            Binding { raw_len: 9, ..binding },
            Binding { base, ..binding },
        ] {
            assert!(sealer.open(&wrong, &mut buffer.clone()).is_err(), "{wrong:?}");
        }
        assert!(Sealer::recipe(&keys).open(&binding, &mut buffer.clone()).is_err());
        for at in 0..buffer.len() {
            buffer[at] ^= 1;
            assert!(sealer.open(&binding, &mut buffer.clone()).is_err(), "byte {at}");
            buffer[at] ^= 1;
        }
    }
}
