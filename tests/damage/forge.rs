//! Makes objects whose seals are valid and whose content lies, as a thief of the keys could.

use crate::paper::Place;
use bytes::Bytes;
use cistern_format::codec::{Codec, Squeezer};
use cistern_format::envelope::{Kind, seal};
use cistern_format::id::{ChunkId, SessionId, SnapshotId};
use cistern_format::keys::{DataKey, Keyring};
use cistern_format::object::to_cbor;
use cistern_format::pack::{PackBuilder, PackRandom};
use cistern_format::recipe::{Node, Root};
use cistern_format::record::{Binding, ChunkKind, NONCE_LEN, OVERHEAD, Sealer, chunk_id};
use cistern_format::segment::{self, IndexedPack};
use cistern_repo::{Repository, SnapshotInfo};
use cistern_store::{Key, Store as _};
use std::sync::Arc;

/// Somebody with all keys.
pub struct Forger<'p> {
    place: &'p Place,
    keys: Keyring,
    session: SessionId,
    data_key: DataKey,
    records: Vec<(Binding, Bytes)>,
    nonce: u8,
}

impl<'p> Forger<'p> {
    pub async fn new(place: &'p Place) -> Forger<'p> {
        let keys = Keyring::from_credential(&place.credential).expect("it is the owner's");
        let session = SessionId::new(1, [77; 10]);
        let data_key = keys.new_data_key(session, [5; 64]).expect("the owner can push");
        Forger { place, keys, session, data_key, records: Vec::new(), nonce: 0 }
    }

    pub fn keys(&self) -> &Keyring {
        &self.keys
    }

    /// The name of a data chunk.
    pub fn name(&self, raw: &[u8]) -> ChunkId {
        chunk_id(self.keys.chunk_id().expect("the owner's"), raw)
    }

    /// Stores an object under its key with a valid seal.
    pub async fn put(&mut self, kind: Kind, key: &str, body: &[u8]) {
        self.nonce += 1;
        let object = seal(&self.keys, kind, key, [self.nonce; 24], body);
        self.place.store.mem.tamper(&Key::new(key), object.into());
    }

    /// Adds a record with a valid seal, whatever it says of itself.
    pub fn record(&mut self, binding: Binding, squeezed: &[u8]) {
        let sealer = match binding.kind {
            ChunkKind::Data => Sealer::data(self.keys.repo(), &self.data_key),
            ChunkKind::Recipe => Sealer::recipe(&self.keys),
        };
        self.nonce += 1;
        let mut buffer = vec![0; squeezed.len() + OVERHEAD];
        buffer[NONCE_LEN..NONCE_LEN + squeezed.len()].copy_from_slice(squeezed);
        let len = sealer.seal(&binding, [self.nonce; 24], &mut buffer, squeezed.len());
        assert_eq!(len, buffer.len());
        self.records.push((binding, buffer.into()));
    }

    /// Adds a chunk stored as it is.
    pub fn raw(&mut self, kind: ChunkKind, raw: &[u8]) -> ChunkId {
        let id = match kind {
            ChunkKind::Data => self.name(raw),
            ChunkKind::Recipe => chunk_id(self.keys.recipe_id(), raw),
        };
        self.record(Binding { id, kind, codec: Codec::Raw, raw_len: raw.len() as u32, base: None }, raw);
        id
    }

    /// Adds a chunk as a delta.
    pub fn delta(&mut self, raw: &[u8], base: &[u8]) -> ChunkId {
        let (id, base_id) = (self.name(raw), self.name(base));
        let mut out = vec![0; Squeezer::bound(raw.len())];
        let len = Squeezer::new(1).squeeze_against(base, raw, &mut out).expect("zstd works");
        let raw_len = raw.len() as u32;
        let binding =
            Binding { id, kind: ChunkKind::Data, codec: Codec::Delta, raw_len, base: Some(base_id) };
        self.record(binding, &out[..len]);
        id
    }

    /// Stores the records so far as a pack, and hands out what the index should say of it.
    pub async fn pack(&mut self) -> IndexedPack {
        let mut builder = PackBuilder::new(self.session, 1 << 20);
        let key = (self.data_key.session, self.data_key.sealed);
        for (binding, record) in self.records.drain(..) {
            builder.add(binding, record, (binding.kind == ChunkKind::Data).then_some(&key));
        }
        let random = PackRandom { directory: [1; 24], trailer: [2; 24], padding: [3; 32] };
        let pack = builder.finish(&self.keys, true, &random);
        let (id, object_len, directory) = (pack.id, pack.object_len, Arc::new(pack.directory));
        self.place.store.put_new(&Key::new(id.key()), pack.parts).await.expect("nobody has this name");
        IndexedPack { id, object_len, directory }
    }

    /// Stores an index object that sorts before all others.
    pub async fn index(&mut self, packs: &[IndexedPack]) -> Key {
        let key = format!("index/{}", SessionId::new(1, [9; 10]));
        self.put(Kind::Index, &key, &segment::encode(packs)).await;
        Key::new(key)
    }

    /// Commits a snapshot with this recipe, `like` another one.
    pub async fn snapshot(&mut self, like: &SnapshotInfo, recipe: Root, whole: &[u8]) -> SnapshotId {
        let id = SessionId::new(1_700_000_000_001, [11; 10]);
        let mut snapshot = like.snapshot.clone();
        snapshot.name = "forged".to_owned();
        snapshot.recipe = recipe;
        snapshot.raw_bytes = whole.len() as u64;
        snapshot.digest = serde_bytes::ByteArray::new(*blake3::hash(whole).as_bytes());
        self.put(Kind::Snapshot, &format!("snapshots/{id}"), &to_cbor(&snapshot)).await;
        id
    }
}

/// A piece of a recipe as it lies in its chunk.
pub fn piece(level: u8, nodes: &[Node]) -> Vec<u8> {
    let mut out = vec![level];
    out.extend_from_slice(&(nodes.len() as u32).to_le_bytes());
    nodes.iter().for_each(|n| out.extend_from_slice(&n.id.0));
    nodes.iter().for_each(|n| out.extend_from_slice(&n.len.to_le_bytes()));
    out
}

/// The one snapshot with this id.
pub async fn find(repo: &Repository, id: SnapshotId) -> SnapshotInfo {
    let listed = repo.snapshots().await.expect("the objects are sealed rightly");
    listed.into_iter().find(|s| s.id == id).expect("it was committed")
}
