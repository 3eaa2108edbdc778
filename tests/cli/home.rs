//! A home directory for one test, and the program run in it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The built program.
pub const CISTERN: &str = env!("CARGO_BIN_EXE_cistern");
/// Longer than any run takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A home directory with nothing in it.
pub struct Home(TempDir);

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: Vec<u8>,
    pub err: String,
}

impl Home {
    pub fn new() -> Home {
        Home(TempDir::new().unwrap())
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    /// The default repository.
    pub fn repository(&self) -> PathBuf {
        self.path(".local/share/cistern/repository")
    }

    /// The key file of the only repository.
    pub fn key_file(&self) -> PathBuf {
        let files = files_below(&self.path(".config/cistern/keys"));
        assert_eq!(files.len(), 1, "{files:?}");
        files[0].clone()
    }

    pub fn write(&self, below: &str, text: &str) -> PathBuf {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        path
    }

    /// The program, with nothing of our own environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(CISTERN);
        self.furnish(&mut command);
        command.args(args);
        command
    }

    /// Gives a program this home, and nothing of our own environment.
    pub fn furnish(&self, command: &mut Command) {
        command.env_clear().env("HOME", self.0.path()).env("PATH", "/usr/bin:/bin").env("TZ", "UTC");
        command.current_dir(self.0.path());
    }

    pub fn run(&self, args: &[&str], stdin: &[u8]) -> Ran {
        run(self.command(args), stdin)
    }

    /// Runs what must succeed.
    pub fn ok(&self, args: &[&str], stdin: &[u8]) -> Ran {
        let ran = self.run(args, stdin);
        assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.err);
        ran
    }

    /// The content of a snapshot.
    pub fn pull(&self, snapshot: &str) -> Vec<u8> {
        self.ok(&["pull", "--as=content", snapshot], b"").out
    }

    /// Nothing of this name can be seen.
    pub fn assert_absent(&self, name: &str) {
        let ran = self.run(&["pull", name], b"");
        assert_eq!(ran.code, Some(5), "`{name}` should not be there: {}", ran.err);
    }
}

impl Ran {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.out).unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }

    /// The last line of standard error.
    pub fn json_error(&self) -> serde_json::Value {
        serde_json::from_str(self.err.lines().last().unwrap_or_default())
            .unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }
}

/// Runs a command on these bytes; kills it when it takes too long.
pub fn run(mut command: Command, stdin: &[u8]) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let bytes = stdin.to_vec();
    thread::spawn(move || {
        // It may not want to read them.
        let _ = input.write_all(&bytes);
    });
    let pid = rustix::process::Pid::from_child(&child);
    let (done, watched) = std::sync::mpsc::channel::<()>();
    thread::spawn(move || {
        if watched.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(done);
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    Ran { code: output.status.code(), out: output.stdout, err }
}

/// Waits for something to become true.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[expect(clippy::disallowed_methods, reason = "a test of a program that runs on real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Every file below a folder.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return vec![] };
    let mut files = vec![];
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

/// Bytes that do not compress, and are the same each time.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let words = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(len / 8 + 1).flatten().take(len).collect()
}

/// A whole `pg_dump`, as text.
pub fn pg_dump() -> String {
    let rows: String = (0..5000).map(|i| format!("{i}\trow number {i}\n")).collect();
    format!(
        "--\n-- PostgreSQL database dump\n--\n\n-- Dumped from database version 17.2\n\nCOPY public.t (id, text) FROM \
         stdin;\n{rows}\\.\n\n\n--\n-- PostgreSQL database dump complete\n--\n\n"
    )
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    std::io::copy(&mut flate2::read::MultiGzDecoder::new(bytes), &mut content).unwrap();
    content
}
