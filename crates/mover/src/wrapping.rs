//! gzip put back on a stream that was stored without: the way back of [`crate::Intake`].

use crate::error::Error;
use crate::intake::WRAP_VERSION;
use cistern_repo::{Sink, Wrap};
use cistern_stream::gzip::{Rewrapper, Segment};
use std::io::{BufWriter, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Wrapped bytes that are written at once.
const WRAPPED_BYTES: usize = 1 << 20;

/// Puts gzip back on while the content is written.
#[derive(Clone)]
pub struct Wrapping(Arc<Mutex<State>>);

struct State {
    rewrapper: Option<Rewrapper>,
    out: BufWriter<Sink>,
}

impl Wrapping {
    /// As `wrap` says that it was.
    ///
    /// # Errors
    /// A description of the wrapping that is damaged, or of a later version.
    pub fn new(wrap: &Wrap, out: Sink) -> Result<Wrapping, Error> {
        if wrap.version != WRAP_VERSION {
            return Err(Error::Newer { version: wrap.version });
        }
        let damaged = |why: String| Error::Wrapping { why };
        // A depth far above what a list of segments needs: nesting cannot exhaust the stack.
        let segments: Vec<Segment> = ciborium::de::from_reader_with_recursion_limit(&wrap.segments[..], 64)
            .map_err(|e| damaged(e.to_string()))?;
        let rewrapper = Rewrapper::new(segments).map_err(|e| damaged(e.to_string()))?;
        // The rewrapper writes five bytes between any two blocks of content.
        let out = BufWriter::with_capacity(WRAPPED_BYTES, out);
        Ok(Wrapping(Arc::new(Mutex::new(State { rewrapper: Some(rewrapper), out }))))
    }

    /// A writer that takes content.
    pub fn sink(&self) -> Sink {
        Box::new(self.clone())
    }

    /// All content was written and verified: closes the last member.
    pub fn finish(self) -> std::io::Result<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(rewrapper) = state.rewrapper.take() else { return Ok(()) };
        let mut written = Ok(());
        let out = &mut state.out;
        let finished = rewrapper.finish(&mut |bytes| put(out, bytes, &mut written));
        finished.map_err(std::io::Error::other).and(written)?;
        out.flush()
    }
}

impl Write for Wrapping {
    fn write(&mut self, content: &[u8]) -> std::io::Result<usize> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { rewrapper, out } = &mut *state;
        let Some(rewrapper) = rewrapper else { return Err(std::io::Error::other("it was finished before")) };
        let mut written = Ok(());
        let pushed = rewrapper.push(content, &mut |bytes| put(out, bytes, &mut written));
        pushed.map_err(std::io::Error::other).and(written)?;
        Ok(content.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writes until something fails, and keeps the failure.
fn put(out: &mut impl Write, bytes: &[u8], written: &mut std::io::Result<()>) {
    if written.is_ok() {
        *written = out.write_all(bytes);
    }
}
