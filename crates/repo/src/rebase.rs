//! Makes deltas anew, on another base or whole, where that lets a base go that no snapshot refers to.
//!
//! A base outlives its snapshots while a delta needs it. Retention leaves few of its deltas, and then it can
//! take more than it saves: a later chunk much like it, which a snapshot refers to, would serve them as well.
//!
//! # Expected flow
//! 1. Without reading data: which bases nobody refers to, which of them have a likely successor, and whether
//!    it is worth moving the packs their deltas lie in ([`worth_moving`]).
//! 2. Each such base is tried: its deltas are made anew, and counted against the base and the old deltas.
//! 3. What pays, and is still worth moving packs for, goes into new packs, which are indexed. The packs with
//!    the old deltas are for the caller to condemn: while a pack holds the old delta, that keeps its base,
//!    whatever else there is.
//!
//! # Guarantees
//! Nothing is taken away here. A chunk that cannot be read stays as it is, and so does its base.
//!
//! # If it crashes here
//! Some chunks are stored twice. The next run finds that they need their old base no more, and goes on.

use crate::bases::Bases;
use crate::chunks::Chunks;
use crate::encode::{SealedDataKey, delta_record, whole_record};
use crate::error::Result;
use crate::index::{Index, Location};
use crate::live::{Live, ShortIds};
use crate::prune::usage;
use crate::repack::Repacker;
use crate::repository::Repository;
use crate::sweep::Sweeper;
use crate::view::View;
use bytes::Bytes;
use cistern_format::codec::{Codec, Squeezer};
use cistern_format::id::{ChunkId, PackId, SessionId};
use cistern_format::record::Binding;
use cistern_format::sketch::{Sketch, SketchList, Sketcher};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// A base goes if what replaces it and its deltas takes at most this share of what they take.
const WORTH_NUMERATOR: u64 = 9;
const WORTH_DENOMINATOR: u64 = 10;
/// Bytes worth moving, with the pack they are in, to free one.
const MOVED_PER_FREED_MAX: u64 = 8;
/// Bases tried in vain in one run: each costs reading it, its deltas and their other bases.
const FAILURES_MAX: u32 = 64;
/// New records held, in bytes, until it is decided whether they are worth moving packs for.
const SETTLE_BYTES: u64 = 32 << 20;
/// Pieces of packs kept while chunks are read, in bytes.
const CACHE_BYTES: u64 = 64 << 20;

/// What was made anew.
#[derive(Default)]
pub(crate) struct Rebased {
    /// The packs that hold the old deltas: to be condemned, once what else they hold is elsewhere too.
    pub(crate) packs: HashSet<PackId>,
    /// Bases nobody needs when those packs are gone.
    pub(crate) bases: u64,
    /// Deltas made anew.
    pub(crate) deltas: u64,
}

/// A base that no snapshot refers to, and the deltas that keep it.
struct Held {
    base: ChunkId,
    whole: Location,
    deltas: Vec<([u8; 16], Location)>,
    /// What its going frees: as expected, then as it turned out.
    gain_bytes: u64,
    /// The new records of its deltas, once they are made.
    records: Vec<NewRecord>,
}

impl Held {
    /// What base and deltas take.
    fn bytes(&self) -> u64 {
        u64::from(self.whole.record_len) + self.delta_bytes()
    }

    fn delta_bytes(&self) -> u64 {
        self.deltas.iter().map(|(_, l)| u64::from(l.record_len)).sum()
    }

    /// The packs with its deltas.
    fn packs(&self) -> BTreeSet<u32> {
        self.deltas.iter().map(|(_, l)| l.pack).collect()
    }

    /// What a chunk like the base takes whole.
    fn whole_bytes(&self, raw_len: u32) -> u64 {
        u64::from(raw_len) * u64::from(self.whole.record_len) / u64::from(self.whole.raw_len.max(1))
    }
}

fn pays(after: u64, before: u64) -> bool {
    after * WORTH_DENOMINATOR <= before * WORTH_NUMERATOR
}

/// Bases of the view that only deltas need.
fn held_bases(view: &View, live: &Live) -> BTreeMap<ChunkId, Held> {
    let mut deltas: BTreeMap<ChunkId, Vec<([u8; 16], Location)>> = BTreeMap::new();
    for (short, location) in view.index.records().filter(|(short, _)| live.chunks.contains(short)) {
        if let Some(base) = location.base.filter(|base| live.held.contains(&base.short())) {
            deltas.entry(base).or_default().push((short, location));
        }
    }
    let held = deltas.into_iter().filter_map(|(base, deltas)| {
        let whole = view.index.find(&base).filter(|l| l.codec != Codec::Delta)?;
        Some((base, Held { base, whole, deltas, gain_bytes: 0, records: vec![] }))
    });
    held.collect()
}

/// Whether a chunk can be read without a base, and without bases that only deltas need.
fn is_free_of(base: &ChunkId, short: &[u8; 16], index: &Index, live: &Live) -> bool {
    index.find_short(short).any(|l| match &l.base {
        None => true,
        Some(other) => {
            other != base && !live.held.contains(&other.short()) && index.holds_whole(&other.short())
        }
    })
}

/// Leaves out bases whose deltas lie in packs of which too much would have to move for what is freed.
///
/// `used` says, by number of the pack, how many bytes of it are in use.
fn worth_moving(mut bases: Vec<Held>, used: impl Fn(u32) -> u64) -> Vec<Held> {
    loop {
        let mut sums: HashMap<u32, (u64, u64)> = HashMap::new();
        for held in &bases {
            let packs = held.packs();
            for pack in &packs {
                sums.entry(*pack).or_default().0 += held.gain_bytes / packs.len() as u64;
            }
            for (_, location) in &held.deltas {
                sums.entry(location.pack).or_default().1 += u64::from(location.record_len);
            }
        }
        let is_worth = |pack: &u32| {
            let (gain, remade) = sums[pack];
            gain * MOVED_PER_FREED_MAX >= used(*pack).saturating_sub(remade)
        };
        let before = bases.len();
        bases.retain(|held| held.packs().iter().all(is_worth));
        if bases.len() == before {
            return bases;
        }
    }
}

impl Repository {
    /// Makes deltas anew where that pays. `writers` are the sessions under way: their packs stay. Nothing is
    /// stored in a dry run.
    ///
    /// Does nothing if the credential cannot read, or the options do not want it.
    pub(crate) async fn rebase(
        &self,
        sweeper: &Sweeper<'_>,
        writers: &HashSet<SessionId>,
    ) -> Result<Rebased> {
        let keys = &self.objects.keys;
        let (true, true, Some(sketch_key)) = (sweeper.options.rebase, keys.can_read(), keys.sketch()) else {
            return Ok(Rebased::default());
        };
        let sketcher = Sketcher::new(sketch_key);
        let view = self.objects.view().await?;
        view.require_whole()?;
        let live = self.live(&view).await?;
        let mut held = held_bases(&view, &live);
        held.retain(|_, h| h.packs().iter().all(|p| !writers.contains(&view.index.pack(*p).id.session)));
        if held.is_empty() {
            return Ok(Rebased::default());
        }
        let used: Vec<u64> =
            usage(&view, &live.chunks, &HashSet::new()).into_iter().map(|(used, _)| used).collect();
        let chunks = Chunks::new(self.objects.clone(), Arc::new(view.index.clone()), CACHE_BYTES);
        let (session, watch) = (sweeper.session.clone(), sweeper.watch.clone());
        let repacker = Repacker::new(&self.objects, session, self.config.pack_bytes, watch);
        let mut rebase = Rebase {
            repo: self,
            view: &view,
            live: &live,
            used,
            chunks: Arc::new(chunks),
            sketcher,
            squeezer: Squeezer::new(self.config.level),
            repacker,
            anew: ShortIds::new(),
            left_bytes: sweeper.options.repack_bytes_max,
            left_failures: FAILURES_MAX,
            dry_run: sweeper.options.dry_run,
            done: Rebased::default(),
        };
        // Series by series: a successor is looked for among the chunks of the base's own.
        for lists in self.sketch_lists(None).await?.into_values() {
            rebase.series(&lists, &mut held).await?;
        }
        rebase.series(&[], &mut held).await?;
        rebase.repacker.finish().await?;
        Ok(rebase.done)
    }
}

/// One run.
struct Rebase<'r> {
    repo: &'r Repository,
    view: &'r View,
    live: &'r Live,
    /// Bytes in use, by number of the pack.
    used: Vec<u64>,
    chunks: Arc<Chunks>,
    sketcher: Sketcher,
    squeezer: Squeezer,
    repacker: Repacker,
    /// Chunks with a new record.
    anew: ShortIds,
    /// Bytes this run may yet write, its caller's moves included.
    left_bytes: u64,
    /// Bases that may yet be tried in vain.
    left_failures: u32,
    dry_run: bool,
    done: Rebased,
}

/// A new record of a chunk, not stored yet.
struct NewRecord {
    binding: Binding,
    record: Bytes,
    key: SealedDataKey,
}

impl Rebase<'_> {
    /// Tries the bases that these lists have sketches of; without lists, all that are left.
    async fn series(&mut self, lists: &[SketchList], held: &mut BTreeMap<ChunkId, Held>) -> Result<()> {
        let mut bases: Vec<(Held, Option<Sketch>)> = match lists {
            [] => std::mem::take(held).into_values().map(|h| (h, None)).collect(),
            _ => {
                let all = lists.iter().flat_map(|list| &list.sketches);
                all.filter_map(|(id, sketch)| Some((held.remove(id)?, Some(*sketch)))).collect()
            }
        };
        if bases.is_empty() {
            return Ok(());
        }
        let successors = self.successors(lists);
        for (held, sketch) in &mut bases {
            held.gain_bytes = self.expected_gain(held, sketch.as_ref(), &successors);
        }
        let likely = bases.into_iter().map(|(h, _)| h).filter(|h| h.gain_bytes > 0).collect();
        let mut chosen = worth_moving(likely, |pack| self.used[pack as usize]);
        // As they lie, so that a piece of a pack is read once.
        chosen.sort_by_key(|h| (h.whole.pack, h.whole.offset));
        let ids = self.ids_of(&chosen).await;
        // From anywhere: where most do not pay, each run tries others.
        let start = u32::from_le_bytes(self.repo.world().random());
        let start = start as usize % chosen.len().max(1);
        chosen.rotate_left(start);
        let (mut paid, mut paid_bytes) = (Vec::new(), 0);
        for mut held in chosen {
            if self.left_failures == 0 {
                break;
            }
            match self.try_one(&held, &successors, &ids).await? {
                Some(records) => {
                    let after: u64 = records.iter().map(|r| r.record.len() as u64).sum();
                    held.gain_bytes = held.bytes() - after;
                    held.records = records;
                    paid_bytes += after;
                    paid.push(held);
                }
                None => self.left_failures -= 1,
            }
            if paid_bytes >= SETTLE_BYTES {
                self.settle(std::mem::take(&mut paid)).await?;
                paid_bytes = 0;
            }
        }
        self.settle(paid).await
    }

    /// The chunks that stay whole whatever becomes of the bases: some snapshot refers to them.
    fn successors(&self, lists: &[SketchList]) -> Bases {
        let mut successors = Bases::empty(self.chunks.clone());
        for list in lists.iter().rev() {
            let stays = |id: &ChunkId| {
                let short = id.short();
                self.live.chunks.contains(&short)
                    && !self.live.held.contains(&short)
                    && self.view.index.holds_whole(&short)
            };
            let sketches = list.sketches.iter().filter(|(id, _)| stays(id)).copied().collect();
            successors.add_list(&SketchList { sketches, ..*list });
        }
        successors
    }

    /// Bytes that the base's going would free if all goes well; 0 if there is no hope.
    fn expected_gain(&self, held: &Held, sketch: Option<&Sketch>, successors: &Bases) -> u64 {
        if sketch.is_some_and(|s| successors.choose(&held.base, s).is_some()) {
            return held.whole.record_len.into();
        }
        let mut needing: BTreeMap<[u8; 16], u32> =
            held.deltas.iter().map(|(short, l)| (*short, l.raw_len)).collect();
        needing.retain(|short, _| !is_free_of(&held.base, short, &self.view.index, self.live));
        let after: u64 = needing.values().map(|raw_len| held.whole_bytes(*raw_len)).sum();
        if pays(after, held.bytes()) { held.bytes() - after } else { 0 }
    }

    /// The whole names of the deltas, which the index keeps only the beginning of.
    async fn ids_of(&self, bases: &[Held]) -> HashMap<[u8; 16], ChunkId> {
        let wanted: ShortIds = bases.iter().flat_map(|h| h.deltas.iter().map(|(short, _)| *short)).collect();
        let packs: BTreeSet<u32> = bases.iter().flat_map(Held::packs).collect();
        let packs: Vec<PackId> = packs.into_iter().map(|p| self.view.index.pack(p).id).collect();
        let directories = self.repo.read_directories(&packs, &self.view.listed).await;
        let rows = directories.iter().flat_map(|d| &d.directory.rows).map(|row| row.binding.id);
        rows.filter(|id| wanted.contains(&id.short())).map(|id| (id.short(), id)).collect()
    }

    /// The deltas of one base made anew, if that pays.
    async fn try_one(
        &mut self,
        held: &Held,
        successors: &Bases,
        ids: &HashMap<[u8; 16], ChunkId>,
    ) -> Result<Option<Vec<NewRecord>>> {
        let mut seen = ShortIds::new();
        let (mut records, mut after) = (Vec::new(), 0);
        for (short, location) in &held.deltas {
            let has_other =
                self.anew.contains(short) || is_free_of(&held.base, short, &self.view.index, self.live);
            if has_other || !seen.insert(*short) {
                continue;
            }
            let Some(id) = ids.get(short) else { return Ok(None) };
            let Some(new) = self.make_anew(held, *id, location, successors).await? else { return Ok(None) };
            after += new.record.len() as u64;
            if !pays(after, held.bytes()) {
                return Ok(None);
            }
            records.push(new);
        }
        Ok(Some(records))
    }

    /// Keeps what was made anew, as far as it is worth moving the packs with the old deltas.
    async fn settle(&mut self, paid: Vec<Held>) -> Result<()> {
        let goes = |done: &Rebased, pack: u32| done.packs.contains(&self.view.index.pack(pack).id);
        let to_move = |done: &Rebased, pack: u32| if goes(done, pack) { 0 } else { self.used[pack as usize] };
        for held in worth_moving(paid, |pack| to_move(&self.done, pack)) {
            let moved: u64 = held.packs().iter().map(|pack| to_move(&self.done, *pack)).sum();
            let cost = held.bytes() + moved;
            if cost > self.left_bytes {
                continue;
            }
            self.left_bytes -= cost;
            self.done.packs.extend(held.packs().iter().map(|p| self.view.index.pack(*p).id));
            self.done.bases += 1;
            for new in held.records {
                // It may have been a delta of two such bases.
                if self.anew.insert(new.binding.id.short()) {
                    self.done.deltas += 1;
                    if !self.dry_run {
                        self.repacker.add(new.binding, new.record, Some(&new.key)).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A chunk against its likeliest successor base, or whole; `None` if it cannot be read.
    async fn make_anew(
        &mut self,
        held: &Held,
        id: ChunkId,
        location: &Location,
        successors: &Bases,
    ) -> Result<Option<NewRecord>> {
        let Ok(raw) = self.chunks.get(id).await else { return Ok(None) };
        let Some((sealer, key)) = self.repo.data_sealer(&self.chunks, location)? else { return Ok(None) };
        let world = self.repo.world();
        let choice = self.sketcher.sketch(&raw).and_then(|sketch| successors.choose(&id, &sketch));
        if let Some(mut choice) = choice
            && let Ok(base) = self.chunks.base(choice.id).await
        {
            // What it was a delta of is no measure of how it aged: the size alone decides.
            choice.age = 1;
            let whole = held.whole_bytes(location.raw_len) as u32;
            let sealing = (&sealer, key);
            let delta = delta_record(id, &raw, &base, choice, whole, sealing, &mut self.squeezer, world);
            if let Some(delta) = delta {
                return Ok(Some(NewRecord { binding: delta.binding, record: delta.record, key }));
            }
        }
        let (binding, record) = whole_record(id, &raw, &sealer, &mut self.squeezer, world);
        Ok(Some(NewRecord { binding, record, key }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cistern_format::record::ChunkKind;

    fn at(pack: u32, record_len: u32) -> Location {
        let (codec, kind, key, base) = (Codec::Zstd, ChunkKind::Data, None, None);
        Location { pack, offset: 0, record_len, raw_len: 2 * record_len, codec, kind, key, base }
    }

    fn held(base: u8, gain_bytes: u64, deltas: &[(u32, u32)]) -> Held {
        let deltas = deltas.iter().map(|&(pack, len)| ([pack as u8; 16], at(pack, len))).collect();
        Held { base: ChunkId([base; 32]), whole: at(99, 1000), deltas, gain_bytes, records: vec![] }
    }

    #[test]
    fn a_pack_moves_only_for_what_is_worth_it() {
        let bases = |bases: &[Held]| bases.iter().map(|h| h.base.0[0]).collect::<Vec<_>>();
        // Of pack 0 all is made anew; of pack 1 the most would have to be moved.
        let used = |pack| [20, 16_000, 8_010][pack as usize];
        let worth = worth_moving(vec![held(1, 1000, &[(0, 20)]), held(2, 1000, &[(1, 10)])], used);
        assert_eq!(bases(&worth), [1]);
        // Who has a delta in a pack that stays, stays, and takes along who counted on its share.
        let worth = worth_moving(vec![held(3, 1000, &[(1, 10), (2, 5)]), held(4, 900, &[(2, 5)])], used);
        assert_eq!(bases(&worth), [0; 0]);
        let worth = worth_moving(vec![held(5, 1000, &[(2, 10)])], used);
        assert_eq!(bases(&worth), [5], "eight bytes moved for one freed");
    }

    #[test]
    fn a_chunk_made_whole_is_expected_to_take_what_its_base_takes() {
        let held = held(1, 0, &[(0, 300), (1, 10)]);
        assert_eq!((held.bytes(), held.whole_bytes(500)), (1310, 250));
        assert!(pays(90, 100) && !pays(91, 100));
    }
}
