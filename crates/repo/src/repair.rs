//! Mends what can be mended: the index from packs, packs from their sound records; names what is lost.
//!
//! No data is deleted here. Damaged packs are condemned, so that no push relies on them and the next
//! push of the same data stores their chunks again; a prune deletes them once nothing needs them.

use crate::chunks::Chunks;
use crate::commit::Session;
use crate::error::Result;
use crate::live::{Recipes, ShortIds};
use crate::observe::{Counter, Observer};
use crate::prune::PruneOptions;
use crate::repack::Repacker;
use crate::repository::Repository;
use crate::sweep::Sweeper;
use crate::verify::{Finding, PackDamage, Severity, VerifyOptions, check_pack, touched};
use crate::view::{INDEX, View};
use cistern_format::envelope::Kind;
use cistern_format::id::PackId;
use cistern_format::keys::Role;
use cistern_format::segment::IndexedPack;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Arc;

/// How to go about a repair.
#[derive(Clone, Debug, Default)]
pub struct RepairOptions {
    /// Read every pack to find the damaged ones; otherwise only their directories are looked at.
    pub read_data: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Forget snapshots that cannot be restored any more.
    pub forget_broken: bool,
}

/// What a repair did, or would do.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RepairReport {
    /// Nothing was changed.
    pub dry_run: bool,
    /// What was mended, in words.
    pub done: Vec<String>,
    /// What cannot be mended here, with the snapshots it touches. Pushing the same data again heals it.
    pub lost: Vec<Finding>,
}

impl Repository {
    /// Mends the repository.
    pub async fn repair(&self, options: &RepairOptions, watch: Arc<dyn Observer>) -> Result<RepairReport> {
        self.require(Role::Maintain, "repair")?;
        let mut report = RepairReport { dry_run: options.dry_run, ..RepairReport::default() };
        // First, so that what is condemned is known.
        report.done.extend(self.mend_trash(options.dry_run).await?);
        report.done.extend(self.mend_objects(options.dry_run).await?);
        self.repair_index(options, &mut report).await?;
        self.repair_packs(options, &watch, &mut report).await?;
        let verify = VerifyOptions { level: 1, ..VerifyOptions::default() };
        let found = self.verify(&verify, watch).await?;
        report.lost.extend(found.findings.into_iter().filter(|f| f.severity == Severity::Damage));
        if options.forget_broken {
            self.forget_broken(options, &mut report).await?;
        }
        Ok(report)
    }

    /// Writes index objects for packs that none names rightly, then removes the damaged ones.
    async fn repair_index(&self, options: &RepairOptions, report: &mut RepairReport) -> Result<()> {
        let view = self.objects.view().await?;
        let unnamed = self.read_directories(&view.orphans, &view.listed).await;
        if !unnamed.is_empty() {
            report.done.push(format!("wrote {} packs into the index that it did not name", unnamed.len()));
            if !options.dry_run {
                let session = Session::register(&self.objects, "repair", "").await?;
                session.adopt(unnamed);
                session.write_index().await?;
                session.end().await;
            }
        }
        self.correct_index(&view, options, report).await?;
        for key in &view.damaged {
            report.done.push(format!("removed the damaged index object {key}"));
            if !options.dry_run {
                self.objects.delete(key.as_str()).await?;
            }
        }
        Ok(())
    }

    /// Writes index objects anew that say of a pack what the pack does not say of itself.
    async fn correct_index(
        &self,
        view: &View,
        options: &RepairOptions,
        report: &mut RepairReport,
    ) -> Result<()> {
        let packs: Vec<PackId> = view.index.packs().iter().map(|p| p.id).collect();
        let own = self.read_directories(&packs, &view.listed).await;
        let own: HashMap<PackId, IndexedPack> = own.into_iter().map(|p| (p.id, p)).collect();
        let is_wrong = |pack: &IndexedPack| own.get(&pack.id).is_some_and(|o| o.directory != pack.directory);
        for entry in self.objects.list(INDEX).await? {
            let key = entry.key.as_str();
            let Ok(Some(body)) = self.objects.find(Kind::Index, key).await else { continue };
            let Ok(packs) = self.objects.decode_segment(&body) else { continue };
            let wrong = packs.iter().filter(|p| is_wrong(p)).count();
            if wrong == 0 {
                continue;
            }
            report.done.push(format!("wrote {key} anew, which was wrong about {wrong} packs"));
            if options.dry_run {
                continue;
            }
            let right = packs.into_iter().map(|p| own.get(&p.id).cloned().unwrap_or(p)).collect();
            let session = Session::register(&self.objects, "repair", "").await?;
            session.adopt(right);
            session.write_index().await?;
            session.end().await;
            self.objects.delete(key).await?;
        }
        Ok(())
    }

    /// Copies the sound records out of damaged packs and condemns the packs.
    async fn repair_packs(
        &self,
        options: &RepairOptions,
        watch: &Arc<dyn Observer>,
        report: &mut RepairReport,
    ) -> Result<()> {
        let view = self.objects.view().await?;
        let damaged = self.damaged_packs(&view, options, &**watch).await?;
        if damaged.is_empty() {
            return Ok(());
        }
        let n = damaged.len();
        report.done.push(format!("condemned {n} damaged packs after copying what is sound in them"));
        if options.dry_run {
            return Ok(());
        }
        let session = Session::register(&self.objects, "repair", "").await?;
        let now = self.store_time(&session).await?;
        let session = Arc::new(session);
        let lost = self.salvage(&view, &damaged, session.clone(), watch.clone()).await?;
        self.tell_lost(lost, report).await?;
        let prune = PruneOptions::default();
        let sweeper =
            Sweeper { repo: self, session: session.clone(), now, options: &prune, watch: watch.clone() };
        sweeper.condemn(damaged).await?;
        session.end().await;
        Ok(())
    }

    async fn damaged_packs(
        &self,
        view: &View,
        options: &RepairOptions,
        watch: &dyn Observer,
    ) -> Result<Vec<PackId>> {
        let index = Arc::new(self.read_index_and_orphans().await?);
        let chunks = Arc::new(Chunks::new(self.objects.clone(), index, 32 << 20));
        let mut damaged = Vec::new();
        let candidates = || view.listed.iter().filter(|(id, _)| !view.condemned.contains(id));
        watch.count(Counter::PacksTotal, candidates().count() as u64);
        for (id, listed) in candidates() {
            watch.count(Counter::Packs, 1);
            let deep = options.read_data && self.keys().can_read();
            let bad = if options.read_data {
                let (objects, threads) = (self.objects.clone(), self.world().threads());
                check_pack(objects, chunks.clone(), *id, listed.object_len, deep, threads).await?
            } else {
                match self.objects.directory(*id, listed.object_len).await {
                    Err(e) if e.kind == crate::ErrorKind::Damaged => {
                        Some(PackDamage { what: e.why, chunks: None })
                    }
                    Err(e) => return Err(e),
                    Ok(_) => None,
                }
            };
            if bad.is_some() {
                damaged.push(*id);
            }
        }
        damaged.sort_unstable();
        Ok(damaged)
    }

    /// Copies records that open rightly. What the directory cannot tell any more, the index may.
    async fn salvage(
        &self,
        view: &View,
        damaged: &[PackId],
        session: Arc<Session>,
        watch: Arc<dyn Observer>,
    ) -> Result<ShortIds> {
        let known = self.indexed_packs(damaged).await?;
        let mut lost = ShortIds::new();
        let chunks =
            Chunks::new(self.objects.clone(), Arc::new(self.read_index_and_orphans().await?), 32 << 20);
        let mut repacker = Repacker::new(&self.objects, session, self.config.pack_bytes, watch).salvaging();
        for pack in &known {
            let bad = if self.keys().can_read() {
                crate::verify::bad_records(pack, &chunks).await
            } else {
                // Without a key to data nothing tells a sound record from another: readers will.
                ShortIds::new()
            };
            let only_here = |short: &[u8; 16]| !self.held_elsewhere(view, short, damaged);
            let ids = pack.directory.rows.iter().map(|r| r.binding.id.short());
            let need: ShortIds = ids.filter(|short| !bad.contains(short) && only_here(short)).collect();
            lost.extend(repacker.copy(std::slice::from_ref(pack), &need, &ShortIds::new(), &|_| true).await?);
            lost.extend(bad.into_iter().filter(only_here));
        }
        repacker.finish().await?;
        Ok(lost)
    }

    /// Names the snapshots that need chunks no sound record is left of.
    async fn tell_lost(&self, lost: ShortIds, report: &mut RepairReport) -> Result<()> {
        if lost.is_empty() {
            return Ok(());
        }
        let index = Arc::new(self.read_index_and_orphans().await?);
        let recipes = Recipes::new(&self.objects, index.clone());
        let what = format!(
            "{} chunks are damaged and stored nowhere else; pushing the same data again heals them",
            lost.len()
        );
        let snapshots = touched(&recipes, &index, &self.snapshots().await?, lost).await;
        report.lost.push(Finding {
            severity: Severity::Damage,
            subject: "chunks".to_owned(),
            what,
            snapshots,
        });
        Ok(())
    }

    fn held_elsewhere(&self, view: &View, short: &[u8; 16], damaged: &[PackId]) -> bool {
        view.index.find_short(short).any(|l| !damaged.contains(&view.index.pack(l.pack).id))
    }

    /// What the index, or else the packs themselves, say of these packs.
    async fn indexed_packs(&self, ids: &[PackId]) -> Result<Vec<IndexedPack>> {
        let segments = self.objects.list(INDEX).await?;
        let mut found: Vec<IndexedPack> = Vec::new();
        for entry in &segments {
            let Ok(Some(body)) = self.objects.find(Kind::Index, entry.key.as_str()).await else {
                continue;
            };
            let packs = self.objects.decode_segment(&body)?;
            found.extend(packs.into_iter().filter(|p| ids.contains(&p.id)));
        }
        found.sort_by_key(|p| p.id);
        found.dedup_by_key(|p| p.id);
        Ok(found)
    }

    async fn forget_broken(&self, options: &RepairOptions, report: &mut RepairReport) -> Result<()> {
        let mut broken: Vec<String> = report.lost.iter().flat_map(|f| f.snapshots.iter().cloned()).collect();
        broken.sort();
        broken.dedup();
        for name in broken {
            let id = name.rsplit(' ').next().and_then(|id| id.parse().ok());
            let Some(id) = id else { continue };
            report.done.push(format!("forgot {name}, which cannot be restored"));
            if !options.dry_run {
                self.mark_forgotten(id, "it could not be restored any more").await?;
            }
        }
        Ok(())
    }
}
