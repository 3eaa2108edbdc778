//! Private keys and certificates.

use super::crypto::not_compliant;
use super::{strings_of, text};
use crate::call::{Function, Functions};
use crate::value::Value;

pub(super) fn install(f: &mut Functions) {
    f.insert("genPrivateKey", Function::new(strings_of(1), |_, a| match text(&a[0]) {
        b"dsa" => Err(not_compliant("genPrivateKey dsa")),
        other => Ok(Value::str([b"Unknown type ", other].concat())),
    }));
}
