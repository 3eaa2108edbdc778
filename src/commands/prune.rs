//! `cistern prune`: give back the space of what was forgotten.

use crate::commands::optimize;
use crate::context::Context;
use crate::failure::Failure;
use crate::progress::Meter;
use crate::{role, show};
use cistern_repo::{OptimizeOptions, OptimizeReport, PruneOptions, PruneReport, Repository};
use serde::Serialize;
use std::time::Duration;

/// Leftovers of crashed writers are removed at this age: by then no writer lives that made them.
const STAGING_AGE: Duration = Duration::from_secs(24 * 3600);

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// How long space that nobody uses is kept before it is given back, against regrets
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = humantime::parse_duration)]
    grace: Duration,
    /// How long a push may show no sign of life before it is given up
    #[arg(long, value_name = "TIME", default_value = "2h", value_parser = humantime::parse_duration)]
    session_timeout: Duration,
    /// Share of unused bytes that may stay where moving the rest would cost more
    #[arg(long, value_name = "PERCENT", default_value = "10%", value_parser = parse_percent)]
    max_unused: u8,
    /// Most bytes to move in one run
    #[arg(long, value_name = "SIZE", value_parser = show::parse_size)]
    max_repack: Option<u64>,
    /// Only say what would be done
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Leave whole chunks and deltas as they are, though others would take less; a key that cannot read always does
    #[arg(long)]
    no_optimize: bool,
}

/// What was done.
#[derive(Serialize)]
pub struct Report {
    #[serde(flatten)]
    pruned: PruneReport,
    optimize: Option<OptimizeReport>,
    staging_files: u64,
}

/// Prunes and says what came of it.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let repository = context.repository().await?;
    let defaults = PruneOptions::default();
    let options = PruneOptions {
        grace: args.grace,
        session_timeout: args.session_timeout,
        unused_percent_max: args.max_unused,
        repack_bytes_max: args.max_repack.unwrap_or(defaults.repack_bytes_max),
        rebase: !args.no_optimize,
        dry_run: args.dry_run,
    };
    let report = prune(&repository, &options, !args.no_optimize, context).await?;
    if context.json { show::json(&report) } else { show::raw(text(&report).as_bytes()) }
}

/// Prunes the repository, and the leftovers of crashed writers with it.
pub async fn prune(
    repository: &Repository,
    options: &PruneOptions,
    may_optimize: bool,
    context: &Context,
) -> Result<Report, Failure> {
    role::require_maintenance(repository, "prune")?;
    let meter = Meter::start(context);
    let pruned = meter.during_care(context, repository.prune(options, meter.clone())).await?;
    let optimize = match may_optimize && repository.keys().can_read() {
        true => {
            let options = OptimizeOptions { name: None, prune: options.clone() };
            let meter = Meter::start(context);
            Some(meter.during_care(context, repository.optimize(&options, meter.clone())).await?)
        }
        false => None,
    };
    let staging_files = match options.dry_run {
        true => 0,
        false => cistern_store::clean_staging(&context.location, STAGING_AGE).await?,
    };
    Ok(Report { pruned, optimize, staging_files })
}

/// The report for people.
pub fn text(report: &Report) -> String {
    let r = &report.pruned;
    let mut lines = vec![format!(
        "{} packs, {}; {} unused",
        r.packs,
        show::size(r.pack_bytes),
        show::size(r.unused_bytes)
    )];
    let mut say = |if_any: u64, line: String| {
        if if_any > 0 {
            lines.push(line);
        }
    };
    let verb = if r.dry_run { "would condemn" } else { "condemned" };
    say(
        r.condemned_packs,
        format!("{verb} {} packs of {}", r.condemned_packs, show::size(r.condemned_bytes)),
    );
    say(r.copied_bytes, format!("moved {} that is in use", show::size(r.copied_bytes)));
    let verb = if r.dry_run { "would make" } else { "made" };
    say(
        r.released_bases,
        format!(
            "{verb} {} deltas anew, so that {} chunks only they need can go",
            r.rebased_deltas, r.released_bases
        ),
    );
    say(r.deleted_packs, format!("deleted {} packs, freed {}", r.deleted_packs, show::size(r.freed_bytes)));
    say(r.removed_snapshots, format!("removed {} forgotten snapshots", r.removed_snapshots));
    say(r.refused_sessions.len() as u64, format!("gave up {} dead pushes", r.refused_sessions.len()));
    say(report.staging_files, format!("removed {} files of crashed writers", report.staging_files));
    lines.extend(report.optimize.as_ref().filter(|o| o.deltas > 0).map(optimize::text));
    lines.extend(r.waiting.iter().map(|w| format!("waiting: {w}")));
    lines.join("\n") + "\n"
}

fn parse_percent(text: &str) -> Result<u8, String> {
    let number = text.trim().trim_end_matches('%').trim_end();
    match number.parse::<u8>() {
        Ok(percent) if percent <= 100 => Ok(percent),
        _ => Err("it must be a whole number from 0% to 100%".to_owned()),
    }
}
