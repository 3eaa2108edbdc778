//! Arguments of a function, with Kanister's weak conversions: a text may stand for a number, a single value
//! for a list.
//!
//! Kanister decodes each argument with `mapstructure` and its option `WeaklyTypedInput`; the table of what
//! becomes what is that library's (version 1.5.0):
//!
//! | wanted | also taken |
//! |---|---|
//! | text | a number in decimal; `true` as `1`, `false` as `0` |
//! | whole number | a text, by its prefix decimal, `0x`, `0o` or `0b`; empty is 0; `true` as 1; a fraction is cut off |
//! | boolean | a number that is not 0; `1 t T TRUE true True`, `0 f F FALSE false False`; empty is false |
//! | list | any single value as its only item; an empty mapping as no item |
//! | mapping | a list of mappings, the later over the earlier; an empty list |

mod weak;

use crate::Object;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Why an argument cannot be taken. Names the argument and the types, never what stands in it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("argument `{path}`: {problem}")]
pub struct ArgsError {
    /// Name of the argument, and the path inside it.
    pub path: String,
    /// What was expected and what stands there.
    pub problem: String,
}

/// Decodes all arguments into a type whose fields are named like them.
///
/// A field without a default must be there; arguments the type does not know are passed over, so whoever
/// wants them refused says `deny_unknown_fields`.
pub fn decode<T: DeserializeOwned>(args: &Object) -> Result<T, ArgsError> {
    from(weak::Weak::Object(args), "")
}

/// Decodes one argument; `None` where it is missing or `null`.
pub fn argument<T: DeserializeOwned>(args: &Object, name: &str) -> Result<Option<T>, ArgsError> {
    match args.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => from(weak::Weak::Value(value), name).map(Some),
    }
}

fn from<T: DeserializeOwned>(weak: weak::Weak<'_>, name: &str) -> Result<T, ArgsError> {
    serde_path_to_error::deserialize(weak).map_err(|e| {
        let inside = e.path().to_string();
        let path = match (name, inside.as_str()) {
            ("", "." | "") => "(all)".to_owned(),
            ("", _) => inside,
            (_, "." | "") => name.to_owned(),
            _ if inside.starts_with('[') => format!("{name}{inside}"),
            _ => format!("{name}.{inside}"),
        };
        ArgsError { path, problem: e.into_inner().0 }
    })
}

#[cfg(test)]
mod tests;
