//! A process that is killed when this program ends, however that happens.

use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long a server may take until it answers, and until it has ended, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What a process has used.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    pub cpu: Duration,
    /// Memory it has now.
    pub memory_bytes: u64,
    /// The most it has had.
    pub memory_bytes_max: u64,
}

/// The process; killed when dropped.
pub struct Server {
    pid: Pid,
    ended: mpsc::Receiver<Option<i32>>,
}

impl Server {
    /// A thread of its own starts it and waits for it: the kernel kills it when that thread ends.
    pub fn start(command: &Command, log: &Path) -> Server {
        let mut watched = Command::new("setpriv");
        watched.args(["--pdeathsig", "KILL"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            watched.env(name, value.unwrap_or_default());
        }
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        watched.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let (started, pid) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        std::thread::spawn(move || {
            let mut child = watched.spawn().expect("setpriv is part of util-linux");
            started.send(Pid::from_child(&child)).unwrap();
            let status = child.wait();
            let _ = end.send(status.ok().and_then(|status| status.code()));
        });
        Server { pid: pid.recv().unwrap(), ended }
    }

    /// Whether it has not ended.
    pub fn runs(&self) -> bool {
        matches!(self.ended.try_recv(), Err(mpsc::TryRecvError::Empty))
    }

    pub fn signal(&self, signal: Signal) {
        if self.runs() {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Waits for its end; its exit status, `None` for a signal.
    pub fn wait(&self) -> Option<i32> {
        self.ended.recv_timeout(PATIENCE).expect("it ends, and is waited for once")
    }

    /// What it has used so far.
    pub fn used(&self) -> Used {
        let file = |name: &str| {
            std::fs::read_to_string(format!("/proc/{}/{name}", self.pid.as_raw_nonzero())).unwrap()
        };
        let status = file("status");
        let bytes = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
        };
        // The name of a program may have spaces; the fields after it are counted from the third.
        let stat = file("stat");
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = [11, 12].map(|at: usize| fields[at].parse::<u64>().unwrap()).iter().sum();
        Used {
            cpu: Duration::from_millis(ticks * 10),
            memory_bytes: bytes("VmRSS:"),
            memory_bytes_max: bytes("VmHWM:"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.runs() {
            let _ = kill_process(self.pid, Signal::KILL);
            let _ = self.ended.recv_timeout(PATIENCE);
        }
    }
}
