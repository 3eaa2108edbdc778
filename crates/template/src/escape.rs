//! Text made harmless for HTML, JavaScript and URL queries, as Go does it.

use std::fmt::Write as _;

use crate::text;

/// `template.HTMLEscapeString`
pub(crate) fn html(s: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(s.len());
    for b in s {
        match b {
            0 => out.extend_from_slice("\u{FFFD}".as_bytes()),
            b'"' => out.extend_from_slice(b"&#34;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            _ => out.push(*b),
        }
    }
    out
}

/// `template.JSEscapeString`
pub(crate) fn js(s: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(s.len());
    let special =
        |c: char| matches!(c, '\\' | '\'' | '"' | '<' | '>' | '&' | '=') || c < ' ' || !c.is_ascii();
    if !text::runes(s).any(|(_, c, _)| special(c)) {
        return s.to_vec();
    }
    for (at, c, width) in text::runes(s) {
        match c {
            '\\' => out.extend_from_slice(b"\\\\"),
            '\'' => out.extend_from_slice(b"\\'"),
            '"' => out.extend_from_slice(b"\\\""),
            '<' | '>' | '&' | '=' => out.extend_from_slice(format!("\\u{:04X}", u32::from(c)).as_bytes()),
            c if c < ' ' => out.extend_from_slice(format!("\\u00{:02X}", u32::from(c)).as_bytes()),
            c if c.is_ascii() || text::is_print(c) => out.extend_from_slice(&s[at..at + width]),
            c => out.extend_from_slice(format!("\\u{:04X}", u32::from(c)).as_bytes()),
        }
    }
    out
}

/// `url.QueryEscape`
pub(crate) fn query(s: &[u8]) -> Vec<u8> {
    let mut out = String::with_capacity(s.len());
    for b in s {
        match b {
            b' ' => out.push('+'),
            b if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~') => {
                out.push(char::from(*b))
            }
            b => {
                let _ = write!(out, "%{b:02X}");
            }
        }
    }
    out.into_bytes()
}
