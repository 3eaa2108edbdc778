//! `kando location`: push, pull and delete under a path.

use super::Verbosity;
use super::place::Address;
use super::put_out::{check_key, put_out};
use crate::context::Context;
use crate::door;
use crate::failure::Failure;
use crate::output::{Output, STDOUT};
use crate::producer::{Producers, Program};
use crate::progress::Meter;
use crate::report::stored_line;
use crate::stdio::{StallTimeout, StreamIn};
use crate::{failure::Exit, show};
use cistern_api::wire::SnapshotJson;
use cistern_mover::{Lenience, Location, Pushed, Taken, Terms};
use clap::builder::FalseyValueParser;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// What can be typed.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Store a stream or file under the path
    Push(PushArgs),
    /// Write what is stored under the path
    Pull(PullArgs),
    /// Remove what is stored under the path, and below it
    Delete(DeleteArgs),
}

/// Where.
#[derive(clap::Args)]
pub struct Place {
    /// Path below the profile's prefix
    #[arg(long, short = 's', value_name = "PATH", default_value = "", hide_default_value = true)]
    pub path: String,
    /// Profile as JSON, `@FILE`, or JSON that refers to a file
    #[arg(long, short, value_name = "JSON")]
    pub profile: Option<String>,
}

/// `push`.
#[derive(clap::Args)]
pub struct PushArgs {
    #[command(flatten)]
    place: Place,
    /// File, or `-` for standard input
    #[arg(value_name = "SOURCE", required_unless_present = "command", conflicts_with = "command")]
    source: Option<PathBuf>,
    /// Program that writes the stream, run by kando; its exit status counts
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    /// Key of the phase output that holds the snapshot's reference, with a repository
    #[arg(long, short, value_name = "KEY")]
    output_name: Option<String>,
    /// Store a dump that lacks its proper end
    #[arg(long, env = "CISTERN_ACCEPT_PARTIAL", value_parser = FalseyValueParser::new(), hide_env_values = true)]
    accept_partial: bool,
    /// Store an empty stream
    #[arg(long, env = "CISTERN_ALLOW_EMPTY", value_parser = FalseyValueParser::new(), hide_env_values = true)]
    allow_empty: bool,
    /// Whether gzip is taken off on the way into a repository
    #[arg(long, env = "CISTERN_UNWRAP", value_name = "WHEN", default_value = "auto", hide_env_values = true)]
    unwrap: Unwrap,
    /// How long the stream may be silent before it counts as failed; `off` for ever
    #[arg(
        long,
        env = "CISTERN_STALL_TIMEOUT",
        value_name = "TIME",
        default_value = "1h",
        hide_env_values = true
    )]
    stall_timeout: StallTimeout,
}

/// `pull`.
#[derive(clap::Args)]
pub struct PullArgs {
    #[command(flatten)]
    place: Place,
    /// File, replaced at once when all is there; `-` for standard output
    #[arg(value_name = "TARGET")]
    target: PathBuf,
    /// Reference of the snapshot, as push printed it
    #[arg(long, short, value_name = "JSON")]
    kopia_snapshot: Option<String>,
}

/// `delete`.
#[derive(clap::Args)]
pub struct DeleteArgs {
    #[command(flatten)]
    place: Place,
    /// Reference of the snapshot, as push printed it
    #[arg(long, short, value_name = "JSON")]
    kopia_snapshot: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Unwrap {
    /// Wherever there is gzip
    Auto,
    /// Never: bytes come back as they are
    Off,
}

/// Runs one of them. Whatever a push that did not commit left in a bucket is removed, also after a signal.
pub fn run(command: Command, verbosity: Verbosity) -> Result<(), Failure> {
    tidily(|opened| async move {
        match command {
            Command::Push(args) => push(args, verbosity, opened).await,
            Command::Pull(args) => pull(args, verbosity).await,
            Command::Delete(args) => delete(args, verbosity).await,
        }
    })
}

/// Runs the work, and then tidies the location that it opened.
pub fn tidily<F>(work: impl FnOnce(Arc<OnceLock<Location>>) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    let opened = Arc::new(OnceLock::new());
    let tidied = opened.clone();
    door::run_then(work(opened), async move {
        if let Some(location) = tidied.get() {
            location.tidy().await;
        }
    })
}

/// Notes are said from the level of warnings on.
pub fn set_quiet(context: &mut Context, verbosity: Verbosity) {
    context.quiet = verbosity < Verbosity::Warning;
}

async fn push(args: PushArgs, verbosity: Verbosity, opened: Arc<OnceLock<Location>>) -> Result<(), Failure> {
    if let Some(key) = &args.output_name {
        check_key(key)?;
    }
    let address = Address::find(args.place.profile.as_deref()).await?;
    let path = address.path(&args.place.path)?;
    let key = args.output_name.clone().or_else(|| address.is_kopia().then(|| "kandoOutput".to_owned()));
    let (location, mut context) = address.open(true).await?;
    set_quiet(&mut context, verbosity);
    let location = opened.get_or_init(|| location);
    let meter = Meter::start(&context);
    let terms = terms(args.unwrap == Unwrap::Auto, &context);
    let stall = args.stall_timeout.0;
    let (source, producers) = source(&args, stall, &context)?;
    let taken = meter.telling(location.take_in(&path, source, terms, meter.clone())).await;
    let producer = producers.as_ref().map(Producers::names);
    let taken = whole(taken, producers, stall).await?;
    let lenience = Lenience { partial: args.accept_partial, empty: args.allow_empty };
    let pushed = taken.commit(lenience, producer).await?;
    report(&pushed, &meter, &context);
    match (key, pushed.reference()) {
        (Some(key), Some(reference)) => put_out(&key, &reference.to_json()),
        _ => Ok(()),
    }
}

/// A stream on its way in.
pub type Stream = Box<dyn Read + Send>;

/// The stream, and who makes it if that is ours to know.
fn source(
    args: &PushArgs,
    stall: Option<Duration>,
    context: &Context,
) -> Result<(Stream, Option<Producers>), Failure> {
    let Some(path) = &args.source else {
        let (producers, end) = Producers::start(&[Program::Command(args.command.clone())])?;
        return Ok((Box::new(StreamIn::new(end, stall)), Some(producers)));
    };
    if path == Path::new(STDOUT) {
        if context.terminal.stdin {
            return Err(Failure::usage("Stdin must be piped when the source parameter is \"-\""));
        }
        let stdin = StreamIn::stdin(stall);
        let stdin = stdin.map_err(|e| Failure::other(format!("cannot read standard input: {e}")))?;
        return Ok((Box::new(stdin), None));
    }
    let failed = |e| Failure::new(Exit::Stream, format!("cannot read {}: {e}", path.display()));
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        let message = format!("{} is a directory, and a stream is stored", path.display());
        return Err(
            Failure::usage(message).hint(format!("tar -c {} | kando location push … -", path.display()))
        );
    }
    Ok((Box::new(file), None))
}

/// How this program takes streams in.
pub fn terms(unwrap: bool, context: &Context) -> Terms {
    Terms {
        unwrap,
        host: context.host.clone(),
        writer: concat!("kando ", env!("CARGO_PKG_VERSION")).to_owned(),
        tags: context.tags.clone(),
    }
}

/// The stream is whole only if whoever made it ended well.
pub async fn whole(
    taken: Result<Taken, cistern_mover::Error>,
    producers: Option<Producers>,
    stall: Option<Duration>,
) -> Result<Taken, Failure> {
    match (taken, producers) {
        (Ok(taken), Some(producers)) => producers.finish(stall).await.map(|()| taken),
        (Ok(taken), None) => Ok(taken),
        (Err(error), producers) => {
            let failure = Failure::from(error);
            match producers.filter(|_| failure.exit == Exit::Stream) {
                Some(producers) => Err(producers.blame().await.unwrap_or(failure)),
                None => Err(failure),
            }
        }
    }
}

/// Says what was stored, where there is something to say.
pub fn report(pushed: &Pushed, meter: &Meter, context: &Context) {
    if let Some(receipt) = &pushed.receipt {
        show::note(context, &stored_line(receipt, meter.secs()));
        if let Some(why) = &receipt.snapshot.suspect {
            show::note(context, &format!("  marked as suspect: {}", show::harmless(why)));
        }
    }
    if let Some(advice) = &pushed.advice {
        show::note(context, &format!("  advice: {advice}"));
    }
}

fn reference(text: Option<&str>) -> Result<Option<SnapshotJson>, Failure> {
    let parsed = text.map(SnapshotJson::parse).transpose();
    parsed.map_err(|e| Failure::usage(e.to_string()))
}

async fn pull(args: PullArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let reference = reference(args.kopia_snapshot.as_deref())?;
    let address = Address::find(args.place.profile.as_deref()).await?;
    let path = address.path(&args.place.path)?;
    let (location, mut context) = address.open(false).await?;
    set_quiet(&mut context, verbosity);
    let source = location.find(&path, reference.as_ref()).await?;
    let output = Output::open(&args.target)?;
    let sink = Box::new(output.writer()?);
    let meter = Meter::start(&context);
    meter.telling(location.pull(source, sink, meter.clone())).await?;
    output.keep()
}

async fn delete(args: DeleteArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let reference = reference(args.kopia_snapshot.as_deref())?;
    let address = Address::find(args.place.profile.as_deref()).await?;
    let path = address.path(&args.place.path)?;
    let (location, mut context) = address.open(false).await?;
    set_quiet(&mut context, verbosity);
    let deleted = location.delete(&path, reference.as_ref()).await?;
    if verbosity >= Verbosity::Info {
        let (snapshots, objects) = (deleted.snapshots, deleted.objects);
        show::note(&context, &format!("Forgot {snapshots} snapshots and removed {objects} plain objects"));
    }
    Ok(())
}
