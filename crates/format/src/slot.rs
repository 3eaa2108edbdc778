//! Key slots: a credential locked behind a passphrase, stored with the repository.
//!
//! `keys/<slot>` is JSON in clear but for `wrapped`. The key is Argon2id of the passphrase; a
//! commitment is compared before anything is opened, so no slot opens under two passphrases.

use crate::envelope::cipher;
use crate::id::RepoId;
use crate::keys::{Credential, Keyring, Role, Secret32};
use crate::{Damage, VERSION};
use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::AeadInOut;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

/// Largest slot object that is read, in bytes.
pub const SLOT_BYTES_MAX: u64 = 16 << 10;

/// Cost of a passphrase guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes.
    pub passes: u32,
}

impl Cost {
    /// About a tenth of a second on a current core: for machines.
    pub const MACHINE: Cost = Cost { memory_kib: 64 << 10, passes: 3 };
    /// About 0.7 seconds on a current core: for the owner.
    pub const OWNER: Cost = Cost { memory_kib: 256 << 10, passes: 4 };
    /// What a hostile slot may make us spend at most.
    const MAX: Cost = Cost { memory_kib: 1 << 20, passes: 16 };
}

/// A locked credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    version: u8,
    /// What the credential inside may do.
    pub role: Role,
    /// A name for people.
    pub label: String,
    /// Cost of a guess.
    pub cost: Cost,
    #[serde(with = "hex::serde")]
    salt: [u8; 16],
    #[serde(with = "hex::serde")]
    nonce: [u8; 24],
    #[serde(with = "hex::serde")]
    commitment: [u8; 32],
    #[serde(with = "hex::serde")]
    wrapped: Vec<u8>,
}

impl Slot {
    /// Locks the keys behind a passphrase. `salt` and `nonce` must be fresh random bytes.
    pub fn lock(
        keys: &Keyring,
        label: &str,
        passphrase: &[u8],
        cost: Cost,
        salt: [u8; 16],
        nonce: [u8; 24],
    ) -> Slot {
        let mut slot = Slot {
            version: VERSION,
            role: keys.role(),
            label: label.to_owned(),
            cost,
            salt,
            nonce,
            commitment: [0; 32],
            wrapped: keys.to_credential().reveal().as_bytes().to_vec(),
        };
        let key = slot.stretch(passphrase).expect("our own costs are within Argon2's range");
        slot.commitment = slot.commit(&key, keys.repo());
        let aad = slot.associated(keys.repo());
        let tag = cipher(&key)
            .encrypt_inout_detached(&nonce.into(), &aad, slot.wrapped.as_mut_slice().into())
            .expect("a credential is short");
        slot.wrapped.extend_from_slice(&tag);
        slot
    }

    /// Opens the slot; `None` if the passphrase is not this slot's.
    ///
    /// # Errors
    /// [`Damage`] if the slot was changed or asks for more memory or time than is allowed.
    pub fn unlock(&self, repo: RepoId, passphrase: &[u8]) -> Result<Option<Keyring>, Damage> {
        if self.version > VERSION {
            return Err(Damage::TooNew {
                what: "key slot",
                found: self.version.into(),
                known: VERSION.into(),
            });
        }
        if self.cost.memory_kib > Cost::MAX.memory_kib || self.cost.passes > Cost::MAX.passes {
            return Err(Damage::malformed("key slot", "it asks for more memory or time than is allowed"));
        }
        let key = self.stretch(passphrase).ok_or(Damage::malformed("key slot", "impossible Argon2 costs"))?;
        if !bool::from(self.commit(&key, repo).ct_eq(&self.commitment)) {
            return Ok(None);
        }
        let mut text = self.wrapped.clone();
        let tag = text.split_off(text.len().saturating_sub(16));
        let tag: [u8; 16] = tag.try_into().map_err(|_| Damage::malformed("key slot", "cut short"))?;
        cipher(&key)
            .decrypt_inout_detached(
                &self.nonce.into(),
                &self.associated(repo),
                text.as_mut_slice().into(),
                &tag.into(),
            )
            .map_err(|_| Damage::Mismatch { what: "key slot" })?;
        let text =
            String::from_utf8(text).map_err(|_| Damage::malformed("key slot", "no credential inside"))?;
        Keyring::from_credential(&Credential::new(text)).map(Some)
    }

    /// To the bytes of the object.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("plain fields serialise")
    }

    /// From the bytes of the object.
    pub fn decode(bytes: &[u8]) -> Result<Slot, Damage> {
        serde_json::from_slice(bytes).map_err(|e| Damage::malformed("key slot", e))
    }

    fn stretch(&self, passphrase: &[u8]) -> Option<Secret32> {
        let params = Params::new(self.cost.memory_kib, self.cost.passes, 1, Some(32)).ok()?;
        let mut key = Secret32([0; 32]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(passphrase, &self.salt, &mut key.0).ok()?;
        Some(key)
    }

    fn commit(&self, key: &Secret32, repo: RepoId) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("cistern v1 slot commitment");
        hasher.update(&key.0).update(&self.associated(repo));
        *hasher.finalize().as_bytes()
    }

    /// Everything in clear that must not be changed: version, role, label, cost, salt, nonce.
    fn associated(&self, repo: RepoId) -> Vec<u8> {
        let mut aad = b"CSTNSLOT".to_vec();
        aad.extend_from_slice(&repo.0);
        aad.push(self.version);
        for text in [self.role.to_string().as_str(), &self.label] {
            aad.extend_from_slice(&(text.len() as u32).to_le_bytes());
            aad.extend_from_slice(text.as_bytes());
        }
        aad.extend_from_slice(&self.cost.memory_kib.to_le_bytes());
        aad.extend_from_slice(&self.cost.passes.to_le_bytes());
        aad.extend_from_slice(&self.salt);
        aad.extend_from_slice(&self.nonce);
        aad
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Cost = Cost { memory_kib: 64, passes: 1 };

    fn slot() -> (Keyring, Slot) {
        let keys = Keyring::from_root(Secret32([1; 32]), RepoId([2; 16]));
        let slot = Slot::lock(&keys, "me", b"correct horse", CHEAP, [3; 16], [4; 24]);
        (keys, slot)
    }

    #[test]
    fn opens_with_its_passphrase_only() {
        let (keys, slot) = slot();
        let back = Slot::decode(&slot.encode()).expect("reads its own JSON");
        let opened = back.unlock(keys.repo(), b"correct horse").expect("sound").expect("right passphrase");
        assert_eq!(opened.to_credential().reveal(), keys.to_credential().reveal());
        assert!(back.unlock(keys.repo(), b"wrong").expect("sound").is_none());
        assert!(back.unlock(RepoId([9; 16]), b"correct horse").expect("sound").is_none());
    }

    #[test]
    fn a_changed_slot_does_not_open() {
        let (keys, slot) = slot();
        let other = Slot { role: Role::Push, ..slot.clone() };
        assert!(other.unlock(keys.repo(), b"correct horse").expect("sound").is_none());
        let mut cut = slot.clone();
        cut.wrapped.truncate(10);
        assert!(cut.unlock(keys.repo(), b"correct horse").is_err());
        let greedy = Slot { cost: Cost { memory_kib: u32::MAX, passes: 1 }, ..slot };
        assert!(greedy.unlock(keys.repo(), b"correct horse").is_err(), "refused before it is spent");
    }
}
