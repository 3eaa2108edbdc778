//! All processes of a server: those that run, and the last of those that ended.

use crate::process::Process;
use crate::{Stream, wire};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Processes that may run at once.
const RUNNING_MAX: usize = 512;
/// Processes whose end and output are kept; beyond it the first that was started is forgotten.
const ENDED_MAX: usize = 1024;

/// What happens to processes, for a log.
#[derive(Clone, Copy, Debug)]
pub enum Event<'e> {
    /// It runs.
    Started(&'e wire::Process),
    /// It printed something, the process of this number.
    Printed(i64, Stream, &'e [u8]),
    /// It ended, and all it printed is kept.
    Ended(&'e wire::Process),
}

/// Who is told of it, at once and in the middle of things: it should not take long.
pub type Listener = Arc<dyn Fn(Event<'_>) + Send + Sync>;

/// The processes of a server.
pub struct Processes {
    table: Mutex<Table>,
    listener: Listener,
}

#[derive(Default)]
struct Table {
    /// In the order they were started.
    all: Vec<Process>,
    /// No more are started.
    closed: bool,
}

impl Processes {
    /// None yet.
    pub fn new(listener: Listener) -> Processes {
        Processes { table: Mutex::default(), listener }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a program.
    pub(crate) fn start(&self, program: &str, arguments: &[String]) -> io::Result<Process> {
        let mut table = self.table();
        let ended = table.all.iter().filter(|process| process.has_ended()).count();
        if table.closed {
            return Err(io::Error::other("the server is stopping"));
        }
        if table.all.len() - ended >= RUNNING_MAX {
            return Err(io::Error::other(format!("{RUNNING_MAX} processes run already")));
        }
        let process = Process::start(program, arguments, self.listener.clone())?;
        // The number of one that ended may come again.
        table.all.retain(|other| other.pid != process.pid);
        if ended >= ENDED_MAX
            && let Some(first) = table.all.iter().position(Process::has_ended)
        {
            table.all.remove(first);
        }
        table.all.push(process.clone());
        Ok(process)
    }

    pub(crate) fn find(&self, pid: i64) -> Option<Process> {
        self.table().all.iter().find(|process| process.pid == pid).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Process> {
        self.table().all.clone()
    }

    /// Starts no more, and ends those that run: asks first, and kills what is left after `grace`.
    pub async fn stop(&self, grace: Duration) {
        self.table().closed = true;
        let running = || self.all().into_iter().filter(|process| !process.has_ended());
        for (signal, patience) in [(15, grace), (9, grace)] {
            for process in running() {
                // It may have ended by itself meanwhile.
                let _ = process.signal(signal).await;
            }
            let ended =
                futures::future::join_all(running().map(|process| async move { process.ended().await }));
            if tokio::time::timeout(patience, ended).await.is_ok() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test may unwrap")]

    use super::*;
    use crate::ProcessState;

    fn quiet() -> Processes {
        Processes::new(Arc::new(|_| {}))
    }

    fn sh(processes: &Processes, script: &str) -> Process {
        processes.start("sh", &["-c".to_owned(), script.to_owned()]).unwrap()
    }

    #[tokio::test]
    async fn how_it_ended_is_told_in_gos_words() {
        let processes = quiet();
        for (script, state, code, error) in [
            ("exit 0", ProcessState::Succeeded, 0, ""),
            ("exit 3", ProcessState::Failed, 3, "exit status 3"),
            ("kill -9 $$", ProcessState::Failed, -1, "signal: killed"),
            ("kill -INT $$", ProcessState::Failed, -1, "signal: interrupt"),
        ] {
            let process = sh(&processes, script);
            process.ended().await;
            let told = processes.find(process.pid).unwrap().describe();
            assert_eq!(
                (told.state(), told.exit_code, told.exit_err.as_str()),
                (state, code, error),
                "{script}"
            );
        }
        assert_eq!(processes.all().len(), 4);
        assert!(processes.start("/no/such/program", &[]).is_err());
        assert_eq!(processes.all().len(), 4);
    }

    #[tokio::test]
    async fn a_signal_reaches_what_runs_and_nothing_that_ended() {
        let processes = quiet();
        let process = sh(&processes, "exec sleep 60");
        process.signal(0).await.unwrap();
        assert!(process.signal(4711).await.unwrap_err().to_string().contains("no signal 4711"));
        assert!(!process.has_ended());
        process.signal(15).await.unwrap();
        process.ended().await;
        assert_eq!(process.describe().exit_err, "signal: terminated");
        assert!(process.signal(0).await.unwrap_err().to_string().contains("ended already"));
    }

    #[tokio::test]
    async fn a_server_that_stops_ends_what_runs_and_starts_no_more() {
        let processes = quiet();
        let gentle = sh(&processes, "exec sleep 60");
        let deaf = sh(&processes, "trap '' TERM; echo ready; while :; do sleep 0.05; done");
        // It must be deaf before it is asked.
        deaf.kept(Stream::Stdout).read().await.unwrap().next().await.unwrap();
        processes.stop(Duration::from_millis(300)).await;
        assert_eq!(gentle.describe().exit_err, "signal: terminated");
        assert_eq!(deaf.describe().exit_err, "signal: killed");
        assert!(processes.start("true", &[]).err().unwrap().to_string().contains("stopping"));
    }

    #[tokio::test]
    async fn only_so_many_of_those_that_ended_are_remembered() {
        let processes = quiet();
        let mut started = Vec::new();
        for _ in 0..ENDED_MAX + 5 {
            let process = processes.start("true", &[]).unwrap();
            process.ended().await;
            started.push(process.pid);
        }
        assert!(processes.all().len() <= ENDED_MAX + 1, "{}", processes.all().len());
        assert!(processes.find(*started.last().unwrap()).is_some());
    }
}
