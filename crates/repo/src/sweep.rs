//! Takes condemned packs away: wait for those who may rely on them, look again, then delete.
//!
//! # Expected flow
//! 1. [`Sweeper::condemn`] writes the list: from now on nobody who looks relies on these packs.
//! 2. The sessions under way are listed *after* the list is there, and written down: anyone who
//!    registered later saw the list.
//! 3. The list must still be there: `repair` may have taken it back (see `trash`). Each session is decided:
//!    it committed, or it shows no sign of life and is refused.
//! 4. Trash, packs and index are read again, snapshots after that; what a snapshot needs and only
//!    condemned packs hold is copied.
//! 5. The packs are deleted, then the list, then the queue.
//!
//! # Guarantees
//! No snapshot loses a chunk, whoever pushes, prunes or stalls meanwhile: nothing here depends on a
//! clock but how soon a silent session is refused. A list is never taken back.
//!
//! # If it crashes here
//! The list stands, and any later prune goes on from it.

use crate::commit::{SESSIONS, SNAPSHOTS, Session, session_of};
use crate::error::{Error, ErrorKind, Result};
use crate::live::{Live, Recipes, ShortIds, unresolvable};
use crate::observe::{Counter, Observer};
use crate::prune::{PruneOptions, PruneReport};
use crate::repack::Repacker;
use crate::repository::Repository;
use crate::trash::TrashList;
use crate::view::View;
use cistern_format::codec::Codec;
use cistern_format::envelope::Kind;
use cistern_format::id::{PackId, SessionId};
use cistern_format::object::{TrashQueue, from_cbor, to_cbor};
use cistern_format::segment::IndexedPack;
use cistern_format::snapshot::Tombstone;
use cistern_store::Key;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A session is refused at this age even if it shows signs of life: writers give up by then.
const SESSION_AGE_MAX: Duration = Duration::from_secs(8 * 24 * 3600);

/// One prune's hands: its session, the time by the store's clock, its report.
pub(crate) struct Sweeper<'r> {
    pub(crate) repo: &'r Repository,
    pub(crate) session: Arc<Session>,
    pub(crate) now: SystemTime,
    pub(crate) options: &'r PruneOptions,
    pub(crate) watch: Arc<dyn Observer>,
}

impl Sweeper<'_> {
    /// Condemns packs; durable when it returns.
    pub(crate) async fn condemn(&self, packs: Vec<PackId>) -> Result<TrashList> {
        self.repo.objects.condemn(packs, self.now).await
    }

    /// Carries one list as far as it goes today.
    pub(crate) async fn carry_on(&self, list: &TrashList, report: &mut PruneReport) -> Result<()> {
        let Some(queue) = self.queue(list).await? else { return Ok(()) };
        let packs = match queue.packs {
            Some(packs) => packs,
            None => list.known_packs()?.to_vec(),
        };
        let undecided = self.decide(&queue.sessions, report).await?;
        if let Some(session) = undecided.first() {
            let why =
                format!("{} pushes are under way that may use them, such as {session}", undecided.len());
            report.waiting.push(format!("{} packs: {why}", packs.len()));
            return Ok(());
        }
        let age = self.now.duration_since(list.modified).unwrap_or_default();
        if age < self.options.grace {
            let left = humane(self.options.grace - age);
            report.waiting.push(format!("{} packs: kept for another {left} in case of regrets", packs.len()));
            return Ok(());
        }
        self.delete(list, &packs, report).await
    }

    /// The sessions to wait for and the packs, written down by whichever prune came first; `None` if
    /// another prune has finished with the list meanwhile, or a repair took it back.
    async fn queue(&self, list: &TrashList) -> Result<Option<TrashQueue>> {
        let objects = &self.repo.objects;
        let key = list.queue_key();
        if !list.has_queue() {
            let packs = Some(list.known_packs()?.to_vec());
            tokio::time::sleep(self.repo.listing_lag()).await;
            let sessions = self.repo.undecided(Some(self.session.id())).await?;
            let put = objects.put(Kind::Trash, &key, &to_cbor(&TrashQueue { sessions, packs })).await;
            match put {
                Ok(_) => {}
                Err(e) if e.kind == cistern_store::ErrorKind::Exists => {}
                Err(e) => return Err(Error::store("list the sessions to wait for", e)),
            }
        }
        let advise = |e: Error| match e.kind {
            ErrorKind::Damaged => Error::new(e.kind, e.doing, format!("{}; run `cistern repair`", e.why)),
            _ => e,
        };
        let Some(body) = objects.find(Kind::Trash, &key).await.map_err(advise)? else { return Ok(None) };
        let queue = from_cbor("trash list", &body);
        let queue = queue.map_err(|d| advise(Error::damage(format!("read {key}"), d)))?;
        // Only now, with the queue there: whoever takes a list back does it the other way round.
        match objects.store.head(&Key::new(list.key.clone())).await {
            Ok(_) => Ok(Some(queue)),
            Err(e) if e.kind == cistern_store::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::store(format!("look for {}", list.key), e)),
        }
    }

    /// Refuses the sessions of `queue` that show no sign of life; returns those still under way.
    async fn decide(&self, queue: &[SessionId], report: &mut PruneReport) -> Result<Vec<SessionId>> {
        let decided = self.repo.decided().await?;
        let open: Vec<SessionId> = queue.iter().filter(|s| !decided.contains(s)).copied().collect();
        if open.is_empty() {
            return Ok(open);
        }
        let signs = self.signs_of_life(&open).await?;
        let mut alive = Vec::new();
        for session in open {
            // A session whose registration is gone and which is not decided never was one, or ended
            // without a snapshot; refusing it costs nothing.
            let stale = match signs.get(&session) {
                Some((first, last)) => {
                    let since = |t: SystemTime| self.now.duration_since(t).unwrap_or_default();
                    since(*last) >= self.options.session_timeout || since(*first) > SESSION_AGE_MAX
                }
                None => true,
            };
            if stale { self.refuse(session, report).await? } else { alive.push(session) }
        }
        Ok(alive)
    }

    /// First and last time each session wrote anything, by the store's clock.
    async fn signs_of_life(
        &self,
        sessions: &[SessionId],
    ) -> Result<HashMap<SessionId, (SystemTime, SystemTime)>> {
        let objects = &self.repo.objects;
        let mut signs: HashMap<SessionId, (SystemTime, SystemTime)> = HashMap::new();
        for entry in objects.list(SESSIONS).await? {
            if let Some(id) = session_of(entry.key.name()).filter(|id| sessions.contains(id)) {
                let (first, last) = signs.entry(id).or_insert((entry.modified, entry.modified));
                *first = (*first).min(entry.modified);
                *last = (*last).max(entry.modified);
            }
        }
        for (pack, listed) in objects.list_packs().await? {
            if let Some((_, last)) = signs.get_mut(&pack.session) {
                *last = (*last).max(listed.modified);
            }
        }
        Ok(signs)
    }

    /// Decides a session against its writer; if the writer was faster, that is fine too.
    async fn refuse(&self, session: SessionId, report: &mut PruneReport) -> Result<()> {
        let reason = "a prune found it without any sign of life and went on without it".to_owned();
        let tombstone = Tombstone { reason, at_ms: self.repo.world().now_ms() };
        let key = format!("{SNAPSHOTS}{session}");
        match self.repo.objects.put(Kind::Tombstone, &key, &to_cbor(&tombstone)).await {
            Ok(_) => report.refused_sessions.push(session),
            Err(e) if e.kind == cistern_store::ErrorKind::Exists => {}
            Err(e) => return Err(Error::store(format!("refuse session {session}"), e)),
        }
        Ok(())
    }

    /// Refuses every session that is silent for too long, so that what it left can be cleaned up.
    pub(crate) async fn refuse_the_silent(&self, report: &mut PruneReport) -> Result<HashSet<SessionId>> {
        let open = self.repo.undecided(Some(self.session.id())).await?;
        Ok(self.decide(&open, report).await?.into_iter().collect())
    }

    /// Steps 4 and 5.
    async fn delete(&self, list: &TrashList, packs: &[PackId], report: &mut PruneReport) -> Result<()> {
        let objects = &self.repo.objects;
        let view = objects.view().await?;
        let live = self.repo.live(&view).await?;
        let there: Vec<PackId> = packs.iter().filter(|p| view.listed.contains_key(p)).copied().collect();
        let spared = self.rescue(&there, &view, &live, report).await?;
        let mut left = spared.len();
        self.watch.count(Counter::PacksTotal, (there.len() - left) as u64);
        for pack in there.iter().filter(|p| !spared.contains(p)) {
            match objects.store.delete(&Key::new(pack.key())).await {
                Ok(()) => {
                    report.deleted_packs += 1;
                    report.freed_bytes += view.listed[pack].object_len;
                    self.watch.count(Counter::Packs, 1);
                }
                Err(e) if e.kind == cistern_store::ErrorKind::Denied => left += 1,
                Err(e) => return Err(Error::store(format!("delete {}", pack.key()), e)),
            }
        }
        if left > 0 {
            let why =
                "the store does not let go of them (object lock?), or they are damaged and still needed";
            report.waiting.push(format!("{left} packs: {why}"));
            return Ok(());
        }
        objects.remove_trash(list).await
    }

    /// Copies what snapshots need and only these packs hold. Returns packs that must not go: they
    /// hold something needed that cannot be copied.
    async fn rescue(
        &self,
        packs: &[PackId],
        view: &View,
        live: &Live,
        report: &mut PruneReport,
    ) -> Result<HashSet<PackId>> {
        let mut need = unresolvable(live, &view.index, |_| true);
        if need.is_empty() {
            return Ok(HashSet::new());
        }
        let directories = self.repo.read_directories(packs, &view.listed).await;
        let unreadable = || packs.iter().filter(|p| !directories.iter().any(|d| d.id == **p)).copied();
        let mut bases = needed_bases(&directories, view, &mut need);
        bases.extend(live.bases.iter());
        let held: ShortIds =
            directories.iter().flat_map(|d| d.directory.rows.iter().map(|r| r.binding.id.short())).collect();
        need.retain(|short| held.contains(short));
        let pack_bytes = self.repo.config.pack_bytes;
        let mut repacker =
            Repacker::new(&self.repo.objects, self.session.clone(), pack_bytes, self.watch.clone());
        let missing =
            repacker.copy(&directories, &need, &bases, &|base| view.index.holds_whole(base)).await?;
        report.copied_bytes += repacker.finish().await?;
        let holds_missing =
            |d: &&IndexedPack| d.directory.rows.iter().any(|r| missing.contains(&r.binding.id.short()));
        Ok(directories.iter().filter(holds_missing).map(|d| d.id).chain(unreadable()).collect())
    }
}

/// The bases that deltas about to be copied, or kept, need whole; those not there are added to `need`.
pub(crate) fn needed_bases(directories: &[IndexedPack], view: &View, need: &mut ShortIds) -> ShortIds {
    let mut bases: ShortIds = view.index.records().filter_map(|(_, l)| l.base.map(|b| b.short())).collect();
    for row in directories.iter().flat_map(|d| &d.directory.rows) {
        if let Some(base) = row.binding.base
            && need.contains(&row.binding.id.short())
        {
            bases.insert(base.short());
            if !view.index.find_all(&base).any(|l| l.codec != Codec::Delta) {
                need.insert(base.short());
            }
        }
    }
    bases
}

impl Repository {
    /// Sessions that registered and are not decided, but for the caller's own.
    pub(crate) async fn undecided(&self, own: Option<SessionId>) -> Result<Vec<SessionId>> {
        let sessions: HashSet<SessionId> =
            self.objects.list(SESSIONS).await?.iter().filter_map(|e| session_of(e.key.name())).collect();
        // Listed after: a session decided in between is not waited for.
        let decided = self.decided().await?;
        Ok(sessions.into_iter().filter(|s| Some(*s) != own && !decided.contains(s)).collect())
    }

    /// Sessions that committed or were refused.
    pub(crate) async fn decided(&self) -> Result<HashSet<SessionId>> {
        let entries = self.objects.list(SNAPSHOTS).await?;
        Ok(entries.iter().filter_map(|e| e.key.name().parse().ok()).collect())
    }

    /// Every chunk that live snapshots need, bases included.
    pub(crate) async fn live(&self, view: &View) -> Result<Live> {
        // Snapshots after the view: what committed meanwhile must be seen.
        let snapshots = self.objects.committed().await?;
        // Recipes may lie in condemned packs, which are there until we delete them.
        let readable = Arc::new(self.read_index_and_orphans().await?);
        let live =
            Recipes::new(&self.objects, readable.clone()).referenced(&snapshots).await.map_err(|e| {
                let hint = match e.kind {
                    ErrorKind::Damaged => "nothing was deleted; `cistern verify` and `cistern repair` help",
                    _ => "nothing was deleted; run it again",
                };
                Error::new(e.kind, "find out what is in use", format!("{e}; {hint}"))
            })?;
        Ok(Live::new(live, &view.index, &readable))
    }
}

fn humane(time: Duration) -> String {
    let minutes = time.as_secs().div_ceil(60);
    if minutes >= 120 { format!("{} hours", minutes.div_ceil(60)) } else { format!("{minutes} minutes") }
}
