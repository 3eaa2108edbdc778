//! What a reader or writer believes of a repository: packs that exist, minus condemned, by index.
//!
//! The order of reads is the protocol: **trash, then the list of packs, then the index**. A pack
//! condemned after our reading of the trash waits for us, because we had registered before (see
//! `prune`); an index read before the list could name packs that are gone.

use crate::error::Result;
use crate::index::{Index, IndexBuilder};
use crate::objects::{FETCHES_MAX, Objects};
use cistern_format::envelope::Kind;
use cistern_format::id::PackId;
use cistern_format::segment::{self, IndexedPack};
use cistern_store::{Entry, Key};
use futures::StreamExt as _;
use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

pub(crate) const PACKS: &str = "packs/";
pub(crate) const INDEX: &str = "index/";
/// How often the index is read again because a merge took an object away in between.
const INDEX_READS_MAX: u32 = 10;

/// A pack as the store lists it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListedPack {
    pub(crate) object_len: u64,
    pub(crate) modified: SystemTime,
}

/// The state of a repository as of one careful reading.
pub(crate) struct View {
    /// Chunks of packs that exist and are not condemned.
    pub(crate) index: Index,
    /// All packs that exist.
    pub(crate) listed: HashMap<PackId, ListedPack>,
    /// Packs nobody may rely on; all of them if a trash list is damaged and nothing tells what it named.
    pub(crate) condemned: HashSet<PackId>,
    /// The key of such a list.
    pub(crate) unread_trash: Option<String>,
    /// Packs that exist, are not condemned, and no index object names.
    pub(crate) orphans: Vec<PackId>,
    /// Index objects that cannot be read.
    pub(crate) damaged: Vec<Key>,
}

impl View {
    /// Refuses what was not read whole: for whoever decides by it what may go.
    pub(crate) fn require_whole(&self) -> Result<()> {
        let why = match (&self.unread_trash, self.damaged.first()) {
            (Some(list), _) => {
                format!("{list} is damaged, so any pack may be condemned: run `cistern repair`")
            }
            (None, Some(index)) => format!("{index} is damaged: `cistern repair` writes the index anew"),
            (None, None) => return Ok(()),
        };
        Err(crate::Error::new(crate::ErrorKind::Damaged, "read what is stored", why))
    }
}

impl Objects {
    /// Reads trash, packs and index, in that order.
    pub(crate) async fn view(&self) -> Result<View> {
        let trash = self.trash().await?;
        let listed = self.list_packs().await?;
        let unread_trash = trash.iter().find(|t| t.packs().is_none()).map(|t| t.key.clone());
        let condemned: HashSet<PackId> = match &unread_trash {
            None => trash.iter().filter_map(|t| t.packs()).flatten().copied().collect(),
            Some(_) => listed.keys().copied().collect(),
        };
        Ok(View { unread_trash, ..self.view_of(condemned, listed).await? })
    }

    /// For readers, who rely on nothing staying: condemned packs count as long as they exist.
    pub(crate) async fn reading_view(&self) -> Result<View> {
        let listed = self.list_packs().await?;
        self.view_of(HashSet::new(), listed).await
    }

    async fn view_of(&self, condemned: HashSet<PackId>, listed: HashMap<PackId, ListedPack>) -> Result<View> {
        for _ in 0..INDEX_READS_MAX {
            let segments = self.list(INDEX).await?;
            if let Some(view) = self.view_by(segments, &condemned, &listed).await? {
                return Ok(view);
            }
        }
        let why = "index objects kept vanishing while they were read: is something else deleting them?";
        Err(crate::Error::new(crate::ErrorKind::Retry, "read the index", why))
    }

    /// The view by these index objects; `None` if one of them vanished, which a merge does.
    async fn view_by(
        &self,
        segments: Vec<Entry>,
        condemned: &HashSet<PackId>,
        listed: &HashMap<PackId, ListedPack>,
    ) -> Result<Option<View>> {
        let mut builder = IndexBuilder::default();

        let keys: Vec<_> = segments.iter().map(|e| e.key.clone()).collect();
        let mut bodies = futures::stream::iter(keys)
            .map(|key| async move { (self.find(Kind::Index, key.as_str()).await, key) })
            .buffered(FETCHES_MAX);
        let mut damaged = Vec::new();
        while let Some((body, key)) = bodies.next().await {
            let packs = match body {
                Ok(Some(body)) => self.decode_segment(&body),
                Ok(None) => return Ok(None),
                Err(e) => Err(e),
            };
            let packs = match packs {
                Ok(packs) => packs,
                // The packs it named are found among the orphans.
                Err(e) if e.kind == crate::ErrorKind::Damaged => {
                    damaged.push(key);
                    continue;
                }
                Err(e) => return Err(e),
            };
            for pack in packs {
                let usable = listed.get(&pack.id).is_some_and(|l| l.object_len == pack.object_len);
                if usable && !condemned.contains(&pack.id) {
                    builder.add(&pack);
                }
            }
        }
        drop(bodies);
        let mut orphans: Vec<PackId> =
            listed.keys().filter(|id| !condemned.contains(id) && !builder.has_pack(id)).copied().collect();
        orphans.sort_unstable();
        let index = builder.finish();
        let (listed, condemned) = (listed.clone(), condemned.clone());
        Ok(Some(View { index, listed, condemned, unread_trash: None, orphans, damaged }))
    }

    pub(crate) fn decode_segment(&self, body: &[u8]) -> Result<Vec<IndexedPack>> {
        segment::decode(body).map_err(|d| crate::error::Error::damage("read the index", d))
    }

    pub(crate) async fn list_packs(&self) -> Result<HashMap<PackId, ListedPack>> {
        let entries = self.list(PACKS).await?;
        Ok(entries
            .into_iter()
            .filter_map(|e| {
                let id: PackId = e.key.name().parse().ok()?;
                (id.key() == e.key.as_str())
                    .then_some((id, ListedPack { object_len: e.size, modified: e.modified }))
            })
            .collect())
    }
}
