//! What a word without quotes means: the rules of the YAML library behind `kubectl`, and JSON's limits.
//!
//! Source: `go.yaml.in/yaml/v2`, which `sigs.k8s.io/yaml` reads with; `fixtures/kanister/yaml-cases.json`
//! holds its answers.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Number, Value};
use std::borrow::Cow;

/// A scalar as it stood in the text.
pub struct Scalar<'a> {
    pub text: &'a str,
    /// Without quotes, not a block.
    pub plain: bool,
    /// Name of a tag of YAML itself (`str`, `int`, …).
    pub tag: Option<Cow<'a, str>>,
}

/// The JSON value of a scalar.
pub fn resolve(scalar: &Scalar<'_>) -> Result<Value, String> {
    let text = scalar.text;
    let value = match scalar.tag.as_deref() {
        None if scalar.plain => return untagged(text),
        None | Some("str") => return Ok(text.into()),
        Some("binary") => return binary(text),
        Some("null") => word(text).filter(Value::is_null),
        Some("bool") => word(text).filter(Value::is_boolean),
        Some("int") => number(text).filter(|v| !v.is_f64()),
        Some("float") => number(text),
        Some(_) => return Ok(text.into()),
    };
    let tag = scalar.tag.as_deref().unwrap_or_default();
    value.ok_or_else(|| format!("the tag `!!{tag}` does not fit what it stands on"))
}

fn untagged(text: &str) -> Result<Value, String> {
    match text {
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf"
        | "-.Inf" | "-.INF" => {
            Err(format!("`{text}` is no number that JSON knows; put it in quotes if a text is meant"))
        }
        _ => Ok(word(text).or_else(|| number(text)).unwrap_or_else(|| text.into())),
    }
}

fn word(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Some(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Some(true.into())
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Some(false.into())
        }
        _ => None,
    }
}

fn number(text: &str) -> Option<Value> {
    // Only what begins like a number is looked at: `_1` and `e5` are words.
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    let digits = text.replace('_', "");
    integer(&digits).or_else(|| float(&digits)).map(Value::Number)
}

/// Whole numbers: decimal, and by prefix hexadecimal, octal (`0` alone is one) and binary.
fn integer(digits: &str) -> Option<Number> {
    let (negative, rest) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(digits)),
    };
    let lower = rest.to_ascii_lowercase();
    let (radix, rest) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if !rest.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None; // A second sign is none of Go's.
    }
    let magnitude = u64::from_str_radix(rest, radix).ok()?;
    if negative {
        return 0i64.checked_sub_unsigned(magnitude).map(Number::from);
    }
    // A plus sign is read for signed numbers alone.
    if digits.starts_with('+') {
        i64::try_from(magnitude).ok().map(Number::from)
    } else {
        Some(magnitude.into())
    }
}

fn float(digits: &str) -> Option<Number> {
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    let begins = unsigned.strip_prefix('.').unwrap_or(unsigned);
    // Rust reads `inf` and `nan` too, and YAML does not.
    if !begins.starts_with(|c: char| c.is_ascii_digit()) || unsigned.contains(|c: char| !is_of_float(c)) {
        return None;
    }
    let float: f64 = digits.parse().ok()?;
    // JSON writes a whole number without a fraction, and then it is read as a whole number.
    #[expect(clippy::cast_possible_truncation, reason = "only below 2^53, where every whole number is exact")]
    if float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0 {
        return Some((float as i64).into());
    }
    Number::from_f64(float)
}

fn is_of_float(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-')
}

fn binary(text: &str) -> Result<Value, String> {
    let packed: String = text.split_ascii_whitespace().collect();
    let bytes =
        BASE64_STANDARD.decode(packed).map_err(|_| "`!!binary` stands on what is not base64".to_owned())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned().into())
}
