//! The two functions that `kubectl -o go-template` adds to Go's own.

use crate::call::Functions;
use crate::error::Fail;
use crate::sprig::encode;
use crate::types::{Kind, Type};
use crate::value::{Data, Value};

/// Adds `exists` and `base64decode`.
pub(crate) fn install(functions: &mut Functions) {
    let path = vec![Type::any(), Type::any()];
    functions.variadic("exists", path, |_, a| Ok(Value::bool(exists(&a[0], &a[1..]))));
    functions.fixed("base64decode", vec![Type::string()], |_, a| {
        match encode::base64_decode(encode::text_of(&a[0])) {
            Ok(bytes) => Ok(Value::str(bytes)),
            Err(text) => Err(Fail::text(format!("base64 decode failed: {text}"))),
        }
    });
}

/// Whether following the indexes leads to something.
fn exists(item: &Value, path: &[Value]) -> bool {
    let mut at = item.clone();
    for index in path {
        while at.kind() == Kind::Pointer {
            let Some(to) = at.pointee().cloned() else { return false };
            at = to;
        }
        let next = match at.kind() {
            Kind::Array | Kind::Slice | Kind::String => match index.data {
                Data::Int(i) => usize::try_from(i).ok().and_then(|i| at.item(i)),
                Data::Uint(u) => at.item(u as usize),
                _ => None,
            },
            Kind::Map if index.is_valid() => {
                at.ty().key().filter(|k| index.ty().assignable_to(k)).and_then(|k| {
                    let key = if k.is_any() { index.clone() } else { index.retyped(k) };
                    at.entry(&key)
                })
            }
            _ => None,
        };
        match next {
            Some(found) => at = found,
            None => return false,
        }
    }
    at.is_valid()
}
