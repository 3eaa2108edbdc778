//! `cistern completions`: a script that completes commands in a shell.

use crate::cli::Cli;
use crate::failure::Failure;
use crate::show;
use clap::CommandFactory as _;

/// What can be typed.
#[derive(clap::Args)]
pub struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

/// Prints the script.
pub fn run(args: Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "cistern", &mut script);
    show::raw(&script)
}
