//! Plain objects of a bucket: any name, replaced at will, written and read as streams.
//!
//! They are what other programs left there and what other programs are to find. Repositories never use
//! them: theirs are written once, under a [`crate::Key`], through [`crate::Store`].

use crate::cloud::CloudStore;
use crate::explain::explain;
use crate::open::open_bucket;
use crate::retry::persist;
use crate::upload::Upload;
use crate::{Cloud, Error, ErrorKind, Options};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, MultipartId, ObjectStoreExt as _};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Length of a piece that is read at once, in bytes.
const READ_BYTES: u64 = 8 << 20;
/// Pieces that are read ahead, so that one connection's speed is no limit.
const READS: usize = 4;

/// The objects of one bucket or container. Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    pub(crate) store: Arc<CloudStore>,
    /// Uploads that were dropped before they were complete, through any clone.
    left: Arc<Mutex<Vec<(Path, MultipartId)>>>,
}

/// An object that is there.
#[derive(Clone, Debug)]
pub struct Found {
    path: Path,
    /// Size in bytes.
    pub size_bytes: u64,
    /// What tells this object from its successor of the same name.
    e_tag: Option<String>,
}

impl Objects {
    /// Opens a bucket and sees to it that it is there.
    ///
    /// # Errors
    /// As [`crate::open`].
    pub async fn open(cloud: Cloud, bucket: &str, options: &Options) -> Result<Objects, Error> {
        let store = open_bucket(cloud, bucket, "", options).await?;
        Ok(Objects { store: Arc::new(store), left: Arc::default() })
    }

    /// Where this is, for messages: a URL without any secret in it.
    pub fn location(&self) -> &str {
        &self.store.location
    }

    /// Begins to write the object `name`. Nothing is visible, and nothing of an earlier object is lost,
    /// until [`Upload::complete`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a name that no object can have.
    pub fn write(&self, name: &str) -> Result<Upload, Error> {
        Ok(Upload::new(self.clone(), self.path("write", name)?))
    }

    /// Looks for the object `name`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none.
    pub async fn find(&self, name: &str) -> Result<Found, Error> {
        let path = self.path("look up", name)?;
        let subject = self.subject(&path);
        let client = &self.store.client;
        let look = || self.store.answer("look up", &subject, client.head(&path));
        let meta = persist(&self.store.patience, "look up", &subject, 0, look).await?;
        Ok(Found { path, size_bytes: meta.size, e_tag: meta.e_tag })
    }

    /// The bytes of an object in order, several pieces of it fetched at a time.
    ///
    /// An object that is replaced meanwhile is an error, never a mixture.
    pub fn read(&self, found: Found) -> BoxStream<'_, Result<Bytes, Error>> {
        let size = found.size_bytes;
        let pieces = (0..size.div_ceil(READ_BYTES)).map(move |n| {
            let range = n * READ_BYTES..((n + 1) * READ_BYTES).min(size);
            let found = found.clone();
            async move {
                let subject = self.subject(&found.path);
                let read = || self.read_range(&found, &subject, range.clone());
                persist(&self.store.patience, "read", &subject, READ_BYTES, read).await
            }
        });
        stream::iter(pieces).buffered(READS).boxed()
    }

    async fn read_range(&self, found: &Found, subject: &str, range: Range<u64>) -> Result<Bytes, Error> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            if_match: found.e_tag.clone(),
            ..GetOptions::default()
        };
        let replaced = || Error::new(ErrorKind::Other, "read", subject, "it was replaced while it was read");
        let request = async { Ok(self.store.client.get_opts(&found.path, options).await) };
        match self.store.answer("read", subject, request).await? {
            Ok(result) if result.range == range => {
                self.store.body(subject, result, range.end - range.start).await
            }
            Ok(_) => Err(replaced()),
            Err(object_store::Error::Precondition { .. }) => Err(replaced()),
            Err(e) => match explain(&e) {
                meaning if meaning.taken => Err(replaced()),
                meaning => Err(meaning.error("read", subject)),
            },
        }
    }

    /// Names of all objects strictly below the directory `dir`: those that begin with `dir/`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for an empty name: nobody means the whole bucket.
    pub fn below(&self, dir: &str) -> Result<BoxStream<'_, Result<String, Error>>, Error> {
        let dir = self.path("list", dir)?;
        Ok(self.store.list_below(dir).map(|meta| Ok(meta?.location.to_string())).boxed())
    }

    /// Removes the object `name`, and no other; absent is fine.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] when a lock or policy protects it.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        let path = self.path("delete", name)?;
        let subject = self.subject(&path);
        let client = &self.store.client;
        let delete = || self.store.answer("delete", &subject, client.delete(&path));
        match persist(&self.store.patience, "delete", &subject, 0, delete).await {
            Err(e) if e.kind == ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Notes an upload that was dropped.
    pub(crate) fn left(&self, path: Path, id: MultipartId) {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).push((path, id));
    }

    /// The uploads noted so far, which are noted no more.
    pub(crate) fn take_left(&self) -> Vec<(Path, MultipartId)> {
        std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn subject(&self, path: &Path) -> String {
        format!("{}/{path}", self.store.location)
    }

    /// The name as it is, not as the client library would rather have it.
    fn path(&self, doing: &'static str, name: &str) -> Result<Path, Error> {
        let malformed = |why: &str| {
            let shown: String = name.chars().take(200).flat_map(char::escape_debug).collect();
            Error::new(ErrorKind::Config, doing, format!("{}/{shown}", self.store.location), why)
        };
        if name.is_empty() {
            return Err(malformed("an object's name is not empty"));
        }
        if name.starts_with('/') || name.ends_with('/') {
            return Err(malformed("an object's name neither begins nor ends with a slash"));
        }
        let why =
            "an object's name has no empty segment, none that is `.` or `..`, and no control characters";
        Path::parse(name).map_err(|_| malformed(why))
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test that cannot unwrap has failed")]
pub(crate) mod tests {
    use super::*;
    use crate::Patience;
    use futures::TryStreamExt as _;
    use object_store::Attributes;
    use object_store::memory::InMemory;
    use std::sync::atomic::AtomicBool;

    pub(crate) fn in_memory() -> Objects {
        Objects {
            store: Arc::new(CloudStore {
                client: Arc::new(InMemory::new()),
                prefix: Path::default(),
                location: "s3://paper".to_owned(),
                attributes: Attributes::new(),
                patience: Patience::default(),
                wants_md5: AtomicBool::new(false),
            }),
            left: Arc::default(),
        }
    }

    pub(crate) async fn put(objects: &Objects, name: &str, bytes: &[u8]) {
        let mut upload = objects.write(name).unwrap();
        upload.write(Bytes::copy_from_slice(bytes)).await.unwrap();
        upload.complete().await.unwrap();
    }

    pub(crate) async fn get(objects: &Objects, name: &str) -> Result<Vec<u8>, Error> {
        let found = objects.find(name).await?;
        let pieces: Vec<Bytes> = objects.read(found).try_collect().await?;
        Ok(pieces.concat())
    }

    async fn names_below(objects: &Objects, dir: &str) -> Vec<String> {
        objects.below(dir).unwrap().try_collect().await.unwrap()
    }

    #[tokio::test]
    async fn objects_come_back_in_order_however_long() {
        let objects = in_memory();
        let long: Vec<u8> = (0..3 * READ_BYTES as u32 / 4 + 77).flat_map(u32::to_le_bytes).collect();
        for (name, bytes) in [("empty", &b""[..]), ("short", b"abc"), ("a/long one: 100%~#?.gz", &long)] {
            put(&objects, name, bytes).await;
            assert!(get(&objects, name).await.unwrap() == bytes, "{name}");
        }
        assert_eq!(get(&objects, "a").await.unwrap_err().kind, ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn an_object_replaced_while_it_is_read_is_no_mixture() {
        let objects = in_memory();
        put(&objects, "a", b"first").await;
        let found = objects.find("a").await.unwrap();
        put(&objects, "a", b"other").await;
        let read: Result<Vec<Bytes>, Error> = objects.read(found).try_collect().await;
        assert!(read.unwrap_err().why.contains("replaced"));
    }

    #[tokio::test]
    async fn a_directory_is_not_its_neighbours_and_a_delete_takes_one() {
        let objects = in_memory();
        for name in ["a/x", "a/x2", "a/x/1", "a/x/2/3", "b"] {
            put(&objects, name, b"x").await;
        }
        assert_eq!(names_below(&objects, "a/x").await, ["a/x/1", "a/x/2/3"]);
        objects.delete("a/x").await.unwrap();
        objects.delete("a/x").await.unwrap();
        assert_eq!(names_below(&objects, "a").await, ["a/x/1", "a/x/2/3", "a/x2"]);
    }

    #[tokio::test]
    async fn names_that_mean_something_else_are_refused() {
        let objects = in_memory();
        for name in ["", "/", "/a", "a/", "a//b", "a/../b", ".", "a\nb"] {
            assert_eq!(objects.write(name).err().unwrap().kind, ErrorKind::Config, "{name:?}");
            assert_eq!(objects.delete(name).await.unwrap_err().kind, ErrorKind::Config, "{name:?}");
            assert_eq!(objects.below(name).err().unwrap().kind, ErrorKind::Config, "{name:?}");
        }
    }
}
