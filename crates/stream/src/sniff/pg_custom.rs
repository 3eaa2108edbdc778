//! PostgreSQL's custom archive (`pg_dump -Fc`): a table of contents, then one block of data per table.
//!
//! There is no trailer. The table of contents marks the entries that have data; the archive is whole when
//! each of them had its block and nothing follows the last. A cut between two blocks shows only in the count.
//!
//! Since 16, `pg_dump -Fc > file` writes the table of contents again behind the data: it means to go back and note
//! where the data is, but has set its output to append. Into a pipe it does not try.
//!
//! Layout read from real archives of 1.14 and PostgreSQL's `pg_backup_archiver.c`, `pg_backup_custom.c`:
//! * int: a sign byte and `int_bytes` little-endian; string: its length as an int, -1 for none, and its bytes.
//! * head: `PGDMP`, version (3 bytes), `int_bytes`, `offset_bytes`, format 1; compression (an int until 1.14, one
//!   byte since 1.15), time (7 ints), database, server and dumper version (strings), number of entries.
//! * block of data: 1, entry id, {length, bytes}*, 0. Block of large objects: 3, entry id, {object id, {length,
//!   bytes}*, 0}*, 0.

use super::walk::{Grammar, Walker, Want, number_le};
use super::{Completeness, Format, Recognised};
use std::collections::HashSet;

const MAGIC: &[u8] = b"PGDMP";
/// Magic, version, sizes and format.
const HEAD_BYTES: usize = 11;
const FORMAT_CUSTOM: u8 = 1;
/// Minor versions of archive version 1 whose layout is known: PostgreSQL 9.0 to 18.
const VERSIONS: std::ops::RangeInclusive<u8> = 12..=16;
const VERSION_ACCESS_METHOD: u8 = 14;
const VERSION_COMPRESSION_BYTE: u8 = 15;
const VERSION_RELATION_KIND: u8 = 16;
const BLOCK_DATA: u8 = 1;
const BLOCK_LARGE_OBJECTS: u8 = 3;
/// Tables (and sequences, and batches of large objects) with data in one archive.
const DATA_ENTRIES_MAX: usize = 1 << 20;

/// The head of an archive, as far as it decides how to read on.
#[derive(Clone, Copy)]
struct Head {
    minor: u8,
    int_bytes: usize,
    offset_bytes: usize,
}

pub(super) fn recognise(head: &[u8]) -> Option<Recognised> {
    if !head.starts_with(MAGIC) {
        return None;
    }
    let first = Want::Item(HEAD_BYTES);
    let known = Recognised::new(Format::PgDumpCustom, Walker::new(Archive::default(), first));
    Some(match is_compressed(head) {
        true => known.advise(
            "pg_dump -Fc compresses table by table, which defeats deduplication: add `-Z0` (16 and later: \
             `--compress=none`)",
        ),
        false => known,
    })
}

/// From the method (since 1.15) or the level (until 1.14) in the head. -1 is the default level.
fn is_compressed(head: &[u8]) -> bool {
    let (Some(&minor), Some(&int_bytes)) = (head.get(6), head.get(8)) else { return false };
    let len = if minor >= VERSION_COMPRESSION_BYTE { 1 } else { 1 + usize::from(int_bytes) };
    head.get(HEAD_BYTES..HEAD_BYTES + len).is_some_and(|field| field.iter().any(|byte| *byte != 0))
}

/// A field of the table of contents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    /// Raw bytes of no interest.
    Bytes(usize),
    Int,
    Text,
    Count,
    EntryId,
    HasData,
    /// Strings up to one that is none.
    Dependencies,
}

impl Head {
    /// What follows the head, up to and with the number of entries.
    fn preamble(self) -> Vec<Field> {
        let compression = if self.minor >= VERSION_COMPRESSION_BYTE { Field::Bytes(1) } else { Field::Int };
        let mut fields = vec![compression];
        fields.extend([Field::Int; 7]);
        fields.extend([Field::Text; 3]);
        fields.push(Field::Count);
        fields
    }

    /// One entry of the table of contents.
    fn entry(self) -> Vec<Field> {
        let mut fields = vec![Field::EntryId, Field::HasData];
        // Table oid, oid, tag, kind.
        fields.extend([Field::Text; 4]);
        // Section; then definition, drop and copy statement, schema, tablespace.
        fields.push(Field::Int);
        fields.extend([Field::Text; 5]);
        if self.minor >= VERSION_ACCESS_METHOD {
            fields.push(Field::Text);
        }
        if self.minor >= VERSION_RELATION_KIND {
            fields.push(Field::Int);
        }
        // Owner; whether rows have oids.
        fields.extend([Field::Text; 2]);
        fields.push(Field::Dependencies);
        // Whether and where the data is, which only a seekable file knows.
        fields.push(Field::Bytes(1 + self.offset_bytes));
        fields
    }
}

#[derive(Default)]
struct Archive {
    int_bytes: usize,
    entry: Vec<Field>,
    /// Fields under way, the next one last.
    fields: Vec<Field>,
    entries_left: u64,
    entry_id: i64,
    /// Entries with data whose block has not ended.
    awaited: HashSet<i64>,
    data_entries: usize,
    /// The table of contents has come a second time.
    repeated: bool,
    next: Next,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Next {
    #[default]
    Head,
    /// The next of `fields`.
    Field,
    /// The bytes of a string.
    FieldText,
    BlockKind,
    /// The number of entries of a second table of contents, behind its sign.
    RepeatedCount,
    BlockEntry {
        large_objects: bool,
    },
    ObjectId,
    PieceLength {
        large_objects: bool,
    },
    Piece {
        large_objects: bool,
    },
}

impl Archive {
    fn want(&mut self, next: Next, item_bytes: usize) -> Want {
        self.next = next;
        Want::Item(item_bytes)
    }

    fn want_int(&mut self, next: Next) -> Want {
        self.want(next, 1 + self.int_bytes)
    }

    fn head(&mut self, bytes: &[u8]) -> Want {
        let [.., major, minor, _, int_bytes, offset_bytes, format] = *bytes else {
            return Want::Lost("no pg_dump archive".into());
        };
        if major != 1 || !VERSIONS.contains(&minor) || format != FORMAT_CUSTOM {
            return Want::Lost(format!("a pg_dump archive of version {major}.{minor}, format {format}"));
        }
        if !(1..=8).contains(&int_bytes) || !(1..=8).contains(&offset_bytes) {
            return Want::Lost("a pg_dump archive with integers of impossible size".into());
        }
        let head = Head { minor, int_bytes: usize::from(int_bytes), offset_bytes: usize::from(offset_bytes) };
        self.int_bytes = head.int_bytes;
        self.entry = head.entry();
        self.entry.reverse();
        self.fields = head.preamble();
        self.fields.reverse();
        self.next_field()
    }

    /// Wants the next field of the table of contents, or the first block behind it.
    fn next_field(&mut self) -> Want {
        if self.fields.is_empty() {
            if self.entries_left == 0 {
                return self.want(Next::BlockKind, 1);
            }
            self.entries_left -= 1;
            self.fields.clone_from(&self.entry);
        }
        match self.fields.last() {
            Some(Field::Bytes(len)) => self.want(Next::Field, *len),
            _ => self.want_int(Next::Field),
        }
    }

    fn field(&mut self, item: &[u8]) -> Want {
        let Some(field) = self.fields.pop() else { return Want::Lost("no field was due".into()) };
        if let Field::Bytes(_) = field {
            return self.next_field();
        }
        let Some(value) = int(item) else { return Want::Lost("an impossible number".into()) };
        match field {
            Field::Text | Field::Dependencies if value >= 0 => {
                if field == Field::Dependencies {
                    self.fields.push(field);
                }
                self.next = Next::FieldText;
                return Want::Skip(value as u64);
            }
            Field::Count => match u64::try_from(value) {
                Ok(count) => self.entries_left = count,
                Err(_) => return Want::Lost("a negative number of entries".into()),
            },
            Field::EntryId => self.entry_id = value,
            Field::HasData if value != 0 && !self.repeated => {
                if self.data_entries == DATA_ENTRIES_MAX {
                    return Want::Lost("more tables than are kept track of".into());
                }
                self.data_entries += 1;
                self.awaited.insert(self.entry_id);
            }
            _ => {}
        }
        self.next_field()
    }

    fn block(&mut self, item: &[u8]) -> Want {
        match item {
            [BLOCK_DATA] => self.want_int(Next::BlockEntry { large_objects: false }),
            [BLOCK_LARGE_OBJECTS] => self.want_int(Next::BlockEntry { large_objects: true }),
            [0] if self.awaited.is_empty() && !self.repeated => {
                self.repeated = true;
                self.want(Next::RepeatedCount, self.int_bytes)
            }
            _ => Want::Lost("no block of data".into()),
        }
    }

    fn block_entry(&mut self, id: i64, large_objects: bool) -> Want {
        if !self.awaited.contains(&id) {
            return Want::Lost("data of an entry that has none, or had it already".into());
        }
        self.entry_id = id;
        match large_objects {
            true => self.want_int(Next::ObjectId),
            false => self.want_int(Next::PieceLength { large_objects }),
        }
    }

    fn end_block(&mut self) -> Want {
        self.awaited.remove(&self.entry_id);
        self.want(Next::BlockKind, 1)
    }

    /// Where the piece that begins here ends, if it is not the last and all of it has come.
    fn piece_end(&self, bytes: &[u8], begin: usize) -> Option<usize> {
        let content = begin + 1 + self.int_bytes;
        let length = usize::try_from(int(bytes.get(begin..content)?)?).ok()?;
        (length > 0 && length <= bytes.len() - content).then(|| content + length)
    }

    fn piece(&mut self, length: i64, large_objects: bool) -> Want {
        match (u64::try_from(length), large_objects) {
            (Ok(0), true) => self.want_int(Next::ObjectId),
            (Ok(0), false) => self.end_block(),
            (Ok(length), _) => {
                self.next = Next::Piece { large_objects };
                Want::Skip(length)
            }
            (Err(_), _) => Want::Lost("a piece of negative length".into()),
        }
    }
}

/// An integer of the archive; `None` if it does not fit.
fn int(item: &[u8]) -> Option<i64> {
    let (sign, magnitude) = item.split_first()?;
    let magnitude = i64::try_from(number_le(magnitude)).ok()?;
    Some(if *sign == 0 { magnitude } else { -magnitude })
}

impl Grammar for Archive {
    fn item(&mut self, item: &[u8]) -> Want {
        match self.next {
            Next::Head => return self.head(item),
            Next::Field => return self.field(item),
            Next::BlockKind => return self.block(item),
            Next::RepeatedCount => {
                self.entries_left = number_le(item);
                return self.next_field();
            }
            _ => {}
        }
        let Some(value) = int(item) else { return Want::Lost("an impossible number".into()) };
        match self.next {
            Next::BlockEntry { large_objects } => self.block_entry(value, large_objects),
            Next::ObjectId if value == 0 => self.end_block(),
            Next::ObjectId => self.want_int(Next::PieceLength { large_objects: true }),
            Next::PieceLength { large_objects } => self.piece(value, large_objects),
            _ => Want::Lost("no number was due".into()),
        }
    }

    /// All the whole pieces at once: uncompressed archives have one per row.
    fn leap(&mut self, bytes: &[u8]) -> usize {
        let Next::PieceLength { .. } = self.next else { return 0 };
        let mut past = 0;
        while let Some(end) = self.piece_end(bytes, past) {
            past = end;
        }
        past
    }

    fn skipped(&mut self) -> Want {
        match self.next {
            Next::Piece { large_objects } => self.want_int(Next::PieceLength { large_objects }),
            _ => self.next_field(),
        }
    }

    fn judge(&self, between_items: bool) -> Completeness {
        let ended = self.data_entries - self.awaited.len().min(self.data_entries);
        match self.next {
            Next::BlockKind if between_items && self.awaited.is_empty() => Completeness::Complete,
            Next::BlockKind if between_items => Completeness::truncated(format!(
                "the archive ends after the data of {ended} of {} tables",
                self.data_entries
            )),
            Next::Head | Next::Field | Next::FieldText | Next::RepeatedCount => {
                Completeness::truncated("the archive ends inside its table of contents")
            }
            _ => Completeness::truncated(format!(
                "the archive ends inside the data of a table, {ended} of {} are whole",
                self.data_entries
            )),
        }
    }
}
