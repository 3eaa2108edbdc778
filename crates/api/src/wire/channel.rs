//! The channel: phase outputs in the few bytes of a container's termination message, beside the log.
//!
//! A log can be cut, rotated or lost with its node; what stands in the termination message is part of the pod's
//! status. The controller names the file by [`CHANNEL`]; our `kando` appends to it the lines that it prints. What
//! does not fit leaves its key there, so that somebody who reads the log of it knows what must be in it.

use super::output::{MARKER, OutputParser, PhaseOutput, Piece};
use std::collections::{BTreeMap, BTreeSet};

/// Environment variable of a container: the file that becomes its termination message.
pub const CHANNEL: &str = "CISTERN_OUTPUT_CHANNEL";
/// Environment variable of a container: how many bytes of that file Kubernetes keeps.
pub const CHANNEL_BYTES: &str = "CISTERN_OUTPUT_CHANNEL_BYTES";
/// Kubernetes keeps no more of the termination message of one container, in bytes.
pub const MESSAGE_BYTES_MAX: u64 = 4096;
/// Nor of those of all containers of a pod together: each has the same share.
const POD_BYTES_MAX: u64 = 12 << 10;
/// What announces the key of an output that only the log holds.
const ELSEWHERE: &str = "###Phase-output-in-log###:";
/// Room that is kept for the last word: that there are more, without their keys.
const LAST_WORD_BYTES: u64 = 32;

/// How many bytes each of so many containers has.
pub fn share_bytes(containers: usize) -> u64 {
    let containers = u64::try_from(containers).unwrap_or(u64::MAX).max(1);
    (POD_BYTES_MAX / containers).min(MESSAGE_BYTES_MAX)
}

/// What to append to a channel of `limit_bytes`, of which `taken_bytes` are taken, for the output `line` of this key:
/// the line itself, or only its key, or that there are more, or nothing any more.
pub fn channel_entry(line: &str, key: &str, taken_bytes: u64, limit_bytes: u64) -> String {
    let room = limit_bytes.saturating_sub(taken_bytes);
    let fits = |text: &str, kept: u64| room >= text.len() as u64 + kept;
    let named = format!("{ELSEWHERE} {key}\n");
    let last_word = format!("{ELSEWHERE}\n");
    let choices = [(line, LAST_WORD_BYTES), (&named, LAST_WORD_BYTES), (&last_word, 0)];
    choices
        .into_iter()
        .find(|(text, kept)| fits(text, *kept))
        .map(|(text, _)| text.to_owned())
        .unwrap_or_default()
}

/// What a channel holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Channel {
    /// Outputs by key.
    pub outputs: BTreeMap<String, String>,
    /// Keys whose last value only the log holds.
    pub in_log: BTreeSet<String>,
    /// There may be more outputs in the log, nobody knows which.
    pub more: bool,
    /// What stands there besides, line by line.
    pub text: Vec<String>,
}

impl Channel {
    /// Reads a termination message. What was cut off at its end, or makes no sense, means that there may be more.
    pub fn read(message: &str) -> Channel {
        let mut channel = Channel::default();
        for line in message.split_inclusive('\n') {
            channel.take(line);
        }
        channel
    }

    /// Every output that was handed to the channel is in it.
    pub fn is_whole(&self) -> bool {
        self.in_log.is_empty() && !self.more
    }

    fn take(&mut self, line: &str) {
        if let Some((_, key)) = line.split_once(ELSEWHERE) {
            match key.trim() {
                "" => self.more = true,
                // Its own end may be missing, and with it the end of the key.
                key if line.ends_with('\n') => {
                    self.outputs.remove(key);
                    self.in_log.insert(key.to_owned());
                }
                _ => self.more = true,
            }
            return;
        }
        let mut parser = OutputParser::new();
        let pieces = parser.push(line.as_bytes()).and_then(|mut pieces| {
            pieces.extend(parser.finish()?);
            Ok(pieces)
        });
        let Ok(pieces) = pieces else {
            self.more = true;
            return;
        };
        for piece in pieces {
            match piece {
                Piece::Output(PhaseOutput { key, value }) => {
                    self.in_log.remove(&key);
                    self.outputs.insert(key, value);
                }
                // The beginning of a marker whose rest was cut off.
                Piece::Text(text) if begins(&text) => self.more = true,
                Piece::Text(text) => self.text.push(text),
            }
        }
    }
}

fn begins(text: &str) -> bool {
    text.starts_with("###") && [MARKER, ELSEWHERE].iter().any(|marker| marker.starts_with(text))
}

#[cfg(test)]
mod tests {
    use super::super::output_line;
    use super::*;

    /// A channel of so many bytes after these outputs.
    fn written(limit_bytes: u64, outputs: &[(&str, &str)]) -> String {
        let mut message = String::new();
        for (key, value) in outputs {
            let line = output_line(key, value).unwrap();
            message.push_str(&channel_entry(&line, key, message.len() as u64, limit_bytes));
            assert!(message.len() as u64 <= limit_bytes);
        }
        message
    }

    #[test]
    fn what_fits_comes_back_and_the_rest_is_known_to_be_elsewhere() {
        let long = "v".repeat(400);
        let all = [("a", "1"), ("long", long.as_str()), ("b", "2")];
        let channel = Channel::read(&written(4096, &all));
        assert!(channel.is_whole());
        assert_eq!(channel.outputs["long"], long);
        let channel = Channel::read(&written(300, &all));
        assert_eq!(channel.outputs.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(channel.in_log, BTreeSet::from(["long".to_owned()]));
        assert!(!channel.is_whole() && !channel.more);
        let many: Vec<(String, String)> = (0..200).map(|i| (format!("key{i}"), i.to_string())).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert!(Channel::read(&written(4096, &many)).more);
    }

    #[test]
    fn a_value_that_no_longer_fits_replaces_one_that_did() {
        let long = "v".repeat(400);
        let channel = Channel::read(&written(300, &[("a", "1"), ("a", &long)]));
        assert!(channel.outputs.is_empty() && channel.in_log.contains("a"), "{channel:?}");
        let channel = Channel::read(&written(300, &[("a", &long), ("a", "1")]));
        assert!(channel.is_whole() && channel.outputs["a"] == "1", "{channel:?}");
    }

    #[test]
    fn a_message_that_was_cut_anywhere_claims_nothing_wrong() {
        let outputs = [("a", "1"), ("b", "2")];
        let message = written(4096, &outputs) + &format!("{ELSEWHERE} long\n");
        for end in 0..=message.len() {
            let channel = Channel::read(&message[..end]);
            let right = channel.outputs.iter().all(|(key, value)| outputs.contains(&(key, value)));
            assert!(right && channel.in_log.iter().all(|key| key == "long"), "{end}: {channel:?}");
        }
        let half = &message[..message.find("\"2\"").unwrap()];
        assert!(Channel::read(half).more, "an output is missing there");
    }

    #[test]
    fn words_of_others_are_text() {
        let channel = Channel::read("out of\nmemory");
        assert_eq!(channel.text, ["out of", "memory"]);
        assert!(channel.is_whole() && channel.outputs.is_empty());
    }

    #[test]
    fn containers_share_what_a_pod_has() {
        assert_eq!(
            (share_bytes(1), share_bytes(3), share_bytes(4), share_bytes(12)),
            (4096, 4096, 3072, 1024)
        );
    }
}
