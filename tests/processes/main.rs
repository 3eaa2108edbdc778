//! The built program against what happens to processes and disks: sudden death, long sleep, no room, no right
//! to write, a crowd, a reader that leaves, little memory.
//!
//! `CISTERN_TEST_ROUNDS` says how many random moments are tried, `CISTERN_TEST_SEED` which.
#![expect(clippy::disallowed_methods, reason = "a test may unwrap")]

mod asleep;
mod crowd;
mod disk;
mod killed;
mod memory;
mod pipe;
#[path = "../support/mod.rs"]
mod support;

use std::io::Write as _;
use std::process::{Child, Stdio};
use std::time::Duration;
use support::home::{Home, now};

/// How many random moments to try.
fn rounds(default: u32) -> u32 {
    support::variable_of("CISTERN_TEST_ROUNDS").map_or(default, |text| text.parse().unwrap())
}

/// What the random moments of this run follow from.
fn seed() -> String {
    support::variable_of("CISTERN_TEST_SEED").unwrap_or_else(|| "1".to_owned())
}

/// Starts the program on these bytes; a thread feeds it.
fn feed(home: &Home, args: &[&str], bytes: Vec<u8>) -> Child {
    let mut command = home.command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    std::thread::spawn(move || {
        // It may be killed before it has read them.
        let _ = input.write_all(&bytes);
    });
    child
}

/// A moment within `span` and a little after it.
fn moment(seed: &str, span: Duration) -> Duration {
    Duration::from_micros(support::drawn(seed, span.as_micros() as u64 * 5 / 4))
}

/// How long a run takes.
fn timed(run: impl FnOnce()) -> Duration {
    let start = now();
    run();
    start.elapsed()
}
