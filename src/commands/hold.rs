//! `cistern hold`: keep snapshots from being forgotten, until the hold is lifted.

use crate::commands::tag::{find, parse_label};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::{role, show};
use cistern_repo::{Mark, SnapshotInfo, printable};
use serde::Serialize;

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// NAME (its newest), NAME@TIME, NAME@ID or the end of an id
    #[arg(required = true, value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    /// Name of the hold, by which it is lifted again
    #[arg(long, value_name = "NAME", value_parser = parse_label, requires = "reason")]
    name: Option<String>,
    /// Why, for whoever wants to forget the snapshot
    #[arg(long, value_name = "TEXT", value_parser = parse_reason, requires = "name")]
    reason: Option<String>,
    /// Lift the hold of this name
    #[arg(long, value_name = "NAME", value_parser = parse_label, conflicts_with = "name", required_unless_present = "name")]
    lift: Option<String>,
}

#[derive(Serialize)]
struct Report {
    changed: Vec<Changed>,
}

#[derive(Serialize)]
struct Changed {
    id: String,
    name: String,
    holds: Vec<String>,
}

/// Sets or lifts the hold; all snapshots are found before the first is changed.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let repository = context.repository().await?;
    if args.lift.is_some() {
        role::require_maintenance(&repository, "lift a hold")?;
    }
    let found = find(&repository, &args.snapshots).await?;
    if let Some(lift) = &args.lift {
        check_held(&found, lift)?;
    }
    let add_hold = args.name.clone().zip(args.reason.clone());
    let mark = Mark { add_hold, remove_hold: args.lift.clone(), ..Mark::default() };
    let mut changed = Vec::new();
    for info in found {
        repository.mark(info.id, mark.clone()).await?;
        let mut holds: Vec<String> =
            info.holds.into_keys().filter(|h| Some(h) != args.lift.as_ref()).collect();
        holds.extend(args.name.clone());
        holds.sort();
        holds.dedup();
        changed.push(Changed { id: info.id.to_string(), name: info.snapshot.name, holds });
    }
    if context.json {
        return show::json(&Report { changed });
    }
    for one in &changed {
        let holds = if one.holds.is_empty() {
            "not held".to_owned()
        } else {
            format!("held by {}", one.holds.join(", "))
        };
        show::note(context, &format!("{} {}: {holds}", one.id, printable(&one.name)));
    }
    Ok(())
}

/// A hold that is not there is a slip of the finger, and the snapshot may still be held by another.
fn check_held(found: &[SnapshotInfo], lift: &str) -> Result<(), Failure> {
    let Some(free) = found.iter().find(|info| !info.holds.contains_key(lift)) else { return Ok(()) };
    let name = printable(&free.snapshot.name);
    let message = format!("there is no hold `{lift}` on `{name}` {}", free.id);
    let hint = match free.holds.len() {
        0 => "it is not held at all".to_owned(),
        _ => format!("it is held by: {}", free.holds.keys().cloned().collect::<Vec<_>>().join(", ")),
    };
    Err(Failure::new(Exit::NotFound, message).hint(hint))
}

fn parse_reason(text: &str) -> Result<String, String> {
    const REASON_BYTES_MAX: usize = 1024;
    match text.trim() {
        "" => Err("it is empty".to_owned()),
        reason if reason.len() > REASON_BYTES_MAX => {
            Err(format!("it is longer than {REASON_BYTES_MAX} bytes"))
        }
        reason => Ok(reason.to_owned()),
    }
}
