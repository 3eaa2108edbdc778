//! Every kind of object, cut, flipped, zeroed, swapped or removed: a table of what comes of it.

use crate::paper::{push, sharply};
use crate::specimen::{PASSPHRASE, Specimen, restores};
use bytes::{Bytes, BytesMut};
use cistern_format::pack::{Directory, END_LEN, HEADER_LEN, check_whole};
use cistern_repo::{
    PackId, PruneOptions, RepairOptions, Repository, Role, Severity, Silent, SnapshotId, Unlock,
    VerifyOptions, VerifyReport,
};
use cistern_store::{Key, Store as _};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// What is done to an object.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// Nothing but its first bytes are left: so many of a hundred.
    Cut(usize),
    /// A bit at so many of a thousand of its length is wrong.
    Flip(usize),
    /// A bit of this byte is wrong.
    FlipByte(usize),
    /// A bit of the byte so far from the end is wrong.
    FlipFromEnd(usize),
    /// Every byte is zero.
    Zeros,
    /// It holds the bytes of another of its kind.
    Swapped,
    /// It is gone.
    Removed,
}

const HARMS: [Harm; 9] = [
    Harm::Cut(0),
    Harm::Cut(50),
    Harm::Cut(99),
    Harm::Flip(3),
    Harm::Flip(500),
    Harm::Flip(999),
    Harm::Zeros,
    Harm::Swapped,
    Harm::Removed,
];

/// What packs have beside their ends: header, a record, directory, trailer, mac.
const PACK_HARMS: [Harm; 9] = [
    Harm::Cut(0),
    Harm::Cut(50),
    Harm::FlipByte(8),
    Harm::FlipByte(HEADER_LEN + 100),
    Harm::FlipFromEnd(END_LEN + 20),
    Harm::FlipFromEnd(END_LEN - 10),
    Harm::FlipFromEnd(5),
    Harm::Swapped,
    Harm::Removed,
];

async fn bytes_of(specimen: &Specimen, key: &Key) -> Bytes {
    specimen.place.store.get(key, u64::MAX).await.expect("it is there")
}

/// Harms an object; false if there is no other of its kind to swap it with.
async fn harm(specimen: &Specimen, harm: Harm, key: &Key, other: Option<&Key>) -> bool {
    let whole = bytes_of(specimen, key).await;
    let mem = &specimen.place.store.mem;
    match harm {
        Harm::Cut(percent) => mem.tamper(key, whole.slice(..whole.len() * percent / 100)),
        Harm::Flip(permille) => mem.tamper(key, flipped(&whole, whole.len() * permille / 1000)),
        Harm::FlipByte(at) => mem.tamper(key, flipped(&whole, at)),
        Harm::FlipFromEnd(at) => mem.tamper(key, flipped(&whole, whole.len() - at)),
        Harm::Zeros => mem.tamper(key, vec![0; whole.len()].into()),
        Harm::Removed => mem.delete(key).await.expect("memory lets go of everything"),
        Harm::Swapped => match other {
            Some(other) => mem.tamper(key, bytes_of(specimen, other).await),
            None => return false,
        },
    }
    true
}

fn flipped(whole: &Bytes, at: usize) -> Bytes {
    let mut bytes = BytesMut::from(&whole[..]);
    bytes[at] ^= 0x10;
    bytes.freeze()
}

/// What came of one harm, in words short enough for a table.
async fn outcome(specimen: &Specimen, key: &Key, when: &str) -> String {
    let place = &specimen.place;
    let repo = match place.open_on(place.store.clone(), 50).await {
        Ok(repo) => repo,
        Err(e) => return format!("open: {:?}", e.kind),
    };
    let mut row = format!("verify: {}", verified(&repo, key).await);
    write_to(&mut row, "pull", share(specimen, &restores(&repo, &specimen.wanted, when).await));
    let mut wanted = specimen.wanted.clone();
    write_to(&mut row, "push", pushed(&repo, specimen, &mut wanted, when).await);
    let all = RepairOptions { read_data: true, ..RepairOptions::default() };
    let repaired = match repo.repair(&all, Arc::new(Silent)).await {
        Ok(report) if report.lost.is_empty() => "clean".to_owned(),
        Ok(report) => format!("{} lost", report.lost.len()),
        Err(e) => format!("{:?}", e.kind),
    };
    write_to(&mut row, "repair", repaired);
    write_to(&mut row, "push", pushed(&repo, specimen, &mut wanted, when).await);
    write_to(&mut row, "prune", pruned(&repo).await);
    let right = restores(&repo, &specimen.wanted, when).await;
    write_to(&mut row, "then", format!("{}, {}", share(specimen, &right), verified(&repo, key).await));
    row
}

/// Prunes until all is done; every open session counts as silent.
async fn pruned(repo: &Repository) -> String {
    let options = PruneOptions { session_timeout: Duration::ZERO, ..sharply() };
    for _ in 0..2 {
        match repo.prune(&options, Arc::new(Silent)).await {
            Ok(report) if report.waiting.is_empty() => {}
            Ok(_) => return "waits".to_owned(),
            Err(e) => return format!("{:?}", e.kind),
        }
    }
    "ok".to_owned()
}

fn write_to(row: &mut String, column: &str, text: String) {
    write!(row, " | {column}: {text}").expect("a String takes every write");
}

fn share(specimen: &Specimen, right: &[SnapshotId]) -> String {
    match right.len() {
        n if n == specimen.wanted.len() => "all".to_owned(),
        0 => "none".to_owned(),
        n => format!("{n} of {}", specimen.wanted.len()),
    }
}

/// Pushes what comes next; what a push promised must restore at once.
async fn pushed(
    repo: &Repository,
    specimen: &Specimen,
    wanted: &mut BTreeMap<SnapshotId, Bytes>,
    when: &str,
) -> String {
    match push(repo, "db", &specimen.next).await {
        Ok(receipt) => {
            wanted.insert(receipt.id, specimen.next.clone());
            let own = BTreeMap::from([(receipt.id, specimen.next.clone())]);
            match restores(repo, &own, when).await.len() {
                1 => "ok".to_owned(),
                _ => "ok, unreadable".to_owned(),
            }
        }
        Err(e) => format!("{:?}", e.kind),
    }
}

/// The worst that verify tells, and whether it names the object.
async fn verified(repo: &Repository, key: &Key) -> String {
    let options = VerifyOptions { level: 4, ..VerifyOptions::default() };
    let report = match repo.verify(&options, Arc::new(Silent)).await {
        Ok(report) => report,
        Err(e) if e.to_string().contains(key.name()) => return format!("{:?}, names it", e.kind),
        Err(e) => return format!("{:?}", e.kind),
    };
    let worst = match (report.is_damaged(), report.findings.is_empty()) {
        (true, _) => "damage",
        (false, false) => "warning",
        (false, true) => return "clean".to_owned(),
    };
    let named = report.findings.iter().any(|f| f.subject.contains(key.name()) || f.what.contains(key.name()));
    format!("{worst}{}", if named { ", names it" } else { "" })
}

/// The rows of one kind; harms with the same outcome share one.
async fn table(base: &Specimen, what: &str, key: &Key, other: Option<&Key>, harms: &[Harm]) -> String {
    let mut rows: Vec<(Vec<String>, String)> = Vec::new();
    for &done in harms {
        let specimen = base.copy().await;
        if !harm(&specimen, done, key, other).await {
            continue;
        }
        let name = format!("{done:?}");
        let outcome = outcome(&specimen, key, &format!("{what}, {name}")).await;
        match rows.iter_mut().find(|(_, o)| *o == outcome) {
            Some((names, _)) => names.push(name),
            None => rows.push((vec![name], outcome)),
        }
    }
    rows.iter().map(|(names, outcome)| format!("{what}: {}\n    {outcome}\n", names.join(" "))).collect()
}

/// A pack whose chunks others are deltas of, and one with deltas.
async fn packs_of_bases_and_deltas(base: &Specimen) -> (Key, Key) {
    let repo = base.place.open(60).await;
    let (mut packs, mut bases) = (Vec::new(), BTreeSet::new());
    for name in base.place.store.names("packs/") {
        let key = Key::new(name);
        let id: PackId = key.name().parse().expect("packs are named by their id");
        let directory = check_whole(repo.keys(), &id, &bytes_of(base, &key).await).expect("it is sound");
        bases.extend(directory.rows.iter().filter_map(|r| r.binding.base));
        packs.push((key, directory));
    }
    let most = |count: &dyn Fn(&Directory) -> usize| {
        packs.iter().max_by_key(|(_, d)| count(d)).expect("there are packs").0.clone()
    };
    let of_bases = most(&|d| d.rows.iter().filter(|r| bases.contains(&r.binding.id)).count());
    (of_bases, most(&|d| d.rows.iter().filter(|r| r.binding.base.is_some()).count()))
}

#[tokio::test(start_paused = true)]
async fn a_lost_pack_of_bases_is_named_for_every_snapshot_it_touches_and_for_no_other() {
    let base = Specimen::new().await;
    let packs = base.place.store.names("packs/");
    let mut touched_some = 0;
    for name in &packs {
        let specimen = base.copy().await;
        specimen.place.store.delete(&Key::new(name.clone())).await.expect("memory lets go of everything");
        let repo = specimen.place.open(60).await;
        let right = restores(&repo, &specimen.wanted, name).await;
        let lost: BTreeSet<String> =
            specimen.wanted.keys().filter(|id| !right.contains(id)).map(ToString::to_string).collect();
        let options = VerifyOptions { level: 1, ..VerifyOptions::default() };
        let report: VerifyReport =
            repo.verify(&options, Arc::new(Silent)).await.expect("it looks at what is left");
        let named: BTreeSet<String> = report
            .findings
            .iter()
            .filter(|f| f.severity == Severity::Damage)
            .flat_map(|f| f.snapshots.iter().filter_map(|s| s.rsplit(' ').next()).map(str::to_owned))
            .collect();
        assert_eq!(named, lost, "{name}: {:#?}", report.findings);
        touched_some += u32::from(lost.len() > 1);
    }
    assert!(touched_some > 0, "some pack of {} is needed by several snapshots", packs.len());
}

#[tokio::test]
async fn a_damaged_key_slot_does_not_keep_the_others_from_opening() {
    let base = crate::paper::Place::new(1).await;
    let repo = base.open(2).await;
    for passphrase in [PASSPHRASE, b"another one of them"] {
        repo.add_key_slot(Role::Push, "test", passphrase).await.expect("nothing fails here");
    }
    let keys = base.store.names("keys/");
    let whole = base.store.get(&Key::new(keys[0].clone()), u64::MAX).await.expect("it is there");
    let spoiled = [
        whole.slice(..whole.len() / 2),
        Bytes::new(),
        flipped(&whole, whole.len() / 2),
        flipped(&whole, whole.len() - 3),
        vec![0; whole.len()].into(),
    ];
    for (n, bytes) in spoiled.into_iter().enumerate() {
        base.store.mem.tamper(&Key::new(keys[0].clone()), bytes);
        let world = || cistern_repo::World::real().with_threads(0);
        let unlock = |passphrase: &[u8]| Unlock::Passphrase(passphrase.to_vec());
        let store: Arc<dyn cistern_store::Store> = base.store.clone();
        let damaged = Repository::open(store.clone(), unlock(PASSPHRASE), world()).await;
        assert!(damaged.is_err(), "harm {n}: the spoiled slot opens");
        let other = Repository::open(store, unlock(b"another one of them"), world()).await;
        other.unwrap_or_else(|e| panic!("harm {n}: the sound slot does not open: {e:?}"));
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_is_harmed_comes_out_as_the_table_says() {
    let base = Specimen::new().await;
    let mut found = String::new();
    let tombstone = Key::new(format!("snapshots/{}", base.refused));
    for (what, prefix) in [
        ("marker", "cistern.json"),
        ("config", "config"),
        ("index", "index/"),
        ("sketches", "sketches/"),
        ("session", "sessions/"),
        ("snapshot", "snapshots/"),
        ("mark", "marks/"),
        ("forgotten", "forgotten/"),
        ("trash", "trash/"),
        ("report", "verified/"),
    ] {
        let (key, other) = base.two_of(prefix);
        found += &table(&base, what, &key, other.as_ref(), &HARMS).await;
    }
    let (snapshot, _) = base.two_of("snapshots/");
    found += &table(&base, "tombstone", &tombstone, Some(&snapshot), &HARMS).await;
    let queue = base.place.store.names("trash/").into_iter().find(|n| n.ends_with("queue"));
    found += &table(&base, "queue", &Key::new(queue.expect("a prune waits")), None, &HARMS).await;
    let (bases, deltas) = packs_of_bases_and_deltas(&base).await;
    found += &table(&base, "pack of bases", &bases, Some(&deltas), &PACK_HARMS).await;
    found += &table(&base, "pack of deltas", &deltas, Some(&bases), &PACK_HARMS).await;
    let rows = include_str!("objects.txt").lines().filter(|line| !line.starts_with('#'));
    let table: String = rows.map(|line| format!("{line}\n")).collect();
    assert!(found == table, "the table in objects.txt says otherwise; found:\n{found}");
}
