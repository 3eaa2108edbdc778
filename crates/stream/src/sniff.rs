//! Recognises a dump while it streams and demands its proper end.
//!
//! The first 4 KiB say which format it is; one walk per format then sees every byte and judges at the
//! end. Text formats only keep their last bytes. Structured formats are walked: items that matter are taken,
//! payloads are skipped by their length.
//!
//! # Rules
//! * *Complete* needs the head and the end to match. It is necessary, not sufficient: `mysqldump --force`
//!   writes its trailer after errors too, and only the exit status of the dumper tells.
//! * *Truncated* needs a recognised head and an end that this format always has, missing.
//! * Everything else is *unknown*: formats without a proper end, encrypted or compressed streams, and
//!   whatever a walk does not understand. A walk never guesses.
//!
//! # Guarantees
//! Memory is bounded (the largest is a mongodump archive of 65,536 collections, some 40 MiB, and gzip around
//! it adds 9 MiB), nothing
//! panics, and the verdict does not depend on how the stream is cut into pieces.

mod compressed;
mod delay;
mod elastic;
mod encrypted;
mod etcd;
mod format;
mod gzip;
mod mongo;
mod mysql;
mod pg;
mod pg_custom;
mod redis;
mod sqlite;
mod tar;
mod text;
mod walk;
mod xbstream;
mod zstd;

pub use format::Format;

use serde::{Deserialize, Serialize};

/// How much of the beginning decides the format.
const HEAD_BYTES: usize = 4096;

/// What was seen in a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What the stream is.
    pub format: Format,
    /// Whether it reached its end.
    #[serde(flatten)]
    pub completeness: Completeness,
    /// One line on what to change in the dump command, when its output defeats deduplication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// Whether a dump reached its proper end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "completeness", rename_all = "lowercase")]
pub enum Completeness {
    /// Head and end are those of a whole dump.
    Complete,
    /// The dump does not have the end that its format demands: it was cut or it failed.
    Truncated {
        /// What is missing, in one line.
        why: String,
    },
    /// The stream does not say.
    Unknown {
        /// Why it cannot be told, in one line.
        why: String,
    },
}

impl Completeness {
    fn truncated(why: impl Into<String>) -> Self {
        Completeness::Truncated { why: why.into() }
    }

    fn unknown(why: impl Into<String>) -> Self {
        Completeness::Unknown { why: why.into() }
    }
}

/// Looks at the whole of one format and judges its end.
trait Walk: Send {
    /// The next bytes, beginning with the first of the stream.
    fn push(&mut self, bytes: &[u8]);
    /// The stream ended.
    fn finish(self: Box<Self>) -> Completeness;
}

/// A format recognised by its head.
struct Recognised {
    format: Format,
    walk: Box<dyn Walk>,
    advice: Option<&'static str>,
}

impl Recognised {
    fn new(format: Format, walk: impl Walk + 'static) -> Self {
        Recognised { format, walk: Box::new(walk), advice: None }
    }

    fn advise(mut self, advice: &'static str) -> Self {
        self.advice = Some(advice);
        self
    }
}

/// Recognises one family of formats by the head of a stream.
type Family = fn(&[u8]) -> Option<Recognised>;

/// The first family that knows the head wins; gzip comes after them. Their magics exclude each other.
const FAMILIES: [Family; 13] = [
    pg::recognise,
    pg_custom::recognise,
    mysql::recognise,
    mongo::recognise,
    redis::recognise,
    xbstream::recognise,
    zstd::recognise,
    compressed::recognise,
    encrypted::recognise,
    sqlite::recognise,
    elastic::recognise,
    tar::recognise,
    etcd::recognise,
];

/// Watches one stream of content (see [`crate::gzip`] for streams that arrive compressed).
///
/// ```
/// use cistern_stream::{Completeness, Format, Sniffer};
///
/// let mut sniffer = Sniffer::new();
/// sniffer.push(b"-- MySQL dump 10.13  Distrib 8.4.3\n--\n");
/// sniffer.push(b"CREATE TABLE t (i int);\n"); // and here the connection broke
/// let finding = sniffer.finish();
/// assert_eq!(finding.format, Format::Mysqldump);
/// assert!(matches!(finding.completeness, Completeness::Truncated { .. }));
/// ```
pub struct Sniffer {
    state: State,
    /// Whether gzip is looked into: once, or gzip within gzip without end would hold memory without end.
    opens_gzip: bool,
}

enum State {
    /// Gathering the head.
    Head(Vec<u8>),
    Known(Recognised),
    Unknown,
}

impl Default for Sniffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Sniffer {
    /// At the start of a stream.
    pub fn new() -> Self {
        Sniffer { state: State::Head(Vec::new()), opens_gzip: true }
    }

    /// For what comes out of gzip.
    fn inside_gzip() -> Self {
        Sniffer { opens_gzip: false, ..Sniffer::new() }
    }

    /// The next bytes of the stream, in pieces of any size.
    pub fn push(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Known(known) => known.walk.push(bytes),
            State::Unknown => {}
            State::Head(head) => {
                let (to_head, rest) = bytes.split_at(bytes.len().min(HEAD_BYTES - head.len()));
                head.extend_from_slice(to_head);
                if head.len() == HEAD_BYTES {
                    self.state = recognise(head, self.opens_gzip);
                    self.push(rest);
                }
            }
        }
    }

    /// The stream ended: what was it, and was that its end?
    pub fn finish(self) -> Finding {
        let state = match self.state {
            State::Head(head) if head.is_empty() => {
                let completeness = Completeness::unknown("the stream is empty");
                return Finding { format: Format::Unknown, completeness, advice: None };
            }
            State::Head(head) => recognise(&head, self.opens_gzip),
            state => state,
        };
        match state {
            State::Known(Recognised { format, walk, advice }) => {
                Finding { format, completeness: walk.finish(), advice: advice.map(str::to_owned) }
            }
            _ => {
                let completeness = Completeness::unknown("not a dump format that is known here");
                Finding { format: Format::Unknown, completeness, advice: None }
            }
        }
    }
}

/// Decides on the format and shows the head to its walk.
fn recognise(head: &[u8], opens_gzip: bool) -> State {
    let known = FAMILIES.iter().find_map(|family| family(head));
    match known.or_else(|| opens_gzip.then(|| gzip::recognise(head)).flatten()) {
        Some(mut known) => {
            known.walk.push(head);
            State::Known(known)
        }
        None => State::Unknown,
    }
}
