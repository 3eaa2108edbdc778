//! Key slots in the store: find the one a passphrase opens, add, list, remove.

use crate::error::{Error, ErrorKind, Result};
use crate::repository::Repository;
use bytes::Bytes;
use cistern_format::id::RepoId;
use cistern_format::keys::{Credential, Keyring, Role};
use cistern_format::slot::{Cost, SLOT_BYTES_MAX, Slot};
use cistern_store::{Key, Store};
use futures::TryStreamExt as _;
use serde::Serialize;
use std::sync::Arc;

const SLOTS: &str = "keys/";
/// More slots than anybody has; a store that shows more is not believed.
const SLOTS_MAX: usize = 64;

/// Shorter passphrases are guessed whatever a guess costs.
const PASSPHRASE_BYTES_MIN: usize = 8;

/// One key slot, as listed.
#[derive(Clone, Debug, Serialize)]
pub struct SlotInfo {
    /// Its id, for `key remove`.
    pub id: String,
    /// Name for people.
    pub label: String,
    /// What its credential may do.
    pub role: Role,
}

async fn slots(store: &Arc<dyn Store>) -> Result<Vec<(Key, Slot)>> {
    let doing = || format!("read the key slots of {}", store.location());
    let listed: Result<Vec<_>, _> = store.list(SLOTS).try_collect().await;
    let mut entries = listed.map_err(|e| Error::store(doing(), e))?;
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    let mut slots = Vec::new();
    for entry in entries.into_iter().take(SLOTS_MAX) {
        let bytes = store.get(&entry.key, SLOT_BYTES_MAX).await.map_err(|e| Error::store(doing(), e))?;
        // A slot somebody damaged must not keep the others from opening.
        if let Ok(slot) = Slot::decode(&bytes) {
            slots.push((entry.key, slot));
        }
    }
    Ok(slots)
}

pub(crate) async fn unlock(store: &Arc<dyn Store>, repo: RepoId, passphrase: &[u8]) -> Result<Keyring> {
    let doing = || format!("open the repository at {}", store.location());
    let slots = slots(store).await?;
    if slots.is_empty() {
        let why = "it has no readable key slot for a passphrase: use its key file, then `cistern key add`";
        return Err(Error::new(ErrorKind::WrongKey, doing(), why));
    }
    for (_, slot) in slots {
        if let Ok(Some(keys)) = slot.unlock(repo, passphrase) {
            return Ok(keys);
        }
    }
    Err(Error::new(ErrorKind::WrongKey, doing(), "no key slot opens with this passphrase"))
}

/// Refuses a passphrase that is too short to be one.
pub fn check_passphrase(passphrase: &[u8]) -> Result<()> {
    if passphrase.len() < PASSPHRASE_BYTES_MIN {
        let why = format!("a passphrase needs at least {PASSPHRASE_BYTES_MIN} bytes");
        return Err(Error::new(ErrorKind::Invalid, "add a key slot", why));
    }
    Ok(())
}

impl Repository {
    /// All key slots.
    pub async fn key_slots(&self) -> Result<Vec<SlotInfo>> {
        let slots = slots(&self.objects.store).await?;
        Ok(slots
            .into_iter()
            .map(|(key, slot)| SlotInfo { id: key.name().to_owned(), label: slot.label, role: slot.role })
            .collect())
    }

    /// Adds a passphrase for a role. The old ones stay valid.
    pub async fn add_key_slot(&self, role: Role, label: &str, passphrase: &[u8]) -> Result<SlotInfo> {
        let doing = "add a key slot";
        let keys = self.keys_of(role, doing)?;
        check_passphrase(passphrase)?;
        let cost = if role == Role::Owner { Cost::OWNER } else { Cost::MACHINE };
        let world = self.world();
        let slot = Slot::lock(&keys, label, passphrase, cost, world.random(), world.random());
        let id = world.new_session_id().to_string();
        let key = Key::new(format!("{SLOTS}{id}"));
        let put = self.objects.store.put_new(&key, vec![Bytes::from(slot.encode())]);
        put.await.map_err(|e| Error::store(doing, e))?;
        Ok(SlotInfo { id, label: label.to_owned(), role })
    }

    /// Removes a key slot by id. A passphrase that leaked still opens copies of the slot: `copy` to a
    /// new repository changes the keys themselves.
    pub async fn remove_key_slot(&self, id: &str) -> Result<()> {
        let doing = format!("remove key slot {id}");
        self.require(Role::Owner, &doing)?;
        // By name, so that a damaged one can go too.
        if !self.objects.list(SLOTS).await?.iter().any(|entry| entry.key.name() == id) {
            return Err(Error::new(
                ErrorKind::NotFound,
                doing,
                "there is no such slot (see `cistern key list`)",
            ));
        }
        self.objects.delete(&format!("{SLOTS}{id}")).await
    }

    /// A credential of a role, for a key file or a Secret.
    pub fn credential(&self, role: Role) -> Result<Credential> {
        Ok(self.keys_of(role, "issue a credential")?.to_credential())
    }

    fn keys_of(&self, role: Role, doing: &str) -> Result<Keyring> {
        self.require(Role::Owner, doing)?;
        Ok(self.keys().restrict(role).expect("the owner can hand out every role"))
    }
}
