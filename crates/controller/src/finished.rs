//! ActionSets that ended long enough ago to be deleted, where a user or the controller's rules want that.

use crate::expiry::EXPIRES;
use crate::objects::{Glance, Objects};
use crate::schedules::SCHEDULED_AT;
use crate::wishes::Wishes;
use cistern_api::Time;
use cistern_functions::ports::{Refusal, Why};
use cistern_functions::reference::of_kind;
use std::time::Duration;

/// So many are deleted at a time; the others come next time.
const AT_A_TIME: usize = 200;

/// Whether its time has come. `default` goes for those that say nothing themselves, and not for those of a
/// schedule: it deletes them by its own rules, and needs them to delete what they left.
pub(crate) fn expired(glance: &Glance, default: Option<Duration>, now: &Time) -> bool {
    if glance.work || glance.deleted {
        return false;
    }
    let scheduled = [SCHEDULED_AT, EXPIRES].iter().any(|note| glance.annotations.contains_key(*note));
    let default = default.filter(|_| !scheduled);
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_schedule_made_goes_when_the_schedule_says_so() {
        let expired_with = |note: &str, value: &str| {
            let glance = Glance::of(&json!({
                "metadata": {"annotations": {note: value, "cistern.dev/started": "2026-01-01T00:00:00Z"}},
                "status": {"state": "complete",
                    "progress": {"lastTransitionTime": "2026-01-01T00:00:00Z"}},
            }));
            let glance = Glance { ended: "2026-01-01T00:00:00Z".to_owned(), work: false, ..glance };
            let now: Time = serde_json::from_value(json!("2026-01-02T00:00:00Z")).unwrap();
            expired(&glance, Some(Duration::from_secs(3600)), &now)
        };
        assert!(expired_with("somebody/else", "x"));
        assert!(!expired_with(SCHEDULED_AT, "2026-01-01T00:00:00Z"));
        assert!(!expired_with(EXPIRES, "nightly-1"));
        assert!(expired_with("cistern.dev/ttl-seconds-after-finished", "60"), "its own wish");
    }
}
