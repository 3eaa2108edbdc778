//! The functions of sprig 2.22.0, one family per file.

use crate::call::{Context, Functions};
use crate::error::Fail;
use crate::methods;
use crate::printf;
use crate::types::Type;
use crate::value::Value;

#[cfg(feature = "certs")]
pub(crate) mod certs;
#[cfg(not(feature = "certs"))]
#[path = "no_certs.rs"]
pub(crate) mod certs;
pub(crate) mod crypto;
pub(crate) mod dates;
pub(crate) mod dicts;
pub(crate) mod encode;
pub(crate) mod flow;
pub(crate) mod host;
pub(crate) mod lists;
pub(crate) mod math;
pub(crate) mod merge;
pub(crate) mod paths;
pub(crate) mod random;
pub(crate) mod reflect;
pub(crate) mod regex;
pub(crate) mod semver;
pub(crate) mod strings;
pub(crate) mod urls;
pub(crate) mod words;

/// Adds all 150; `slice` replaces the builtin of that name, as in Go.
pub(crate) fn install(functions: &mut Functions) {
    certs::install(functions);
    crypto::install(functions);
    dates::install(functions);
    dicts::install(functions);
    encode::install(functions);
    flow::install(functions);
    host::install(functions);
    lists::install(functions);
    math::install(functions);
    paths::install(functions);
    random::install(functions);
    reflect::install(functions);
    regex::install(functions);
    semver::install(functions);
    strings::install(functions);
    urls::install(functions);
    words::install(functions);
}

pub(crate) type Answer = Result<Value, Fail>;

/// The bytes of an argument that the signature made a string.
pub(crate) fn text(value: &Value) -> &[u8] {
    value.as_str().map_or(b"", |s| s)
}

/// An argument that the signature made an integer.
pub(crate) fn number(value: &Value) -> i64 {
    value.as_int().unwrap_or_default()
}

pub(crate) fn strings_of(n: usize) -> Vec<Type> {
    vec![Type::string(); n]
}

pub(crate) fn anys(n: usize) -> Vec<Type> {
    vec![Type::any(); n]
}

/// sprig's `strval`: strings and bytes as they are, everything else as `%v` prints it.
pub(crate) fn strval(value: &Value, context: &Context<'_>) -> Result<Vec<u8>, Fail> {
    if let Some(s) = value.as_str().filter(|_| *value.ty() == Type::string()) {
        return Ok(s.to_vec());
    }
    if let Some(b) = value.as_bytes().filter(|_| *value.ty() == Type::bytes()) {
        return Ok(b.to_vec());
    }
    match methods::string_of(value) {
        Some(Some(text)) => Ok(text),
        Some(None) => Err(Fail::text("runtime error: invalid memory address or nil pointer dereference")),
        None => printf::with_verb(value, 'v', context.budget),
    }
}

/// sprig's `strslice`: a list of texts, nils left out; a single value becomes a list of one.
pub(crate) fn strslice(value: &Value, context: &Context<'_>) -> Result<Vec<Vec<u8>>, Fail> {
    match value.items() {
        Some(items) => {
            context.budget.step(items.len())?;
            items.iter().filter(|v| v.is_valid()).map(|v| strval(v, context)).collect()
        }
        None if value.is_valid() => Ok(vec![strval(value, context)?]),
        None => Ok(Vec::new()),
    }
}

/// sprig's `empty`. Structs are never empty.
pub(crate) fn is_empty(value: &Value) -> bool {
    use crate::value::Data;
    match &value.data {
        Data::Struct(_) | Data::Time(_) => false,
        _ => !crate::builtin::truth(&crate::call::Ref::plain(value.clone())),
    }
}
