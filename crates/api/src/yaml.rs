//! YAML as Kubernetes reads and writes it: YAML 1.1 words for true and false, JSON's values, places kept.
//!
//! A file is read in two steps. [`parse`] turns the text into JSON values and remembers where each stood;
//! [`Document::decode`] turns one value into a type and says in which line a field went wrong. What a word
//! without quotes means is decided as in `sigs.k8s.io/yaml`, which `kubectl` uses.

mod compose;
mod scalar;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};
use std::collections::BTreeMap;
use std::fmt;

/// Longest text that is read, in bytes. An object of a cluster holds a tenth of it at most.
pub const TEXT_BYTES_MAX: usize = 16 << 20;
/// Most values in one text, aliases counted each time they are used.
pub const NODES_MAX: usize = 500_000;
/// Deepest nesting of lists and mappings.
pub const DEPTH_MAX: usize = 100;

/// A place in the text; both count from 1, the column in characters.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Why a text cannot be read, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct YamlError {
    /// Where in the text; `None` where no place can be named.
    pub place: Option<Place>,
    /// Path of the field, such as `actions.backup.phases[0].func`; empty where the text is no YAML.
    pub path: String,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{place}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.problem)
    }
}

impl std::error::Error for YamlError {}

/// One document of a text: its value, and where everything stood.
#[derive(Clone, Debug, Default)]
pub struct Document {
    value: Value,
    /// By JSON pointer.
    places: BTreeMap<String, Spot>,
}

/// Where a value stood, and the key it stood under.
#[derive(Clone, Copy, Debug)]
struct Spot {
    key: Option<Place>,
    value: Place,
}

impl Document {
    /// The value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Where the value at a JSON pointer (`/actions/backup/phases/0`) begins.
    ///
    /// What came in through an alias or a merge has no place of its own: it is `None`.
    pub fn place(&self, pointer: &str) -> Option<Place> {
        self.places.get(pointer).map(|spot| spot.value)
    }

    /// Where the key of the value at a JSON pointer stands; for an item of a list, `None`.
    pub fn key_place(&self, pointer: &str) -> Option<Place> {
        self.places.get(pointer).and_then(|spot| spot.key)
    }

    /// Decodes the value. Fields the type does not know are passed over, as Kubernetes prunes them.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, YamlError> {
        serde_path_to_error::deserialize(&self.value).map_err(|e| {
            let (path, pointer) = (e.path().to_string(), pointer(e.path()));
            YamlError {
                place: self.nearest(&pointer),
                path: if path == "." { String::new() } else { path },
                problem: without_content(&e.into_inner().to_string()),
            }
        })
    }

    /// The place of a value, or of the innermost one around it that has a place.
    fn nearest(&self, pointer: &str) -> Option<Place> {
        let mut pointer = pointer;
        loop {
            if let Some(spot) = self.places.get(pointer) {
                return Some(spot.value);
            }
            pointer = &pointer[..pointer.rfind('/')?];
        }
    }
}

/// Reads all documents of a text; empty ones are left out.
pub fn parse(text: &str) -> Result<Vec<Document>, YamlError> {
    compose::documents(text)
}

/// Reads a text that holds one document and decodes it.
pub fn decode<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    let documents = parse(text)?;
    match documents.as_slice() {
        [document] => document.decode(),
        other => Err(YamlError {
            place: other.get(1).and_then(|d| d.place("")),
            path: String::new(),
            problem: format!("expected one document, found {}", other.len()),
        }),
    }
}

/// Writes a value in the manner of Kubernetes' tools: keys in order, lists not indented, texts of several
/// lines as blocks.
pub fn print<T: Serialize>(value: &T) -> Result<String, String> {
    // Through JSON, which puts the keys in order and gives fields the names they have on the wire.
    let value = serde_json::to_value(value).map_err(|e| e.to_string())?;
    let options = serde_saphyr::ser_options! {
        compact_list_indent: true,
        // A long line stays one: what is written is read by people who search for it.
        folded_wrap_chars: usize::MAX,
    };
    serde_saphyr::to_string_with_options(&value, options).map_err(|e| e.to_string())
}

fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer.push_str(&format!("/{}", escape(key))),
            Segment::Enum { .. } | Segment::Unknown => break,
        }
    }
    pointer
}

/// A key as a segment of a JSON pointer (RFC 6901).
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Takes a text out of a message about its type: it may be a secret.
fn without_content(message: &str) -> String {
    const BEFORE: &str = "invalid type: string ";
    match (message.strip_prefix(BEFORE), message.rfind(", expected ")) {
        (Some(_), Some(at)) => format!("invalid type: string{}", &message[at..]),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests;
