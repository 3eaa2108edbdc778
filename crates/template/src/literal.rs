//! Number and character literals, in every type they fit.

use crate::lex::TokenKind;
use crate::node::Number;
use crate::number::{parse_float, parse_int, parse_uint};
use crate::quote::{Unit, quote, unquote_char};

/// Reads a literal; the error is Go's message.
pub(crate) fn number(text: &str, kind: TokenKind) -> Result<Number, String> {
    match kind {
        TokenKind::CharConstant => character(text),
        TokenKind::Complex => complex(text),
        _ => plain(text),
    }
}

fn character(text: &str) -> Result<Number, String> {
    let Some((unit, tail)) = unquote_char(&text[1..], '\'') else {
        return Err("invalid syntax".to_owned());
    };
    if tail != "'" {
        return Err(format!("malformed character constant: {text}"));
    }
    let code = match unit {
        Unit::Byte(b) => u32::from(b),
        Unit::Rune(c) => u32::from(c),
    };
    Ok(Number {
        int: Some(i64::from(code)),
        uint: Some(u64::from(code)),
        float: Some(f64::from(code)),
        complex: None,
        text: text.to_owned(),
    })
}

/// `1+2i`
fn complex(text: &str) -> Result<Number, String> {
    let split = text
        .char_indices()
        .skip(1)
        .find(|(i, c)| matches!(c, '+' | '-') && !matches!(text.as_bytes()[i - 1], b'e' | b'E' | b'p' | b'P'))
        .map_or(0, |(i, _)| i);
    let parts = (parse_float(&text[..split]), parse_float(text[split..].trim_end_matches('i')));
    let (Ok(re), Ok(im)) = parts else { return Err("syntax error scanning complex number".to_owned()) };
    Ok(simplified(Number { complex: Some((re, im)), text: text.to_owned(), ..Number::default() }))
}

/// A complex number without imaginary part is a float, perhaps an integer.
fn simplified(mut n: Number) -> Number {
    if let Some((re, 0.0)) = n.complex {
        n.float = Some(re);
        n.int = as_int(re);
        n.uint = as_uint(re);
    }
    n
}

fn as_int(f: f64) -> Option<i64> {
    ((f as i64) as f64 == f && f < 9.3e18).then_some(f as i64)
}

fn as_uint(f: f64) -> Option<u64> {
    ((f as u64) as f64 == f && f < 1.9e19).then_some(f as u64)
}

fn plain(text: &str) -> Result<Number, String> {
    if let Some(Ok(im)) = text.strip_suffix('i').map(parse_float) {
        return Ok(simplified(Number {
            complex: Some((0.0, im)),
            text: text.to_owned(),
            ..Number::default()
        }));
    }
    let mut n = Number {
        int: parse_int(text, 0).ok(),
        uint: parse_uint(text, 0).ok(),
        text: text.to_owned(),
        ..Number::default()
    };
    if n.int == Some(0) {
        n.uint = Some(0);
    }
    if let Some(i) = n.int {
        n.float = Some(i as f64);
    } else if let Some(u) = n.uint {
        n.float = Some(u as f64);
    } else if let Ok(f) = parse_float(text) {
        if !text.contains(['.', 'e', 'E', 'p', 'P']) {
            return Err(format!("integer overflow: {}", quote(text)));
        }
        n.float = Some(f);
        n.int = as_int(f);
        n.uint = as_uint(f);
    }
    if n.float.is_none() {
        return Err(format!("illegal number syntax: {}", quote(text)));
    }
    Ok(n)
}
