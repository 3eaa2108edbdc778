//! From a byte of a decoded string to its place in the file.

use cistern_api::yaml::Place;

/// The place of `value[offset_bytes]`, for a scalar that begins at `start` in `text`.
///
/// The decoded characters are found again one by one in the source; what YAML adds (quotes, indentation,
/// escapes, the breaks of folded lines) is skipped. Whatever style the scalar has, the place is exact from
/// the first character of a line that is not a space on.
pub(crate) fn inside(text: &str, start: Place, value: &str, offset_bytes: usize) -> Place {
    let mut source = Source::at(text, start);
    source.skip_head();
    for c in value.get(..offset_bytes).unwrap_or(value).chars() {
        source.find(c);
    }
    // To the character itself, past what is only in the source.
    if let Some(c) = value.get(offset_bytes..).and_then(|rest| rest.chars().next()) {
        source.seek(c);
    }
    source.place
}

struct Source<'t> {
    rest: std::iter::Peekable<std::str::Chars<'t>>,
    place: Place,
    escapes: bool,
}

impl<'t> Source<'t> {
    fn at(text: &'t str, start: Place) -> Source<'t> {
        let line = text.split_inclusive('\n').take(start.line.saturating_sub(1)).map(str::len).sum();
        let rest = text.get(line..).unwrap_or_default();
        let column = rest.char_indices().nth(start.column.saturating_sub(1)).map_or(rest.len(), |(i, _)| i);
        Source { rest: rest[column..].chars().peekable(), place: start, escapes: false }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        if c == '\n' {
            self.place = Place { line: self.place.line + 1, column: 1 };
        } else {
            self.place.column += 1;
        }
        Some(c)
    }

    /// The header of a block, or the opening quote.
    fn skip_head(&mut self) {
        match self.rest.peek() {
            Some('|' | '>') => while self.next().is_some_and(|c| c != '\n') {},
            Some('"') => {
                self.escapes = true;
                self.next();
            }
            Some('\'') => {
                self.next();
            }
            _ => {}
        }
    }

    /// Goes past the next `c`.
    fn find(&mut self, c: char) {
        self.seek(c);
        if self.escapes && self.rest.peek() == Some(&'\\') {
            self.next();
            match self.next() {
                Some('x') => self.skip(2),
                Some('u') => self.skip(4),
                Some('U') => self.skip(8),
                _ => {}
            }
            return;
        }
        if self.rest.peek() == Some(&c) {
            self.next();
        } else if c == '\n' && self.rest.peek().is_some() {
            // A break that folding made of two.
            self.next();
        }
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.next();
        }
    }

    /// Goes to where `c` comes next: past white space, and past the quote of a doubled quote.
    fn seek(&mut self, c: char) {
        while let Some(&there) = self.rest.peek() {
            let escape = self.escapes && there == '\\';
            if there == c || escape || !(there.is_whitespace() || there == '\'') {
                return;
            }
            self.next();
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may unwrap")]
mod tests {
    use super::*;
    use cistern_api::yaml;

    #[test]
    fn the_place_is_found_in_every_style() {
        for (text, needle, want) in [
            ("a: x {{ y }}\n", "{{", (1, 6)),
            ("a: 'it''s {{ y }}'\n", "{{", (1, 11)),
            ("a: \"t\\tab\\u0041 {{ y }}\"\n", "{{", (1, 17)),
            ("a: |\n  one\n    two\n  three {{ y }}\n", "{{", (4, 9)),
            ("a: |-\n  one\n\n  three {{ y }}\n", "{{", (4, 9)),
            ("a: >\n  one\n  two {{ y }}\n  three\n", "{{", (3, 7)),
            ("a:\n- plain\n  folded {{ y }}\n", "{{", (3, 10)),
            ("a: \"two\n  lines {{ y }}\"\n", "{{", (2, 9)),
        ] {
            let documents = yaml::parse(text).unwrap();
            let pointer = if text.contains("- plain") { "/a/0" } else { "/a" };
            let value = documents[0].value().pointer(pointer).unwrap().as_str().unwrap();
            let start = documents[0].place(pointer).unwrap();
            let place = inside(text, start, value, value.find(needle).unwrap());
            assert_eq!((place.line, place.column), want, "{text:?} starts at {start}");
        }
    }
}
