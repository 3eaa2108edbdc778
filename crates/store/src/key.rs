//! The name of an object: `/`-separated segments of a small safe alphabet.

use std::fmt;
use std::str::FromStr;

/// Name of an object below a store's root, such as `packs/3f/3fa0….01J…`.
///
/// One to eight segments of `[A-Za-z0-9._-]`, none empty, none starting or ending with `.` (Azure
/// drops a dot at the end); a segment has at most 255 bytes, the whole at most 512. So every key is a valid, unescaped name on each file system and cloud we write to, and no
/// key can climb out of the root.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

/// A text that is no [`Key`].
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not an object name")]
pub struct BadKey(String);

impl Key {
    /// Makes a key from a text known to be one.
    ///
    /// # Panics
    /// If it is not: keys are built from our own constants, hex and ULIDs. Text from outside goes
    /// through [`FromStr`].
    pub fn new(text: impl Into<String>) -> Key {
        let text = text.into();
        text.parse().expect("keys built by the engine use the safe alphabet")
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl FromStr for Key {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Key, BadKey> {
        let segment_ok = |s: &str| {
            !s.is_empty()
                && s.len() <= 255
                && !s.starts_with('.')
                && !s.ends_with('.')
                && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        if text.len() > 512 || text.split('/').count() > 8 || !text.split('/').all(segment_ok) {
            return Err(BadKey(text.chars().take(120).collect()));
        }
        Ok(Key(text.to_owned()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_inside_the_root() {
        for good in ["cistern.json", "packs/3f/3fa0.01J", "a/b/c"] {
            assert!(good.parse::<Key>().is_ok(), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "../a", "a/..", "a b", "a\0", ".x", "a/.x", "a./x", "ä"] {
            assert!(bad.parse::<Key>().is_err(), "{bad}");
        }
        assert!("n".repeat(255).parse::<Key>().is_ok());
        assert!("n".repeat(256).parse::<Key>().is_err());
    }
}
