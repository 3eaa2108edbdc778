//! `cistern push`: store a stream as a snapshot.
//!
//! Nothing becomes visible until the stream ended, its producers ended well, and the dump in it is whole.

use crate::commands::init;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::producer::{Producers, Program};
use crate::progress::Meter;
use crate::report::{SnapshotReport, stored_line};
use crate::show;
use crate::stdio::{StallTimeout, StreamIn, stdin_is_file};
use cistern_mover::{Intake, Lenience, Outcome, Seen, judge};
use cistern_repo::{Config, Facts, Ingested, Push, PushOptions, Receipt, Repository, check_name};
use serde::Serialize;
use std::ffi::OsString;

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the stream; snapshots of one name are each other's history
    name: String,
    /// Program that writes the stream, run by cistern; its exit status counts
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    /// The same as a line for `sh -c`
    #[arg(long, value_name = "LINE", conflicts_with = "command")]
    exec: Option<String>,
    /// What the output of --exec, or of the --then before, is piped through; may be repeated
    #[arg(long, value_name = "LINE", requires = "exec")]
    then: Vec<String>,
    /// Tag to set; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Name of this machine in listings [default: its host name]
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Whether gzip is taken off and stored without, for deduplication [default: auto; off for a file]
    #[arg(long, value_name = "WHEN")]
    unwrap: Option<Unwrap>,
    /// Store a dump that lacks its proper end, marked as truncated
    #[arg(long)]
    accept_partial: bool,
    /// Store an empty stream
    #[arg(long)]
    allow_empty: bool,
    /// How long the stream may be silent before it counts as failed; `off` for ever
    #[arg(long, value_name = "TIME", default_value = "1h")]
    stall_timeout: StallTimeout,
    /// Store new chunks whole, not as differences to old ones
    #[arg(long)]
    no_deltas: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Unwrap {
    /// Wherever there is gzip
    Auto,
    /// Never: bytes come back as they are
    Off,
}

/// Stores the stream.
pub async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    check_name(&args.name).map_err(|why| Failure::usage(format!("cannot push: {why}")))?;
    let programs = programs(&args);
    if programs.is_empty() && context.terminal.stdin {
        let message = "standard input is a terminal: there is no stream to store";
        return Err(Failure::usage(message)
            .hint(format!("pg_dump … | cistern push {0}, or cistern push {0} -- pg_dump …", args.name)));
    }
    let repository = open_or_create(context).await?;
    let push = repository.begin_push(options(&args, context)).await?;
    let meter = Meter::start(context);
    let taken = take_in(push, &args, &programs, &meter, context).await?;
    let bytes = taken.ingested.raw_bytes();
    let lenience = Lenience { partial: args.accept_partial, empty: args.allow_empty };
    let verdict = judge(&args.name, taken.seen, bytes, lenience)?;
    let facts = Facts { producer: taken.producer, ..verdict.facts };
    let receipt = taken.ingested.commit(facts).await?;
    report(&receipt, verdict.advice, &meter, &repository, context)
}

fn programs(args: &Args) -> Vec<Program> {
    if !args.command.is_empty() {
        return vec![Program::Command(args.command.clone())];
    }
    args.exec.iter().chain(&args.then).map(|line| Program::Shell(line.clone())).collect()
}

fn options(args: &Args, context: &Context) -> PushOptions {
    PushOptions {
        name: args.name.clone(),
        host: args.host.clone().unwrap_or_else(|| context.host.clone()),
        writer: concat!("cistern ", env!("CARGO_PKG_VERSION")).to_owned(),
        tags: context.tags.iter().chain(&args.tags).cloned().collect(),
        deltas: !args.no_deltas,
    }
}

/// The repository; the default one is made when there is none.
async fn open_or_create(context: &Context) -> Result<Repository, Failure> {
    match context.repository().await {
        Err(failure) if failure.exit == Exit::NotFound && context.embedded => {
            let (repository, made) = init::create(context, Config::default()).await?;
            init::announce(context, &made);
            Ok(repository)
        }
        opened => opened,
    }
}

/// A stream that is in the repository, and that nobody can see yet.
struct Taken {
    ingested: Ingested,
    seen: Seen,
    producer: Option<String>,
}

/// Reads the stream to its end and waits for its producers.
async fn take_in(
    push: Push,
    args: &Args,
    programs: &[Program],
    meter: &std::sync::Arc<Meter>,
    context: &Context,
) -> Result<Taken, Failure> {
    let stall = args.stall_timeout.0;
    let (source, producers) = if programs.is_empty() {
        let stdin = StreamIn::stdin(stall);
        (stdin.map_err(|e| Failure::other(format!("cannot read standard input: {e}")))?, None)
    } else {
        let (producers, end) = Producers::start(programs)?;
        (StreamIn::new(end, stall), Some(producers))
    };
    let unwrap = match args.unwrap {
        Some(unwrap) => matches!(unwrap, Unwrap::Auto),
        None => producers.is_some() || !stdin_is_file(),
    };
    let (intake, outcome) = Intake::new(source, unwrap);
    let expected = push.previous().map(|previous| previous.snapshot.raw_bytes);
    let ingest = push.ingest(Box::new(intake), meter.clone());
    let ingested = meter.during_stream(context, || outcome.content_bytes(), expected, ingest).await;
    let producer = producers.as_ref().map(Producers::names);
    match (ingested, producers) {
        (Ok(ingested), producers) => {
            if let Some(producers) = producers {
                producers.finish(stall).await?;
            }
            Ok(Taken { ingested, seen: reached_end(&outcome)?, producer })
        }
        (Err(error), Some(producers)) if error.kind == cistern_repo::ErrorKind::Stream => {
            Err(producers.blame().await.unwrap_or_else(|| error.into()))
        }
        (Err(error), _) => Err(error.into()),
    }
}

fn reached_end(outcome: &Outcome) -> Result<Seen, Failure> {
    let unread = || Failure::new(Exit::Stream, "the stream was not read to its end; nothing was stored");
    outcome.take().ok_or_else(unread)
}

#[derive(Serialize)]
struct PushReport<'r> {
    repository: String,
    #[serde(flatten)]
    snapshot: SnapshotReport,
    /// What the push added to the repository, without the index, in bytes.
    stored_bytes: u64,
    /// Whether `pull` gives the very bytes that arrived, or equivalent gzip.
    identical: bool,
    secs: f64,
    bytes_per_sec: u64,
    advice: Option<&'r str>,
}

fn report(
    receipt: &Receipt,
    advice: Option<String>,
    meter: &Meter,
    repository: &Repository,
    context: &Context,
) -> Result<(), Failure> {
    let snapshot = &receipt.snapshot;
    let secs = meter.secs();
    let report = PushReport {
        repository: repository.location(),
        snapshot: SnapshotReport::new(receipt.id, &receipt.receipt, snapshot),
        stored_bytes: snapshot.stored.delta_stored_bytes + snapshot.stored.new_stored_bytes,
        identical: snapshot.wrap.is_none(),
        secs,
        bytes_per_sec: (snapshot.raw_bytes as f64 / secs.max(1e-6)) as u64,
        advice: advice.as_deref(),
    };
    if context.json {
        return show::json(&report);
    }
    show::note(context, &stored_line(receipt, secs));
    if let Some(wrap) = &snapshot.wrap {
        let original = show::size(wrap.original_bytes);
        let text =
            "  gzip was taken off: `pull` gives gzip with the same content, not the same compressed bytes";
        show::note(context, &format!("{text} ({original} arrived)"));
    }
    if let Some(why) = &snapshot.suspect {
        show::note(context, &format!("  marked as suspect: {}", show::harmless(why)));
    }
    if let Some(advice) = advice {
        show::note(context, &format!("  advice: {advice}"));
    }
    Ok(())
}
