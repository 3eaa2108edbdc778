//! Lists: building, taking apart, searching, sorting.

use super::math::to_int;
use super::{Answer, anys, is_empty, strslice, strval};
use crate::call::{Context, Functions};
use crate::compare::deep_equal;
use crate::error::Fail;
use crate::types::{Kind, Type};
use crate::value::{Data, Value};

pub(super) fn install(f: &mut Functions) {
    for name in ["list", "tuple"] {
        f.variadic(name, anys(1), |_, a| Ok(Value::list(a.to_vec())));
    }
    for name in ["append", "push"] {
        f.fixed(name, anys(2), |_, a| {
            let mut list = items(&a[0], "Cannot push on type")?;
            list.push(a[1].clone());
            Ok(Value::list(list))
        });
    }
    f.fixed("prepend", anys(2), |_, a| {
        let mut list = items(&a[0], "Cannot prepend on type")?;
        list.insert(0, a[1].clone());
        Ok(Value::list(list))
    });
    f.fixed("first", anys(1), |_, a| {
        Ok(items(&a[0], "Cannot find first on type")?.into_iter().next().unwrap_or_else(Value::nil))
    });
    f.fixed("last", anys(1), |_, a| {
        Ok(items(&a[0], "Cannot find last on type")?.pop().unwrap_or_else(Value::nil))
    });
    f.fixed("rest", anys(1), |_, a| {
        let list = items(&a[0], "Cannot find rest on type")?;
        Ok(list.get(1..).map_or_else(no_list, |rest| Value::list(rest.to_vec())))
    });
    f.fixed("initial", anys(1), |_, a| {
        let mut list = items(&a[0], "Cannot find initial on type")?;
        Ok(if list.pop().is_some() { Value::list(list) } else { no_list() })
    });
    f.fixed("reverse", anys(1), |_, a| {
        Ok(Value::list(items(&a[0], "Cannot find reverse on type")?.into_iter().rev().collect()))
    });
    f.fixed("compact", anys(1), |_, a| {
        let list = items(&a[0], "Cannot compact on type")?;
        Ok(Value::list(list.into_iter().filter(|v| !is_empty(v)).collect()))
    });
    f.fixed("uniq", anys(1), uniq);
    f.variadic("without", anys(2), without);
    f.fixed("has", anys(2), has);
    f.variadic("slice", anys(2), slice);
    f.variadic("concat", anys(1), concat);
    f.fixed("sortAlpha", anys(1), sort_alpha);
}

/// Go's nil `[]interface {}`.
fn no_list() -> Value {
    Value::zero(&Type::any_list())
}

/// The elements, or sprig's complaint about what is no list.
fn items(value: &Value, complaint: &str) -> Result<Vec<Value>, Fail> {
    if !value.is_valid() {
        return Err(Fail::text("runtime error: invalid memory address or nil pointer dereference"));
    }
    value.items().ok_or_else(|| Fail::text(format!("{complaint} {}", value.kind().name())))
}

fn contains(list: &[Value], wanted: &Value, c: &Context<'_>) -> Result<bool, Fail> {
    for item in list {
        if deep_equal(wanted, item, c.budget)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn uniq(c: &Context<'_>, a: &[Value]) -> Answer {
    let mut kept: Vec<Value> = Vec::new();
    for item in items(&a[0], "Cannot find uniq on type")? {
        if !contains(&kept, &item, c)? {
            kept.push(item);
        }
    }
    Ok(Value::list(kept))
}

fn without(c: &Context<'_>, a: &[Value]) -> Answer {
    let mut kept = Vec::new();
    for item in items(&a[0], "Cannot find without on type")? {
        if !contains(&a[1..], &item, c)? {
            kept.push(item);
        }
    }
    Ok(Value::list(kept))
}

fn has(c: &Context<'_>, a: &[Value]) -> Answer {
    if !a[1].is_valid() {
        return Ok(Value::bool(false));
    }
    let list = items(&a[1], "Cannot find has on type")?;
    Ok(Value::bool(contains(&list, &a[0], c)?))
}

fn slice(_: &Context<'_>, a: &[Value]) -> Answer {
    let list = &a[0];
    let len = items(list, "list should be type of slice or array but")?.len() as i64;
    if len == 0 {
        return Ok(Value::nil());
    }
    if list.kind() == Kind::Array {
        return Err(Fail::text("reflect.Value.Slice: slice of unaddressable array"));
    }
    let start = a.get(1).map_or(0, to_int);
    let end = a.get(2).map_or(len, to_int);
    if start < 0 || end < start || end > len {
        return Err(Fail::text("reflect.Value.Slice: slice index out of bounds"));
    }
    Ok(list.sub(start as usize, end as usize))
}

fn concat(_: &Context<'_>, a: &[Value]) -> Answer {
    let mut all = Vec::new();
    for list in a {
        if list.is_valid() && !list.kind().is_list() {
            return Err(Fail::text(format!("Cannot concat type {} as list", list.kind().name())));
        }
        all.append(&mut items(list, "")?);
    }
    Ok(if all.is_empty() { no_list() } else { Value::list(all) })
}

fn sort_alpha(c: &Context<'_>, a: &[Value]) -> Answer {
    let list = a[0].pointee().unwrap_or(&a[0]);
    if !list.kind().is_list() {
        return Ok(Value::strings([strval(&a[0], c)?]));
    }
    // A pointer to a list is one text: sprig looks through it only to decide.
    let mut texts = match a[0].data {
        Data::Pointer(_) => vec![strval(&a[0], c)?],
        _ => strslice(list, c)?,
    };
    texts.sort();
    Ok(Value::strings(texts))
}
