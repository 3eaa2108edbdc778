//! The line that moves while a stream moves: bytes, rate, what was there already, time left.

use crate::context::{Context, variable};
use crate::show;
use cistern_api::PhaseProgress;
use cistern_repo::{Counter, Observer, Sums};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often the line is drawn again.
const DRAW: Duration = Duration::from_millis(200);

/// Environment variable: a controller reads the log, and wants to know how far a stream is, every so many seconds.
pub const LINES: &str = "CISTERN_PROGRESS_LINES";
/// How often a controller is told, in seconds.
pub const LINES_SECS: &str = "10";
/// More than that a stream never has behind it before its end.
const PERCENT_MAX: u64 = 99;

/// Counts for a command, and says what the engine wants said.
pub struct Meter {
    sums: Sums,
    quiet: bool,
    /// When counting began.
    started: Instant,
}

impl Observer for Meter {
    fn count(&self, what: Counter, n: u64) {
        self.sums.count(what, n);
    }

    fn note(&self, text: &str) {
        if !self.quiet {
            show::complain(text);
        }
    }
}

impl Meter {
    /// Starts counting.
    pub fn start(context: &Context) -> Arc<Meter> {
        Arc::new(Meter { sums: Sums::default(), quiet: context.quiet, started: Instant::now() })
    }

    /// Seconds since counting began.
    pub fn secs(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// The sum of `what` so far.
    pub fn get(&self, what: Counter) -> u64 {
        self.sums.get(what)
    }

    /// Shows a line on a terminal while `work` runs; nothing elsewhere. What the engine counts as `what`
    /// tells how far the stream is, `expected_bytes` how long it probably is.
    pub async fn during<T>(
        &self,
        context: &Context,
        what: Counter,
        expected_bytes: Option<u64>,
        work: impl Future<Output = T>,
    ) -> T {
        self.during_stream(context, || self.get(what), expected_bytes, work).await
    }

    /// The same where `bytes` tells how far the stream is.
    pub async fn during_stream<T>(
        &self,
        context: &Context,
        bytes: impl Fn() -> u64,
        expected_bytes: Option<u64>,
        work: impl Future<Output = T>,
    ) -> T {
        let line = || progress_line(bytes(), self.secs(), self.known(), expected_bytes);
        moving(context, line, work).await
    }

    /// The same for the care of what is stored, where no stream flows.
    pub async fn during_care<T>(&self, context: &Context, work: impl Future<Output = T>) -> T {
        moving(context, || care_line(|counter| self.get(counter), self.secs()), work).await
    }

    /// In a pod of a controller that wants to know ([`LINES`]): says now and then how far `work` is.
    pub async fn telling<T>(&self, work: impl Future<Output = T>) -> T {
        let every_secs = variable(LINES).and_then(|text| text.parse().ok()).filter(|secs| *secs > 0);
        let Some(every_secs) = every_secs else { return work.await };
        let mut ticks = tokio::time::interval(Duration::from_secs(every_secs));
        ticks.tick().await;
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = ticks.tick() => {
                    let progress = progress_of_phase(|what| self.get(what), self.secs());
                    show::pass_on(cistern_api::wire::progress_line(&progress).as_bytes());
                }
            }
        }
    }

    /// Percent of the content looked at so far that was there already; `None` before any was.
    fn known(&self) -> Option<u64> {
        (self.get(Counter::DuplicateBytes) * 100).checked_div(self.get(Counter::ReadBytes))
    }
}

/// Draws `line` again and again on a terminal while `work` runs; draws nothing elsewhere.
async fn moving<T>(context: &Context, line: impl Fn() -> String, work: impl Future<Output = T>) -> T {
    if context.quiet || context.json || !context.terminal.stderr {
        return work.await;
    }
    let moving = show::Moving::start();
    let mut ticks = tokio::time::interval(DRAW);
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => moving.draw(&line()),
        }
    }
}

/// What the controller is told: bytes that went to the location, and that came from it. Where it is known how long the
/// stream probably is, also how much of it is done, what the whole will be, and when.
fn progress_of_phase(sum: impl Fn(Counter) -> u64, secs: f64) -> PhaseProgress {
    let shown = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let (read, written) = (sum(Counter::ReadBytes), sum(Counter::WrittenBytes));
    let (stored, expected) = (sum(Counter::StoredBytes), sum(Counter::ExpectedBytes));
    let done = read.max(written);
    let mut progress = PhaseProgress {
        uploaded_bytes: shown(stored),
        downloaded_bytes: shown(written),
        ..PhaseProgress::default()
    };
    if done == 0 || expected == 0 {
        return progress;
    }
    let percent = u128::from(done) * 100 / u128::from(expected);
    progress.progress_percent = percent.min(PERCENT_MAX.into()).to_string();
    // A stream that is longer than the last one has no end in sight.
    if done < expected {
        let whole = expected as f64 / done as f64;
        progress.estimated_secs = shown((secs * (whole - 1.0)).ceil() as u64);
        if read > 0 {
            progress.estimated_upload_bytes = shown((stored as f64 * whole) as u64);
        } else {
            progress.estimated_download_bytes = shown(expected);
        }
    }
    progress
}

/// `12 of 340 packs  1.20 GiB moved  about 2 min 5 s left`
fn care_line(sum: impl Fn(Counter) -> u64, secs: f64) -> String {
    let (packs, packs_total) = (sum(Counter::Packs), sum(Counter::PacksTotal));
    let (chunks, chunks_total) = (sum(Counter::Chunks), sum(Counter::ChunksTotal));
    let (what, done, total) = match packs_total {
        0 => ("chunks", chunks, chunks_total),
        _ => ("packs", packs, packs_total),
    };
    let mut parts = match total {
        0 => vec![format!("reading snapshots and index  {}", show::duration(secs))],
        _ => vec![format!("{done} of {total} {what}")],
    };
    parts.extend(
        Some(sum(Counter::StoredBytes)).filter(|n| *n > 0).map(|n| format!("{} moved", show::size(n))),
    );
    if (1..total).contains(&done) {
        let left_secs = secs * (total - done) as f64 / done as f64;
        parts.push(format!("about {} left", show::duration(left_secs)));
    }
    parts.join("  ")
}

/// `1.20 GiB  210 MiB/s  93% known  about 12 s left`
fn progress_line(bytes: u64, secs: f64, known: Option<u64>, expected_bytes: Option<u64>) -> String {
    let rate = if secs > 0.0 { bytes as f64 / secs } else { 0.0 };
    let mut parts = vec![show::size(bytes), format!("{}/s", show::size(rate as u64))];
    parts.extend(known.map(|percent| format!("{percent}% known")));
    if let Some(left) = expected_bytes.and_then(|expected| expected.checked_sub(bytes)).filter(|_| rate > 1.0)
    {
        parts.push(format!("about {} left", show::duration(left as f64 / rate)));
    }
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_rate_and_time_left() {
        let line = progress_line(100 << 20, 10.0, Some(50), Some(200 << 20));
        assert_eq!(line, "100 MiB  10.0 MiB/s  50% known  about 10 s left");
    }

    #[test]
    fn a_controller_is_told_how_far_a_stream_is() {
        use Counter::{ExpectedBytes, ReadBytes, StoredBytes, WrittenBytes};
        let told = |counted: &[(Counter, u64)]| {
            progress_of_phase(
                |counter| counted.iter().find(|(c, _)| *c == counter).map_or(0, |(_, n)| *n),
                30.0,
            )
        };
        let bytes_only = told(&[(ReadBytes, 700), (StoredBytes, 7)]);
        assert_eq!(bytes_only, PhaseProgress { uploaded_bytes: 7, ..PhaseProgress::default() });
        let push = told(&[(ReadBytes, 300), (StoredBytes, 10), (ExpectedBytes, 1200)]);
        assert_eq!((push.progress_percent.as_str(), push.estimated_secs), ("25", 90));
        assert_eq!((push.uploaded_bytes, push.estimated_upload_bytes), (10, 40));
        let pull = told(&[(WrittenBytes, 300), (ExpectedBytes, 1200)]);
        assert_eq!((pull.progress_percent.as_str(), pull.estimated_secs), ("25", 90));
        assert_eq!((pull.downloaded_bytes, pull.estimated_download_bytes), (300, 1200));
        let longer = told(&[(ReadBytes, 5000), (StoredBytes, 10), (ExpectedBytes, 1200)]);
        assert_eq!((longer.progress_percent.as_str(), longer.estimated_secs), ("99", 0));
        assert_eq!(longer.estimated_upload_bytes, 0);
        assert_eq!(told(&[(ExpectedBytes, 1200)]), PhaseProgress::default(), "nothing has happened yet");
    }

    #[test]
    fn packs_and_chunks_are_counted_down() {
        let line = |counted: &[(Counter, u64)], secs| {
            let sum = |counter| counted.iter().find(|(c, _)| *c == counter).map_or(0, |(_, n)| *n);
            care_line(sum, secs)
        };
        use Counter::{Chunks, ChunksTotal, Packs, PacksTotal, StoredBytes};
        assert_eq!(line(&[], 1.0), "reading snapshots and index  1.0 s");
        assert_eq!(line(&[(PacksTotal, 40)], 1.0), "0 of 40 packs");
        assert_eq!(line(&[(Packs, 10), (PacksTotal, 40)], 20.0), "10 of 40 packs  about 1 min 0 s left");
        assert_eq!(line(&[(Packs, 40), (PacksTotal, 40)], 20.0), "40 of 40 packs");
        let moved = line(&[(Chunks, 5), (ChunksTotal, 10), (StoredBytes, 1 << 20)], 2.0);
        assert_eq!(moved, "5 of 10 chunks  1.00 MiB moved  about 2.0 s left");
    }

    #[test]
    fn a_stream_longer_than_the_last_one_has_no_end_in_sight() {
        let line = progress_line(300 << 20, 10.0, None, Some(200 << 20));
        assert_eq!(line, "300 MiB  30.0 MiB/s");
        assert_eq!(progress_line(0, 0.0, None, Some(9)), "0 B  0 B/s");
    }
}
