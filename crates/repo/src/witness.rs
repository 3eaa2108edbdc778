//! Snapshots that are gone though nobody forgot them: what in the repository still speaks of them.
//!
//! A snapshot leaves by `forget`, whose marker stays for good. So whatever names a session of which there is
//! neither an object under `snapshots/` nor a marker is a witness of one that was removed behind our back:
//!
//! * a later snapshot of the same name, by `previous`;
//! * the sketches of its push: they are written before the commit, and a session that never committed is
//!   still registered, or was refused by a tombstone;
//! * the last verification, which wrote down what was there.
//!
//! **What no witness covers:** the newest snapshot of a name, if its push stored no chunk whole and no
//! verification ran since. Then only the receipt tells that `push` printed.

use crate::commit::{SESSIONS, SKETCHES, SNAPSHOTS, session_of};
use crate::error::{ErrorKind, Result};
use crate::repository::Repository;
use crate::snapshots::{FORGOTTEN, SnapshotInfo};
use crate::verify::{VERIFIED, label};
use cistern_format::envelope::Kind;
use cistern_format::id::SnapshotId;
use cistern_format::object::{Verified, from_cbor};
use std::collections::{BTreeMap, HashSet};

/// Reports looked at for one that can be read.
const REPORTS_MAX: usize = 20;

impl Repository {
    /// Snapshots that are neither there nor forgotten, and who says that there was one.
    pub(crate) async fn missing_snapshots(
        &self,
        readable: &[SnapshotInfo],
    ) -> Result<BTreeMap<SnapshotId, String>> {
        let mut named = BTreeMap::new();
        for id in self.last_seen().await? {
            named.insert(id, "the last verification saw it".to_owned());
        }
        // Sketches before registrations before snapshots: each is written before what comes next goes.
        let sketched = self.names_under(SKETCHES).await?;
        let registered = self.names_under(SESSIONS).await?;
        for id in sketched.difference(&registered) {
            named.insert(*id, "the sketches of its push are there".to_owned());
        }
        for info in readable {
            if let Some((previous, _)) = &info.snapshot.previous {
                named.insert(*previous, format!("{} was made after it", label(info)));
            }
        }
        let there = self.names_under(SNAPSHOTS).await?;
        let forgotten = self.names_under(FORGOTTEN).await?;
        named.retain(|id, _| !there.contains(id) && !forgotten.contains(id));
        Ok(named)
    }

    async fn names_under(&self, prefix: &str) -> Result<HashSet<SnapshotId>> {
        let entries = self.objects.list(prefix).await?;
        Ok(entries.iter().filter_map(|e| session_of(e.key.name())).collect())
    }

    /// The snapshots of the newest verify report that can be read.
    async fn last_seen(&self) -> Result<Vec<SnapshotId>> {
        let entries = self.objects.list(VERIFIED).await?;
        for entry in entries.iter().rev().take(REPORTS_MAX) {
            let body = match self.objects.find(Kind::Verified, entry.key.as_str()).await {
                Ok(Some(body)) => body,
                Ok(None) => continue,
                Err(e) if e.kind == ErrorKind::Damaged => continue,
                Err(e) => return Err(e),
            };
            if let Ok(report) = from_cbor::<Verified>("verify report", &body) {
                return Ok(report.seen);
            }
        }
        Ok(vec![])
    }
}
