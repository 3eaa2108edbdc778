//! Methods of Go's types that templates can call: `time.Time` and its family, `json.Number`,
//! `*semver.Version`; and what `fmt` prints through them.

use crate::call::{Act, Function};
use crate::error::Fail;
use crate::json;
use crate::sprig::semver::Version;
use crate::time::{MONTHS, Time, WEEKDAYS, duration_text};
use crate::time_format;
use crate::types::{Kind, Type};
use crate::value::{Data, Value};

const MINUTE_NANOS: f64 = 60e9;
const HOUR_NANOS: f64 = 3600e9;

fn month_type() -> Type {
    Type::named("time.Month", &Type::int())
}

fn weekday_type() -> Type {
    Type::named("time.Weekday", &Type::int())
}

fn duration(nanos: i64) -> Value {
    Value::int_of(Type::duration(), nanos)
}

/// A method of the value, or of a struct embedded in it. Methods that Go defines on pointers are
/// found only when the value was reached through one.
pub(crate) fn find(value: &Value, name: &str, through_pointer: bool) -> Option<Function> {
    match &value.data {
        Data::Time(t) => return time_method(t.clone(), name),
        Data::Int(i) => return int_method(value, *i, name),
        Data::Str(s) if value.ty().name() == "json.Number" => {
            return json_number(String::from_utf8_lossy(s).into_owned(), name);
        }
        Data::Struct(_) => {}
        _ => return None,
    }
    if let Some(version) = Version::from_value(value) {
        return version.method(name).filter(|_| through_pointer || Version::VALUE_METHODS.contains(&name));
    }
    embedded(value).find_map(|inner| find(inner, name, through_pointer))
}

/// The values of a struct's embedded fields.
fn embedded(value: &Value) -> impl Iterator<Item = &Value> {
    let fields = value.ty().fields().iter().zip(value.field_values());
    fields.filter(|(decl, _)| decl.embedded && !decl.unexported).map(|(_, inner)| inner)
}

/// The time a value is, or embeds.
pub(crate) fn time_of(value: &Value) -> Option<&Time> {
    value.as_time().or_else(|| {
        if value.kind() != Kind::Struct {
            return None;
        }
        embedded(value).find_map(Value::as_time)
    })
}

/// What `String` or `Error` returns. `None`: no such method; `Some(None)`: called on a nil pointer.
pub(crate) fn string_of(value: &Value) -> Option<Option<Vec<u8>>> {
    let text = |s: String| Some(Some(s.into_bytes()));
    match &value.data {
        Data::Time(t) => text(t.text()),
        Data::Int(i) => match value.ty().name() {
            "time.Duration" => text(duration_text(*i)),
            "time.Month" => text(month_name(*i)),
            "time.Weekday" => text(weekday_name(*i)),
            _ => None,
        },
        Data::Str(s) if value.ty().name() == "json.Number" => Some(Some(s.to_vec())),
        Data::Struct(_) => time_of(value).and_then(|t| text(t.text())),
        Data::Pointer(None) => {
            let name = value.ty().elem().map(Type::name);
            matches!(name, Some("time.Time" | "semver.Version")).then_some(None)
        }
        Data::Pointer(Some(to)) => match Version::from_value(to) {
            Some(version) => text(version.text()),
            None if matches!(to.data, Data::Struct(_) | Data::Time(_)) => string_of(to),
            None => None,
        },
        _ => None,
    }
}

/// What `GoString` returns.
pub(crate) fn go_string(value: &Value) -> Option<String> {
    match &value.data {
        Data::Pointer(Some(to)) => time_of(to).map(Time::go_text),
        _ => time_of(value).map(Time::go_text),
    }
}

fn month_name(i: i64) -> String {
    match usize::try_from(i - 1).ok().and_then(|i| MONTHS.get(i)) {
        Some(name) => (*name).to_owned(),
        None => format!("%!Month({i})"),
    }
}

fn weekday_name(i: i64) -> String {
    match usize::try_from(i).ok().and_then(|i| WEEKDAYS.get(i)) {
        Some(name) => (*name).to_owned(),
        None => format!("%!Weekday({i})"),
    }
}

/// A method without arguments that cannot fail.
fn getter(value: Value) -> Option<Function> {
    Some(Function::new(Vec::new(), move |_, _| Ok(value.clone())))
}

/// A method that returns more than a template can take.
fn too_many_results(name: &'static str, results: usize) -> Option<Function> {
    let text = format!("function {name} has {results} return values; should be 1 or 2");
    Some(Function::special(Vec::new(), false, Act::Unfit(text)))
}

fn time_method(t: Time, name: &str) -> Option<Function> {
    let c = t.civil();
    let nanos = i128::from(t.unix_secs) * 1_000_000_000 + i128::from(t.nanos);
    match name {
        "Year" => getter(Value::int(c.year)),
        "Month" => getter(Value::int_of(month_type(), c.month)),
        "Day" => getter(Value::int(c.day)),
        "Hour" => getter(Value::int(c.hour)),
        "Minute" => getter(Value::int(c.minute)),
        "Second" => getter(Value::int(c.second)),
        "Nanosecond" => getter(Value::int(i64::from(t.nanos))),
        "Weekday" => getter(Value::int_of(weekday_type(), t.weekday())),
        "YearDay" => getter(Value::int(t.year_day())),
        "Unix" => getter(Value::int64(t.unix_secs)),
        "UnixMilli" => getter(Value::int64((nanos.div_euclid(1_000_000)) as i64)),
        "UnixMicro" => getter(Value::int64((nanos.div_euclid(1_000)) as i64)),
        "UnixNano" => getter(Value::int64(nanos as i64)),
        "String" => getter(Value::str(t.text())),
        "GoString" => getter(Value::str(t.go_text())),
        "UTC" | "Local" => getter(Value::time(t.in_zone(crate::time::Zone::Utc))),
        "IsZero" => getter(Value::bool(t.compare(&Time::zero()).is_eq())),
        "IsDST" => getter(Value::bool(t.is_dst())),
        "MarshalText" => getter(Value::bytes(json::rfc3339(&t))),
        "MarshalJSON" => getter(Value::bytes(format!("\"{}\"", json::rfc3339(&t)))),
        "Date" | "Clock" => too_many_results(if name == "Date" { "Date" } else { "Clock" }, 3),
        "ISOWeek" => second_result("ISOWeek", "int"),
        "Zone" => second_result("Zone", "int"),
        _ => time_method_with_arguments(t, name),
    }
}

fn second_result(name: &str, ty: &str) -> Option<Function> {
    let text = format!("invalid function signature for {name}: second return value should be error; is {ty}");
    Some(Function::special(Vec::new(), false, Act::Unfit(text)))
}

fn time_method_with_arguments(t: Time, name: &str) -> Option<Function> {
    let other = |v: &Value| v.as_time().cloned().unwrap_or_else(Time::zero);
    let number = |v: &Value| v.as_int().unwrap_or_default();
    Some(match name {
        "Format" => Function::new(vec![Type::string()], move |_, a| {
            Ok(Value::str(time_format::format(&t, a[0].as_str().map_or(b"", |s| s))))
        }),
        "AppendFormat" => Function::new(vec![Type::bytes(), Type::string()], move |_, a| {
            let mut out = a[0].as_bytes().unwrap_or_default().to_vec();
            out.extend(time_format::format(&t, a[1].as_str().map_or(b"", |s| s)));
            Ok(Value::bytes(out))
        }),
        "Add" => Function::new(vec![Type::duration()], move |_, a| Ok(Value::time(t.add(number(&a[0]))))),
        "AddDate" => Function::new(vec![Type::int(); 3], move |_, a| {
            Ok(Value::time(t.add_date(number(&a[0]), number(&a[1]), number(&a[2]))))
        }),
        "Sub" => Function::new(vec![Type::time()], move |_, a| Ok(duration(t.sub(&other(&a[0]))))),
        "Before" => {
            Function::new(vec![Type::time()], move |_, a| Ok(Value::bool(t.compare(&other(&a[0])).is_lt())))
        }
        "After" => {
            Function::new(vec![Type::time()], move |_, a| Ok(Value::bool(t.compare(&other(&a[0])).is_gt())))
        }
        "Equal" => {
            Function::new(vec![Type::time()], move |_, a| Ok(Value::bool(t.compare(&other(&a[0])).is_eq())))
        }
        "Compare" => {
            Function::new(vec![Type::time()], move |_, a| Ok(Value::int(t.compare(&other(&a[0])) as i64)))
        }
        "Truncate" | "Round" => {
            let round = name == "Round";
            Function::new(vec![Type::duration()], move |_, a| {
                Ok(Value::time(t.truncate(number(&a[0]), round)))
            })
        }
        _ => return None,
    })
}

fn int_method(value: &Value, i: i64, name: &str) -> Option<Function> {
    match (value.ty().name(), name) {
        ("time.Month", "String") => getter(Value::str(month_name(i))),
        ("time.Weekday", "String") => getter(Value::str(weekday_name(i))),
        ("time.Duration", _) => duration_method(i, name),
        _ => None,
    }
}

fn duration_method(nanos: i64, name: &str) -> Option<Function> {
    let number = |v: &Value| v.as_int().unwrap_or_default();
    // Whole units and the rest apart, as Go adds them: the sum is exact where it can be.
    let units = |unit: f64| {
        let unit_nanos = unit as i64;
        (nanos / unit_nanos) as f64 + (nanos % unit_nanos) as f64 / unit
    };
    match name {
        "String" => getter(Value::str(duration_text(nanos))),
        "Hours" => getter(Value::float64(units(HOUR_NANOS))),
        "Minutes" => getter(Value::float64(units(MINUTE_NANOS))),
        "Seconds" => getter(Value::float64(units(1e9))),
        "Milliseconds" => getter(Value::int64(nanos / 1_000_000)),
        "Microseconds" => getter(Value::int64(nanos / 1_000)),
        "Nanoseconds" => getter(Value::int64(nanos)),
        "Abs" => getter(duration(nanos.saturating_abs())),
        "Truncate" => Some(Function::new(vec![Type::duration()], move |_, a| {
            let unit = number(&a[0]);
            Ok(duration(if unit <= 0 { nanos } else { nanos - nanos % unit }))
        })),
        "Round" => Some(Function::new(vec![Type::duration()], move |_, a| {
            Ok(duration(round_duration(nanos, number(&a[0]))))
        })),
        _ => None,
    }
}

/// `Duration.Round`: to the nearest multiple, halves away from zero.
pub(crate) fn round_duration(nanos: i64, unit: i64) -> i64 {
    if unit <= 0 {
        return nanos;
    }
    let rest = nanos % unit;
    if rest.unsigned_abs() < unit.unsigned_abs() - rest.unsigned_abs() {
        nanos - rest
    } else {
        (nanos - rest).saturating_add(unit * nanos.signum())
    }
}

fn json_number(text: String, name: &str) -> Option<Function> {
    use crate::number::{parse_float, parse_int};
    let failed = move |function: &str, text: &str, why: crate::number::BadNumber| {
        Fail::text(format!("strconv.{function}: parsing {}: {}", crate::quote::quote(text), why.text()))
    };
    match name {
        "String" => getter(Value::str(text)),
        "Float64" => Some(Function::new(Vec::new(), move |_, _| {
            parse_float(&text).map(Value::float64).map_err(|e| failed("ParseFloat", &text, e))
        })),
        "Int64" => Some(Function::new(Vec::new(), move |_, _| {
            parse_int(&text, 10).map(Value::int64).map_err(|e| failed("ParseInt", &text, e))
        })),
        _ => None,
    }
}
