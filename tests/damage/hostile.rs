//! Objects with valid seals that lie: bounded memory, a clear error, nothing wrong written out.

use crate::forge::{Forger, find, piece};
use crate::paper::{Place, nights_of, pull, push};
use bytes::Bytes;
use cistern_format::codec::{Codec, Squeezer};
use cistern_format::envelope::Kind;
use cistern_format::id::{ChunkId, SessionId, SnapshotId};
use cistern_format::pack::{Directory, Row};
use cistern_format::recipe::{Node, Root};
use cistern_format::record::{Binding, ChunkKind};
use cistern_format::segment::IndexedPack;
use cistern_format::sketch::{FEATURES, Sketch, SketchList, series};
use cistern_repo::{ErrorKind, Mark, RepairOptions, Repository, Silent, SnapshotInfo, VerifyOptions};
use cistern_store::{Key, Store as _};
use std::sync::Arc;

struct Victim {
    place: Place,
    repo: Repository,
    pushed: Bytes,
    next: Bytes,
    like: SnapshotInfo,
}

impl Victim {
    async fn new() -> Victim {
        let place = Place::new(1).await;
        let repo = place.open(2).await;
        let nights = nights_of(3, 200_000, 2);
        let id = push(&repo, "db", &nights[0]).await.expect("nothing fails here").id;
        let like = find(&repo, id).await;
        Victim { place, repo, pushed: nights[0].clone(), next: nights[1].clone(), like }
    }

    /// What was there before restores, and the next night can be pushed and restored.
    async fn still_works(&self, when: &str) {
        let next = push(&self.repo, "db", &self.next).await.unwrap_or_else(|e| panic!("{when}: {e:?}"));
        for (id, bytes) in [(self.like.id, &self.pushed), (next.id, &self.next)] {
            let (got, pulled) = pull(&self.repo, &find(&self.repo, id).await).await;
            pulled.unwrap_or_else(|e| panic!("{when}: {e:?}"));
            assert!(got == **bytes, "{when}: other bytes came out");
        }
    }

    /// The pull is refused as damaged, after nothing but the beginning of `whole`.
    async fn refused(&self, id: SnapshotId, whole: &[u8], why: &str) {
        let (got, pulled) = pull(&self.repo, &find(&self.repo, id).await).await;
        let error = pulled.expect_err("it cannot be right");
        assert!(whole.starts_with(&got), "{} bytes were written that are not the stream's", got.len());
        assert_eq!(error.kind, ErrorKind::Damaged, "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
}

fn flat(nodes: &[(ChunkId, usize)]) -> Root {
    let nodes = nodes.iter().map(|(id, len)| Node { id: *id, len: *len as u64 }).collect();
    Root { depth: 0, nodes }
}

fn rows(seed: u8, len: usize) -> Vec<u8> {
    let mut rows = vec![0; len];
    blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut rows);
    rows
}

#[tokio::test(start_paused = true)]
async fn sketches_that_lie_cost_space_and_nothing_else() {
    let announced = |n: u32| [&[0u8; 24][..], &n.to_le_bytes()].concat();
    let many = || {
        let sketches = (0..300_000u32)
            .map(|n| (ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes()), Sketch([n | 1; FEATURES])));
        SketchList { series: [0; 16], sequence: u64::MAX, sketches: sketches.collect() }.encode()
    };
    let victim = Victim::new().await;
    let mut forger = Forger::new(&victim.place).await;
    let ours = hex(&series(forger.keys(), "db"));
    for (n, body) in [announced(u32::MAX), announced(0), vec![], many()].iter().enumerate() {
        forger.put(Kind::Sketches, &format!("sketches/{ours}/01ZZZZZZZZZZZZZZZZZZZZZZZ{n}"), body).await;
    }
    victim.still_works("sketches that announce millions, hold none, or name chunks that are not there").await;
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_is_no_mark_keeps_no_snapshot_from_being_found() {
    let victim = Victim::new().await;
    let id = victim.like.id;
    let mark = Mark { add_tags: vec!["good".to_owned()], ..Mark::default() };
    victim.repo.mark(id, mark).await.expect("nothing fails here");
    let key = format!("marks/{id}.{}", SessionId::new(1, [9; 10]));
    Forger::new(&victim.place).await.put(Kind::Mark, &key, &[0x80]).await;
    let listed = victim.repo.snapshots().await;
    assert!(listed.is_err(), "a hold may be lost, and a prune must not forget what is held");
    let found = victim.repo.find_snapshot(&id.to_string()).await.expect("who reads needs no marks");
    assert!(found.tags.contains("good"), "the other marks count");
}

#[tokio::test(start_paused = true)]
async fn sketches_that_name_the_wrong_chunks_make_poor_deltas_that_restore() {
    let victim = Victim::new().await;
    let mut forger = Forger::new(&victim.place).await;
    let own = victim.place.store.names("sketches/").remove(0);
    let object = victim.place.store.get(&Key::new(own.clone()), u64::MAX).await.expect("it is listed");
    let body = cistern_format::envelope::open(forger.keys(), Kind::Sketches, &own, &object);
    let mut list = SketchList::decode(&body.expect("it is sound")).expect("it is sound");
    let sketches: Vec<Sketch> = list.sketches.iter().rev().map(|(_, sketch)| *sketch).collect();
    list.sketches.iter_mut().zip(sketches).for_each(|(entry, sketch)| entry.1 = sketch);
    list.sequence = u64::MAX;
    forger.put(Kind::Sketches, &own, &list.encode()).await;
    victim.still_works("sketches in the wrong order").await;
}

#[tokio::test(start_paused = true)]
async fn a_delta_whose_base_is_a_delta_is_refused_and_stored_anew_by_the_next_push() {
    let victim = Victim::new().await;
    let mut forger = Forger::new(&victim.place).await;
    let whole = rows(1, 3000);
    let (middle, top) = ([&whole[..], b"one"].concat(), [&whole[..], b"two"].concat());
    forger.raw(ChunkKind::Data, &whole);
    forger.delta(&middle, &whole);
    let id = forger.delta(&top, &middle);
    let pack = forger.pack().await;
    forger.index(&[pack]).await;
    let snapshot = forger.snapshot(&victim.like, flat(&[(id, top.len())]), &top).await;
    victim.refused(snapshot, &top, "no pack that exists holds it").await;
    let receipt = push(&victim.repo, "top", &top).await.expect("nothing fails here");
    let (got, pulled) = pull(&victim.repo, &find(&victim.repo, receipt.id).await).await;
    assert!(pulled.is_ok() && got == top, "{pulled:?}");
    victim.still_works("a chain of deltas").await;
}

#[tokio::test(start_paused = true)]
async fn a_delta_of_itself_spoils_its_index_object_and_no_more() {
    let victim = Victim::new().await;
    let mut forger = Forger::new(&victim.place).await;
    let raw = rows(1, 3000);
    let id = forger.delta(&raw, &raw);
    let pack = forger.pack().await;
    forger.index(&[pack]).await;
    let snapshot = forger.snapshot(&victim.like, flat(&[(id, raw.len())]), &raw).await;
    victim.refused(snapshot, &raw, "no pack that exists holds it").await;
    victim.still_works("a delta of itself").await;
}

#[tokio::test(start_paused = true)]
async fn a_bomb_goes_no_further_than_its_recorded_length() {
    let victim = Victim::new().await;
    let zeros = vec![0; 64 << 20];
    let mut bomb = vec![0; Squeezer::bound(zeros.len())];
    let (codec, len) = Squeezer::new(1).squeeze(&zeros, &mut bomb);
    assert!(codec == Codec::Zstd && len < 100_000, "{len} bytes for 64 MiB");
    let base = rows(1, 5000);
    for (n, base) in [None, Some(&base)].into_iter().enumerate() {
        let place = victim.place.copy().await;
        let mut forger = Forger::new(&place).await;
        let id = forger.name(&zeros);
        let base = base.map(|base| forger.raw(ChunkKind::Data, base));
        let codec = if base.is_some() { Codec::Delta } else { Codec::Zstd };
        forger.record(Binding { id, kind: ChunkKind::Data, codec, raw_len: 5000, base }, &bomb[..len]);
        let pack = forger.pack().await;
        forger.index(&[pack]).await;
        let snapshot = forger.snapshot(&victim.like, flat(&[(id, 5000)]), &zeros[..5000]).await;
        let repo = place.open(9).await;
        let victim = Victim { repo, place: place.copy().await, ..Victim::new().await };
        victim.refused(snapshot, &zeros[..5000], "compressed chunk").await;
        victim.still_works(&format!("bomb {n}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn recipes_that_lie_about_lengths_are_refused() {
    let victim = Victim::new().await;
    let raw = rows(1, 3000);
    for len in [0, 1, 2999, 3001, usize::MAX, usize::MAX / 2] {
        let mut forger = Forger::new(&victim.place).await;
        let id = forger.raw(ChunkKind::Data, &raw);
        if len == 0 {
            let pack = forger.pack().await;
            forger.index(&[pack]).await;
        }
        let nodes = [(id, 3000), (id, len), (id, len)];
        let snapshot = forger.snapshot(&victim.like, flat(&nodes), &raw).await;
        let whole = [&raw[..], &raw[..], &raw[..]].concat();
        victim.refused(snapshot, &whole, "").await;
    }
    victim.still_works("recipes that lie").await;
}

#[tokio::test(start_paused = true)]
async fn a_recipe_that_multiplies_itself_ends_where_the_snapshot_says_the_stream_does() {
    let victim = Victim::new().await;
    let mut forger = Forger::new(&victim.place).await;
    let raw = rows(1, 3000);
    let mut node = Node { id: forger.raw(ChunkKind::Data, &raw), len: 3000 };
    // 4096 to the fourth power: 844 petabytes.
    for level in 0..4 {
        let id = forger.raw(ChunkKind::Recipe, &piece(level, &vec![node; 4096]));
        node = Node { id, len: node.len * 4096 };
    }
    let pack = forger.pack().await;
    forger.index(&[pack]).await;
    let whole = raw.repeat(3);
    let snapshot = forger.snapshot(&victim.like, Root { depth: 4, nodes: vec![node] }, &whole).await;
    victim.refused(snapshot, &whole, "").await;
    victim.still_works("a recipe that multiplies itself").await;
}

#[tokio::test(start_paused = true)]
async fn recipes_of_the_wrong_shape_are_refused() {
    let victim = Victim::new().await;
    let mut forger = Forger::new(&victim.place).await;
    let raw = rows(1, 3000);
    let data = Node { id: forger.raw(ChunkKind::Data, &raw), len: 3000 };
    let shallow = forger.raw(ChunkKind::Recipe, &piece(0, &[data]));
    let wide = forger.raw(ChunkKind::Recipe, &piece(0, &vec![data; 5000]));
    let broken = forger.raw(ChunkKind::Recipe, &piece(0, &[data])[..20]);
    let pack = forger.pack().await;
    forger.index(&[pack]).await;
    for (depth, id) in [(2, shallow), (1, wide), (1, broken), (1, data.id), (0, shallow)] {
        let root = Root { depth, nodes: vec![Node { id, len: 3000 }] };
        let snapshot = forger.snapshot(&victim.like, root, &raw).await;
        victim.refused(snapshot, &raw, "").await;
    }
    let deep = Root { depth: 7, nodes: vec![data] };
    let snapshot = forger.snapshot(&victim.like, deep, &raw).await;
    let refused = victim.repo.snapshots().await.expect_err("no writer makes this");
    assert!(refused.to_string().contains("deeper or wider"), "{refused}");
    victim.place.store.delete(&Key::new(format!("snapshots/{snapshot}"))).await.expect("it is there");
    victim.still_works("recipes of the wrong shape").await;
}

/// What the pack says of itself counts in the end, and repair corrects the index.
#[tokio::test(start_paused = true)]
async fn an_index_that_lies_about_a_pack_hides_nothing_in_it() {
    let victim = Victim::new().await;
    let mut forger = Forger::new(&victim.place).await;
    let raw = rows(1, 3000);
    let id = forger.raw(ChunkKind::Data, &raw);
    let sound = forger.pack().await;
    let row = sound.directory.rows[0];
    let before = |record_len: u32, count: usize| {
        let binding = Binding { id: ChunkId([1; 32]), ..row.binding };
        let mut rows = vec![Row { binding, record_len, ..row }; count];
        rows.push(row);
        let directory = Arc::new(Directory { keys: sound.directory.keys.clone(), rows });
        IndexedPack { directory, ..sound.clone() }
    };
    let long = {
        let rows = vec![Row { record_len: 8 << 20, ..row }];
        IndexedPack { directory: Arc::new(Directory { rows, ..(*sound.directory).clone() }), ..sound.clone() }
    };
    let hidden = {
        let binding = Binding { id: ChunkId([1; 32]), ..row.binding };
        let rows = vec![Row { binding, ..row }];
        IndexedPack { directory: Arc::new(Directory { rows, ..(*sound.directory).clone() }), ..sound.clone() }
    };
    let lies = [before(1 << 20, 1), before(4 << 20, 1500), before(row.record_len, 1), long, hidden];
    for (n, lie) in lies.into_iter().enumerate() {
        forger.index(&[lie]).await;
        let snapshot = forger.snapshot(&victim.like, flat(&[(id, 3000)]), &raw).await;
        let restores = async |when: &str| {
            let (got, pulled) = pull(&victim.repo, &find(&victim.repo, snapshot).await).await;
            pulled.unwrap_or_else(|e| panic!("lie {n}, {when}: {e:?}"));
            assert!(got == raw, "lie {n}, {when}: other bytes came out");
        };
        restores("by the pack's own directory").await;
        assert_eq!(findings(&victim.repo).await, [sound.id.key()], "lie {n}");
        let report = victim.repo.repair(&RepairOptions::default(), Arc::new(Silent)).await;
        let report = report.expect("nothing fails here");
        assert!(report.done.len() == 1 && report.lost.is_empty(), "lie {n}: {report:?}");
        assert_eq!(findings(&victim.repo).await, Vec::<String>::new(), "lie {n}");
        restores("by the index").await;
    }
    victim.still_works("an index that lies about a pack").await;
}

/// What verify complains of.
async fn findings(repo: &Repository) -> Vec<String> {
    let options = VerifyOptions { level: 4, ..VerifyOptions::default() };
    let report = repo.verify(&options, Arc::new(Silent)).await.expect("it looks at what is there");
    report.findings.into_iter().map(|f| f.subject).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
