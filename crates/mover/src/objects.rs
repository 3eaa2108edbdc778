//! Plain objects below a profile's prefix, where Kanister writes them and looks for them.

use crate::error::Error;
use crate::intake::Intake;
use crate::path::StreamPath;
use bytes::Bytes;
use cistern_repo::{Counter, Observer, Sink, printable};
use cistern_store::{Cloud, ErrorKind, Found, Objects, Options, Upload};
use futures::{StreamExt as _, TryStreamExt as _};
use std::io::{Read, Write};
use tokio::sync::{OnceCell, mpsc};

/// Bytes read from a stream at once.
const PIECE_BYTES: usize = 1 << 20;
/// Pieces that wait between the thread that reads or writes the stream and the store.
const PIECES: usize = 4;
/// Objects that are deleted at once.
const DELETES: usize = 8;
/// The object that makes a place a repository (`docs/format.md`).
const MARKER: &str = "cistern.json";
/// First segments of the names a repository uses (`docs/format.md`).
const REPOSITORY_NAMES: &[&str] = &[
    MARKER,
    "config",
    "doctor",
    "forgotten",
    "index",
    "keys",
    "marks",
    "packs",
    "sessions",
    "sketches",
    "snapshots",
    "trash",
    "verified",
];

/// The plain objects of a location.
pub struct Plain {
    cloud: Cloud,
    bucket: String,
    options: Box<Options>,
    /// Opened when they are first needed: with a repository elsewhere they often are not.
    objects: OnceCell<Objects>,
    /// Whether a repository lies under the same prefix: its objects are nobody else's.
    beside_repository: bool,
}

impl Plain {
    /// Plain objects of a bucket; `beside_repository` when the profile's prefix was just found to hold a
    /// repository.
    pub fn new(cloud: Cloud, bucket: String, options: Box<Options>, beside_repository: bool) -> Plain {
        Plain { cloud, bucket, options, objects: OnceCell::new(), beside_repository }
    }

    pub(crate) fn beside_repository(&self) -> bool {
        self.beside_repository
    }

    async fn objects(&self) -> Result<&Objects, Error> {
        let open = || Objects::open(self.cloud, &self.bucket, &self.options);
        Ok(self.objects.get_or_try_init(open).await?)
    }

    /// Whether a restic repository lies under the path: its `config` and `keys/`, and no marker of ours.
    ///
    /// # Errors
    /// The store cannot be asked.
    pub async fn is_restic(&self, path: &StreamPath) -> Result<bool, Error> {
        let objects = self.objects().await?;
        let at = |name: &str| {
            if path.key().is_empty() { name.to_owned() } else { format!("{}/{name}", path.key()) }
        };
        if objects.find(&at("config")).await.is_err_and(|e| e.kind == ErrorKind::NotFound)
            || objects.find(&at(MARKER)).await.is_ok()
        {
            return Ok(false);
        }
        Ok(objects.below(&at("keys"))?.try_next().await?.is_some())
    }

    /// Sends a stream to where the object will be, without making it visible.
    pub(crate) async fn take_in(
        &self,
        path: &StreamPath,
        mut intake: Intake,
        watch: &dyn Observer,
    ) -> Result<Upload, Error> {
        let mut upload = self.objects().await?.write(path.key())?;
        let (out, mut pieces) = mpsc::channel::<std::io::Result<Bytes>>(PIECES);
        tokio::task::spawn_blocking(move || {
            loop {
                let piece = read_piece(&mut intake);
                let last = !matches!(&piece, Ok(piece) if !piece.is_empty());
                if out.blocking_send(piece).is_err() || last {
                    return;
                }
            }
        });
        let unreadable =
            |e: std::io::Error| Error::Stream { doing: "read the stream".into(), why: e.to_string() };
        while let Some(piece) = pieces.recv().await {
            let piece = piece.map_err(unreadable)?;
            let len = piece.len() as u64;
            upload.write(piece).await?;
            watch.count(Counter::StoredBytes, len);
        }
        Ok(upload)
    }

    pub(crate) async fn find(&self, path: &StreamPath) -> Result<Option<Found>, Error> {
        if path.key().is_empty() || self.is_repositorys(path) {
            return Ok(None);
        }
        match self.objects().await?.find(path.key()).await {
            Ok(found) => Ok(Some(found)),
            Err(e) if e.kind == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    pub(crate) async fn pull(&self, found: Found, mut sink: Sink, watch: &dyn Observer) -> Result<(), Error> {
        watch.count(Counter::ExpectedBytes, found.size_bytes);
        let (out, mut waiting) = mpsc::channel::<Bytes>(1);
        let writer = tokio::task::spawn_blocking(move || {
            while let Some(piece) = waiting.blocking_recv() {
                sink.write_all(&piece)?;
            }
            sink.flush()
        });
        let mut pieces = self.objects().await?.read(found);
        while let Some(piece) = pieces.try_next().await? {
            let len = piece.len() as u64;
            if out.send(piece).await.is_err() {
                break;
            }
            watch.count(Counter::WrittenBytes, len);
        }
        drop(out);
        writer.await.map_err(std::io::Error::other).and_then(|written| written).map_err(unwritable)
    }

    /// Removes the object of that key and all below it as a directory; says how many were below.
    ///
    /// Looks at all names before it removes the first: a repository below is not a stream, and goes only by
    /// hands that know it.
    pub(crate) async fn delete(&self, path: &StreamPath) -> Result<u64, Error> {
        if self.is_repositorys(path) {
            return Ok(0);
        }
        let objects = self.objects().await?;
        let mut names = objects.below(path.key())?;
        while let Some(name) = names.try_next().await? {
            if name.rsplit('/').next() == Some(MARKER) {
                let why = format!("a Cistern repository lies there: {} is its marker", printable(&name));
                return Err(Error::Refused { doing: format!("delete `{}`", printable(path.name())), why });
            }
        }
        let there = self.find(path).await?.is_some();
        objects.delete(path.key()).await?;
        let below = objects.below(path.key())?;
        let deletes = below.map(|name| async { objects.delete(&name?).await }).buffer_unordered(DELETES);
        let count = deletes.try_fold(u64::from(there), |count, ()| async move { Ok(count + 1) }).await?;
        Ok(count)
    }

    pub(crate) async fn tidy(&self) {
        if let Some(objects) = self.objects.get() {
            objects.abandon().await;
        }
    }

    /// Whether the path is that of a repository's own object, which no plain object can be.
    fn is_repositorys(&self, path: &StreamPath) -> bool {
        let first = path.name().split('/').next().unwrap_or_default();
        self.beside_repository && REPOSITORY_NAMES.contains(&first)
    }
}

/// The next piece of a stream, as full as it gets; empty at its end.
fn read_piece(from: &mut impl Read) -> std::io::Result<Bytes> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut len = 0;
    while len < piece.len() {
        match from.read(&mut piece[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    piece.truncate(len);
    Ok(piece.into())
}

pub(crate) fn unwritable(error: std::io::Error) -> Error {
    Error::Stream { doing: "write the stream".into(), why: error.to_string() }
}
