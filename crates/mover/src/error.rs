//! Why a stream could not be moved, in terms of what the caller can do about it.

use std::borrow::Cow;

/// What failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A profile that cannot be used: which field, and what is wrong with it. No value is repeated.
    #[error("cannot use the profile: `{field}` {why}")]
    Profile {
        /// The field as the profile spells it, such as `Location.bucket`.
        field: Cow<'static, str>,
        /// What is wrong with it.
        why: String,
    },
    /// A path that names nothing in the location.
    #[error("cannot use the path `{path}`: {why}")]
    Path {
        /// As it was given, made harmless.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A snapshot reference that is none.
    #[error("cannot use the snapshot reference: {why}")]
    Reference {
        /// What is wrong with it.
        why: String,
    },
    /// The stream was empty.
    #[error("cannot push `{name}`: the stream is empty; nothing was stored")]
    Empty {
        /// What was pushed.
        name: String,
    },
    /// The dump does not end as its format demands.
    #[error("cannot push `{name}`: the dump is incomplete ({why}); nothing was stored")]
    Incomplete {
        /// What was pushed.
        name: String,
        /// What is missing of what.
        why: String,
    },
    /// The stream could not be read, or not written on.
    #[error("cannot {doing}: {why}")]
    Stream {
        /// What was being done.
        doing: String,
        /// Why it failed.
        why: String,
    },
    /// There is neither snapshot nor object of that name.
    #[error("cannot find `{name}`: {why}")]
    NotFound {
        /// What was looked for.
        name: String,
        /// Where it is not.
        why: String,
    },
    /// What was asked for is refused for what it would do.
    #[error("cannot {doing}: {why}")]
    Refused {
        /// What was being done.
        doing: String,
        /// Why it is not.
        why: String,
    },
    /// The description of how a stream was wrapped is damaged.
    #[error("cannot put gzip back: {why}")]
    Wrapping {
        /// What is wrong with it.
        why: String,
    },
    /// The description of how a stream was wrapped was written by a later version.
    #[error("its gzip was described by a newer cistern (version {version})")]
    Newer {
        /// Version of the description.
        version: u8,
    },
    /// The engine failed.
    #[error(transparent)]
    Repository(#[from] cistern_repo::Error),
    /// The store failed.
    #[error("cannot {0}")]
    Store(#[from] cistern_store::Error),
}
