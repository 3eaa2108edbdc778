//! `cistern man`: the manual page, in roff.

use crate::cli::Cli;
use crate::failure::Failure;
use crate::show;
use clap::CommandFactory as _;

/// Prints the page of the program and, after it, those of its commands.
pub fn run() -> Result<(), Failure> {
    let mut page = Vec::new();
    let mut command = Cli::command();
    command.build();
    let failed = |e| Failure::other(format!("cannot write the manual page: {e}"));
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(failed)?;
    for sub in command.get_subcommands().filter(|c| c.get_name() != "help") {
        let name = format!("cistern-{}", sub.get_name());
        clap_mangen::Man::new(sub.clone()).title(name).render(&mut page).map_err(failed)?;
    }
    show::raw(&page)
}
