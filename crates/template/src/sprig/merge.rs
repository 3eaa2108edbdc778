//! `merge` and `mergeOverwrite`: mergo 0.3.12 on dictionaries.

use std::sync::Arc;

use super::Answer;
use super::dicts::reaches;
use crate::call::Context;
use crate::error::Fail;
use crate::types::{Kind, Type};
use crate::value::{Data, MapKey, Value, lock};

/// Merges the later dictionaries into the first, which is changed and returned.
pub(super) fn merge(c: &Context<'_>, a: &[Value], overwrite: bool) -> Answer {
    let mut target = a[0].clone();
    for source in &a[1..] {
        if target.is_nil() && !source.is_nil() {
            target = Value::map_of(Type::dict(), []);
        }
        match merge_maps(c, &target, source, overwrite, 0) {
            Ok(()) => {}
            // sprig swallows mergo's own errors.
            Err(Stop::Refused) => return Ok(Value::str("")),
            Err(Stop::Fail(fail)) => return Err(fail),
        }
    }
    Ok(target)
}

enum Stop {
    /// An error of mergo.
    Refused,
    /// A panic of Go, or a limit.
    Fail(Fail),
}

impl From<Fail> for Stop {
    fn from(fail: Fail) -> Stop {
        Stop::Fail(fail)
    }
}

/// mergo's notion of empty; a pointer is as empty as what it points to, structs never are.
fn is_empty(value: &Value) -> bool {
    match &value.data {
        Data::Bool(b) => !b,
        Data::Int(i) => *i == 0,
        Data::Uint(u) => *u == 0,
        Data::Float(f) => *f == 0.0,
        Data::Pointer(Some(to)) => is_empty(to),
        Data::Struct(_) | Data::Time(_) | Data::Complex(..) => false,
        _ => value.is_nil() || value.is_empty(),
    }
}

fn merge_maps(
    c: &Context<'_>,
    target: &Value,
    source: &Value,
    overwrite: bool,
    depth: usize,
) -> Result<(), Stop> {
    c.budget.depth(depth)?;
    let Some(map) = target.as_map() else { return Ok(()) };
    for (key, item) in source.entries() {
        c.budget.step(1)?;
        let old = target.entry(&key);
        let put = |value: Value| -> Result<(), Stop> {
            if reaches(&value, Arc::as_ptr(map).addr(), c.budget, depth)? {
                return Err(Stop::Fail(Fail::text("a dict cannot contain itself")));
            }
            c.budget.charge(size_of::<(MapKey, Value)>())?;
            lock(map).insert(MapKey(key.clone()), value);
            Ok(())
        };
        if !item.is_valid() {
            if overwrite {
                put(item)?;
            }
            continue;
        }
        let kind = item.kind();
        if matches!(kind, Kind::Struct | Kind::Pointer | Kind::Map) {
            merge_element(c, old.as_ref(), &item, overwrite, depth)?;
        } else if kind == Kind::Slice && overwrite {
            put(item.clone())?;
        }
        let old_is_empty = old.as_ref().is_none_or(is_empty);
        if !old_is_empty && matches!(kind, Kind::Map | Kind::Slice) {
            continue;
        }
        if overwrite || old_is_empty {
            put(item)?;
        }
    }
    Ok(())
}

/// What mergo does with a nested value before it decides whether to replace it. Only maps can be
/// changed in place: everything else is held by value.
fn merge_element(
    c: &Context<'_>,
    old: Option<&Value>,
    new: &Value,
    overwrite: bool,
    depth: usize,
) -> Result<(), Stop> {
    let Some(old) = old else { return Ok(()) };
    match (old.kind(), new.kind()) {
        (Kind::Map, Kind::Map) => merge_maps(c, old, new, overwrite, depth + 1),
        (Kind::Map, _) if overwrite => {
            Err(Stop::Fail(Fail::text("reflect: reflect.Value.Set using unaddressable value")))
        }
        (Kind::Struct, kind) if kind != Kind::Struct && old.as_time().is_none() => {
            let name = kind.name();
            Err(Stop::Fail(Fail::text(format!("reflect: call of reflect.Value.Field on {name} Value"))))
        }
        (Kind::Pointer, Kind::Map | Kind::Struct) if !old.is_nil() && !overwrite => {
            let same = old.ty().elem().is_some_and(|e| e == new.ty());
            if same { Ok(()) } else { Err(Stop::Refused) }
        }
        _ => Ok(()),
    }
}
