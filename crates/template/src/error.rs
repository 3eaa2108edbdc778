//! What goes wrong with a template: at parsing, at execution, or because it asked for too much.

use std::fmt;

/// Which step failed, and what the caller may want to know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The text is not a template. Nothing was executed.
    Parse,
    /// Execution stopped; output written until then is dropped.
    Exec,
    /// Execution met a map without this key, and `missingkey=error` is set.
    MissingKey(String),
    /// The template asked for more than [`Limits`](crate::Limits) allows.
    Limit,
}

/// A template that did not render. Displays as Go's message, position included.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: String) -> Error {
        Error { kind, message }
    }

    /// Which step failed.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// The key that a map did not have, when that was the cause.
    pub fn missing_key(&self) -> Option<&str> {
        if let ErrorKind::MissingKey(key) = &self.kind { Some(key) } else { None }
    }
}

/// Why a function did not return a value; the caller adds where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fail {
    /// Go's error text.
    Text(String),
    /// A limit was reached; names it.
    Limit(String),
}

impl Fail {
    /// A failure with this text.
    pub fn text(text: impl Into<String>) -> Fail {
        Fail::Text(text.into())
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fail::Text(text) | Fail::Limit(text) => f.write_str(text),
        }
    }
}
