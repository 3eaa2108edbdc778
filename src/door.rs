//! Which door a call goes through: the name the program is called by, or else its first argument.

use crate::failure::Failure;
use crate::signals::Signals;
use crate::{cli, controller, kanctl, kando};
use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::path::Path;
use std::process::ExitCode;

/// What a door does with the arguments, the name of the program among them.
type Enter = fn(Vec<OsString>) -> ExitCode;

/// The doors that stand beside `cistern` itself.
const DOORS: &[(&str, Enter)] =
    &[("controller", controller::main), ("kanctl", kanctl::main), ("kando", kando::main)];

/// Goes through the door: `kanctl …` where the program has that name, and `cistern kanctl …` where it has not.
pub fn enter(mut argv: Vec<OsString>) -> ExitCode {
    if let Some(enter) = argv.first().and_then(|name| named(name)) {
        return enter(argv);
    }
    if let Some(enter) = argv.get(1).and_then(|name| named(name)) {
        argv.remove(0);
        return enter(argv);
    }
    cli::main(argv)
}

fn named(program: &OsStr) -> Option<Enter> {
    let name = Path::new(program).file_name()?;
    DOORS.iter().find(|(door, _)| name == *door).map(|(_, enter)| *enter)
}

/// Understands the arguments, or says why not and how to leave.
pub fn understand<Door: clap::Parser>(argv: Vec<OsString>) -> Result<Door, ExitCode> {
    Door::try_parse_from(argv).map_err(|e| {
        // Help and version are "errors" too, with exit code 0; a closed pipe does not matter to either.
        let _ = e.print();
        ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(2))
    })
}

/// Tells how the work ended.
pub fn leave(outcome: Result<(), Failure>, json: bool) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

/// Runs the work of a command until it ends or a signal ends it.
pub fn run(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    run_then(work, async {})
}

/// The same with something to do afterwards, however the work ended.
pub fn run_then(
    work: impl Future<Output = Result<(), Failure>>,
    afterwards: impl Future<Output = ()>,
) -> Result<(), Failure> {
    run_heeding(async |signals| {
        let outcome = tokio::select! {
            outcome = work => outcome,
            // Whatever the command held is dropped before this arm runs: producers are stopped,
            // temporary files removed, echo restored, and nothing is published.
            signal = signals.next() => Err(Failure::signal(signal)),
        };
        afterwards.await;
        outcome
    })
}

/// Runs work that says itself what a signal means to it.
pub fn run_heeding(work: impl AsyncFnOnce(&mut Signals) -> Result<(), Failure>) -> Result<(), Failure> {
    // Few threads: a push of six bytes should not wait for a pool to start.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Failure::other(format!("cannot start: {e}")))?;
    let outcome = runtime.block_on(async { work(&mut Signals::listen()?).await });
    // A thread may sit in a read that never returns.
    runtime.shutdown_background();
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_is_known_by_the_last_part_of_the_name() {
        for name in ["kanctl", "/usr/local/bin/kanctl", "./kanctl", "controller"] {
            assert!(named(OsStr::new(name)).is_some(), "{name}");
        }
        for name in ["cistern", "kanctl2", "/kanctl/cistern", "", "--kanctl"] {
            assert!(named(OsStr::new(name)).is_none(), "{name}");
        }
    }
}
