//! The phase-output line: how a program in a pod hands a key and a value to its phase.
//!
//! `###Phase-output###: {"key":"…","value":"…"}` stands anywhere in a line of the pod's log. What is
//! before it on the line is log; what is after it, to the end of the line, is the JSON.
//!
//! Two things differ from Kanister on purpose. A line that *ends* in the first letters of the marker is not
//! joined with the line after it. And a value is bounded: an ActionSet that holds more could not be stored.

use super::{field, go_json, kind_of};
use memchr::{memchr, memmem};
use serde::Serialize;
use serde_json::Value;

/// What announces an output.
pub const MARKER: &str = "###Phase-output###:";
/// Longest piece of a log line that is handed out at once; a longer line comes in several pieces.
pub const TEXT_BYTES_MAX: usize = 64 << 10;
/// Longest JSON of one output. The store behind the API server takes 1.5 MiB for a whole object.
pub const OUTPUT_BYTES_MAX: usize = 1536 << 10;

/// One output of a phase.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct PhaseOutput {
    /// Key in `.Phases.<name>.Output`.
    pub key: String,
    /// The value; always a text.
    pub value: String,
}

/// Why a key cannot be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// No key.
    #[error("Key should not be empty")]
    Empty,
    /// A character that no template could name.
    #[error("Key should contain only alphanumeric characters and underscore")]
    Character,
}

/// The line that hands `value` to the phase under `key`, with its newline.
pub fn output_line(key: &str, value: &str) -> Result<String, KeyError> {
    if key.is_empty() {
        return Err(KeyError::Empty);
    }
    if !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(KeyError::Character);
    }
    let json = go_json(&PhaseOutput { key: key.to_owned(), value: value.to_owned() })
        .expect("two texts are always JSON");
    Ok(format!("{MARKER} {json}\n"))
}

/// Why what follows a marker is no output.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum OutputError {
    /// Not JSON, or not the JSON of a key and a value.
    #[error("cannot read the phase output: {problem}; print it with `kando output KEY VALUE`")]
    Malformed {
        /// What is wrong with it.
        problem: String,
    },
    /// More than an ActionSet can hold.
    #[error(
        "a phase output is longer than {OUTPUT_BYTES_MAX} bytes; store what is large in the location and put out where it is"
    )]
    TooLong,
}

/// What the parser found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Piece {
    /// A line of log, or a piece of one longer than [`TEXT_BYTES_MAX`]. Without its line end.
    Text(String),
    /// An output.
    Output(PhaseOutput),
}

/// Finds outputs in a stream that arrives in chunks of any size.
///
/// Holds at most [`TEXT_BYTES_MAX`] of log or [`OUTPUT_BYTES_MAX`] of an output, beside the chunk itself.
#[derive(Debug, Default)]
pub struct OutputParser {
    line: Vec<u8>,
    /// Whether the marker of this line has passed, so that `line` holds JSON.
    in_output: bool,
}

impl OutputParser {
    /// A parser at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next chunk and gives what is complete. After an error the stream makes no more sense.
    pub fn push(&mut self, mut chunk: &[u8]) -> Result<Vec<Piece>, OutputError> {
        let mut pieces = Vec::new();
        while !chunk.is_empty() {
            let line_end = memchr(b'\n', chunk);
            // Never more at once than may be held, so that a large chunk does not become a large line.
            let take = line_end.unwrap_or(chunk.len()).min(TEXT_BYTES_MAX);
            self.extend(&chunk[..take], &mut pieces)?;
            let at_line_end = line_end == Some(take);
            if at_line_end {
                self.end_line(&mut pieces)?;
            }
            chunk = &chunk[take + usize::from(at_line_end)..];
        }
        Ok(pieces)
    }

    /// Ends the stream: what is left is a line as if a newline followed.
    pub fn finish(mut self) -> Result<Vec<Piece>, OutputError> {
        let mut pieces = Vec::new();
        self.end_line(&mut pieces)?;
        Ok(pieces)
    }

    fn extend(&mut self, bytes: &[u8], pieces: &mut Vec<Piece>) -> Result<(), OutputError> {
        // The marker may have begun in what is held already.
        let search_from = self.line.len().saturating_sub(MARKER.len() - 1);
        self.line.extend_from_slice(bytes);
        if !self.in_output {
            if let Some(at) = memmem::find(&self.line[search_from..], MARKER.as_bytes()) {
                let at = search_from + at;
                push_text(&self.line[..at], pieces);
                self.line.drain(..at + MARKER.len());
                self.in_output = true;
            } else if self.line.len() >= TEXT_BYTES_MAX {
                let cut = cut_before_marker(&self.line);
                push_text(&self.line[..cut], pieces);
                self.line.drain(..cut);
            }
        }
        if self.in_output && self.line.len() > OUTPUT_BYTES_MAX {
            return Err(OutputError::TooLong);
        }
        Ok(())
    }

    fn end_line(&mut self, pieces: &mut Vec<Piece>) -> Result<(), OutputError> {
        let line = std::mem::take(&mut self.line);
        if !std::mem::take(&mut self.in_output) {
            push_text(line.strip_suffix(b"\r").unwrap_or(&line), pieces);
            return Ok(());
        }
        let json = String::from_utf8_lossy(&line);
        let json = json.trim();
        if !json.is_empty() {
            pieces.push(Piece::Output(parse(json)?));
        }
        Ok(())
    }
}

/// Where a long line may be cut so that neither a marker nor a character is torn.
fn cut_before_marker(line: &[u8]) -> usize {
    let mut cut = line.len() - (MARKER.len() - 1);
    // At most three bytes of a character can lie before its end; more of them are no UTF-8 anyway.
    for _ in 0..3 {
        if line[cut] & 0b1100_0000 == 0b1000_0000 {
            cut -= 1;
        }
    }
    cut
}

fn push_text(text: &[u8], pieces: &mut Vec<Piece>) {
    if !text.is_empty() {
        pieces.push(Piece::Text(String::from_utf8_lossy(text).into_owned()));
    }
}

fn parse(json: &str) -> Result<PhaseOutput, OutputError> {
    let malformed = |problem: String| OutputError::Malformed { problem };
    let object = match serde_json::from_str(json) {
        Ok(Value::Object(object)) => object,
        Ok(Value::Null) => return Ok(PhaseOutput::default()),
        Ok(other) => return Err(malformed(format!("expected an object, found {}", kind_of(&other)))),
        Err(e) => return Err(malformed(format!("not JSON: {e}"))),
    };
    let text = |name: &str| match field(&object, name) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(malformed(format!("`{name}` must be a string, found {}", kind_of(other)))),
    };
    Ok(PhaseOutput { key: text("key")?, value: text("value")? })
}

#[cfg(test)]
mod tests;
