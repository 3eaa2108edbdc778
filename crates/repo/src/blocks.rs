//! Aligned pieces of packs, fetched once and kept for a while.
//!
//! Records of neighbours in a stream lie beside each other in a pack, so one fetch serves many.
//! Fixed aligned pieces also tell a store nothing about where records begin and end.

use crate::error::{Error, Result};
use bytes::{Bytes, BytesMut};
use cistern_format::id::PackId;
use cistern_store::{Key, Store};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use tokio::sync::OnceCell;

/// Length of a piece in bytes: a fraction of a second even on a slow link, enough to make the
/// request worth its round trip.
pub(crate) const BLOCK_BYTES: u64 = 2 << 20;

type Slot = Arc<OnceCell<Bytes>>;
type BlockName = (PackId, u64);

/// A bounded cache of pieces; each is fetched by one task while others wait for it.
pub(crate) struct Blocks {
    store: Arc<dyn Store>,
    blocks_max: usize,
    cached: Mutex<Cached>,
}

#[derive(Default)]
struct Cached {
    slots: HashMap<BlockName, Slot>,
    /// Oldest first.
    order: VecDeque<BlockName>,
}

impl Blocks {
    /// A cache that keeps at most `memory_bytes`.
    pub(crate) fn new(store: Arc<dyn Store>, memory_bytes: u64) -> Blocks {
        let blocks_max = (memory_bytes / BLOCK_BYTES).max(1) as usize;
        Blocks { store, blocks_max, cached: Mutex::default() }
    }

    /// `len` bytes at `offset` of a pack of `object_len` bytes.
    pub(crate) async fn read(&self, pack: PackId, object_len: u64, offset: u64, len: u64) -> Result<Bytes> {
        let (first, last) = (offset / BLOCK_BYTES, (offset + len.max(1) - 1) / BLOCK_BYTES);
        if first == last {
            let block = self.block(pack, object_len, first).await?;
            let at = (offset - first * BLOCK_BYTES) as usize;
            return cut(&pack, block, at, len as usize);
        }
        let mut whole = BytesMut::with_capacity(len as usize);
        for number in first..=last {
            let block = self.block(pack, object_len, number).await?;
            let from = offset.max(number * BLOCK_BYTES) - number * BLOCK_BYTES;
            let to = (offset + len).min((number + 1) * BLOCK_BYTES) - number * BLOCK_BYTES;
            whole.extend_from_slice(&cut(&pack, block, from as usize, (to - from) as usize)?);
        }
        Ok(whole.freeze())
    }

    /// Whether the piece with `offset` is here or on its way.
    pub(crate) fn has(&self, pack: PackId, offset: u64) -> bool {
        let cached = self.cached.lock().expect("no code panics while holding the map");
        cached.slots.contains_key(&(pack, offset / BLOCK_BYTES))
    }

    /// Fetches the piece with `offset`, for whoever needs it later.
    pub(crate) async fn prefetch(&self, pack: PackId, object_len: u64, offset: u64) {
        // What fails here fails again, and is told, when it is needed.
        let _ = self.block(pack, object_len, offset / BLOCK_BYTES).await;
    }

    async fn block(&self, pack: PackId, object_len: u64, number: u64) -> Result<Bytes> {
        let slot = self.slot((pack, number));
        let start = number * BLOCK_BYTES;
        let end = (start + BLOCK_BYTES).min(object_len);
        let fetched = slot
            .get_or_try_init(|| async {
                if start >= end {
                    return Ok(Bytes::new());
                }
                self.store.get_range(&Key::new(pack.key()), start..end).await
            })
            .await;
        fetched.cloned().map_err(|e| Error::store(format!("read {}", pack.key()), e))
    }

    fn slot(&self, name: BlockName) -> Slot {
        let mut cached = self.cached.lock().expect("no code panics while holding the map");
        if let Some(slot) = cached.slots.get(&name) {
            return slot.clone();
        }
        while cached.order.len() >= self.blocks_max {
            if let Some(oldest) = cached.order.pop_front() {
                cached.slots.remove(&oldest);
            }
        }
        let slot = Slot::default();
        cached.slots.insert(name, slot.clone());
        cached.order.push_back(name);
        slot
    }
}

fn cut(pack: &PackId, block: Bytes, at: usize, len: usize) -> Result<Bytes> {
    if at + len > block.len() {
        let why = "a record lies beyond the end of its pack";
        return Err(Error::new(crate::error::ErrorKind::Damaged, format!("read {}", pack.key()), why));
    }
    Ok(block.slice(at..at + len))
}
