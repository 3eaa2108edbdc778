//! ActionSets that ended long enough ago to be deleted, where a user or the controller's rules want that.

use crate::objects::{Glance, Objects};
use crate::wishes::Wishes;
use cistern_api::Time;
use cistern_functions::ports::{Refusal, Why};
use cistern_functions::reference::of_kind;
use std::time::Duration;

/// So many are deleted at a time; the others come next time.
const AT_A_TIME: usize = 200;

/// Whether its time has come. `default` goes for those that say nothing themselves.
pub(crate) fn expired(glance: &Glance, default: Option<Duration>, now: &Time) -> bool {
    if glance.work || glance.deleted {
        return false;
    }
    let Some(ttl) = Wishes::of(&glance.annotations).0.ttl.or(default) else { return false };
    let Ok(ended) = glance.ended.parse() else { return false };
    let passed = now.0.duration_since(Time(ended).0);
    Duration::try_from(passed).is_ok_and(|passed| passed >= ttl)
}

/// Deletes them, unless they have been replaced by others of the same name.
pub(crate) async fn delete(objects: &Objects, expired: &[Glance]) -> Result<(), Refusal> {
    for glance in expired.iter().take(AT_A_TIME) {
        let there = objects.glance_at(&glance.place).await?;
        if there.is_none_or(|there| there.uid != glance.uid) {
            continue;
        }
        let at = of_kind("actionset", &glance.place.namespace, &glance.place.name);
        match objects.cluster.delete(&at).await {
            Err(refusal) if refusal.why != Why::Absent => return Err(refusal),
            _ => {}
        }
    }
    Ok(())
}
