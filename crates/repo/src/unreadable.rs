//! Small objects that cannot be opened: what each costs, and what puts it right.
//!
//! Snapshots, index objects and packs have findings of their own, trash lists are in `trash`. What is left
//! are objects that are read for one purpose only, or by nobody: damage there would show late, or when
//! somebody relies on a hold that is gone.

use crate::commit::{SESSIONS, SKETCHES};
use crate::error::{ErrorKind, Result};
use crate::objects::FETCHES_MAX;
use crate::repository::Repository;
use crate::snapshots::{FORGOTTEN, MARKS, marked};
use crate::verify::VERIFIED;
use cistern_format::Damage;
use cistern_format::envelope::Kind;
use cistern_format::object::{Forgotten, Mark, Session, Verified, from_cbor};
use cistern_format::sketch::SketchList;
use cistern_store::Key;
use futures::{StreamExt as _, TryStreamExt as _};
use serde::de::DeserializeOwned;

/// What mends an object that cannot be opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cure {
    /// Nothing: only its name counts, and that must stay.
    Keep,
    /// Remove it: it was a hint or a report.
    Remove,
    /// Remove it once a hold is in its place, for it may have been one.
    Hold,
}

/// Objects of one kind.
struct Family {
    kind: Kind,
    prefix: &'static str,
    decode: fn(&[u8]) -> Result<(), Damage>,
    cure: Cure,
    /// What its damage means, and what to do.
    means: &'static str,
}

fn cbor<T: DeserializeOwned>(body: &[u8]) -> Result<(), Damage> {
    from_cbor::<T>("body", body).map(drop)
}

const FAMILIES: [Family; 5] = [
    Family {
        kind: Kind::Session,
        prefix: SESSIONS,
        decode: cbor::<Session>,
        cure: Cure::Keep,
        means: "only its name counts; a prune removes it once the session is decided",
    },
    Family {
        kind: Kind::Forgotten,
        prefix: FORGOTTEN,
        decode: cbor::<Forgotten>,
        cure: Cure::Keep,
        means: "only its name counts: the snapshot stays forgotten; why is lost",
    },
    Family {
        kind: Kind::Mark,
        prefix: MARKS,
        decode: cbor::<Mark>,
        cure: Cure::Hold,
        means: "tags or a hold of the snapshot are lost; `cistern repair` puts a hold in its place",
    },
    Family {
        kind: Kind::Sketches,
        prefix: SKETCHES,
        decode: |body| SketchList::decode(body).map(drop),
        cure: Cure::Remove,
        means: "deltas may come out larger; `cistern repair` removes it",
    },
    Family {
        kind: Kind::Verified,
        prefix: VERIFIED,
        decode: cbor::<Verified>,
        cure: Cure::Remove,
        means: "what that verification found is lost; `cistern repair` removes it",
    },
];

impl Repository {
    /// Small objects that cannot be opened, with what is wrong and what it means.
    pub(crate) async fn unreadable_objects(&self) -> Result<Vec<(Key, String)>> {
        let mut found = Vec::new();
        for family in &FAMILIES {
            let unreadable = self.unreadable(family).await?;
            found.extend(unreadable.into_iter().map(|(key, why)| (key, format!("{why}; {}", family.means))));
        }
        Ok(found)
    }

    /// Puts small objects right that cannot be opened; says what it did, or would do.
    pub(crate) async fn mend_objects(&self, dry_run: bool) -> Result<Vec<String>> {
        let mut done = Vec::new();
        for family in FAMILIES.iter().filter(|f| f.cure != Cure::Keep) {
            for (key, _) in self.unreadable(family).await? {
                done.push(match family.cure {
                    Cure::Hold => {
                        format!("put a hold in place of {key}, which is damaged and may have been one")
                    }
                    _ => format!("removed {key}, which is damaged and which nothing depends on"),
                });
                if !dry_run {
                    self.put_right(family.cure, &key).await?;
                }
            }
        }
        Ok(done)
    }

    async fn put_right(&self, cure: Cure, key: &Key) -> Result<()> {
        if let (Cure::Hold, Some(id)) = (cure, marked(key.name())) {
            let hold = ("repair".to_owned(), format!("{} was damaged and may have been a hold", key.name()));
            self.mark(id, Mark { add_hold: Some(hold), ..Mark::default() }).await?;
        }
        self.objects.delete(key.as_str()).await
    }

    async fn unreadable(&self, family: &Family) -> Result<Vec<(Key, String)>> {
        let entries = self.objects.list(family.prefix).await?;
        let keys: Vec<Key> = entries.into_iter().map(|e| e.key).collect();
        futures::stream::iter(keys)
            .map(|key| async move {
                let why = match self.objects.find(family.kind, key.as_str()).await {
                    Ok(None) => None,
                    Ok(Some(body)) => (family.decode)(&body).err().map(|d| d.to_string()),
                    Err(e) if e.kind == ErrorKind::Damaged => Some(e.why),
                    Err(e) => return Err(e),
                };
                Ok(why.map(|why| (key, why)))
            })
            .buffered(FETCHES_MAX)
            .try_filter_map(|found| async move { Ok(found) })
            .try_collect()
            .await
    }
}
