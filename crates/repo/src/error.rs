//! What went wrong in the engine, in terms of what the caller can do about it.

use cistern_format::Damage;
use std::fmt;

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Network, throttling, a server's bad moment, or a push that was refused by a prune: run it again.
    Retry,
    /// Stored bytes are missing or damaged: run verify, then repair.
    Damaged,
    /// The key or passphrase is not this repository's, or none was given.
    WrongKey,
    /// The store forbids it, or the credential's role does.
    Denied,
    /// There is no such repository or snapshot.
    NotFound,
    /// The device or bucket is full.
    Full,
    /// The request makes no sense, or conflicts with what is there.
    Invalid,
    /// The source of a push failed, or its reader did.
    Stream,
}

/// An operation of the engine that failed.
pub struct Error {
    /// What the caller can do about it.
    pub kind: ErrorKind,
    /// What was being done, to what: `store a pack`, `read snapshot 01J…`.
    pub doing: String,
    /// Why it failed.
    pub why: String,
}

/// The engine's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error while `doing` something.
    pub fn new(kind: ErrorKind, doing: impl Into<String>, why: impl fmt::Display) -> Error {
        Error { kind, doing: doing.into(), why: why.to_string() }
    }

    pub(crate) fn store(doing: impl Into<String>, error: cistern_store::Error) -> Error {
        use cistern_store::ErrorKind as Store;
        let kind = match error.kind {
            Store::NotFound | Store::CutShort | Store::TooLarge => ErrorKind::Damaged,
            Store::Exists | Store::Config => ErrorKind::Invalid,
            Store::Denied => ErrorKind::Denied,
            Store::Full => ErrorKind::Full,
            Store::Unavailable | Store::Other => ErrorKind::Retry,
        };
        Error::new(kind, doing, error)
    }

    /// Bytes at rest that were refused. A version that is too new is damage too: that of the repository is in
    /// its marker, which was read before, and no object of it has another.
    pub(crate) fn damage(doing: impl Into<String>, damage: Damage) -> Error {
        let kind = match damage {
            Damage::WrongKey { .. } => ErrorKind::WrongKey,
            _ => ErrorKind::Damaged,
        };
        Error::new(kind, doing, damage)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.doing, self.why)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({self})", self.kind)
    }
}

impl std::error::Error for Error {}
