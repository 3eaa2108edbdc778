//! What a command puts out: its outputs, and its last words in case it fails.

use cistern_api::wire::{Channel, OutputError, OutputParser, Piece, progress_in};
use cistern_api::{Object, PhaseProgress};
use serde_json::Value as Json;
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

    /// Tells it.
    pub(crate) fn tell(&self, progress: PhaseProgress) {
        (self.0)(progress);
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

/// What a log says, with what the container left in its termination message: that is neither cut nor rotated, and wins.
/// Only outputs of a program that knows the channel stand in it, so the log is needed for those of others; where the
/// log cannot be read, what the channel holds counts if nothing was left out of it.
pub fn with_channel(heard: Heard, channel: &Channel) -> Heard {
    let said = channel.outputs.iter().map(|(key, value)| (key.clone(), Json::from(value.clone())));
    let outputs = match heard.outputs {
        Ok(mut outputs) => match channel.in_log.iter().find(|key| !outputs.contains_key(*key)) {
            None => {
                outputs.extend(said);
                Ok(outputs)
            }
            Some(key) => Err(format!(
                "its output {key} is too long for the termination message of its container, and its log no longer \
                 holds it: was the log rotated? print less to it, or store what is large in the location"
            )),
        },
        Err(_) if channel.is_whole() && !channel.outputs.is_empty() => Ok(said.collect()),
        Err(error) => Err(error),
    };
    let tail = if heard.tail.is_empty() { last_lines(&channel.text) } else { heard.tail };
    Heard { outputs, tail, bytes: heard.bytes }
}

fn last_lines(text: &[String]) -> Vec<String> {
    let mut listener = Listener::default();
    text.iter().for_each(|line| listener.keep(line));
    listener.tail.into()
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
    use cistern_api::wire::{channel_entry, output_line};

    fn outputs(log: Result<&str, &str>, message: &str) -> Result<String, String> {
        let heard = match log {
            Ok(text) => hear(text),
            Err(error) => Heard { outputs: Err(error.to_owned()), tail: vec![], bytes: 0 },
        };
        let both = with_channel(heard, &Channel::read(message)).outputs?;
        Ok(both
            .iter()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap()))
            .collect::<Vec<_>>()
            .join(" "))
    }

    #[test]
    fn the_channel_and_the_log_say_together_what_was_put_out() {
        let (ours, by_hand) = (output_line("a", "1").unwrap(), output_line("b", "2").unwrap());
        let right = |text: &str| Ok(text.to_owned());
        assert_eq!(outputs(Ok(&(ours.clone() + &by_hand)), &ours), right("a=1 b=2"));
        assert_eq!(outputs(Ok(""), &ours), right("a=1"), "a log that was rotated");
        assert_eq!(outputs(Err("no log"), &ours), right("a=1"));
        assert_eq!(outputs(Err("no log"), "died of hunger"), Err("no log".to_owned()));
        assert_eq!(outputs(Ok(&ours), &ours[..ours.len() - 3]), right("a=1"), "a message that was cut");
        assert_eq!(outputs(Err("no log"), &(ours.clone() + &by_hand[..30])), Err("no log".to_owned()));
    }

    #[test]
    fn an_output_that_only_the_log_has_must_be_in_it() {
        let (a, long) = (output_line("a", "1").unwrap(), output_line("long", &"v".repeat(9000)).unwrap());
        let message = a.clone() + &channel_entry(&long, "long", a.len() as u64, 4096);
        assert!(outputs(Ok(&(a.clone() + &long)), &message).unwrap().starts_with("a=1 long=vvv"));
        let lost = outputs(Ok("only the end of the log\n"), &message).unwrap_err();
        assert!(lost.contains("output long") && lost.contains("rotated"), "{lost}");
        assert_eq!(outputs(Err("no log"), &message), Err("no log".to_owned()));
    }

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
