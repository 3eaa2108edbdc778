//! `cistern pull`: write the stream of a snapshot.

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{Output, STDOUT};
use crate::progress::Meter;
use crate::report::SnapshotReport;
use crate::show;
use cistern_mover::Wrapping;
use cistern_repo::{Counter, Repository, SnapshotInfo, select};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// NAME (its newest good one), NAME@TIME, NAME@ID, or the end of an id
    #[arg(value_name = "NAME[@WHEN|@ID]|ID")]
    snapshot: String,
    /// File to write, replaced at once when all is there and verified; `-` for standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Whether gzip that was taken off is put back
    #[arg(long = "as", value_name = "FORM", default_value = "wrapped")]
    form: Form,
    /// Refuse any snapshot but the one with this receipt, as `push` reported it
    #[arg(long, value_name = "RECEIPT", value_parser = parse_receipt)]
    expect: Option<[u8; 32]>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// The stream as it was stored
    Content,
    /// The stream as it arrived, with gzip put back
    Wrapped,
}

fn parse_receipt(text: &str) -> Result<[u8; 32], String> {
    let mut receipt = [0; 32];
    hex::decode_to_slice(text.trim(), &mut receipt).map_err(|_| "a receipt has 64 hexadecimal digits")?;
    Ok(receipt)
}

/// Writes the stream.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    if args.output.is_none() && context.terminal.stdout {
        let message = "standard output is a terminal, which a dump could garble";
        return Err(
            Failure::usage(message).hint("-o FILE writes a file; -o - writes to the terminal all the same")
        );
    }
    let repository = context.repository().await?;
    let snapshot = choose(&repository, &args.snapshot, context).await?;
    check_receipt(&args, &snapshot)?;
    let path = args.output.as_deref().unwrap_or(Path::new(STDOUT));
    let output = Output::open(path)?;
    let meter = Meter::start(context);
    let wrapped = write(&repository, &snapshot, args.form, &output, &meter, context).await?;
    output.keep()?;
    report(&snapshot, wrapped, path, &meter, context)
}

/// The snapshot that is meant; says so when that is not the newest of its name.
async fn choose(repository: &Repository, text: &str, context: &Context) -> Result<SnapshotInfo, Failure> {
    let all = repository.snapshots().await?;
    let chosen = select(&all, text).map_err(|why| {
        Failure::new(Exit::NotFound, format!("cannot find `{}`: {why}", show::harmless(text)))
    })?;
    let newest = all.iter().rfind(|s| s.snapshot.name == text);
    if let Some(newest) = newest.filter(|newest| newest.id != chosen.id) {
        let why = newest.snapshot.suspect.as_deref().unwrap_or("it may be incomplete");
        let text =
            format!("Not the newest of this name, {}, which is suspect: {}", newest.id, show::harmless(why));
        show::note(context, &text);
    }
    Ok(chosen.clone())
}

fn check_receipt(args: &Args, snapshot: &SnapshotInfo) -> Result<(), Failure> {
    let Some(expected) = args.expect.filter(|expected| *expected != snapshot.receipt) else { return Ok(()) };
    let message = format!(
        "`{}` is snapshot {} with receipt {}, not the expected {}",
        args.snapshot,
        snapshot.id,
        hex::encode(snapshot.receipt),
        hex::encode(expected)
    );
    let hint = "the store shows another state than the push left: an older one, or a later push of this name";
    Err(Failure::new(Exit::Damaged, message).hint(hint))
}

/// Writes the stream to the output, and says whether gzip was put back.
async fn write(
    repository: &Repository,
    snapshot: &SnapshotInfo,
    form: Form,
    output: &Output,
    meter: &Arc<Meter>,
    context: &Context,
) -> Result<bool, Failure> {
    let wrap = snapshot.snapshot.wrap.as_ref().filter(|_| form == Form::Wrapped);
    let wrapping = match wrap {
        Some(wrap) => Some(Wrapping::new(wrap, Box::new(output.writer()?))?),
        None => None,
    };
    let sink = match &wrapping {
        Some(wrapping) => wrapping.sink(),
        None => Box::new(output.writer()?),
    };
    let pull = repository.pull(snapshot, sink, meter.clone());
    let expected = Some(snapshot.snapshot.raw_bytes);
    drop(meter.during(context, Counter::WrittenBytes, expected, pull).await?);
    let Some(wrapping) = wrapping else { return Ok(false) };
    let failed = |e| Failure::new(Exit::Stream, format!("cannot put gzip back: {e}"));
    wrapping.finish().map_err(failed)?;
    Ok(true)
}

#[derive(Serialize)]
struct PullReport {
    #[serde(flatten)]
    snapshot: SnapshotReport,
    output: PathBuf,
    /// Whether gzip was put back: then the bytes are equivalent to those that arrived, not identical.
    wrapped: bool,
    secs: f64,
    bytes_per_sec: u64,
}

fn report(
    info: &SnapshotInfo,
    wrapped: bool,
    path: &Path,
    meter: &Meter,
    context: &Context,
) -> Result<(), Failure> {
    let secs = meter.secs();
    let bytes_per_sec = (info.snapshot.raw_bytes as f64 / secs.max(1e-6)) as u64;
    if context.json {
        let snapshot = SnapshotReport::new(info.id, &info.receipt, &info.snapshot);
        let report = PullReport { snapshot, output: path.to_owned(), wrapped, secs, bytes_per_sec };
        if path != Path::new(STDOUT) {
            return show::json(&report);
        }
        let text = serde_json::to_string(&report);
        show::complain(&text.map_err(|e| Failure::other(format!("cannot make the report: {e}")))?);
        return Ok(());
    }
    let gzip = if wrapped { ", gzip put back" } else { "" };
    let text = format!(
        "Wrote {} {}: {} in {} ({}/s), verified{gzip}",
        show::harmless(&info.snapshot.name),
        info.id,
        show::size(info.snapshot.raw_bytes),
        show::duration(secs),
        show::size(bytes_per_sec),
    );
    show::note(context, &text);
    if let Some(why) = &info.snapshot.suspect {
        show::note(context, &format!("  this snapshot is marked as suspect: {}", show::harmless(why)));
    }
    Ok(())
}
