//! `mongodump --archive`: a prelude that lists the collections, then their documents, interleaved.
//!
//! Every collection ends with a header that says so and carries the CRC-64 of its documents. The archive is whole
//! when each collection of the prelude has ended, and with the right checksum. Time series are listed by the
//! name of the view; their data comes under the name of their buckets, so the listed name never ends.
//!
//! Layout: mongo-tools, `common/archive/spec.md`.

use super::walk::{Grammar, ITEM_BYTES_MAX, Walker, Want, number_le};
use super::{Completeness, Format, Recognised};
use crc_fast::{CrcAlgorithm, Digest};
use std::collections::HashMap;

const MAGIC: [u8; 4] = 0x8199_e26d_u32.to_le_bytes();
const TERMINATOR: [u8; 4] = [0xff; 4];
/// A document is its length, which counts itself, elements, and a zero.
const DOCUMENT_BYTES_MIN: u64 = 5;
/// mongod's limit for documents, and what it allows for their wrapping.
const DOCUMENT_BYTES_MAX: u64 = (16 << 20) + (16 << 10);
/// MongoDB allows 255 bytes for database and collection together.
const NAME_BYTES_MAX: usize = 512;
const COLLECTIONS_MAX: usize = 1 << 16;

pub(super) fn recognise(head: &[u8]) -> Option<Recognised> {
    head.starts_with(&MAGIC).then(|| {
        let archive =
            Archive { collections: HashMap::new(), current: None, open: 0, mismatched: 0, next: Next::Magic };
        Recognised::new(Format::MongodumpArchive, Walker::new(archive, Want::Item(MAGIC.len())))
    })
}

/// Database and collection, with a zero between: neither can contain one.
type Name = Vec<u8>;

struct Archive {
    /// Those of the prelude, and those whose data has begun.
    collections: HashMap<Name, Collection>,
    /// Whose documents follow, and their checksum so far.
    current: Option<(Name, Digest)>,
    /// Collections that have not ended.
    open: usize,
    /// Collections that ended with a wrong checksum.
    mismatched: usize,
    next: Next,
}

struct Collection {
    /// The state of the checksum between two segments of the collection.
    crc_state: u64,
    ended: bool,
}

const CRC: CrcAlgorithm = CrcAlgorithm::Crc64Xz;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Magic,
    /// The length of a prelude document, or the end of the prelude.
    Prelude,
    PreludeBody,
    /// The length of a header: here the archive may end.
    Header,
    HeaderBody,
    /// The length of a document, or the end of the segment.
    Document,
    DocumentBody,
}

impl Archive {
    fn want(&mut self, next: Next, item_bytes: usize) -> Want {
        self.next = next;
        Want::Item(item_bytes)
    }

    /// Wants the rest of a document that is to be read, not only hashed.
    fn want_body(&mut self, length: &[u8], next: Next) -> Want {
        match number_le(length) {
            len if len < DOCUMENT_BYTES_MIN => Want::Lost("a document of impossible length".into()),
            len if len > ITEM_BYTES_MAX as u64 => Want::Lost("a header of more than 1 MiB".into()),
            len => self.want(next, len as usize - length.len()),
        }
    }

    /// The first document describes the archive and names no collection.
    fn prelude(&mut self, body: &[u8]) -> Want {
        if let Some(listed) = Header::parse(body) {
            if listed.name.len() > NAME_BYTES_MAX || self.collections.len() == COLLECTIONS_MAX {
                return Want::Lost("more collections than are kept track of".into());
            }
            if !listed.time_series {
                self.begin(listed.name);
            }
        }
        self.want(Next::Prelude, 4)
    }

    fn begin(&mut self, name: Name) {
        let crc_state = Digest::new(CRC).get_state();
        let before = self.collections.insert(name, Collection { crc_state, ended: false });
        self.open += usize::from(before.is_none());
    }

    fn header(&mut self, body: &[u8]) -> Want {
        let Some(header) = Header::parse(body) else {
            return Want::Lost("a header without a collection".into());
        };
        if !self.collections.contains_key(&header.name) {
            if header.name.len() > NAME_BYTES_MAX || self.collections.len() == COLLECTIONS_MAX {
                return Want::Lost("more collections than are kept track of".into());
            }
            self.begin(header.name.clone());
        }
        let Some(collection) = self.collections.get_mut(&header.name) else {
            return Want::Lost("a collection that was not noted".into());
        };
        if collection.ended {
            return Want::Lost("a collection that goes on after its end".into());
        }
        let crc = Digest::new_with_init_state(CRC, collection.crc_state);
        if header.end {
            collection.ended = true;
            self.open -= 1;
            self.mismatched += usize::from(crc.finalize() != header.crc);
        } else {
            self.current = Some((header.name, crc));
        }
        self.want(Next::Document, 4)
    }

    fn document(&mut self, length: &[u8]) -> Want {
        if length == TERMINATOR {
            if let Some((name, crc)) = self.current.take()
                && let Some(collection) = self.collections.get_mut(&name)
            {
                collection.crc_state = crc.get_state();
            }
            return self.want(Next::Header, 4);
        }
        let Some((_, crc)) = &mut self.current else {
            return Want::Lost("a document without a collection".into());
        };
        let len = number_le(length);
        if !(DOCUMENT_BYTES_MIN..=DOCUMENT_BYTES_MAX).contains(&len) {
            return Want::Lost("a document of impossible length".into());
        }
        crc.update(length);
        self.next = Next::DocumentBody;
        Want::Skip(len - length.len() as u64)
    }
}

impl Grammar for Archive {
    fn item(&mut self, item: &[u8]) -> Want {
        match self.next {
            Next::Magic => self.want(Next::Prelude, 4),
            Next::Prelude if item == TERMINATOR => self.want(Next::Header, 4),
            Next::Prelude => self.want_body(item, Next::PreludeBody),
            Next::PreludeBody => self.prelude(item),
            Next::Header => self.want_body(item, Next::HeaderBody),
            Next::HeaderBody => self.header(item),
            Next::Document | Next::DocumentBody => self.document(item),
        }
    }

    /// All the whole documents at once: hashing them one by one costs more than the hash.
    fn leap(&mut self, bytes: &[u8]) -> usize {
        // Between two documents of a collection, and nowhere else, there is one.
        let Some((_, crc)) = &mut self.current else { return 0 };
        let mut documents_bytes = 0;
        while let Some(length) = bytes[documents_bytes..].first_chunk::<4>() {
            let len = u64::from(u32::from_le_bytes(*length));
            let rest_bytes = (bytes.len() - documents_bytes) as u64;
            if !(DOCUMENT_BYTES_MIN..=DOCUMENT_BYTES_MAX.min(rest_bytes)).contains(&len) {
                break;
            }
            documents_bytes += len as usize;
        }
        crc.update(&bytes[..documents_bytes]);
        documents_bytes
    }

    fn passed(&mut self, piece: &[u8]) {
        if let Some((_, crc)) = &mut self.current {
            crc.update(piece);
        }
    }

    fn skipped(&mut self) -> Want {
        self.want(Next::Document, 4)
    }

    fn judge(&self, between_items: bool) -> Completeness {
        if self.next != Next::Header || !between_items {
            Completeness::truncated("the stream ends inside the archive")
        } else if self.open > 0 {
            let all = self.collections.len();
            Completeness::truncated(format!("{} of {all} collections did not end", self.open))
        } else if self.mismatched > 0 {
            Completeness::truncated(format!("{} collections have a wrong checksum", self.mismatched))
        } else {
            Completeness::Complete
        }
    }
}

/// What the documents between the collections' data say.
#[derive(Default)]
struct Header {
    name: Name,
    end: bool,
    crc: u64,
    time_series: bool,
}

impl Header {
    /// Reads a document from behind its length. `None` if it is malformed or names no collection.
    fn parse(body: &[u8]) -> Option<Header> {
        let (mut database, mut collection) = (None, None);
        let mut header = Header::default();
        let mut rest = body;
        loop {
            let (&kind, after_kind) = rest.split_first()?;
            if kind == 0 {
                break;
            }
            let key_bytes = memchr::memchr(0, after_kind)?;
            let (key, value) = (&after_kind[..key_bytes], &after_kind[key_bytes + 1..]);
            let value_bytes = value_bytes(kind, value)?;
            let after = value.get(value_bytes..)?;
            let value = &value[..value_bytes];
            match (key, kind) {
                (b"db", BSON_STRING) => database = string(value),
                (b"collection", BSON_STRING) => collection = string(value),
                (b"type", BSON_STRING) => header.time_series = string(value) == Some(b"timeseries"),
                (b"EOF", BSON_BOOL) => header.end = value == [1],
                (b"CRC", BSON_INT64) => header.crc = number_le(value),
                _ => {}
            }
            rest = after;
        }
        header.name = [database?, collection?].join(&0);
        Some(header)
    }
}

const BSON_STRING: u8 = 0x02;
const BSON_BOOL: u8 = 0x08;
const BSON_INT64: u8 = 0x12;

/// How long the value of an element is (bsonspec.org). Only kinds that mongodump may put into a header.
fn value_bytes(kind: u8, value: &[u8]) -> Option<usize> {
    let length = || Some(u32::from_le_bytes(*value.first_chunk()?) as usize);
    match kind {
        BSON_STRING => length()?.checked_add(4),
        // Embedded document and array: the length counts itself.
        0x03 | 0x04 => length(),
        // Null.
        0x0a => Some(0),
        BSON_BOOL => Some(1),
        // 32-bit integer.
        0x10 => Some(4),
        // Double, date, timestamp.
        0x01 | 0x09 | 0x11 | BSON_INT64 => Some(8),
        _ => None,
    }
}

/// The text of a string value: behind its length, without the zero at its end.
fn string(value: &[u8]) -> Option<&[u8]> {
    value.get(4..)?.strip_suffix(&[0])
}
