//! Gives back space: plans which packs to condemn, and hands them to the sweep.
//!
//! Writers are never stopped. A run may end anywhere; the next goes on.

use crate::commit::{SESSIONS, SKETCHES, SNAPSHOTS, Session, session_of};
use crate::compact::compact;
use crate::error::Result;
use crate::live::{ShortIds, to_copy};
use crate::observe::{Observer, Silent};
use crate::repack::Repacker;
use crate::repository::Repository;
use crate::snapshots::{FORGOTTEN, MARKS};
use crate::sweep::{Sweeper, needed_bases};
use crate::trash::Half;
use crate::view::View;
use cistern_format::envelope::Kind;
use cistern_format::id::{PackId, SessionId, SnapshotId};
use cistern_format::keys::Role;
use cistern_format::sketch::SketchList;
use cistern_store::Key;
use serde::Serialize;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// How a prune goes about it.
#[derive(Clone, Debug)]
pub struct PruneOptions {
    /// How long condemned packs are kept before they are deleted, against regrets.
    pub grace: Duration,
    /// How long a session may show no sign of life before it is refused.
    pub session_timeout: Duration,
    /// Share of unused bytes that is left alone, in percent.
    pub unused_percent_max: u8,
    /// Bytes of live records copied in one run at most.
    pub repack_bytes_max: u64,
    /// Make deltas anew where that lets a base go that only they need; takes a credential that can read.
    pub rebase: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

impl Default for PruneOptions {
    fn default() -> PruneOptions {
        PruneOptions {
            grace: Duration::from_secs(24 * 3600),
            session_timeout: Duration::from_secs(2 * 3600),
            unused_percent_max: 10,
            repack_bytes_max: 64 << 30,
            rebase: true,
            dry_run: false,
        }
    }
}

/// What a prune did, or would do.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PruneReport {
    /// Nothing was changed.
    pub dry_run: bool,
    /// Packs there were, and their bytes.
    pub packs: u64,
    /// Bytes of all packs.
    pub pack_bytes: u64,
    /// Bytes no snapshot uses.
    pub unused_bytes: u64,
    /// Packs condemned by this run.
    pub condemned_packs: u64,
    /// Their bytes.
    pub condemned_bytes: u64,
    /// Bytes of records in use that had to move.
    pub copied_bytes: u64,
    /// Bases that no snapshot refers to, and no delta needs any more once the packs condemned now are gone.
    pub released_bases: u64,
    /// Deltas of theirs that were made anew.
    pub rebased_deltas: u64,
    /// Packs deleted by this run.
    pub deleted_packs: u64,
    /// Their bytes.
    pub freed_bytes: u64,
    /// Sessions without a sign of life that were refused.
    pub refused_sessions: Vec<SessionId>,
    /// What has to wait, and why.
    pub waiting: Vec<String>,
    /// Snapshot objects removed that had been forgotten.
    pub removed_snapshots: u64,
    /// Index objects before and after.
    pub index_objects: (u64, u64),
}

/// Packs to condemn, and what has to be copied out of them first.
pub(crate) struct PrunePlan {
    pub(crate) packs: Vec<PackId>,
    pub(crate) need: ShortIds,
    pub(crate) report: PruneReport,
}

impl Repository {
    /// Prunes: carries earlier condemned lists on, condemns what is not used, tidies up.
    pub async fn prune(&self, options: &PruneOptions, watch: Arc<dyn Observer>) -> Result<PruneReport> {
        self.require(Role::Maintain, "prune")?;
        if options.dry_run {
            return self.prune_preview(options).await;
        }
        let session = Session::register(&self.objects, "prune", "").await?;
        let now = self.store_time(&session).await?;
        let session = Arc::new(session);
        let sweeper = Sweeper { repo: self, session: session.clone(), now, options, watch };
        let pruned = self.prune_with(&sweeper).await;
        drop(sweeper);
        // What this run copied is in the index; the session itself must not keep others waiting.
        session.end().await;
        pruned
    }

    /// The time by the store's clock, as of a session's registration.
    pub(crate) async fn store_time(&self, session: &Session) -> Result<std::time::SystemTime> {
        let key = Key::new(format!("{SESSIONS}{}", session.id()));
        let doing = "ask the store for the time";
        match self.objects.store.head(&key).await {
            Ok(entry) => Ok(entry.modified),
            // It stood still between two operations for longer than sessions may.
            Err(e) if e.kind == cistern_store::ErrorKind::NotFound => {
                let why = "another prune took this one for dead and went on without it; run it again";
                Err(crate::Error::new(crate::ErrorKind::Retry, doing, why))
            }
            Err(e) => Err(crate::Error::store(doing, e)),
        }
    }

    async fn prune_preview(&self, options: &PruneOptions) -> Result<PruneReport> {
        let session = Arc::new(Session::unregistered(&self.objects));
        let (now, watch) = (std::time::SystemTime::UNIX_EPOCH, Arc::new(Silent));
        let looker = Sweeper { repo: self, session, now, options, watch };
        let writers = self.undecided(None).await?.into_iter().collect();
        let rebased = self.rebase(&looker, &writers).await?;
        let view = self.objects.view().await?;
        let plan = self.prune_plan(&view, &writers, options, &HashSet::new()).await?;
        let (released_bases, rebased_deltas) = (rebased.bases, rebased.deltas);
        Ok(PruneReport { dry_run: true, released_bases, rebased_deltas, ..plan.report })
    }

    async fn prune_with(&self, sweeper: &Sweeper<'_>) -> Result<PruneReport> {
        let mut done = PruneReport::default();
        let writers = sweeper.refuse_the_silent(&mut done).await?;
        let lists = self.objects.trash().await?;
        // Before anything is changed: what a damaged list named must be known.
        lists.iter().try_for_each(|list| list.known_packs().map(drop))?;
        for list in lists.iter().filter(|list| !matches!(list.list, Half::Absent)) {
            sweeper.carry_on(list, &mut done).await?;
        }
        let rebased = self.rebase(sweeper, &writers).await?;
        (done.released_bases, done.rebased_deltas) = (rebased.bases, rebased.deltas);
        let view = self.objects.view().await?;
        let plan = self.prune_plan(&view, &writers, sweeper.options, &rebased.packs).await?;
        done.packs = plan.report.packs;
        done.pack_bytes = plan.report.pack_bytes;
        done.unused_bytes = plan.report.unused_bytes;
        if !plan.packs.is_empty() {
            done.condemned_packs = plan.report.condemned_packs;
            done.condemned_bytes = plan.report.condemned_bytes;
            done.copied_bytes += self.copy_out(sweeper, &view, &plan).await?;
            let list = sweeper.condemn(plan.packs).await?;
            sweeper.carry_on(&list, &mut done).await?;
        }
        done.index_objects = compact(&self.objects).await?;
        self.tidy(&mut done).await?;
        Ok(done)
    }

    /// Which packs are not worth their space, and those that shall `go` anyway.
    pub(crate) async fn prune_plan(
        &self,
        view: &View,
        writers: &HashSet<SessionId>,
        options: &PruneOptions,
        go: &HashSet<PackId>,
    ) -> Result<PrunePlan> {
        view.require_whole()?;
        let live = self.live(view).await?;
        let usage = usage(view, &live.chunks, go);
        let mut report = PruneReport {
            packs: view.listed.len() as u64,
            pack_bytes: view.listed.values().map(|l| l.object_len).sum(),
            ..PruneReport::default()
        };
        let free = |id: &PackId| !writers.contains(&id.session);
        let mut packs: Vec<u32> = Vec::new();
        let mut partly: Vec<(u32, u64, u64)> = Vec::new();
        for (number, info) in view.index.packs().iter().enumerate().filter(|(_, i)| free(&i.id)) {
            let (used, dead) = usage[number];
            report.unused_bytes += info.object_len.saturating_sub(used.max(1));
            match used {
                0 => packs.push(number as u32),
                _ => partly.push((number as u32, used, dead)),
            }
        }
        choose_partly_used(&mut packs, partly, report.pack_bytes, options);
        let chosen: HashSet<u32> = packs.iter().copied().collect();
        let need = to_copy(&live, &view.index, |pack| !chosen.contains(&pack));
        let mut condemned: Vec<PackId> = packs.iter().map(|n| view.index.pack(*n).id).collect();
        condemned.extend(view.orphans.iter().filter(|id| free(id)));
        report.condemned_packs = condemned.len() as u64;
        report.condemned_bytes = condemned.iter().map(|id| view.listed[id].object_len).sum();
        Ok(PrunePlan { packs: condemned, need, report })
    }

    /// Copies what is needed out of the packs of a plan, so that nothing is missing at any moment.
    pub(crate) async fn copy_out(&self, sweeper: &Sweeper<'_>, view: &View, plan: &PrunePlan) -> Result<u64> {
        if plan.need.is_empty() {
            return Ok(0);
        }
        let directories = self.read_directories(&plan.packs, &view.listed).await;
        let mut need = plan.need.clone();
        let bases = needed_bases(&directories, view, &mut need);
        let (session, watch) = (sweeper.session.clone(), sweeper.watch.clone());
        let mut repacker = Repacker::new(&self.objects, session, self.config.pack_bytes, watch);
        // What could not be copied stays needed: the sweep looks again and spares its pack.
        let going: HashSet<PackId> = plan.packs.iter().copied().collect();
        let stays = |base: &[u8; 16]| view.index.holds_whole_outside(base, &going);
        repacker.copy(&directories, &need, &bases, &stays).await?;
        repacker.finish().await
    }

    /// Removes what decided or forgotten things leave behind.
    async fn tidy(&self, report: &mut PruneReport) -> Result<()> {
        let objects = &self.objects;
        let decided = self.decided().await?;
        for entry in objects.list(SESSIONS).await? {
            if session_of(entry.key.name()).is_some_and(|id| decided.contains(&id)) {
                objects.delete(entry.key.as_str()).await?;
            }
        }
        // The marker stays: should the writer's commit arrive only now, it finds itself forgotten.
        let forgotten: HashSet<SnapshotId> =
            objects.list(FORGOTTEN).await?.iter().filter_map(|e| e.key.name().parse().ok()).collect();
        for id in forgotten.iter().filter(|id| decided.contains(id)) {
            if objects.delete(&format!("{SNAPSHOTS}{id}")).await.is_ok() {
                report.removed_snapshots += 1;
            }
        }
        for entry in objects.list(MARKS).await? {
            let of = entry.key.name().split_once('.').and_then(|(id, _)| id.parse().ok());
            if of.is_some_and(|id| forgotten.contains(&id)) {
                objects.delete(entry.key.as_str()).await?;
            }
        }
        self.tidy_queues().await?;
        self.tidy_sketches().await
    }

    /// Sketches of chunks that are all gone help nobody.
    async fn tidy_sketches(&self) -> Result<()> {
        let entries = self.objects.list(SKETCHES).await?;
        let view = self.objects.view().await?;
        for entry in entries {
            let Ok(body) = self.objects.get(Kind::Sketches, entry.key.as_str()).await else { continue };
            let Ok(list) = SketchList::decode(&body) else { continue };
            if !list.sketches.iter().any(|(id, _)| view.index.has(id)) {
                self.objects.delete(entry.key.as_str()).await?;
            }
        }
        Ok(())
    }
}

/// Bytes of each pack's records that are in use, and that are not; of several records of a chunk the
/// first counts that is not in a pack that will `go`. Padding, directory and trailer are left out: no moving
/// could save them.
pub(crate) fn usage(view: &View, live: &ShortIds, go: &HashSet<PackId>) -> Vec<(u64, u64)> {
    let mut usage = vec![(0u64, 0u64); view.index.packs().len()];
    let mut last = None;
    for (short, location) in view.index.records() {
        let (used, dead) = &mut usage[location.pack as usize];
        if go.contains(&view.index.pack(location.pack).id) {
            *dead += u64::from(location.record_len);
            continue;
        }
        let is_used = live.contains(&short) && last != Some(short);
        *(if is_used { used } else { dead }) += u64::from(location.record_len);
        last = Some(short);
    }
    usage
}

/// Adds packs that are partly unused, the emptiest first, until little enough is unused.
fn choose_partly_used(
    packs: &mut Vec<u32>,
    mut partly: Vec<(u32, u64, u64)>,
    pack_bytes: u64,
    options: &PruneOptions,
) {
    // For less it is not worth writing the rest anew.
    partly.retain(|(_, used, unused)| *unused * 8 > *used);
    partly
        .sort_by_key(|(number, used, unused)| (std::cmp::Reverse(*unused * 1000 / (used + unused)), *number));
    let mut unused: u64 = partly.iter().map(|p| p.2).sum();
    let (allowed, mut copied) = (pack_bytes * u64::from(options.unused_percent_max) / 100, 0);
    for (number, used, waste) in partly {
        if unused <= allowed || copied + used > options.repack_bytes_max {
            return;
        }
        packs.push(number);
        unused -= waste;
        copied += used;
    }
}
