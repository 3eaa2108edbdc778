//! `kando mover`: how this program gets into a pod of any image, and is found there first.

use crate::context::variable;
use crate::failure::{Exit, Failure};
use crate::progress;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

/// The program's own name, and the one that commands know it by.
const NAMES: (&str, &str) = ("cistern", "kando");
/// Where programs are found when nothing says so.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What can be typed.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Put this program into a directory
    Install {
        /// The directory
        #[arg(value_name = "DIRECTORY")]
        directory: PathBuf,
    },
    /// Become another program that finds this one first
    Exec {
        /// The program and its arguments
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
}

/// Runs one of them.
pub fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Install { directory } => install(&directory),
        Command::Exec { command } => Err(become_program(&command)),
    }
}

fn install(directory: &Path) -> Result<(), Failure> {
    let failed = |e: std::io::Error| {
        Failure::other(format!("cannot put this program into {}: {e}", directory.display()))
    };
    let program = own()?;
    // A container that is started again finds its own work.
    let draft = tempfile::Builder::new().prefix(".cistern-").tempfile_in(directory).map_err(failed)?;
    std::fs::copy(&program, draft.path()).map_err(failed)?;
    draft.persist(directory.join(NAMES.0)).map_err(|e| failed(e.error))?;
    let link = directory.join(NAMES.1);
    match std::os::unix::fs::symlink(NAMES.0, &link) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(failed(e)),
        _ => Ok(()),
    }
}

fn own() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|e| Failure::other(format!("cannot find this program itself: {e}")))
}

/// Does not come back, unless the program cannot be started.
fn become_program(command: &[OsString]) -> Failure {
    let own = match own() {
        Ok(own) => own,
        Err(failure) => return failure,
    };
    let folder = own.parent().unwrap_or(Path::new("/")).display();
    let path = format!("{folder}:{}", variable("PATH").unwrap_or_else(|| PATH.to_owned()));
    // The controller that put this program here reads the log.
    let mut process = Process::new(&command[0]);
    process.args(&command[1..]).env("PATH", path).env(progress::LINES, progress::LINES_SECS);
    let error = process.exec();
    Failure::new(Exit::Other, format!("cannot start `{}`: {error}", command[0].to_string_lossy()))
}
