//! A repository whose objects were harmed or forged: read, verified, pushed to, repaired and pruned.

use crate::forge::{Forger, piece};
use crate::paper::{ClockedStore, Place, nights_of, prune, push};
use arbitrary::{Arbitrary as _, Result, Unstructured};
use bytes::Bytes;
use cistern_format::codec::Codec;
use cistern_format::envelope::Kind;
use cistern_format::id::{ChunkId, SessionId};
use cistern_format::object::to_cbor;
use cistern_format::recipe::{Node, Root};
use cistern_format::record::{Binding, ChunkKind};
use cistern_format::segment::IndexedPack;
use cistern_repo::{
    Credential, Mark, RepairOptions, Repository, Silent, SnapshotId, SnapshotInfo, VerifyOptions,
};
use cistern_store::{Key, MemStore, Store as _};
use std::collections::BTreeMap;
use std::io::{Error, Write};
use std::sync::{Arc, LazyLock, Mutex};

/// Steps of harm to one repository at most.
const HARMS_MAX: usize = 8;
/// What a pull may write; forged snapshots describe more.
const PULLED_BYTES_MAX: usize = 4 << 20;

/// A small repository, and what its snapshots restore to.
struct Specimen {
    objects: Vec<(Key, Bytes)>,
    credential: Credential,
    snapshots: BTreeMap<SnapshotId, (SnapshotInfo, Bytes)>,
    next: Bytes,
}

static SPECIMEN: LazyLock<Specimen> = LazyLock::new(|| alone(Specimen::new()));

/// Runs a future on a runtime of its own, whose clock stands still unless somebody waits.
fn alone<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().expect("a runtime").block_on(future)
}

impl Specimen {
    async fn new() -> Specimen {
        let place = Place::new(1).await;
        let repo = place.open(2).await;
        let nights = nights_of(7, 60_000, 3);
        let mut snapshots = BTreeMap::new();
        for (name, bytes) in [("db", &nights[0]), ("db", &nights[1]), ("other", &nights[0].slice(..9000))] {
            let receipt = push(&repo, name, bytes).await.expect("nothing fails here");
            let info = repo.find_snapshot(&receipt.id.to_string()).await.expect("it was pushed");
            snapshots.insert(receipt.id, (info, bytes.clone()));
        }
        let gone = *snapshots.keys().next_back().expect("three were pushed");
        repo.forget(&[gone], "test").await.expect("nothing fails here");
        snapshots.remove(&gone);
        let held = *snapshots.keys().next().expect("two are left");
        let mark = Mark { add_hold: Some(("audit".to_owned(), "test".to_owned())), ..Mark::default() };
        repo.mark(held, mark).await.expect("nothing fails here");
        let mut objects = Vec::new();
        for key in place.store.mem.keys() {
            objects.push((key.clone(), place.store.get(&key, u64::MAX).await.expect("it was listed")));
        }
        Specimen { objects, credential: place.credential, snapshots, next: nights[2].clone() }
    }

    fn place(&self) -> Place {
        let store = ClockedStore::new();
        store.mem.set_now(store.now());
        self.objects.iter().for_each(|(key, bytes)| store.mem.tamper(key, bytes.clone()));
        Place { store: Arc::new(store), credential: self.credential.clone() }
    }
}

pub fn run(input: &[u8]) {
    let mut u = Unstructured::new(input);
    // Made before the runtime that reads it: one cannot start another.
    let specimen = &*SPECIMEN;
    alone(async {
        let place = specimen.place();
        let forging = u.ratio(1, 2).unwrap_or(false);
        // What is left when the input ends is the harm there is.
        let _ = if forging { forge(&mut u, &place).await } else { damage(&mut u, &place.store.mem).await };
        check(&place, forging).await;
    });
}

/// What bit-rot, a bad disk or somebody without keys does to objects.
async fn damage(u: &mut Unstructured<'_>, store: &MemStore) -> Result<()> {
    for _ in 0..u.int_in_range(1..=HARMS_MAX)? {
        let (key, bytes) = u.choose(&SPECIMEN.objects)?;
        let harmed = match u.int_in_range(0..=4)? {
            0 => {
                let mut bytes = bytes.to_vec();
                let at = u.choose_index(bytes.len())?;
                bytes[at] ^= u.int_in_range(1..=255)?;
                Bytes::from(bytes)
            }
            1 => bytes.slice(..u.choose_index(bytes.len())?),
            2 => Bytes::copy_from_slice(u.arbitrary()?),
            3 => u.choose(&SPECIMEN.objects)?.1.clone(),
            _ => {
                store.delete(key).await.expect("memory deletes");
                continue;
            }
        };
        store.tamper(key, harmed);
    }
    Ok(())
}

/// What a thief of the keys does.
async fn forge(u: &mut Unstructured<'_>, place: &Place) -> Result<()> {
    let mut forger = Forger::new(place).await;
    let like = &SPECIMEN.snapshots.values().next().expect("two are left").0;
    let mut nodes: Vec<Node> =
        SPECIMEN.snapshots.values().flat_map(|(info, _)| info.snapshot.recipe.nodes.clone()).collect();
    let mut packs: Vec<IndexedPack> = Vec::new();
    for _ in 0..u.int_in_range(1..=HARMS_MAX)? {
        match u.int_in_range(0..=5)? {
            0 => body(u, &mut forger).await?,
            5 => extreme(u, &mut forger, like).await?,
            1 | 2 => packs.push(pack(u, &mut forger, &mut nodes).await?),
            3 => {
                let mut lying = packs.clone();
                for pack in &mut lying {
                    lie(u, pack)?;
                }
                forger.index(&lying).await;
            }
            _ => {
                let depth = *u.choose(&[0, 0, 0, 1, 1, 2, 3])?;
                let nodes = some(u, &nodes)?;
                let told = nodes.iter().fold(0u64, |sum, node| sum.saturating_add(node.len));
                let len = if u.ratio(1, 2)? { told.min(200_000) } else { u.int_in_range(0..=200_000)? };
                let whole = vec![0; len as usize];
                forger.snapshot(like, Root { depth, nodes }, &whole).await;
            }
        }
    }
    Ok(())
}

/// A snapshot whose numbers are the largest there are.
async fn extreme(u: &mut Unstructured<'_>, forger: &mut Forger<'_>, like: &SnapshotInfo) -> Result<()> {
    let mut snapshot = like.snapshot.clone();
    let stored = &mut snapshot.stored;
    let numbers = [
        &mut snapshot.raw_bytes,
        &mut snapshot.sequence,
        &mut snapshot.started_ms,
        &mut snapshot.finished_ms,
        &mut stored.duplicate_bytes,
        &mut stored.delta_bytes,
        &mut stored.new_bytes,
        &mut stored.delta_stored_bytes,
        &mut stored.new_stored_bytes,
        &mut stored.chunks,
    ];
    for number in numbers {
        *number = *u.choose(&[*number, 0, u64::MAX / 2 + 1, u64::MAX])?;
    }
    let id = SessionId::new(u64::from(u16::arbitrary(u)?) << 26, [12; 10]);
    forger.put(Kind::Snapshot, &format!("snapshots/{id}"), &to_cbor(&snapshot)).await;
    Ok(())
}

/// An object with a right seal and any body, under a name of its kind or any other.
async fn body(u: &mut Unstructured<'_>, forger: &mut Forger<'_>) -> Result<()> {
    let kinds = [
        (Kind::Config, "config"),
        (Kind::Index, "index/"),
        (Kind::Sketches, "sketches/"),
        (Kind::Session, "sessions/"),
        (Kind::Snapshot, "snapshots/"),
        (Kind::Tombstone, "snapshots/"),
        (Kind::Mark, "marks/"),
        (Kind::Forgotten, "forgotten/"),
        (Kind::Trash, "trash/"),
        (Kind::Verified, "verified/"),
    ];
    let (kind, prefix) = *u.choose(&kinds)?;
    let known: Vec<&Key> =
        SPECIMEN.objects.iter().map(|(key, _)| key).filter(|key| key.as_str().starts_with(prefix)).collect();
    let key = if u.ratio(1, 2)? && !known.is_empty() {
        u.choose(&known)?.to_string()
    } else {
        format!("{prefix}{}", SessionId::new(u64::from(u8::arbitrary(u)?), [8; 10]))
    };
    let body = <&[u8]>::arbitrary(u)?;
    forger.put(kind, &key, body).await;
    Ok(())
}

/// A pack of records that lie about themselves, or do not.
async fn pack(
    u: &mut Unstructured<'_>,
    forger: &mut Forger<'_>,
    nodes: &mut Vec<Node>,
) -> Result<IndexedPack> {
    for _ in 0..u.int_in_range(1..=4)? {
        let kind = *u.choose(&[ChunkKind::Data, ChunkKind::Recipe])?;
        let raw = match kind {
            ChunkKind::Data => <&[u8]>::arbitrary(u)?.to_vec(),
            ChunkKind::Recipe => piece(u.int_in_range(0..=3)?, &some(u, nodes)?),
        };
        let id = match u.int_in_range(0..=2)? {
            0 => forger.raw(kind, &raw),
            1 => forger.delta(&raw, <&[u8]>::arbitrary(u)?),
            _ => lying_record(u, forger, nodes, kind, &raw)?,
        };
        let len = if u.ratio(1, 4)? { u.arbitrary()? } else { raw.len() as u64 };
        nodes.push(Node { id, len });
    }
    Ok(forger.pack().await)
}

fn lying_record(
    u: &mut Unstructured<'_>,
    forger: &mut Forger<'_>,
    nodes: &[Node],
    kind: ChunkKind,
    squeezed: &[u8],
) -> Result<ChunkId> {
    let codec = *u.choose(&[Codec::Raw, Codec::Zstd, Codec::Delta])?;
    let base = if codec == Codec::Delta { Some(u.choose(nodes)?.id) } else { None };
    let id = if u.ratio(1, 2)? { u.choose(nodes)?.id } else { ChunkId(u.arbitrary()?) };
    let raw_len = if u.ratio(1, 2)? { u.arbitrary()? } else { squeezed.len() as u32 };
    forger.record(Binding { id, kind, codec, raw_len, base }, squeezed);
    Ok(id)
}

/// Makes an index entry disagree with its pack.
fn lie(u: &mut Unstructured<'_>, pack: &mut IndexedPack) -> Result<()> {
    let mut directory = (*pack.directory).clone();
    for row in &mut directory.rows {
        match u.int_in_range(0..=5)? {
            0 => row.record_len = u.arbitrary()?,
            1 => row.binding.raw_len = u.arbitrary()?,
            2 => row.key = u.arbitrary()?,
            3 => row.binding.id = ChunkId(u.arbitrary()?),
            _ => {}
        }
    }
    if u.ratio(1, 4)? {
        pack.object_len = u.arbitrary()?;
    }
    pack.directory = Arc::new(directory);
    Ok(())
}

/// Some of the nodes, in any order, as often as it likes.
fn some(u: &mut Unstructured<'_>, nodes: &[Node]) -> Result<Vec<Node>> {
    let count = u.int_in_range(0..=40)?;
    (0..count).map(|_| u.choose(nodes).copied()).collect()
}

/// Reads what can be read, and sees that nothing which could be read before care is lost by it.
async fn check(place: &Place, forged: bool) {
    let Ok(repo) = place.open_on(place.store.clone(), 3).await else { return };
    let before = readable(place, &repo).await;
    let _ = repo.stats().await;
    if let Some(restored) = verify(&repo).await {
        assert_eq!(restored, before.len() as u64, "verify says that all can be restored");
    }
    push_next(&repo).await;
    let _ = prune(&repo).await;
    let repair = RepairOptions { read_data: true, ..RepairOptions::default() };
    let repaired = repo.repair(&repair, Arc::new(Silent)).await.is_ok();
    let healed = push_next(&repo).await;
    let _ = prune(&repo).await;
    let after = readable(place, &repo).await;
    // Who has the keys can condemn and forget what he likes.
    if !forged {
        let lost: Vec<_> = before.iter().filter(|id| !after.contains(id)).collect();
        assert!(lost.is_empty(), "care lost snapshots {lost:?}");
        assert!(!repaired || healed.is_none_or(|id| after.contains(&id)), "a push after a repair restores");
    }
}

/// The snapshots that were restored by `verify`; `None` if it found damage, or could not look.
async fn verify(repo: &Repository) -> Option<u64> {
    let options = VerifyOptions { level: 4, ..VerifyOptions::default() };
    let report = repo.verify(&options, Arc::new(Silent)).await.ok()?;
    (!report.is_damaged()).then_some(report.restored)
}

/// Pushes one night more; its id if that succeeded.
async fn push_next(repo: &Repository) -> Option<SnapshotId> {
    let id = push(repo, "db", &SPECIMEN.next).await.ok()?.id;
    let info = repo.find_snapshot(&id.to_string()).await.ok()?;
    if let Some(bytes) = pull(repo, &info).await {
        assert!(bytes == SPECIMEN.next, "a push restores to what was pushed, or to an error");
    }
    Some(id)
}

/// Ids of the snapshots that can be restored, found one by one: a list fails when one of them cannot be read.
///
/// # Panics
/// If one restores to something else than was pushed.
async fn readable(place: &Place, repo: &Repository) -> Vec<SnapshotId> {
    let mut found = Vec::new();
    for name in place.store.names("snapshots/") {
        let Ok(info) = repo.find_snapshot(name.trim_start_matches("snapshots/")).await else { continue };
        let Some(bytes) = pull(repo, &info).await else { continue };
        assert_eq!(blake3::hash(&bytes).as_bytes(), &*info.snapshot.digest);
        match SPECIMEN.snapshots.get(&info.id) {
            Some((pushed, wanted)) if pushed.receipt == info.receipt => assert!(bytes == *wanted),
            _ => {}
        }
        found.push(info.id);
    }
    found
}

/// The bytes of a snapshot; `None` if they were refused.
async fn pull(repo: &Repository, info: &SnapshotInfo) -> Option<Vec<u8>> {
    let out = Capped::default();
    repo.pull(info, Box::new(out.clone()), Arc::new(Silent)).await.ok()?;
    let bytes = std::mem::take(&mut *out.0.lock().expect("no code panics here"));
    Some(bytes)
}

/// Takes as much as a pull of the specimen can be, and not all that a forged snapshot describes.
#[derive(Clone, Default)]
struct Capped(Arc<Mutex<Vec<u8>>>);

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut taken = self.0.lock().expect("no code panics here");
        if taken.len() + bytes.len() > PULLED_BYTES_MAX {
            return Err(Error::other("enough"));
        }
        taken.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
