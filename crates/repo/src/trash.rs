//! Trash lists and their queues: two objects of which either tells which packs are condemned.
//!
//! `trash/<id>` condemns packs; `trash/<id>.queue` names them once more, and the sessions to wait for. A
//! list can be lost: cut, flipped, or removed behind our back. What must never follow is that somebody
//! relies on a pack that a prune, perhaps one asleep with the list in its memory, is about to delete.
//!
//! # Rules
//! 1. Where a queue names packs, they are what the list condemns; else the list says it.
//! 2. Where neither can be read, **every pack that exists may be condemned**. A push relies on none then and
//!    stores what it needs anew; a prune does not begin.
//! 3. Nobody deletes by a list before its queue is there *and the list still is*, in this order
//!    (`sweep`). So whoever creates a queue that names no packs, and then removes the list, has taken
//!    the list back: see [`Cure::TakeBack`].
//! 4. When a list is done with, it goes first and its queue last.
//!
//! # How a damaged pair is mended, and why it is safe
//! S are the packs the damaged list named. Each of them existed when it was written, and no name of a
//! pack is used twice.
//!
//! * *The queue can be read.* It names S. What is left of S is condemned by a new list, durable before the
//!   old pair goes, so S stays condemned without a gap; a prune that still holds the old list in memory may
//!   delete it whenever it wakes.
//! * *There is no queue.* By rule 3 nobody has begun to delete, and nobody will: we create an empty queue
//!   (if somebody else was faster, theirs names S), remove the list, then our queue. A prune that held the
//!   list either finds our queue, and has nothing to delete, or creates its own and finds the list gone.
//!   So no pack of S was deleted, none will be, and S counts again. What a push in between stored
//!   because it could not tell is stored twice, and a later prune drops one.
//! * *The queue cannot be read either.* S is unknown and somebody may be deleting it. All packs that exist
//!   are condemned by a new list: more than S, which costs a rewrite of what is in use, and loses nothing,
//!   because the next prune copies before it deletes.
//! * *Only the queue is damaged.* It goes; the next prune writes another. Sessions listed later are enough:
//!   those that may rely on S registered before the list was written and are in it until they are
//!   decided.
//! * *Only the queue is left.* S, as far as it exists, is condemned anew before the queue goes.

use crate::error::{Error, ErrorKind, Result};
use crate::objects::{FETCHES_MAX, Objects};
use crate::repository::Repository;
use cistern_format::envelope::Kind;
use cistern_format::id::PackId;
use cistern_format::object::{Trash, TrashQueue, from_cbor, to_cbor};
use cistern_store::Entry;
use futures::{StreamExt as _, TryStreamExt as _};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

pub(crate) const TRASH: &str = "trash/";
const QUEUE_SUFFIX: &str = ".queue";

/// One object of a pair, as it was found.
#[derive(Clone, Debug)]
pub(crate) enum Half<T> {
    Absent,
    Damaged,
    Sound(T),
}

/// A trash list and its queue.
#[derive(Clone, Debug)]
pub(crate) struct TrashList {
    /// Key of the list, without the queue's suffix.
    pub(crate) key: String,
    pub(crate) list: Half<Trash>,
    pub(crate) queue: Half<TrashQueue>,
    /// When the list was written; its queue if the list is gone.
    pub(crate) modified: SystemTime,
}

impl TrashList {
    pub(crate) fn queue_key(&self) -> String {
        format!("{}{QUEUE_SUFFIX}", self.key)
    }

    pub(crate) fn has_queue(&self) -> bool {
        !matches!(self.queue, Half::Absent)
    }

    /// The packs it condemns; `None` if nothing tells.
    pub(crate) fn packs(&self) -> Option<&[PackId]> {
        match (&self.queue, &self.list) {
            (Half::Sound(TrashQueue { packs: Some(packs), .. }), _) => Some(packs),
            (_, Half::Sound(list)) => Some(&list.packs),
            (_, Half::Absent) => Some(&[]),
            (_, Half::Damaged) => None,
        }
    }

    /// The packs it condemns.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] if nothing tells.
    pub(crate) fn known_packs(&self) -> Result<&[PackId]> {
        self.packs().ok_or_else(|| {
            let why = "the list is damaged, so any pack may be condemned; run `cistern repair`";
            Error::new(ErrorKind::Damaged, format!("read {}", self.key), why)
        })
    }

    /// What is wrong with it, if anything.
    pub(crate) fn complaint(&self) -> Option<String> {
        let queue = self.queue_key();
        Some(match self.cure()? {
            Cure::DropQueue => {
                format!("{queue} is damaged: no prune can go on until `cistern repair` has run")
            }
            Cure::CondemnAnew(_) if matches!(self.list, Half::Absent) => return None,
            Cure::CondemnAnew(_) => format!("this trash list is damaged; {queue} tells what it says"),
            Cure::TakeBack | Cure::CondemnAll => {
                "this trash list is damaged: until `cistern repair` has run, pushes store everything anew \
                 and no prune begins"
                    .to_owned()
            }
        })
    }

    /// What has to be done about it, if anything.
    fn cure(&self) -> Option<Cure> {
        use Half::{Absent, Damaged, Sound};
        match (&self.list, &self.queue) {
            (Sound(_), Damaged) => Some(Cure::DropQueue),
            (Sound(_), _) | (Absent, Absent) => None,
            (Damaged, Absent) => Some(Cure::TakeBack),
            (_, Sound(TrashQueue { packs: Some(packs), .. })) => Some(Cure::CondemnAnew(packs.clone())),
            (Damaged, _) => Some(Cure::CondemnAll),
            (Absent, _) => Some(Cure::DropQueue),
        }
    }
}

/// What mends a pair; the module says why it is safe.
#[derive(Debug)]
enum Cure {
    /// Remove the queue.
    DropQueue,
    /// Create an empty queue, remove the list, then the queue.
    TakeBack,
    /// Condemn these by a new list, as far as they exist, then remove the pair.
    CondemnAnew(Vec<PackId>),
    /// Condemn every pack there is, then remove the pair.
    CondemnAll,
}

impl Cure {
    fn told(&self, list: &TrashList) -> String {
        let (key, queue) = (&list.key, list.queue_key());
        match self {
            Cure::DropQueue => format!("removed the queue {queue}, which is damaged; a prune writes another"),
            Cure::TakeBack => format!("took the damaged trash list {key} back: nobody had begun to delete"),
            Cure::CondemnAnew(_) => format!("condemned the packs of {key} anew: {queue} names them"),
            Cure::CondemnAll => {
                format!(
                    "condemned every pack, for {key} and its queue are damaged; a prune copies what is used"
                )
            }
        }
    }
}

impl Objects {
    /// All trash lists that stand, and queues whose list is gone.
    pub(crate) async fn trash(&self) -> Result<Vec<TrashList>> {
        let mut pairs: BTreeMap<String, (Option<Entry>, Option<Entry>)> = BTreeMap::new();
        for entry in self.list(TRASH).await? {
            let key = entry.key.to_string();
            match key.strip_suffix(QUEUE_SUFFIX) {
                Some(list) => pairs.entry(list.to_owned()).or_default().1 = Some(entry),
                None => pairs.entry(key).or_default().0 = Some(entry),
            }
        }
        futures::stream::iter(pairs)
            .map(|(key, (list, queue))| async move {
                let modified = list.as_ref().or(queue.as_ref()).map(|e| e.modified);
                let modified = modified.expect("a pair has at least one object");
                let list = self.half(list).await?;
                Ok(TrashList { key, list, queue: self.half(queue).await?, modified })
            })
            .buffered(FETCHES_MAX)
            .try_collect()
            .await
    }

    async fn half<T: DeserializeOwned>(&self, entry: Option<Entry>) -> Result<Half<T>> {
        let Some(entry) = entry else { return Ok(Half::Absent) };
        match self.find(Kind::Trash, entry.key.as_str()).await {
            Ok(Some(body)) => Ok(from_cbor("trash list", &body).map_or(Half::Damaged, Half::Sound)),
            Ok(None) => Ok(Half::Absent),
            Err(e) if e.kind == ErrorKind::Damaged => Ok(Half::Damaged),
            Err(e) => Err(e),
        }
    }

    /// Condemns packs; durable when it returns.
    pub(crate) async fn condemn(&self, packs: Vec<PackId>, now: SystemTime) -> Result<TrashList> {
        let key = format!("{TRASH}{}", self.world.new_session_id());
        let list = Trash { packs };
        let put = self.put(Kind::Trash, &key, &to_cbor(&list)).await;
        put.map_err(|e| Error::store("condemn packs", e))?;
        Ok(TrashList { key, list: Half::Sound(list), queue: Half::Absent, modified: now })
    }

    /// Removes a pair that is done with.
    pub(crate) async fn remove_trash(&self, list: &TrashList) -> Result<()> {
        self.delete(&list.key).await?;
        self.delete(&list.queue_key()).await
    }
}

impl Repository {
    /// Mends damaged trash lists and queues; says what it did, or would do.
    pub(crate) async fn mend_trash(&self, dry_run: bool) -> Result<Vec<String>> {
        let mut done = Vec::new();
        for list in self.objects.trash().await? {
            let Some(cure) = list.cure() else { continue };
            done.push(cure.told(&list));
            if !dry_run {
                self.cure_trash(&list, cure).await?;
            }
        }
        Ok(done)
    }

    /// Cleans up after lists that are gone, which a prune that ended in between leaves behind.
    pub(crate) async fn tidy_queues(&self) -> Result<()> {
        for list in self.objects.trash().await? {
            if let (Half::Absent, Some(cure)) = (&list.list, list.cure()) {
                self.cure_trash(&list, cure).await?;
            }
        }
        Ok(())
    }

    async fn cure_trash(&self, list: &TrashList, cure: Cure) -> Result<()> {
        let objects = &self.objects;
        let condemned = match cure {
            Cure::DropQueue => return objects.delete(&list.queue_key()).await,
            Cure::TakeBack => {
                let nothing = TrashQueue { sessions: vec![], packs: Some(vec![]) };
                let put = objects.put(Kind::Trash, &list.queue_key(), &to_cbor(&nothing)).await;
                put.map_err(|e| Error::store(format!("take {} back", list.key), e))?;
                vec![]
            }
            Cure::CondemnAnew(packs) => {
                let listed = objects.list_packs().await?;
                packs.into_iter().filter(|id| listed.contains_key(id)).collect()
            }
            Cure::CondemnAll => {
                // Whatever the list named is in every listing that begins so long after it was written.
                tokio::time::sleep(self.listing_lag()).await;
                objects.list_packs().await?.into_keys().collect()
            }
        };
        if !condemned.is_empty() {
            objects.condemn(condemned, list.modified).await?;
        }
        objects.remove_trash(list).await
    }

    /// How long to wait until every listing shows what was written before.
    pub(crate) fn listing_lag(&self) -> Duration {
        Duration::from_secs(2 * u64::from(self.config.staleness_secs))
    }
}
