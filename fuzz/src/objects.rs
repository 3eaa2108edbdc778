//! CBOR bodies: configuration, snapshots, and the small objects around them.

use cistern_format::config::Config;
use cistern_format::object::{Forgotten, Mark, Session, Trash, TrashQueue, Verified, from_cbor, to_cbor};
use cistern_format::snapshot::{Snapshot, Tombstone};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// The first byte chooses what the rest is the body of.
pub fn run(input: &[u8]) {
    let Some((&what, body)) = input.split_first() else { return };
    match what % 9 {
        0 => config(body),
        1 => snapshot(body),
        2 => again::<Session>(body),
        3 => again::<Tombstone>(body),
        4 => again::<Mark>(body),
        5 => again::<Forgotten>(body),
        6 => again::<Trash>(body),
        7 => again::<TrashQueue>(body),
        _ => again::<Verified>(body),
    }
}

/// What can be read is written and read again the same.
fn again<T: Serialize + DeserializeOwned + PartialEq + Debug>(body: &[u8]) {
    if let Ok(object) = from_cbor::<T>("object", body) {
        assert_eq!(from_cbor("object", &to_cbor(&object)), Ok(object));
    }
}

fn config(body: &[u8]) {
    again::<Config>(body);
    let Ok(config) = from_cbor::<Config>("configuration", body) else { return };
    if config.check().is_ok() {
        let cutter = cistern_format::chunk::Cutter::new(config.chunk_sizes, &[1; 32]);
        let bytes = vec![0; config.chunk_sizes.max_bytes as usize + 1];
        let cut = cutter.cut(&bytes, false).expect("there is more than the largest chunk");
        assert!((1..=config.chunk_sizes.max_bytes as usize).contains(&cut));
    }
}

fn snapshot(body: &[u8]) {
    let Ok(snapshot) = Snapshot::decode(body) else { return };
    assert_eq!(Snapshot::decode(&to_cbor(&snapshot)), Ok(snapshot.clone()));
    let mut sum = snapshot.stored;
    sum.add(&snapshot.stored);
    if let Some(wrap) = &snapshot.wrap {
        super::streams::described(&wrap.segments);
    }
}
