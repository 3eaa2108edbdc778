//! The small objects around snapshots: sessions, marks, forget markers, trash lists, verify reports.
//!
//! Their bodies are CBOR with named fields; unknown fields are ignored, so later minor versions can
//! add some.

use crate::Damage;
use crate::id::{PackId, SessionId, SnapshotId};
use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// To CBOR.
pub fn to_cbor<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    ciborium::into_writer(value, &mut out).expect("our types serialise, and a Vec takes every write");
    out
}

/// From CBOR that was opened, and still may be nonsense.
pub fn from_cbor<T: DeserializeOwned>(what: &'static str, body: &[u8]) -> Result<T, Damage> {
    // A depth far above what our types need: nesting cannot exhaust the stack.
    ciborium::de::from_reader_with_recursion_limit(body, 64).map_err(|e| Damage::malformed(what, e))
}

/// `sessions/<id>`: a writer that registered. Prune waits for it or refuses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Machine it runs on.
    pub host: String,
    /// What it does: `push`, `prune`, `optimize`, `repair`; `sign of life` in the later notes of a push.
    pub purpose: String,
    /// Writer's clock, milliseconds since 1970.
    pub started_ms: u64,
}

/// `trash/<id>`: packs nobody may rely on from now on. Never taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trash {
    /// The packs.
    pub packs: Vec<PackId>,
}

/// `trash/<id>.queue`: sessions that may rely on the packs of a trash list, to be decided first, and the
/// packs once more, so that losing one of the two objects loses nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrashQueue {
    /// The sessions.
    pub sessions: Vec<SessionId>,
    /// The packs of the list; none of them where the list was taken back, absent where it was not noted.
    #[serde(default)]
    pub packs: Option<Vec<PackId>>,
}

/// `marks/<snapshot>.<id>`: a change of tags or holds. Applied in the order of ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Tags to add.
    pub add_tags: Vec<String>,
    /// Tags to take away.
    pub remove_tags: Vec<String>,
    /// Hold to set: a name and why. A held snapshot is not forgotten.
    pub add_hold: Option<(String, String)>,
    /// Hold to lift, by name.
    pub remove_hold: Option<String>,
    /// Clock of whoever wrote it, milliseconds since 1970.
    pub at_ms: u64,
}

/// `forgotten/<snapshot>`: the snapshot is no more. Outlives the snapshot object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// Reason in words.
    pub reason: String,
    /// Clock of whoever wrote it, milliseconds since 1970.
    pub at_ms: u64,
}

/// `verified/<id>`: what one verification looked at and found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Level, 0 to 4.
    pub level: u8,
    /// Which part of how many was looked at; 1 of 1 is all.
    pub slice: (u32, u32),
    /// Packs looked at.
    pub packs: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// What was wrong, in words; empty is good.
    pub findings: Vec<String>,
    /// Snapshots that were restored whole (level 4).
    pub snapshots: Vec<SnapshotId>,
    /// Snapshots that were there, whole or not, and those missing then: a later one that finds any of them
    /// neither there nor forgotten knows that it was removed.
    #[serde(default)]
    pub seen: Vec<SnapshotId>,
    /// Clock of whoever wrote it, milliseconds since 1970.
    pub at_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bodies_read_back_and_ignore_what_a_later_version_adds() {
        #[derive(Serialize)]
        struct Later {
            reason: String,
            at_ms: u64,
            added_later: Vec<u8>,
        }
        let later = Later { reason: "r".into(), at_ms: 5, added_later: vec![1] };
        let read: Forgotten = from_cbor("forget marker", &to_cbor(&later)).expect("unknown fields are fine");
        assert_eq!(read, Forgotten { reason: "r".into(), at_ms: 5 });
        let trash = Trash { packs: vec![PackId { digest: [1; 20], session: SessionId([2; 16]) }] };
        assert_eq!(from_cbor("trash", &to_cbor(&trash)), Ok(trash));
    }

    proptest! {
        #[test]
        fn hostile_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = from_cbor::<Trash>("trash", &bytes);
            let _ = crate::snapshot::Snapshot::decode(&bytes);
        }
    }
}
