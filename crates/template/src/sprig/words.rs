//! Words: abbreviations, initials, case styles, wrapping.

use super::{Answer, number, strings_of, text};
use crate::call::{Context, Functions};
use crate::text as utf8;
use crate::types::Type;
use crate::value::Value;

pub(super) fn install(f: &mut Functions) {
    let map = |f: &mut Functions, name: &str, body: fn(&[u8]) -> Vec<u8>| {
        f.fixed(name, strings_of(1), move |_, a| Ok(Value::str(body(text(&a[0])))));
    };
    map(f, "untitle", untitle);
    map(f, "initials", initials);
    map(f, "swapcase", swapcase);
    map(f, "snakecase", |s| separated(s, '_'));
    map(f, "kebabcase", |s| separated(s, '-'));
    map(f, "camelcase", camelcase);
    let int_str = || vec![Type::int(), Type::string()];
    f.fixed("abbrev", int_str(), |_, a| Ok(Value::str(abbreviate(text(&a[1]), 0, number(&a[0])))));
    f.fixed("abbrevboth", vec![Type::int(), Type::int(), Type::string()], |_, a| {
        Ok(Value::str(abbreviate_both(text(&a[2]), number(&a[0]), number(&a[1]))))
    });
    f.fixed("wrap", int_str(), |c, a| wrap(c, text(&a[1]), number(&a[0]), b"\n", false));
    f.fixed("wrapWith", vec![Type::int(), Type::string(), Type::string()], |c, a| {
        wrap(c, text(&a[2]), number(&a[0]), text(&a[1]), true)
    });
}

/// The first letter of every word small.
fn untitle(s: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(s.len());
    let mut at_start = true;
    for (_, c, _) in utf8::runes(s) {
        if utf8::is_space(c) {
            at_start = true;
            utf8::push(&mut out, c);
        } else {
            utf8::push(&mut out, if at_start { utf8::to_lower(c) } else { c });
            at_start = false;
        }
    }
    out
}

/// The first byte of every word, read as Latin-1.
fn initials(s: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut after_gap = true;
    for b in s {
        let c = char::from(*b);
        if utf8::is_space(c) {
            after_gap = true;
        } else if after_gap {
            utf8::push(&mut out, c);
            after_gap = false;
        }
    }
    out
}

fn swapcase(s: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(s.len());
    let mut space = true;
    for (_, c, _) in utf8::runes(s) {
        let swapped = if utf8::is_upper(c) || utf8::is_title(c) {
            space = false;
            utf8::to_lower(c)
        } else if utf8::is_lower(c) {
            let first = std::mem::take(&mut space);
            if first { utf8::to_title(c) } else { utf8::to_upper(c) }
        } else {
            space = utf8::is_space(c);
            c
        };
        utf8::push(&mut out, swapped);
    }
    out
}

fn camelcase(s: &[u8]) -> Vec<u8> {
    let runes: Vec<char> = utf8::runes(s).map(|(_, c, _)| c).collect();
    let leading = runes.iter().take_while(|c| **c == '_').count();
    let mut out = Vec::with_capacity(s.len());
    runes[..leading].iter().for_each(|c| utf8::push(&mut out, *c));
    // A lone last rune is dropped with the underscores before it: that is how it is written in Go.
    let Some((first, rest)) = runes[leading..].split_first() else { return out };
    if rest.is_empty() {
        return out;
    }
    let mut current = utf8::to_upper(*first);
    for next in rest {
        let previous = current;
        current = *next;
        if previous == '_' && current == '_' {
            utf8::push(&mut out, previous);
            continue;
        }
        current = if previous == '_' { utf8::to_upper(current) } else { utf8::to_lower(current) };
        if previous != '_' {
            utf8::push(&mut out, previous);
        }
    }
    utf8::push(&mut out, current);
    out
}

/// Reads the runes of a camel-cased text and writes them small, with connectors between the words.
struct Separator<'s> {
    rest: &'s [u8],
    out: Vec<u8>,
    connector: char,
    current: char,
}

/// xstrings' `ToSnakeCase` and `ToKebabCase` as of version 1.2.0.
fn separated(s: &[u8], connector: char) -> Vec<u8> {
    let mut run = Separator { rest: s, out: Vec::with_capacity(s.len() + 8), connector, current: connector };
    while !run.rest.is_empty() {
        let previous = run.current;
        run.advance();
        let c = run.current;
        let after_word = previous != connector && !utf8::is_number(previous);
        if c == utf8::RUNE_ERROR {
            run.push(c);
        } else if utf8::is_upper(c) {
            if after_word {
                run.push(connector);
            }
            run.push(utf8::to_lower(c));
            run.capitals();
        } else if utf8::is_number(c) {
            if after_word {
                run.push(connector);
            }
            run.push(c);
        } else {
            if matches!(c, ' ' | '-' | '_') {
                run.current = connector;
            }
            run.push(run.current);
        }
    }
    run.out
}

impl Separator<'_> {
    fn advance(&mut self) {
        let (c, width) = utf8::decode(self.rest);
        self.current = c;
        self.rest = &self.rest[width..];
    }

    fn push(&mut self, c: char) {
        utf8::push(&mut self.out, c);
    }

    /// After a capital: a run of capitals belongs together, its last one to the word that follows.
    fn capitals(&mut self) {
        if self.rest.is_empty() {
            return;
        }
        self.advance();
        if !utf8::is_upper(self.current) {
            self.push(self.current);
            return;
        }
        while !self.rest.is_empty() {
            let previous = self.current;
            self.advance();
            let c = self.current;
            if c == utf8::RUNE_ERROR {
                self.push(utf8::to_lower(previous));
                self.push(c);
                break;
            }
            if utf8::is_upper(c) {
                self.push(utf8::to_lower(previous));
                continue;
            }
            if matches!(c, '_' | ' ' | '-') {
                self.current = self.connector;
                self.push(utf8::to_lower(previous));
            } else if utf8::is_number(c) {
                self.push(utf8::to_lower(previous));
                self.push(self.connector);
                self.push(c);
            } else {
                self.push(self.connector);
                self.push(utf8::to_lower(previous));
                self.push(c);
            }
            break;
        }
        if self.rest.is_empty() || self.current == self.connector {
            self.push(utf8::to_lower(self.current));
        }
    }
}

/// `goutils.AbbreviateFull`, counting bytes. Widths that are too small leave the text alone… or empty it.
fn abbreviate(s: &[u8], offset: i64, width: i64) -> Vec<u8> {
    let len = s.len() as i64;
    if width < 4 && offset == 0 {
        return s.to_vec();
    }
    if len <= width {
        return s.to_vec();
    }
    let offset = if offset > len { len } else { offset };
    let offset = if len - offset < width - 3 { len - (width - 3) } else { offset };
    let cut = |from: i64, to: i64| s[from.clamp(0, len) as usize..to.clamp(0, len) as usize].to_vec();
    if offset <= 4 {
        return [cut(0, width - 3).as_slice(), b"..."].concat();
    }
    if width < 7 {
        return Vec::new();
    }
    if offset + width - 3 < len {
        let tail = abbreviate(&s[offset as usize..], 0, width - 3);
        return [b"...", tail.as_slice()].concat();
    }
    [b"...", cut(len - (width - 3), len).as_slice()].concat()
}

fn abbreviate_both(s: &[u8], left: i64, right: i64) -> Vec<u8> {
    if right < 4 || left > 0 && right < 7 {
        return s.to_vec();
    }
    abbreviate(s, left, right)
}

/// `goutils.WrapCustom`: lines of at most `width` bytes, broken at spaces where there are some.
fn wrap(c: &Context<'_>, s: &[u8], width: i64, newline: &[u8], break_words: bool) -> Answer {
    let newline: &[u8] = if newline.is_empty() { b"\n" } else { newline };
    let width = usize::try_from(width.max(1)).unwrap_or(usize::MAX);
    let mut out = Vec::with_capacity(s.len());
    let mut at = 0;
    while s.len() - at > width {
        c.budget.step(1)?;
        c.budget.room_for(out.len())?;
        if s[at] == b' ' {
            at += 1;
            continue;
        }
        let window = &s[at..=at + width];
        let (end, next) = match memchr::memrchr(b' ', window) {
            Some(space) => (at + space, at + space + 1),
            None if break_words => (at + width, at + width),
            None => match memchr::memchr(b' ', &s[at + width..]) {
                Some(space) => (at + width + space, at + width + space + 1),
                None => break,
            },
        };
        out.extend_from_slice(&s[at..end]);
        out.extend_from_slice(newline);
        at = next;
    }
    out.extend_from_slice(&s[at..]);
    Ok(Value::str(out))
}
