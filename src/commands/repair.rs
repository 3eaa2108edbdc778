//! `cistern repair`: mend damage, as far as it can be mended.

use crate::commands::verify::findings;
use crate::confirm::confirm;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::progress::Meter;
use crate::{role, show};
use cistern_repo::{RepairOptions, RepairReport, printable};

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// Read every pack to find the damaged ones; otherwise only their directories are looked at
    #[arg(long)]
    read_data: bool,
    /// Forget snapshots that cannot be restored any more
    #[arg(long)]
    forget_broken: bool,
    /// Only say what would be done
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Mends, tells what was done, and ends with 3 if something stays lost.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let repository = context.repository().await?;
    role::require_maintenance(&repository, "repair")?;
    if args.forget_broken && !args.dry_run {
        confirm(context, args.yes, "Forget every snapshot that cannot be restored?").await?;
    }
    let Args { read_data, dry_run, forget_broken, .. } = args;
    let options = RepairOptions { read_data, dry_run, forget_broken };
    let meter = Meter::start(context);
    let report = meter.during_care(context, repository.repair(&options, meter.clone())).await?;
    if context.json {
        show::json(&report)?;
    } else {
        show::raw(text(&report).as_bytes())?;
    }
    if report.lost.is_empty() || forget_broken {
        return Ok(());
    }
    let hint =
        "push the same streams again, which heals what they hold; or give the rest up with --forget-broken";
    Err(Failure::new(Exit::Damaged, format!("{} things are lost", report.lost.len())).hint(hint))
}

fn text(report: &RepairReport) -> String {
    let verb = if report.dry_run { "would: " } else { "" };
    let mut lines: Vec<String> =
        report.done.iter().map(|done| format!("{verb}{}", printable(done))).collect();
    lines.extend(findings(&report.lost));
    if lines.is_empty() {
        lines.push("nothing to mend".to_owned());
    }
    lines.join("\n") + "\n"
}
