//! `cistern verify`: look for damage, from a look at the listings to a full restore.

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::progress::Meter;
use crate::show;
use cistern_repo::{Finding, Severity, VerifyOptions, VerifyReport, printable};

/// Level without a name: metadata is complete and consistent. Cheap enough for every night.
const LEVEL_DEFAULT: u8 = 1;
/// Level that restores snapshots, and the only one a name makes sense for.
const LEVEL_RESTORE: u8 = 4;

/// What can be typed.
#[derive(clap::Args)]
#[command(after_help = LEVELS)]
pub struct Args {
    /// Restore the snapshots of this name only (level 4)
    name: Option<String>,
    /// How deep to look [default: 1, or 4 with a name]
    #[arg(long, value_name = "0-4", value_parser = clap::value_parser!(u8).range(0..=4))]
    level: Option<u8>,
    /// Only part N of T of the packs, for levels 2 and 3; `auto/T` takes the part whose turn it is
    #[arg(long, value_name = "N/T", value_parser = parse_slice)]
    slice: Option<Slice>,
}

const LEVELS: &str = "\
Levels; each includes those before it:
  0  listings, snapshots, trash    unreadable and removed snapshots, leftover sessions
  1  all but the data in packs     chunks nobody holds, index and packs that differ, unreadable objects
  2  every byte of the packs       bit-rot; needs no key to data
  3  every record, opened          wrong content under a right seal
  4  snapshots, as pull does       everything, and the digest of the whole stream";

/// Which part of how many.
#[derive(Clone, Copy)]
enum Slice {
    Part(u32, u32),
    Next(u32),
}

/// Looks, tells, and ends with 3 if anything is lost.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let level = level(&args)?;
    let repository = context.repository().await?;
    let slice = match args.slice {
        None => None,
        Some(Slice::Part(part, of)) => Some((part, of)),
        Some(Slice::Next(of)) => Some(repository.next_slice(level, of).await?),
    };
    let options = VerifyOptions { level, slice, name: args.name };
    let meter = Meter::start(context);
    let report = meter.during_care(context, repository.verify(&options, meter.clone())).await?;
    if context.json {
        show::json(&report)?;
    } else {
        show::raw(text(&report).as_bytes())?;
    }
    if report.is_damaged() {
        let hint = "`cistern repair --dry-run` tells what can be mended";
        return Err(Failure::new(Exit::Damaged, "the repository is damaged").hint(hint));
    }
    Ok(())
}

fn level(args: &Args) -> Result<u8, Failure> {
    match (args.level, &args.name) {
        (None, None) => Ok(LEVEL_DEFAULT),
        (None | Some(LEVEL_RESTORE), Some(_)) => Ok(LEVEL_RESTORE),
        (Some(level), None) => Ok(level),
        (Some(level), Some(_)) => {
            let message = format!("level {level} looks at packs, which belong to no one name");
            Err(Failure::usage(message).hint("leave the name or the level away"))
        }
    }
}

/// The report for people; its last line is the sum.
pub fn text(report: &VerifyReport) -> String {
    let mut lines = findings(&report.findings);
    let mut looked = format!("level {}: looked at {} snapshots", report.level, report.snapshots);
    if report.packs > 0 {
        looked += &format!(", read {} packs of {}", report.packs, show::size(report.read_bytes));
    }
    if report.slice.1 > 1 {
        looked += &format!(" (part {} of {})", report.slice.0, report.slice.1);
    }
    if report.restored > 0 {
        looked += &format!(", restored {}", report.restored);
    }
    let of = |severity| report.findings.iter().filter(|f| f.severity == severity).count();
    looked += &match (of(Severity::Damage), of(Severity::Warning)) {
        (0, 0) => "; all is well".to_owned(),
        (damages, warnings) => format!("; {damages} damages, {warnings} warnings"),
    };
    lines.push(looked);
    lines.join("\n") + "\n"
}

/// One line per finding, and the snapshots it costs below it.
pub fn findings(findings: &[Finding]) -> Vec<String> {
    let mut lines = Vec::new();
    for finding in findings {
        let severity = match finding.severity {
            Severity::Damage => "DAMAGE ",
            Severity::Warning => "warning",
        };
        lines.push(format!("{severity} {}: {}", printable(&finding.subject), printable(&finding.what)));
        lines.extend(finding.snapshots.iter().map(|s| format!("        touches {}", printable(s))));
    }
    lines
}

fn parse_slice(text: &str) -> Result<Slice, String> {
    let wrong = || "write it as 1/7, or as auto/7".to_owned();
    let (part, of) = text.split_once('/').ok_or_else(wrong)?;
    let of: u32 = of.parse().map_err(|_| wrong())?;
    match part {
        "auto" if of > 0 => Ok(Slice::Next(of)),
        _ => match part.parse() {
            Ok(part) if (1..=of).contains(&part) => Ok(Slice::Part(part, of)),
            _ => Err(wrong()),
        },
    }
}
