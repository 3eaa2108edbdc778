//! A path under a location: the key of a plain object, the name of a snapshot.

use crate::error::Error;
use cistern_repo::printable;

/// Longest key, in bytes, that all clouds take.
const KEY_BYTES_MAX: usize = 1024;

/// Where a stream is, below a location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPath {
    /// Segments between slashes, none at the ends; may be empty.
    name: String,
    /// The same below the location's prefix.
    key: String,
}

impl StreamPath {
    /// Puts `path` below `prefix` as Kanister does: joined, cleaned of `.`, `..` and double slashes,
    /// without a slash at either end.
    ///
    /// # Errors
    /// A path that climbs above the prefix, or that no object could have.
    pub fn new(prefix: &str, path: &str) -> Result<StreamPath, Error> {
        let wrong = |why| Error::Path { path: printable(path), why };
        let name = clean(path).ok_or_else(|| wrong("it climbs above the location with `..`"))?;
        let prefix = clean(prefix).ok_or_else(|| Error::Profile {
            field: "Location.prefix".into(),
            why: "climbs above the bucket with `..`".to_owned(),
        })?;
        if name.chars().any(char::is_control) {
            return Err(wrong("it holds control characters"));
        }
        let key = [prefix, name.clone()].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join("/");
        if key.len() > KEY_BYTES_MAX {
            return Err(wrong("with the location's prefix it is longer than 1024 bytes"));
        }
        Ok(StreamPath { name, key })
    }

    /// The name of a snapshot: the path without the location's prefix. Empty for an empty path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key of a plain object: the path below the location's prefix.
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// Segments joined by single slashes; `None` if it climbs above where it starts.
pub(crate) fn clean(path: &str) -> Option<String> {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()?),
            segment => segments.push(segment),
        }
    }
    Some(segments.join("/"))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test that cannot unwrap has failed")]
mod tests {
    use super::*;

    #[test]
    fn keys_are_where_kanister_puts_them() {
        for (prefix, path, key, name) in [
            ("p", "/mysql/x.gz", "p/mysql/x.gz", "mysql/x.gz"),
            (
                "",
                "/mysql-backups/a b/2026-01-02T03:04:05Z/dump",
                "mysql-backups/a b/2026-01-02T03:04:05Z/dump",
                "mysql-backups/a b/2026-01-02T03:04:05Z/dump",
            ),
            ("/p//q/", "a//b/", "p/q/a/b", "a/b"),
            ("p", "a/../b/./c", "p/b/c", "b/c"),
            ("p", "", "p", ""),
            ("", "/", "", ""),
        ] {
            let made = StreamPath::new(prefix, path).unwrap();
            assert_eq!((made.key(), made.name()), (key, name), "{prefix} {path}");
        }
    }

    #[test]
    fn a_path_stays_below_its_location() {
        for path in ["..", "../x", "a/../../x", "a\nb"] {
            assert!(matches!(StreamPath::new("p", path), Err(Error::Path { .. })), "{path:?}");
        }
        assert!(matches!(StreamPath::new("../p", "x"), Err(Error::Profile { .. })));
        assert!(StreamPath::new("", &"x".repeat(1025)).is_err());
    }
}
