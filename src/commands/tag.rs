//! `cistern tag`: give snapshots tags, or take them away.

use crate::context::Context;
use crate::failure::Failure;
use crate::{role, show};
use cistern_repo::{Mark, Repository, SnapshotInfo};
use serde::Serialize;

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// NAME (its newest), NAME@TIME, NAME@ID or the end of an id
    #[arg(required = true, value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    /// Tag to add
    #[arg(long, value_name = "TAG", value_parser = parse_label)]
    add: Vec<String>,
    /// Tag to take away
    #[arg(long, value_name = "TAG", value_parser = parse_label, required_unless_present = "add")]
    remove: Vec<String>,
}

#[derive(Serialize)]
struct Report {
    changed: Vec<Changed>,
}

#[derive(Serialize)]
struct Changed {
    id: String,
    name: String,
    tags: Vec<String>,
}

/// Changes the tags; all snapshots are found before the first is changed.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let repository = context.repository().await?;
    if !args.remove.is_empty() {
        // A tag may be all that keeps a snapshot.
        role::require_maintenance(&repository, "take tags away")?;
    }
    let found = find(&repository, &args.snapshots).await?;
    let mark = Mark { add_tags: args.add.clone(), remove_tags: args.remove.clone(), ..Mark::default() };
    let mut changed = Vec::new();
    for info in found {
        repository.mark(info.id, mark.clone()).await?;
        let mut tags = info.tags;
        tags.retain(|t| !args.remove.contains(t));
        tags.extend(args.add.iter().cloned());
        let tags = tags.into_iter().collect();
        changed.push(Changed { id: info.id.to_string(), name: info.snapshot.name, tags });
    }
    if context.json {
        return show::json(&Report { changed });
    }
    for one in &changed {
        show::note(context, &format!("{} {}: {}", one.id, one.name, one.tags.join(", ")));
    }
    Ok(())
}

/// The snapshots these texts mean, each once.
pub async fn find(repository: &Repository, texts: &[String]) -> Result<Vec<SnapshotInfo>, Failure> {
    let all = repository.snapshots().await?;
    let mut found: Vec<SnapshotInfo> = Vec::new();
    for text in texts {
        let one = cistern_repo::select(&all, text).map_err(|why| {
            let message = format!("cannot find `{}`: {why}", cistern_repo::printable(text));
            Failure::new(crate::failure::Exit::NotFound, message)
        })?;
        if !found.iter().any(|f| f.id == one.id) {
            found.push(one.clone());
        }
    }
    Ok(found)
}

/// Tags and names of holds: short, on one line, and nothing that would split a list of them.
pub fn parse_label(text: &str) -> Result<String, String> {
    const LABEL_BYTES_MAX: usize = 256;
    if text.is_empty() || text.len() > LABEL_BYTES_MAX {
        return Err(format!("it must have 1 to {LABEL_BYTES_MAX} bytes"));
    }
    if text.chars().any(|c| c.is_control() || c == ',') {
        return Err("it must not contain commas or control characters".to_owned());
    }
    Ok(text.to_owned())
}
