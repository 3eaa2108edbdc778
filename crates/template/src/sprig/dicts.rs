//! Dictionaries.

use std::sync::Arc;

use super::{Answer, anys, merge, strval, text};
use crate::call::{Context, Functions};
use crate::error::Fail;
use crate::limits::Budget;
use crate::types::Type;
use crate::value::{Data, MapKey, Value, lock};

pub(super) fn install(f: &mut Functions) {
    f.variadic("dict", anys(1), dict);
    f.fixed("set", vec![Type::dict(), Type::string(), Type::any()], set);
    f.fixed("unset", vec![Type::dict(), Type::string()], |_, a| {
        if let Some(map) = a[0].as_map() {
            lock(map).remove(&MapKey(a[1].clone()));
        }
        Ok(a[0].clone())
    });
    f.fixed("hasKey", vec![Type::dict(), Type::string()], |_, a| {
        Ok(Value::bool(a[0].entry(&a[1]).is_some()))
    });
    f.variadic("pluck", vec![Type::string(), Type::dict()], |_, a| {
        Ok(Value::list(a[1..].iter().filter_map(|d| d.entry(&a[0])).collect()))
    });
    f.variadic("keys", vec![Type::dict()], |_, a| {
        let keys = a.iter().flat_map(Value::entries).map(|(k, _)| k).collect();
        Ok(Value::list_of(Type::string_list(), keys))
    });
    f.fixed("values", vec![Type::dict()], |_, a| {
        Ok(Value::list(a[0].entries().into_iter().map(|(_, v)| v).collect()))
    });
    f.variadic("pick", vec![Type::dict(), Type::string()], |_, a| {
        let wanted = a[1..].iter().filter_map(|k| Some((k.clone(), a[0].entry(k)?)));
        Ok(Value::map_of(Type::dict(), wanted))
    });
    f.variadic("omit", vec![Type::dict(), Type::string()], |_, a| {
        let mut left = a[0].entries();
        left.retain(|(k, _)| !a[1..].iter().any(|drop| text(drop) == text(k)));
        Ok(Value::map_of(Type::dict(), left))
    });
    f.variadic("merge", vec![Type::dict(); 2], |c, a| merge::merge(c, a, false));
    f.variadic("mergeOverwrite", vec![Type::dict(); 2], |c, a| merge::merge(c, a, true));
    f.fixed("deepCopy", anys(1), |c, a| {
        if !a[0].is_valid() {
            return Err(Fail::text("reflect: call of reflect.Value.Type on zero Value"));
        }
        deep_copy(&a[0], c.budget, 0)
    });
}

fn dict(c: &Context<'_>, a: &[Value]) -> Answer {
    let mut entries = Vec::with_capacity(a.len() / 2 + 1);
    for pair in a.chunks(2) {
        let value = pair.get(1).cloned().unwrap_or_else(|| Value::str(""));
        entries.push((strval(&pair[0], c)?, value));
    }
    Ok(Value::dict(entries))
}

fn set(c: &Context<'_>, a: &[Value]) -> Answer {
    let Some(map) = a[0].as_map() else {
        return Err(Fail::text("assignment to entry in nil map"));
    };
    // Go lets a map contain itself and then dies of it when it is printed.
    if reaches(&a[2], Arc::as_ptr(map).addr(), c.budget, 0)? {
        return Err(Fail::text("a dict cannot contain itself"));
    }
    c.budget.charge(size_of::<(MapKey, Value)>())?;
    lock(map).insert(MapKey(a[1].clone()), a[2].clone());
    Ok(a[0].clone())
}

/// Whether a map is somewhere inside a value.
pub(super) fn reaches(value: &Value, map: usize, budget: &Budget, depth: usize) -> Result<bool, Fail> {
    budget.step(1)?;
    budget.depth(depth)?;
    let any = |items: &mut dyn Iterator<Item = Value>| -> Result<bool, Fail> {
        for item in items {
            if reaches(&item, map, budget, depth + 1)? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    match &value.data {
        Data::Map(Some(m)) if Arc::as_ptr(m).addr() == map => Ok(true),
        Data::Map(Some(_)) => any(&mut value.entries().into_iter().map(|(_, v)| v)),
        Data::List(Some(items)) | Data::Struct(items) => any(&mut items.iter().cloned()),
        Data::Pointer(Some(to)) => reaches(to, map, budget, depth + 1),
        _ => Ok(false),
    }
}

/// `copystructure.Copy`: everything anew; unexported fields cannot be copied and become zero.
fn deep_copy(value: &Value, budget: &Budget, depth: usize) -> Answer {
    budget.step(1)?;
    budget.depth(depth)?;
    budget.charge(size_of::<Value>())?;
    let data = match &value.data {
        Data::List(Some(items)) => {
            let items = items.iter().map(|v| deep_copy(v, budget, depth + 1)).collect::<Result<_, _>>()?;
            Data::List(Some(items))
        }
        Data::Struct(fields) => {
            let copy = |(i, v): (usize, &Value)| match value.ty().fields().get(i) {
                Some(decl) if decl.unexported => Ok(Value::zero(&decl.ty)),
                _ => deep_copy(v, budget, depth + 1),
            };
            Data::Struct(fields.iter().enumerate().map(copy).collect::<Result<_, _>>()?)
        }
        Data::Map(Some(_)) => {
            let mut entries = Vec::new();
            for (key, item) in value.entries() {
                entries.push((key, deep_copy(&item, budget, depth + 1)?));
            }
            return Ok(Value::map_of(value.ty().clone(), entries));
        }
        Data::Pointer(Some(to)) => Data::Pointer(Some(Arc::new(deep_copy(to, budget, depth + 1)?))),
        other => other.clone(),
    };
    Ok(Value::new(value.ty().clone(), data))
}
