//! `kando chronicle`: the output of a command, stored every so often, the newest kept.
//!
//! On plain objects each push is an object of its own, `SUFFIX-N`, and the object `SUFFIX` names the newest; the
//! one before is removed. In a repository each push is a snapshot named `SUFFIX`, and how many are kept is for
//! its retention to say.

use super::Verbosity;
use super::location::{report, set_quiet, terms, tidily, whole};
use super::place::Address;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::producer::{Producers, Program};
use crate::progress::Meter;
use crate::show;
use crate::stdio::StreamIn;
use cistern_mover::{Lenience, Location, Pushed, Source, StreamPath};
use std::ffi::OsString;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Longest file of the environment directory that is read, in bytes; no variable is longer on Linux.
const VARIABLE_BYTES_MAX: u64 = 128 << 10;
/// Longest name of an object, and so of what the naming object holds, in bytes.
const NAME_BYTES_MAX: u64 = 1024;

/// What can be typed.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Run a command again and again, and store what it prints
    Push(PushArgs),
    /// Write the newest of what was stored
    Pull(PullArgs),
}

/// `push`.
#[derive(clap::Args)]
pub struct PushArgs {
    /// File with the profile, read again before each push
    #[arg(long, short, value_name = "FILE")]
    profile_path: PathBuf,
    /// File with the path below the profile's prefix, read again before each push
    #[arg(long, short = 's', value_name = "FILE")]
    artifact_path: PathBuf,
    /// Directory of files that are the command's environment: name and content
    #[arg(long, short, value_name = "DIR")]
    env_dir: Option<PathBuf>,
    /// How often
    #[arg(long, short, value_name = "TIME", default_value = "1m", value_parser = humantime::parse_duration)]
    frequency: Duration,
    /// Command, run by `sh -c`
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true)]
    command: Vec<String>,
}

/// `pull`.
#[derive(clap::Args)]
pub struct PullArgs {
    /// Path below the profile's prefix
    #[arg(long, short = 's', value_name = "PATH", default_value = "", hide_default_value = true)]
    artifact_path: String,
    /// Profile as JSON, `@FILE`, or JSON that refers to a file
    #[arg(long, short, value_name = "JSON")]
    profile: String,
    /// File, replaced at once when all is there; `-` for standard output
    #[arg(value_name = "TARGET")]
    target: PathBuf,
}

/// Runs one of them. A push goes on until it is told to end, which is no failure.
pub fn run(command: Command, verbosity: Verbosity) -> Result<(), Failure> {
    match command {
        Command::Push(args) => loop {
            match round(&args, verbosity) {
                Ok(()) => {}
                Err(failure) if matches!(failure.exit, Exit::Signal(_)) => return Ok(()),
                Err(failure) => return Err(failure),
            }
        },
        Command::Pull(args) => crate::door::run(pull(args, verbosity)),
    }
}

/// One push, and the wait for the next. A runtime each: nothing of one push outlives it.
fn round(args: &PushArgs, verbosity: Verbosity) -> Result<(), Failure> {
    tidily(|opened| async move {
        let began = Instant::now();
        if args.profile_path.exists() {
            push(args, verbosity, opened).await?;
        }
        tokio::time::sleep_until(began + args.frequency).await;
        Ok(())
    })
}

async fn push(args: &PushArgs, verbosity: Verbosity, opened: Arc<OnceLock<Location>>) -> Result<(), Failure> {
    let profile = format!("@{}", args.profile_path.display());
    let address = Address::find(Some(&profile)).await?;
    let suffix = suffix(&args.artifact_path)?;
    let prefix = address.prefix().to_owned();
    let path = |suffix: &str| StreamPath::new(&prefix, suffix);
    let manifest = path(&suffix)?;
    let (location, mut context) = address.open(true).await?;
    set_quiet(&mut context, verbosity);
    let location = opened.get_or_init(|| location);
    if location.repository.is_some() {
        let meter = Meter::start(&context);
        report(&push_output(args, location, &manifest, &context).await?, &meter, &context);
        return Ok(());
    }
    let earlier = named(location, &manifest).await?;
    let next = earlier.as_deref().and_then(|name| number_of(name, &suffix)).map_or(0, |n| n + 1);
    let numbered = format!("{suffix}-{next}");
    push_output(args, location, &path(&numbered)?, &context).await?;
    let text = Cursor::new(numbered.clone().into_bytes());
    let meter = Meter::start(&context);
    location
        .take_in(&manifest, text, terms(false, &context), meter)
        .await?
        .commit(Lenience::default(), None)
        .await?;
    match earlier.filter(|name| number_of(name, &suffix).is_some()) {
        Some(earlier) => Ok(location.delete(&path(&earlier)?, None).await.map(drop)?),
        None => Ok(()),
    }
}

/// Runs the command and stores what it prints.
async fn push_output(
    args: &PushArgs,
    location: &Location,
    path: &StreamPath,
    context: &Context,
) -> Result<Pushed, Failure> {
    let variables = args.env_dir.as_deref().map(variables).transpose()?.unwrap_or_default();
    let (producers, end) = Producers::start(&[Program::ShellWith(args.command.join(" "), variables)])?;
    let producer = producers.names();
    let meter = Meter::start(context);
    let taken = location.take_in(path, StreamIn::new(end, None), terms(true, context), meter).await;
    let taken = whole(taken, Some(producers), None).await?;
    // A command that has nothing to tell this time is no failure of the chronicle.
    Ok(taken.commit(Lenience { empty: true, partial: false }, Some(producer)).await?)
}

/// What the naming object holds; `None` where there is none.
async fn named(location: &Location, manifest: &StreamPath) -> Result<Option<String>, Failure> {
    match location.find(manifest, None).await {
        Ok(Source::Object(found)) if found.size_bytes <= NAME_BYTES_MAX => {
            let text = Arc::new(Mutex::new(Vec::new()));
            let sink = Box::new(Kept(text.clone()));
            location.pull(Source::Object(found), sink, Arc::new(cistern_repo::Silent)).await?;
            let text = text.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(Some(String::from_utf8_lossy(&text).trim_end().to_owned()))
        }
        Ok(_) => {
            let path = show::harmless(manifest.key());
            Err(Failure::new(Exit::Damaged, format!("the object `{path}` names no chronicle")))
        }
        Err(cistern_mover::Error::NotFound { .. }) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// A sink that keeps what it is given.
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn number_of(name: &str, suffix: &str) -> Option<u64> {
    name.strip_prefix(suffix)?.strip_prefix('-')?.parse().ok()
}

/// The path in the file, without the newline at its end.
fn suffix(file: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|e| Failure::usage(format!("cannot read the path in {}: {e}", file.display())))?;
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

/// The files of a directory as variables; directories and links in it are passed over.
fn variables(folder: &Path) -> Result<Vec<(OsString, OsString)>, Failure> {
    let failed = |e| Failure::usage(format!("cannot read the environment in {}: {e}", folder.display()));
    let read = || -> std::io::Result<Vec<(OsString, OsString)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if !entry.file_type()?.is_file() {
                continue;
            }
            let mut text = Vec::new();
            let file = std::fs::File::open(entry.path())?;
            std::io::Read::read_to_end(&mut std::io::Read::take(file, VARIABLE_BYTES_MAX), &mut text)?;
            found.push((entry.file_name(), std::os::unix::ffi::OsStringExt::from_vec(text)));
        }
        Ok(found)
    };
    read().map_err(failed)
}

async fn pull(args: PullArgs, verbosity: Verbosity) -> Result<(), Failure> {
    let address = Address::find(Some(&args.profile)).await?;
    let manifest = address.path(&args.artifact_path)?;
    let prefix = address.prefix().to_owned();
    let (location, mut context) = address.open(false).await?;
    set_quiet(&mut context, verbosity);
    let source = match location.find(&manifest, None).await? {
        Source::Object(_) => {
            let name = named(&location, &manifest).await?.unwrap_or_default();
            location.find(&StreamPath::new(&prefix, &name)?, None).await?
        }
        snapshot => snapshot,
    };
    let output = Output::open(&args.target)?;
    location.pull(source, Box::new(output.writer()?), Meter::start(&context)).await?;
    output.keep()
}
