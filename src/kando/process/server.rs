//! `kando process server`.

use super::super::Verbosity;
use crate::door;
use crate::failure::{Exit, Failure};
use crate::show;
use cistern_kanx::{Event, Listener, Process, Processes, Stream};
use std::path::Path;
use std::sync::Arc;

/// Serves until a signal, which is no failure.
pub fn run(address: &Path, verbosity: Verbosity) -> Result<(), Failure> {
    door::run_heeding(async |signals| {
        let at = show::harmless(&address.display().to_string());
        let listener = cistern_kanx::bind(address).await.map_err(|e| {
            let failure = Failure::new(Exit::Usage, format!("cannot listen at {at}: {e}"));
            failure
                .hint("--address names another socket; `kando process client list` asks who listens at this")
        })?;
        let stop = async {
            signals.next().await;
        };
        let served = cistern_kanx::serve(listener, Processes::new(log(verbosity)), stop).await;
        // Gone already where somebody tidied up.
        let _ = std::fs::remove_file(address);
        served.map_err(|e| Failure::other(format!("cannot go on listening at {at}: {e}")))
    })
}

/// What is said while it serves: nothing, unless asked for; then also what the processes print, so that it
/// stands in the log of the container.
fn log(verbosity: Verbosity) -> Listener {
    if verbosity < Verbosity::Info {
        return Arc::new(|_| {});
    }
    Arc::new(|event| match event {
        Event::Started(process) => show::complain(&format!("started process {}", process.pid)),
        Event::Printed(_, Stream::Stderr, bytes) => show::pass_on(bytes),
        Event::Printed(_, Stream::Stdout, bytes) => {
            // Nobody may be there to hear it.
            let _ = show::raw(bytes);
        }
        Event::Ended(process) => show::complain(&format!("process {} ended: {}", process.pid, how(process))),
    })
}

fn how(process: &Process) -> &str {
    if process.exit_err.is_empty() { "done" } else { &process.exit_err }
}
