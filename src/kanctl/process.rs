//! One command line as a process of this machine: its own process group, its output lines read, its last
//! words kept, nothing of it left behind.

use crate::{show, signals};
use cistern_api::Object;
use cistern_api::wire::{OutputParser, Piece};
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

/// Last lines of the output that a failure repeats; as many as Kanister keeps of a pod's log.
const TAIL_LINES: usize = 10;
/// Longest of them, in characters.
const TAIL_LINE_CHARS: usize = 400;
/// How long a process may take to end after it was asked to, before it is killed.
const GRACE: Duration = Duration::from_secs(3);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(5);
/// How long output is waited for after the process ended: a grandchild may hold the pipe open.
const DRAIN: Duration = Duration::from_millis(500);

/// What all commands of a run have in common.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where programs are looked for; `kando` stands first.
    pub path: OsString,
    /// How long one command may take; `None` is for ever.
    pub timeout: Option<Duration>,
}

/// Runs a command to its end; what it put out with `kando output`.
///
/// # Errors
/// It cannot be started, ends with another status than 0, takes too long, or puts out what is no output.
pub async fn run(title: &str, words: &[String], around: &Surroundings) -> Result<Object, String> {
    let (program, arguments) = words.split_first().ok_or("its command is empty")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("PATH", &around.path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let child = command.spawn().map_err(|e| format!("cannot start {}: {e}", show::harmless(program)))?;
    let mut running = Running::new(child);
    let watched = running.watch(title);
    match around.timeout {
        None => watched.await,
        Some(limit) => tokio::time::timeout(limit, watched).await.unwrap_or_else(|_| {
            Err(format!("it took longer than {} and was stopped", humantime::format_duration(limit)))
        }),
    }
}

/// A process that runs. Dropped before it ended, it is stopped with everything it started.
struct Running {
    child: Child,
    group: Option<Pid>,
    ended: bool,
}

impl Running {
    fn new(child: Child) -> Running {
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Running { child, group, ended: false }
    }

    async fn watch(&mut self, title: &str) -> Result<Object, String> {
        let stdout = self.child.stdout.take().expect("standard output is a pipe");
        let stderr = self.child.stderr.take().expect("standard error is a pipe");
        let mut outputs = Listener::new(title, true);
        let mut complaints = Listener::new(title, false);
        let status = {
            let mut reading =
                std::pin::pin!(async { tokio::join!(outputs.listen(stdout), complaints.listen(stderr)) });
            let child = &mut self.child;
            let (status, read) = tokio::select! {
                biased;
                status = child.wait() => (status, false),
                _ = &mut reading => (child.wait().await, true),
            };
            self.ended = true;
            // What it started and left running ends with it, as in a pod.
            if let Some(group) = self.group {
                let _ = kill_process_group(group, Signal::KILL);
            }
            if !read {
                let _ = tokio::time::timeout(DRAIN, reading).await;
            }
            status
        };
        let status = status.map_err(|e| format!("cannot wait for it: {e}"))?;
        if !status.success() {
            return Err(format!("{}{}", ending(status), last_words(&complaints, &outputs)));
        }
        outputs.finish()
    }
}

impl Drop for Running {
    /// While it is not reaped its number belongs to nobody else.
    fn drop(&mut self) {
        let Some(group) = self.group.filter(|_| !self.ended) else { return };
        let passed_on = signals::received().and_then(Signal::from_named_raw).unwrap_or(Signal::TERM);
        let _ = kill_process_group(group, passed_on);
        let _ = kill_process_group(group, Signal::CONT);
        let looks = GRACE.as_millis() / LOOK.as_millis();
        let ended = (0..looks).any(|_| {
            let ended = matches!(self.child.try_wait(), Ok(Some(_)));
            if !ended {
                std::thread::sleep(LOOK);
            }
            ended
        });
        let _ = kill_process_group(group, Signal::KILL);
        if !ended {
            let _ = self.child.start_kill();
        }
    }
}

fn ending(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with status {code}"),
        (None, Some(signal)) => format!("it was killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// The end of standard error; where there is none, of standard output.
fn last_words(complaints: &Listener<'_>, outputs: &Listener<'_>) -> String {
    let lines = if complaints.tail.is_empty() { &outputs.tail } else { &complaints.tail };
    let lines: Vec<String> = lines.iter().map(|line| format!("\n    {line}")).collect();
    if lines.is_empty() { String::new() } else { format!("; it said last:{}", lines.concat()) }
}

/// Reads a stream line by line: outputs are kept, everything else is passed on.
struct Listener<'t> {
    title: &'t str,
    parser: OutputParser,
    looks_for_outputs: bool,
    found: Object,
    tail: VecDeque<String>,
    wrong: Option<String>,
}

impl<'t> Listener<'t> {
    fn new(title: &'t str, looks_for_outputs: bool) -> Listener<'t> {
        Listener {
            title,
            parser: OutputParser::new(),
            looks_for_outputs,
            found: Object::new(),
            tail: VecDeque::new(),
            wrong: None,
        }
    }

    async fn listen(&mut self, mut stream: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(n) = stream.read(&mut buffer).await
            && n > 0
        {
            match self.parser.push(&buffer[..n]) {
                Ok(pieces) => self.take(pieces),
                // The rest is read all the same: a full pipe would stop the process.
                Err(error) => self.wrong = Some(error.to_string()),
            }
        }
    }

    fn take(&mut self, pieces: Vec<Piece>) {
        for piece in pieces {
            match piece {
                Piece::Output(output) if self.looks_for_outputs => {
                    show::complain(&format!("{}: output {}", self.title, show::harmless(&output.key)));
                    self.found.insert(output.key, output.value.into());
                }
                Piece::Output(_) => {}
                Piece::Text(text) => {
                    let text = show::harmless(&text);
                    show::complain(&format!("{}: {text}", self.title));
                    if self.tail.len() == TAIL_LINES {
                        self.tail.pop_front();
                    }
                    self.tail.push_back(text.chars().take(TAIL_LINE_CHARS).collect());
                }
            }
        }
    }

    fn finish(mut self) -> Result<Object, String> {
        match std::mem::take(&mut self.parser).finish() {
            Ok(pieces) => self.take(pieces),
            Err(error) => self.wrong = self.wrong.or(Some(error.to_string())),
        }
        self.wrong.map_or(Ok(self.found), Err)
    }
}
