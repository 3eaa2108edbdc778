//! When a schedule is due: cron in a time zone, and the decision what to do about it now. Pure.

use cistern_api::ConcurrencyPolicy;
use croner::Cron;
use croner::parser::{CronParser, Seconds};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// Cron, and the zone its hours are of.
#[derive(Clone, Debug)]
pub(crate) struct Rhythm {
    cron: Cron,
    /// The zone.
    pub(crate) zone: TimeZone,
}

/// What a schedule says besides when.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    /// Nothing is started.
    pub(crate) suspend: bool,
    /// What could not be started within so many seconds is left out.
    pub(crate) deadline_secs: Option<i64>,
    /// What happens when a run is due while an earlier one has not ended.
    pub(crate) policy: ConcurrencyPolicy,
}

/// What to do about a schedule now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing is due.
    Idle,
    /// What was due at this time can no longer be started in time.
    Missed(Timestamp),
    /// A run is due, and an earlier one has to end first.
    Wait,
    /// A run is due, and those under way are to be cancelled first.
    Replace,
    /// The run that is due at this time is to be started.
    Start(Timestamp),
}

impl Rhythm {
    /// Reads when something is due; `fields` is the part of the resource in which `schedule` and `timeZone` stand.
    ///
    /// # Errors
    /// A sentence about the field that cannot be read.
    pub(crate) fn parse(schedule: &str, zone: Option<&str>, fields: &str) -> Result<Rhythm, String> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).build();
        let cron = parser.parse(schedule).map_err(|e| {
            format!(
                "{fields}.schedule {schedule:?} is no time of cron (minute, hour, day of month, month, day of week): {e}"
            )
        })?;
        let name = zone.unwrap_or("UTC");
        let zone = TimeZone::get(name).map_err(|_| {
            format!("{fields}.timeZone {name:?} is no time zone of IANA, such as Europe/Berlin")
        })?;
        Ok(Rhythm { cron, zone })
    }

    /// The last time that was due, now included.
    pub(crate) fn last_due(&self, now: Timestamp) -> Option<Timestamp> {
        let now = whole_secs(now)?.to_zoned(self.zone.clone());
        self.cron.find_previous_occurrence(&now, true).ok().map(|due| due.timestamp())
    }

    /// The next time that will be due. None where that is never, such as on a 30th of February.
    pub(crate) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let now = whole_secs(now)?.to_zoned(self.zone.clone());
        self.cron.find_next_occurrence(&now, false).ok().map(|due| due.timestamp())
    }
}

/// Times that are due have no fractions of a second.
fn whole_secs(now: Timestamp) -> Option<Timestamp> {
    Timestamp::from_second(now.as_second()).ok()
}

/// What to do now. `last` is the last time that has been dealt with, or when the schedule was made: what was due
/// before is of no interest. Of several that were missed only the last is made up for.
pub(crate) fn decide(
    terms: Terms,
    rhythm: &Rhythm,
    last: Timestamp,
    active: usize,
    now: Timestamp,
) -> Verdict {
    if terms.suspend {
        return Verdict::Idle;
    }
    let Some(due) = rhythm.last_due(now).filter(|due| *due > last) else { return Verdict::Idle };
    let deadline = terms.deadline_secs.and_then(|secs| due.checked_add(secs.seconds()).ok());
    if deadline.is_some_and(|deadline| deadline < now) {
        return Verdict::Missed(due);
    }
    match terms.policy {
        ConcurrencyPolicy::Forbid if active > 0 => Verdict::Wait,
        ConcurrencyPolicy::Replace if active > 0 => Verdict::Replace,
        _ => Verdict::Start(due),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn rhythm(schedule: &str, zone: &str) -> Rhythm {
        Rhythm::parse(schedule, Some(zone), "spec").unwrap()
    }

    /// All times that come due from one moment to another, found forwards.
    fn dues(rhythm: &Rhythm, from: &str, to: &str) -> Vec<String> {
        let mut all = Vec::new();
        let mut at = time(from);
        while let Some(next) = rhythm.next_due(at).filter(|next| *next <= time(to)) {
            all.push(next.to_string());
            at = next;
        }
        all
    }

    #[test]
    fn nights_are_those_of_the_zone() {
        let night = rhythm("30 1 * * *", "America/New_York");
        assert_eq!(
            dues(&night, "2026-01-10T00:00:00Z", "2026-01-11T23:00:00Z"),
            ["2026-01-10T06:30:00Z", "2026-01-11T06:30:00Z"]
        );
        assert_eq!(night.last_due(time("2026-01-10T06:30:00.5Z")), Some(time("2026-01-10T06:30:00Z")));
        assert_eq!(night.last_due(time("2026-01-10T06:29:59Z")), Some(time("2026-01-09T06:30:00Z")));
        let daily = rhythm("@daily", "UTC");
        assert_eq!(daily.next_due(time("2026-01-10T00:00:00Z")), Some(time("2026-01-11T00:00:00Z")));
    }

    #[test]
    fn a_night_has_one_run_when_clocks_change() {
        // In Berlin 02:30 comes twice on 2026-10-25, and not at all on 2026-03-29.
        let night = rhythm("30 2 * * *", "Europe/Berlin");
        for (from, to) in [
            ("2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z"),
            ("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z"),
        ] {
            let forwards = dues(&night, from, to);
            assert_eq!(forwards.len(), 1, "{forwards:?}");
            // Looking back at any later minute finds the same run, or else it would be run twice.
            let mut at = time(&forwards[0]);
            while at <= time(to) {
                assert_eq!(night.last_due(at).unwrap().to_string(), forwards[0], "at {at}");
                at = at.checked_add(7.minutes()).unwrap();
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_field() {
        for (schedule, zone, word) in [
            ("", "UTC", "spec.schedule \"\""),
            ("61 * * * *", "UTC", "spec.schedule \"61 * * * *\""),
            ("0 0 0 * * *", "UTC", "spec.schedule \"0 0 0 * * *\""),
            ("@daily", "Mars/Olympus", "spec.timeZone \"Mars/Olympus\""),
        ] {
            let said = Rhythm::parse(schedule, Some(zone), "spec").unwrap_err();
            assert!(said.starts_with(word), "{said}");
        }
        assert_eq!(rhythm("0 0 30 2 *", "UTC").next_due(time("2026-01-01T00:00:00Z")), None);
    }

    #[test]
    fn what_to_do_now() {
        use ConcurrencyPolicy::{Allow, Forbid, Replace};
        let due = time("2026-01-10T03:00:00Z");
        let before = time("2026-01-09T12:00:00Z");
        let now = time("2026-01-10T03:10:00Z");
        for (policy, deadline, last, active, now, expected) in [
            (Forbid, None, before, 0, now, Verdict::Start(due)),
            (Forbid, None, before, 0, due, Verdict::Start(due)),
            (Forbid, None, due, 0, now, Verdict::Idle),
            (Forbid, None, now, 0, now, Verdict::Idle),
            (Forbid, None, before, 1, now, Verdict::Wait),
            (Allow, None, before, 1, now, Verdict::Start(due)),
            (Replace, None, before, 2, now, Verdict::Replace),
            (Replace, None, before, 0, now, Verdict::Start(due)),
            (Forbid, Some(600), before, 0, now, Verdict::Start(due)),
            (Forbid, Some(599), before, 0, now, Verdict::Missed(due)),
            (Forbid, Some(599), before, 1, now, Verdict::Missed(due)),
            // Two nights were missed: the last one is made up for, the other is not.
            (Forbid, None, time("2026-01-07T12:00:00Z"), 0, now, Verdict::Start(due)),
        ] {
            let terms = Terms { suspend: false, deadline_secs: deadline, policy };
            let rhythm = rhythm("0 3 * * *", "UTC");
            let found = decide(terms, &rhythm, last, active, now);
            assert_eq!(found, expected, "{policy:?} {deadline:?} {last} {active} {now}");
            let suspended = Terms { suspend: true, ..terms };
            assert_eq!(decide(suspended, &rhythm, last, active, now), Verdict::Idle);
        }
    }
}
