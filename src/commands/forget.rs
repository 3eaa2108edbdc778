//! `cistern forget`: drop snapshots from sight, by a policy or one by one.

use crate::commands::prune;
use crate::confirm::confirm;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::{role, show};
use cistern_repo::retain::{Decision, Policy, plan};
use cistern_repo::{PruneOptions, SnapshotId, SnapshotInfo, printable, select};
use jiff::tz::TimeZone;
use serde::Serialize;
use std::time::Duration;

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// Only snapshots of these names
    #[arg(value_name = "NAME", conflicts_with = "id")]
    names: Vec<String>,
    /// Forget exactly this snapshot; may be given more than once
    #[arg(long, value_name = "ID", num_args = 1.., conflicts_with = "Keep")]
    id: Vec<String>,
    #[command(flatten)]
    keep: Keep,
    /// Time zone that hours, days, weeks, months and years are meant in [default: the system's]
    #[arg(long, value_name = "ZONE", value_parser = parse_zone)]
    tz: Option<TimeZone>,
    /// Only say what would be forgotten
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Prune afterwards
    #[arg(long)]
    prune: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// The policy; counts are per name.
#[derive(clap::Args)]
#[group(multiple = true)]
struct Keep {
    /// Keep the newest N
    #[arg(long, value_name = "N", default_value_t, hide_default_value = true)]
    keep_last: u32,
    /// Keep the newest of each of N hours
    #[arg(long, value_name = "N", default_value_t, hide_default_value = true)]
    keep_hourly: u32,
    /// Keep the newest of each of N days
    #[arg(long, value_name = "N", default_value_t, hide_default_value = true)]
    keep_daily: u32,
    /// Keep the newest of each of N weeks
    #[arg(long, value_name = "N", default_value_t, hide_default_value = true)]
    keep_weekly: u32,
    /// Keep the newest of each of N months
    #[arg(long, value_name = "N", default_value_t, hide_default_value = true)]
    keep_monthly: u32,
    /// Keep the newest of each of N years
    #[arg(long, value_name = "N", default_value_t, hide_default_value = true)]
    keep_yearly: u32,
    /// Keep all within so long before the newest, such as 7d
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    keep_within: Option<Duration>,
    /// Keep all with this tag
    #[arg(long, value_name = "TAG")]
    keep_tag: Vec<String>,
}

impl Keep {
    fn policy(self) -> Policy {
        Policy {
            keep_last: self.keep_last,
            keep_hourly: self.keep_hourly,
            keep_daily: self.keep_daily,
            keep_weekly: self.keep_weekly,
            keep_monthly: self.keep_monthly,
            keep_yearly: self.keep_yearly,
            keep_within_secs: self.keep_within.map_or(0, |d| d.as_secs()),
            keep_tags: self.keep_tag,
        }
    }
}

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    kept: usize,
    forgotten: usize,
    decisions: Vec<Decision>,
    prune: Option<prune::Report>,
}

/// Plans, shows, asks, forgets.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let Args { names, id, keep, tz, dry_run, prune, yes } = args;
    let policy = keep.policy();
    if id.is_empty() && policy.is_empty() {
        let message = "nothing is said to be kept, so every snapshot would be forgotten";
        return Err(Failure::usage(message).hint("say --keep-last, --keep-daily, …, or --id for single ones"));
    }
    let repository = context.repository().await?;
    role::require_maintenance(&repository, "forget snapshots")?;
    let all = repository.snapshots().await?;
    let decisions = match id.is_empty() {
        true => plan(&of_names(all, &names)?, &policy, &tz.unwrap_or_else(TimeZone::system)),
        false => chosen(&all, &id)?,
    };
    let going: Vec<SnapshotId> = decisions.iter().filter(|d| !d.keep).map(|d| d.id).collect();
    if !context.json {
        show::raw(table(&decisions).as_bytes())?;
    }
    if !dry_run && !going.is_empty() {
        confirm(context, yes, &format!("Forget {} of {} snapshots?", going.len(), decisions.len())).await?;
        let reason = if id.is_empty() { "by policy" } else { "by id" };
        repository.forget(&going, reason).await?;
    }
    let pruned = match prune && !dry_run {
        true => Some(prune::prune(&repository, &PruneOptions::default(), true, context).await?),
        false => None,
    };
    let (forgotten, kept) = (going.len(), decisions.len() - going.len());
    if context.json {
        return show::json(&Report { dry_run, kept, forgotten, decisions, prune: pruned });
    }
    let verb = if dry_run { "would forget" } else { "forgot" };
    show::note(context, &format!("{verb} {forgotten}, kept {kept}"));
    pruned.map_or(Ok(()), |report| show::raw(prune::text(&report).as_bytes()))
}

/// The snapshots of these names; of all when none is given.
fn of_names(all: Vec<SnapshotInfo>, names: &[String]) -> Result<Vec<SnapshotInfo>, Failure> {
    if let Some(name) = names.iter().find(|name| !all.iter().any(|s| s.snapshot.name == **name)) {
        let message = format!("there is no snapshot named `{}`; nothing was forgotten", printable(name));
        return Err(Failure::new(Exit::NotFound, message).hint("`cistern ls` lists all there are"));
    }
    Ok(all.into_iter().filter(|s| names.is_empty() || names.contains(&s.snapshot.name)).collect())
}

/// Exactly these. A name is no id here: it would mean a snapshot that changes every night.
fn chosen(all: &[SnapshotInfo], ids: &[String]) -> Result<Vec<Decision>, Failure> {
    let mut decisions: Vec<Decision> = Vec::new();
    for text in ids {
        let found = select(all, text).ok().filter(|info| info.id.to_string().ends_with(&text.to_uppercase()));
        let info = found.ok_or_else(|| {
            let message =
                format!("no single snapshot id ends in `{}`; nothing was forgotten", printable(text));
            Failure::new(Exit::NotFound, message).hint("`cistern ls` shows the ids")
        })?;
        if !decisions.iter().any(|d| d.id == info.id) {
            decisions.push(Decision {
                id: info.id,
                name: info.snapshot.name.clone(),
                committed_ms: info.committed_ms,
                raw_bytes: info.snapshot.raw_bytes,
                keep: false,
                reasons: vec!["asked for by id".to_owned()],
            });
        }
    }
    Ok(decisions)
}

fn table(decisions: &[Decision]) -> String {
    let rows: Vec<Vec<String>> = decisions
        .iter()
        .map(|d| {
            vec![
                if d.keep { "keep" } else { "forget" }.to_owned(),
                d.id.short(),
                printable(&d.name),
                show::time(d.committed_ms),
                show::size(d.raw_bytes),
                d.reasons.iter().map(|r| printable(r)).collect::<Vec<_>>().join("; "),
            ]
        })
        .collect();
    show::table(&["PLAN", "ID", "NAME", "WHEN", ">SIZE", "WHY"], &rows)
}

fn parse_zone(text: &str) -> Result<TimeZone, String> {
    TimeZone::get(text).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    #[test]
    fn zones_are_known_on_a_machine_without_any() {
        let bundled = jiff::tz::TimeZoneDatabase::bundled();
        assert!(bundled.get("Asia/Tokyo").is_ok(), "an image of nothing but the program has no zones");
    }
}
