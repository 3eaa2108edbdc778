//! Turns chunks that were stored whole into deltas: for pushes that could not read the past.
//!
//! The new records go into new packs, which are indexed; the old packs are condemned and swept by
//! the rules of every prune. At no moment is a chunk without a sound record.

use crate::bases::Bases;
use crate::chunks::Chunks;
use crate::commit::{SKETCHES, Session};
use crate::encode::{SealedDataKey, delta_record};
use crate::error::{Error, ErrorKind, Result};
use crate::index::Location;
use crate::live::{Live, ShortIds};
use crate::observe::{Counter, Observer};
use crate::prune::{PruneOptions, PruneReport};
use crate::repack::Repacker;
use crate::repository::Repository;
use crate::sweep::{Sweeper, needed_bases};
use crate::view::View;
use cistern_format::codec::{Codec, Squeezer};
use cistern_format::envelope::Kind;
use cistern_format::id::{ChunkId, PackId};
use cistern_format::keys::Role;
use cistern_format::record::Sealer;
use cistern_format::sketch::{Sketch, SketchList};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// How to go about it.
#[derive(Clone, Debug, Default)]
pub struct OptimizeOptions {
    /// Only snapshots of this name.
    pub name: Option<String>,
    /// How the packs that become unused are swept.
    pub prune: PruneOptions,
}

/// What it did, or would do.
#[derive(Clone, Debug, Default, Serialize)]
pub struct OptimizeReport {
    /// Nothing was changed.
    pub dry_run: bool,
    /// Chunks stored whole that were compared with older ones.
    pub looked_at: u64,
    /// Of them, chunks that became deltas.
    pub deltas: u64,
    /// Bytes their records took before.
    pub before_bytes: u64,
    /// Bytes their records take now.
    pub after_bytes: u64,
    /// What the sweep of the old packs did.
    pub prune: PruneReport,
}

/// One chunk and the older one it may become a delta of.
struct Pair {
    chunk: ChunkId,
    sketch: Sketch,
    sequence: u64,
}

impl Repository {
    /// Makes deltas where the past allows it.
    pub async fn optimize(
        &self,
        options: &OptimizeOptions,
        watch: Arc<dyn Observer>,
    ) -> Result<OptimizeReport> {
        self.require(Role::Maintain, "optimize")?;
        if !self.keys().can_read() {
            let why = "it compares stored chunks, which takes a credential of role pull or owner";
            return Err(Error::new(ErrorKind::Denied, "optimize", why));
        }
        if options.prune.dry_run {
            return self.optimize_preview(options, watch).await;
        }
        let session = Session::register(&self.objects, "optimize", "").await?;
        let now = self.store_time(&session).await?;
        let session = Arc::new(session);
        let sweeper = Sweeper { repo: self, session: session.clone(), now, options: &options.prune, watch };
        let done = self.optimize_with(&sweeper, options).await;
        session.end().await;
        done
    }

    /// Compares and counts; stores nothing, not even a registration.
    async fn optimize_preview(
        &self,
        options: &OptimizeOptions,
        watch: Arc<dyn Observer>,
    ) -> Result<OptimizeReport> {
        let session = Arc::new(Session::unregistered(&self.objects));
        let now = std::time::SystemTime::UNIX_EPOCH;
        let sweeper = Sweeper { repo: self, session, now, options: &options.prune, watch };
        self.optimize_with(&sweeper, options).await
    }

    async fn optimize_with(
        &self,
        sweeper: &Sweeper<'_>,
        options: &OptimizeOptions,
    ) -> Result<OptimizeReport> {
        let mut report = OptimizeReport { dry_run: options.prune.dry_run, ..OptimizeReport::default() };
        let view = self.objects.view().await?;
        view.require_whole()?;
        let live = self.live(&view).await?;
        let index = Arc::new(view.index.clone());
        let chunks = Arc::new(Chunks::new(self.objects.clone(), index, 64 << 20));
        let (session, watch) = (sweeper.session.clone(), sweeper.watch.clone());
        let mut repacker = Repacker::new(&self.objects, session, self.config.pack_bytes, watch);
        let mut rewritten = Rewritten::new(&view);
        let by_series = self.sketch_lists(options.name.as_deref()).await?;
        let chunks_total: usize = by_series.values().flatten().map(|list| list.sketches.len()).sum();
        sweeper.watch.count(Counter::ChunksTotal, chunks_total as u64);
        for (series, lists) in by_series {
            self.optimize_series(
                series,
                lists,
                &chunks,
                &live.chunks,
                &mut repacker,
                &mut rewritten,
                &mut report,
                &*sweeper.watch,
            )
            .await?;
        }
        let packs = rewritten.packs(&view);
        if packs.is_empty() || report.dry_run {
            // Too little in each pack to be worth a move: the new records are dropped unindexed.
            let deltas = if report.dry_run { report.deltas } else { 0 };
            return Ok(OptimizeReport { deltas, ..report });
        }
        self.move_the_rest(&view, &live, &packs, &rewritten, &mut repacker).await?;
        report.prune.copied_bytes = repacker.finish().await?;
        report.prune.condemned_packs = packs.len() as u64;
        let list = sweeper.condemn(packs).await?;
        sweeper.carry_on(&list, &mut report.prune).await?;
        Ok(report)
    }

    /// The sketch lists of each series, or of one name's, oldest first.
    pub(crate) async fn sketch_lists(
        &self,
        name: Option<&str>,
    ) -> Result<BTreeMap<[u8; 16], Vec<SketchList>>> {
        let wanted = name.map(|n| cistern_format::sketch::series(self.keys(), n));
        let mut by_series: BTreeMap<[u8; 16], Vec<SketchList>> = BTreeMap::new();
        for entry in self.objects.list(SKETCHES).await? {
            // Sketches are a hint; one that cannot be read is as good as none.
            let Ok(body) = self.objects.get(Kind::Sketches, entry.key.as_str()).await else { continue };
            let Ok(list) = SketchList::decode(&body) else { continue };
            if wanted.is_none_or(|w| w == list.series) {
                by_series.entry(list.series).or_default().push(list);
            }
        }
        by_series.values_mut().for_each(|lists| lists.sort_by_key(|l| l.sequence));
        Ok(by_series)
    }

    async fn optimize_series(
        &self,
        series: [u8; 16],
        lists: Vec<SketchList>,
        chunks: &Arc<Chunks>,
        live: &ShortIds,
        repacker: &mut Repacker,
        rewritten: &mut Rewritten,
        report: &mut OptimizeReport,
        watch: &dyn Observer,
    ) -> Result<()> {
        let mut squeezer = Squeezer::new(self.config.level);
        let mut bases = Bases::empty(chunks.clone());
        for list in lists {
            let sequence = list.sequence;
            let mut stayed = SketchList { series, sequence, sketches: vec![] };
            for (chunk, sketch) in list.sketches {
                watch.count(Counter::Chunks, 1);
                let pair = Pair { chunk, sketch, sequence };
                let whole = chunks.index().find(&chunk).is_some_and(|l| l.codec != Codec::Delta);
                if !whole || !live.contains(&chunk.short()) || !rewritten.looked_at.insert(chunk.short()) {
                    continue;
                }
                report.looked_at += 1;
                let became = if rewritten.is_base(&chunk) {
                    None
                } else {
                    self.delta_of(&pair, &bases, chunks, &mut squeezer).await?
                };
                match became {
                    Some(delta) => {
                        rewritten.note(&chunk, &delta.base);
                        report.deltas += 1;
                        report.before_bytes += delta.before_bytes;
                        report.after_bytes += delta.record.len() as u64;
                        if !report.dry_run {
                            repacker.add(delta.binding, delta.record, Some(&delta.key)).await?;
                        }
                    }
                    None => stayed.sketches.push((chunk, sketch)),
                }
            }
            // Chunks of one night are not compared with each other: they were all new that night.
            bases.add_list(&stayed);
        }
        Ok(())
    }

    async fn delta_of(
        &self,
        pair: &Pair,
        bases: &Bases,
        chunks: &Arc<Chunks>,
        squeezer: &mut Squeezer,
    ) -> Result<Option<crate::encode::DeltaRecord>> {
        let Some(choice) = bases.choose_at(&pair.chunk, &pair.sketch, pair.sequence) else { return Ok(None) };
        let Some(location) = chunks.index().find(&pair.chunk) else { return Ok(None) };
        let Some((sealer, key)) = self.data_sealer(chunks, &location)? else { return Ok(None) };
        // What cannot be read is for verify to tell; it stays as it is.
        let (Ok(raw), Ok(base)) = (chunks.get(pair.chunk).await, chunks.base(choice.id).await) else {
            return Ok(None);
        };
        Ok(delta_record(
            pair.chunk,
            &raw,
            &base,
            choice,
            location.record_len,
            (&sealer, key),
            squeezer,
            self.world(),
        ))
    }

    /// What seals a new record of a stored data chunk under the data key it has; `None` for a recipe piece.
    pub(crate) fn data_sealer(
        &self,
        chunks: &Chunks,
        location: &Location,
    ) -> Result<Option<(Sealer, SealedDataKey)>> {
        let Some(key) = location.key.map(|k| *chunks.index().data_key(k)) else { return Ok(None) };
        let keys = &self.objects.keys;
        let data_key = keys.open_data_key(key.0, &key.1).map_err(|d| Error::damage("open a data key", d))?;
        Ok(Some((Sealer::data(keys.repo(), &data_key), key)))
    }

    /// Copies what is left in packs that go, so that they hold nothing anybody needs.
    async fn move_the_rest(
        &self,
        view: &View,
        live: &Live,
        packs: &[PackId],
        rewritten: &Rewritten,
        repacker: &mut Repacker,
    ) -> Result<()> {
        let going: HashSet<PackId> = packs.iter().copied().collect();
        let mut need =
            crate::live::unresolvable(live, &view.index, |p| !going.contains(&view.index.pack(p).id));
        need.retain(|short| !rewritten.became.contains_key(short));
        let directories = self.read_directories(packs, &view.listed).await;
        let mut bases = needed_bases(&directories, view, &mut need);
        bases.extend(rewritten.bases.iter());
        let stays = |base: &[u8; 16]| view.index.holds_whole_outside(base, &going);
        repacker.copy(&directories, &need, &bases, &stays).await.map(drop)
    }
}

/// What was turned into deltas so far.
struct Rewritten {
    became: HashMap<[u8; 16], ()>,
    bases: ShortIds,
    /// Chunks that were decided on. Pushes that ran side by side, of one name or of several, may all have
    /// stored a chunk and sketched it: the second time it must not become what others were made from.
    looked_at: ShortIds,
}

/// A pack goes when this share of its records became deltas, in percent; the rest is copied. Small,
/// because in a pack that stays the new deltas are of no use: whole records are preferred.
const REWRITTEN_PERCENT_MIN: u64 = 5;

impl Rewritten {
    /// Bases of deltas that exist already must stay whole.
    fn new(view: &View) -> Rewritten {
        let bases = view.index.records().filter_map(|(_, l)| l.base.map(|b| b.short())).collect();
        Rewritten { became: HashMap::new(), bases, looked_at: ShortIds::new() }
    }

    fn is_base(&self, chunk: &ChunkId) -> bool {
        self.bases.contains(&chunk.short())
    }

    fn note(&mut self, chunk: &ChunkId, base: &ChunkId) {
        self.became.insert(chunk.short(), ());
        self.bases.insert(base.short());
    }

    /// The packs worth giving up.
    fn packs(&self, view: &View) -> Vec<PackId> {
        let mut bytes: HashMap<u32, (u64, u64)> = HashMap::new();
        for (short, location) in view.index.records() {
            let (all, gone) = bytes.entry(location.pack).or_default();
            *all += u64::from(location.record_len);
            if self.became.contains_key(&short) && location.codec != Codec::Delta {
                *gone += u64::from(location.record_len);
            }
        }
        let mut packs: Vec<PackId> = bytes
            .into_iter()
            .filter(|(_, (all, gone))| gone * 100 >= all * REWRITTEN_PERCENT_MIN)
            .map(|(number, _)| view.index.pack(number).id)
            .collect();
        packs.sort_unstable();
        packs
    }
}
