//! `cistern show`: everything the repository knows of one snapshot.

use crate::context::Context;
use crate::failure::Failure;
use crate::listing::{Listed, added_bytes};
use crate::show;
use cistern_repo::{SnapshotInfo, printable};

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// NAME (its newest), NAME@TIME, NAME@ID or the end of an id
    snapshot: String,
}

/// Shows it.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let repository = context.repository().await?;
    let info = repository.find_snapshot(&args.snapshot).await?;
    if context.json { show::json(&Listed::of(&info)) } else { show::raw(text(&info).as_bytes()) }
}

fn text(info: &SnapshotInfo) -> String {
    let mut lines = Lines::default();
    about(info, &mut lines);
    bytes(info, &mut lines);
    lines.add("receipt", hex::encode(info.receipt));
    lines.add("content digest", hex::encode(*info.snapshot.digest));
    lines.text
}

fn about(info: &SnapshotInfo, lines: &mut Lines) {
    let s = &info.snapshot;
    lines.add("id", info.id);
    lines.add("name", printable(&s.name));
    lines.add("committed", show::time(info.committed_ms));
    let took_secs = s.finished_ms.saturating_sub(s.started_ms) as f64 / 1e3;
    lines.add("took", format!("{} on {}", show::duration(took_secs), printable(&s.host)));
    lines.add("written by", printable(&s.writer));
    if let Some(producer) = &s.producer {
        lines.add("producer", printable(producer));
    }
    lines.add("format", said(&s.content.format));
    lines.add("completeness", said(&s.content.completeness));
    if let Some(detail) = &s.content.detail {
        lines.add("detail", printable(detail));
    }
    if let Some(suspect) = &s.suspect {
        lines.add("suspect", printable(suspect));
    }
    for (name, reason) in &info.holds {
        lines.add("held", format!("{}: {}", printable(name), printable(reason)));
    }
    if !info.tags.is_empty() {
        lines.add("tags", info.tags.iter().map(|t| printable(t)).collect::<Vec<_>>().join(", "));
    }
    let previous = s.previous.as_ref().map_or("none".to_owned(), |(id, _)| id.to_string());
    lines.add("previous", format!("{previous} ({} of this name before)", s.sequence));
}

fn said(word: &str) -> &str {
    if word.is_empty() { "unknown" } else { word }
}

fn bytes(info: &SnapshotInfo, lines: &mut Lines) {
    let s = &info.snapshot;
    let stored = &s.stored;
    lines.add("size", format!("{} in {} chunks", show::size(s.raw_bytes), stored.chunks));
    if let Some(wrap) = &s.wrap {
        let original = show::size(wrap.original_bytes);
        lines.add("wrapped", format!("arrived as gzip of {original}, stored unwrapped"));
        lines.add("arrived digest", hex::encode(*wrap.original_digest));
    }
    lines.add("duplicate", show::size(stored.duplicate_bytes));
    let against = |raw, kept| format!("{}, stored in {}", show::size(raw), show::size(kept));
    lines.add("delta", against(stored.delta_bytes, stored.delta_stored_bytes));
    lines.add("new", against(stored.new_bytes, stored.new_stored_bytes));
    lines.add("added", show::size(added_bytes(info)));
    lines.add("deltas", printable(&s.deltas));
}

/// Labelled lines, the values below each other.
#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn add(&mut self, label: &str, value: impl std::fmt::Display) {
        self.text.push_str(format!("{:<16}{value}", format!("{label}:")).trim_end());
        self.text.push('\n');
    }
}
