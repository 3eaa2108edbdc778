//! `cistern optimize`: turn chunks that were stored whole into deltas.
//!
//! A credential that only pushes cannot read older chunks, so it stores all new ones whole; whoever can
//! read makes up for it later.

use crate::context::Context;
use crate::failure::Failure;
use crate::progress::Meter;
use crate::show;
use cistern_repo::{OptimizeOptions, OptimizeReport, PruneOptions};

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// Only snapshots of this name
    name: Option<String>,
    /// Only say what would be done
    #[arg(long, short = 'n')]
    dry_run: bool,
}

/// Optimizes and says what came of it.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let repository = context.repository().await?;
    let prune = PruneOptions { dry_run: args.dry_run, ..PruneOptions::default() };
    let options = OptimizeOptions { name: args.name, prune };
    let meter = Meter::start(context);
    let report = meter.during_care(context, repository.optimize(&options, meter.clone())).await?;
    if context.json { show::json(&report) } else { show::line(&text(&report)) }
}

/// The report for people.
pub fn text(report: &OptimizeReport) -> String {
    if report.deltas == 0 {
        return format!("looked at {} whole chunks; none is better off as a delta", report.looked_at);
    }
    let verb = if report.dry_run { "would become" } else { "became" };
    format!(
        "{} of {} whole chunks {verb} deltas: {} instead of {}",
        report.deltas,
        report.looked_at,
        show::size(report.after_bytes),
        show::size(report.before_bytes)
    )
}
