//! Dates and times.

use super::{Answer, anys, strings_of, text};
use crate::call::{Context, Functions};
use crate::methods::round_duration;
use crate::time::{Time, Zone, duration_text, parse_duration};
use crate::types::{Kind, Type};
use crate::value::{Data, Value};
use crate::{time_format, time_parse};

const SECOND_NANOS: i64 = 1_000_000_000;
const HTML_DATE: &[u8] = b"2006-01-02";

pub(super) fn install(f: &mut Functions) {
    f.fixed("now", Vec::new(), |c, _| Ok(Value::time(c.world.now.clone())));
    f.fixed("date", vec![Type::string(), Type::any()], |c, a| format(c, text(&a[0]), &a[1], b""));
    for name in ["dateInZone", "date_in_zone"] {
        f.fixed(name, vec![Type::string(), Type::any(), Type::string()], |c, a| {
            format(c, text(&a[0]), &a[1], text(&a[2]))
        });
    }
    f.fixed("htmlDate", anys(1), |c, a| format(c, HTML_DATE, &a[0], b""));
    f.fixed("htmlDateInZone", vec![Type::any(), Type::string()], |c, a| {
        format(c, HTML_DATE, &a[0], text(&a[1]))
    });
    for name in ["dateModify", "date_modify"] {
        f.fixed(name, vec![Type::string(), Type::time()], |_, a| {
            let moved = a[1].as_time().zip(parse_duration(text(&a[0]))).map(|(t, nanos)| t.add(nanos));
            Ok(moved.map_or_else(|| a[1].clone(), Value::time))
        });
    }
    f.fixed("ago", anys(1), |c, a| {
        let since = c.world.now.sub(&instant(c, &a[0], true));
        Ok(Value::str(duration_text(round_duration(since, SECOND_NANOS))))
    });
    f.fixed("toDate", strings_of(2), |_, a| {
        // sprig drops the error: what does not fit the layout is Go's zero time.
        Ok(Value::time(time_parse::parse(text(&a[0]), text(&a[1])).unwrap_or_else(|_| Time::zero())))
    });
    f.fixed("unixEpoch", vec![Type::time()], |_, a| {
        Ok(Value::str(a[0].as_time().map_or(0, |t| t.unix_secs).to_string()))
    });
}

/// What sprig takes for a point in time; anything else, strings included, is now.
fn instant(c: &Context<'_>, value: &Value, ago: bool) -> Time {
    match &value.data {
        Data::Time(t) => t.clone(),
        Data::Pointer(Some(to)) if !ago => to.as_time().cloned().unwrap_or_else(|| c.world.now.clone()),
        Data::Int(i) if *value.ty() == Type::basic(value.kind()) => match value.kind() {
            Kind::Int | Kind::Int64 => Time::unix(*i, 0),
            Kind::Int32 if !ago => Time::unix(*i, 0),
            _ => c.world.now.clone(),
        },
        _ => c.world.now.clone(),
    }
}

fn format(c: &Context<'_>, layout: &[u8], value: &Value, zone: &[u8]) -> Answer {
    let zone = std::str::from_utf8(zone).ok().and_then(Zone::load).unwrap_or(Zone::Utc);
    let t = instant(c, value, false).in_zone(zone);
    c.budget.room_for(layout.len().saturating_mul(9))?;
    Ok(Value::str(time_format::format(&t, layout)))
}
