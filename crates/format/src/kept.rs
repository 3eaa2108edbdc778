//! The key of one past session, put away by the machine that pushed.
//!
//! A push credential cannot open what is stored, not even what it stored itself. A machine that keeps
//! the keys of its own sessions can read those chunks again, and only those: enough to store the next
//! push as differences to them. The file is no part of a repository.
//!
//! ```text
//! 0   8   "CSTNKEPT"
//! 8   1   version = 1
//! 9   24  nonce
//! 33  32  XChaCha20-Poly1305 of the session's data key, under a key derived from the push keys
//! +16     its tag; associated data: bytes 0..33 ‖ repository id ‖ session id
//! ```

use crate::id::SessionId;
use crate::keys::{DataKey, Keyring, Secret32};
use crate::reader::Reader;
use crate::{Damage, VERSION};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};

const MAGIC: &[u8; 8] = b"CSTNKEPT";
const WHAT: &str = "kept session key";

/// Length of a kept key in bytes.
pub const KEPT_LEN: usize = 8 + 1 + 24 + 32 + 16;

/// A session's key, read back.
#[derive(Clone, Debug)]
pub struct KeptKey {
    session: SessionId,
    key: Secret32,
}

impl KeptKey {
    /// The data key it stands for, with the sealed form the packs carry.
    pub fn data_key(&self, sealed: [u8; 80]) -> DataKey {
        DataKey { session: self.session, sealed, key: self.key.clone() }
    }
}

/// Seals the key of a session for the machine that keeps it; `None` for keys that cannot push.
///
/// `nonce` must be 24 fresh random bytes.
pub fn put_away(keys: &Keyring, key: &DataKey, nonce: [u8; 24]) -> Option<Vec<u8>> {
    let cipher = XChaCha20Poly1305::new((&keys.kept()?.0).into());
    let mut file = Vec::with_capacity(KEPT_LEN);
    file.extend_from_slice(MAGIC);
    file.push(VERSION);
    file.extend_from_slice(&nonce);
    let associated = associated(&file, keys, key.session);
    file.extend_from_slice(&key.key.0);
    let secret = file.split_at_mut(MAGIC.len() + 1 + nonce.len()).1;
    let tag = cipher
        .encrypt_inout_detached(&nonce.into(), &associated, secret.into())
        .expect("32 bytes are far below the cipher's limit");
    file.extend_from_slice(&tag);
    Some(file)
}

/// Reads what [`put_away`] made for `session`.
///
/// # Errors
/// [`Damage`] if it was changed, belongs to another session or repository, or `keys` cannot push.
pub fn take_up(keys: &Keyring, session: SessionId, file: &[u8]) -> Result<KeptKey, Damage> {
    let kept = keys.kept().ok_or(Damage::WrongKey { what: WHAT })?;
    let mut reader = Reader::new(WHAT, file);
    if reader.array::<8>()? != *MAGIC {
        return Err(Damage::malformed(WHAT, "it does not begin as one"));
    }
    match reader.u8()? {
        VERSION => {}
        found => return Err(Damage::TooNew { what: WHAT, found: found.into(), known: VERSION.into() }),
    }
    let (nonce, mut key, tag) = (reader.array::<24>()?, reader.array::<32>()?, reader.array::<16>()?);
    reader.end()?;
    XChaCha20Poly1305::new((&kept.0).into())
        .decrypt_inout_detached(
            &nonce.into(),
            &associated(&file[..33], keys, session),
            key.as_mut_slice().into(),
            &tag.into(),
        )
        .map_err(|_| Damage::Mismatch { what: WHAT })?;
    Ok(KeptKey { session, key: Secret32(key) })
}

fn associated(head: &[u8], keys: &Keyring, session: SessionId) -> Vec<u8> {
    [head, &keys.repo().0, &session.0].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RepoId;
    use crate::keys::Role;

    fn push_keys(root: u8) -> Keyring {
        Keyring::from_root(Secret32([root; 32]), RepoId([2; 16])).restrict(Role::Push).expect("an owner's")
    }

    #[test]
    fn a_kept_key_opens_for_its_session_and_credential_alone() {
        let keys = push_keys(1);
        let (session, other) = (SessionId([3; 16]), SessionId([4; 16]));
        let key = keys.new_data_key(session, [5; 64]).expect("push keys make sessions");
        let file = put_away(&keys, &key, [6; 24]).expect("push keys can keep");
        assert_eq!(file.len(), KEPT_LEN);
        let back = take_up(&keys, session, &file).expect("just made").data_key(key.sealed);
        assert_eq!(back.key.0, key.key.0);
        assert!(!file.windows(32).any(|w| w == key.key.0), "it is sealed");
        assert!(take_up(&keys, other, &file).is_err());
        assert!(take_up(&push_keys(9), session, &file).is_err());
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(take_up(&keys, session, &changed).is_err(), "byte {at}");
        }
        let maintain = keys.restrict(Role::Maintain).expect("any");
        assert!(put_away(&maintain, &key, [6; 24]).is_none());
        assert!(take_up(&maintain, session, &file).is_err());
    }
}
