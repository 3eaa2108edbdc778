//! Defaults, choices, failure, and JSON.

use super::{Answer, anys, is_empty, strings_of, text};
use crate::call::{Context, Functions};
use crate::error::Fail;
use crate::json::{self, NoJson};
use crate::types::Type;
use crate::value::Value;

pub(super) fn install(f: &mut Functions) {
    f.variadic("default", anys(2), |_, a| {
        let given = a.get(1).filter(|v| !is_empty(v));
        Ok(given.unwrap_or(&a[0]).clone())
    });
    f.fixed("empty", anys(1), |_, a| Ok(Value::bool(is_empty(&a[0]))));
    f.variadic("coalesce", anys(1), |_, a| {
        Ok(a.iter().find(|v| !is_empty(v)).cloned().unwrap_or_else(Value::nil))
    });
    f.fixed("ternary", vec![Type::any(), Type::any(), Type::bool()], |_, a| {
        Ok(a[usize::from(a[2].as_bool() != Some(true))].clone())
    });
    f.fixed("toJson", anys(1), |c, a| to_json(c, &a[0], false));
    f.fixed("toPrettyJson", anys(1), |c, a| to_json(c, &a[0], true));
    f.fixed("fail", strings_of(1), |_, a| Err(Fail::text(String::from_utf8_lossy(text(&a[0])).into_owned())));
}

fn to_json(c: &Context<'_>, value: &Value, pretty: bool) -> Answer {
    match json::encode(value, pretty, c.budget) {
        Ok(json) => Ok(Value::str(json)),
        // sprig drops the encoder's error and keeps the empty text.
        Err(NoJson::Unsupported) => Ok(Value::str("")),
        Err(NoJson::Limit(fail)) => Err(fail),
    }
}
