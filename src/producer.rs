//! Programs that make a stream: started as one process group, watched, and never left behind.
//!
//! A pipe hides whether its writer ended well; whoever started it can ask. Every stage must end with status
//! 0 before the stream counts as whole.

use crate::failure::{Exit, Failure};
use crate::{show, signals};
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{PipeReader, Read, pipe};
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::process::{Child, Command};

/// Last lines of a stage's standard error that a failure repeats.
const TAIL_LINES: usize = 12;
/// Longest of them, in bytes.
const TAIL_LINE_BYTES: usize = 400;
/// How long a producer may take to end after it was asked to, before it is killed.
const GRACE: Duration = Duration::from_secs(3);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(5);
/// How long the rest of a stage's standard error is waited for once it ended: a grandchild may hold it open.
const TAIL_WAIT: Duration = Duration::from_millis(300);

/// One program to run.
pub enum Program {
    /// A program and its arguments.
    Command(Vec<OsString>),
    /// A line for `sh -c`.
    Shell(String),
    /// The same with these variables and no others.
    ShellWith(String, Vec<(OsString, OsString)>),
}

impl Program {
    fn command(&self) -> Command {
        match self {
            Program::Command(words) => {
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]);
                command
            }
            Program::Shell(line) => {
                let mut command = Command::new("/bin/sh");
                command.args(["-c", line]);
                command
            }
            Program::ShellWith(line, variables) => {
                let mut command = Command::new("/bin/sh");
                command.args(["-c", line]).env_clear().envs(variables.iter().cloned());
                command
            }
        }
    }

    /// The program's name alone: its arguments, and what a shell line sets, may hold secrets.
    fn name(&self) -> String {
        let first = match self {
            Program::Command(words) => words[0].to_string_lossy().into_owned(),
            Program::Shell(line) | Program::ShellWith(line, _) => {
                line.split_whitespace().next().unwrap_or("sh").to_owned()
            }
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-/+".contains(c);
        let name = first.rsplit('/').next().filter(|name| !name.is_empty() && first.chars().all(plain));
        name.unwrap_or("sh").to_owned()
    }
}

struct Stage {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
    tail: Arc<Mutex<Tail>>,
}

/// Producers that run. Dropped before they ended, they are stopped and reaped.
pub struct Producers {
    stages: Vec<Stage>,
    group: Option<Pid>,
}

impl Producers {
    /// Starts the programs, each reading what the one before it writes, and returns the end of the pipe.
    ///
    /// They get no standard input: a dump that asks questions would wait for ever.
    pub fn start(programs: &[Program]) -> Result<(Producers, OwnedFd), Failure> {
        let mut producers = Producers { stages: vec![], group: None };
        let mut upstream: Option<PipeReader> = None;
        for program in programs {
            let name = program.name();
            let failed = |e: std::io::Error| {
                Failure::new(Exit::Stream, format!("cannot start the producer `{name}`: {e}"))
            };
            let (out, stdout) = pipe().map_err(failed)?;
            let (err, stderr) = pipe().map_err(failed)?;
            let mut command = program.command();
            command
                .stdin(upstream.replace(out).map_or(Stdio::null(), Stdio::from))
                .stdout(stdout)
                .stderr(stderr)
                .process_group(producers.group.map_or(0, |group| group.as_raw_nonzero().get()));
            let child = command.spawn().map_err(failed)?;
            let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
            producers.group = producers.group.or(pid);
            let tail = Tail::follow(err).map_err(failed)?;
            producers.stages.push(Stage { name, child, ended: None, tail });
        }
        let end = upstream.ok_or_else(|| Failure::usage("there is no program to run"))?;
        Ok((producers, end.into()))
    }

    /// Names of the programs, as they are piped.
    pub fn names(&self) -> String {
        self.stages.iter().map(|stage| stage.name.as_str()).collect::<Vec<_>>().join(" | ")
    }

    /// Waits until all ended; `patience` limits the wait for each.
    ///
    /// # Errors
    /// The first stage that did not end with status 0, with its last words.
    pub async fn finish(mut self, patience: Option<Duration>) -> Result<(), Failure> {
        for stage in &mut self.stages {
            let ended = match patience {
                Some(patience) => tokio::time::timeout(patience, stage.child.wait()).await,
                None => Ok(stage.child.wait().await),
            };
            let ended = match ended {
                Ok(ended) => ended,
                Err(_) => Err(std::io::Error::other("it closed its output, but does not end")),
            };
            let failed = |e| Failure::new(Exit::Stream, format!("cannot wait for `{}`: {e}", stage.name));
            stage.ended = Some(ended.map_err(failed)?);
        }
        self.verdict().await
    }

    /// After the stream failed: whether that was because a stage did.
    pub async fn blame(mut self) -> Option<Failure> {
        for stage in &mut self.stages {
            // It has lost its reader or its end: there is nothing to wait for but the moment it takes to exit.
            if let Ok(Ok(status)) = tokio::time::timeout(TAIL_WAIT, stage.child.wait()).await {
                stage.ended = Some(status);
            }
        }
        self.verdict().await.err()
    }

    async fn verdict(&self) -> Result<(), Failure> {
        let count = self.stages.len();
        for (number, stage) in (1..).zip(&self.stages) {
            let Some(status) = stage.ended.filter(|status| !status.success()) else { continue };
            let which = if count > 1 { format!(", stage {number} of {count},") } else { String::new() };
            let said = Tail::read(&stage.tail).await;
            let said = if said.is_empty() { String::new() } else { format!("; it said last:\n{said}") };
            let message = format!("the producer `{}`{which} failed: {}{said}", stage.name, ending(status));
            return Err(Failure::new(Exit::Stream, message).hint("nothing was stored under this name"));
        }
        Ok(())
    }

    fn all_ended(&mut self) -> bool {
        for stage in &mut self.stages {
            if stage.ended.is_none() {
                stage.ended = stage.child.try_wait().ok().flatten();
            }
        }
        self.stages.iter().all(|stage| stage.ended.is_some())
    }

    fn wait_a_little(&mut self) -> bool {
        let looks = GRACE.as_millis() / LOOK.as_millis();
        (0..looks).any(|_| {
            let ended = self.all_ended();
            if !ended {
                std::thread::sleep(LOOK);
            }
            ended
        })
    }
}

impl Drop for Producers {
    /// While one of them is not reaped the group's number belongs to nobody else.
    fn drop(&mut self) {
        let Some(group) = self.group else { return };
        if self.all_ended() {
            return;
        }
        let passed_on = signals::received().and_then(Signal::from_named_raw).unwrap_or(Signal::TERM);
        let _ = kill_process_group(group, passed_on);
        // A stopped process hears nothing else.
        let _ = kill_process_group(group, Signal::CONT);
        if !self.wait_a_little() {
            let _ = kill_process_group(group, Signal::KILL);
            self.wait_a_little();
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

/// The last lines of a standard error that is passed on.
#[derive(Default)]
struct Tail {
    lines: VecDeque<String>,
    open: Vec<u8>,
    closed: bool,
}

impl Tail {
    fn follow(mut err: PipeReader) -> std::io::Result<Arc<Mutex<Tail>>> {
        let tail = Arc::new(Mutex::new(Tail::default()));
        let kept = tail.clone();
        let follow = move || {
            let mut buffer = [0; 8192];
            while let Ok(n) = err.read(&mut buffer)
                && n > 0
            {
                show::pass_on(&buffer[..n]);
                kept.lock().unwrap_or_else(PoisonError::into_inner).take(&buffer[..n]);
            }
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.end_line();
            kept.closed = true;
        };
        std::thread::Builder::new().name("cistern-stderr".to_owned()).spawn(follow)?;
        Ok(tail)
    }

    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => self.end_line(),
                byte if self.open.len() < TAIL_LINE_BYTES => self.open.push(*byte),
                _ => {}
            }
        }
    }

    fn end_line(&mut self) {
        if self.open.is_empty() {
            return;
        }
        if self.lines.len() == TAIL_LINES {
            self.lines.pop_front();
        }
        let line = String::from_utf8_lossy(&self.open).into_owned();
        self.lines.push_back(show::harmless(&line));
        self.open.clear();
    }

    /// The lines, once the stage closed its standard error.
    async fn read(tail: &Mutex<Tail>) -> String {
        let locked = || tail.lock().unwrap_or_else(PoisonError::into_inner);
        let looks = TAIL_WAIT.as_millis() / LOOK.as_millis();
        for _ in 0..looks {
            if locked().closed {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        let locked = locked();
        let lines: Vec<String> = locked.lines.iter().map(|line| format!("    {line}")).collect();
        lines.join("\n")
    }
}
