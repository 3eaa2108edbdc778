//! Template text into tokens, with Go's rules for delimiters, trimming, numbers and line counting.

use crate::quote::quote;
use crate::text;

const LEFT: &str = "{{";
const RIGHT: &str = "}}";
const LEFT_COMMENT: &str = "/*";
const RIGHT_COMMENT: &str = "*/";
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// `- ` after the left, ` -` before the right delimiter.
const TRIM_MARKER_BYTES: usize = 2;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Error,
    Bool,
    Char,
    CharConstant,
    Comment,
    Complex,
    Assign,
    Declare,
    Eof,
    Field,
    Identifier,
    LeftDelim,
    LeftParen,
    Number,
    Pipe,
    RawString,
    RightDelim,
    RightParen,
    Space,
    String,
    Text,
    Variable,
    Dot,
    Nil,
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Range,
    Template,
    With,
}

/// A token with its place in the text.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    /// Byte offset.
    pub(crate) pos: usize,
    /// The text itself, or the message of an error.
    pub(crate) val: String,
    /// From 1.
    pub(crate) line: usize,
}

impl Token {
    pub(crate) fn none() -> Token {
        Token { kind: TokenKind::Eof, pos: 0, val: String::new(), line: 0 }
    }

    /// How Go names the token in a message.
    pub(crate) fn show(&self) -> std::string::String {
        use TokenKind::*;
        match self.kind {
            Eof => "EOF".to_owned(),
            Error => self.val.clone(),
            Dot | Nil | Block | Break | Continue | Define | Else | End | If | Range | Template | With => {
                format!("<{}>", self.val)
            }
            _ if self.val.len() > 10 => {
                let head: std::string::String = self.val.chars().take(10).collect();
                format!("{}...", quote(head))
            }
            _ => quote(&self.val),
        }
    }
}

/// Reads tokens one after the other.
pub(crate) struct Lexer<'t> {
    input: &'t str,
    pos: usize,
    start: usize,
    line: usize,
    start_line: usize,
    parens: usize,
    inside: bool,
}

/// What a step of the lexer comes to.
enum Step {
    Token(Token),
    /// Nothing to hand out yet: look at the text again.
    Text,
}

impl<'t> Lexer<'t> {
    pub(crate) fn new(input: &'t str) -> Lexer<'t> {
        Lexer { input, pos: 0, start: 0, line: 1, start_line: 1, parens: 0, inside: false }
    }

    /// The next token; after the end, [`TokenKind::Eof`] for ever.
    pub(crate) fn next_token(&mut self) -> Token {
        if self.inside {
            return self.inside_action();
        }
        loop {
            if let Step::Token(token) = self.text() {
                return token;
            }
        }
    }

    fn rest(&self) -> &'t str {
        &self.input[self.pos..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn accept(&mut self, valid: &str) -> bool {
        let ok = self.peek().is_some_and(|c| valid.contains(c));
        if ok {
            self.next();
        }
        ok
    }

    fn accept_run(&mut self, valid: &str) {
        while self.accept(valid) {}
    }

    fn token(&mut self, kind: TokenKind) -> Token {
        let val = self.input[self.start..self.pos].to_owned();
        let token = Token { kind, pos: self.start, val, line: self.start_line };
        self.start = self.pos;
        self.start_line = self.line;
        token
    }

    /// Drops what was read, counting its lines if they were not counted on the way.
    fn ignore(&mut self) {
        self.line += self.input[self.start..self.pos].matches('\n').count();
        self.start = self.pos;
        self.start_line = self.line;
    }

    /// An error token; nothing follows it.
    fn error(&mut self, message: String) -> Token {
        let token = Token { kind: TokenKind::Error, pos: self.start, val: message, line: self.start_line };
        self.input = "";
        self.start = 0;
        self.pos = 0;
        token
    }

    fn text(&mut self) -> Step {
        let Some(x) = self.rest().find(LEFT) else {
            self.pos = self.input.len();
            if self.pos > self.start {
                self.line += self.input[self.start..self.pos].matches('\n').count();
                return Step::Token(self.token(TokenKind::Text));
            }
            return Step::Token(self.token(TokenKind::Eof));
        };
        if x > 0 {
            self.pos += x;
            let before = &self.input[self.start..self.pos];
            let trimmed = if left_marker(&self.input[self.pos + LEFT.len()..]) {
                before.len() - before.trim_end_matches(SPACES).len()
            } else {
                0
            };
            self.pos -= trimmed;
            self.line += self.input[self.start..self.pos].matches('\n').count();
            let token = self.token(TokenKind::Text);
            self.pos += trimmed;
            self.ignore();
            if !token.val.is_empty() {
                return Step::Token(token);
            }
        }
        self.left_delim()
    }

    fn left_delim(&mut self) -> Step {
        self.pos += LEFT.len();
        let marker = if left_marker(self.rest()) { TRIM_MARKER_BYTES } else { 0 };
        if self.rest()[marker..].starts_with(LEFT_COMMENT) {
            self.pos += marker;
            self.ignore();
            return self.comment();
        }
        let token = self.token(TokenKind::LeftDelim);
        self.inside = true;
        self.pos += marker;
        self.ignore();
        self.parens = 0;
        Step::Token(token)
    }

    fn comment(&mut self) -> Step {
        self.pos += LEFT_COMMENT.len();
        let Some(x) = self.rest().find(RIGHT_COMMENT) else {
            return Step::Token(self.error("unclosed comment".to_owned()));
        };
        self.pos += x + RIGHT_COMMENT.len();
        let Some(trim) = self.right_delim_here() else {
            return Step::Token(self.error("comment ends before closing delimiter".to_owned()));
        };
        // Lines of the comment count once here, those trimmed after it once in `ignore`.
        self.line += self.input[self.start..self.pos].matches('\n').count();
        self.token(TokenKind::Comment);
        self.skip_right_delim(trim);
        self.ignore();
        Step::Text
    }

    /// Whether the right delimiter is here, and if so whether it trims.
    fn right_delim_here(&self) -> Option<bool> {
        let rest = self.rest();
        if right_marker(rest) && rest[TRIM_MARKER_BYTES..].starts_with(RIGHT) {
            return Some(true);
        }
        rest.starts_with(RIGHT).then_some(false)
    }

    fn skip_right_delim(&mut self, trim: bool) {
        self.pos += if trim { TRIM_MARKER_BYTES } else { 0 } + RIGHT.len();
        if trim {
            self.pos = self.input.len() - self.rest().trim_start_matches(SPACES).len();
        }
    }

    fn right_delim(&mut self, trim: bool) -> Token {
        if trim {
            self.pos += TRIM_MARKER_BYTES;
            self.ignore();
        }
        self.pos += RIGHT.len();
        let token = self.token(TokenKind::RightDelim);
        if trim {
            self.pos = self.input.len() - self.rest().trim_start_matches(SPACES).len();
            self.ignore();
        }
        self.inside = false;
        token
    }

    fn inside_action(&mut self) -> Token {
        if let Some(trim) = self.right_delim_here() {
            if self.parens == 0 {
                return self.right_delim(trim);
            }
            return self.error("unclosed left paren".to_owned());
        }
        let Some(c) = self.peek() else { return self.error("unclosed action".to_owned()) };
        if SPACES.contains(&c) {
            return self.space();
        }
        match c {
            '+' | '-' | '0'..='9' => return self.number(),
            '.' if self.rest()[1..].starts_with(|d: char| d.is_ascii_digit()) => return self.number(),
            c if is_alphanumeric(c) => return self.identifier(),
            _ => {}
        }
        self.next();
        self.punctuation(c)
    }

    /// Everything that one character announces.
    fn punctuation(&mut self, c: char) -> Token {
        match c {
            '=' => self.token(TokenKind::Assign),
            ':' if self.next() == Some('=') => self.token(TokenKind::Declare),
            ':' => self.error("expected :=".to_owned()),
            '|' => self.token(TokenKind::Pipe),
            '"' => self.quoted('"', TokenKind::String, "unterminated quoted string"),
            '\'' => self.quoted('\'', TokenKind::CharConstant, "unterminated character constant"),
            '`' => self.raw_string(),
            '$' => self.field_or_variable(TokenKind::Variable),
            // A dot at the very end of the text starts a number, as far as Go is concerned.
            '.' if self.peek().is_none() => {
                self.pos -= 1;
                self.number()
            }
            '.' => self.field_or_variable(TokenKind::Field),
            '(' => {
                self.parens += 1;
                self.token(TokenKind::LeftParen)
            }
            ')' if self.parens == 0 => self.error("unexpected right paren".to_owned()),
            ')' => {
                self.parens -= 1;
                self.token(TokenKind::RightParen)
            }
            ' '..='~' => self.token(TokenKind::Char),
            c => self.error(format!("unrecognized character in action: {}", unicode(c))),
        }
    }

    fn space(&mut self) -> Token {
        let mut spaces = 0;
        while self.peek().is_some_and(|c| SPACES.contains(&c)) {
            self.next();
            spaces += 1;
        }
        // The last space may belong to " -}}".
        let last = &self.input[self.pos - 1..];
        if right_marker(last) && last[TRIM_MARKER_BYTES..].starts_with(RIGHT) {
            self.pos -= 1;
            self.line -= usize::from(last.starts_with('\n'));
            if spaces == 1 {
                return self.right_delim(true);
            }
        }
        self.token(TokenKind::Space)
    }

    fn identifier(&mut self) -> Token {
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
        if !self.at_terminator() {
            return self.bad_character();
        }
        let kind = match &self.input[self.start..self.pos] {
            "block" => TokenKind::Block,
            "break" => TokenKind::Break,
            "continue" => TokenKind::Continue,
            "define" => TokenKind::Define,
            "else" => TokenKind::Else,
            "end" => TokenKind::End,
            "if" => TokenKind::If,
            "range" => TokenKind::Range,
            "nil" => TokenKind::Nil,
            "template" => TokenKind::Template,
            "with" => TokenKind::With,
            "true" | "false" => TokenKind::Bool,
            _ => TokenKind::Identifier,
        };
        self.token(kind)
    }

    fn field_or_variable(&mut self, kind: TokenKind) -> Token {
        if self.at_terminator() {
            return self.token(if kind == TokenKind::Variable { kind } else { TokenKind::Dot });
        }
        while self.peek().is_some_and(is_alphanumeric) {
            self.next();
        }
        if !self.at_terminator() {
            return self.bad_character();
        }
        self.token(kind)
    }

    fn bad_character(&mut self) -> Token {
        let shown = self.peek().map_or_else(|| "U+FFFFFFFFFFFFFFFF".to_owned(), unicode);
        self.error(format!("bad character {shown}"))
    }

    fn at_terminator(&self) -> bool {
        match self.peek() {
            None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | ')' | '(') => true,
            _ => self.rest().starts_with(RIGHT),
        }
    }

    fn quoted(&mut self, mark: char, kind: TokenKind, unterminated: &str) -> Token {
        loop {
            match self.next() {
                Some('\\') => {
                    if matches!(self.next(), None | Some('\n')) {
                        return self.error(unterminated.to_owned());
                    }
                }
                None | Some('\n') => return self.error(unterminated.to_owned()),
                Some(c) if c == mark => return self.token(kind),
                Some(_) => {}
            }
        }
    }

    fn raw_string(&mut self) -> Token {
        loop {
            match self.next() {
                None => return self.error("unterminated raw quoted string".to_owned()),
                Some('`') => return self.token(TokenKind::RawString),
                Some(_) => {}
            }
        }
    }

    fn number(&mut self) -> Token {
        let bad = |l: &mut Self| {
            let text = quote(&l.input[l.start..l.pos]);
            l.error(format!("bad number syntax: {text}"))
        };
        if !self.scan_number() {
            return bad(self);
        }
        if !matches!(self.peek(), Some('+' | '-')) {
            return self.token(TokenKind::Number);
        }
        if !self.scan_number() || !self.input[..self.pos].ends_with('i') {
            return bad(self);
        }
        self.token(TokenKind::Complex)
    }

    fn scan_number(&mut self) -> bool {
        self.accept("+-");
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        let exponent = match digits.len() {
            11 => "eE",
            23 => "pP",
            _ => "",
        };
        if self.accept(exponent) {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        self.accept("i");
        if self.peek().is_some_and(is_alphanumeric) {
            self.next();
            return false;
        }
        true
    }
}

/// `%#U`
fn unicode(c: char) -> String {
    let code = format!("U+{:04X}", u32::from(c));
    if text::is_print(c) { format!("{code} '{c}'") } else { code }
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_ascii_alphanumeric() || !c.is_ascii() && (text::is_letter(c) || text::is_digit(c))
}

fn left_marker(s: &str) -> bool {
    s.strip_prefix('-').is_some_and(|r| r.starts_with(SPACES))
}

fn right_marker(s: &str) -> bool {
    s.strip_prefix(SPACES).is_some_and(|r| r.starts_with('-'))
}
