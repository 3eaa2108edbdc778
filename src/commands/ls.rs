//! `cistern ls`: the snapshots there are, the newest last.

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::listing::{Listed, added_bytes, flags};
use crate::show;
use cistern_repo::{Repository, SnapshotInfo};
use serde::Serialize;

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// Only snapshots of this name
    name: Option<String>,
    /// Only snapshots with this tag
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Only the newest N of each name
    #[arg(long, value_name = "N")]
    last: Option<usize>,
}

#[derive(Serialize)]
struct Report<'s> {
    snapshots: Vec<Listed<'s>>,
}

/// Lists them.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    list(&context.repository().await?, &args, context).await
}

/// The same in a repository that is open.
pub async fn list(repository: &Repository, args: &Args, context: &Context) -> Result<(), Failure> {
    let all = repository.snapshots().await?;
    if let Some(name) = &args.name
        && !all.iter().any(|s| s.snapshot.name == *name)
    {
        let message = format!("there is no snapshot named `{}`", cistern_repo::printable(name));
        return Err(Failure::new(Exit::NotFound, message).hint("`cistern ls` lists all there are"));
    }
    let chosen = choose(&all, args);
    if context.json {
        return show::json(&Report { snapshots: chosen.into_iter().map(Listed::of).collect() });
    }
    if chosen.is_empty() {
        show::note(context, "no snapshots");
        return Ok(());
    }
    show::raw(table(&chosen).as_bytes())
}

fn choose<'s>(all: &'s [SnapshotInfo], args: &Args) -> Vec<&'s SnapshotInfo> {
    let fits = |s: &&SnapshotInfo| {
        args.name.as_ref().is_none_or(|name| s.snapshot.name == *name)
            && args.tag.as_ref().is_none_or(|tag| s.tags.contains(tag))
    };
    let mut seen = std::collections::HashMap::new();
    let mut chosen: Vec<&SnapshotInfo> = all.iter().rev().filter(fits).collect();
    chosen.retain(|s| {
        let count = seen.entry(s.snapshot.name.as_str()).or_insert(0);
        *count += 1;
        args.last.is_none_or(|last| *count <= last)
    });
    chosen.sort_by_key(|s| (s.committed_ms, s.id));
    chosen
}

fn table(chosen: &[&SnapshotInfo]) -> String {
    let rows: Vec<Vec<String>> = chosen
        .iter()
        .map(|s| {
            vec![
                s.id.short(),
                cistern_repo::printable(&s.snapshot.name),
                show::time(s.committed_ms),
                show::size(s.snapshot.raw_bytes),
                show::size(added_bytes(s)),
                flags(s),
                s.tags.iter().map(|t| cistern_repo::printable(t)).collect::<Vec<_>>().join(","),
            ]
        })
        .collect();
    show::table(&["ID", "NAME", "WHEN", ">SIZE", ">ADDED", "FLAGS", "TAGS"], &rows)
}
