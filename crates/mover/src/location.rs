//! A location, opened: streams pushed, pulled and deleted under a path.
//!
//! Where there is a repository pushes go into it, the path as name. Otherwise they are plain objects, where
//! Kanister writes and looks for them. Either way nothing is visible before [`Taken::commit`].

use crate::error::Error;
use crate::intake::{Intake, Outcome, Seen};
use crate::judge::{Lenience, judge};
use crate::objects::{self, Plain};
use crate::path::StreamPath;
use crate::wrapping::Wrapping;
use cistern_api::wire::SnapshotJson;
use cistern_repo::{
    ErrorKind, Facts, Ingested, Observer, PushOptions, Receipt, Repository, Sink, SnapshotId, SnapshotInfo,
    printable,
};
use cistern_store::{Found, Upload};
use std::io::Read;
use std::sync::Arc;

/// What a profile points at, ready for streams.
pub struct Location {
    /// The plain objects, where there are any.
    pub plain: Option<Plain>,
    /// The repository, where there is one.
    pub repository: Option<Repository>,
}

/// How a stream is taken in.
pub struct Terms {
    /// Whether gzip is taken off on the way into a repository.
    pub unwrap: bool,
    /// Machine it comes from, for listings.
    pub host: String,
    /// Version of the program, for the snapshot.
    pub writer: String,
    /// Tags to set.
    pub tags: Vec<String>,
}

/// A stream that was read to its end and is stored, and that nobody can see yet.
pub struct Taken {
    name: String,
    seen: Seen,
    content_bytes: u64,
    stored: Stored,
}

enum Stored {
    Snapshot(Box<Ingested>),
    Object(Box<Upload>),
}

/// What was committed.
pub struct Pushed {
    /// The snapshot, unless it is a plain object.
    pub receipt: Option<Receipt>,
    /// Content in bytes: without gzip that was taken off.
    pub content_bytes: u64,
    /// Advice to whoever made the dump.
    pub advice: Option<String>,
}

/// What a path or a reference means.
pub enum Source {
    /// A snapshot.
    Snapshot(Box<SnapshotInfo>),
    /// A plain object.
    Object(Found),
}

/// What a delete removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Snapshots that were forgotten.
    pub snapshots: usize,
    /// Plain objects that were removed.
    pub objects: u64,
}

impl Location {
    /// Reads a stream to its end and stores it.
    ///
    /// # Errors
    /// Nothing is visible then. [`Error::Stream`] when the source failed.
    pub async fn take_in(
        &self,
        path: &StreamPath,
        source: impl Read + Send + 'static,
        terms: Terms,
        watch: Arc<dyn Observer>,
    ) -> Result<Taken, Error> {
        let unwrap = terms.unwrap && self.repository.is_some();
        let (intake, outcome) = Intake::new(source, unwrap);
        let (name, stored) = match (&self.repository, &self.plain) {
            (Some(repository), _) => {
                let name = path.name().to_owned();
                if name.is_empty() {
                    let why = "a snapshot needs a name: give a path";
                    return Err(Error::Path { path: name, why });
                }
                let Terms { host, writer, tags, .. } = terms;
                let options = PushOptions { name: name.clone(), host, writer, tags, deltas: true };
                let push = repository.begin_push(options).await?;
                (name, Stored::Snapshot(Box::new(push.ingest(Box::new(intake), watch).await?)))
            }
            (None, Some(plain)) => {
                let upload = plain.take_in(path, intake, &*watch).await?;
                (path.key().to_owned(), Stored::Object(Box::new(upload)))
            }
            (None, None) => return Err(nowhere("push")),
        };
        let seen = reached_end(&outcome)?;
        Ok(Taken { name, seen, content_bytes: outcome.content_bytes(), stored })
    }

    /// What the `reference` means, or else the path: the newest good snapshot of that name, or the plain
    /// object that is there.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is neither.
    pub async fn find(&self, path: &StreamPath, reference: Option<&SnapshotJson>) -> Result<Source, Error> {
        if let Some(reference) = reference {
            return self.referenced(reference).await;
        }
        let mut missed = Vec::new();
        if let Some(repository) = self.repository.as_ref().filter(|_| !path.name().is_empty()) {
            match repository.find_snapshot(path.name()).await {
                // A name that ends like an id, or in a time, means another snapshot to the engine.
                Ok(found) if found.snapshot.name == path.name() => {
                    return Ok(Source::Snapshot(Box::new(found)));
                }
                Ok(_) => missed.push("no snapshot in the repository has that name".to_owned()),
                Err(e) if e.kind == ErrorKind::NotFound => missed.push(e.why),
                Err(e) => return Err(e.into()),
            }
        }
        if let Some(plain) = &self.plain {
            match plain.find(path).await? {
                Some(found) => return Ok(Source::Object(found)),
                None => missed.push(format!("there is no object `{}` in the bucket", printable(path.key()))),
            }
        }
        Err(Error::NotFound { name: printable(path.name()), why: missed.join("; ") })
    }

    async fn referenced(&self, reference: &SnapshotJson) -> Result<Source, Error> {
        let Some(repository) = &self.repository else { return Err(nowhere("find a snapshot")) };
        let id = snapshot_id(reference)?;
        let found = repository.find_snapshot(&id.to_string()).await.map_err(|e| match e.kind {
            ErrorKind::NotFound => Error::NotFound { name: id.to_string(), why: e.why },
            _ => e.into(),
        })?;
        if found.id != id {
            let why = "there is no such snapshot in the repository".to_owned();
            return Err(Error::NotFound { name: id.to_string(), why });
        }
        Ok(Source::Snapshot(Box::new(found)))
    }

    /// Writes the stream to `sink`: gzip that was taken off is put back.
    ///
    /// # Errors
    /// Nothing that does not belong there was written, but what was written may be the beginning only.
    pub async fn pull(&self, source: Source, sink: Sink, watch: Arc<dyn Observer>) -> Result<(), Error> {
        match (source, &self.repository, &self.plain) {
            (Source::Snapshot(snapshot), Some(repository), _) => {
                pull_snapshot(repository, &snapshot, sink, watch).await
            }
            (Source::Object(found), _, Some(plain)) => plain.pull(found, sink, &*watch).await,
            _ => Err(nowhere("pull")),
        }
    }

    /// Removes what `reference` means, or else what the path names: snapshots of that name and plain objects
    /// of that key, and what lies below them as a directory; plain objects besides snapshots only where both
    /// lie under one prefix. Nothing there is fine. Space in a repository
    /// comes back with its next prune.
    ///
    /// # Errors
    /// [`Error::Refused`] for an empty path, and where a repository lies below it.
    pub async fn delete(
        &self,
        path: &StreamPath,
        reference: Option<&SnapshotJson>,
    ) -> Result<Deleted, Error> {
        if let Some(reference) = reference {
            let Some(repository) = &self.repository else { return Err(nowhere("delete a snapshot")) };
            let id = snapshot_id(reference)?;
            let snapshots = forget(repository, |snapshot| snapshot.id == id).await?;
            return Ok(Deleted { snapshots, objects: 0 });
        }
        if path.name().is_empty() {
            let (doing, why) = ("delete everything in the location", "give a path");
            return Err(Error::Refused { doing: doing.to_owned(), why: why.to_owned() });
        }
        let snapshots = match &self.repository {
            Some(repository) => {
                let below = format!("{}/", path.name());
                let named =
                    |s: &SnapshotInfo| s.snapshot.name == path.name() || s.snapshot.name.starts_with(&below);
                forget(repository, named).await?
            }
            None => 0,
        };
        let objects = match &self.plain {
            // What a repository elsewhere held was what was meant.
            Some(plain) if snapshots == 0 || plain.beside_repository() => plain.delete(path).await?,
            _ => 0,
        };
        Ok(Deleted { snapshots, objects })
    }

    /// Removes what a push that did not commit left behind, as far as that can be done in short time.
    pub async fn tidy(&self) {
        if let Some(plain) = &self.plain {
            plain.tidy().await;
        }
    }
}

impl Taken {
    /// Judges the stream and makes it visible. `producer` is the program that made it, if the caller ran it
    /// and it ended well.
    ///
    /// # Errors
    /// [`Error::Empty`] and [`Error::Incomplete`] unless the `lenience` allows them; nothing is visible then.
    pub async fn commit(self, lenience: Lenience, producer: Option<String>) -> Result<Pushed, Error> {
        let verdict = judge(&self.name, self.seen, self.content_bytes, lenience)?;
        let receipt = match self.stored {
            Stored::Snapshot(ingested) => Some(ingested.commit(Facts { producer, ..verdict.facts }).await?),
            Stored::Object(upload) => {
                upload.complete().await?;
                None
            }
        };
        Ok(Pushed { receipt, content_bytes: self.content_bytes, advice: verdict.advice })
    }
}

impl Pushed {
    /// The reference of the snapshot as artifacts carry it.
    pub fn reference(&self) -> Option<SnapshotJson> {
        let receipt = self.receipt.as_ref()?;
        let stored = &receipt.snapshot.stored;
        let bytes = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        Some(SnapshotJson {
            id: receipt.id.to_string(),
            logical_bytes: bytes(receipt.snapshot.raw_bytes),
            physical_bytes: bytes(stored.delta_stored_bytes + stored.new_stored_bytes),
        })
    }
}

fn nowhere(doing: &str) -> Error {
    let why = "the profile names no place for it: neither a bucket nor a repository";
    Error::Refused { doing: doing.to_owned(), why: why.to_owned() }
}

fn reached_end(outcome: &Outcome) -> Result<Seen, Error> {
    let unread =
        || Error::Stream { doing: "read the stream".into(), why: "it was not read to its end".into() };
    outcome.take().ok_or_else(unread)
}

fn snapshot_id(reference: &SnapshotJson) -> Result<SnapshotId, Error> {
    reference.id.parse().map_err(|_| Error::Reference {
        why: "its id is none of Cistern's; snapshots that kopia made are read with kopia".to_owned(),
    })
}

/// Forgets every snapshot that is `meant`, and says how many.
async fn forget(repository: &Repository, meant: impl Fn(&SnapshotInfo) -> bool) -> Result<usize, Error> {
    let snapshots = repository.snapshots().await?;
    let ids: Vec<SnapshotId> = snapshots.iter().filter(|s| meant(s)).map(|s| s.id).collect();
    if !ids.is_empty() {
        repository.forget(&ids, "kando location delete").await?;
    }
    Ok(ids.len())
}

async fn pull_snapshot(
    repository: &Repository,
    snapshot: &SnapshotInfo,
    sink: Sink,
    watch: Arc<dyn Observer>,
) -> Result<(), Error> {
    let Some(wrap) = &snapshot.snapshot.wrap else {
        drop(repository.pull(snapshot, sink, watch).await?);
        return Ok(());
    };
    let wrapping = Wrapping::new(wrap, sink)?;
    drop(repository.pull(snapshot, wrapping.sink(), watch).await?);
    wrapping.finish().map_err(objects::unwritable)
}
