//! Go's quoted strings, both ways: `strconv.Quote` and `strconv.Unquote`.

use std::fmt::Write as _;

use crate::text;

/// `strconv.Quote` (or `QuoteToASCII`) with the given quotation mark.
pub(crate) fn quote_with(bytes: &[u8], mark: char, ascii_only: bool) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push(mark);
    for (at, c, width) in text::runes(bytes) {
        if c == text::RUNE_ERROR && width == 1 {
            let _ = write!(out, "\\x{:02x}", bytes[at]);
        } else {
            push_escaped(&mut out, c, mark, ascii_only);
        }
    }
    out.push(mark);
    out
}

/// `strconv.Quote`
pub(crate) fn quote(bytes: impl AsRef<[u8]>) -> String {
    quote_with(bytes.as_ref(), '"', false)
}

/// `strconv.QuoteRune` (or `QuoteRuneToASCII`)
pub(crate) fn quote_rune(c: char, ascii_only: bool) -> String {
    let mut out = String::from('\'');
    push_escaped(&mut out, c, '\'', ascii_only);
    out.push('\'');
    out
}

fn push_escaped(out: &mut String, c: char, mark: char, ascii_only: bool) {
    if c == mark || c == '\\' {
        out.push('\\');
        out.push(c);
        return;
    }
    if text::is_print(c) && (c.is_ascii() || !ascii_only) {
        out.push(c);
        return;
    }
    let _ = match c {
        '\x07' => write!(out, "\\a"),
        '\x08' => write!(out, "\\b"),
        '\x0C' => write!(out, "\\f"),
        '\n' => write!(out, "\\n"),
        '\r' => write!(out, "\\r"),
        '\t' => write!(out, "\\t"),
        '\x0B' => write!(out, "\\v"),
        c if c < ' ' || c == '\x7f' => write!(out, "\\x{:02x}", u32::from(c)),
        c if u32::from(c) < 0x10000 => write!(out, "\\u{:04x}", u32::from(c)),
        c => write!(out, "\\U{:08x}", u32::from(c)),
    };
}

/// `strconv.CanBackquote`
pub(crate) fn can_backquote(bytes: &[u8]) -> bool {
    text::runes(bytes).all(|(_, c, width)| {
        !(c == text::RUNE_ERROR && width == 1)
            && c != '\u{FEFF}'
            && (c == '\t' || c >= ' ')
            && c != '`'
            && c != '\x7f'
    })
}

/// `strconv.Unquote` of a double-quoted or backquoted literal; `None` is Go's "invalid syntax".
pub(crate) fn unquote(literal: &str) -> Option<Vec<u8>> {
    let mark = literal.chars().next()?;
    let inner = literal.get(1..)?.strip_suffix(mark)?;
    if mark == '`' {
        if inner.contains('`') {
            return None;
        }
        return Some(inner.bytes().filter(|b| *b != b'\r').collect());
    }
    if inner.contains('\n') {
        return None;
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while !rest.is_empty() {
        let (unit, tail) = unquote_char(rest, mark)?;
        match unit {
            Unit::Byte(b) => out.push(b),
            Unit::Rune(c) => text::push(&mut out, c),
        }
        rest = tail;
    }
    Some(out)
}

/// One element of a literal: a raw byte (`\xff`, `\377`) or a rune.
pub(crate) enum Unit {
    Byte(u8),
    Rune(char),
}

/// `strconv.UnquoteChar`: the first element and what follows it.
pub(crate) fn unquote_char(s: &str, mark: char) -> Option<(Unit, &str)> {
    let mut chars = s.chars();
    let c = chars.next()?;
    if c == mark && (mark == '\'' || mark == '"') {
        return None;
    }
    if c != '\\' {
        return Some((Unit::Rune(c), chars.as_str()));
    }
    let escape = chars.next()?;
    let rest = chars.as_str();
    let simple = |c| Some((Unit::Rune(c), rest));
    match escape {
        'a' => simple('\x07'),
        'b' => simple('\x08'),
        'f' => simple('\x0C'),
        'n' => simple('\n'),
        'r' => simple('\r'),
        't' => simple('\t'),
        'v' => simple('\x0B'),
        '\\' => simple('\\'),
        '\'' | '"' if escape == mark => simple(escape),
        'x' => {
            let (code, rest) = digits(rest, 2, 16)?;
            Some((Unit::Byte(code as u8), rest))
        }
        'u' | 'U' => {
            let (code, rest) = digits(rest, if escape == 'u' { 4 } else { 8 }, 16)?;
            Some((Unit::Rune(char::from_u32(code)?), rest))
        }
        '0'..='7' => {
            let (code, rest) = digits(&s[1..], 3, 8)?;
            (code <= 255).then_some((Unit::Byte(code as u8), rest))
        }
        _ => None,
    }
}

fn digits(s: &str, n: usize, radix: u32) -> Option<(u32, &str)> {
    let head = s.get(..n)?;
    if !head.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    Some((u32::from_str_radix(head, radix).ok()?, &s[n..]))
}
