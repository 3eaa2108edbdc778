//! The signals that end a command, and which of them came.

use crate::failure::Failure;
use std::sync::atomic::{AtomicI32, Ordering};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signal that came, 0 if none did.
static RECEIVED: AtomicI32 = AtomicI32::new(0);

/// Waits for SIGINT, SIGTERM and SIGHUP, except those that whoever started us had us ignore (`nohup`,
/// background jobs of a script).
pub struct Signals {
    listened: Vec<(i32, Signal)>,
}

impl Signals {
    /// Starts to listen.
    pub fn listen() -> Result<Signals, Failure> {
        let ignored = ignored();
        let mut listened = Vec::new();
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let number = kind.as_raw_value();
            if ignored & (1 << (number - 1)) == 0 {
                let heard = signal(kind)
                    .map_err(|e| Failure::other(format!("cannot listen for signal {number}: {e}")))?;
                listened.push((number, heard));
            }
        }
        Ok(Signals { listened })
    }

    /// The number of the next signal.
    pub async fn next(&mut self) -> u8 {
        let number = std::future::poll_fn(|cx| {
            for (number, signal) in &mut self.listened {
                if signal.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(*number);
                }
            }
            std::task::Poll::Pending
        })
        .await;
        RECEIVED.store(number, Ordering::Relaxed);
        u8::try_from(number).expect("the three signals have small numbers")
    }
}

/// The signal that is ending this command, if one is: what is passed on to producers.
pub fn received() -> Option<i32> {
    Some(RECEIVED.load(Ordering::Relaxed)).filter(|n| *n != 0)
}

/// Bit n-1 for each signal n that was ignored when the program started.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
