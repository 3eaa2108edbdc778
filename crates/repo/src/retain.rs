//! Which snapshots to keep, and why: a pure function of snapshots, policy and time zone.

use crate::snapshots::SnapshotInfo;
use cistern_format::id::SnapshotId;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// How many snapshots of each name to keep.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// The newest so many.
    pub keep_last: u32,
    /// The newest of each of so many hours that have one.
    pub keep_hourly: u32,
    /// … days.
    pub keep_daily: u32,
    /// … weeks, Monday to Sunday.
    pub keep_weekly: u32,
    /// … months.
    pub keep_monthly: u32,
    /// … years.
    pub keep_yearly: u32,
    /// All within so many seconds before the newest.
    pub keep_within_secs: u64,
    /// All with any of these tags.
    pub keep_tags: Vec<String>,
}

impl Policy {
    /// Whether the policy would keep nothing but what is held: almost surely a slip of the finger.
    pub fn is_empty(&self) -> bool {
        *self == Policy::default()
    }
}

/// What is to become of one snapshot.
#[derive(Clone, Debug, Serialize)]
pub struct Decision {
    /// The snapshot.
    pub id: SnapshotId,
    /// Its name.
    pub name: String,
    /// When it was committed, milliseconds since 1970.
    pub committed_ms: u64,
    /// Its length in bytes.
    pub raw_bytes: u64,
    /// Whether it stays.
    pub keep: bool,
    /// Why it stays, or why it goes.
    pub reasons: Vec<String>,
}

/// Decides over all snapshots, name by name.
///
/// Time is the store's: when the snapshot was committed. Snapshots that are suspect or truncated
/// never count as the good one of an interval, and the newest good one of each name always stays.
pub fn plan(snapshots: &[SnapshotInfo], policy: &Policy, zone: &TimeZone) -> Vec<Decision> {
    let mut names: BTreeMap<&str, Vec<&SnapshotInfo>> = BTreeMap::new();
    for info in snapshots {
        names.entry(&info.snapshot.name).or_default().push(info);
    }
    names.into_values().flat_map(|of_name| plan_name(of_name, policy, zone)).collect()
}

fn plan_name(mut of_name: Vec<&SnapshotInfo>, policy: &Policy, zone: &TimeZone) -> Vec<Decision> {
    of_name.sort_by_key(|s| std::cmp::Reverse((s.committed_ms, s.id)));
    let mut reasons: HashMap<SnapshotId, Vec<String>> = HashMap::new();
    let good: Vec<&SnapshotInfo> = of_name.iter().filter(|s| s.is_good()).copied().collect();
    for rule in rules(policy) {
        apply(&rule, &good, zone, &mut reasons);
    }
    let newest_ms = of_name.first().map_or(0, |s| s.committed_ms);
    for info in &of_name {
        let mut keep = |why: String| reasons.entry(info.id).or_default().push(why);
        let age_secs = (newest_ms - info.committed_ms) / 1000;
        if policy.keep_within_secs > 0 && age_secs <= policy.keep_within_secs {
            keep("within the time to keep all".to_owned());
        }
        if let Some(tag) = policy.keep_tags.iter().find(|t| info.tags.contains(*t)) {
            keep(format!("tag {tag}"));
        }
        for (name, why) in &info.holds {
            keep(format!("held by {name}: {why}"));
        }
    }
    if let Some(newest) = good.first() {
        reasons.entry(newest.id).or_insert_with(|| vec!["the newest good one of its name".to_owned()]);
    }
    of_name.into_iter().map(|info| decide(info, &mut reasons)).collect()
}

fn decide(info: &SnapshotInfo, reasons: &mut HashMap<SnapshotId, Vec<String>>) -> Decision {
    let why = reasons.remove(&info.id);
    let keep = why.is_some();
    let reasons = why.unwrap_or_else(|| match &info.snapshot.suspect {
        Some(suspect) => vec![format!("suspect, so it counts for no interval: {suspect}")],
        None => vec!["no rule keeps it".to_owned()],
    });
    Decision {
        id: info.id,
        name: info.snapshot.name.clone(),
        committed_ms: info.committed_ms,
        raw_bytes: info.snapshot.raw_bytes,
        keep,
        reasons,
    }
}

struct Rule {
    what: &'static str,
    count: u32,
    /// The interval a time falls into; each keeps its newest.
    interval: fn(DateTime) -> String,
}

fn rules(policy: &Policy) -> Vec<Rule> {
    let rule = |what, count, interval| Rule { what, count, interval };
    vec![
        rule("hourly", policy.keep_hourly, |t| t.strftime("%Y-%m-%d %H").to_string()),
        rule("daily", policy.keep_daily, |t| t.strftime("%Y-%m-%d").to_string()),
        rule("weekly", policy.keep_weekly, |t| t.strftime("%G-W%V").to_string()),
        rule("monthly", policy.keep_monthly, |t| t.strftime("%Y-%m").to_string()),
        rule("yearly", policy.keep_yearly, |t| t.strftime("%Y").to_string()),
        rule("last", policy.keep_last, |_| String::new()),
    ]
}

/// `good` is newest first.
fn apply(
    rule: &Rule,
    good: &[&SnapshotInfo],
    zone: &TimeZone,
    reasons: &mut HashMap<SnapshotId, Vec<String>>,
) {
    let mut left = rule.count;
    let mut last = None;
    for info in good {
        if left == 0 {
            return;
        }
        let time = jiff::Timestamp::from_millisecond(info.committed_ms as i64).unwrap_or_default();
        let interval = (rule.interval)(zone.to_datetime(time));
        let each_counts = interval.is_empty();
        if each_counts || last.as_ref() != Some(&interval) {
            let label = if each_counts { rule.what.to_owned() } else { format!("{} {interval}", rule.what) };
            reasons.entry(info.id).or_default().push(label);
            last = Some(interval);
            left -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cistern_format::chunk::ChunkSizes;
    use cistern_format::recipe::Root;
    use cistern_format::snapshot::Snapshot;

    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;

    fn at(ms: u64) -> SnapshotInfo {
        let id = SnapshotId::new(ms, [0; 10]);
        SnapshotInfo {
            id,
            committed_ms: ms,
            receipt: [0; 32],
            tags: Default::default(),
            holds: Default::default(),
            snapshot: Snapshot {
                name: "db".into(),
                started_ms: ms,
                finished_ms: ms,
                host: String::new(),
                writer: String::new(),
                sequence: 0,
                previous: None,
                recipe: Root { depth: 0, nodes: vec![] },
                chunk_sizes: ChunkSizes::around(1 << 20).expect("legal"),
                raw_bytes: 1,
                digest: Default::default(),
                stored: Default::default(),
                content: Default::default(),
                wrap: None,
                tags: vec![],
                producer: None,
                deltas: String::new(),
                suspect: None,
                copied_from: None,
            },
        }
    }

    fn kept(snapshots: &[SnapshotInfo], policy: &Policy) -> Vec<u64> {
        let mut times: Vec<u64> = plan(snapshots, policy, &TimeZone::UTC)
            .iter()
            .filter(|d| d.keep)
            .map(|d| d.committed_ms)
            .collect();
        times.sort_unstable();
        times
    }

    /// 2025-01-01 00:00 UTC, a Wednesday.
    const START: u64 = 1_735_689_600_000;

    #[test]
    fn each_rule_keeps_the_newest_of_its_intervals() {
        let daily: Vec<SnapshotInfo> = (0..60).map(|d| at(START + d * DAY + 2 * HOUR)).collect();
        let day = |d: u64| START + d * DAY + 2 * HOUR;
        let policy = |f: fn(&mut Policy)| {
            let mut p = Policy::default();
            f(&mut p);
            p
        };
        assert_eq!(kept(&daily, &policy(|p| p.keep_last = 2)), [day(58), day(59)]);
        assert_eq!(kept(&daily, &policy(|p| p.keep_daily = 3)), [day(57), day(58), day(59)]);
        // 2025-03-01 is a Saturday: the running week, and the Sunday before it.
        assert_eq!(kept(&daily, &policy(|p| p.keep_weekly = 2)), [day(53), day(59)]);
        assert_eq!(kept(&daily, &policy(|p| p.keep_monthly = 2)), [day(58), day(59)]);
        assert_eq!(kept(&daily, &policy(|p| p.keep_yearly = 5)), [day(59)]);
        assert_eq!(kept(&daily, &policy(|p| p.keep_within_secs = 3 * 86400)).len(), 4);
    }

    #[test]
    fn suspects_never_stand_for_an_interval_and_the_newest_good_one_stays() {
        let mut list = vec![at(START), at(START + DAY), at(START + DAY + HOUR)];
        list[2].snapshot.suspect = Some("small".into());
        let policy = Policy { keep_daily: 1, ..Policy::default() };
        assert_eq!(kept(&list, &policy), [START + DAY]);
        assert_eq!(kept(&list, &Policy::default()), [START + DAY], "even by an empty policy");
    }

    #[test]
    fn tags_and_holds_keep() {
        let mut list = vec![at(START), at(START + 1), at(START + 2), at(START + 3)];
        list[0].tags.insert("release".into());
        list[1].holds.insert("audit".into(), "case 7".into());
        let policy = Policy { keep_last: 1, keep_tags: vec!["release".into()], ..Policy::default() };
        assert_eq!(kept(&list, &policy), [START, START + 1, START + 3]);
        let reasons: Vec<String> = plan(&list, &policy, &TimeZone::UTC)
            .into_iter()
            .filter(|d| d.keep)
            .flat_map(|d| d.reasons)
            .collect();
        assert!(reasons.contains(&"held by audit: case 7".to_owned()), "{reasons:?}");
    }
}
