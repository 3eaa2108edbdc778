//! Slash-separated paths: Go's `path` package.

use super::{strings_of, text};
use crate::call::Functions;
use crate::value::Value;

pub(super) fn install(f: &mut Functions) {
    let map = |f: &mut Functions, name: &str, body: fn(&[u8]) -> Vec<u8>| {
        f.fixed(name, strings_of(1), move |_, a| Ok(Value::str(body(text(&a[0])))));
    };
    map(f, "base", base);
    map(f, "dir", |p| clean(&p[..memchr::memrchr(b'/', p).map_or(0, |i| i + 1)]));
    map(f, "clean", clean);
    map(f, "ext", |p| {
        let name = memchr::memrchr(b'/', p).map_or(0, |i| i + 1);
        memchr::memrchr(b'.', &p[name..]).map_or_else(Vec::new, |i| p[name + i..].to_vec())
    });
    f.fixed("isAbs", strings_of(1), |_, a| Ok(Value::bool(text(&a[0]).starts_with(b"/"))));
}

fn base(p: &[u8]) -> Vec<u8> {
    if p.is_empty() {
        return b".".to_vec();
    }
    let end = p.iter().rposition(|b| *b != b'/').map_or(0, |i| i + 1);
    let trimmed = &p[..end];
    let name = &trimmed[memchr::memrchr(b'/', trimmed).map_or(0, |i| i + 1)..];
    if name.is_empty() { b"/".to_vec() } else { name.to_vec() }
}

/// The shortest path that leads to the same place, judged by the text alone.
fn clean(p: &[u8]) -> Vec<u8> {
    let rooted = p.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in p.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => {
                parts.pop();
            }
            b".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/", joined.as_slice()].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}
