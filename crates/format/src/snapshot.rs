//! A named stream at rest, and the two ways a session can be decided.
//!
//! `snapshots/<id>` is written once: a [`Snapshot`] commits the push, a [`Tombstone`] refuses it for
//! ever. Whichever create-if-absent comes first decides.

use crate::Damage;
use crate::chunk::ChunkSizes;
use crate::id::SnapshotId;
use crate::recipe::Root;
use serde::{Deserialize, Serialize};

/// What a committed push stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Name given to `push`.
    pub name: String,
    /// Writer's clock when the push began, milliseconds since 1970. For people; nothing is decided by it.
    pub started_ms: u64,
    /// Writer's clock at commit.
    pub finished_ms: u64,
    /// Machine the push ran on.
    pub host: String,
    /// Version of the program that wrote it.
    pub writer: String,
    /// How many snapshots of this name came before.
    pub sequence: u64,
    /// The newest of them, if any: its id and the digest of its object, a chain that shows gaps.
    pub previous: Option<(SnapshotId, serde_bytes::ByteArray<32>)>,
    /// The chunks.
    pub recipe: Root,
    /// Sizes the stream was cut with.
    pub chunk_sizes: ChunkSizes,
    /// Length of the stored stream in bytes.
    pub raw_bytes: u64,
    /// BLAKE3 of the stored stream.
    pub digest: serde_bytes::ByteArray<32>,
    /// Where the bytes went.
    pub stored: StoredBytes,
    /// What the stream was recognised as, and whether it ended as it should.
    pub content: Content,
    /// Set when the stream was unwrapped before it was stored.
    pub wrap: Option<Wrap>,
    /// Tags given at push.
    pub tags: Vec<String>,
    /// Command that made the stream, when this program ran it; program name only, never arguments.
    pub producer: Option<String>,
    /// Why deltas were made or not, in words for people.
    pub deltas: String,
    /// Set when this snapshot should not be trusted as a good one, with the reason.
    pub suspect: Option<String>,
    /// Set when it was copied from another repository: its id there, and when it was committed there.
    #[serde(default)]
    pub copied_from: Option<(SnapshotId, u64)>,
}

/// Where the bytes of a push went. Raw lengths, but for the last two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBytes {
    /// Bytes whose chunks were there already.
    pub duplicate_bytes: u64,
    /// Bytes stored as deltas.
    pub delta_bytes: u64,
    /// Bytes stored whole.
    pub new_bytes: u64,
    /// What the deltas take up.
    pub delta_stored_bytes: u64,
    /// What the whole chunks take up.
    pub new_stored_bytes: u64,
    /// Chunks of the stream.
    pub chunks: u64,
}

impl StoredBytes {
    /// Adds another push's sums; what a snapshot says of itself may be any number.
    pub fn add(&mut self, other: &StoredBytes) {
        self.duplicate_bytes = self.duplicate_bytes.saturating_add(other.duplicate_bytes);
        self.delta_bytes = self.delta_bytes.saturating_add(other.delta_bytes);
        self.new_bytes = self.new_bytes.saturating_add(other.new_bytes);
        self.delta_stored_bytes = self.delta_stored_bytes.saturating_add(other.delta_stored_bytes);
        self.new_stored_bytes = self.new_stored_bytes.saturating_add(other.new_stored_bytes);
        self.chunks = self.chunks.saturating_add(other.chunks);
    }
}

/// What a stream turned out to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Name of the recognised format, or `unknown`.
    pub format: String,
    /// `complete`, `truncated` or `unknown`.
    pub completeness: String,
    /// Why, where there is something to say.
    pub detail: Option<String>,
}

/// How the stream was wrapped when it arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrap {
    /// Version of `segments`; readers refuse what they do not know.
    pub version: u8,
    /// Length of the stream as it arrived, in bytes.
    pub original_bytes: u64,
    /// BLAKE3 of the stream as it arrived.
    pub original_digest: serde_bytes::ByteArray<32>,
    /// How to wrap it again; CBOR that only the unwrapping code reads.
    #[serde(with = "serde_bytes")]
    pub segments: Vec<u8>,
}

/// Why a session can never commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// Reason in words.
    pub reason: String,
    /// Clock of whoever wrote it, milliseconds since 1970.
    pub at_ms: u64,
}

impl Snapshot {
    /// From the body of a snapshot object.
    pub fn decode(body: &[u8]) -> Result<Snapshot, Damage> {
        let snapshot: Snapshot = crate::object::from_cbor("snapshot", body)?;
        snapshot.recipe.check()?;
        Ok(snapshot)
    }
}
