//! What is wrong, all of it: from a look at the listings to a full restore.
//!
//! | level | reads | finds |
//! |---|---|---|
//! | 0 | listings, snapshots, trash lists | unreadable and removed snapshots, damaged trash lists, leftover sessions |
//! | 1 | all other objects, every directory | unreadable ones; chunks nobody holds, bases that are not whole, directories and index that differ |
//! | 2 | all bytes of packs, no data key | bit-rot |
//! | 3 | every record, opened and expanded | wrong content under a right seal |
//! | 4 | snapshots, as `pull` does | everything, and the whole-stream digest |

use crate::chunks::{Chunks, Opener};
use crate::error::{Error, ErrorKind, Result};
use crate::index::Index;
use crate::live::{Live, Recipes, ShortIds, unresolvable};
use crate::observe::{Counter, Observer};
use crate::repository::Repository;
use crate::snapshots::SnapshotInfo;
use crate::view::View;
use cistern_format::envelope::Kind;
use cistern_format::id::{ChunkId, PackId, SnapshotId};
use cistern_format::keys::Role;
use cistern_format::object::{Verified, from_cbor, to_cbor};
use cistern_format::pack;
use cistern_format::record::ChunkKind;
use cistern_format::segment::IndexedPack;
use cistern_store::Key;
use futures::StreamExt as _;
use serde::Serialize;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

pub(crate) const VERIFIED: &str = "verified/";
/// Packs read at the same time.
const PACKS_AT_ONCE: usize = 3;
/// Reports looked at, newest first, for the slice whose turn it is.
const REPORTS_MAX: usize = 200;
/// Findings told at most; a repository with more needs repair, not a longer list.
const FINDINGS_MAX: usize = 10_000;

/// How deep to look, and at which part.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// 0 to 4; each includes those before it.
    pub level: u8,
    /// Part `n` of `t` of the packs, for levels 2 and 3: a full check spread over `t` runs.
    pub slice: Option<(u32, u32)>,
    /// Only snapshots of this name, for level 4.
    pub name: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Data is lost or will be refused.
    Damage,
    /// Nothing is lost; something should be looked at.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The object or chunk.
    pub subject: String,
    /// What is wrong with it.
    pub what: String,
    /// Snapshots that cannot be restored because of it: name and id.
    pub snapshots: Vec<String>,
}

/// What a verification looked at and found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VerifyReport {
    /// Level that was asked for.
    pub level: u8,
    /// Part of how many.
    pub slice: (u32, u32),
    /// Packs read whole.
    pub packs: u64,
    /// Bytes read of them.
    pub read_bytes: u64,
    /// Snapshots looked at.
    pub snapshots: u64,
    /// Snapshots restored (level 4).
    pub restored: u64,
    /// What is wrong; empty is good.
    pub findings: Vec<Finding>,
}

impl VerifyReport {
    /// Whether anything is lost.
    pub fn is_damaged(&self) -> bool {
        self.findings.iter().any(|f| f.severity == Severity::Damage)
    }

    fn add(&mut self, severity: Severity, subject: impl ToString, what: impl ToString) {
        if self.findings.len() < FINDINGS_MAX {
            let (subject, what) = (subject.to_string(), what.to_string());
            self.findings.push(Finding { severity, subject, what, snapshots: vec![] });
        }
    }
}

/// Chunks that cannot be had any more, and the finding each belongs to.
#[derive(Default)]
struct Lost {
    by_finding: Vec<(usize, ShortIds)>,
    /// Packs whose records do not count as another copy.
    packs: HashSet<PackId>,
}

/// Everything the steps of a verification share.
struct Verifying<'r> {
    repo: &'r Repository,
    options: &'r VerifyOptions,
    watch: Arc<dyn Observer>,
    view: View,
    index: Arc<Index>,
    snapshots: Vec<SnapshotInfo>,
    report: VerifyReport,
    lost: Lost,
    restored: Vec<SnapshotId>,
    /// Snapshots that are there, and those missing.
    seen: BTreeSet<SnapshotId>,
}

impl Repository {
    /// Looks for damage and writes down, in the repository, what was looked at.
    ///
    /// # Errors
    /// Only what keeps it from looking; what it finds is in the report.
    pub async fn verify(&self, options: &VerifyOptions, watch: Arc<dyn Observer>) -> Result<VerifyReport> {
        let role = if options.level >= 3 { Role::Pull } else { Role::Maintain };
        if options.level >= 3 && !self.keys().can_read() {
            self.require(role, &format!("verify at level {}", options.level))?;
        }
        let mut report = VerifyReport {
            level: options.level,
            slice: options.slice.unwrap_or((1, 1)),
            ..Default::default()
        };
        let mut seen = BTreeSet::new();
        let snapshots = self.readable_snapshots(&mut report, &mut seen).await?;
        report.snapshots = snapshots.len() as u64;
        let view = self.objects.reading_view().await?;
        let orphans = self.read_directories(&view.orphans, &view.listed).await;
        let mut view = view;
        let index = Arc::new(std::mem::take(&mut view.index).with(&orphans));
        let lost = Lost::default();
        let restored = vec![];
        let mut verifying =
            Verifying { repo: self, options, watch, view, index, snapshots, report, lost, restored, seen };
        verifying.run().await?;
        let Verifying { report, restored, seen, .. } = verifying;
        self.write_report(&report, restored, seen).await;
        Ok(report)
    }

    async fn readable_snapshots(
        &self,
        report: &mut VerifyReport,
        seen: &mut BTreeSet<SnapshotId>,
    ) -> Result<Vec<SnapshotInfo>> {
        let mut readable = Vec::new();
        for (id, read) in self.objects.snapshots_or_damage().await? {
            seen.insert(id);
            match read {
                Ok(info) => readable.push(info),
                Err(e) if e.kind == ErrorKind::Damaged || e.kind == ErrorKind::WrongKey => {
                    report.add(Severity::Damage, format!("snapshots/{id}"), &e.why);
                    if let Some(f) = report.findings.last_mut() {
                        f.snapshots.push(id.to_string());
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Ok(readable)
    }

    /// A report that cannot be stored, on a read-only store say, is still told to the caller.
    async fn write_report(
        &self,
        report: &VerifyReport,
        restored: Vec<SnapshotId>,
        seen: BTreeSet<SnapshotId>,
    ) {
        let verified = Verified {
            level: report.level,
            slice: report.slice,
            packs: report.packs,
            read_bytes: report.read_bytes,
            findings: report
                .findings
                .iter()
                .take(100)
                .map(|f| format!("{}: {}", f.subject, f.what))
                .collect(),
            snapshots: restored,
            seen: seen.into_iter().collect(),
            at_ms: self.world().now_ms(),
        };
        let key = format!("{VERIFIED}{}", self.world().new_session_id());
        let _ = self.objects.put(Kind::Verified, &key, &to_cbor(&verified)).await;
    }

    /// The slice after the one verified last at this level and division; the first if there is none.
    pub async fn next_slice(&self, level: u8, of: u32) -> Result<(u32, u32)> {
        for entry in self.objects.list(VERIFIED).await?.iter().rev().take(REPORTS_MAX) {
            // One that cannot be read is a finding; it must not keep the next from being made.
            let Ok(body) = self.objects.get(Kind::Verified, entry.key.as_str()).await else { continue };
            let Ok(report) = from_cbor::<Verified>("verify report", &body) else { continue };
            if report.level == level && report.slice.1 == of {
                return Ok((report.slice.0 % of + 1, of));
            }
        }
        Ok((1, of))
    }
}

impl Verifying<'_> {
    async fn run(&mut self) -> Result<()> {
        self.listings().await?;
        if self.options.level >= 1 {
            self.small_objects().await?;
            self.directories().await?;
            self.resolvable().await;
        }
        if self.options.level >= 2 {
            self.packs().await?;
        }
        self.name_snapshots().await;
        if self.options.level >= 4 {
            self.restore().await?;
        }
        Ok(())
    }

    /// Level 0.
    async fn listings(&mut self) -> Result<()> {
        for key in self.view.damaged.clone() {
            self.report.add(
                Severity::Warning,
                key,
                "this index object is damaged; `cistern repair` writes it anew",
            );
        }

        let undecided = self.repo.undecided(None).await?;
        let now_ms = self.repo.world().now_ms();
        for session in undecided.iter().filter(|s| now_ms.saturating_sub(s.time_ms()) > 24 * 3_600_000) {
            let what = "it registered more than a day ago and is still not decided; a prune refuses it if it is silent";
            self.report.add(Severity::Warning, format!("sessions/{session}"), what);
        }
        self.broken_chains();
        self.removed_snapshots().await?;
        for list in self.repo.objects.trash().await? {
            if let Some(what) = list.complaint() {
                self.report.add(Severity::Warning, &list.key, what);
            }
        }
        Ok(())
    }

    /// Snapshots that something speaks of and that are not there.
    async fn removed_snapshots(&mut self) -> Result<()> {
        for (id, witness) in self.repo.missing_snapshots(&self.snapshots).await? {
            self.seen.insert(id);
            let what = format!("it is gone though nobody forgot it: {witness}");
            self.report.add(Severity::Damage, format!("snapshots/{id}"), what);
            if let Some(f) = self.report.findings.last_mut() {
                f.snapshots.push(id.to_string());
            }
        }
        Ok(())
    }

    /// Level 1: objects nobody opens in passing.
    async fn small_objects(&mut self) -> Result<()> {
        for (key, what) in self.repo.unreadable_objects().await? {
            self.report.add(Severity::Warning, key, what);
        }
        Ok(())
    }

    /// A predecessor that is neither there nor was forgotten may have been hidden by the store.
    fn broken_chains(&mut self) {
        let by_id: HashMap<SnapshotId, [u8; 32]> = self.snapshots.iter().map(|s| (s.id, s.receipt)).collect();
        let mut broken = Vec::new();
        for info in &self.snapshots {
            if let Some((previous, receipt)) = &info.snapshot.previous
                && by_id.get(previous).is_some_and(|there| *there != **receipt)
            {
                broken.push((info.id, *previous));
            }
        }
        for (id, previous) in broken {
            let what = format!("snapshot {previous} is not the object this one was made after");
            self.report.add(Severity::Damage, format!("snapshots/{id}"), what);
        }
    }

    /// Level 1, first half: every directory opens and says what the index says.
    async fn directories(&mut self) -> Result<()> {
        let mut indexed: HashMap<PackId, usize> = HashMap::new();
        for (_, location) in self.index.records() {
            *indexed.entry(self.index.pack(location.pack).id).or_default() += 1;
        }
        let packs: Vec<(PackId, u64)> = self.view.listed.iter().map(|(id, l)| (*id, l.object_len)).collect();
        // Deeper levels read the packs whole, and count them then.
        let counts = self.options.level == 1;
        self.watch.count(Counter::PacksTotal, if counts { packs.len() as u64 } else { 0 });
        let objects = self.repo.objects.clone();
        let mut reads = futures::stream::iter(packs)
            .map(|(id, len)| {
                let objects = objects.clone();
                async move { (id, objects.directory(id, len).await) }
            })
            .buffer_unordered(8);
        let (mut bad, mut lied_of) = (Vec::new(), Vec::new());
        while let Some((id, read)) = reads.next().await {
            self.watch.count(Counter::Packs, u64::from(counts));
            match read {
                Ok(read) if self.index.agrees_with(&read, indexed.get(&id).copied().unwrap_or(0)) => {}
                Ok(read) => lied_of.push(read),
                Err(e) if e.kind == ErrorKind::Damaged => bad.push((id, e)),
                Err(e) => return Err(e),
            }
        }
        for pack in &lied_of {
            let what = "the index says something else than the pack itself; `cistern repair` writes it anew";
            self.report.add(Severity::Warning, pack.id.key(), what);
        }
        if !lied_of.is_empty() {
            // Readers ask the packs themselves where the index is wrong.
            self.index = Arc::new(Index::clone(&self.index).corrected(&lied_of));
        }
        for (id, error) in bad {
            self.lost.packs.insert(id);
            let chunks = self.chunks_of(&id);
            self.damage(id.key(), error.why, chunks);
        }
        Ok(())
    }

    /// Level 1, second half: every chunk and every base of every snapshot is somewhere.
    async fn resolvable(&mut self) {
        let recipes = Recipes::new(&self.repo.objects, self.index.clone());
        let mut live = ShortIds::new();
        for info in &self.snapshots {
            match recipes.referenced(std::slice::from_ref(info)).await {
                Ok(chunks) => live.extend(chunks),
                Err(e) => {
                    let name = label(info);
                    self.report.add(Severity::Damage, format!("recipe of {name}"), e.why);
                    if let Some(f) = self.report.findings.last_mut() {
                        f.snapshots.push(name);
                    }
                }
            }
        }
        let live = Live::new(live, &self.index, &self.index);
        let missing = unresolvable(&live, &self.index, |_| true);
        if !missing.is_empty() {
            let what = format!("{} chunks that snapshots need are in no pack that exists", missing.len());
            self.damage("chunks".to_owned(), what, missing);
        }
    }

    /// Levels 2 and 3.
    async fn packs(&mut self) -> Result<()> {
        let (part, of) = self.report.slice;
        let mut packs: Vec<(PackId, u64)> =
            self.view.listed.iter().map(|(id, l)| (*id, l.object_len)).collect();
        packs.sort_unstable();
        packs.retain(|(id, _)| in_slice(id, part, of));
        self.watch.count(Counter::PacksTotal, packs.len() as u64);
        let (objects, deep) = (self.repo.objects.clone(), self.options.level >= 3);
        let chunks = Arc::new(Chunks::new(objects.clone(), self.index.clone(), 32 << 20));
        let threads = self.repo.world().threads();
        let mut checks = futures::stream::iter(packs)
            .map(|(id, len)| {
                let (objects, chunks) = (objects.clone(), chunks.clone());
                async move { (id, len, check_pack(objects, chunks, id, len, deep, threads).await) }
            })
            .buffer_unordered(PACKS_AT_ONCE);
        let mut bad = Vec::new();
        while let Some((id, len, checked)) = checks.next().await {
            self.watch.count(Counter::Packs, 1);
            self.report.packs += 1;
            self.report.read_bytes += len;
            match checked? {
                None => {}
                Some(damage) => bad.push((id, damage)),
            }
        }
        drop(checks);
        for (id, damage) in bad {
            self.lost.packs.insert(id);
            let chunks = damage.chunks.unwrap_or_else(|| self.chunks_of(&id));
            self.damage(id.key(), damage.what, chunks);
        }
        Ok(())
    }

    /// Level 4.
    async fn restore(&mut self) -> Result<()> {
        let wanted: Vec<SnapshotInfo> = self
            .snapshots
            .iter()
            .filter(|s| self.options.name.as_ref().is_none_or(|n| s.snapshot.name == *n))
            .cloned()
            .collect();
        for info in wanted {
            match self.repo.pull(&info, Box::new(std::io::sink()), self.watch.clone()).await {
                Ok(_) => {
                    self.report.restored += 1;
                    self.restored.push(info.id);
                }
                Err(e) if e.kind == ErrorKind::Damaged => {
                    let name = label(&info);
                    self.report.add(Severity::Damage, format!("snapshot {name}"), e);
                    if let Some(f) = self.report.findings.last_mut() {
                        f.snapshots.push(name);
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn damage(&mut self, subject: String, what: String, chunks: ShortIds) {
        self.report.add(Severity::Damage, subject, what);
        self.lost.by_finding.push((self.report.findings.len() - 1, chunks));
    }

    fn chunks_of(&self, id: &PackId) -> ShortIds {
        let of_pack = |pack: u32| self.index.pack(pack).id == *id;
        self.index.records().filter(|(_, l)| of_pack(l.pack)).map(|(short, _)| short).collect()
    }

    /// Tells, for each damage, which snapshots it touches: directly, or through a delta's base.
    async fn name_snapshots(&mut self) {
        let recipes = Recipes::new(&self.repo.objects, self.index.clone());
        let lost = std::mem::take(&mut self.lost);
        let sound = |pack: u32| !lost.packs.contains(&self.index.pack(pack).id);
        for (finding, mut chunks) in lost.by_finding {
            chunks.retain(|short| !self.index.find_short(short).any(|l| sound(l.pack)));
            let names = touched(&recipes, &self.index, &self.snapshots, chunks).await;
            if let Some(finding) = self.report.findings.get_mut(finding) {
                if names.is_empty() {
                    finding.severity = Severity::Warning;
                }
                finding.snapshots = names;
            }
        }
    }
}

/// Snapshots that need any of `chunks`, or a delta of one.
pub(crate) async fn touched(
    recipes: &Recipes,
    index: &Index,
    snapshots: &[SnapshotInfo],
    mut chunks: ShortIds,
) -> Vec<String> {
    let needs = |base: &ChunkId| chunks.contains(&base.short());
    let dependents: Vec<[u8; 16]> =
        index.records().filter(|(_, l)| l.base.as_ref().is_some_and(needs)).map(|(short, _)| short).collect();
    chunks.extend(dependents);
    let touched = recipes.touching(snapshots, &chunks).await;
    touched.into_iter().map(|n| label(&snapshots[n])).collect()
}

pub(crate) fn label(info: &SnapshotInfo) -> String {
    format!("{} {}", crate::push::printable(&info.snapshot.name), info.id)
}

/// Whether a pack is in part `part` of `of`; by its name, so that the same packs are in it every time.
fn in_slice(id: &PackId, part: u32, of: u32) -> bool {
    let number = u32::from_le_bytes(id.digest[..4].try_into().expect("20 bytes have four"));
    number % of.max(1) + 1 == part
}

/// What is wrong with a pack, and which chunks it costs; all of it if that is unknown.
pub(crate) struct PackDamage {
    pub(crate) what: String,
    pub(crate) chunks: Option<ShortIds>,
}

/// Reads a whole pack and checks it; `deep` opens and expands every record.
pub(crate) async fn check_pack(
    objects: crate::objects::Objects,
    chunks: Arc<Chunks>,
    id: PackId,
    len: u64,
    deep: bool,
    threads: usize,
) -> Result<Option<PackDamage>> {
    let object = match objects.store.get_range(&Key::new(id.key()), 0..len).await {
        Ok(object) => object,
        Err(e) => {
            let error = Error::store(format!("read {}", id.key()), e);
            let gone = error.kind == ErrorKind::Damaged;
            return if gone { Ok(Some(PackDamage { what: error.why, chunks: None })) } else { Err(error) };
        }
    };
    let keys = objects.keys.clone();
    let check = {
        let object = object.clone();
        move || pack::check_whole(&keys, &id, &object)
    };
    let directory = match on_cpu(threads, check).await? {
        Ok(directory) => directory,
        Err(damage) => return Ok(Some(PackDamage { what: damage.to_string(), chunks: None })),
    };
    if !deep {
        return Ok(None);
    }
    let whole = IndexedPack { id, object_len: len, directory: Arc::new(directory) };
    let bad = bad_records(&whole, &chunks).await;
    if bad.is_empty() {
        return Ok(None);
    }
    let what = format!("{} of its records do not give back their chunks", bad.len());
    Ok(Some(PackDamage { what, chunks: Some(bad) }))
}

/// The chunks of a pack whose records in this very pack are not sound.
pub(crate) async fn bad_records(pack: &IndexedPack, chunks: &Chunks) -> ShortIds {
    let mut bad = ShortIds::new();
    let mut opener = Opener::default();
    for (offset, row) in pack.directory.located() {
        let id = row.binding.id;
        let located = chunks
            .index()
            .find_all(&id)
            .find(|l| u64::from(l.offset) == offset && chunks.index().pack(l.pack).id == pack.id);
        let sound = match located {
            Some(location) => match chunks.fetch(id, location).await {
                Ok(sealed) => chunks.expand(sealed, &mut opener).is_ok(),
                Err(_) => false,
            },
            // Not in the index: its own finding. Nobody reads this record.
            None => true,
        };
        // Recipe pieces open with the metadata key, data only with a key to read: asked before.
        debug_assert!(row.binding.kind == ChunkKind::Recipe || row.key.is_some());
        if !sound {
            bad.insert(id.short());
        }
    }
    bad
}

async fn on_cpu<T: Send + 'static>(threads: usize, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    if threads == 0 {
        return Ok(work());
    }
    let run = tokio::task::spawn_blocking(work).await;
    run.map_err(|e| Error::new(ErrorKind::Retry, "run a check", e))
}
