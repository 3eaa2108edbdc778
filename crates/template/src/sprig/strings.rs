//! Strings: trimming, cutting, joining, quoting.

use std::sync::Arc;

use super::{Answer, anys, number, strings_of, strslice, strval, text};
use crate::call::{Context, Functions};
use crate::error::Fail;
use crate::printf;
use crate::quote::quote;
use crate::text as utf8;
use crate::types::Type;
use crate::value::Value;

pub(super) fn install(f: &mut Functions) {
    f.fixed("hello", Vec::new(), |_, _| Ok(Value::str("Hello!")));
    let map = |f: &mut Functions, name: &str, body: fn(&[u8]) -> Vec<u8>| {
        f.fixed(name, strings_of(1), move |_, a| Ok(Value::str(body(text(&a[0])))));
    };
    map(f, "trim", |s| utf8::trim_space(s).to_vec());
    map(f, "upper", utf8::upper);
    map(f, "lower", utf8::lower);
    map(f, "title", title);
    map(f, "nospace", nospace);
    trimming(f);
    searching(f);
    layout(f);
    pieces(f);
}

fn trimming(f: &mut Functions) {
    for name in ["trimAll", "trimall"] {
        f.fixed(name, strings_of(2), |_, a| Ok(Value::str(trim_all(text(&a[0]), text(&a[1])))));
    }
    f.fixed("trimSuffix", strings_of(2), |_, a| {
        let s = text(&a[1]);
        Ok(Value::str(s.strip_suffix(text(&a[0])).unwrap_or(s)))
    });
    f.fixed("trimPrefix", strings_of(2), |_, a| {
        let s = text(&a[1]);
        Ok(Value::str(s.strip_prefix(text(&a[0])).unwrap_or(s)))
    });
}

fn searching(f: &mut Functions) {
    f.fixed("contains", strings_of(2), |_, a| {
        Ok(Value::bool(utf8::find(text(&a[1]), text(&a[0])).is_some()))
    });
    f.fixed("hasPrefix", strings_of(2), |_, a| Ok(Value::bool(text(&a[1]).starts_with(text(&a[0])))));
    f.fixed("hasSuffix", strings_of(2), |_, a| Ok(Value::bool(text(&a[1]).ends_with(text(&a[0])))));
    f.fixed("replace", strings_of(3), |c, a| {
        Ok(Value::str(replace(text(&a[2]), text(&a[0]), text(&a[1]), c)?))
    });
}

fn layout(f: &mut Functions) {
    let int_str = || vec![Type::int(), Type::string()];
    f.fixed("repeat", int_str(), repeat);
    f.fixed("trunc", int_str(), trunc);
    f.fixed("substr", vec![Type::int(), Type::int(), Type::string()], substr);
    f.fixed("indent", int_str(), |c, a| Ok(Value::str(indent(number(&a[0]), text(&a[1]), c)?)));
    f.fixed("nindent", int_str(), |c, a| {
        Ok(Value::str([b"\n", indent(number(&a[0]), text(&a[1]), c)?.as_slice()].concat()))
    });
    f.fixed("plural", vec![Type::string(), Type::string(), Type::int()], |_, a| {
        Ok(a[usize::from(number(&a[2]) != 1)].clone())
    });
    f.variadic("quote", anys(1), quoted);
    f.variadic("squote", anys(1), squoted);
    f.variadic("cat", anys(1), cat);
}

fn pieces(f: &mut Functions) {
    f.fixed("toString", anys(1), |c, a| Ok(Value::str(strval(&a[0], c)?)));
    f.fixed("toStrings", anys(1), |c, a| Ok(Value::strings(strslice(&a[0], c)?)));
    f.fixed("join", vec![Type::string(), Type::any()], join);
    f.fixed("split", strings_of(2), |c, a| Ok(numbered(split(text(&a[1]), text(&a[0]), -1, c)?)));
    f.fixed("splitn", vec![Type::string(), Type::int(), Type::string()], |c, a| {
        Ok(numbered(split(text(&a[2]), text(&a[0]), number(&a[1]), c)?))
    });
    f.fixed("splitList", strings_of(2), |c, a| Ok(Value::strings(split(text(&a[1]), text(&a[0]), -1, c)?)));
}

/// `goutils.DeleteWhiteSpace`, which takes every byte for a Latin-1 letter once there is white space.
fn nospace(s: &[u8]) -> Vec<u8> {
    if !s.iter().any(|b| utf8::is_space(char::from(*b))) {
        return s.to_vec();
    }
    let mut out = Vec::with_capacity(s.len());
    s.iter().map(|b| char::from(*b)).filter(|c| !utf8::is_space(*c)).for_each(|c| utf8::push(&mut out, c));
    out
}

/// `strings.Title`: capitals where a word begins.
fn title(s: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(s.len());
    let mut before = ' ';
    for (_, c, _) in utf8::runes(s) {
        utf8::push(&mut out, if separates(before) { utf8::to_title(c) } else { c });
        before = c;
    }
    out
}

fn separates(c: char) -> bool {
    if c.is_ascii() {
        return !(c.is_ascii_alphanumeric() || c == '_');
    }
    !utf8::is_letter(c) && !utf8::is_digit(c) && utf8::is_space(c)
}

/// `strings.Trim(s, cutset)`
fn trim_all<'s>(cutset: &[u8], s: &'s [u8]) -> &'s [u8] {
    let set: Vec<char> = utf8::runes(cutset).map(|(_, c, _)| c).collect();
    utf8::trim_by(s, |c| set.contains(&c))
}

/// `strings.ReplaceAll`; an empty `old` matches around every rune.
pub(super) fn replace(s: &[u8], old: &[u8], new: &[u8], c: &Context<'_>) -> Result<Vec<u8>, Fail> {
    let matches = if old.is_empty() { utf8::rune_count(s) + 1 } else { utf8::count(s, old) };
    c.budget.room_for(s.len().saturating_add(matches.saturating_mul(new.len())))?;
    let mut out = Vec::with_capacity(s.len());
    if old.is_empty() {
        out.extend_from_slice(new);
        for (at, _, width) in utf8::runes(s) {
            out.extend_from_slice(&s[at..at + width]);
            out.extend_from_slice(new);
        }
        return Ok(out);
    }
    let mut from = 0;
    for at in memchr::memmem::find_iter(s, old) {
        out.extend_from_slice(&s[from..at]);
        out.extend_from_slice(new);
        from = at + old.len();
    }
    out.extend_from_slice(&s[from..]);
    Ok(out)
}

fn repeat(c: &Context<'_>, a: &[Value]) -> Answer {
    let Ok(count) = usize::try_from(number(&a[0])) else {
        return Err(Fail::text("strings: negative Repeat count"));
    };
    let s = text(&a[1]);
    c.budget.room_for(count.saturating_mul(s.len()))?;
    Ok(Value::str(if s.is_empty() { Vec::new() } else { s.repeat(count) }))
}

fn trunc(_: &Context<'_>, a: &[Value]) -> Answer {
    let (n, s) = (number(&a[0]), text(&a[1]));
    if s.len() as i64 <= n {
        return Ok(a[1].clone());
    }
    match usize::try_from(n) {
        Ok(n) => Ok(Value::str(&s[..n])),
        Err(_) => Err(Fail::text(format!("runtime error: slice bounds out of range [:{n}]"))),
    }
}

fn substr(_: &Context<'_>, a: &[Value]) -> Answer {
    let (start, end, s) = (number(&a[0]), number(&a[1]), text(&a[2]));
    let len = s.len() as i64;
    let (from, to) = match (start, end) {
        (start, end) if start < 0 => (0, end),
        (start, end) if end < 0 || end > len => (start, len),
        bounds => bounds,
    };
    if to < 0 {
        return Err(Fail::text(format!("runtime error: slice bounds out of range [:{to}]")));
    }
    if to > len {
        return Err(Fail::text(format!(
            "runtime error: slice bounds out of range [:{to}] with length {len}"
        )));
    }
    if from > to {
        return Err(Fail::text(format!("runtime error: slice bounds out of range [{from}:{to}]")));
    }
    Ok(Value::str(&s[from as usize..to as usize]))
}

fn indent(spaces: i64, s: &[u8], c: &Context<'_>) -> Result<Vec<u8>, Fail> {
    let Ok(spaces) = usize::try_from(spaces) else {
        return Err(Fail::text("strings: negative Repeat count"));
    };
    c.budget.room_for(spaces)?;
    let pad = vec![b' '; spaces];
    let with_newline = [b"\n", pad.as_slice()].concat();
    let body = replace(s, b"\n", &with_newline, c)?;
    Ok([pad, body].concat())
}

fn quoted(c: &Context<'_>, a: &[Value]) -> Answer {
    let mut parts = Vec::new();
    for value in a.iter().filter(|v| v.is_valid()) {
        parts.push(quote(strval(value, c)?).into_bytes());
    }
    Ok(Value::str(parts.join(&b' ')))
}

fn squoted(c: &Context<'_>, a: &[Value]) -> Answer {
    let mut parts = Vec::new();
    for value in a.iter().filter(|v| v.is_valid()) {
        parts.push([b"'", printf::with_verb(value, 'v', c.budget)?.as_slice(), b"'"].concat());
    }
    Ok(Value::str(parts.join(&b' ')))
}

fn cat(c: &Context<'_>, a: &[Value]) -> Answer {
    let mut parts = Vec::new();
    for value in a.iter().filter(|v| v.is_valid()) {
        parts.push(printf::with_verb(value, 'v', c.budget)?);
    }
    Ok(Value::str(parts.join(&b' ')))
}

fn join(c: &Context<'_>, a: &[Value]) -> Answer {
    let parts = strslice(&a[1], c)?;
    let separators = text(&a[0]).len().saturating_mul(parts.len());
    c.budget.room_for(parts.iter().map(Vec::len).sum::<usize>().saturating_add(separators))?;
    Ok(Value::str(parts.join(text(&a[0]))))
}

/// `strings.SplitN`; a negative `n` means all.
pub(super) fn split(s: &[u8], sep: &[u8], n: i64, c: &Context<'_>) -> Result<Vec<Vec<u8>>, Fail> {
    let most = usize::try_from(n).unwrap_or(usize::MAX);
    if most == 0 {
        return Ok(Vec::new());
    }
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut from = 0;
    let cuts: Box<dyn Iterator<Item = usize>> = if sep.is_empty() {
        Box::new(utf8::runes(s).map(|(at, _, _)| at).skip(1))
    } else {
        Box::new(memchr::memmem::find_iter(s, sep))
    };
    for at in cuts {
        if parts.len() + 1 >= most {
            break;
        }
        c.budget.step(1)?;
        parts.push(s[from..at].to_vec());
        from = at + sep.len();
    }
    if !(sep.is_empty() && s.is_empty()) {
        parts.push(s[from..].to_vec());
    }
    c.budget.charge(parts.len() * size_of::<Value>())?;
    Ok(parts)
}

/// `{_0: …, _1: …}`
fn numbered(parts: Vec<Vec<u8>>) -> Value {
    let entries = parts
        .into_iter()
        .enumerate()
        .map(|(i, part)| (Value::str(format!("_{i}")), Value::go_str(Arc::from(part))));
    Value::map_of(Type::string_map(), entries)
}
