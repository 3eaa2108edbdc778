//! Go's time layouts: the reference time taken apart, and times written by it.

use crate::time::{MONTHS, Time, WEEKDAYS};

/// One element of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    LongMonth,
    ShortMonth,
    NumMonth,
    ZeroMonth,
    LongWeekday,
    ShortWeekday,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    ShortYear,
    UpperPm,
    LowerPm,
    /// `MST`
    ZoneName,
    /// `-0700` and its kind; `z` writes `Z` for UTC.
    Offset {
        z: bool,
        colons: bool,
        /// 1: hours, 2: and minutes, 3: and seconds
        units: u8,
    },
    /// `.000` keeps zeros, `.999` drops them.
    Fraction {
        digits: usize,
        keep: bool,
        separator: u8,
    },
}

const OFFSETS: [(&[u8], bool, u8); 5] = [
    (b"070000", false, 3),
    (b"07:00:00", true, 3),
    (b"0700", false, 2),
    (b"07:00", true, 2),
    (b"07", false, 1),
];

/// The first element of a layout: what stands before it, the element, what follows.
pub(crate) fn next_part(layout: &[u8]) -> (&[u8], Option<Part>, &[u8]) {
    for i in 0..layout.len() {
        if let Some((part, before, width)) = part_at(&layout[i..]) {
            return (&layout[..i + before], Some(part), &layout[i + before + width..]);
        }
    }
    (layout, None, b"")
}

/// An element at the very start: the element, literal bytes before it (`_` of `_2006`), its width.
fn part_at(s: &[u8]) -> Option<(Part, usize, usize)> {
    let found = |part, width| Some((part, 0, width));
    match s[0] {
        b'J' if s.starts_with(b"January") => found(Part::LongMonth, 7),
        b'J' if s.starts_with(b"Jan") && !lower_case_at(s, 3) => found(Part::ShortMonth, 3),
        b'M' if s.starts_with(b"Monday") => found(Part::LongWeekday, 6),
        b'M' if s.starts_with(b"Mon") && !lower_case_at(s, 3) => found(Part::ShortWeekday, 3),
        b'M' if s.starts_with(b"MST") => found(Part::ZoneName, 3),
        b'0' => zero_part(s),
        b'1' if s.starts_with(b"15") => found(Part::Hour, 2),
        b'1' => found(Part::NumMonth, 1),
        b'2' if s.starts_with(b"2006") => found(Part::LongYear, 4),
        b'2' => found(Part::Day, 1),
        b'_' if s.starts_with(b"_2006") => Some((Part::LongYear, 1, 4)),
        b'_' if s.starts_with(b"_2") => found(Part::UnderDay, 2),
        b'_' if s.starts_with(b"__2") => found(Part::UnderYearDay, 3),
        b'3' => found(Part::Hour12, 1),
        b'4' => found(Part::Minute, 1),
        b'5' => found(Part::Second, 1),
        b'P' if s.starts_with(b"PM") => found(Part::UpperPm, 2),
        b'p' if s.starts_with(b"pm") => found(Part::LowerPm, 2),
        c @ (b'-' | b'Z') => {
            OFFSETS.iter().find(|(text, ..)| s[1..].starts_with(text)).map(|(text, colons, units)| {
                (Part::Offset { z: c == b'Z', colons: *colons, units: *units }, 0, text.len() + 1)
            })
        }
        b'.' | b',' => fraction(s),
        _ => None,
    }
}

fn zero_part(s: &[u8]) -> Option<(Part, usize, usize)> {
    if s.starts_with(b"002") {
        return Some((Part::ZeroYearDay, 0, 3));
    }
    let part = match s.get(1)? {
        b'1' => Part::ZeroMonth,
        b'2' => Part::ZeroDay,
        b'3' => Part::ZeroHour12,
        b'4' => Part::ZeroMinute,
        b'5' => Part::ZeroSecond,
        b'6' => Part::ShortYear,
        _ => return None,
    };
    Some((part, 0, 2))
}

fn fraction(s: &[u8]) -> Option<(Part, usize, usize)> {
    let digit = *s.get(1).filter(|c| matches!(c, b'0' | b'9'))?;
    let digits = s[1..].iter().take_while(|c| **c == digit).count();
    if s.get(1 + digits).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    Some((Part::Fraction { digits, keep: digit == b'0', separator: s[0] }, 0, digits + 1))
}

fn lower_case_at(s: &[u8], i: usize) -> bool {
    s.get(i).is_some_and(u8::is_ascii_lowercase)
}

/// `Time.Format`
pub(crate) fn format(t: &Time, layout: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(layout.len() + 10);
    let mut rest = layout;
    loop {
        let (before, part, after) = next_part(rest);
        out.extend_from_slice(before);
        let Some(part) = part else { return out };
        out.extend_from_slice(write_part(t, part).as_bytes());
        rest = after;
    }
}

/// A number with at least `width` digits, the sign before them.
fn padded(n: i64, width: usize) -> String {
    let sign = if n < 0 { "-" } else { "" };
    format!("{sign}{:0width$}", n.unsigned_abs())
}

fn write_part(t: &Time, part: Part) -> String {
    let c = t.civil();
    let month = MONTHS[(c.month - 1) as usize];
    let weekday = WEEKDAYS[t.weekday() as usize];
    let hour12 = if c.hour % 12 == 0 { 12 } else { c.hour % 12 };
    match part {
        Part::LongMonth => month.to_owned(),
        Part::ShortMonth => month[..3].to_owned(),
        Part::NumMonth => c.month.to_string(),
        Part::ZeroMonth => padded(c.month, 2),
        Part::LongWeekday => weekday.to_owned(),
        Part::ShortWeekday => weekday[..3].to_owned(),
        Part::Day => c.day.to_string(),
        Part::UnderDay => format!("{:2}", c.day),
        Part::ZeroDay => padded(c.day, 2),
        Part::UnderYearDay => format!("{:3}", t.year_day()),
        Part::ZeroYearDay => padded(t.year_day(), 3),
        Part::Hour => padded(c.hour, 2),
        Part::Hour12 => hour12.to_string(),
        Part::ZeroHour12 => padded(hour12, 2),
        Part::Minute => c.minute.to_string(),
        Part::ZeroMinute => padded(c.minute, 2),
        Part::Second => c.second.to_string(),
        Part::ZeroSecond => padded(c.second, 2),
        Part::LongYear => padded(c.year, 4),
        Part::ShortYear => padded(c.year.abs() % 100, 2),
        Part::UpperPm => if c.hour >= 12 { "PM" } else { "AM" }.to_owned(),
        Part::LowerPm => if c.hour >= 12 { "pm" } else { "am" }.to_owned(),
        Part::ZoneName => {
            let (name, offset_secs) = t.zone.at(t.unix_secs);
            if name.is_empty() { offset(offset_secs, false, 2) } else { name }
        }
        Part::Offset { z, colons, units } => match t.offset_secs() {
            0 if z => "Z".to_owned(),
            secs => offset(secs, colons, units),
        },
        Part::Fraction { digits, keep, separator } => fraction_text(t.nanos, digits, keep, separator),
    }
}

fn offset(secs: i32, colons: bool, units: u8) -> String {
    // Go decides the sign by whole minutes.
    let minutes = (secs / 60).abs();
    let sign = if secs / 60 < 0 { '-' } else { '+' };
    let colon = if colons { ":" } else { "" };
    let mut out = format!("{sign}{:02}", minutes / 60);
    if units >= 2 {
        out += &format!("{colon}{:02}", minutes % 60);
    }
    if units == 3 {
        let absolute = if secs / 60 < 0 { -secs } else { secs };
        out += &format!("{colon}{}", padded(i64::from(absolute % 60), 2));
    }
    out
}

fn fraction_text(nanos: u32, digits: usize, keep: bool, separator: u8) -> String {
    if !keep && nanos == 0 {
        return String::new();
    }
    let all = format!("{nanos:09}");
    let cut = &all[..digits.min(9)];
    let cut = if keep { cut } else { cut.trim_end_matches('0') };
    if cut.is_empty() { String::new() } else { format!("{}{cut}", char::from(separator)) }
}
