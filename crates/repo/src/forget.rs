//! Drops snapshots from sight. Space comes back with the next prune.

use crate::error::{Error, ErrorKind, Result};
use crate::repository::Repository;
use crate::snapshots::FORGOTTEN;
use cistern_format::envelope::Kind;
use cistern_format::id::SnapshotId;
use cistern_format::keys::Role;
use cistern_format::object::{Forgotten, to_cbor};

impl Repository {
    /// Forgets snapshots. All of them are looked at before the first is touched.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for an unknown id, [`ErrorKind::Invalid`] for a held one; nothing is
    /// forgotten then.
    pub async fn forget(&self, ids: &[SnapshotId], reason: &str) -> Result<()> {
        self.require(Role::Maintain, "forget snapshots")?;
        let snapshots = self.snapshots().await?;
        for id in ids {
            let doing = format!("forget snapshot {id}");
            let Some(info) = snapshots.iter().find(|s| s.id == *id) else {
                return Err(Error::new(ErrorKind::NotFound, doing, "there is no such snapshot"));
            };
            if let Some((name, why)) = info.holds.first_key_value() {
                let why = format!("it is held by `{name}` ({why}); lift the hold first");
                return Err(Error::new(ErrorKind::Invalid, doing, why));
            }
        }
        for id in ids {
            self.mark_forgotten(*id, reason).await?;
        }
        Ok(())
    }

    pub(crate) async fn mark_forgotten(&self, id: SnapshotId, reason: &str) -> Result<()> {
        let marker = Forgotten { reason: reason.to_owned(), at_ms: self.world().now_ms() };
        let put = self.objects.put(Kind::Forgotten, &format!("{FORGOTTEN}{id}"), &to_cbor(&marker)).await;
        match put {
            Ok(_) => Ok(()),
            // Somebody else forgot it first.
            Err(e) if e.kind == cistern_store::ErrorKind::Exists => Ok(()),
            Err(e) => Err(Error::store(format!("forget snapshot {id}"), e)),
        }
    }
}
