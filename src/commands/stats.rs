//! `cistern stats`: where the bytes went.

use crate::context::Context;
use crate::failure::Failure;
use crate::show;
use cistern_repo::{NameStats, Stats, printable};
use serde::Serialize;

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    stats: Stats,
    /// Bytes of all streams per byte of packs.
    savings_factor: Option<f64>,
}

/// Adds up and tells.
pub async fn run(_: Args, context: &Context) -> Result<(), Failure> {
    let stats = context.repository().await?.stats().await?;
    if context.json {
        let savings_factor = factor(stats.raw_bytes, stats.pack_bytes);
        return show::json(&Report { stats, savings_factor });
    }
    show::raw(text(&stats).as_bytes())
}

/// How many bytes of stream one stored byte stands for; nothing if nothing is stored.
fn factor(raw_bytes: u64, stored_bytes: u64) -> Option<f64> {
    (stored_bytes > 0).then(|| raw_bytes as f64 / stored_bytes as f64)
}

fn text(stats: &Stats) -> String {
    let mut rows: Vec<Vec<String>> =
        stats.names.iter().map(|(name, sums)| row(&printable(name), sums)).collect();
    if stats.names.len() > 1 {
        rows.push(row("all", &total(stats)));
    }
    let heads =
        ["NAME", ">SNAPSHOTS", ">SIZE", ">DUPLICATE", ">DELTA", ">STORED IN", ">NEW", ">STORED IN", ">ADDED"];
    let names = if rows.is_empty() { "no snapshots\n".to_owned() } else { show::table(&heads, &rows) };
    let kinds = [
        kind("whole chunks", stats.whole_chunks, stats.whole_record_bytes),
        kind("deltas", stats.delta_chunks, stats.delta_record_bytes),
        kind("recipes", stats.recipe_pieces, stats.recipe_record_bytes),
        kind("packs", stats.packs, stats.pack_bytes),
        kind("index", stats.index_objects, stats.index_bytes),
    ];
    let kinds = show::table(&["STORED AS", ">COUNT", ">SIZE"], &kinds);
    let factor = factor(stats.raw_bytes, stats.pack_bytes);
    let factor = factor.map_or_else(|| "nothing is stored".to_owned(), |f| format!("{f:.1}x"));
    format!(
        "{names}\n{kinds}\n{} of streams in {} of packs: {factor}\n{} in use, {} unused ({} packs condemned)\n\
         the index takes {} of memory in every push and pull\n",
        show::size(stats.raw_bytes),
        show::size(stats.pack_bytes),
        show::size(stats.used_record_bytes),
        show::size(stats.unused_record_bytes),
        stats.condemned_packs,
        show::size(stats.index_memory_bytes),
    )
}

fn row(name: &str, sums: &NameStats) -> Vec<String> {
    let stored = &sums.stored;
    let added = stored.delta_stored_bytes + stored.new_stored_bytes;
    vec![
        name.to_owned(),
        sums.snapshots.to_string(),
        show::size(sums.raw_bytes),
        show::size(stored.duplicate_bytes),
        show::size(stored.delta_bytes),
        show::size(stored.delta_stored_bytes),
        show::size(stored.new_bytes),
        show::size(stored.new_stored_bytes),
        show::size(added),
    ]
}

fn total(stats: &Stats) -> NameStats {
    let mut total = NameStats::default();
    for one in stats.names.values() {
        total.snapshots += one.snapshots;
        total.raw_bytes += one.raw_bytes;
        total.stored.duplicate_bytes += one.stored.duplicate_bytes;
        total.stored.delta_bytes += one.stored.delta_bytes;
        total.stored.new_bytes += one.stored.new_bytes;
        total.stored.delta_stored_bytes += one.stored.delta_stored_bytes;
        total.stored.new_stored_bytes += one.stored.new_stored_bytes;
    }
    total
}

fn kind(name: &str, count: u64, bytes: u64) -> Vec<String> {
    vec![name.to_owned(), count.to_string(), show::size(bytes)]
}
