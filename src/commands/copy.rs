//! `cistern copy`: copy snapshots to another repository, which has keys of its own.

use crate::cli::Globals;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::progress::Meter;
use crate::report::SnapshotReport;
use crate::show;
use cistern_repo::{Counter, Receipt, Repository, SnapshotInfo, printable};
use serde::Serialize;
use std::path::PathBuf;

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// Only snapshots of these names
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// The other repository
    #[arg(long, value_name = "LOCATION", required_unless_present = "to_profile")]
    to: Option<String>,
    /// Profile of the other repository: its location, its key and how its store is reached
    #[arg(long, value_name = "NAME")]
    to_profile: Option<String>,
    /// File that holds the other repository's key
    #[arg(long, value_name = "FILE")]
    to_key_file: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    copied: Vec<SnapshotReport>,
    already_there: usize,
}

/// Copies what is not there yet, oldest first.
pub async fn run(args: Args, globals: &Globals, context: &Context) -> Result<(), Failure> {
    let from = context.repository().await?;
    let to = other(&args, globals).await?;
    let chosen = choose(from.snapshots().await?, &args.names)?;
    let meter = Meter::start(context);
    let work = from.copy_to(&to, &chosen, meter.clone());
    let receipts = meter.during(context, Counter::ReadBytes, None, work).await?;
    let already_there = chosen.len() - receipts.len();
    if context.json {
        let copied = receipts.iter().map(|r| SnapshotReport::new(r.id, &r.receipt, &r.snapshot)).collect();
        return show::json(&Report { copied, already_there });
    }
    for receipt in &receipts {
        show::line(&line(receipt))?;
    }
    show::note(context, &format!("copied {}, {already_there} were there already", receipts.len()));
    Ok(())
}

/// The other repository. What was typed about the first does not count for it; the environment and the
/// configuration file do, where nothing was typed.
async fn other(args: &Args, globals: &Globals) -> Result<Repository, Failure> {
    let said = Globals {
        repo: args.to.clone(),
        profile: args.to_profile.clone(),
        config: globals.config.clone(),
        key_file: args.to_key_file.clone(),
        json: globals.json,
        quiet: globals.quiet,
        ..Globals::default()
    };
    let context = Context::new(&said).await?;
    context.repository().await.map_err(|failure| match failure.exit {
        Exit::Denied => failure.hint("say --to-key-file or --to-profile"),
        Exit::NotFound => failure.hint("`cistern init` makes it, with the location as --repo"),
        _ => failure,
    })
}

fn choose(all: Vec<SnapshotInfo>, names: &[String]) -> Result<Vec<SnapshotInfo>, Failure> {
    if let Some(name) = names.iter().find(|name| !all.iter().any(|s| s.snapshot.name == **name)) {
        let message = format!("there is no snapshot named `{}`; nothing was copied", printable(name));
        return Err(Failure::new(Exit::NotFound, message).hint("`cistern ls` lists all there are"));
    }
    Ok(all.into_iter().filter(|s| names.is_empty() || names.contains(&s.snapshot.name)).collect())
}

fn line(receipt: &Receipt) -> String {
    let snapshot = &receipt.snapshot;
    format!("{} {} {}", receipt.id, printable(&snapshot.name), show::size(snapshot.raw_bytes))
}
