//! Bytes in and out of descriptors: large reads and writes, wide pipes, and an end to waiting.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::FileType;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::str::FromStr;
use std::time::Duration;

/// What pipes are widened to, in bytes: the most that Linux grants anybody (`fs.pipe-max-size`).
const PIPE_BYTES: usize = 1 << 20;

/// How long a stream may be silent, as people write it: `90s`, `1h 30m`, or `off` for ever.
#[derive(Clone, Copy, Debug)]
pub struct StallTimeout(pub Option<Duration>);

impl FromStr for StallTimeout {
    type Err = humantime::DurationError;

    fn from_str(text: &str) -> std::result::Result<StallTimeout, humantime::DurationError> {
        if text == "off" || text == "0" {
            return Ok(StallTimeout(None));
        }
        humantime::parse_duration(text).map(|time| StallTimeout(Some(time)))
    }
}

/// Reads a descriptor directly, and fails if it says nothing for too long.
pub struct StreamIn {
    fd: OwnedFd,
    stall: Option<Duration>,
}

impl StreamIn {
    /// The beginning of a stream; `stall` is how long it may be silent.
    pub fn new(fd: OwnedFd, stall: Option<Duration>) -> StreamIn {
        widen(&fd);
        StreamIn { fd, stall }
    }

    /// Standard input.
    pub fn stdin(stall: Option<Duration>) -> Result<StreamIn> {
        Ok(StreamIn::new(rustix::io::dup(rustix::stdio::stdin())?, stall))
    }

    fn wait(&self, stall: Duration) -> Result<()> {
        let secs = i64::try_from(stall.as_secs()).unwrap_or(i64::MAX);
        let timeout = rustix::event::Timespec { tv_sec: secs, tv_nsec: stall.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&timeout))? {
            0 => {
                let stall = humantime::format_duration(stall);
                let why = format!("nothing came for {stall} (--stall-timeout sets how long to wait)");
                Err(Error::new(ErrorKind::TimedOut, why))
            }
            _ => Ok(()),
        }
    }
}

impl Read for StreamIn {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if let Some(stall) = self.stall {
            self.wait(stall)?;
        }
        Ok(rustix::io::read(&self.fd, buffer)?)
    }
}

/// Writes to a descriptor directly.
pub struct StreamOut(OwnedFd);

impl StreamOut {
    /// The beginning of a stream.
    pub fn new(fd: OwnedFd) -> StreamOut {
        widen(&fd);
        StreamOut(fd)
    }

    /// Standard output.
    pub fn stdout() -> Result<StreamOut> {
        Ok(StreamOut::new(rustix::io::dup(rustix::stdio::stdout())?))
    }
}

impl Write for StreamOut {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        Ok(rustix::io::write(&self.0, bytes)?)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Whether standard input is a file and not a pipe: its bytes are there for good, gzip included.
pub fn stdin_is_file() -> bool {
    let stat = rustix::fs::fstat(rustix::stdio::stdin());
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
}

fn widen(fd: &impl AsFd) {
    // Not every descriptor is a pipe, and not every user may widen one; then it is as wide as it is.
    let _ = rustix::pipe::fcntl_setpipe_size(fd, PIPE_BYTES);
}
