//! The door `kando`: Kanister's data mover, flag for flag as blueprints call it.
//!
//! What differs from Kanister on purpose is listed in docs/kanister-compatibility.md.

mod chronicle;
mod location;
mod mover;
mod output;
mod place;
mod process;
mod put_out;
mod repository;
mod stream;
mod volume;

pub use place::Address;

use crate::door;
use crate::failure::EXIT_CODES;
use clap::{Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::process::ExitCode;

/// What `kando --version` says after the name; scripts parse the JSON in it.
const VERSION: &str = concat!(
    "version {\"version\": \"",
    env!("CARGO_PKG_VERSION"),
    "\", \"gitCommit\": \"\", \"buildDate\": \"\"}"
);

/// Move streams to and from the location of a Kanister profile.
#[derive(Parser)]
#[command(name = "kando", version = VERSION, after_help = EXIT_CODES, max_term_width = 110)]
struct Kando {
    /// How much is said on standard error
    #[arg(long, short, global = true, value_name = "LEVEL", default_value = "warning", ignore_case = true)]
    verbosity: Verbosity,
    #[command(subcommand)]
    command: Command,
}

/// Kanister's levels; `panic` to `error` say errors only, `info` and beyond what is going on besides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Verbosity {
    Panic,
    Fatal,
    Error,
    #[value(alias = "warn")]
    Warning,
    Info,
    Debug,
    Trace,
}

#[derive(Subcommand)]
enum Command {
    /// Push to, pull from and delete in the location of a profile
    #[command(subcommand, arg_required_else_help = true)]
    Location(location::Command),
    /// Directories as streams in a repository
    #[command(subcommand, arg_required_else_help = true)]
    Volume(volume::Command),
    /// Keep a repository in shape, as the Jobs of a Repository do
    #[command(subcommand, arg_required_else_help = true, hide = true)]
    Repository(repository::Command),
    /// Put this program into pods of any image
    #[command(subcommand, arg_required_else_help = true, hide = true)]
    Mover(mover::Command),
    /// Print a phase output
    Output(output::Args),
    /// Store the output of a command again and again, and read the newest
    #[command(subcommand, arg_required_else_help = true)]
    Chronicle(chronicle::Command),
    /// Store what a web server sends
    #[command(subcommand, arg_required_else_help = true)]
    Stream(stream::Command),
    /// Run processes in a server, and start, watch and signal them from elsewhere (KanX)
    Process(process::Args),
    /// Print the version
    Version,
}

/// Parses the arguments, runs the command, reports how it ended.
pub fn main(argv: Vec<OsString>) -> ExitCode {
    let kando = match door::understand::<Kando>(argv) {
        Ok(kando) => kando,
        Err(code) => return code,
    };
    let verbosity = kando.verbosity;
    let outcome = match kando.command {
        Command::Location(command) => location::run(command, verbosity),
        Command::Volume(command) => volume::run(command, verbosity),
        Command::Repository(command) => repository::run(command),
        Command::Mover(command) => mover::run(command),
        Command::Output(args) => output::run(&args),
        Command::Chronicle(command) => chronicle::run(command, verbosity),
        Command::Stream(command) => stream::run(command, verbosity),
        Command::Process(args) => process::run(args, verbosity),
        Command::Version => crate::show::line(&format!("kando {VERSION}")),
    };
    door::leave(outcome, false)
}
