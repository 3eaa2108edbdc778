//! List and find snapshots: the newest of a name, one at a time of day, one by the end of its id.

use crate::commit::SNAPSHOTS;
use crate::error::{Error, ErrorKind, Result};
use crate::objects::{FETCHES_MAX, Objects};
use crate::repository::Repository;
use cistern_format::envelope::{self, Kind};
use cistern_format::id::SnapshotId;
use cistern_format::object::{Mark, from_cbor, to_cbor};
use cistern_format::snapshot::Snapshot;
use cistern_store::Entry;
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::SystemTime;

pub(crate) const FORGOTTEN: &str = "forgotten/";
pub(crate) const MARKS: &str = "marks/";
/// How far back the predecessors of a name are looked for at push, in snapshots of all names.
const LOOK_BACK: usize = 300;

/// A snapshot and what was said of it since.
#[derive(Clone, Debug, Serialize)]
pub struct SnapshotInfo {
    /// Its id.
    pub id: SnapshotId,
    /// When the store says it was committed, milliseconds since 1970; for a copy, its original.
    pub committed_ms: u64,
    /// BLAKE3 of the stored object: the receipt.
    #[serde(with = "hex::serde")]
    pub receipt: [u8; 32],
    /// Tags now: those given at push and since, minus those taken away.
    pub tags: BTreeSet<String>,
    /// Holds now: name and reason. A held snapshot is not forgotten.
    pub holds: BTreeMap<String, String>,
    /// What the push wrote.
    #[serde(flatten)]
    pub snapshot: Snapshot,
}

impl SnapshotInfo {
    /// Whether it may count as a good one: complete as far as anyone knows, and not suspiciously small.
    pub fn is_good(&self) -> bool {
        self.snapshot.suspect.is_none() && self.snapshot.content.completeness != "truncated"
    }
}

impl Objects {
    /// Ids that are decided, and not forgotten, oldest first. Tombstones are still among them.
    async fn decided(&self) -> Result<Vec<Entry>> {
        let entries = self.list(SNAPSHOTS).await?;
        let forgotten = self.list(FORGOTTEN).await?;
        let forgotten: HashSet<&str> = forgotten.iter().map(|e| e.key.name()).collect();
        let mut live: Vec<Entry> =
            entries.into_iter().filter(|e| !forgotten.contains(e.key.name())).collect();
        live.retain(|e| e.key.name().parse::<SnapshotId>().is_ok());
        Ok(live)
    }

    async fn read_snapshot(&self, entry: &Entry) -> Result<Option<SnapshotInfo>> {
        let key = entry.key.as_str();
        let object = match self.store.get(&entry.key, 64 << 20).await {
            Ok(object) => object,
            Err(e) if e.kind == cistern_store::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::store(format!("read {key}"), e)),
        };
        if envelope::kind_of(&object) == Some(Kind::Tombstone) {
            // Opened all the same: a forged tombstone must not hide a snapshot.
            self.open(Kind::Tombstone, key, &object)?;
            return Ok(None);
        }
        let body = self.open(Kind::Snapshot, key, &object)?;
        let snapshot = Snapshot::decode(&body).map_err(|d| Error::damage(format!("read {key}"), d))?;
        let id = entry.key.name().parse().expect("filtered by decided()");
        Ok(Some(SnapshotInfo {
            id,
            committed_ms: snapshot.copied_from.map_or(since_epoch_ms(entry.modified), |(_, ms)| ms),
            receipt: *blake3::hash(&object).as_bytes(),
            tags: snapshot.tags.iter().cloned().collect(),
            holds: BTreeMap::new(),
            snapshot,
        }))
    }

    /// All snapshots, oldest first, with their tags and holds.
    ///
    /// A snapshot that cannot be read is an error here; `verify` names it, `repair` removes it.
    pub(crate) async fn snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        let mut found = self.committed().await?;
        self.apply_marks(&mut found, true).await?;
        Ok(found)
    }

    /// All snapshots, oldest first, as they were pushed.
    pub(crate) async fn committed(&self) -> Result<Vec<SnapshotInfo>> {
        let entries = self.decided().await?;
        futures::stream::iter(entries)
            .map(|entry| async move { self.read_snapshot(&entry).await })
            .buffered(FETCHES_MAX)
            .try_filter_map(|s| async move { Ok(s) })
            .try_collect()
            .await
    }

    /// The snapshots that can be read, oldest first, and the ids of those that cannot: one that is
    /// damaged must not keep the others from being restored.
    async fn readable(&self) -> Result<(Vec<SnapshotInfo>, Vec<SnapshotId>)> {
        let (mut found, mut unreadable) = (Vec::new(), Vec::new());
        for (id, read) in self.snapshots_or_damage().await? {
            match read {
                Ok(info) => found.push(info),
                Err(e) if matches!(e.kind, ErrorKind::Damaged | ErrorKind::WrongKey) => unreadable.push(id),
                Err(e) => return Err(e),
            }
        }
        self.apply_marks(&mut found, false).await?;
        Ok((found, unreadable))
    }

    /// Each decided entry with its snapshot or why it cannot be read; tombstones left out.
    pub(crate) async fn snapshots_or_damage(&self) -> Result<Vec<(SnapshotId, Result<SnapshotInfo>)>> {
        let entries = self.decided().await?;
        let read = futures::stream::iter(entries)
            .map(|entry| async move {
                let id = entry.key.name().parse().expect("filtered by decided()");
                self.read_snapshot(&entry).await.transpose().map(|r| (id, r))
            })
            .buffered(FETCHES_MAX);
        Ok(read.filter_map(|r| async move { r }).collect().await)
    }

    /// The newest snapshots of a name, newest first, as far as a short look back finds them.
    pub(crate) async fn recent(&self, name: &str, count: usize) -> Result<Vec<SnapshotInfo>> {
        let mut entries = self.decided().await?;
        entries.reverse();
        entries.truncate(LOOK_BACK);
        let mut found = Vec::new();
        let mut reads =
            futures::stream::iter(entries).map(|e| async move { self.read_snapshot(&e).await }).buffered(8);
        while let Some(read) = reads.next().await {
            // An unreadable neighbour must not keep tonight's backup from being made.
            let Ok(Some(info)) = read else { continue };
            if info.snapshot.name == name {
                found.push(info);
                if found.len() == count {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Applies tags and holds. Unless it is `strict`, marks that cannot be read are passed over: who
    /// only reads needs none, who forgets must not miss a hold.
    async fn apply_marks(&self, snapshots: &mut [SnapshotInfo], strict: bool) -> Result<()> {
        let entries = self.list(MARKS).await?;
        if entries.is_empty() {
            return Ok(());
        }
        let mut by_id: HashMap<SnapshotId, &mut SnapshotInfo> =
            snapshots.iter_mut().map(|s| (s.id, s)).collect();
        let wanted = |e: &&Entry| marked(e.key.name()).is_some_and(|id| by_id.contains_key(&id));
        let entries: Vec<Entry> = entries.iter().filter(wanted).cloned().collect();
        let bodies = match self.get_all(Kind::Mark, &entries).await {
            Err(e) if !strict && matches!(e.kind, ErrorKind::Damaged | ErrorKind::WrongKey) => return Ok(()),
            bodies => bodies?,
        };
        for (key, body) in bodies {
            let mark: Mark = match from_cbor("mark", &body) {
                Ok(mark) => mark,
                Err(_) if !strict => continue,
                Err(d) => return Err(Error::damage(format!("read {key}"), d)),
            };
            let Some(info) = marked(key.name()).and_then(|id| by_id.get_mut(&id)) else { continue };
            mark.remove_tags.iter().for_each(|t| {
                info.tags.remove(t);
            });
            info.tags.extend(mark.add_tags);
            if let Some(name) = mark.remove_hold {
                info.holds.remove(&name);
            }
            info.holds.extend(mark.add_hold);
        }
        Ok(())
    }
}

/// The snapshot a mark's name belongs to: `<snapshot>.<mark>`.
pub(crate) fn marked(name: &str) -> Option<SnapshotId> {
    name.split_once('.')?.0.parse().ok()
}

pub(crate) fn since_epoch_ms(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

impl Repository {
    /// All snapshots, oldest first.
    pub async fn snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        self.objects.snapshots().await
    }

    /// The one snapshot a text means: `NAME` (its newest good one), `NAME@ID`, `NAME@TIME` (the newest
    /// at or before that time), or an id or the end of one.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] with what there is instead.
    pub async fn find_snapshot(&self, text: &str) -> Result<SnapshotInfo> {
        let doing = || format!("find `{text}`");
        let (all, unreadable) = self.objects.readable().await?;
        let found = match select(&all, text) {
            Ok(found) => found,
            Err(why) if unreadable.is_empty() => return Err(Error::new(ErrorKind::NotFound, doing(), why)),
            Err(why) => {
                let why =
                    format!("{why}; {} snapshots cannot be read: run `cistern verify`", unreadable.len());
                return Err(Error::new(ErrorKind::Damaged, doing(), why));
            }
        };
        let meant = text.rsplit('@').next().unwrap_or(text).to_uppercase();
        let newer = unreadable.iter().find(|id| **id > found.id);
        match newer.filter(|_| meant.len() < 4 || !found.id.to_string().ends_with(&meant)) {
            // The newest of the name could be this one: an older night must not be taken for it.
            Some(newer) => {
                let (name, id) = (&found.snapshot.name, found.id);
                let why = format!(
                    "snapshot {newer} is newer and cannot be read; `{name}@{id}` is the newest that can"
                );
                Err(Error::new(ErrorKind::Damaged, doing(), why))
            }
            None => Ok(found.clone()),
        }
    }

    /// Changes tags or holds of a snapshot.
    pub async fn mark(&self, id: SnapshotId, mut mark: Mark) -> Result<()> {
        mark.at_ms = self.world().now_ms();
        let key = format!("{MARKS}{id}.{}", self.world().new_session_id());
        let put = self.objects.put(Kind::Mark, &key, &to_cbor(&mark)).await;
        put.map(drop).map_err(|e| Error::store(format!("mark snapshot {id}"), e))
    }
}

/// Pure part of [`Repository::find_snapshot`]; `all` is oldest first.
pub fn select<'s>(all: &'s [SnapshotInfo], text: &str) -> std::result::Result<&'s SnapshotInfo, String> {
    let newest = |name: &str| {
        let of_name = || all.iter().rev().filter(|s| s.snapshot.name == name);
        of_name().find(|s| s.is_good()).or_else(|| of_name().next())
    };
    if let Some(found) = newest(text) {
        return Ok(found);
    }
    if let Some((name, when)) = text.rsplit_once('@') {
        let of_name: Vec<&SnapshotInfo> = all.iter().filter(|s| s.snapshot.name == name).collect();
        if of_name.is_empty() {
            return Err(unknown_name(all, name));
        }
        return by_id(&of_name, when)?.or_else(|| by_time(&of_name, when)).ok_or_else(|| {
            format!(
                "`{when}` is neither the id of a snapshot of `{name}` nor a time at or after its first one"
            )
        });
    }
    let refs: Vec<&SnapshotInfo> = all.iter().collect();
    by_id(&refs, text)?.ok_or_else(|| unknown_name(all, text))
}

fn by_id<'s>(all: &[&'s SnapshotInfo], text: &str) -> std::result::Result<Option<&'s SnapshotInfo>, String> {
    let wanted = text.to_uppercase();
    if wanted.len() < 4 {
        return Ok(None);
    }
    let mut hits = all.iter().filter(|s| s.id.to_string().ends_with(&wanted));
    match (hits.next(), hits.next()) {
        (Some(_), Some(_)) => Err(format!("more than one snapshot id ends in `{text}`: give more of it")),
        (hit, _) => Ok(hit.copied()),
    }
}

/// The newest at or before a time; a bare date means its end.
fn by_time<'s>(all: &[&'s SnapshotInfo], text: &str) -> Option<&'s SnapshotInfo> {
    let latest_ms = if let Ok(time) = text.parse::<jiff::Timestamp>() {
        time.as_millisecond()
    } else if let Ok(date) = text.parse::<jiff::civil::Date>() {
        let end = date.tomorrow().ok()?.to_zoned(jiff::tz::TimeZone::system()).ok()?;
        end.timestamp().as_millisecond() - 1
    } else {
        let local = text.parse::<jiff::civil::DateTime>().ok()?;
        local.to_zoned(jiff::tz::TimeZone::system()).ok()?.timestamp().as_millisecond()
    };
    all.iter().rev().find(|s| s.snapshot.started_ms as i64 <= latest_ms).copied()
}

fn unknown_name(all: &[SnapshotInfo], name: &str) -> String {
    let names: BTreeSet<&str> = all.iter().map(|s| s.snapshot.name.as_str()).collect();
    match names.len() {
        0 => "the repository holds no snapshots yet".to_owned(),
        n => {
            let some: Vec<&str> = names.into_iter().take(8).collect();
            let more = if n > some.len() { format!(" and {} more", n - some.len()) } else { String::new() };
            format!("there is no snapshot of that name or id ({name}); there are: {}{more}", some.join(", "))
        }
    }
}
