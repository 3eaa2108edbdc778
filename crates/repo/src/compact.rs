//! Merges index objects when there are many, or many of their packs are gone.
//!
//! Unfenced, because the index is a hint. **The index is read first and packs are listed second:** the
//! other way round, a pack stored in between would be taken for gone and dropped from the index.

use crate::error::{Error, Result};
use crate::objects::Objects;
use crate::view::INDEX;
use cistern_format::envelope::Kind;
use cistern_format::segment::{self, IndexedPack};
use std::collections::HashSet;

/// From so many objects on it is worth merging them.
const OBJECTS_MAX: usize = 64;
/// Records in one merged object; about 3 MB.
const RECORDS_PER_OBJECT: usize = 64 << 10;

/// Merges if it is worth it. Returns how many objects there were and are.
pub(crate) async fn compact(objects: &Objects) -> Result<(u64, u64)> {
    let segments = objects.list(INDEX).await?;
    let before = segments.len() as u64;
    let mut packs: Vec<IndexedPack> = Vec::new();
    let mut seen = HashSet::new();
    for (_, body) in objects.get_all(Kind::Index, &segments).await? {
        packs.extend(objects.decode_segment(&body)?.into_iter().filter(|p| seen.insert(p.id)));
    }
    let listed = objects.list_packs().await?;
    let named = packs.len();
    packs.retain(|p| listed.contains_key(&p.id));
    let many_gone = (named - packs.len()) * 5 > named;
    if segments.len() <= OBJECTS_MAX && !many_gone {
        return Ok((before, before));
    }
    let mut after = 0;
    let mut rest = &packs[..];
    while !rest.is_empty() {
        let (object, left) = rest.split_at(fitting(rest));
        let key = format!("{INDEX}{}", objects.world.new_session_id());
        let put = objects.put(Kind::Index, &key, &segment::encode(object)).await;
        put.map_err(|e| Error::store("store a merged index", e))?;
        after += 1;
        rest = left;
    }
    for entry in &segments {
        objects.delete(entry.key.as_str()).await?;
    }
    Ok((before, after))
}

/// How many of the first packs go into one object.
fn fitting(packs: &[IndexedPack]) -> usize {
    let mut records = 0;
    let fit = packs.iter().take_while(|p| {
        records += p.directory.rows.len();
        records <= RECORDS_PER_OBJECT
    });
    fit.count().max(1)
}
