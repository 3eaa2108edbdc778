//! The suite that every store and every wrapper must pass (feature `contract`).
//!
//! It panics at the first broken promise, naming it. It writes below `contract/<random>/` and
//! removes what it wrote, so that it may be run again and again on one bucket.

use crate::{ErrorKind, Key, Store};
use bytes::Bytes;
use futures::future::join_all;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use std::collections::BTreeMap;

/// How much work the suite does.
#[derive(Clone, Debug)]
pub struct Extent {
    /// Objects listed: more than 1000, the page of S3, finds a listing that stops after a page.
    pub list_len: usize,
    /// Size of the large object.
    pub large_bytes: usize,
    /// Races of eight writers for one name.
    pub race_len: usize,
}

impl Default for Extent {
    fn default() -> Extent {
        Extent { list_len: 1100, large_bytes: 40 << 20, race_len: 20 }
    }
}

/// Objects written or removed at once, to make a thousand in bearable time on a remote store.
const AT_ONCE: usize = 16;

/// Checks the whole contract of [`Store`] in its default [`Extent`].
///
/// # Panics
/// When the store breaks a promise.
pub async fn check(store: &dyn Store) {
    check_to(store, &Extent::default()).await;
}

/// Checks the whole contract of [`Store`], as far as `extent` goes.
///
/// # Panics
/// When the store breaks a promise.
pub async fn check_to(store: &dyn Store, extent: &Extent) {
    let dir = format!("contract/{:016x}", rand::random::<u64>());
    let at = |name: &str| Key::new(format!("{dir}/{name}"));
    assert!(!store.location().is_empty(), "a store says where it is");
    written_is_read(store, &at("plain")).await;
    empty_object(store, &at("empty"), &at("empty-part")).await;
    ranges(store, &at("ranges")).await;
    absent(store, &at("absent")).await;
    never_replaced(store, &at("once")).await;
    one_winner(store, &format!("{dir}/race"), extent.race_len).await;
    large(store, &at("large"), extent.large_bytes).await;
    odd_names(store, &dir).await;
    deleted_is_gone(store, &at("deleted")).await;
    listing(store, &format!("{dir}/list"), extent.list_len).await;
    clean(store, &format!("{dir}/")).await;
}

async fn written_is_read(store: &dyn Store, key: &Key) {
    let parts = vec![Bytes::from_static(b"one "), Bytes::from_static(b"two "), Bytes::from_static(b"three")];
    store.put_new(key, parts).await.expect("a new object is written");
    let bytes = store.get(key, 13).await.expect("a written object is read");
    assert_eq!(bytes, "one two three", "parts are joined in order");
    let entry = store.head(key).await.expect("a written object is found");
    assert_eq!((&entry.key, entry.size), (key, 13), "head tells key and size");
    let e = store.get(key, 12).await.expect_err("a byte more than the caller allows");
    assert_eq!(e.kind, ErrorKind::TooLarge, "{e}");
}

async fn empty_object(store: &dyn Store, no_part: &Key, empty_part: &Key) {
    for (key, parts) in [(no_part, vec![]), (empty_part, vec![Bytes::new()])] {
        store.put_new(key, parts).await.expect("an empty object is an object");
        assert_eq!(store.get(key, 0).await.expect("it is read"), "");
        assert_eq!(store.head(key).await.expect("it is found").size, 0);
        assert_eq!(store.get_range(key, 0..0).await.expect("an empty range of it"), "");
        let e = store.get_range(key, 0..1).await.expect_err("it has no first byte");
        assert_eq!(e.kind, ErrorKind::CutShort, "{e}");
        let e = store.put_new(key, vec![Bytes::from_static(b"x")]).await.expect_err("it has its name");
        assert_eq!(e.kind, ErrorKind::Exists, "{e}");
    }
}

async fn ranges(store: &dyn Store, key: &Key) {
    let whole = noise(1000, 1);
    store.put_new(key, vec![whole.clone()]).await.expect("a new object is written");
    for range in [0..1, 0..1000, 7..8, 990..1000, 500..500, 1000..1000] {
        let read =
            store.get_range(key, range.start as u64..range.end as u64).await.expect("inside the object");
        assert_eq!(read, whole[range.clone()], "exactly the range {range:?}");
    }
    for range in [0..1001, 999..1001, 1000..1001, 1001..1001, 5000..6000] {
        let e = store.get_range(key, range.clone()).await.expect_err("past the end");
        assert_eq!(e.kind, ErrorKind::CutShort, "{range:?}: {e}");
    }
}

async fn absent(store: &dyn Store, key: &Key) {
    let kinds = [
        store.get(key, 1 << 20).await.expect_err("get of nothing").kind,
        store.get_range(key, 0..1).await.expect_err("range of nothing").kind,
        store.get_range(key, 0..0).await.expect_err("empty range of nothing").kind,
        store.head(key).await.expect_err("head of nothing").kind,
    ];
    assert_eq!(kinds, [ErrorKind::NotFound; 4], "an absent object is NotFound");
    store.delete(key).await.expect("deleting nothing is fine");
}

async fn never_replaced(store: &dyn Store, key: &Key) {
    let first = Bytes::from_static(b"first");
    store.put_new(key, vec![first.clone()]).await.expect("a new object is written");
    for other in ["other", "longer than the first", ""] {
        let e = store.put_new(key, vec![Bytes::from(other)]).await.expect_err("the name is taken");
        assert_eq!(e.kind, ErrorKind::Exists, "{e}");
        assert_eq!(store.get(key, 100).await.expect("still there"), first, "nothing is overwritten");
    }
    // What a writer sees who lost the reply and writes again, cut into other parts.
    let again = vec![first.slice(..2), first.slice(2..)];
    store.put_new(key, again).await.expect("the same bytes again are fine");
}

async fn one_winner(store: &dyn Store, dir: &str, race_len: usize) {
    for race in 0..race_len {
        let key = Key::new(format!("{dir}/{race}"));
        // One length for all: a store that compares sizes only would call everybody the winner.
        let writers = (0..8u8).map(|i| store.put_new(&key, vec![Bytes::from(vec![i; 300])]));
        let ends = join_all(writers).await;
        let won: Vec<usize> = (0..8).filter(|i| ends[*i].is_ok()).collect();
        assert_eq!(won.len(), 1, "of eight racing writers one wins: {ends:?}");
        for e in ends.iter().filter_map(|end| end.as_ref().err()) {
            assert_eq!(e.kind, ErrorKind::Exists, "{e}");
        }
        let there = store.get(&key, 1000).await.expect("the winner's object");
        assert_eq!(there, vec![won[0] as u8; 300], "the object is the winner's");
    }
}

async fn large(store: &dyn Store, key: &Key, size_bytes: usize) {
    let whole = noise(size_bytes, 2);
    let (a, b) = (size_bytes / 7, size_bytes / 2);
    let parts = vec![whole.slice(..a), whole.slice(a..b), whole.slice(b..)];
    store.put_new(key, parts).await.expect("a large object is written");
    assert!(store.get(key, size_bytes as u64).await.expect("it is read") == whole, "it is read unchanged");
    let across = a - 100..a + 100;
    let read = store.get_range(key, across.start as u64..across.end as u64).await.expect("a piece of it");
    assert_eq!(read, whole[across], "a range across a part's border");
}

async fn odd_names(store: &dyn Store, dir: &str) {
    let long = "n".repeat(255);
    let names = ["a", "A0", "a.b-c_d", "-", "_", "--flag", "x..y", "a.tmp", "1/2/3/4/5", "con", &long];
    for name in names {
        let key = Key::new(format!("{dir}/odd/{name}"));
        let bytes = Bytes::from(name.to_owned());
        store.put_new(&key, vec![bytes.clone()]).await.expect("every key can be written");
        assert_eq!(store.get(&key, 1000).await.expect("and read"), bytes, "{key}");
    }
    let found = keys_below(store, &format!("{dir}/odd/")).await;
    assert_eq!(found.len(), names.len(), "and listed: {:?}", found.keys());
}

async fn deleted_is_gone(store: &dyn Store, key: &Key) {
    store.put_new(key, vec![Bytes::from_static(b"old")]).await.expect("a new object is written");
    store.delete(key).await.expect("it is deleted");
    assert_eq!(store.head(key).await.expect_err("it is gone").kind, ErrorKind::NotFound);
    store.delete(key).await.expect("deleting it again is fine");
    store.put_new(key, vec![Bytes::from_static(b"new")]).await.expect("its name is free again");
    assert_eq!(store.get(key, 3).await.expect("the new one"), "new");
}

async fn listing(store: &dyn Store, dir: &str, list_len: usize) {
    let size = |i: usize| i % 5;
    let key = |i: usize| Key::new(format!("{dir}/many/{:02x}/{i}", i % 32));
    let writes = (0..list_len).map(|i| {
        let key = key(i);
        async move { store.put_new(&key, vec![Bytes::from(vec![b'x'; size(i)])]).await }
    });
    stream::iter(writes)
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await
        .expect("many objects are written");
    // A name that only begins like the directory must not be listed with it.
    let beside = Key::new(format!("{dir}/many-more"));
    store.put_new(&beside, vec![]).await.expect("an object is written");

    let expected: BTreeMap<Key, u64> = (0..list_len).map(|i| (key(i), size(i) as u64)).collect();
    let found = keys_below(store, &format!("{dir}/many/")).await;
    assert!(found == expected, "listed {} of {list_len} objects, or other sizes", found.len());
    let some = keys_below(store, &format!("{dir}/many/07/")).await;
    assert_eq!(some.len(), (0..list_len).filter(|i| i % 32 == 7).count(), "a directory of them");
    assert!(keys_below(store, &format!("{dir}/many/0/")).await.is_empty(), "no such directory");
    let all = keys_below(store, "").await;
    assert!(expected.keys().chain([&beside]).all(|key| all.contains_key(key)), "the root lists everything");
}

/// Every key with its size; panics on one that is listed twice.
async fn keys_below(store: &dyn Store, prefix: &str) -> BTreeMap<Key, u64> {
    let mut found = BTreeMap::new();
    let mut entries = store.list(prefix);
    while let Some(entry) = entries.next().await {
        let entry = entry.expect("a listing goes on to its end");
        assert!(entry.key.as_str().starts_with(prefix), "{} is not below {prefix}", entry.key);
        let twice = found.insert(entry.key.clone(), entry.size).is_some();
        assert!(!twice, "{} is listed twice", entry.key);
    }
    found
}

async fn clean(store: &dyn Store, prefix: &str) {
    let keys = keys_below(store, prefix).await;
    let deletes = keys.keys().map(|key| store.delete(key));
    stream::iter(deletes).buffer_unordered(AT_ONCE).try_collect::<()>().await.expect("objects are deleted");
    assert!(keys_below(store, prefix).await.is_empty(), "nothing is left");
}

/// Bytes that look random and are the same in each run.
fn noise(len: usize, seed: u64) -> Bytes {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into()
}
