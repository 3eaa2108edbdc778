//! Which runs of a schedule are kept. Pure.

use cistern_api::Retention;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use std::collections::BTreeSet;

/// The hour, day, week, month or year that a time is in, as a text of its own.
type Period = fn(&Zoned) -> String;

/// Positions of the runs that are kept. A retention that names no number at all keeps everything: nobody means
/// to delete all there is.
pub(crate) fn kept(runs: &[Timestamp], retention: &Retention, zone: &TimeZone) -> BTreeSet<usize> {
    let mut newest_first: Vec<usize> = (0..runs.len()).collect();
    newest_first.sort_by_key(|position| std::cmp::Reverse(runs[*position]));
    let classes: [(u32, Period); 5] = [
        (retention.keep_hourly, |time| format!("{} {}", time.strftime("%Y-%m-%d %H"), time.offset())),
        (retention.keep_daily, |time| time.date().to_string()),
        (retention.keep_weekly, |time| time.strftime("%G-%V").to_string()),
        (retention.keep_monthly, |time| time.strftime("%Y-%m").to_string()),
        (retention.keep_yearly, |time| time.year().to_string()),
    ];
    if retention.keep_last == 0 && classes.iter().all(|(number, _)| *number == 0) {
        return newest_first.into_iter().collect();
    }
    let mut kept: BTreeSet<usize> = newest_first.iter().take(count(retention.keep_last)).copied().collect();
    for (number, period) in classes {
        let mut periods = BTreeSet::new();
        for position in &newest_first {
            if periods.len() == count(number) {
                break;
            }
            if periods.insert(period(&runs[*position].to_zoned(zone.clone()))) {
                kept.insert(*position);
            }
        }
    }
    kept
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(times: &[&str]) -> Vec<Timestamp> {
        times.iter().map(|time| time.parse().unwrap()).collect()
    }

    fn found(times: &[&str], retention: Retention, zone: &str) -> Vec<usize> {
        kept(&runs(times), &retention, &TimeZone::get(zone).unwrap()).into_iter().collect()
    }

    const TIMES: [&str; 6] = [
        "2025-12-31T03:00:00Z",
        "2026-01-04T03:00:00Z",
        "2026-01-05T03:00:00Z",
        "2026-01-05T23:30:00Z",
        "2026-01-06T03:00:00Z",
        "2026-01-06T03:30:00Z",
    ];

    #[test]
    fn each_class_keeps_the_last_run_of_its_periods() {
        let none = Retention::default;
        for (retention, expected) in [
            (none(), vec![0, 1, 2, 3, 4, 5]),
            (Retention { keep_last: 2, ..none() }, vec![4, 5]),
            (Retention { keep_last: 9, ..none() }, vec![0, 1, 2, 3, 4, 5]),
            (Retention { keep_hourly: 2, ..none() }, vec![3, 5]),
            (Retention { keep_daily: 2, ..none() }, vec![3, 5]),
            // The 5th is a Monday.
            (Retention { keep_weekly: 2, ..none() }, vec![1, 5]),
            (Retention { keep_monthly: 9, ..none() }, vec![0, 5]),
            (Retention { keep_yearly: 1, ..none() }, vec![5]),
            (Retention { keep_yearly: 2, keep_daily: 1, ..none() }, vec![0, 5]),
        ] {
            assert_eq!(found(&TIMES, retention.clone(), "UTC"), expected, "{retention:?}");
        }
    }

    #[test]
    fn days_are_those_of_the_zone() {
        // 23:30 UTC is the next day in Berlin.
        let daily = Retention { keep_daily: 2, ..Retention::default() };
        assert_eq!(found(&TIMES, daily, "Europe/Berlin"), [2, 5]);
    }

    #[test]
    fn the_order_of_the_runs_does_not_matter() {
        let mut turned = TIMES;
        turned.reverse();
        assert_eq!(found(&turned, Retention { keep_last: 2, ..Retention::default() }, "UTC"), [0, 1]);
    }
}
