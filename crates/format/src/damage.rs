//! What is wrong with bytes that came from storage.

/// Why stored bytes were refused. Nothing of them was used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The bytes end before the thing they should hold does.
    #[error("{what} is cut short: {have} bytes where {want} are needed")]
    CutShort {
        /// What was being read.
        what: &'static str,
        /// Bytes there are.
        have: u64,
        /// Bytes there should be.
        want: u64,
    },
    /// A seal, digest or length does not match: changed, swapped, or written with another key.
    #[error("{what} does not match its seal: it was changed, or belongs elsewhere")]
    Mismatch {
        /// What was being read.
        what: &'static str,
    },
    /// The seal was made with another key.
    #[error("{what} was sealed with another key")]
    WrongKey {
        /// What was being read.
        what: &'static str,
    },
    /// The bytes are sealed rightly and still make no sense.
    #[error("{what} is malformed: {why}")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// In which way.
        why: String,
    },
    /// Written by a later version of this program.
    #[error(
        "{what} has format version {found}, this program reads up to {known}: use a newer cistern, or it is damaged"
    )]
    TooNew {
        /// What was being read.
        what: &'static str,
        /// Version in the bytes.
        found: u32,
        /// Newest version this program knows.
        known: u32,
    },
}

impl Damage {
    pub(crate) fn malformed(what: &'static str, why: impl ToString) -> Damage {
        Damage::Malformed { what, why: why.to_string() }
    }
}
