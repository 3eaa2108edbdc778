//! Types and kinds by name, and deep equality.

use super::{anys, text};
use crate::call::Functions;
use crate::compare::deep_equal;
use crate::types::Type;
use crate::value::Value;

pub(super) fn install(f: &mut Functions) {
    let named = || vec![Type::string(), Type::any()];
    f.fixed("typeOf", anys(1), |_, a| Ok(Value::str(type_of(&a[0]))));
    f.fixed("kindOf", anys(1), |_, a| Ok(Value::str(a[0].kind().name())));
    f.fixed("typeIs", named(), |_, a| Ok(Value::bool(text(&a[0]) == type_of(&a[1]).as_bytes())));
    f.fixed("typeIsLike", named(), |_, a| {
        let (target, name) = (text(&a[0]), type_of(&a[1]).as_bytes());
        Ok(Value::bool(target == name || name.strip_prefix(b"*") == Some(target)))
    });
    f.fixed("kindIs", named(), |_, a| Ok(Value::bool(text(&a[0]) == a[1].kind().name().as_bytes())));
    f.fixed("deepEqual", anys(2), |c, a| Ok(Value::bool(deep_equal(&a[0], &a[1], c.budget)?)));
}

/// `%T`
fn type_of(value: &Value) -> &str {
    if value.is_valid() { value.ty().name() } else { "<nil>" }
}
