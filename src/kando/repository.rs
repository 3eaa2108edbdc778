//! `kando repository`: what the Jobs of a Repository do to it, and their report for the controller.
//!
//! The commands are those of `cistern`; what differs is where they learn of the repository (a profile), and that
//! damage is no failure: the work was done, and the report says what was found.

use super::place::Address;
use crate::commands::{prune as pruning, verify as verifying};
use crate::context::{Context, variable};
use crate::door;
use crate::failure::{Exit, Failure};
use crate::progress::Meter;
use crate::{role, show};
use cistern_api::SnapshotRetention;
use cistern_api::wire::{RepositorySize, UpkeepReport};
use cistern_repo::retain::{Policy, plan};
use cistern_repo::{PruneOptions, Repository, Severity, SnapshotId, SnapshotInfo, VerifyOptions};
use jiff::tz::TimeZone;
use std::io::Write as _;
use std::path::PathBuf;

/// Which slice a pod of an Indexed Job reads.
const INDEX: &str = "JOB_COMPLETION_INDEX";

/// What can be typed.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Open it, and say how large it is
    Check(CheckArgs),
    /// Forget what a retention does not keep, and give space back
    Prune(PruneArgs),
    /// Look for damage
    Verify(VerifyArgs),
}

/// Where.
#[derive(clap::Args)]
pub struct Place {
    /// Profile as JSON, `@FILE`, or JSON that refers to a file
    #[arg(long, short, value_name = "JSON")]
    profile: Option<String>,
    /// File to write the report into
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// `check`.
#[derive(clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    place: Place,
}

/// `prune`.
#[derive(clap::Args)]
pub struct PruneArgs {
    #[command(flatten)]
    place: Place,
    /// Retention of a Repository, as JSON
    #[arg(long, value_name = "JSON", value_parser = retention)]
    retention: Option<SnapshotRetention>,
    /// Time zone that hours, days, weeks, months and years are meant in
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = TimeZone::get)]
    tz: TimeZone,
}

/// `verify`.
#[derive(clap::Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    place: Place,
    /// How deep to look
    #[arg(long, value_name = "0-4", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=4))]
    level: u8,
    /// Read the packs in so many slices: of these the one that JOB_COMPLETION_INDEX says
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    slices: u32,
    /// Read the slice whose turn it is
    #[arg(long)]
    in_turn: bool,
}

fn retention(text: &str) -> Result<SnapshotRetention, String> {
    serde_json::from_str(text).map_err(|e| e.to_string())
}

/// Runs one of them.
pub fn run(command: Command) -> Result<(), Failure> {
    door::run(async {
        match command {
            Command::Check(args) => check(&args.place).await,
            Command::Prune(args) => prune(args).await,
            Command::Verify(args) => verify(args).await,
        }
    })
}

async fn open(place: &Place) -> Result<(Repository, Context), Failure> {
    let (location, context) = Address::find(place.profile.as_deref()).await?.open(false).await?;
    let absent = || {
        let message = format!("there is no repository at {}", context.location);
        Failure::new(Exit::NotFound, message).hint("`cistern init` makes one")
    };
    let repository = location.repository.ok_or_else(absent)?;
    Ok((repository, context))
}

/// Tells people on standard output, and the controller in the file.
fn told(place: &Place, report: &UpkeepReport, text: &str) -> Result<(), Failure> {
    show::raw(text.as_bytes())?;
    let Some(file) = &place.report else { return show::line(&report.to_json()) };
    // Not replaced by a new one: Kubernetes reads the one that it has mounted.
    let opened = std::fs::File::options().write(true).create(true).truncate(true).open(file);
    opened
        .and_then(|mut file| file.write_all(report.to_json().as_bytes()))
        .map_err(|e| Failure::other(format!("cannot write the report into {}: {e}", file.display())))
}

async fn check(place: &Place) -> Result<(), Failure> {
    let (repository, _) = open(place).await?;
    let size = measure(&repository).await?;
    let done = format!("{} snapshots in {}", size.snapshots, size.size);
    let text = format!("{done}\n");
    told(place, &UpkeepReport { size: Some(size), done, ..UpkeepReport::default() }, &text)
}

async fn prune(args: PruneArgs) -> Result<(), Failure> {
    let (repository, context) = open(&args.place).await?;
    role::require_maintenance(&repository, "prune")?;
    let mut text = String::new();
    if let Some(retention) = &args.retention {
        let (forgotten, kept) = forget(&repository, retention, &args.tz).await?;
        text = format!("forgot {forgotten} snapshots, kept {kept} of those names\n");
    }
    let report = pruning::prune(&repository, &PruneOptions::default(), true, &context).await?;
    text += &pruning::text(&report);
    let size = Some(measure(&repository).await?);
    let done = text.trim_end().replace('\n', "; ");
    told(&args.place, &UpkeepReport { size, done, ..UpkeepReport::default() }, &text)
}

/// How many of the snapshots that the retention is about were forgotten, and how many kept.
async fn forget(
    repository: &Repository,
    retention: &SnapshotRetention,
    zone: &TimeZone,
) -> Result<(usize, usize), Failure> {
    if retention.keeps_nothing() {
        let message = "nothing is said to be kept, so every snapshot would be forgotten";
        return Err(Failure::usage(message).hint("say keepLast, keepDaily, … in the Repository's retention"));
    }
    let all = repository.snapshots().await?;
    let about: Vec<SnapshotInfo> = all.into_iter().filter(|s| retention.is_about(&s.snapshot.name)).collect();
    let decisions = plan(&about, &policy(retention), zone);
    let going: Vec<SnapshotId> = decisions.iter().filter(|d| !d.keep).map(|d| d.id).collect();
    if !going.is_empty() {
        repository.forget(&going, "by the Repository's retention").await?;
    }
    Ok((going.len(), decisions.len() - going.len()))
}

fn policy(retention: &SnapshotRetention) -> Policy {
    Policy {
        keep_last: retention.keep_last,
        keep_hourly: retention.keep_hourly,
        keep_daily: retention.keep_daily,
        keep_weekly: retention.keep_weekly,
        keep_monthly: retention.keep_monthly,
        keep_yearly: retention.keep_yearly,
        keep_within_secs: 0,
        keep_tags: retention.keep_tags.clone(),
    }
}

async fn verify(args: VerifyArgs) -> Result<(), Failure> {
    let index = variable(INDEX);
    let slice = match (args.slices, args.in_turn, index.as_deref()) {
        (1, ..) => None,
        (_, true, _) => None,
        (of, false, Some(index)) => Some((slice_of(index, of)?, of)),
        (_, false, None) => {
            let message = format!("which slice is meant? {INDEX} is not set");
            return Err(
                Failure::usage(message).hint("an Indexed Job sets it, which Kubernetes has since 1.22")
            );
        }
    };
    let (repository, context) = open(&args.place).await?;
    let slice = match args.in_turn && args.slices > 1 {
        true => Some(repository.next_slice(args.level, args.slices).await?),
        false => slice,
    };
    let options = VerifyOptions { level: args.level, slice, name: None };
    let meter = Meter::start(&context);
    let found = meter.during_care(&context, repository.verify(&options, meter.clone())).await?;
    // One pod of all measures.
    let measures = args.in_turn || slice.is_none_or(|(part, _)| part == 1);
    let size = if measures { Some(measure(&repository).await?) } else { None };
    let damages = found.findings.iter().filter(|finding| finding.severity == Severity::Damage).count();
    let mut findings = found.findings.clone();
    findings.sort_by_key(|finding| finding.severity != Severity::Damage);
    let text = verifying::text(&found);
    let report = UpkeepReport {
        size,
        done: text.lines().last().unwrap_or_default().to_owned(),
        damages: i64::try_from(damages).unwrap_or(i64::MAX),
        findings: verifying::findings(&findings).into_iter().filter(|line| !line.starts_with(' ')).collect(),
    };
    told(&args.place, &report, &text)
}

/// Slices are counted from 1, pods from 0.
fn slice_of(index: &str, of: u32) -> Result<u32, Failure> {
    let index: Option<u32> = index.parse().ok().filter(|index| *index < of);
    let wrong = || Failure::usage(format!("{INDEX} is not the number of one of {of} slices"));
    index.map(|index| index + 1).ok_or_else(wrong)
}

async fn measure(repository: &Repository) -> Result<RepositorySize, Failure> {
    let stats = repository.stats().await?;
    let newest = repository.snapshots().await?.iter().map(|s| s.committed_ms).max();
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let savings = (stats.pack_bytes > 0).then(|| stats.raw_bytes as f64 / stats.pack_bytes as f64);
    Ok(RepositorySize {
        size: show::size(stats.pack_bytes),
        savings: savings.map_or_else(String::new, |factor| format!("{factor:.1}x")),
        pack_bytes: number(stats.pack_bytes),
        stream_bytes: number(stats.raw_bytes),
        snapshots: number(stats.snapshots),
        newest_ms: newest.map(number),
        measured_ms: jiff::Timestamp::now().as_millisecond(),
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test may unwrap")]

    use super::*;

    #[test]
    fn pods_count_from_zero_and_slices_from_one() {
        assert_eq!(slice_of("0", 8).unwrap(), 1);
        assert_eq!(slice_of("7", 8).unwrap(), 8);
        assert!(slice_of("8", 8).is_err() && slice_of("x", 8).is_err());
    }
}
