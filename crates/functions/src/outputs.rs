//! What a command puts out: its outputs, and its last words in case it fails.

use cistern_api::wire::{OutputError, OutputParser, Piece, progress_in};
use cistern_api::{Object, PhaseProgress};
use std::collections::VecDeque;
use std::sync::Arc;

/// Last lines of the output that a failure repeats; as many as Kanister keeps.
const TAIL_LINES: usize = 10;
/// Longest of them, in characters.
const TAIL_LINE_CHARS: usize = 400;
/// All keys and values of a phase together. What the API server stores of a whole ActionSet is 1.5 MiB.
pub const OUTPUTS_BYTES_MAX: usize = 1 << 20;

/// Takes what a command says of its progress, as it says it.
#[derive(Clone)]
pub struct Watch(Arc<dyn Fn(PhaseProgress) + Send + Sync>);

impl Watch {
    /// Hands it on there; must not block.
    pub fn new(tell: impl Fn(PhaseProgress) + Send + Sync + 'static) -> Watch {
        Watch(Arc::new(tell))
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

/// Listens to one stream from its beginning.
#[derive(Debug, Default)]
pub struct Listener {
    watch: Option<Watch>,
    parser: OutputParser,
    outputs: Object,
    output_bytes: usize,
    tail: VecDeque<String>,
    wrong: Option<String>,
    bytes: u64,
}

impl Listener {
    /// One that hands on what is said of progress.
    pub fn watched(watch: Option<Watch>) -> Listener {
        Listener { watch, ..Listener::default() }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if self.wrong.is_some() {
            return;
        }
        let pieces = self.parser.push(bytes);
        self.take(pieces);
    }

    /// The stream has ended.
    pub fn finish(mut self) -> Heard {
        let pieces = std::mem::take(&mut self.parser).finish();
        self.take(pieces);
        Heard { outputs: self.wrong.map_or(Ok(self.outputs), Err), tail: self.tail.into(), bytes: self.bytes }
    }

    fn take(&mut self, pieces: Result<Vec<Piece>, OutputError>) {
        let pieces = match pieces {
            Ok(pieces) => pieces,
            Err(error) => {
                self.wrong.get_or_insert(error.to_string());
                return;
            }
        };
        for piece in pieces {
            match piece {
                Piece::Output(output) => {
                    self.output_bytes += output.key.len() + output.value.len();
                    if self.output_bytes > OUTPUTS_BYTES_MAX {
                        self.wrong.get_or_insert(format!(
                            "its outputs are longer than {OUTPUTS_BYTES_MAX} bytes together; store what is \
                             large in the location and put out where it is"
                        ));
                        return;
                    }
                    self.outputs.insert(output.key, output.value.into());
                }
                Piece::Text(text) => self.keep(&text),
            }
        }
    }

    fn keep(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        if let Some(progress) = progress_in(line) {
            if let Some(Watch(tell)) = &self.watch {
                tell(progress);
            }
            return;
        }
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        let harmless = line.chars().map(|c| if c.is_control() { ' ' } else { c });
        self.tail.push_back(harmless.take(TAIL_LINE_CHARS).collect());
    }
}

/// What was heard of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// Outputs by key, or why they cannot be read.
    pub outputs: Result<Object, String>,
    /// The last lines that were no outputs.
    pub tail: Vec<String>,
    /// How long the stream was.
    pub bytes: u64,
}

impl Heard {
    /// The last lines, as the end of a sentence; empty where there are none.
    pub fn last_words(&self) -> String {
        last_words(&self.tail)
    }
}

/// Lines as the end of a sentence.
pub fn last_words(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = lines.iter().map(|line| format!("\n    {line}")).collect();
    format!("; it said last:{}", lines.concat())
}

/// What a whole text holds.
pub fn hear(text: &str) -> Heard {
    let mut listener = Listener::default();
    listener.push(text.as_bytes());
    listener.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cistern_api::wire::output_line;

    #[test]
    fn outputs_and_the_last_lines_are_kept() {
        let mut text = "noise\n".repeat(30);
        text.push_str(&output_line("id", "7").unwrap());
        text.push_str("bye\u{1b}[0m\n");
        let heard = hear(&text);
        assert_eq!(heard.outputs.clone().unwrap()["id"], "7");
        assert_eq!(heard.tail.len(), 10);
        assert!(heard.last_words().ends_with("\n    noise\n    bye [0m"), "{}", heard.last_words());
    }

    #[test]
    fn more_than_an_action_set_holds_is_refused() {
        let value = "v".repeat(OUTPUTS_BYTES_MAX / 2);
        let text = output_line("a", &value).unwrap() + &output_line("b", &value).unwrap();
        assert!(hear(&text).outputs.unwrap_err().starts_with("its outputs are longer than 1048576 bytes"));
    }
}
