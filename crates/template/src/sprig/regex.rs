//! Regular expressions with Go's syntax and Go's idea of splitting and replacing.

use super::{Answer, number, strings_of, text};
use crate::call::{Context, Functions};
use crate::error::Fail;
use crate::re2::{Haystack, translate};
use crate::text as utf8;
use crate::types::Type;
use crate::value::Value;

/// Bytes a compiled pattern may take.
const PROGRAM_MAX_BYTES: usize = 8 << 20;

pub(super) fn install(f: &mut Functions) {
    f.fixed("regexMatch", strings_of(2), |_, a| {
        // sprig drops the error: a pattern that is none matches nothing.
        let matched =
            compile(text(&a[0])).is_ok_and(|re| re.regex.is_match(&Haystack::new(text(&a[1])).text));
        Ok(Value::bool(matched))
    });
    f.fixed("regexFind", strings_of(2), |_, a| {
        let re = compile(text(&a[0]))?;
        let haystack = Haystack::new(text(&a[1]));
        let found = re.regex.find(&haystack.text).map(|m| haystack.bytes(m.start(), m.end()));
        Ok(Value::str(found.unwrap_or_default()))
    });
    let counted = || vec![Type::string(), Type::string(), Type::int()];
    f.fixed("regexFindAll", counted(), find_all);
    f.fixed("regexSplit", counted(), split);
    f.fixed("regexReplaceAll", strings_of(3), |c, a| replace(c, a, true));
    f.fixed("regexReplaceAllLiteral", strings_of(3), |c, a| replace(c, a, false));
}

struct Compiled {
    regex: regex::Regex,
    names: Vec<Option<String>>,
}

fn compile(pattern: &[u8]) -> Result<Compiled, Fail> {
    let shown = String::from_utf8_lossy(pattern);
    let bad = |why: String| {
        let shown = if crate::quote::can_backquote(pattern) {
            format!("`{shown}`")
        } else {
            crate::quote::quote(pattern)
        };
        Fail::text(format!("regexp: Compile({shown}): error parsing regexp: {why}"))
    };
    let source = std::str::from_utf8(pattern).map_err(|_| bad(format!("invalid UTF-8: `{shown}`")))?;
    let translated = translate(source).map_err(&bad)?;
    let regex = regex::RegexBuilder::new(&translated.pattern).size_limit(PROGRAM_MAX_BYTES).build();
    match regex {
        Ok(regex) => Ok(Compiled { regex, names: translated.names }),
        Err(_) => Err(bad(format!("expression is too large: `{shown}`"))),
    }
}

fn find_all(c: &Context<'_>, a: &[Value]) -> Answer {
    let re = compile(text(&a[0]))?;
    let most = usize::try_from(number(&a[2])).unwrap_or(usize::MAX);
    let haystack = Haystack::new(text(&a[1]));
    let mut found = Vec::new();
    for m in re.regex.find_iter(&haystack.text).take(most) {
        c.budget.step(1)?;
        c.budget.charge(size_of::<Value>())?;
        found.push(haystack.bytes(m.start(), m.end()));
    }
    Ok(if found.is_empty() { Value::zero(&Type::string_list()) } else { Value::strings(found) })
}

fn split(c: &Context<'_>, a: &[Value]) -> Answer {
    let re = compile(text(&a[0]))?;
    let n = number(&a[2]);
    if n == 0 {
        return Ok(Value::zero(&Type::string_list()));
    }
    let most = usize::try_from(n).unwrap_or(usize::MAX);
    let s = text(&a[1]);
    if !text(&a[0]).is_empty() && s.is_empty() {
        return Ok(Value::strings([""]));
    }
    let haystack = Haystack::new(s);
    let whole = haystack.text.len();
    let mut parts = Vec::new();
    let (mut from, mut end) = (0, 0);
    for m in re.regex.find_iter(&haystack.text).take(most) {
        if parts.len() + 1 == most {
            break;
        }
        c.budget.step(1)?;
        c.budget.charge(size_of::<Value>())?;
        end = m.start();
        // An empty match at the very beginning separates nothing.
        if m.end() != 0 {
            parts.push(haystack.bytes(from, end));
        }
        from = m.end();
    }
    if end != whole {
        parts.push(haystack.bytes(from, whole));
    }
    Ok(Value::strings(parts))
}

fn replace(c: &Context<'_>, a: &[Value], expand: bool) -> Answer {
    let re = compile(text(&a[0]))?;
    let haystack = Haystack::new(text(&a[1]));
    let replacement = text(&a[2]);
    let mut out = Vec::new();
    let mut from = 0;
    for found in re.regex.captures_iter(&haystack.text) {
        c.budget.step(1)?;
        c.budget.room_for(out.len())?;
        let whole = found.get(0).expect("group 0 is the match itself");
        out.extend_from_slice(haystack.bytes(from, whole.start()));
        if expand {
            expand_into(&mut out, replacement, &re.names, |i| {
                found.get(i).map(|m| haystack.bytes(m.start(), m.end()))
            });
        } else {
            out.extend_from_slice(replacement);
        }
        from = whole.end();
    }
    out.extend_from_slice(haystack.bytes(from, haystack.text.len()));
    Ok(Value::str(out))
}

/// Go's `Regexp.Expand`: `$1`, `${name}`, `$$`; `$1W` is the group named `1W`.
fn expand_into<'h>(
    out: &mut Vec<u8>,
    template: &[u8],
    names: &[Option<String>],
    group: impl Fn(usize) -> Option<&'h [u8]>,
) {
    let mut rest = template;
    while let Some(dollar) = memchr::memchr(b'$', rest) {
        out.extend_from_slice(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix(b"$") {
            out.push(b'$');
            rest = after;
            continue;
        }
        let Some((name, width)) = group_name(rest) else {
            out.push(b'$');
            continue;
        };
        rest = &rest[width..];
        // Of several groups with one name, the first that took part counts.
        let found = match group_number(&name) {
            Some(i) => group(i),
            None => (0..names.len()).filter(|i| names[*i].as_deref() == Some(&name)).find_map(&group),
        };
        out.extend_from_slice(found.unwrap_or_default());
    }
    out.extend_from_slice(rest);
}

/// The group that a `$` names, and how many bytes that takes.
fn group_name(s: &[u8]) -> Option<(String, usize)> {
    let braces = s.first() == Some(&b'{');
    let body = &s[usize::from(braces)..];
    let end = utf8::runes(body)
        .find(|(_, c, _)| *c != '_' && !utf8::is_letter(*c) && !utf8::is_digit(*c))
        .map_or(body.len(), |(at, _, _)| at);
    if end == 0 || braces && body.get(end) != Some(&b'}') {
        return None;
    }
    let name = String::from_utf8_lossy(&body[..end]).into_owned();
    Some((name, end + 2 * usize::from(braces)))
}

fn group_number(name: &str) -> Option<usize> {
    let digits = name.bytes().all(|b| b.is_ascii_digit()) && (name.len() == 1 || !name.starts_with('0'));
    name.parse::<usize>().ok().filter(|n| digits && *n < 1_000_000_000)
}
