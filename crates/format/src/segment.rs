//! A piece of the index: the directories of many packs in one object.
//!
//! The index is a hint. What counts is which packs exist, and every pack carries its own directory;
//! losing all segments costs a scan, never data.
//!
//! Body: `u32 n`, then n times `digest[20] ‖ session[16] ‖ u64 object length ‖ u32 directory length ‖ directory`.

use crate::Damage;
use crate::id::{PackId, SessionId};
use crate::pack::{Directory, PACK_BYTES_MAX};
use crate::reader::Reader;
use std::sync::Arc;

/// One pack as the index knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedPack {
    /// Its name.
    pub id: PackId,
    /// Length of the object in bytes.
    pub object_len: u64,
    /// What is in it.
    pub directory: Arc<Directory>,
}

/// To the body of an index object.
pub fn encode(packs: &[IndexedPack]) -> Vec<u8> {
    let mut out = (packs.len() as u32).to_le_bytes().to_vec();
    for pack in packs {
        out.extend_from_slice(&pack.id.digest);
        out.extend_from_slice(&pack.id.session.0);
        out.extend_from_slice(&pack.object_len.to_le_bytes());
        let directory = pack.directory.encode();
        out.extend_from_slice(&(directory.len() as u32).to_le_bytes());
        out.extend_from_slice(&directory);
    }
    out
}

/// From the body of an index object.
pub fn decode(body: &[u8]) -> Result<Vec<IndexedPack>, Damage> {
    let mut r = Reader::new("index object", body);
    let mut packs = Vec::new();
    for _ in 0..r.count(20 + 16 + 8 + 4)? {
        let id = PackId { digest: r.array()?, session: SessionId(r.array()?) };
        let object_len = r.u64()?;
        if object_len > u64::from(PACK_BYTES_MAX) {
            return Err(Damage::malformed("index object", "a pack larger than any pack may be"));
        }
        let len = r.u32()? as usize;
        packs.push(IndexedPack { id, object_len, directory: Arc::new(Directory::decode(r.take(len)?)?) });
    }
    r.end()?;
    Ok(packs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_back() {
        let id = PackId { digest: [4; 20], session: SessionId::new(1, [1; 10]) };
        let directory = Arc::new(Directory { keys: vec![(id.session, [1; 80])], rows: vec![] });
        let packs = vec![IndexedPack { id, object_len: 77, directory }; 3];
        let bytes = encode(&packs);
        assert_eq!(decode(&bytes), Ok(packs));
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err());
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
        }
    }
}
