//! A stream of unknown length on its way into one object: in parts that grow, visible only when complete.
//!
//! # Guarantees
//! * Until [`Upload::complete`] has succeeded nobody sees the object, and an earlier one of that name stays.
//! * At most [`IN_FLIGHT_BYTES`] or one part, and the part being filled, are held in memory.
//! * A part that failed in passing is sent again.
//!
//! # If it crashes here
//! S3 and GCS keep the parts of an upload that was neither completed nor abandoned, until a lifecycle rule
//! of the bucket removes them; Azure removes its blocks after a week. No listing shows either.

use crate::explain::explain;
use crate::objects::Objects;
use crate::retry::{Patience, persist};
use crate::{Error, ErrorKind};
use bytes::Bytes;
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{MultipartId, PutMultipartOptions, PutOptions, PutPayload};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// Length of the first parts, in bytes. Some servers (Cloudflare's R2) want all parts but the last of one
/// length: they can take streams of up to [`EVEN_PARTS`] of them.
const PART_BYTES: u64 = 16 << 20;
/// Parts of equal length, before they begin to grow.
const EVEN_PARTS: u64 = 1000;
/// By how much each part is longer than the one before, in bytes, from then on: so much that
/// [`PARTS_MAX`] of them hold 5 TiB, the largest object of S3 and GCS.
const GROWTH_BYTES: u64 = 136 << 10;
/// Parts an object may have on S3 and GCS; Azure allows more blocks.
const PARTS_MAX: u64 = 10_000;
/// Parts that are being sent hold at most so many bytes, unless a single one is longer.
const IN_FLIGHT_BYTES: u64 = 48 << 20;
/// Putting the parts together is given the time in which so many bytes are sent: S3 may think for minutes.
const COMPLETE_BYTES: u64 = 64 << 20;
/// How long the parts of an upload that failed are tried to be removed.
const ABANDON: Duration = Duration::from_secs(20);

/// Length of the part with this number, which counts from 0, in bytes.
fn part_bytes(number: u64) -> u64 {
    PART_BYTES + number.saturating_sub(EVEN_PARTS) * GROWTH_BYTES
}

type Sent = Result<(usize, u64, PartId), Error>;

/// An object that is being written; see [`Objects::write`].
///
/// Dropped before that, its parts stay where nobody sees them until [`Objects::abandon`].
pub struct Upload {
    objects: Objects,
    path: Path,
    subject: String,
    /// Given by the server once the first part was full.
    id: Option<MultipartId>,
    filling: Vec<Bytes>,
    filling_bytes: u64,
    sending: JoinSet<Sent>,
    sending_bytes: u64,
    sent: Vec<Option<PartId>>,
    written_bytes: u64,
}

impl Upload {
    pub(crate) fn new(objects: Objects, path: Path) -> Upload {
        let subject = objects.subject(&path);
        Upload {
            objects,
            path,
            subject,
            id: None,
            filling: vec![],
            filling_bytes: 0,
            sending: JoinSet::new(),
            sending_bytes: 0,
            sent: vec![],
            written_bytes: 0,
        }
    }

    /// Appends bytes; waits while too much is on its way.
    ///
    /// # Errors
    /// What the store says of this or an earlier part, after all retries.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), Error> {
        while !bytes.is_empty() {
            let room = part_bytes(self.sent.len() as u64) - self.filling_bytes;
            let now = bytes.split_to(bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
            self.filling_bytes += now.len() as u64;
            self.written_bytes += now.len() as u64;
            self.filling.push(now);
            if self.filling_bytes == part_bytes(self.sent.len() as u64) {
                self.send().await?;
            }
        }
        Ok(())
    }

    /// Sends what was filled as the next part, once there is room.
    async fn send(&mut self) -> Result<(), Error> {
        if self.sent.len() as u64 == PARTS_MAX {
            let why = "it is longer than an object can be; a repository takes streams of any length";
            return Err(Error::new(ErrorKind::Full, "write", &self.subject, why));
        }
        let id = self.begin().await?;
        let (parts, size) = (std::mem::take(&mut self.filling), std::mem::take(&mut self.filling_bytes));
        while !self.sending.is_empty() && self.sending_bytes + size > IN_FLIGHT_BYTES {
            self.land().await?;
        }
        let number = self.sent.len();
        self.sent.push(None);
        self.sending_bytes += size;
        let (objects, path, subject) = (self.objects.clone(), self.path.clone(), self.subject.clone());
        let payload: PutPayload = parts.into_iter().collect();
        self.sending.spawn(async move {
            let store = &objects.store;
            let put = || async {
                let put = store.client.put_part(&path, &id, number, payload.clone()).await;
                put.map_err(|e| explain(&e).error("write", &subject))
            };
            Ok((number, size, persist(&store.patience, "write", &subject, size, put).await?))
        });
        Ok(())
    }

    /// The id of the upload, asked for when it is first needed.
    async fn begin(&mut self) -> Result<MultipartId, Error> {
        if let Some(id) = &self.id {
            return Ok(id.clone());
        }
        let store = &self.objects.store;
        let ask = || {
            let options = PutMultipartOptions {
                attributes: store.attributes.clone(),
                ..PutMultipartOptions::default()
            };
            let created = store.client.create_multipart_opts(&self.path, options);
            store.answer("write", &self.subject, created)
        };
        let id = persist(&store.patience, "write", &self.subject, 0, ask).await?;
        self.id = Some(id.clone());
        Ok(id)
    }

    /// Waits for one of the parts that are being sent.
    async fn land(&mut self) -> Result<(), Error> {
        let Some(sent) = self.sending.join_next().await else { return Ok(()) };
        let stopped =
            |_| Error::new(ErrorKind::Other, "write", &self.subject, "the program is shutting down");
        let (number, size, part) = sent.map_err(stopped)??;
        self.sent[number] = Some(part);
        self.sending_bytes -= size;
        Ok(())
    }

    /// Sends the rest and makes the object visible, in place of an earlier one of that name. Returns its
    /// size in bytes.
    ///
    /// # Errors
    /// What the store says. The object is not there then, unless the store lost the very last reply;
    /// what was sent is left as by a drop.
    pub async fn complete(mut self) -> Result<u64, Error> {
        self.put_together().await?;
        self.id = None;
        Ok(self.written_bytes)
    }

    async fn put_together(&mut self) -> Result<(), Error> {
        if self.sent.is_empty() {
            return self.put_whole().await;
        }
        if self.filling_bytes > 0 {
            self.send().await?;
        }
        while !self.sending.is_empty() {
            self.land().await?;
        }
        let id = self.begin().await?;
        let parts: Vec<PartId> = self.sent.iter().flatten().cloned().collect();
        let (store, subject) = (&self.objects.store, &self.subject);
        let tried = AtomicBool::new(false);
        let complete = || async {
            let first = !tried.swap(true, Ordering::Relaxed);
            let request = store.client.complete_multipart(&self.path, &id, parts.clone());
            match request.await.map_err(|e| explain(&e).error("write", subject)) {
                Ok(_) => Ok(()),
                // The reply to the attempt before may have been lost, and the upload is over.
                Err(e) if e.kind == ErrorKind::NotFound && !first => self.look(e).await,
                Err(e) => Err(e),
            }
        };
        persist(&store.patience, "write", subject, COMPLETE_BYTES, complete).await
    }

    /// Whether what is there is what was written; `otherwise` if not.
    async fn look(&self, otherwise: Error) -> Result<(), Error> {
        let found = self.objects.find(self.path.as_ref()).await?;
        if found.size_bytes == self.written_bytes { Ok(()) } else { Err(otherwise) }
    }

    /// A stream shorter than a part is one PUT.
    async fn put_whole(&self) -> Result<(), Error> {
        let store = &self.objects.store;
        let payload: PutPayload = self.filling.iter().cloned().collect();
        let put = || async {
            let options = PutOptions { attributes: store.attributes.clone(), ..PutOptions::default() };
            let put = store.client.put_opts(&self.path, payload.clone(), options).await;
            put.map(drop).map_err(|e| explain(&e).error("write", &self.subject))
        };
        persist(&store.patience, "write", &self.subject, self.filling_bytes, put).await
    }
}

impl Drop for Upload {
    /// Notes what it leaves, for [`Objects::abandon`].
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.objects.left(self.path.clone(), id);
        }
    }
}

impl Objects {
    /// Removes the parts of uploads that were dropped before they were complete, as far as that can be done
    /// within 20 s each.
    pub async fn abandon(&self) {
        let patience = Patience { total: ABANDON, stall: ABANDON / 2, ..self.store.patience.clone() };
        for (path, id) in self.take_left() {
            let subject = self.subject(&path);
            let abort = || async {
                let aborted = self.store.client.abort_multipart(&path, &id).await;
                aborted.map_err(|e| explain(&e).error("abandon", &subject))
            };
            // Nobody is helped by hearing of it besides what made the upload fail.
            let _ = persist(&patience, "abandon", &subject, 0, abort).await;
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test that cannot unwrap has failed")]
mod tests {
    use super::*;
    use crate::objects::tests::{get, in_memory, put};

    #[test]
    fn ten_thousand_parts_hold_the_largest_object_and_none_is_too_long() {
        let sum: u64 = (0..PARTS_MAX).map(part_bytes).sum();
        assert!(sum >= 5 << 40, "{} GiB", sum >> 30);
        assert!(part_bytes(PARTS_MAX - 1) <= 5 << 30, "the longest part of S3");
        assert!((0..EVEN_PARTS).all(|n| part_bytes(n) == PART_BYTES));
    }

    #[tokio::test]
    async fn a_long_stream_is_visible_only_when_complete() {
        let objects = in_memory();
        put(&objects, "a", b"earlier").await;
        let piece = Bytes::from(vec![7; (PART_BYTES / 2 + 1) as usize]);
        let mut upload = objects.write("a").unwrap();
        for _ in 0..5 {
            upload.write(piece.clone()).await.unwrap();
        }
        assert!(upload.id.is_some() && upload.sent.len() == 2, "it goes in parts");
        assert_eq!(get(&objects, "a").await.unwrap(), b"earlier");
        assert_eq!(upload.complete().await.unwrap(), 5 * piece.len() as u64);
        assert!(get(&objects, "a").await.unwrap() == vec![7; 5 * piece.len()]);
    }

    #[tokio::test]
    async fn what_is_abandoned_was_never_there() {
        let objects = in_memory();
        let mut upload = objects.write("a").unwrap();
        upload.write(Bytes::from(vec![7; PART_BYTES as usize + 1])).await.unwrap();
        drop(upload);
        objects.abandon().await;
        assert!(objects.take_left().is_empty(), "nothing is abandoned twice");
        assert_eq!(get(&objects, "a").await.unwrap_err().kind, ErrorKind::NotFound);
    }
}
