//! What people see: lines, tables, sizes, times.
//!
//! Standard error may hold a line that moves; whatever else is said goes above it.

use crate::context::Context;
use crate::failure::{Exit, Failure};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The line that moves now, if one does.
static MOVING: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Writes bytes to standard output. A reader that has seen enough (`| head`) is no error.
pub fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|e| match e.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::new(Exit::ClosedPipe, "the reader closed the pipe"),
        _ => Failure::other(format!("cannot write to standard output: {e}")),
    })
}

/// Writes a line to standard output.
pub fn line(text: &str) -> Result<(), Failure> {
    raw(format!("{text}\n").as_bytes())
}

/// Writes a value as one line of JSON to standard output.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(&serde_json::to_string(value).map_err(|e| Failure::other(format!("cannot make the report: {e}")))?)
}

/// Says something on standard error, unless told to be quiet.
pub fn note(context: &Context, text: &str) {
    if !context.quiet {
        complain(text);
    }
}

/// Says something on standard error. That nobody may be there to hear it must not end the command.
pub fn complain(text: &str) {
    pass_on(format!("{text}\n").as_bytes());
}

/// Passes on what a program wrote to its standard error, as it is.
pub fn pass_on(bytes: &[u8]) {
    let write = || {
        let _ = std::io::stderr().write_all(bytes);
    };
    match &*moving() {
        Some(line) => line.suspend(write),
        None => write(),
    }
}

/// Text that somebody else chose, without what could play tricks with a terminal.
pub fn harmless(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() && c != '\t' { c.escape_default().collect() } else { vec![c] })
        .collect()
}

fn moving() -> MutexGuard<'static, Option<ProgressBar>> {
    MOVING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A line on a terminal that is drawn again and again, and gone when this is dropped.
pub struct Moving(());

impl Moving {
    /// Puts it up.
    pub fn start() -> Moving {
        let style = ProgressStyle::with_template("{wide_msg}").expect("a template of one key");
        let line = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style);
        *moving() = Some(line);
        Moving(())
    }

    /// Draws another text.
    pub fn draw(&self, text: &str) {
        if let Some(line) = &*moving() {
            line.set_message(text.to_owned());
            line.tick();
        }
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        if let Some(line) = moving().take() {
            line.finish_and_clear();
        }
    }
}

/// A size with three digits or so: `6 B`, `1.50 KiB`, `12.3 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    let mut value = bytes as f64 / 1024.0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A duration: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`.
pub fn duration(secs: f64) -> String {
    let whole = secs.round() as u64;
    match whole {
        0..10 => format!("{secs:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A time in this machine's zone: `2026-11-20 03:00:12`.
pub fn time(since_epoch_ms: u64) -> String {
    let stamp = i64::try_from(since_epoch_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    stamp.map_or_else(
        || "-".to_owned(),
        |t| t.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

/// A time for machines: `2026-11-20T03:00:12.345Z`.
pub fn rfc3339(since_epoch_ms: u64) -> String {
    let stamp = i64::try_from(since_epoch_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    stamp.map_or_else(String::new, |t| format!("{t:.3}"))
}

/// Rows below their heads, in columns as wide as they need to be; the last column is never padded.
/// Columns whose head begins with `>` are aligned to the right.
pub fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([heads[column].trim_start_matches('>').chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let titles: Vec<String> = heads.iter().map(|h| h.trim_start_matches('>').to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&titles).chain(rows) {
        let cells = row.iter().zip(heads).zip(&widths).map(|((cell, head), width)| {
            if head.starts_with('>') { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Reads a size as people write it: `4096`, `512K`, `1.5 MiB`, `2GB`. All units are powers of 1024.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| format!("`{text}` is no size; write it as 512K or 4M"))?;
    let shift = match unit.trim().to_ascii_uppercase().trim_end_matches("IB").trim_end_matches('B') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(format!("`{unit}` is no unit of size; there are K, M, G and T")),
    };
    Ok((number * (1u64 << shift) as f64) as u64)
}
