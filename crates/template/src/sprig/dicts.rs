//! Dictionaries, defaults and flow control.

use std::sync::Arc;

use super::{Answer, anys, is_empty, merge, strings_of, strval, text};
use crate::call::{Context, Function, Functions};
use crate::error::Fail;
use crate::json::{self, NoJson};
use crate::limits::Budget;
use crate::types::Type;
use crate::value::{Data, MapKey, Value, lock};

pub(super) fn install(f: &mut Functions) {
    f.insert("dict", Function::variadic(anys(1), dict));
    f.insert("set", Function::new(vec![Type::dict(), Type::string(), Type::any()], set));
    f.insert("unset", Function::new(vec![Type::dict(), Type::string()], |_, a| {
        if let Some(map) = a[0].as_map() {
            lock(map).remove(&MapKey(a[1].clone()));
        }
        Ok(a[0].clone())
    }));
    f.insert("hasKey", Function::new(vec![Type::dict(), Type::string()], |_, a| {
        Ok(Value::bool(a[0].entry(&a[1]).is_some()))
    }));
    f.insert("pluck", Function::variadic(vec![Type::string(), Type::dict()], |_, a| {
        Ok(Value::list(a[1..].iter().filter_map(|d| d.entry(&a[0])).collect()))
    }));
    f.insert("keys", Function::variadic(vec![Type::dict()], |_, a| {
        let keys = a.iter().flat_map(Value::entries).map(|(k, _)| k).collect();
        Ok(Value::list_of(Type::string_list(), keys))
    }));
    f.insert("values", Function::new(vec![Type::dict()], |_, a| {
        Ok(Value::list(a[0].entries().into_iter().map(|(_, v)| v).collect()))
    }));
    f.insert("pick", Function::variadic(vec![Type::dict(), Type::string()], |_, a| {
        let wanted = a[1..].iter().filter_map(|k| Some((k.clone(), a[0].entry(k)?)));
        Ok(Value::map_of(Type::dict(), wanted))
    }));
    f.insert("omit", Function::variadic(vec![Type::dict(), Type::string()], |_, a| {
        let mut left = a[0].entries();
        left.retain(|(k, _)| !a[1..].iter().any(|drop| text(drop) == text(k)));
        Ok(Value::map_of(Type::dict(), left))
    }));
    f.insert("merge", Function::variadic(vec![Type::dict(); 2], |c, a| merge::merge(c, a, false)));
    f.insert("mergeOverwrite", Function::variadic(vec![Type::dict(); 2], |c, a| merge::merge(c, a, true)));
    f.insert("deepCopy", Function::new(anys(1), |c, a| {
        if !a[0].is_valid() {
            return Err(Fail::text("reflect: call of reflect.Value.Type on zero Value"));
        }
        deep_copy(&a[0], c.budget, 0)
    }));
    f.insert("default", Function::variadic(anys(2), |_, a| {
        let given = a.get(1).filter(|v| !is_empty(v));
        Ok(given.unwrap_or(&a[0]).clone())
    }));
    f.insert("empty", Function::new(anys(1), |_, a| Ok(Value::bool(is_empty(&a[0])))));
    f.insert("coalesce", Function::variadic(anys(1), |_, a| {
        Ok(a.iter().find(|v| !is_empty(v)).cloned().unwrap_or_else(Value::nil))
    }));
    f.insert("ternary", Function::new(vec![Type::any(), Type::any(), Type::bool()], |_, a| {
        Ok(a[usize::from(a[2].as_bool() != Some(true))].clone())
    }));
    f.insert("toJson", Function::new(anys(1), |c, a| to_json(c, &a[0], false)));
    f.insert("toPrettyJson", Function::new(anys(1), |c, a| to_json(c, &a[0], true)));
    f.insert("fail", Function::new(strings_of(1), |_, a| {
        Err(Fail::text(String::from_utf8_lossy(text(&a[0])).into_owned()))
    }));
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

fn to_json(c: &Context<'_>, value: &Value, pretty: bool) -> Answer {
    match json::encode(value, pretty, c.budget) {
        Ok(json) => Ok(Value::str(json)),
        // sprig drops the encoder's error and keeps the empty text.
        Err(NoJson::Unsupported) => Ok(Value::str("")),
        Err(NoJson::Limit(fail)) => Err(fail),
    }
}
