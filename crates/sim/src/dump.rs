//! Seeded streams that look like a plain database dump, and what they look like a night later.

use bytes::Bytes;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};

/// How a night's updates lie in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Anywhere: nearly every chunk changes a little.
    Scattered,
    /// In one stretch: most chunks stay as they are.
    Clustered,
}

/// A table dumped as `COPY` rows, with the head and tail of a plain `pg_dump`.
///
/// It holds eight bytes per row; text is made while it is read. The same seed and the same nights
/// give the same bytes, on every machine.
#[derive(Clone, Debug)]
pub struct Dump {
    seed: u64,
    rows: Arc<Vec<Row>>,
    next_id: u32,
}

/// A row's text is a function of the dump's seed and these two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    id: u32,
    version: u32,
}

/// Mean length of a row in bytes, over ids of all lengths.
const ROW_BYTES_MEAN: u64 = 176;

impl Dump {
    /// A dump of this many rows.
    pub fn of_rows(seed: u64, rows: u32) -> Dump {
        let all = (1..=rows).map(|id| Row { id, version: 0 }).collect();
        Dump { seed, rows: Arc::new(all), next_id: rows + 1 }
    }

    /// A dump of about this size, to within a few per cent once it has a thousand rows.
    pub fn of_bytes(seed: u64, size_bytes: u64) -> Dump {
        let rows = u32::try_from(size_bytes / ROW_BYTES_MEAN).expect("dumps below 800 GB are made here");
        Dump::of_rows(seed, rows.max(1))
    }

    /// The table a night later: of the old rows `deletes` are gone and about `changed_percent` of the
    /// rest have new values in three of eight columns; `inserts` new ones follow at the end.
    ///
    /// # Panics
    /// If `changed_percent` does not lie between 0 and 100.
    pub fn next_night(
        &self,
        seed: u64,
        changed_percent: f64,
        spread: Spread,
        inserts: u32,
        deletes: u32,
    ) -> Dump {
        assert!((0.0..=100.0).contains(&changed_percent), "a share lies between 0 and 100 per cent");
        let mut dice = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut rows: Vec<Row> = self.rows.to_vec();
        for _ in 0..deletes.min(rows.len() as u32) {
            rows.swap_remove(dice.random_range(0..rows.len()));
        }
        rows.sort_unstable_by_key(|row| row.id);
        update(&mut rows, changed_percent / 100.0, spread, &mut dice);
        rows.extend((self.next_id..self.next_id + inserts).map(|id| Row { id, version: 0 }));
        Dump { seed: self.seed, rows: Arc::new(rows), next_id: self.next_id + inserts }
    }

    /// How many rows the table has.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether the table has no row; the dump still has a head and a tail.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Reads the dump from its beginning.
    pub fn reader(&self) -> DumpReader {
        DumpReader { dump: self.clone(), next: Next::Head, text: Vec::new(), taken: 0 }
    }

    /// The whole dump in memory.
    pub fn to_bytes(&self) -> Bytes {
        let mut whole = Vec::new();
        self.reader().read_to_end(&mut whole).expect("reading a dump made of rows cannot fail");
        whole.into()
    }
}

/// Gives a share of the rows a new version.
fn update(rows: &mut [Row], share: f64, spread: Spread, dice: &mut Xoshiro256PlusPlus) {
    match spread {
        Spread::Scattered => {
            rows.iter_mut().filter(|_| dice.random_bool(share)).for_each(|row| row.version += 1);
        }
        Spread::Clustered => {
            let changed = (rows.len() as f64 * share).round() as usize;
            let start = dice.random_range(0..=rows.len() - changed);
            rows[start..start + changed].iter_mut().for_each(|row| row.version += 1);
        }
    }
}

/// What a [`DumpReader`] makes next.
#[derive(Clone, Copy)]
enum Next {
    Head,
    Row(usize),
    Tail,
    End,
}

/// A dump as a stream, for blocking and for async readers.
pub struct DumpReader {
    dump: Dump,
    next: Next,
    text: Vec<u8>,
    taken: usize,
}

/// Text made at a time.
const FILL_BYTES: usize = 64 << 10;

const HEAD: &str = "--
-- PostgreSQL database dump
--

-- Dumped from database version 17.5
-- Dumped by pg_dump version 17.5

SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;

CREATE TABLE public.orders (
    id bigint NOT NULL,
    customer_id bigint NOT NULL,
    status text NOT NULL,
    amount numeric(12,2) NOT NULL,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone,
    contact text,
    note text
);

COPY public.orders (id, customer_id, status, amount, created_at, updated_at, contact, note) FROM stdin;
";

const TAIL: &str = "\\.


--
-- PostgreSQL database dump complete
--

";

impl DumpReader {
    /// Makes the next piece of text once the last has been taken.
    fn fill(&mut self) {
        self.text.clear();
        self.taken = 0;
        while self.text.len() < FILL_BYTES {
            self.next = match self.next {
                Next::Head => {
                    self.text.extend_from_slice(HEAD.as_bytes());
                    Next::Row(0)
                }
                Next::Row(number) => match self.dump.rows.get(number) {
                    Some(row) => {
                        write_row(&mut self.text, self.dump.seed, *row);
                        Next::Row(number + 1)
                    }
                    None => Next::Tail,
                },
                Next::Tail => {
                    self.text.extend_from_slice(TAIL.as_bytes());
                    Next::End
                }
                Next::End => return,
            };
        }
    }

    /// Up to `room` bytes; none at the end.
    fn text_for(&mut self, room: usize) -> &[u8] {
        if self.taken == self.text.len() {
            self.fill();
        }
        let start = self.taken;
        self.taken += room.min(self.text.len() - start);
        &self.text[start..self.taken]
    }
}

impl Read for DumpReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let text = self.text_for(buffer.len());
        buffer[..text.len()].copy_from_slice(text);
        Ok(text.len())
    }
}

impl AsyncRead for DumpReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buffer.remaining();
        buffer.put_slice(self.text_for(room));
        Poll::Ready(Ok(()))
    }
}

const STATUSES: [&str; 6] = ["new", "paid", "packed", "shipped", "returned", "cancelled"];

#[rustfmt::skip]
const WORDS: [&str; 64] = [
    "account", "address", "after", "again", "amount", "answer", "arrived", "before", "between", "bill",
    "blue", "box", "broken", "call", "cannot", "card", "change", "colour", "contract", "country",
    "customer", "damaged", "date", "delivery", "door", "early", "evening", "exchange", "express", "first",
    "friday", "gift", "green", "house", "invoice", "item", "label", "large", "late", "letter",
    "missing", "monday", "morning", "neighbour", "number", "order", "parcel", "payment", "please", "price",
    "quick", "receipt", "refund", "return", "second", "sent", "size", "small", "street", "the",
    "ticket", "twice", "waiting", "wrong",
];

/// One line of `COPY`. Customer, creation, contact and note stay over all versions of a row.
fn write_row(text: &mut Vec<u8>, seed: u64, row: Row) {
    let mut stays = Xoshiro256PlusPlus::seed_from_u64(seed ^ u64::from(row.id) << 20);
    let mut changes =
        Xoshiro256PlusPlus::seed_from_u64(seed ^ u64::from(row.id) << 20 ^ u64::from(row.version) << 52 ^ 1);
    write_number(text, u64::from(row.id), 1);
    text.push(b'\t');
    let customer = stays.random_range(1..400_000);
    write_number(text, customer, 1);
    text.push(b'\t');
    text.extend_from_slice(STATUSES[changes.random_range(0..STATUSES.len())].as_bytes());
    text.push(b'\t');
    write_number(text, changes.random_range(1..50_000), 1);
    text.push(b'.');
    write_number(text, changes.random_range(0..100), 2);
    text.push(b'\t');
    write_time(text, 2025, &mut stays);
    text.push(b'\t');
    match row.version {
        0 => text.extend_from_slice(b"\\N"),
        _ => write_time(text, 2026, &mut changes),
    }
    text.push(b'\t');
    text.extend_from_slice(WORDS[stays.random_range(0..WORDS.len())].as_bytes());
    write_number(text, customer, 1);
    text.extend_from_slice(b"@example.org\t");
    for word in 0..stays.random_range(6..22) {
        if word > 0 {
            text.push(b' ');
        }
        text.extend_from_slice(WORDS[stays.random_range(0..WORDS.len())].as_bytes());
    }
    text.push(b'\n');
}

/// A moment of a year, to the microsecond.
fn write_time(text: &mut Vec<u8>, year: u64, dice: &mut Xoshiro256PlusPlus) {
    let mut field = |end: u8, limits: (u64, u64), digits: usize| {
        write_number(text, dice.random_range(limits.0..limits.1), digits);
        text.push(end);
    };
    field(b'-', (year, year + 1), 4);
    field(b'-', (1, 13), 2);
    field(b' ', (1, 29), 2);
    field(b':', (0, 24), 2);
    field(b':', (0, 60), 2);
    field(b'.', (0, 60), 2);
    write_number(text, dice.random_range(0..1_000_000), 6);
    text.extend_from_slice(b"+00");
}

/// A number in decimal, with leading zeros up to `digits_min` (at most 20).
fn write_number(text: &mut Vec<u8>, mut number: u64, digits_min: usize) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    while number > 0 {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    text.extend_from_slice(&digits[first.min(digits.len() - digits_min)..]);
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test that cannot unwrap has failed")]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use tokio::io::AsyncReadExt;

    /// The rows of a dump by their id.
    fn rows(dump: &Dump) -> BTreeMap<u32, String> {
        let text = String::from_utf8(dump.to_bytes().to_vec()).unwrap();
        let body = text.strip_prefix(HEAD).unwrap().strip_suffix(TAIL).unwrap();
        body.lines()
            .map(|line| (line.split('\t').next().unwrap().parse().unwrap(), line.to_owned()))
            .collect()
    }

    fn changed(before: &Dump, after: &Dump) -> Vec<u32> {
        let before = rows(before);
        let differs = |(id, line): &(u32, String)| before.get(id).is_some_and(|old| old != line);
        rows(after).into_iter().filter(differs).map(|(id, _)| id).collect()
    }

    #[test]
    fn a_seed_gives_the_same_bytes_for_ever() {
        let dump = Dump::of_rows(1, 1000).next_night(2, 3.0, Spread::Scattered, 10, 10);
        let digest = blake3::hash(&dump.to_bytes()).to_hex();
        assert_eq!(&digest[..16], "e4276446212b55d2");
        assert_ne!(dump.to_bytes(), Dump::of_rows(2, 1000).to_bytes());
    }

    #[test]
    fn rows_have_eight_columns_and_none_is_like_another() {
        let rows = rows(&Dump::of_rows(5, 2000).next_night(1, 50.0, Spread::Scattered, 0, 0));
        assert_eq!(rows.len(), 2000);
        assert!(rows.values().all(|line| line.split('\t').count() == 8));
        let notes: BTreeSet<&str> = rows.values().map(|line| line.rsplit('\t').next().unwrap()).collect();
        assert!(notes.len() > 1990, "{} notes", notes.len());
    }

    #[test]
    fn sizes_come_out_as_asked() {
        for size_bytes in [200_000, 5_000_000] {
            let made = Dump::of_bytes(9, size_bytes).to_bytes().len() as f64;
            assert!((0.95..1.05).contains(&(made / size_bytes as f64)), "{made} for {size_bytes}");
        }
    }

    #[test]
    fn a_scattered_night_changes_rows_everywhere() {
        let monday = Dump::of_rows(3, 10_000);
        let tuesday = monday.next_night(4, 1.0, Spread::Scattered, 0, 0);
        let changed = changed(&monday, &tuesday);
        assert!((60..140).contains(&changed.len()), "{} of 10 000 at one per cent", changed.len());
        let tenths: BTreeSet<u32> = changed.iter().map(|id| id / 1000).collect();
        assert!(tenths.len() >= 9, "{tenths:?}");
    }

    #[test]
    fn a_clustered_night_changes_one_stretch() {
        let monday = Dump::of_rows(3, 10_000);
        let changed = changed(&monday, &monday.next_night(4, 1.0, Spread::Clustered, 0, 0));
        assert_eq!(changed.len(), 100);
        assert_eq!(changed.last().unwrap() - changed[0], 99);
        assert_ne!(changed[0], 1, "the stretch lies where the seed says");
    }

    #[test]
    fn inserts_come_last_and_deletes_are_gone() {
        let monday = Dump::of_rows(3, 100);
        let tuesday = monday.next_night(4, 0.0, Spread::Scattered, 7, 20);
        let wednesday = tuesday.next_night(5, 0.0, Spread::Clustered, 1, 0);
        let ids: Vec<u32> = rows(&wednesday).into_keys().collect();
        assert_eq!((ids.len(), wednesday.len()), (88, 88));
        assert_eq!(ids[80..], [101, 102, 103, 104, 105, 106, 107, 108]);
        assert_eq!(changed(&monday, &wednesday), [0; 0]);
        assert!(monday.next_night(1, 10.0, Spread::Clustered, 0, 1000).is_empty());
    }

    #[test]
    fn an_update_keeps_most_of_its_row() {
        let monday = Dump::of_rows(3, 50);
        let tuesday = rows(&monday.next_night(4, 100.0, Spread::Clustered, 0, 0));
        for (id, old) in rows(&monday) {
            let columns = |line: &str| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
            let (old, new) = (columns(&old), columns(&tuesday[&id]));
            assert_eq!((&old[..2], &old[4], &old[6..]), (&new[..2], &new[4], &new[6..]));
            assert_ne!(old[5], new[5]);
        }
    }

    #[tokio::test]
    async fn blocking_and_async_readers_see_the_same() {
        let dump = Dump::of_bytes(7, 300_000);
        let mut read = Vec::new();
        AsyncReadExt::take(dump.reader(), 1 << 30).read_to_end(&mut read).await.unwrap();
        assert_eq!(dump.to_bytes(), read);
    }
}
