//! The door `kanctl`: Kanister's tool for people, with its commands, flags and texts, and some of ours.

mod cancel;
mod cluster;
mod create;
mod describe;
mod drive;
mod input;
mod lint;
mod list;
mod local;
mod logs;
mod order;
mod parent;
mod process;
mod render;
mod run;
mod schema;
mod shelf;
mod snapshots;
mod validate;
mod wait;

use crate::door;
use crate::failure::Failure;
use clap::{Args, Parser, Subcommand};
use cluster::{ClusterFlags, Session};
use std::ffi::OsString;
use std::process::ExitCode;

/// Create, check and follow Kanister's resources.
#[derive(Parser)]
#[command(name = "kanctl", version, max_term_width = 110)]
struct Kanctl {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Namespace of what is created, and of references that name none [default: that of the context]
    #[arg(long, short, global = true, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Report errors as JSON
    #[arg(long, global = true)]
    pub verbose: bool,
    #[command(flatten)]
    pub cluster: ClusterFlags,
}

impl Globals {
    /// The namespace in force where no cluster is asked.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }
}

#[derive(Subcommand)]
enum Command {
    /// Make an ActionSet or a Profile
    Create(create::Args),
    /// Check a Profile or a Blueprint
    Validate(validate::Args),
    /// Wait for an ActionSet to end, and tell how far it is
    Wait(wait::Args),
    /// List ActionSets
    List(list::Args),
    /// Tell all there is to know of an ActionSet
    Describe(describe::Args),
    /// Print what the pods of an ActionSet print
    Logs(logs::Args),
    /// Ask an ActionSet to stop; its deferred phase still runs
    Cancel(cancel::Args),
    /// List the snapshots of a Repository
    Snapshots(snapshots::Args),
    /// Tell everything that is wrong with blueprints
    Lint(lint::Args),
    /// Show what each phase of an action would run
    Render(render::Args),
    /// Run an action of a blueprint without a cluster
    Run(run::Args),
}

/// Parses the arguments, runs the command, reports how it ended.
pub fn main(argv: Vec<OsString>) -> ExitCode {
    let kanctl = match door::understand::<Kanctl>(argv) {
        Ok(kanctl) => kanctl,
        Err(code) => return code,
    };
    let json = kanctl.globals.verbose;
    door::leave(door::run(dispatch(kanctl)), json)
}

async fn dispatch(kanctl: Kanctl) -> Result<(), Failure> {
    let globals = kanctl.globals;
    match kanctl.command {
        Command::Create(args) => create::run(args, &globals).await,
        Command::Validate(args) => validate::run(args, &globals).await,
        Command::Wait(args) => wait::run(&args, &Session::open(&globals).await?).await,
        Command::List(args) => list::run(&args, &Session::open(&globals).await?).await,
        Command::Describe(args) => describe::run(&args, &Session::open(&globals).await?).await,
        Command::Logs(args) => logs::run(&args, &Session::open(&globals).await?).await,
        Command::Cancel(args) => cancel::run(&args, &Session::open(&globals).await?).await,
        Command::Snapshots(args) => snapshots::run(args, &Session::open(&globals).await?).await,
        Command::Lint(args) => lint::run(&args),
        Command::Render(args) => render::run(args).await,
        Command::Run(args) => run::run(args).await,
    }
}
