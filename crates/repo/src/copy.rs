//! Copies snapshots to another repository: a pull there, a push here, never on disk in between.
//!
//! Chunks are cut, named and sealed anew with the other repository's keys; its own past gives deltas.

use crate::error::{Error, ErrorKind, Result};
use crate::observe::{Observer, Silent};
use crate::push::{Facts, PushOptions, Receipt};
use crate::repository::Repository;
use crate::snapshots::SnapshotInfo;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Pieces of the stream between the two ends.
const PIECES: usize = 8;

/// The writing end of a pipe in memory.
struct PipeIn(SyncSender<Vec<u8>>);

/// The reading end: bounded, and ends with an error unless the writer said that it was done.
struct PipeOut {
    pieces: Receiver<Vec<u8>>,
    current: std::io::Cursor<Vec<u8>>,
}

impl Write for PipeIn {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.send(bytes.to_vec()).map_err(|_| std::io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Read for PipeOut {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let n = self.current.read(buffer)?;
            if n > 0 {
                return Ok(n);
            }
            match self.pieces.recv() {
                Ok(piece) => self.current = std::io::Cursor::new(piece),
                Err(_) => return Ok(0),
            }
        }
    }
}

impl Repository {
    /// Copies those of `snapshots` that `to` does not have a copy of yet, oldest first.
    ///
    /// # Errors
    /// The first that fails; those before it are complete in `to`. Run again to go on.
    pub async fn copy_to(
        &self,
        to: &Repository,
        snapshots: &[SnapshotInfo],
        watch: Arc<dyn Observer>,
    ) -> Result<Vec<Receipt>> {
        if self.keys().repo() == to.keys().repo() {
            return Err(Error::new(ErrorKind::Invalid, "copy snapshots", "both are the same repository"));
        }
        let there: HashSet<_> =
            to.snapshots().await?.iter().filter_map(|s| s.snapshot.copied_from.map(|c| c.0)).collect();
        let mut receipts = Vec::new();
        for info in snapshots.iter().filter(|s| !there.contains(&s.id)) {
            receipts.push(self.copy_one(to, info, watch.clone()).await?);
        }
        Ok(receipts)
    }

    async fn copy_one(
        &self,
        to: &Repository,
        info: &SnapshotInfo,
        watch: Arc<dyn Observer>,
    ) -> Result<Receipt> {
        let original = &info.snapshot;
        let options = PushOptions {
            name: original.name.clone(),
            host: original.host.clone(),
            writer: original.writer.clone(),
            tags: info.tags.iter().cloned().collect(),
            deltas: true,
        };
        let push = to.begin_push(options).await?;
        let (sender, pieces) = sync_channel(PIECES);
        let source = PipeOut { pieces, current: std::io::Cursor::default() };
        let pull = self.pull(info, Box::new(PipeIn(sender)), Arc::new(Silent));
        // The sink is dropped when the pull ends, which is what ends the push's stream; whether it
        // ended well is asked before anything is committed.
        let (pulled, ingested) =
            tokio::join!(async { pull.await.map(drop) }, push.ingest(Box::new(source), watch));
        pulled?;
        let facts = Facts {
            content: original.content.clone(),
            wrap: original.wrap.clone(),
            producer: original.producer.clone(),
            suspect: original.suspect.clone(),
            copied_from: Some((info.id, info.committed_ms)),
        };
        ingested?.commit(facts).await
    }
}
