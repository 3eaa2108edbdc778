//! A snapshot as listings and reports show it; the names of its fields in JSON are an interface.

use crate::report::SnapshotReport;
use crate::show;
use cistern_repo::SnapshotInfo;
use serde::Serialize;
use std::collections::BTreeMap;

/// One snapshot: what its push reported, and what became of it since. Its tags are those it has now.
#[derive(Serialize)]
pub struct Listed<'s> {
    /// What the push reported.
    #[serde(flatten)]
    pub report: SnapshotReport,
    /// The end of the id that listings show; `NAME@…` takes it.
    pub short_id: String,
    /// When it was committed by the store's clock, RFC 3339.
    pub committed: String,
    /// The same in milliseconds since 1970.
    pub committed_ms: u64,
    /// What it added to the repository.
    pub added_bytes: u64,
    /// Holds: name and reason.
    pub holds: &'s BTreeMap<String, String>,
}

impl<'s> Listed<'s> {
    /// The shape of a snapshot.
    pub fn of(info: &'s SnapshotInfo) -> Listed<'s> {
        let mut report = SnapshotReport::new(info.id, &info.receipt, &info.snapshot);
        report.tags = info.tags.iter().cloned().collect();
        Listed {
            report,
            short_id: info.id.short(),
            committed: show::rfc3339(info.committed_ms),
            committed_ms: info.committed_ms,
            added_bytes: added_bytes(info),
            holds: &info.holds,
        }
    }
}

/// What a snapshot added to the repository, in bytes; recipes are left out, which are small.
pub fn added_bytes(info: &SnapshotInfo) -> u64 {
    info.snapshot.stored.delta_stored_bytes + info.snapshot.stored.new_stored_bytes
}

/// `partial`, `suspect`, `held`, as far as they hold.
pub fn flags(info: &SnapshotInfo) -> String {
    let partial = info.snapshot.content.completeness == "truncated";
    let all = [
        (partial, "partial"),
        (info.snapshot.suspect.is_some() && !partial, "suspect"),
        (!info.holds.is_empty(), "held"),
    ];
    let set: Vec<&str> = all.into_iter().filter_map(|(set, word)| set.then_some(word)).collect();
    set.join(",")
}
