//! What went wrong with a store, in terms of what the caller can do about it.

use crate::Key;
use std::fmt;

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No such object.
    NotFound,
    /// `put_new` found other bytes under the name.
    Exists,
    /// Credentials that are unknown, policy, lock or file permissions forbid it. Retrying will not help.
    Denied,
    /// The device or bucket is full. Retrying will not help until somebody makes room.
    Full,
    /// The object ended before the range that was asked for.
    CutShort,
    /// The object is larger than the caller allows.
    TooLarge,
    /// Network, timeout, throttling or a server's bad moment, after all retries.
    Unavailable,
    /// The location, a credential or an option is malformed, or the bucket or directory is absent.
    Config,
    /// Anything else.
    Other,
}

/// A store operation that failed: what was being done, to which object, and why.
pub struct Error {
    /// What the caller can do about it.
    pub kind: ErrorKind,
    /// What was being done, such as `write`, `read`, `list`, `delete`.
    pub doing: &'static str,
    /// The object or prefix, with the store's location in front where that helps.
    pub subject: String,
    /// Why it failed, in one line.
    pub why: String,
}

impl Error {
    /// An error of `kind` while `doing` something to `key`.
    pub fn new(
        kind: ErrorKind,
        doing: &'static str,
        subject: impl fmt::Display,
        why: impl fmt::Display,
    ) -> Error {
        Error { kind, doing, subject: subject.to_string(), why: why.to_string() }
    }

    /// No object under `key`.
    pub fn not_found(doing: &'static str, key: &Key) -> Error {
        Error::new(ErrorKind::NotFound, doing, key, "there is no such object")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.doing, self.subject, self.why)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({self})", self.kind)
    }
}

impl std::error::Error for Error {}
