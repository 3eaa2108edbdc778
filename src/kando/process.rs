//! `kando process`: Kanister's KanX, a server that runs processes and the clients that order them.

mod client;
mod server;

use super::Verbosity;
use crate::failure::Failure;
use std::path::PathBuf;

/// What can be typed.
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    /// Unix socket of the process server
    #[arg(long, short, global = true, value_name = "PATH", default_value = "/tmp/kanister.sock")]
    address: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Run the server, until it is told to end; the processes it started end with it
    Server,
    /// Have the server do something
    Client(client::Args),
}

/// Runs it.
pub fn run(args: Args, verbosity: Verbosity) -> Result<(), Failure> {
    match args.command {
        Command::Server => server::run(&args.address, verbosity),
        Command::Client(client) => client::run(client, &args.address),
    }
}
