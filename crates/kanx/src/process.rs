//! One process: started, its output kept as it comes, signals passed to it, its end remembered.

use crate::kept::{Kept, keep};
use crate::processes::{Event, Listener};
use crate::{ProcessState, Stream, signal, wire};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};

/// Signals that may wait to be sent to one process.
const SIGNALS_WAITING_MAX: usize = 8;

/// How a process ended.
#[derive(Clone, Debug, Default)]
struct End {
    /// -1 where a signal ended it.
    code: i64,
    /// Why it failed, in Go's words; empty where it did not.
    error: String,
}

/// A signal somebody wants sent, and where to say whether it was.
struct Ask {
    signal: i32,
    answer: oneshot::Sender<io::Result<()>>,
}

/// A process that runs or ran.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) pid: i64,
    end: watch::Receiver<Option<End>>,
    asks: mpsc::Sender<Ask>,
    stdout: Kept,
    stderr: Kept,
}

impl Process {
    /// Starts a program without standard input, in this process's environment and directory.
    pub(crate) fn start(program: &str, arguments: &[String], listener: Listener) -> io::Result<Process> {
        let (keep_out, stdout) = keep(Stream::Stdout)?;
        let (keep_err, stderr) = keep(Stream::Stderr)?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pid = i64::from(child.id().expect("it was not waited for yet"));
        let pipes = (child.stdout.take(), child.stderr.take());
        let (out, err) = (pipes.0.expect("it is a pipe"), pipes.1.expect("it is a pipe"));
        let (told, end) = watch::channel(None);
        let (asks, asked) = mpsc::channel(SIGNALS_WAITING_MAX);
        let process = Process { pid, end, asks, stdout, stderr };
        listener(Event::Started(&process.describe()));
        let seen = process.clone();
        tokio::spawn(async move {
            let output = async {
                let taken = tokio::join!(
                    keep_out.take(out, |bytes| listener(Event::Printed(pid, Stream::Stdout, bytes))),
                    keep_err.take(err, |bytes| listener(Event::Printed(pid, Stream::Stderr, bytes))),
                );
                taken.0.and(taken.1)
            };
            let end = watch_over(child, asked, output).await;
            told.send_replace(Some(end));
            listener(Event::Ended(&seen.describe()));
        });
        Ok(process)
    }

    /// What a client is told of it.
    pub(crate) fn describe(&self) -> wire::Process {
        let end = self.end.borrow().clone();
        let state = match &end {
            None => ProcessState::Running,
            Some(end) if end.error.is_empty() => ProcessState::Succeeded,
            Some(_) => ProcessState::Failed,
        };
        let End { code, error } = end.unwrap_or_default();
        wire::Process { pid: self.pid, state: state.into(), exit_code: code, exit_err: error }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.end.borrow().is_some()
    }

    /// Waits until it ended and all it printed is kept.
    pub(crate) async fn ended(&self) {
        // An error means that nobody watches over it any more, so nothing will follow.
        let _ = self.end.clone().wait_for(Option::is_some).await;
    }

    /// Sends it a signal; 0 asks only whether it is there.
    ///
    /// # Errors
    /// There is no such signal, or the process has ended.
    pub(crate) async fn signal(&self, signal: i32) -> io::Result<()> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the process has ended already");
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask { signal, answer }).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    /// One of its streams.
    pub(crate) fn kept(&self, stream: Stream) -> &Kept {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }
}

/// Waits for the end of a process and of what it prints, and passes signals on meanwhile. It is one task, so
/// that no signal is sent to a number that was reaped and belongs to another process by now.
async fn watch_over(
    mut child: Child,
    mut asked: mpsc::Receiver<Ask>,
    output: impl Future<Output = io::Result<()>>,
) -> End {
    let mut output = std::pin::pin!(output);
    let (mut status, mut kept) = (None, None);
    loop {
        if let (Some(status), Some(kept)) = (&status, &kept) {
            return end(status, kept);
        }
        tokio::select! {
            ended = child.wait(), if status.is_none() => status = Some(ended),
            taken = &mut output, if kept.is_none() => kept = Some(taken),
            Some(ask) = asked.recv() => {
                // Whoever asked may have gone.
                let _ = ask.answer.send(send(&child, ask.signal));
            }
        }
    }
}

fn send(child: &Child, signal: i32) -> io::Result<()> {
    use rustix::process::{Pid, Signal, kill_process, test_kill_process};
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the process has ended already"))?;
    if signal == 0 {
        return Ok(test_kill_process(pid)?);
    }
    let signal = Signal::from_named_raw(signal)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("there is no signal {signal}")))?;
    Ok(kill_process(pid, signal)?)
}

fn end(status: &io::Result<ExitStatus>, kept: &io::Result<()>) -> End {
    let status = match status {
        Ok(status) => status,
        Err(e) => return End { code: -1, error: format!("cannot wait for it: {e}") },
    };
    let code = status.code().map_or(-1, i64::from);
    let core = if status.core_dumped() { " (core dumped)" } else { "" };
    let mut error = match (status.success(), status.signal()) {
        (true, _) => String::new(),
        (false, Some(number)) => format!("signal: {}{core}", signal::words(number)),
        (false, None) => format!("exit status {code}"),
    };
    if let Err(e) = kept {
        let before = if error.is_empty() { "" } else { "; " };
        error.push_str(&format!("{before}cannot keep what it prints: {e}"));
    }
    End { code, error }
}
