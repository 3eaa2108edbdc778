//! `eq`, `lt` and their relatives, and Go's two kinds of equality: `==` and `reflect.DeepEqual`.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::call::{Context, Ref};
use crate::error::Fail;
use crate::limits::Budget;
use crate::printf;
use crate::types::Kind;
use crate::value::{Data, Value};

/// The families within which Go's templates compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Basic {
    Bool,
    Complex,
    Int,
    Float,
    String,
    Uint,
}

fn basic(value: &Value) -> Option<Basic> {
    Some(match value.kind() {
        Kind::Bool => Basic::Bool,
        k if k.is_int() => Basic::Int,
        k if k.is_uint() => Basic::Uint,
        k if k.is_float() => Basic::Float,
        Kind::Complex128 => Basic::Complex,
        Kind::String => Basic::String,
        _ => return None,
    })
}

fn incompatible(a: &Value, b: &Value) -> Fail {
    Fail::text(format!("incompatible types for comparison: {} and {}", a.ty(), b.ty()))
}

fn compare_mixed(int: i64, uint: u64) -> Ordering {
    u64::try_from(int).map_or(Ordering::Less, |i| i.cmp(&uint))
}

/// `eq first others…`: whether the first equals any other.
pub(crate) fn eq(context: &Context<'_>, args: &[Ref]) -> Result<bool, Fail> {
    let first = &args[0].value;
    if args.len() == 1 {
        return Err(Fail::text("missing argument for comparison"));
    }
    for other in &args[1..] {
        if eq_two(first, &other.value, context.budget)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn eq_two(a: &Value, b: &Value, budget: &Budget) -> Result<bool, Fail> {
    let (basic_a, basic_b) = (basic(a), basic(b));
    if basic_a != basic_b {
        return match (&a.data, &b.data) {
            (Data::Int(i), Data::Uint(u)) | (Data::Uint(u), Data::Int(i)) => {
                Ok(compare_mixed(*i, *u).is_eq())
            }
            _ if a.is_valid() && b.is_valid() => Err(incompatible(a, b)),
            _ => Ok(false),
        };
    }
    match (&a.data, &b.data) {
        (Data::Bool(x), Data::Bool(y)) => Ok(x == y),
        (Data::Int(x), Data::Int(y)) => Ok(x == y),
        (Data::Uint(x), Data::Uint(y)) => Ok(x == y),
        (Data::Float(x), Data::Float(y)) => Ok(x == y),
        (Data::Complex(p, q), Data::Complex(r, s)) => Ok(p == r && q == s),
        (Data::Str(x), Data::Str(y)) => Ok(x == y),
        _ => {
            let show = |v: &Value, verb| -> Result<String, Fail> {
                Ok(String::from_utf8_lossy(&printf::with_verb(v, verb, budget)?).into_owned())
            };
            if a.kind() != b.kind() && a.is_valid() && b.is_valid() {
                return Err(Fail::text(format!(
                    "non-comparable types {}: {}, {}: {}",
                    show(a, 's')?,
                    a.ty(),
                    b.ty(),
                    show(b, 'v')?
                )));
            }
            if a.is_nil() || b.is_nil() {
                return Ok(a.is_nil() == b.is_nil());
            }
            if !b.ty().comparable() {
                return Err(Fail::text(format!("non-comparable type {}: {}", show(b, 's')?, b.ty())));
            }
            identical(a, b)
        }
    }
}

/// Equality of basic values only, as JSONPath filters compare.
pub(crate) fn basic_eq(a: &Value, b: &Value) -> Result<bool, Fail> {
    let bad = |text: &str| Err(Fail::text(text));
    let (Some(basic_a), Some(basic_b)) = (basic(a), basic(b)) else {
        return bad("invalid type for comparison");
    };
    match (&a.data, &b.data) {
        (Data::Int(i), Data::Uint(u)) | (Data::Uint(u), Data::Int(i)) => Ok(compare_mixed(*i, *u).is_eq()),
        _ if basic_a != basic_b => bad("incompatible types for comparison"),
        _ => identical(&a.retyped(b.ty()), b),
    }
}

/// Go's `==` between interfaces.
fn identical(a: &Value, b: &Value) -> Result<bool, Fail> {
    if a.ty() != b.ty() {
        return Ok(false);
    }
    match (&a.data, &b.data) {
        (Data::Invalid, Data::Invalid) => Ok(true),
        (Data::Bool(x), Data::Bool(y)) => Ok(x == y),
        (Data::Int(x), Data::Int(y)) => Ok(x == y),
        (Data::Uint(x), Data::Uint(y)) => Ok(x == y),
        (Data::Float(x), Data::Float(y)) => Ok(x == y),
        (Data::Complex(p, q), Data::Complex(r, s)) => Ok(p == r && q == s),
        (Data::Str(x), Data::Str(y)) => Ok(x == y),
        (Data::Pointer(x), Data::Pointer(y)) => Ok(match (x, y) {
            (Some(x), Some(y)) => Arc::ptr_eq(x, y),
            (x, y) => x.is_none() && y.is_none(),
        }),
        (Data::Time(x), Data::Time(y)) => {
            Ok(x.compare(y).is_eq() && x.zone.name() == y.zone.name() && x.offset_secs() == y.offset_secs())
        }
        (Data::Struct(x), Data::Struct(y)) | (Data::List(Some(x)), Data::List(Some(y))) => {
            for (p, q) in x.iter().zip(y.iter()) {
                if !identical(p, q)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        _ => Err(Fail::text(format!("runtime error: comparing uncomparable type {}", a.ty()))),
    }
}

/// `lt a b`
pub(crate) fn lt(args: &[Ref]) -> Result<bool, Fail> {
    let (a, b) = (&args[0].value, &args[1].value);
    let bad = || Fail::text("invalid type for comparison");
    let (Some(basic_a), Some(basic_b)) = (basic(a), basic(b)) else { return Err(bad()) };
    match (&a.data, &b.data) {
        (Data::Int(i), Data::Uint(u)) => Ok(compare_mixed(*i, *u).is_lt()),
        (Data::Uint(u), Data::Int(i)) => Ok(compare_mixed(*i, *u).is_gt()),
        _ if basic_a != basic_b => Err(incompatible(a, b)),
        (Data::Int(x), Data::Int(y)) => Ok(x < y),
        (Data::Uint(x), Data::Uint(y)) => Ok(x < y),
        (Data::Float(x), Data::Float(y)) => Ok(x < y),
        (Data::Str(x), Data::Str(y)) => Ok(x < y),
        _ => Err(bad()),
    }
}

/// `le a b`
pub(crate) fn le(context: &Context<'_>, args: &[Ref]) -> Result<bool, Fail> {
    Ok(lt(args)? || eq(context, args)?)
}

/// Go's `reflect.DeepEqual`.
pub(crate) fn deep_equal(a: &Value, b: &Value, budget: &Budget) -> Result<bool, Fail> {
    deep(a, b, budget, 0)
}

fn deep(a: &Value, b: &Value, budget: &Budget, depth: usize) -> Result<bool, Fail> {
    budget.step(1)?;
    budget.depth(depth)?;
    if a.ty() != b.ty() {
        return Ok(false);
    }
    let all = |x: &[Value], y: &[Value]| -> Result<bool, Fail> {
        if x.len() != y.len() {
            return Ok(false);
        }
        for (p, q) in x.iter().zip(y) {
            if !deep(p, q, budget, depth + 1)? {
                return Ok(false);
            }
        }
        Ok(true)
    };
    match (&a.data, &b.data) {
        (Data::List(Some(x)), Data::List(Some(y))) | (Data::Struct(x), Data::Struct(y)) => all(x, y),
        (Data::Bytes(x), Data::Bytes(y)) => Ok(x == y),
        (Data::Map(Some(x)), Data::Map(Some(y))) if Arc::ptr_eq(x, y) => Ok(true),
        (Data::Map(Some(_)), Data::Map(Some(_))) => {
            let (x, y) = (a.entries(), b.entries());
            if x.len() != y.len() {
                return Ok(false);
            }
            for ((kx, vx), (ky, vy)) in x.iter().zip(&y) {
                if !identical(kx, ky)? || !deep(vx, vy, budget, depth + 1)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Data::Pointer(Some(x)), Data::Pointer(Some(y))) => {
            Ok(Arc::ptr_eq(x, y) || deep(x, y, budget, depth + 1)?)
        }
        (Data::Func(x), Data::Func(y)) => Ok(x.is_none() && y.is_none()),
        _ if a.is_nil() || b.is_nil() => Ok(a.is_nil() && b.is_nil()),
        _ => identical(a, b),
    }
}
