//! What is read before any seal can be checked: the marker, key slots, credentials, names.

use cistern_format::config::Marker;
use cistern_format::id::{ChunkId, PackId, RepoId, SessionId};
use cistern_format::keys::{Credential, Keyring};
use cistern_format::slot::{Cost, Slot};

/// The first byte chooses what the rest is.
pub fn run(input: &[u8]) {
    let Some((&what, bytes)) = input.split_first() else { return };
    match what % 4 {
        0 => marker(bytes),
        1 => slot(bytes),
        2 => credential(bytes),
        _ => names(bytes),
    }
}

fn marker(bytes: &[u8]) {
    if let Ok(marker) = Marker::decode(bytes) {
        assert_eq!(Marker::decode(&marker.encode()), Ok(marker));
    }
}

fn slot(bytes: &[u8]) {
    let Ok(mut slot) = Slot::decode(bytes) else { return };
    assert_eq!(Slot::decode(&slot.encode()), Ok(slot.clone()));
    let (memory_kib, passes) = (slot.cost.memory_kib, slot.cost.passes);
    if memory_kib > 1 << 20 || passes > 16 {
        assert!(slot.unlock(RepoId([2; 16]), b"guess").is_err(), "refused before it is spent");
    }
    // A gigabyte and sixteen passes are allowed, and would be all this target ever does.
    slot.cost = Cost { memory_kib: memory_kib % 64, passes: passes % 3 };
    let _ = slot.unlock(RepoId([2; 16]), b"guess");
}

fn credential(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(keys) = Keyring::from_credential(&Credential::new(text.to_owned())) {
        let again = Keyring::from_credential(&keys.to_credential()).expect("it was read once");
        assert_eq!(again.to_credential().reveal(), keys.to_credential().reveal());
    }
}

/// Names have one spelling: what can be read is written the same.
fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(id) = text.parse::<SessionId>() {
        assert_eq!(id.to_string(), text);
        let _ = (id.time_ms(), id.short());
    }
    if let Ok(id) = text.parse::<PackId>() {
        assert_eq!(id.to_string(), text);
    }
    if let Ok(id) = text.parse::<ChunkId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    if let Ok(id) = text.parse::<RepoId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
