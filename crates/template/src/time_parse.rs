//! Go's `time.Parse`: a text read by a layout.

use crate::time::{Civil, MONTHS, Time, WEEKDAYS, Zone, days_from_civil, days_in, is_leap};
use crate::time_format::{Part, next_part};

/// The text does not fit the layout. Templates never see why: `toDate` swallows it.
#[derive(Debug)]
pub(crate) struct NotThisLayout;

type Parsed<T> = Result<T, NotThisLayout>;

#[derive(Default)]
struct Fields {
    year: i64,
    month: Option<i64>,
    day: Option<i64>,
    year_day: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: i64,
    afternoon: Option<bool>,
    utc: bool,
    offset_secs: Option<i64>,
    zone_name: String,
}

/// `time.ParseInLocation(layout, text, UTC)`
pub(crate) fn parse(layout: &[u8], text: &[u8]) -> Parsed<Time> {
    let mut fields = Fields::default();
    let mut layout = layout;
    let mut value = text;
    loop {
        let (before, part, after) = next_part(layout);
        value = skip(value, before)?;
        let Some(part) = part else {
            return if value.is_empty() { fields.time() } else { Err(NotThisLayout) };
        };
        layout = after;
        value = fields.read(part, value, layout)?;
    }
}

impl Fields {
    /// Reads one element and returns what follows it.
    fn read<'v>(&mut self, part: Part, value: &'v [u8], layout: &[u8]) -> Parsed<&'v [u8]> {
        match part {
            Part::ShortYear => {
                let (year, rest) = signed(value, 2)?;
                self.year = if year >= 69 { year + 1900 } else { year + 2000 };
                Ok(rest)
            }
            Part::LongYear => {
                value.first().filter(|c| c.is_ascii_digit()).ok_or(NotThisLayout)?;
                let (year, rest) = signed(value, 4)?;
                self.year = year;
                Ok(rest)
            }
            Part::LongMonth | Part::ShortMonth => {
                let (i, rest) = name(value, &MONTHS, part == Part::ShortMonth)?;
                self.month = Some(i + 1);
                Ok(rest)
            }
            Part::LongWeekday | Part::ShortWeekday => {
                Ok(name(value, &WEEKDAYS, part == Part::ShortWeekday)?.1)
            }
            Part::NumMonth | Part::ZeroMonth => {
                let (n, rest) = number(value, part == Part::ZeroMonth)?;
                self.month = Some(within(n, 1, 12)?);
                Ok(rest)
            }
            Part::Day | Part::UnderDay | Part::ZeroDay => {
                let value =
                    if part == Part::UnderDay { value.strip_prefix(b" ").unwrap_or(value) } else { value };
                let (n, rest) = number(value, part == Part::ZeroDay)?;
                self.day = Some(n);
                Ok(rest)
            }
            Part::UnderYearDay | Part::ZeroYearDay => self.read_year_day(part, value),
            Part::UpperPm | Part::LowerPm => self.read_half(part, value),
            Part::ZoneName => self.read_zone_name(value),
            Part::Offset { z, colons, units } => {
                if z && value.first() == Some(&b'Z') {
                    self.utc = true;
                    return Ok(&value[1..]);
                }
                self.read_offset(value, colons, units)
            }
            Part::Fraction { digits, keep, .. } => self.read_fraction(value, digits, keep),
            _ => self.read_clock(part, value, layout),
        }
    }

    fn read_clock<'v>(&mut self, part: Part, value: &'v [u8], layout: &[u8]) -> Parsed<&'v [u8]> {
        let fixed = matches!(part, Part::ZeroHour12 | Part::ZeroMinute | Part::ZeroSecond);
        let (n, rest) = number(value, fixed)?;
        match part {
            Part::Hour => self.hour = within(n, 0, 23)?,
            Part::Hour12 | Part::ZeroHour12 => self.hour = within(n, 0, 12)?,
            Part::Minute | Part::ZeroMinute => self.minute = within(n, 0, 59)?,
            _ => {
                self.second = within(n, 0, 59)?;
                return self.read_unannounced_fraction(rest, layout);
            }
        }
        Ok(rest)
    }

    /// A fraction may follow the seconds even if the layout has none.
    fn read_unannounced_fraction<'v>(&mut self, value: &'v [u8], layout: &[u8]) -> Parsed<&'v [u8]> {
        let starts = value.len() >= 2 && matches!(value[0], b'.' | b',') && value[1].is_ascii_digit();
        if !starts || matches!(next_part(layout).1, Some(Part::Fraction { .. })) {
            return Ok(value);
        }
        let digits = value[1..].iter().take_while(|c| c.is_ascii_digit()).count();
        self.nanos = nanoseconds(&value[..=digits])?;
        Ok(&value[digits + 1..])
    }

    fn read_fraction<'v>(&mut self, value: &'v [u8], digits: usize, keep: bool) -> Parsed<&'v [u8]> {
        if keep {
            let text = value.get(..=digits).ok_or(NotThisLayout)?;
            self.nanos = nanoseconds(text)?;
            return Ok(&value[digits + 1..]);
        }
        if value.len() < 2 || !matches!(value[0], b'.' | b',') || !value[1].is_ascii_digit() {
            return Ok(value);
        }
        let digits = value[1..].iter().take_while(|c| c.is_ascii_digit()).count();
        self.nanos = nanoseconds(&value[..=digits])?;
        Ok(&value[digits + 1..])
    }

    fn read_year_day<'v>(&mut self, part: Part, mut value: &'v [u8]) -> Parsed<&'v [u8]> {
        for _ in 0..2 {
            if part == Part::UnderYearDay {
                value = value.strip_prefix(b" ").unwrap_or(value);
            }
        }
        let digits = value.iter().take(3).take_while(|c| c.is_ascii_digit()).count();
        if digits == 0 || part == Part::ZeroYearDay && digits != 3 {
            return Err(NotThisLayout);
        }
        self.year_day = Some(value[..digits].iter().fold(0, |n, c| n * 10 + i64::from(c - b'0')));
        Ok(&value[digits..])
    }

    fn read_half<'v>(&mut self, part: Part, value: &'v [u8]) -> Parsed<&'v [u8]> {
        let text = value.get(..2).ok_or(NotThisLayout)?;
        let (am, pm): (&[u8], &[u8]) = if part == Part::UpperPm { (b"AM", b"PM") } else { (b"am", b"pm") };
        if text != am && text != pm {
            return Err(NotThisLayout);
        }
        self.afternoon = Some(text == pm);
        Ok(&value[2..])
    }

    fn read_offset<'v>(&mut self, value: &'v [u8], colons: bool, units: u8) -> Parsed<&'v [u8]> {
        let step = if colons { 3 } else { 2 };
        let width = 3 + step * (usize::from(units) - 1);
        let text = value.get(..width).ok_or(NotThisLayout)?;
        let mut secs = 0;
        for unit in 0..usize::from(units) {
            let end = 3 + step * unit;
            if colons && unit > 0 && text[end - 3] != b':' {
                return Err(NotThisLayout);
            }
            let (n, _) = number(&text[end - 2..end], true)?;
            secs += within(n, 0, if unit == 0 { 24 } else { 60 })? * [3600, 60, 1][unit];
        }
        self.offset_secs = Some(match text[0] {
            b'+' => secs,
            b'-' => -secs,
            _ => return Err(NotThisLayout),
        });
        Ok(&value[width..])
    }

    fn read_zone_name<'v>(&mut self, value: &'v [u8]) -> Parsed<&'v [u8]> {
        if let Some(rest) = value.strip_prefix(b"UTC") {
            self.utc = true;
            return Ok(rest);
        }
        let len = zone_name_len(value).ok_or(NotThisLayout)?;
        self.zone_name = String::from_utf8_lossy(&value[..len]).into_owned();
        Ok(&value[len..])
    }

    fn time(mut self) -> Parsed<Time> {
        match self.afternoon {
            Some(true) if self.hour < 12 => self.hour += 12,
            Some(false) if self.hour == 12 => self.hour = 0,
            _ => {}
        }
        if let Some(year_day) = self.year_day {
            self.settle_year_day(year_day)?;
        }
        let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        if day < 1 || day > days_in(month, self.year) {
            return Err(NotThisLayout);
        }
        let civil =
            Civil { year: self.year, month, day, hour: self.hour, minute: self.minute, second: self.second };
        let t = Time::from_civil(civil, self.nanos, Zone::Utc);
        if self.utc {
            return Ok(t);
        }
        let name = std::sync::Arc::from(self.zone_name.as_str());
        if let Some(offset) = self.offset_secs {
            let t = Time { unix_secs: t.unix_secs - offset, ..t };
            let is_local = offset == 0 && (self.zone_name.is_empty() || self.zone_name == "UTC");
            let zone = if is_local { Zone::Utc } else { Zone::Fixed { name, offset_secs: offset as i32 } };
            return Ok(t.in_zone(zone));
        }
        if !self.zone_name.is_empty() {
            // An abbreviation nobody knows: the clock is taken as UTC and shown under that name.
            let hours: i64 = self.zone_name.strip_prefix("GMT").and_then(|n| n.parse().ok()).unwrap_or(0);
            return Ok(t.in_zone(Zone::Fixed { name, offset_secs: (hours * 3600) as i32 }));
        }
        Ok(t)
    }

    /// Month and day from the day of the year; both must agree if given too.
    fn settle_year_day(&mut self, year_day: i64) -> Parsed<()> {
        let length = if is_leap(self.year) { 366 } else { 365 };
        let year_day = within(year_day, 1, length)?;
        let days = days_from_civil(self.year, 1, 1) + year_day - 1;
        let c = Time::unix(days * 86_400, 0).civil();
        if self.month.is_some_and(|m| m != c.month) || self.day.is_some_and(|d| d != c.day) {
            return Err(NotThisLayout);
        }
        self.month = Some(c.month);
        self.day = Some(c.day);
        Ok(())
    }
}

fn within(n: i64, least: i64, most: i64) -> Parsed<i64> {
    if (least..=most).contains(&n) { Ok(n) } else { Err(NotThisLayout) }
}

/// Literal text of the layout; any run of spaces stands for any run of spaces.
fn skip<'v>(mut value: &'v [u8], mut literal: &[u8]) -> Parsed<&'v [u8]> {
    while let Some((first, rest)) = literal.split_first() {
        if *first == b' ' {
            if value.first().is_some_and(|c| *c != b' ') {
                return Err(NotThisLayout);
            }
            literal = &literal[literal.iter().take_while(|c| **c == b' ').count()..];
            value = &value[value.iter().take_while(|c| **c == b' ').count()..];
            continue;
        }
        if value.first() != Some(first) {
            return Err(NotThisLayout);
        }
        literal = rest;
        value = &value[1..];
    }
    Ok(value)
}

/// One or two digits; exactly two when `fixed`.
fn number(value: &[u8], fixed: bool) -> Parsed<(i64, &[u8])> {
    let digit = |i: usize| value.get(i).filter(|c| c.is_ascii_digit()).map(|c| i64::from(c - b'0'));
    match (digit(0), digit(1)) {
        (Some(a), Some(b)) => Ok((a * 10 + b, &value[2..])),
        (Some(a), None) if !fixed => Ok((a, &value[1..])),
        _ => Err(NotThisLayout),
    }
}

/// A number of exactly `width` bytes, with a sign if it has one.
fn signed(value: &[u8], width: usize) -> Parsed<(i64, &[u8])> {
    let text = value.get(..width).ok_or(NotThisLayout)?;
    let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(NotThisLayout);
    }
    let n = digits.iter().fold(0, |n, c| n * 10 + i64::from(c - b'0'));
    Ok((if text[0] == b'-' { -n } else { n }, &value[width..]))
}

/// The index of a name at the start, whatever its case.
fn name<'v>(value: &'v [u8], names: &[&str], short: bool) -> Parsed<(i64, &'v [u8])> {
    for (i, name) in names.iter().enumerate() {
        let name = if short { &name[..3] } else { name };
        if value.get(..name.len()).is_some_and(|v| v.eq_ignore_ascii_case(name.as_bytes())) {
            return Ok((i as i64, &value[name.len()..]));
        }
    }
    Err(NotThisLayout)
}

/// `.123` as nanoseconds; digits beyond the ninth are dropped.
fn nanoseconds(text: &[u8]) -> Parsed<i64> {
    let (first, digits) = text.split_first().ok_or(NotThisLayout)?;
    if !matches!(first, b'.' | b',') {
        return Err(NotThisLayout);
    }
    let digits = &digits[..digits.len().min(9)];
    let scale = 10i64.pow(9 - digits.len() as u32);
    // Go reads a number with a sign here.
    let body = digits.strip_prefix(b"+").or_else(|| digits.strip_prefix(b"-")).unwrap_or(digits);
    if !body.iter().all(u8::is_ascii_digit) {
        return Err(NotThisLayout);
    }
    let n = body.iter().fold(0, |n, c| n * 10 + i64::from(c - b'0'));
    if digits.first() == Some(&b'-') && n > 0 { Err(NotThisLayout) } else { Ok(n * scale) }
}

/// How long the zone abbreviation at the start is.
fn zone_name_len(value: &[u8]) -> Option<usize> {
    if value.len() < 3 {
        return None;
    }
    if value.starts_with(b"ChST") || value.starts_with(b"MeST") {
        return Some(4);
    }
    if let Some(rest) = value.strip_prefix(b"GMT") {
        return Some(3 + signed_offset_len(rest));
    }
    if matches!(value[0], b'+' | b'-') {
        return Some(signed_offset_len(value)).filter(|n| *n > 0);
    }
    let capitals = value.iter().take(6).take_while(|c| c.is_ascii_uppercase()).count();
    match capitals {
        5 if value[4] == b'T' => Some(5),
        4 if value[3] == b'T' || value.starts_with(b"WITA") => Some(4),
        3 => Some(3),
        _ => None,
    }
}

fn signed_offset_len(value: &[u8]) -> usize {
    if !matches!(value.first(), Some(b'+' | b'-')) {
        return 0;
    }
    let digits = value[1..].iter().take_while(|c| c.is_ascii_digit()).count();
    let hours = std::str::from_utf8(&value[1..=digits]).ok().and_then(|d| d.parse::<u64>().ok());
    match hours {
        Some(hours) if hours <= 23 => digits + 1,
        _ => 0,
    }
}
