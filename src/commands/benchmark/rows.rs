//! Rows as a database dumps them, and the same table a night later: one row in a hundred has changed.

use std::io::Write as _;

const WORDS: [&str; 16] = [
    "invoice",
    "paid",
    "berlin",
    "pending",
    "customer",
    "express",
    "returned",
    "lisbon",
    "gift",
    "order",
    "warehouse",
    "osaka",
    "partial",
    "credit",
    "standard",
    "refund",
];

/// What a plain dump of PostgreSQL begins and ends with, so that recognising it has something to do.
const HEAD: &[u8] = b"--\n-- PostgreSQL database dump\n--\n\nCOPY public.orders FROM stdin;\n";
const TAIL: &[u8] = b"\n\\.\n\n\n--\n-- PostgreSQL database dump complete\n--\n\n";

/// Makes the rows.
pub struct Dump;

impl Dump {
    /// `size_bytes` of rows as of a night; the same on every machine.
    pub fn of_bytes(size_bytes: u64, night: u64) -> Vec<u8> {
        let size = usize::try_from(size_bytes).unwrap_or(usize::MAX);
        let mut dump = Vec::with_capacity(size + 512);
        dump.extend_from_slice(HEAD);
        let mut id = 0;
        while dump.len() + TAIL.len() < size {
            write_row(&mut dump, id, night);
            id += 1;
        }
        dump.truncate(size.saturating_sub(TAIL.len()));
        dump.extend_from_slice(TAIL);
        dump
    }
}

fn write_row(dump: &mut Vec<u8>, id: u64, night: u64) {
    // The last night in which this row changed.
    let changed = (1..=night).rev().find(|n| mix(id ^ (n << 40)).is_multiple_of(100)).unwrap_or(0);
    let dice = mix(id.wrapping_mul(3) ^ (changed << 48));
    let word = |shift: u32| WORDS[(dice >> shift) as usize % WORDS.len()];
    writeln!(
        dump,
        "{id}\t{:08x}\t2026-{:02}-{:02} {:02}:{:02}:{:02}\t{}.{:02}\t{} {} {} {}\t{:016x}",
        dice as u32,
        dice % 12 + 1,
        dice % 28 + 1,
        dice % 24,
        (dice >> 5) % 60,
        (dice >> 11) % 60,
        dice % 10_000,
        (dice >> 17) % 100,
        word(3),
        word(13),
        word(23),
        word(33),
        mix(dice),
    )
    .expect("a Vec takes every write");
}

/// SplitMix64's output function (Steele, Lea and Flood, OOPSLA 2014): any two inputs give unlike outputs.
fn mix(input: u64) -> u64 {
    let mut z = input.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_changes_one_row_in_a_hundred() {
        let (before, after) = (Dump::of_bytes(2 << 20, 0), Dump::of_bytes(2 << 20, 1));
        let lines =
            |dump: &[u8]| String::from_utf8_lossy(dump).lines().map(str::to_owned).collect::<Vec<_>>();
        let (before, after) = (lines(&before), lines(&after));
        let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        let share = changed as f64 / before.len() as f64;
        assert!((0.005..0.02).contains(&share), "{share}");
    }

    #[test]
    fn it_is_recognised_as_a_whole_dump() {
        let dump = Dump::of_bytes(1 << 20, 1);
        assert_eq!(dump.len(), 1 << 20);
        let mut sniffer = cistern_stream::Sniffer::new();
        sniffer.push(&dump);
        let finding = sniffer.finish();
        assert_eq!(finding.format, cistern_stream::Format::PgDumpPlain);
        assert_eq!(finding.completeness, cistern_stream::Completeness::Complete);
    }
}
