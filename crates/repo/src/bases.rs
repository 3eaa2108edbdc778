//! Finds, for a chunk that is new, one old chunk much like it; and has it ready in time.

use crate::chunks::Chunks;
use crate::commit::SKETCHES;
use crate::error::Result;
use crate::objects::Objects;
use bytes::Bytes;
use cistern_format::codec::Codec;
use cistern_format::envelope::Kind;
use cistern_format::id::ChunkId;
use cistern_format::sketch::{Sketch, SketchList};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Chunks remembered as possible bases at most; about 130 bytes each in memory.
const CANDIDATES_MAX: usize = 256 << 10;
/// Chunks with one feature: from here on it is common and tells nothing.
const CHUNKS_PER_FEATURE_MAX: usize = 8;
/// A base that takes longer is late: the chunk is stored whole instead.
const WAIT: Duration = Duration::from_millis(250);
/// After so many late bases in a row the store is too slow to ask again.
const LATE_MAX: u32 = 20;
/// How many candidates ahead of the one in use are fetched.
const AHEAD: usize = 24;

/// The chunks that can serve as bases, by feature.
pub(crate) struct Bases {
    chunks: Arc<Chunks>,
    candidates: Vec<Candidate>,
    by_feature: HashMap<u32, Vec<u32>>,
    late: AtomicU32,
}

#[derive(Clone, Copy)]
struct Candidate {
    id: ChunkId,
    /// Snapshots of the name since it was stored.
    age: u32,
}

/// A chunk that may serve as base.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BaseChoice {
    number: usize,
    pub(crate) id: ChunkId,
    pub(crate) age: u32,
    /// What the base's own plain record takes, in bytes, and its length: how well such rows squeeze.
    pub(crate) plain_len: u32,
    pub(crate) raw_len: u32,
}

impl Bases {
    /// Loads the sketches of a series, newest first; those of other series only if it has none.
    pub(crate) async fn load(
        objects: &Objects,
        chunks: Arc<Chunks>,
        series: [u8; 16],
        sequence: u64,
    ) -> Result<Bases> {
        let mut entries = objects.list(&format!("{SKETCHES}{}/", hex::encode(series))).await?;
        let own = !entries.is_empty();
        if !own {
            entries = objects.list(SKETCHES).await?;
        }
        entries.sort_by_key(|e| std::cmp::Reverse(e.key.name().to_owned()));
        let mut bases =
            Bases { chunks, candidates: Vec::new(), by_feature: HashMap::new(), late: AtomicU32::new(0) };
        for entry in entries {
            if bases.candidates.len() >= CANDIDATES_MAX {
                break;
            }
            // A sketch object that is gone or damaged costs space, not data.
            let Ok(body) = objects.get(Kind::Sketches, entry.key.as_str()).await else { continue };
            let Ok(list) = SketchList::decode(&body) else { continue };
            let age = if own { sequence.saturating_sub(list.sequence).clamp(1, 1000) as u32 } else { 1 };
            bases.add(&list, age);
        }
        Ok(bases)
    }

    /// A finder that knows no chunks yet.
    pub(crate) fn empty(chunks: Arc<Chunks>) -> Bases {
        Bases { chunks, candidates: Vec::new(), by_feature: HashMap::new(), late: AtomicU32::new(0) }
    }

    /// Adds the chunks of one push, remembering which push it was.
    pub(crate) fn add_list(&mut self, list: &SketchList) {
        self.add(list, list.sequence as u32);
    }

    /// Like [`Bases::choose`] for a finder filled by [`Bases::add_list`]: ages count up to `sequence`.
    pub(crate) fn choose_at(&self, chunk: &ChunkId, sketch: &Sketch, sequence: u64) -> Option<BaseChoice> {
        let choice = self.choose(chunk, sketch)?;
        let age = sequence.saturating_sub(choice.age.into()).clamp(1, 1000) as u32;
        Some(BaseChoice { age, ..choice })
    }

    fn add(&mut self, list: &SketchList, age: u32) {
        for (id, sketch) in &list.sketches {
            if self.candidates.len() >= CANDIDATES_MAX {
                return;
            }
            let number = self.candidates.len() as u32;
            self.candidates.push(Candidate { id: *id, age });
            for &feature in sketch.0.iter().filter(|f| **f != 0) {
                let chunks = self.by_feature.entry(feature).or_default();
                if chunks.len() < CHUNKS_PER_FEATURE_MAX {
                    chunks.push(number);
                }
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// The candidate that shares most features with a chunk, and is not the chunk itself; the newest among
    /// equals.
    pub(crate) fn choose(&self, chunk: &ChunkId, sketch: &Sketch) -> Option<BaseChoice> {
        let mut votes: Vec<(u32, u32)> = Vec::with_capacity(16);
        for feature in sketch.0.iter().filter(|f| **f != 0) {
            let chunks = self.by_feature.get(feature).filter(|c| c.len() < CHUNKS_PER_FEATURE_MAX);
            for &number in chunks.into_iter().flatten() {
                match votes.iter_mut().find(|v| v.0 == number) {
                    Some(vote) => vote.1 += 1,
                    None => votes.push((number, 1)),
                }
            }
        }
        votes.sort_unstable_by_key(|&(number, count)| (std::cmp::Reverse(count), number));
        // Pushes that ran side by side may both have stored it whole.
        let mut others =
            votes.into_iter().filter(|(number, _)| self.candidates[*number as usize].id != *chunk);
        others.find_map(|(number, _)| self.usable(number as usize))
    }

    /// The candidate if it is still stored, stored whole (a base is never a delta), and readable.
    fn usable(&self, number: usize) -> Option<BaseChoice> {
        let Candidate { id, age } = self.candidates[number];
        let location = self.chunks.index().find(&id).filter(|l| l.codec != Codec::Delta)?;
        if !self.chunks.can_open(&location) {
            return None;
        }
        Some(BaseChoice { number, id, age, plain_len: location.record_len, raw_len: location.raw_len })
    }

    /// The bytes of a base, or `None` if they are late or cannot be read.
    ///
    /// Candidates lie in the order of the dump they come from, so the ones behind this one are
    /// fetched ahead.
    pub(crate) async fn fetch(self: &Arc<Self>, choice: BaseChoice) -> Option<Bytes> {
        if self.late.load(Ordering::Relaxed) >= LATE_MAX {
            return None;
        }
        self.fetch_ahead(choice.number);
        match tokio::time::timeout(WAIT, self.chunks.base(choice.id)).await {
            Ok(Ok(raw)) => {
                self.late.store(0, Ordering::Relaxed);
                Some(raw)
            }
            // A base that cannot be read is as good as none; verify is there to tell of it.
            Ok(Err(_)) => None,
            Err(_) => {
                self.late.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    fn fetch_ahead(self: &Arc<Self>, number: usize) {
        let Some(next) = self.candidates.get(number + AHEAD) else { return };
        let index = self.chunks.index();
        let Some(location) = index.find(&next.id) else { return };
        let pack = *index.pack(location.pack);
        if self.chunks.blocks.has(pack.id, location.offset.into()) {
            return;
        }
        let ahead = self.clone();
        tokio::spawn(async move {
            ahead.chunks.blocks.prefetch(pack.id, pack.object_len, location.offset.into()).await;
        });
    }
}
