//! The tables behind the seals: directories, index objects, sketches, pieces of recipes.

use cistern_format::pack::Directory;
use cistern_format::sketch::SketchList;
use cistern_format::{recipe, segment};

/// The first byte chooses which table the rest is.
pub fn run(input: &[u8]) {
    let Some((&what, bytes)) = input.split_first() else { return };
    match what % 4 {
        0 => directory(bytes),
        1 => segment(bytes),
        2 => sketches(bytes),
        _ => piece(what / 4, bytes),
    }
}

/// Reads a directory; what can be read is written and read again the same.
pub fn directory(bytes: &[u8]) {
    let Ok(directory) = Directory::decode(bytes) else { return };
    let encoded = directory.encode();
    assert!(encoded.len() <= directory.encoded_len() && encoded.len() <= bytes.len());
    let located: Vec<u64> = directory.located().map(|(offset, _)| offset).collect();
    assert!(located.is_sorted());
    assert_eq!(Directory::decode(&encoded), Ok(directory));
}

fn segment(bytes: &[u8]) {
    if let Ok(packs) = segment::decode(bytes) {
        assert_eq!(segment::decode(&segment::encode(&packs)), Ok(packs));
    }
}

fn sketches(bytes: &[u8]) {
    if let Ok(list) = SketchList::decode(bytes) {
        assert_eq!(list.encode(), bytes, "there is one way to write a list");
    }
}

fn piece(level: u8, bytes: &[u8]) {
    if let Ok(nodes) = recipe::decode(level, bytes) {
        assert_eq!(crate::forge::piece(level, &nodes), bytes, "there is one way to write a piece");
    }
}
