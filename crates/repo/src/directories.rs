//! Directories read from packs themselves: for packs no index object names.

use crate::objects::Objects;
use crate::repository::Repository;
use crate::view::{ListedPack, View};
use cistern_format::id::PackId;
use cistern_format::pack::{self, END_LEN, HEADER_LEN};
use cistern_format::segment::IndexedPack;
use cistern_store::Key;
use futures::StreamExt as _;
use std::collections::HashMap;
use std::sync::Arc;

/// Packs a push takes over at most; a prune takes care of the rest.
const ADOPT_MAX: usize = 256;
/// Packs looked into at the same time.
const LOOKS_MAX: usize = 8;
/// Read from a pack's end in one go; most directories fit.
const TAIL_BYTES: u64 = 64 << 10;

impl Objects {
    /// Reads one pack's directory; the object is not read whole.
    pub(crate) async fn directory(&self, id: PackId, object_len: u64) -> crate::Result<IndexedPack> {
        let key = Key::new(id.key());
        let doing = || format!("read the directory of {key}");
        let store = |e| crate::Error::store(doing(), e);
        let damage = |d| crate::Error::damage(doing(), d);
        let header_len = (HEADER_LEN as u64).min(object_len);
        let header = self.store.get_range(&key, 0..header_len).await.map_err(store)?;
        pack::check_header(&self.keys, &id, &header).map_err(damage)?;
        let tail_start = object_len.saturating_sub(TAIL_BYTES);
        let tail = self.store.get_range(&key, tail_start..object_len).await.map_err(store)?;
        let end = &tail[tail.len().saturating_sub(END_LEN)..];
        let trailer = pack::open_trailer(&self.keys, &header, end, object_len).map_err(damage)?;
        let directory_end = trailer.directory_offset + u64::from(trailer.directory_len);
        let sealed = if trailer.directory_offset >= tail_start {
            let from = (trailer.directory_offset - tail_start) as usize;
            tail.slice(from..from + trailer.directory_len as usize)
        } else {
            self.store.get_range(&key, trailer.directory_offset..directory_end).await.map_err(store)?
        };
        let directory = pack::open_directory(&self.keys, &header, &trailer, &sealed).map_err(damage)?;
        Ok(IndexedPack { id, object_len, directory: Arc::new(directory) })
    }
}

impl Repository {
    /// The directories of orphans, as many as a push takes over; a prune takes care of the rest.
    pub(crate) async fn adoptable(&self, view: &View) -> Vec<IndexedPack> {
        self.read_directories(&view.orphans[..view.orphans.len().min(ADOPT_MAX)], &view.listed).await
    }

    /// The directories of these packs, all that exist and can be read; one that cannot is left to
    /// `verify`.
    pub(crate) async fn read_directories(
        &self,
        packs: &[PackId],
        listed: &HashMap<PackId, ListedPack>,
    ) -> Vec<IndexedPack> {
        let lengths: Vec<(PackId, u64)> =
            packs.iter().filter_map(|id| Some((*id, listed.get(id)?.object_len))).collect();
        futures::stream::iter(lengths)
            .map(|(id, object_len)| async move { self.objects.directory(id, object_len).await })
            .buffered(LOOKS_MAX)
            .filter_map(|read| async move { read.ok() })
            .collect()
            .await
    }
}
