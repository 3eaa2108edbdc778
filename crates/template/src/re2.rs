//! Go's regular expressions (RE2 syntax) in the syntax of the `regex` crate.
//!
//! The two agree on most of the language. Where they differ, the pattern is rewritten: Go's `\d`, `\w`,
//! `\s` and `\b` are ASCII, braces and brackets are literals more often, octal escapes and `\Q…\E` exist,
//! stacked repetitions, `(?x)`, `\u….` and nested classes do not.

use std::fmt::Write as _;

use crate::text;

/// Go refuses counted repetitions beyond this.
const REPEAT_MAX: u32 = 1000;

/// A pattern in the other syntax.
pub(crate) struct Translated {
    pub(crate) pattern: String,
    /// Names of the groups by number; group 0 is the whole match.
    pub(crate) names: Vec<Option<String>>,
}

/// Rewrites a pattern, or says in Go's words what is wrong with it.
pub(crate) fn translate(pattern: &str) -> Result<Translated, String> {
    let mut t = Translator {
        rest: pattern,
        out: String::with_capacity(pattern.len() * 2),
        names: vec![None],
        open: 0,
        weights: vec![0],
        weight: 1,
        atom: false,
        repeated: None,
        quoting: false,
    };
    while !t.rest.is_empty() {
        t.step()?;
    }
    if t.open > 0 {
        return Err(format!("missing closing ): `{pattern}`"));
    }
    Ok(Translated { pattern: t.out, names: t.names })
}

struct Translator<'p> {
    rest: &'p str,
    out: String,
    names: Vec<Option<String>>,
    open: usize,
    /// How often the largest part of each open group is repeated, the whole pattern first.
    weights: Vec<u64>,
    /// The same for what was read last.
    weight: u64,
    /// Something stands here that can be repeated.
    atom: bool,
    /// … and it is repeated already, by what begins here.
    repeated: Option<&'p str>,
    /// Between `\Q` and `\E`.
    quoting: bool,
}

/// What an escape outside or inside a class stands for.
enum Escape {
    Char(char),
    /// A class, as the other syntax writes it inside brackets.
    Class(String),
}

fn literal(out: &mut String, c: char) {
    if c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii() {
        out.push(c);
    } else {
        let _ = write!(out, "\\x{{{:X}}}", u32::from(c));
    }
}

impl<'p> Translator<'p> {
    fn take(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn eat(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn push_atom(&mut self, text: &str) {
        self.out.push_str(text);
        self.is_atom(1);
    }

    /// What was just written can be repeated, and holds something that is repeated this often.
    fn is_atom(&mut self, weight: u64) {
        self.atom = true;
        self.repeated = None;
        self.weigh(weight);
    }

    fn weigh(&mut self, weight: u64) {
        self.weight = weight;
        if let Some(group) = self.weights.last_mut() {
            *group = weight.max(*group);
        }
    }

    fn push_char(&mut self, c: char) {
        literal(&mut self.out, c);
        self.is_atom(1);
    }

    fn step(&mut self) -> Result<(), String> {
        if self.quoting {
            if self.eat("\\E") {
                self.quoting = false;
            } else if let Some(c) = self.take() {
                self.push_char(c);
            }
            return Ok(());
        }
        let before = self.rest;
        let Some(c) = self.take() else { return Ok(()) };
        match c {
            '(' => self.group(before)?,
            ')' => {
                if self.open == 0 {
                    return Err(format!("unexpected ): `{before}`"));
                }
                self.open -= 1;
                self.out.push(')');
                let inside = self.weights.pop().unwrap_or(0);
                self.is_atom(inside.max(1));
            }
            '|' => {
                self.out.push('|');
                self.atom = false;
                self.repeated = None;
            }
            '^' | '$' | '.' => self.push_atom(c.encode_utf8(&mut [0; 4])),
            '[' => self.class(before)?,
            '*' | '+' | '?' => self.repetition(c.encode_utf8(&mut [0; 4]), before)?,
            '{' => match counts(self.rest) {
                Some((least, most, width)) => {
                    self.rest = &self.rest[width..];
                    let written = &before[..=width];
                    let bounded = most.filter(|m| *m != u32::MAX);
                    if least > REPEAT_MAX || bounded.is_some_and(|m| m > REPEAT_MAX || m < least) {
                        return Err(format!("invalid repeat count: `{written}`"));
                    }
                    let count = match most {
                        None => format!("{{{least}}}"),
                        Some(u32::MAX) => format!("{{{least},}}"),
                        Some(most) => format!("{{{least},{most}}}"),
                    };
                    self.repetition(&count, before)?;
                    // Go counts repetitions of repetitions together.
                    let times = u64::from(bounded.unwrap_or(least)).max(1);
                    let product = times.saturating_mul(self.weight);
                    if product > u64::from(REPEAT_MAX) && (least >= 2 || bounded.is_some_and(|m| m >= 2)) {
                        return Err(format!("invalid repeat count: `{written}`"));
                    }
                    self.weigh(product);
                }
                None => self.push_char('{'),
            },
            '\\' => self.escape_outside(before)?,
            c => self.push_char(c),
        }
        Ok(())
    }

    fn repetition(&mut self, operator: &str, before: &'p str) -> Result<(), String> {
        if let Some(first) = self.repeated {
            let shown = &first[..first.len() - self.rest.len()];
            return Err(format!("invalid nested repetition operator: `{shown}`"));
        }
        if !self.atom {
            return Err(format!("missing argument to repetition operator: `{operator}`"));
        }
        self.out.push_str(operator);
        if self.eat("?") {
            self.out.push('?');
        }
        self.repeated = Some(before);
        Ok(())
    }

    fn group(&mut self, before: &str) -> Result<(), String> {
        self.open += 1;
        self.atom = false;
        self.repeated = None;
        if !self.eat("?") {
            self.out.push('(');
            self.weights.push(0);
            self.names.push(None);
            return Ok(());
        }
        if self.eat("P<") || self.eat("<") {
            let bad = || format!("invalid named capture: `{before}`");
            let (name, rest) = self.rest.split_once('>').ok_or_else(bad)?;
            if name.is_empty() || !name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) {
                return Err(bad());
            }
            self.rest = rest;
            self.names.push(Some(name.to_owned()));
            self.weights.push(0);
            self.out.push('(');
            return Ok(());
        }
        self.flags(before)
    }

    /// `(?i)`, `(?i:` and so on. Go knows the flags i, m, s and U.
    fn flags(&mut self, before: &str) -> Result<(), String> {
        let bad = |rest: &str| {
            let shown = &before[..before.len() - rest.len()];
            format!("invalid or unsupported Perl syntax: `{shown}`")
        };
        let (mut on, mut off) = (String::new(), String::new());
        let mut minus = false;
        loop {
            match self.take().ok_or_else(|| format!("missing closing ): `{before}`"))? {
                c @ ('i' | 'm' | 's' | 'U') => {
                    on.retain(|f| f != c);
                    off.retain(|f| f != c);
                    if minus { off.push(c) } else { on.push(c) }
                }
                '-' if !minus => minus = true,
                _ if minus && off.is_empty() => return Err(bad(self.rest)),
                c @ (':' | ')') => {
                    let dash = if off.is_empty() { "" } else { "-" };
                    let flags = format!("{on}{dash}{off}");
                    if c == ':' {
                        let _ = write!(self.out, "(?{flags}:");
                        self.weights.push(0);
                        return Ok(());
                    }
                    self.open -= 1;
                    if !flags.is_empty() {
                        let _ = write!(self.out, "(?{flags})");
                    }
                    return Ok(());
                }
                _ => return Err(bad(self.rest)),
            }
        }
    }

    fn escape_outside(&mut self, before: &str) -> Result<(), String> {
        match self.rest.chars().next() {
            Some('Q') => {
                self.take();
                self.quoting = true;
                return Ok(());
            }
            Some('A') => self.push_look("\\A"),
            Some('z') => self.push_look("\\z"),
            Some('b') => self.push_look("(?-u:\\b)"),
            Some('B') => self.push_look("(?-u:\\B)"),
            _ => {
                match self.escape(before)? {
                    Escape::Char(c) => self.push_char(c),
                    Escape::Class(class) => self.push_atom(&format!("[{class}]")),
                }
                return Ok(());
            }
        }
        Ok(())
    }

    fn push_look(&mut self, text: &str) {
        self.take();
        self.push_atom(text);
    }

    /// The escape after a backslash.
    fn escape(&mut self, before: &str) -> Result<Escape, String> {
        let Some(c) = self.take() else {
            return Err("trailing backslash at end of expression: ``".to_owned());
        };
        let bad = |width: usize| {
            let shown: String = before.chars().take(width).collect();
            format!("invalid escape sequence: `{shown}`")
        };
        let class = |text: &str| Ok(Escape::Class(text.to_owned()));
        match c {
            'd' => class("0-9"),
            'D' => class("[^0-9]"),
            'w' => class("0-9A-Za-z_"),
            'W' => class("[^0-9A-Za-z_]"),
            's' => class("\\t\\n\\x{C}\\r\\x20"),
            'S' => class("[^\\t\\n\\x{C}\\r\\x20]"),
            'p' | 'P' => self.unicode_class(c == 'P', before),
            'a' => Ok(Escape::Char('\x07')),
            'f' => Ok(Escape::Char('\x0C')),
            'n' => Ok(Escape::Char('\n')),
            'r' => Ok(Escape::Char('\r')),
            't' => Ok(Escape::Char('\t')),
            'v' => Ok(Escape::Char('\x0B')),
            'x' => self.hex(before).map(Escape::Char),
            '1'..='7' if !self.rest.starts_with(|d: char| ('0'..='7').contains(&d)) => Err(bad(2)),
            '0'..='7' => {
                let mut code = c.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    let Some(digit) = self.rest.chars().next().and_then(|d| d.to_digit(8)) else { break };
                    code = code * 8 + digit;
                    self.take();
                }
                char::from_u32(code).map(Escape::Char).ok_or_else(|| bad(2))
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok(Escape::Char(c)),
            _ => Err(bad(2)),
        }
    }

    fn hex(&mut self, before: &str) -> Result<char, String> {
        let bad = || format!("invalid escape sequence: `{}`", before.chars().take(3).collect::<String>());
        let digits = if self.eat("{") {
            let (digits, rest) = self.rest.split_once('}').ok_or_else(bad)?;
            self.rest = rest;
            digits
        } else {
            let digits = self.rest.get(..2).ok_or_else(bad)?;
            self.rest = &self.rest[2..];
            digits
        };
        if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(bad());
        }
        u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).ok_or_else(bad)
    }

    /// `\pL`, `\p{Greek}`, `\p{^Greek}`
    fn unicode_class(&mut self, negated: bool, before: &str) -> Result<Escape, String> {
        let shown = |width: usize| format!("invalid character class range: `{}`", &before[..width]);
        let name = if self.eat("{") {
            let Some((name, rest)) = self.rest.split_once('}') else {
                return Err(shown(before.len()));
            };
            self.rest = rest;
            name.to_owned()
        } else {
            self.take().ok_or_else(|| shown(before.len()))?.to_string()
        };
        let width = before.len() - self.rest.len();
        let (name, flipped) = name.strip_prefix('^').map_or((name.as_str(), false), |n| (n, true));
        let class = known_class(name).ok_or_else(|| shown(width))?;
        let p = if negated == flipped { 'p' } else { 'P' };
        Ok(Escape::Class(format!("\\{p}{{{class}}}")))
    }

    /// A bracketed class. Go knows no nested classes and no set operations.
    fn class(&mut self, before: &str) -> Result<(), String> {
        let mut class = String::from(if self.eat("^") { "[^" } else { "[" });
        let mut first = true;
        loop {
            if self.rest.is_empty() {
                return Err(format!("missing closing ]: `{before}`"));
            }
            if !first && self.eat("]") {
                break;
            }
            first = false;
            if self.posix(&mut class)? {
                continue;
            }
            self.class_item(&mut class, before)?;
        }
        class.push(']');
        self.push_atom(&class);
        Ok(())
    }

    /// `[:alpha:]`
    fn posix(&mut self, class: &mut String) -> Result<bool, String> {
        let Some(inner) = self.rest.strip_prefix("[:") else { return Ok(false) };
        let Some(end) = inner.find(":]") else { return Ok(false) };
        let name = &inner[..end];
        const NAMES: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
            "space", "upper", "word", "xdigit",
        ];
        if !NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err(format!("invalid character class range: `[:{name}:]`"));
        }
        let _ = write!(class, "[:{name}:]");
        self.rest = &inner[end + 2..];
        Ok(true)
    }

    /// One character, one range or one escape inside brackets.
    fn class_item(&mut self, class: &mut String, before: &str) -> Result<(), String> {
        let start = self.rest;
        let low = match self.class_char(before)? {
            Escape::Char(c) => c,
            Escape::Class(text) => {
                class.push_str(&text);
                return Ok(());
            }
        };
        let range = self.rest.strip_prefix('-').is_some_and(|r| !r.starts_with(']') && !r.is_empty());
        if !range {
            literal(class, low);
            return Ok(());
        }
        self.take();
        let bad = |rest: &str| {
            let width = start.len() - rest.len();
            format!("invalid character class range: `{}`", &start[..width])
        };
        match self.class_char(before)? {
            Escape::Char(high) if low <= high => {
                literal(class, low);
                class.push('-');
                literal(class, high);
                Ok(())
            }
            Escape::Char(_) => Err(bad(self.rest)),
            Escape::Class(_) => Err(format!("invalid escape sequence: `{}`", &start[2..4.min(start.len())])),
        }
    }

    fn class_char(&mut self, before: &str) -> Result<Escape, String> {
        let here = self.rest;
        match self.take() {
            None => Err(format!("missing closing ]: `{before}`")),
            Some('\\') => self.escape(here),
            Some(c) => Ok(Escape::Char(c)),
        }
    }
}

/// A Unicode class that Go knows, as the other syntax calls it: general categories by any of their names,
/// scripts by their full names.
fn known_class(name: &str) -> Option<String> {
    /// Scripts whose full name is as long as the abbreviations that Go does not know.
    const SHORT_SCRIPTS: [&str; 7] = ["ahom", "cham", "kawi", "lisu", "miao", "thai", "toto"];
    let lower = name.to_ascii_lowercase();
    let letters = |extra: &str| lower.chars().all(|c| c.is_ascii_lowercase() || extra.contains(c));
    if matches!(lower.as_str(), "any" | "ascii" | "assigned") {
        return Some(lower);
    }
    let parses = |class: &str| regex_syntax::parse(&format!("\\p{{{class}}}")).is_ok();
    let category = format!("gc={lower}");
    if letters(" _-") && !lower.starts_with("is") && parses(&category) {
        return Some(category);
    }
    let script = format!("script={lower}");
    let full_name = lower.len() != 4 || SHORT_SCRIPTS.contains(&lower.as_str());
    (letters("_") && full_name && !lower.starts_with("is") && parses(&script)).then_some(script)
}

/// `3}`, `3,}` or `3,5}`: the counts and how long that is. `u32::MAX` means no upper bound.
fn counts(s: &str) -> Option<(u32, Option<u32>, usize)> {
    let close = s.find('}')?;
    let body = &s[..close];
    let number = |d: &str| {
        let digits = !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit());
        // Go reads no number with leading zeros here.
        let plain = digits && (d.len() == 1 || !d.starts_with('0'));
        plain.then(|| d.parse::<u32>().unwrap_or(u32::MAX - 1))
    };
    let counts = match body.split_once(',') {
        None => (number(body)?, None),
        Some((least, "")) => (number(least)?, Some(u32::MAX)),
        Some((least, most)) => (number(least)?, Some(number(most)?)),
    };
    Some((counts.0, counts.1, close + 1))
}

/// Text to match against: bytes that are not UTF-8 count as U+FFFD, and positions lead back.
pub(crate) struct Haystack<'h> {
    pub(crate) text: std::borrow::Cow<'h, str>,
    original: &'h [u8],
    /// For each rune of a replaced text: its place there and in the original.
    places: Vec<(usize, usize)>,
}

impl<'h> Haystack<'h> {
    pub(crate) fn new(original: &'h [u8]) -> Haystack<'h> {
        if let Ok(text) = std::str::from_utf8(original) {
            return Haystack { text: text.into(), original, places: Vec::new() };
        }
        let mut replaced = String::with_capacity(original.len());
        let mut places = Vec::new();
        for (at, c, _) in text::runes(original) {
            places.push((replaced.len(), at));
            replaced.push(c);
        }
        places.push((replaced.len(), original.len()));
        Haystack { text: replaced.into(), original, places }
    }

    fn place(&self, at: usize) -> usize {
        match self.places.binary_search_by_key(&at, |p| p.0) {
            Ok(i) => self.places[i].1,
            Err(_) => at.min(self.original.len()),
        }
    }

    /// The original bytes of a part of the text.
    pub(crate) fn bytes(&self, from: usize, to: usize) -> &'h [u8] {
        if self.places.is_empty() {
            return &self.original[from..to];
        }
        &self.original[self.place(from)..self.place(to)]
    }
}

#[cfg(test)]
mod tests {
    use super::{Haystack, translate};

    /// Each pattern with Go's verdict: `None` accepts, otherwise the start of Go's complaint.
    const VERDICTS: &[(&str, Option<&str>)] = &[
        (r"\p{greek}", None),
        (r"\p{lowercase letter}", None),
        (r"\p{^lu}", None),
        (r"\pl", None),
        (r"\p{Alphabetic}", Some("invalid character class range")),
        (r"\p{Grek}", Some("invalid character class range")),
        (r"\p{White_Space}", Some("invalid character class range")),
        (r"(a{30}){30}", None),
        (r"(a{30}){34}", Some("invalid repeat count")),
        (r"(a{2,}){600}", Some("invalid repeat count")),
        (r"(a+){1000}", None),
        (r"x{1001}", Some("invalid repeat count")),
        (r"x{2,1}", Some("invalid repeat count")),
        (r"(?i-i)a", None),
        (r"(?i-)a", Some("invalid or unsupported Perl syntax")),
        (r"(?x)a", Some("invalid or unsupported Perl syntax")),
        (r"(?=a)", Some("invalid or unsupported Perl syntax")),
        (r"a**", Some("invalid nested repetition operator: `**`")),
        (r"a*?", None),
        (r"*a", Some("missing argument to repetition operator: `*`")),
        (r"a{,5}", None),
        (r"[a&&b]", None),
        (r"[[a]", None),
        (r"[z-a]", Some("invalid character class range: `z-a`")),
        (r"[[:foo:]]", Some("invalid character class range: `[:foo:]`")),
        (r"[", Some("missing closing ]")),
        (r"(", Some("missing closing )")),
        (r")", Some("unexpected )")),
        (r"\u0041", Some("invalid escape sequence")),
        (r"\1", Some("invalid escape sequence")),
        (r"\12", None),
        (r"\Qa.b", None),
        ("\\", Some("trailing backslash")),
    ];

    #[test]
    fn accepts_what_go_accepts() {
        for (pattern, want) in VERDICTS {
            match (translate(pattern), want) {
                (Ok(t), None) => {
                    assert!(regex::Regex::new(&t.pattern).is_ok(), "{pattern} became {}", t.pattern)
                }
                (Err(e), Some(want)) => assert!(e.starts_with(want), "{pattern}: {e}"),
                (got, want) => panic!("{pattern}: {:?}, Go {want:?}", got.map(|t| t.pattern)),
            }
        }
    }

    #[test]
    fn means_what_go_means() {
        let matches = |pattern: &str, text: &str| {
            let translated = translate(pattern).expect("Go accepts it");
            regex::Regex::new(&translated.pattern).expect("so does the crate").is_match(text)
        };
        assert!(!matches(r"^\d$", "٣"), "digits are ASCII");
        assert!(!matches(r"^\w$", "é"), "words are ASCII");
        assert!(matches(r"é\b", "éa") && !matches(r"\bé", " é"), "so are their boundaries");
        assert!(matches(r"^a{,5}$", "a{,5}"), "braces that count nothing are themselves");
        assert!(matches(r"^[a&&b]+$", "a&b"), "no set operations");
        assert!(matches(r"^\101\Q.*\E$", "A.*"), "octal and quotation");
        assert!(!matches(r"a$", "a\n"), "the end is the end");
    }

    #[test]
    fn broken_bytes_match_as_replacement_characters() {
        let haystack = Haystack::new(b"a\xff\xfeb\xc3\xa9");
        assert_eq!(haystack.text, "a\u{FFFD}\u{FFFD}bé");
        let second = haystack.text.match_indices('\u{FFFD}').nth(1).expect("two of them").0;
        assert_eq!(haystack.bytes(second, second + 3), b"\xfe");
        assert_eq!(haystack.bytes(second + 3, haystack.text.len()), "bé".as_bytes());
    }
}
