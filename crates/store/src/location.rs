//! Where a store is: a directory or a bucket, as users write it.

use crate::{Error, ErrorKind, Key};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a store is, without any credential.
///
/// Written as `/path`, `./path`, `file:///path`, `s3://bucket/prefix`, `gs://bucket/prefix`,
/// `az://container/prefix`, or `memory:` for tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A directory of the local file system or a mounted one.
    Directory(PathBuf),
    /// What lies below `prefix` (which may be empty) in a bucket or container.
    Bucket {
        /// Whose protocol it speaks.
        cloud: Cloud,
        /// Name of the bucket or container.
        bucket: String,
        /// Segments above every key, without slashes at the ends.
        prefix: String,
    },
    /// A new, empty store in memory, gone when it is dropped.
    Memory,
}

/// The protocols of object stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// S3 and everything that speaks it: `s3://`.
    S3,
    /// Google Cloud Storage: `gs://`.
    Gcs,
    /// Azure Blob Storage: `az://`.
    Azure,
}

impl Cloud {
    fn scheme(self) -> &'static str {
        match self {
            Cloud::S3 => "s3",
            Cloud::Gcs => "gs",
            Cloud::Azure => "az",
        }
    }
}

impl Location {
    /// What lies below `prefix`, which may be empty, in a bucket.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where no store can be: for a name or prefix with signs that keys do not have.
    pub fn in_bucket(cloud: Cloud, name: &str, prefix: &str) -> Result<Location, Error> {
        bucket(cloud, &format!("{name}/{prefix}"))
    }
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Location, Error> {
        if text == "memory:" {
            return Ok(Location::Memory);
        }
        if text.starts_with('/') || text.starts_with("./") || text.starts_with("../") || text == "." {
            return Ok(Location::Directory(text.into()));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(malformed("write a directory as /path or ./path, a bucket as s3://bucket/prefix"));
        };
        let cloud = match scheme {
            "file" => return directory(rest),
            "s3" => Cloud::S3,
            "gs" => Cloud::Gcs,
            "az" => Cloud::Azure,
            _ => return Err(malformed("it begins with none of /, ./, file://, s3://, gs://, az://")),
        };
        bucket(cloud, rest)
    }
}

fn directory(rest: &str) -> Result<Location, Error> {
    if !rest.starts_with('/') {
        return Err(malformed("file:// takes a full path, such as file:///backup"));
    }
    Ok(Location::Directory(rest.into()))
}

fn bucket(cloud: Cloud, rest: &str) -> Result<Location, Error> {
    // The text is not repeated in any of these messages: it may hold a secret, which is why it is refused.
    if rest.contains('@') {
        return Err(malformed("it holds user name or password; credentials go in the options"));
    }
    if rest.contains(['?', '#']) {
        return Err(malformed("it holds a query; signatures, tokens and settings go in the options"));
    }
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.contains(':') {
        return Err(malformed("it holds a port; a server's address goes in the option `endpoint`"));
    }
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if bucket.is_empty() || bucket.starts_with('.') || !bucket.bytes().all(safe) {
        return Err(malformed("the name of the bucket is empty or has other signs than a-z, 0-9, - . _"));
    }
    let prefix = prefix.trim_end_matches('/');
    if !prefix.is_empty() && prefix.parse::<Key>().is_err() {
        let why = "the prefix is not made of at most eight segments of a-z, A-Z, 0-9, - . _";
        return Err(malformed(why));
    }
    Ok(Location::Bucket { cloud, bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

fn malformed(why: &str) -> Error {
    Error::new(ErrorKind::Config, "understand", "the location", why)
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Directory(path) => path.display().fmt(f),
            Location::Memory => f.write_str("memory:"),
            Location::Bucket { cloud, bucket, prefix } => {
                write!(f, "{}://{bucket}", cloud.scheme())?;
                if prefix.is_empty() { Ok(()) } else { write!(f, "/{prefix}") }
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test that cannot unwrap has failed")]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Location, Error> {
        text.parse()
    }

    #[test]
    fn every_form_is_understood_and_shown_again() {
        let bucket = |cloud, prefix: &str| Location::Bucket {
            cloud,
            bucket: "b-1".to_owned(),
            prefix: prefix.to_owned(),
        };
        for (text, location, shown) in [
            ("/backup", Location::Directory("/backup".into()), "/backup"),
            ("./b", Location::Directory("./b".into()), "./b"),
            ("file:///backup/x", Location::Directory("/backup/x".into()), "/backup/x"),
            ("memory:", Location::Memory, "memory:"),
            ("s3://b-1", bucket(Cloud::S3, ""), "s3://b-1"),
            ("s3://b-1/", bucket(Cloud::S3, ""), "s3://b-1"),
            ("gs://b-1/a/b/", bucket(Cloud::Gcs, "a/b"), "gs://b-1/a/b"),
            ("az://b-1/a", bucket(Cloud::Azure, "a"), "az://b-1/a"),
        ] {
            let parsed = parse(text).unwrap();
            assert_eq!(parsed, location, "{text}");
            assert_eq!(parsed.to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_location_is_refused() {
        for text in ["", "backup", "ftp://x/y", "s3://", "s3:///a", "s3://b/../c", "s3://b//c", "file://b/c"]
        {
            assert_eq!(parse(text).unwrap_err().kind, ErrorKind::Config, "{text}");
        }
    }

    #[test]
    fn credentials_in_it_are_refused_and_not_repeated() {
        for (text, said) in [
            ("s3://id:hunter2@bucket/x", "credentials"),
            ("s3://hunter2@bucket", "credentials"),
            ("az://c/p?sig=hunter2", "tokens"),
            ("gs://b/x#hunter2", "tokens"),
            ("s3://b:9000/hunter2", "endpoint"),
        ] {
            let e = parse(text).unwrap_err();
            assert!(!format!("{e} {e:?}").contains("hunter2"), "{e}");
            assert!(e.why.contains(said) && e.why.contains("option"), "it says where they go: {e}");
        }
    }
}
