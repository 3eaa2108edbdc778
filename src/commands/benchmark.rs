//! `cistern benchmark`: how fast this machine, and a place to store, are.
//!
//! Stages run on one core through the code that pushes run through. The trips push generated dumps into
//! a repository that is made for them and removed afterwards.

mod rows;
mod stages;
mod trips;

use crate::cli::Globals;
use crate::context::Context;
use crate::failure::Failure;
use crate::show;
use serde::{Serialize, Serializer};
use stages::Speeds;
use std::path::{Path, PathBuf};
use trips::Trip;

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// Bytes of each data set
    #[arg(long, value_name = "SIZE", default_value = "128M", value_parser = show::parse_size)]
    size: u64,
    /// Measure the stages with the files of this directory instead of generated rows
    #[arg(long, value_name = "DIR", env = "CISTERN_BENCH_DATA")]
    data: Option<PathBuf>,
    /// Only the stages: {stage: {data set: MB/s}}, as JSON
    #[arg(long)]
    stages: bool,
    /// Where to make the repository of the trips: a directory or a place in a bucket [default: a temporary
    /// directory]
    #[arg(long, value_name = "LOCATION")]
    at: Option<String>,
}

/// Speeds are in units of 10^6 bytes of content per second.
#[derive(Serialize)]
struct Report {
    cores: usize,
    stages: StageTable,
    at: String,
    trips: Vec<Trip>,
}

/// For each data set the speeds of its stages; in JSON stage by stage.
struct StageTable(Vec<(String, Speeds)>);

impl Serialize for StageTable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(stages::NAMES.iter().enumerate().map(|(stage, name)| {
            let by_data = self.0.iter().map(|(data, speeds)| (data.clone(), speeds[stage]));
            (*name, by_data.collect::<std::collections::BTreeMap<String, f64>>())
        }))
    }
}

/// Measures and tells.
pub async fn run(args: Args, globals: &Globals, context: &Context) -> Result<(), Failure> {
    let (size, data) = (args.size.max(1), args.data.clone());
    let stages = tokio::task::spawn_blocking(move || measure_stages(data.as_deref(), size));
    let stages = stages.await.map_err(|e| Failure::other(format!("cannot measure: {e}")))??;
    if args.stages {
        return show::json(&stages);
    }
    let at = match args.at {
        Some(text) => Some(Context::new(&Globals { repo: Some(text), ..globals.clone() }).await?.location),
        None => None,
    };
    let (at, trips) = trips::measure(at, size, context).await?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let report = Report { cores, stages, at, trips };
    if context.json { show::json(&report) } else { show::raw(text(&report).as_bytes()) }
}

fn measure_stages(data: Option<&Path>, size: u64) -> Result<StageTable, Failure> {
    let Some(folder) = data else {
        let rows = rows::Dump::of_bytes(size, 0);
        return Ok(StageTable(vec![("rows".to_owned(), stages::measure(&rows[..], size))]));
    };
    let failed = |path: &Path, e: std::io::Error| {
        Failure::usage(format!("cannot read the data set {}: {e}", path.display()))
    };
    let mut sets = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| failed(folder, e))? {
        let path = entry.map_err(|e| failed(folder, e))?.path();
        if path.is_file() {
            let file = std::fs::File::open(&path).map_err(|e| failed(&path, e))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            sets.push((name, stages::measure(file, size)));
        }
    }
    if sets.is_empty() {
        return Err(Failure::usage(format!("there are no files in {}", folder.display())));
    }
    sets.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(StageTable(sets))
}

fn text(report: &Report) -> String {
    let mut heads = vec!["STAGE, MB/s ON ONE CORE".to_owned()];
    heads.extend(report.stages.0.iter().map(|(data, _)| format!(">{data}")));
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let stages: Vec<Vec<String>> = stages::NAMES
        .iter()
        .enumerate()
        .map(|(stage, name)| {
            let speeds = report.stages.0.iter().map(|(_, speeds)| format!("{:.0}", speeds[stage]));
            std::iter::once((*name).to_owned()).chain(speeds).collect()
        })
        .collect();
    let trips: Vec<Vec<String>> = report
        .trips
        .iter()
        .map(|trip| {
            let ratio = trip.ratio.map_or_else(String::new, |r| format!("{r:.1}x"));
            let added = trip.added_bytes.map_or_else(String::new, show::size);
            vec![
                trip.name.to_owned(),
                show::size(trip.raw_bytes),
                show::duration(trip.secs),
                format!("{:.0}", trip.mb_per_sec),
                added,
                ratio,
            ]
        })
        .collect();
    format!(
        "{}\n{} cores, repository at {}\n{}",
        show::table(&heads, &stages),
        report.cores,
        report.at,
        show::table(&["TRIP", ">SIZE", ">TOOK", ">MB/s", ">ADDED", ">RATIO"], &trips)
    )
}
