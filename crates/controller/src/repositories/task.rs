//! What there is to do to a repository, and when each is due. Pure.

use crate::events::fnv;
use crate::rhythm::{Rhythm, Terms, Verdict, decide};
use cistern_api::{Repository, RepositorySpec, RepositoryStatus, TaskResult, TaskStatus, Time};
use jiff::{Timestamp, ToSpan as _};
use serde_json::json;

/// A check that failed is made again after this: what was missing may be there.
const CHECK_AGAIN_MINUTES: i64 = 15;

/// Something that a Job does to a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Opens it, and says how large it is: once for each place and key.
    Check,
    /// Forgets what the retention does not keep, and gives space back.
    Prune,
    /// Looks for damage.
    Verify,
}

/// Why a Job is to be made now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Its time has come.
    At(Timestamp),
    /// A user asks for it, or for a check the Repository is new or leads elsewhere.
    Asked(String),
}

impl Task {
    /// All, in the order in which they are looked at.
    pub(super) const ALL: [Task; 3] = [Task::Check, Task::Prune, Task::Verify];

    /// The word for it in names, labels, commands.
    pub(super) fn name(self) -> &'static str {
        match self {
            Task::Check => "check",
            Task::Prune => "prune",
            Task::Verify => "verify",
        }
    }

    /// Its part of a status.
    pub(super) fn of(self, status: &RepositoryStatus) -> &TaskStatus {
        match self {
            Task::Check => &status.check,
            Task::Prune => &status.prune,
            Task::Verify => &status.verify,
        }
    }

    /// The same, to be changed.
    pub(super) fn of_mut(self, status: &mut RepositoryStatus) -> &mut TaskStatus {
        match self {
            Task::Check => &mut status.check,
            Task::Prune => &mut status.prune,
            Task::Verify => &mut status.verify,
        }
    }

    /// Annotation by which users ask for it: each new value is one more run.
    fn wish(self) -> Option<&'static str> {
        match self {
            Task::Check => None,
            Task::Prune => Some("cistern.dev/prune-now"),
            Task::Verify => Some("cistern.dev/verify-now"),
        }
    }
}

/// Writes down that what was due has its Job.
pub(super) fn deal_with(slot: &mut TaskStatus, due: &Due) {
    match due {
        Due::At(at) => slot.last_schedule_time = Some(Time(*at)),
        Due::Asked(request) => slot.request.clone_from(request),
    }
}

/// Whether a Job is to be made now, and when the next one will be due.
///
/// # Errors
/// A sentence about the field that makes no sense.
pub(super) fn due(
    task: Task,
    repository: &Repository,
    slot: &TaskStatus,
    now: Timestamp,
) -> Result<(Option<Due>, Option<Timestamp>), String> {
    let spec = &repository.spec;
    let free = !spec.suspend && slot.active.is_empty();
    let asked = if task == Task::Check { check(spec, slot, now) } else { wish(task, repository, slot) };
    let asked = asked.filter(|_| free);
    let Some((schedule, zone)) = rhythm_of(task, spec)? else { return Ok((asked, None)) };
    let rhythm = Rhythm::parse(schedule, zone, &format!("spec.{}", task.name()))?;
    let next = rhythm.next_due(now).filter(|_| !spec.suspend);
    let made = repository.metadata.creation_timestamp.as_ref();
    let last = [slot.last_schedule_time.as_ref(), made].into_iter().flatten().map(|time| time.0).max();
    let terms = Terms { suspend: spec.suspend, ..Terms::default() };
    let active = usize::from(!slot.active.is_empty());
    let verdict = decide(terms, &rhythm, last.unwrap_or(Timestamp::UNIX_EPOCH), active, now);
    let due = match verdict {
        Verdict::Start(at) => Some(Due::At(at)),
        _ => asked,
    };
    Ok((due, next))
}

/// Schedule and zone of a task, where the spec makes sense.
fn rhythm_of(task: Task, spec: &RepositorySpec) -> Result<Option<(&str, Option<&str>)>, String> {
    match task {
        Task::Check => Ok(None),
        Task::Prune => match (&spec.prune, &spec.retention) {
            (None, Some(_)) => {
                Err("spec.retention is carried out by prune, and there is no spec.prune".to_owned())
            }
            (Some(_), Some(retention)) if retention.keeps_nothing() => Err(
                "spec.retention says nothing that is kept: give it keepLast, keepDaily or another of these"
                    .to_owned(),
            ),
            (prune, _) => {
                Ok(prune.as_ref().map(|prune| (prune.schedule.as_str(), prune.time_zone.as_deref())))
            }
        },
        Task::Verify => match &spec.verify {
            Some(verify) if verify.slices() > 1 && !matches!(verify.level(), 2 | 3) => {
                Err(format!("spec.verify.slices goes with levels 2 and 3, not with {}", verify.level()))
            }
            verify => {
                Ok(verify.as_ref().map(|verify| (verify.schedule.as_str(), verify.time_zone.as_deref())))
            }
        },
    }
}

/// A check, where the Repository is new, leads elsewhere, or could not be opened a while ago.
fn check(spec: &RepositorySpec, slot: &TaskStatus, now: Timestamp) -> Option<Due> {
    let place = json!([spec.profile, spec.location, spec.key_secret_ref]).to_string();
    let place = format!("{:016x}", fnv(place.as_bytes()));
    let failed = slot.last_run.as_ref().filter(|run| run.result == TaskResult::Failed);
    let again = failed.and_then(|run| run.ended.as_ref()?.0.checked_add(CHECK_AGAIN_MINUTES.minutes()).ok());
    (slot.request != place || again.is_some_and(|again| again <= now)).then_some(Due::Asked(place))
}

/// What a user asks for and has not got yet.
fn wish(task: Task, repository: &Repository, slot: &TaskStatus) -> Option<Due> {
    let value = repository.metadata.annotations.as_ref()?.get(task.wish()?)?;
    (!value.is_empty() && slot.request != *value).then(|| Due::Asked(value.clone()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test may unwrap")]

    use super::*;
    use cistern_api::TaskRun;
    use serde_json::Value as Json;

    fn repository(spec: Json) -> Repository {
        serde_json::from_value(json!({
            "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec,
        }))
        .unwrap()
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_check_is_made_once_for_each_place_and_again_after_it_failed() {
        let here = repository(json!({"location": "s3://b/p"}));
        let now = time("2026-01-02T03:00:00Z");
        let mut slot = TaskStatus::default();
        let (found, next) = due(Task::Check, &here, &slot, now).unwrap();
        let Some(Due::Asked(place)) = found else { panic!("{found:?}") };
        assert_eq!(next, None);
        slot.request = place;
        assert_eq!(due(Task::Check, &here, &slot, now).unwrap().0, None);
        let there = repository(json!({"location": "s3://b/q"}));
        assert!(due(Task::Check, &there, &slot, now).unwrap().0.is_some());
        let ended = Some(Time(time("2026-01-02T02:45:01Z")));
        slot.last_run = Some(TaskRun { ended, ..TaskRun::default() });
        assert_eq!(due(Task::Check, &here, &slot, now).unwrap().0, None);
        assert!(due(Task::Check, &here, &slot, time("2026-01-02T03:00:01Z")).unwrap().0.is_some());
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_field() {
        let now = time("2026-01-02T03:00:00Z");
        for (task, spec, word) in [
            (Task::Prune, json!({"retention": {"names": ["*"], "keepLast": 1}}), "there is no spec.prune"),
            (
                Task::Prune,
                json!({"prune": {"schedule": "@daily"}, "retention": {"names": ["*"]}}),
                "keepLast",
            ),
            (Task::Prune, json!({"prune": {"schedule": "soon"}}), "spec.prune.schedule \"soon\""),
            (
                Task::Verify,
                json!({"verify": {"schedule": "@daily", "level": 4, "slices": 2}}),
                "levels 2 and 3",
            ),
            (
                Task::Verify,
                json!({"verify": {"schedule": "@daily", "timeZone": "X"}}),
                "spec.verify.timeZone \"X\"",
            ),
        ] {
            let said = due(task, &repository(spec), &TaskStatus::default(), now).unwrap_err();
            assert!(said.contains(word), "{said}");
        }
    }

    #[test]
    fn a_run_is_due_by_time_or_by_wish_and_not_while_one_is_under_way() {
        let now = time("2026-01-02T03:10:00Z");
        let mut all = repository(json!({"verify": {"schedule": "0 3 * * *"}}));
        let mut slot = TaskStatus::default();
        let found = due(Task::Verify, &all, &slot, now).unwrap();
        let at = time("2026-01-02T03:00:00Z");
        assert_eq!(found, (Some(Due::At(at)), Some(time("2026-01-03T03:00:00Z"))));
        slot.last_schedule_time = Some(Time(at));
        assert_eq!(due(Task::Verify, &all, &slot, now).unwrap().0, None);
        let wish = [("cistern.dev/verify-now".to_owned(), "1".to_owned())];
        all.metadata.annotations = Some(wish.into_iter().collect());
        assert_eq!(due(Task::Verify, &all, &slot, now).unwrap().0, Some(Due::Asked("1".to_owned())));
        assert_eq!(due(Task::Prune, &all, &slot, now).unwrap().0, None);
        slot.active = "job".to_owned();
        assert_eq!(due(Task::Verify, &all, &slot, now).unwrap().0, None);
        slot.active.clear();
        all.spec.suspend = true;
        assert_eq!(due(Task::Verify, &all, &slot, now).unwrap(), (None, None));
    }
}
