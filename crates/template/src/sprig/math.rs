//! Numbers: sprig's arithmetic, always on `int64` or `float64`.

use std::sync::Arc;

use super::{Answer, anys, number, strings_of, text};
use crate::call::{Context, Functions};
use crate::error::Fail;
use crate::number::{parse_float, parse_int};
use crate::printf;
use crate::types::{Kind, Type};
use crate::value::{Data, Value};

pub(super) fn install(f: &mut Functions) {
    f.fixed("atoi", strings_of(1), |_, a| Ok(Value::int(atoi(text(&a[0])))));
    f.fixed("int64", anys(1), |_, a| Ok(Value::int64(to_int(&a[0]))));
    f.fixed("int", anys(1), |_, a| Ok(Value::int(to_int(&a[0]))));
    f.fixed("float64", anys(1), |_, a| Ok(Value::float64(to_float(&a[0]))));
    f.fixed("toDecimal", anys(1), |c, a| {
        let shown = printf::sprint(a, c.budget)?;
        let octal = std::str::from_utf8(&shown).ok().and_then(|s| parse_int(s, 8).ok());
        Ok(Value::int64(octal.unwrap_or(0)))
    });
    f.fixed("add1", anys(1), |_, a| Ok(Value::int64(to_int(&a[0]).wrapping_add(1))));
    f.variadic("add", anys(1), |_, a| {
        Ok(Value::int64(a.iter().fold(0i64, |sum, v| sum.wrapping_add(to_int(v)))))
    });
    f.variadic("mul", anys(2), |_, a| {
        Ok(Value::int64(a.iter().fold(1i64, |product, v| product.wrapping_mul(to_int(v)))))
    });
    f.fixed("sub", anys(2), |_, a| Ok(Value::int64(to_int(&a[0]).wrapping_sub(to_int(&a[1])))));
    f.fixed("div", anys(2), |_, a| divide(&a[0], &a[1], i64::wrapping_div));
    f.fixed("mod", anys(2), |_, a| divide(&a[0], &a[1], i64::wrapping_rem));
    for name in ["max", "biggest"] {
        f.variadic(name, anys(2), |_, a| pick(a, i64::max));
    }
    f.variadic("min", anys(2), |_, a| pick(a, i64::min));
    f.fixed("floor", anys(1), |_, a| Ok(Value::float64(to_float(&a[0]).floor())));
    f.fixed("ceil", anys(1), |_, a| Ok(Value::float64(to_float(&a[0]).ceil())));
    f.variadic("round", vec![Type::any(), Type::int(), Type::float64()], |_, a| {
        let round_on = a.get(2).and_then(Value::as_float).unwrap_or(0.5);
        Ok(Value::float64(round(to_float(&a[0]), number(&a[1]), round_on)))
    });
    f.fixed("until", vec![Type::int()], |c, a| {
        let stop = number(&a[0]);
        until(c, 0, stop, if stop < 0 { -1 } else { 1 })
    });
    f.fixed("untilStep", vec![Type::int(); 3], |c, a| until(c, number(&a[0]), number(&a[1]), number(&a[2])));
}

/// One pointer followed, as `reflect.Indirect` does.
fn indirect(value: &Value) -> &Value {
    value.pointee().unwrap_or(value)
}

/// Go's conversion on amd64: what does not fit becomes the smallest integer.
fn truncate(f: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&f) { f as i64 } else { i64::MIN }
}

/// sprig's `toInt64`: what is no number is 0.
pub(super) fn to_int(value: &Value) -> i64 {
    if let Some(s) = value.as_str() {
        let plain = *value.ty() == Type::string();
        return std::str::from_utf8(s)
            .ok()
            .filter(|_| plain)
            .and_then(|s| parse_int(s, 10).ok())
            .unwrap_or(0);
    }
    match indirect(value).data {
        Data::Int(i) => i,
        Data::Uint(u) => i64::try_from(u).unwrap_or(i64::MAX),
        Data::Float(f) => truncate(f),
        Data::Bool(b) => i64::from(b),
        _ => 0,
    }
}

/// sprig's `toFloat64`
fn to_float(value: &Value) -> f64 {
    if let Some(s) = value.as_str() {
        let plain = *value.ty() == Type::string();
        return std::str::from_utf8(s)
            .ok()
            .filter(|_| plain)
            .and_then(|s| parse_float(s).ok())
            .unwrap_or(0.0);
    }
    match indirect(value).data {
        Data::Int(i) => i as f64,
        Data::Uint(u) => u as f64,
        Data::Float(f) => f,
        Data::Bool(b) => f64::from(u8::from(b)),
        _ => 0.0,
    }
}

/// `strconv.Atoi` with the error dropped: what is too large becomes the largest.
fn atoi(s: &[u8]) -> i64 {
    let Ok(s) = std::str::from_utf8(s) else { return 0 };
    match parse_int(s, 10) {
        Ok(i) => i,
        Err(crate::number::BadNumber::Syntax) => 0,
        Err(crate::number::BadNumber::Range) => {
            if s.starts_with('-') {
                i64::MIN
            } else {
                i64::MAX
            }
        }
    }
}

fn divide(a: &Value, b: &Value, op: fn(i64, i64) -> i64) -> Answer {
    match to_int(b) {
        0 => Err(Fail::text("runtime error: integer divide by zero")),
        b => Ok(Value::int64(op(to_int(a), b))),
    }
}

fn pick(a: &[Value], choose: fn(i64, i64) -> i64) -> Answer {
    Ok(Value::int64(a[1..].iter().fold(to_int(&a[0]), |best, v| choose(best, to_int(v)))))
}

/// sprig's rounding: the fraction decides upwards, negative numbers always go down.
fn round(value: f64, places: i64, round_on: f64) -> f64 {
    let power = 10f64.powf(places as f64);
    let digit = power * value;
    let rounded = if digit.fract() >= round_on { digit.ceil() } else { digit.floor() };
    rounded / power
}

fn until(c: &Context<'_>, start: i64, stop: i64, step: i64) -> Answer {
    let ints = Type::slice(Type::basic(Kind::Int));
    if step == 0 || (stop < start) != (step < 0) {
        return Ok(Value::list_of(ints, Vec::new()));
    }
    let count = stop.abs_diff(start).div_ceil(step.unsigned_abs());
    let bytes = usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(size_of::<Value>());
    c.budget.room_for(bytes)?;
    let items = (0..count as i64).map(|i| Value::int(start + i * step)).collect::<Vec<_>>();
    Ok(Value::new(ints, Data::List(Some(Arc::from(items)))))
}
