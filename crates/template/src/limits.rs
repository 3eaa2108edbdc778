//! How much a template may use: output, memory, work, nesting.

use std::cell::Cell;

use crate::error::Fail;

/// Bounds on one rendering. The defaults are far above what real templates need.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of the rendered text.
    pub output_bytes: usize,
    /// Bytes of any single value a function makes.
    pub value_bytes: usize,
    /// Bytes of all values functions make during the rendering, whether they are still held or not.
    pub total_bytes: usize,
    /// Commands executed, elements visited.
    pub steps: u64,
    /// Nesting: parentheses and blocks in the text, templates calling templates, values in values.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            output_bytes: 16 << 20,
            value_bytes: 16 << 20,
            total_bytes: 256 << 20,
            steps: 5_000_000,
            depth: 200,
        }
    }
}

/// What is left of the limits while a template runs.
pub(crate) struct Budget {
    pub(crate) limits: Limits,
    steps: Cell<u64>,
    bytes: Cell<usize>,
}

impl Budget {
    pub(crate) fn new(limits: Limits) -> Budget {
        Budget { steps: Cell::new(limits.steps), bytes: Cell::new(limits.total_bytes), limits }
    }

    /// Takes `n` steps.
    pub(crate) fn step(&self, n: usize) -> Result<(), Fail> {
        match self.steps.get().checked_sub(n as u64) {
            Some(left) => {
                self.steps.set(left);
                Ok(())
            }
            None => {
                // Spent for good: a caller that swallows this failure does not get further either.
                self.steps.set(0);
                Err(Fail::Limit(format!("the template takes more than {} steps", self.limits.steps)))
            }
        }
    }

    /// Fails when a single value of `bytes` would be too large.
    pub(crate) fn room_for(&self, bytes: usize) -> Result<(), Fail> {
        if bytes > self.limits.value_bytes {
            return Err(Fail::Limit(format!("a value is larger than {} bytes", self.limits.value_bytes)));
        }
        Ok(())
    }

    /// Counts a value of `bytes` that was made.
    pub(crate) fn charge(&self, bytes: usize) -> Result<(), Fail> {
        self.room_for(bytes)?;
        match self.bytes.get().checked_sub(bytes) {
            Some(left) => {
                self.bytes.set(left);
                Ok(())
            }
            None => Err(Fail::Limit(format!(
                "the template makes more than {} bytes of values",
                self.limits.total_bytes
            ))),
        }
    }

    /// Fails when values are nested deeper than allowed.
    pub(crate) fn depth(&self, depth: usize) -> Result<(), Fail> {
        if depth > self.limits.depth {
            return Err(Fail::Limit(format!("nested deeper than {} levels", self.limits.depth)));
        }
        Ok(())
    }
}
