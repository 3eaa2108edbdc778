//! The command line of `cistern`: what can be typed, and the run of one command.

use crate::commands::{
    benchmark, completions, copy, doctor, forget, hold, init, key, ls, man, optimize, prune, pull, push,
    repair, show, stats, tag, verify,
};
use crate::context::Context;
use crate::door;
use crate::failure::{EXIT_CODES, Failure};
use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Deduplicating, encrypted backups of streamed database dumps.
#[derive(Parser)]
#[command(name = "cistern", version, about, after_help = after_help(), max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Where the repository is: a directory, file://…, s3://bucket/prefix, gs://…, az://…
    /// [env: CISTERN_REPOSITORY] [default: below the user's data directory]
    #[arg(long, global = true, value_name = "LOCATION")]
    pub repo: Option<String>,
    /// Profile of the configuration file to use [env: CISTERN_PROFILE] [default: `default`]
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Configuration file [env: CISTERN_CONFIG] [default: ~/.config/cistern/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File that holds the key [env: CISTERN_KEY_FILE; the key itself: CISTERN_KEY]
    #[arg(long, global = true, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Shell command that prints the key [env: CISTERN_KEY_COMMAND]
    #[arg(long, global = true, value_name = "COMMAND", conflicts_with = "key_file")]
    pub key_command: Option<String>,
    /// File that holds the passphrase [env: CISTERN_PASSPHRASE_FILE; the passphrase: CISTERN_PASSPHRASE]
    #[arg(long, global = true, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Shell command that prints the passphrase [env: CISTERN_PASSPHRASE_COMMAND]
    #[arg(long, global = true, value_name = "COMMAND", conflicts_with = "passphrase_file")]
    pub passphrase_command: Option<String>,
    /// Print one JSON object instead of text; errors as JSON on standard error
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing but errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Create a repository
    Init(init::Args),
    /// Store a stream as a snapshot
    Push(push::Args),
    /// Write the stream of a snapshot
    Pull(pull::Args),
    /// List snapshots, the newest last
    Ls(ls::Args),
    /// Show everything about a snapshot
    Show(show::Args),
    /// Add tags to snapshots, or take them away
    Tag(tag::Args),
    /// Keep snapshots from being forgotten
    Hold(hold::Args),
    /// Drop snapshots from sight, by a policy or one by one
    Forget(forget::Args),
    /// Give back the space of what was forgotten
    Prune(prune::Args),
    /// Look for damage
    Verify(verify::Args),
    /// Mend damage, as far as it can be mended
    Repair(repair::Args),
    /// Tell where the bytes went
    Stats(stats::Args),
    /// Copy snapshots to another repository
    Copy(copy::Args),
    /// Turn chunks that were stored whole into deltas
    Optimize(optimize::Args),
    /// Passphrases and credentials
    Key(key::Args),
    /// Try what the store, the credential and the repository are really like
    Doctor(doctor::Args),
    /// Measure how fast this machine is
    Benchmark(benchmark::Args),
    /// Print a script that completes commands in a shell
    Completions(completions::Args),
    /// Print the manual page
    Man,
}

fn after_help() -> String {
    format!(
        "Kanister's tools are here too: `cistern kando …`, `cistern kanctl …` and `cistern controller …`, or links of \
         these names.\n\n{EXIT_CODES}"
    )
}

/// Parses the arguments, runs the command, reports how it ended.
pub fn main(argv: Vec<OsString>) -> ExitCode {
    let cli = match door::understand::<Cli>(argv) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let json = cli.globals.json;
    door::leave(door::run(dispatch(cli)), json)
}

async fn dispatch(cli: Cli) -> Result<(), Failure> {
    let globals = cli.globals;
    let context = Context::new(&globals);
    match cli.command {
        Command::Init(args) => init::run(args, &context.await?).await,
        Command::Push(args) => push::run(args, &context.await?).await,
        Command::Pull(args) => pull::run(args, &context.await?).await,
        Command::Ls(args) => ls::run(args, &context.await?).await,
        Command::Show(args) => show::run(args, &context.await?).await,
        Command::Tag(args) => tag::run(args, &context.await?).await,
        Command::Hold(args) => hold::run(args, &context.await?).await,
        Command::Forget(args) => forget::run(args, &context.await?).await,
        Command::Prune(args) => prune::run(args, &context.await?).await,
        Command::Verify(args) => verify::run(args, &context.await?).await,
        Command::Repair(args) => repair::run(args, &context.await?).await,
        Command::Stats(args) => stats::run(args, &context.await?).await,
        Command::Copy(args) => copy::run(args, &globals, &context.await?).await,
        Command::Optimize(args) => optimize::run(args, &context.await?).await,
        Command::Key(args) => key::run(args, &context.await?).await,
        Command::Doctor(args) => doctor::run(args, &context.await?).await,
        Command::Benchmark(args) => benchmark::run(args, &globals, &context.await?).await,
        Command::Completions(args) => completions::run(args),
        Command::Man => man::run(),
    }
}
