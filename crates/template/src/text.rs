//! Text as Go sees it: bytes decoded rune by rune, Go's character classes and case mappings.

use std::sync::LazyLock;

/// What Go puts where bytes are not UTF-8.
pub(crate) const RUNE_ERROR: char = '\u{FFFD}';

/// The first rune and how many bytes it takes; a byte that is not UTF-8 is [`RUNE_ERROR`] of width 1.
/// Width 0 means the end.
pub(crate) fn decode(bytes: &[u8]) -> (char, usize) {
    let Some(&first) = bytes.first() else { return (RUNE_ERROR, 0) };
    let want = match first {
        0..0x80 => return (char::from(first), 1),
        0xC2..0xE0 => 2,
        0xE0..0xF0 => 3,
        0xF0..0xF5 => 4,
        _ => return (RUNE_ERROR, 1),
    };
    match bytes.get(..want).and_then(|b| std::str::from_utf8(b).ok()).and_then(|s| s.chars().next()) {
        Some(c) => (c, want),
        None => (RUNE_ERROR, 1),
    }
}

/// The last rune and its width, as [`decode`].
pub(crate) fn decode_last(bytes: &[u8]) -> (char, usize) {
    for width in (1..=4.min(bytes.len())).rev() {
        let tail = &bytes[bytes.len() - width..];
        let (c, w) = decode(tail);
        if w == width && (c != RUNE_ERROR || width > 1) {
            return (c, w);
        }
    }
    (RUNE_ERROR, bytes.len().min(1))
}

/// All runes with their position and width.
pub(crate) fn runes(bytes: &[u8]) -> impl Iterator<Item = (usize, char, usize)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (c, width) = decode(&bytes[at..]);
        if width == 0 {
            return None;
        }
        at += width;
        Some((at - width, c, width))
    })
}

/// How many runes.
pub(crate) fn rune_count(bytes: &[u8]) -> usize {
    runes(bytes).count()
}

/// Appends a rune as UTF-8.
pub(crate) fn push(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Appends the rune of a number; what is no rune becomes [`RUNE_ERROR`].
pub(crate) fn push_code(out: &mut Vec<u8>, code: u64) {
    let c = u32::try_from(code).ok().and_then(char::from_u32).unwrap_or(RUNE_ERROR);
    push(out, c);
}

/// Go's `strings.Map`: rune by rune, bytes that are not UTF-8 become U+FFFD.
pub(crate) fn map_runes(bytes: &[u8], f: impl Fn(char) -> char) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for (_, c, _) in runes(bytes) {
        push(&mut out, f(c));
    }
    out
}

struct Class(Vec<(char, char)>);

impl Class {
    /// Go 1.26 knows Unicode 15; what later versions added is in no class.
    fn new(pattern: &str) -> Class {
        let pattern = format!(r"[{pattern}&&\p{{age:15.0}}]");
        let hir = regex_syntax::parse(&pattern).expect("the class patterns below are valid");
        let regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(class)) = hir.into_kind()
        else {
            unreachable!("a bracketed Unicode pattern is a Unicode class")
        };
        Class(class.iter().map(|r| (r.start(), r.end())).collect())
    }

    fn has(&self, c: char) -> bool {
        let i = self.0.partition_point(|(_, end)| *end < c);
        self.0.get(i).is_some_and(|(start, _)| *start <= c)
    }
}

macro_rules! classes {
    ($($(#[$doc:meta])* $name:ident: $pattern:literal;)*) => {
        $($(#[$doc])*
        pub(crate) fn $name(c: char) -> bool {
            static CLASS: LazyLock<Class> = LazyLock::new(|| Class::new($pattern));
            CLASS.has(c)
        })*
    };
}

classes! {
    /// `unicode.IsLetter`
    is_letter: r"\p{L}";
    /// `unicode.IsDigit`
    is_digit: r"\p{Nd}";
    /// `unicode.IsNumber`
    is_number: r"\p{N}";
    /// `unicode.IsUpper`
    is_upper: r"\p{Lu}";
    /// `unicode.IsLower`
    is_lower: r"\p{Ll}";
    /// `unicode.IsTitle`
    is_title: r"\p{Lt}";
    graphic: r"\p{L}\p{M}\p{N}\p{P}\p{S}";
}

/// `strconv.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space.
pub(crate) fn is_print(c: char) -> bool {
    if c.is_ascii() { (' '..='~').contains(&c) } else { graphic(c) }
}

/// `unicode.IsSpace`
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace()
}

/// `unicode.ToUpper`: one rune for one rune.
pub(crate) fn to_upper(c: char) -> char {
    let mut mapped = c.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(upper), None) => upper,
        _ => simple_greek_capital(c),
    }
}

/// The capital with adscript iota where the full mapping writes two letters.
fn simple_greek_capital(c: char) -> char {
    let code = u32::from(c);
    let shifted = match code {
        0x1F80..=0x1FAF if code & 8 == 0 => code + 8,
        0x1FB3 | 0x1FC3 | 0x1FF3 => code + 9,
        _ => code,
    };
    char::from_u32(shifted).unwrap_or(c)
}

/// `unicode.ToLower`: one rune for one rune.
pub(crate) fn to_lower(c: char) -> char {
    // U+0130 is the only rune whose full lower case is longer than one rune.
    c.to_lowercase().next().unwrap_or(c)
}

/// `unicode.ToTitle`
pub(crate) fn to_title(c: char) -> char {
    match u32::from(c) {
        0x01C4..=0x01C6 => '\u{01C5}',
        0x01C7..=0x01C9 => '\u{01C8}',
        0x01CA..=0x01CC => '\u{01CB}',
        0x01F1..=0x01F3 => '\u{01F2}',
        0x10D0..=0x10FA | 0x10FD..=0x10FF => c,
        _ => to_upper(c),
    }
}

/// `strings.ToUpper`
pub(crate) fn upper(bytes: &[u8]) -> Vec<u8> {
    if bytes.is_ascii() { bytes.to_ascii_uppercase() } else { map_runes(bytes, to_upper) }
}

/// `strings.ToLower`
pub(crate) fn lower(bytes: &[u8]) -> Vec<u8> {
    if bytes.is_ascii() { bytes.to_ascii_lowercase() } else { map_runes(bytes, to_lower) }
}

/// Where `needle` first occurs.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}

/// `strings.Count` of a needle that is not empty.
pub(crate) fn count(haystack: &[u8], needle: &[u8]) -> usize {
    memchr::memmem::find_iter(haystack, needle).count()
}

/// `strings.TrimSpace`
pub(crate) fn trim_space(bytes: &[u8]) -> &[u8] {
    trim_by(bytes, is_space)
}

/// Without the runes at both ends for which `drop` holds.
pub(crate) fn trim_by(mut bytes: &[u8], drop: impl Fn(char) -> bool) -> &[u8] {
    loop {
        let (c, width) = decode(bytes);
        if width == 0 || !drop(c) {
            break;
        }
        bytes = &bytes[width..];
    }
    loop {
        let (c, width) = decode_last(bytes);
        if width == 0 || !drop(c) {
            break;
        }
        bytes = &bytes[..bytes.len() - width];
    }
    bytes
}
