//! Snapshots as JSON reports show them: one shape, whichever command prints it.

use crate::show;
use cistern_repo::{Receipt, Snapshot, SnapshotId, StoredBytes};
use serde::Serialize;

/// A snapshot in a report. Fields are added, never renamed or removed.
#[derive(Serialize)]
pub struct SnapshotReport {
    /// Its id.
    pub id: String,
    /// BLAKE3 of the stored snapshot, hex; `pull --expect` takes it.
    pub receipt: String,
    /// Name it was pushed as.
    pub name: String,
    /// Machine it came from.
    pub host: String,
    /// When the push began, RFC 3339.
    pub started: String,
    /// When it was committed, RFC 3339, by the writer's clock.
    pub finished: String,
    /// How many snapshots of the name came before.
    pub sequence: u64,
    /// The newest of them.
    pub previous: Option<String>,
    /// Length of the content in bytes.
    pub raw_bytes: u64,
    /// BLAKE3 of the content, hex.
    pub digest: String,
    /// Where the bytes went.
    pub stored: StoredBytes,
    /// Name of the recognised format, or `unknown`.
    pub format: String,
    /// `complete`, `truncated` or `unknown`.
    pub completeness: String,
    /// Why, where there is something to say.
    pub detail: Option<String>,
    /// Set when gzip was taken off.
    pub wrap: Option<WrapReport>,
    /// Tags.
    pub tags: Vec<String>,
    /// Program that made the stream, if it was run by this one.
    pub producer: Option<String>,
    /// Whether deltas were made, and against what.
    pub deltas: String,
    /// Why it should not be trusted as a good one.
    pub suspect: Option<String>,
}

/// The gzip that was taken off: `pull` puts one back that is equivalent, not identical.
#[derive(Serialize)]
pub struct WrapReport {
    /// Length as it arrived, in bytes.
    pub original_bytes: u64,
    /// BLAKE3 as it arrived, hex.
    pub original_digest: String,
}

impl SnapshotReport {
    /// The report of a snapshot.
    pub fn new(id: SnapshotId, receipt: &[u8; 32], snapshot: &Snapshot) -> SnapshotReport {
        SnapshotReport {
            id: id.to_string(),
            receipt: hex::encode(receipt),
            name: snapshot.name.clone(),
            host: snapshot.host.clone(),
            started: show::rfc3339(snapshot.started_ms),
            finished: show::rfc3339(snapshot.finished_ms),
            sequence: snapshot.sequence,
            previous: snapshot.previous.as_ref().map(|(id, _)| id.to_string()),
            raw_bytes: snapshot.raw_bytes,
            digest: hex::encode(*snapshot.digest),
            stored: snapshot.stored,
            format: snapshot.content.format.clone(),
            completeness: snapshot.content.completeness.clone(),
            detail: snapshot.content.detail.clone(),
            wrap: snapshot.wrap.as_ref().map(|wrap| WrapReport {
                original_bytes: wrap.original_bytes,
                original_digest: hex::encode(*wrap.original_digest),
            }),
            tags: snapshot.tags.clone(),
            producer: snapshot.producer.clone(),
            deltas: snapshot.deltas.clone(),
            suspect: snapshot.suspect.clone(),
        }
    }
}

/// What a push did: `Stored db as 01M7…: 1.20 GiB in 6.1 s (201 MiB/s), 93% known, 5% deltas, 2% new; 12.3 MiB
/// added`
pub fn stored_line(receipt: &Receipt, secs: f64) -> String {
    let snapshot = &receipt.snapshot;
    let stored = &snapshot.stored;
    let percent = |part: u64| (part * 100).checked_div(snapshot.raw_bytes).unwrap_or(0);
    format!(
        "Stored {} as {}: {} in {} ({}/s), {}% known, {}% deltas, {}% new; {} added",
        snapshot.name,
        receipt.id,
        show::size(snapshot.raw_bytes),
        show::duration(secs),
        show::size((snapshot.raw_bytes as f64 / secs.max(1e-6)) as u64),
        percent(stored.duplicate_bytes),
        percent(stored.delta_bytes),
        percent(stored.new_bytes),
        show::size(stored.delta_stored_bytes + stored.new_stored_bytes),
    )
}
