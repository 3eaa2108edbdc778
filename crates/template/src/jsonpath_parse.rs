//! The syntax of Kubernetes-flavoured JSONPath.

use std::sync::LazyLock;

use regex::Regex;

use crate::number::parse_float;
use crate::quote::{Unit, unquote_char};
use crate::text;

/// Filters and unions may be nested this deep; reading them is recursive.
const NESTING_MAX: usize = 32;

/// `[from:to:step]`
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    pub(crate) from: Option<i64>,
    pub(crate) to: Option<i64>,
    /// `to` was not written: the index names one element.
    pub(crate) to_derived: bool,
    pub(crate) step: Option<i64>,
}

#[derive(Debug)]
pub(crate) enum Node {
    List(Vec<Node>),
    Text(Vec<u8>),
    Int(i64),
    Float(f64),
    Bool(bool),
    Field(String),
    Array(Index),
    Wildcard,
    Recursive,
    Union(Vec<Vec<Node>>),
    /// The operator `exists` has no right side.
    Filter {
        left: Vec<Node>,
        operator: String,
        right: Vec<Node>,
    },
    Identifier(String),
}

type Parsed<T> = Result<T, String>;

static DICT_KEY: LazyLock<Regex> = LazyLock::new(|| regex(r"^'([^']*)'$"));
static SLICE: LazyLock<Regex> = LazyLock::new(|| regex(r"^(-?[0-9]*)(:-?[0-9]*)?(:-?[0-9]*)?$"));
static COMPARISON: LazyLock<Regex> = LazyLock::new(|| regex(r"^([^!<>=]+)([!<>=]+)(.+?)$"));

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the patterns above are valid")
}

/// Reads a template: text and `{…}`.
pub(crate) fn parse(input: &str) -> Parsed<Vec<Node>> {
    parse_nested(input, 0)
}

fn parse_nested(input: &str, nesting: usize) -> Parsed<Vec<Node>> {
    if nesting > NESTING_MAX {
        return Err(format!("nested deeper than {NESTING_MAX} levels"));
    }
    let mut parser = Parser { rest: input, nesting };
    let mut nodes = Vec::new();
    while !parser.rest.is_empty() {
        let (before, after) = match parser.rest.find('{') {
            Some(open) => (&parser.rest[..open], Some(&parser.rest[open + 1..])),
            None => (parser.rest, None),
        };
        if !before.is_empty() {
            nodes.push(Node::Text(before.as_bytes().to_vec()));
        }
        let Some(after) = after else { break };
        parser.rest = after;
        nodes.push(Node::List(parser.action()?));
    }
    Ok(nodes)
}

/// The nodes of one action, given without its braces.
fn parse_action(inner: &str, nesting: usize) -> Parsed<Vec<Node>> {
    match parse_nested(&format!("{{{inner}}}"), nesting + 1)?.into_iter().next() {
        Some(Node::List(nodes)) => Ok(nodes),
        _ => Err(format!("not an action: {inner}")),
    }
}

struct Parser<'p> {
    rest: &'p str,
    nesting: usize,
}

fn ends_name(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}')
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || text::is_letter(c) || text::is_digit(c)
}

impl<'p> Parser<'p> {
    fn eat(&mut self, prefix: &str) -> bool {
        let found = self.rest.strip_prefix(prefix);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn take(&mut self, bytes: usize) -> &'p str {
        let (head, tail) = self.rest.split_at(bytes);
        self.rest = tail;
        head
    }

    /// Everything up to the closing brace.
    fn action(&mut self) -> Parsed<Vec<Node>> {
        let mut nodes = Vec::new();
        loop {
            if self.eat("}") {
                return Ok(nodes);
            }
            if self.eat("[?(") {
                nodes.push(self.filter()?);
                continue;
            }
            if self.eat("..") {
                if matches!(nodes.last(), Some(Node::Recursive)) {
                    return Err("invalid multiple recursive descent".to_owned());
                }
                nodes.push(Node::Recursive);
                if self.rest.starts_with(is_alphanumeric) {
                    nodes.push(self.field());
                }
                continue;
            }
            let Some(c) = self.rest.chars().next() else { return Err("unclosed action".to_owned()) };
            match c {
                '\r' | '\n' => return Err("unclosed action".to_owned()),
                ' ' | '@' | '$' => {
                    self.take(1);
                }
                '[' => self.array(&mut nodes)?,
                '"' | '\'' => nodes.push(self.quoted(c)?),
                '.' => {
                    self.take(1);
                    nodes.push(self.field());
                }
                '+' | '-' => nodes.push(self.number()?),
                c if text::is_digit(c) => nodes.push(self.number()?),
                c if is_alphanumeric(c) => nodes.push(self.identifier()),
                c => return Err(format!("unrecognized character in action: U+{:04X} '{c}'", u32::from(c))),
            }
        }
    }

    fn identifier(&mut self) -> Node {
        let end = self.rest.find(ends_name).unwrap_or(self.rest.len());
        match self.take(end) {
            "true" => Node::Bool(true),
            "false" => Node::Bool(false),
            name => Node::Identifier(name.to_owned()),
        }
    }

    fn field(&mut self) -> Node {
        let mut escaped = false;
        let end = self
            .rest
            .find(|c: char| {
                let ends = !escaped && ends_name(c);
                escaped = !escaped && c == '\\';
                ends
            })
            .unwrap_or(self.rest.len());
        match self.take(end) {
            "*" => Node::Wildcard,
            name => Node::Field(name.replace('\\', "")),
        }
    }

    fn number(&mut self) -> Parsed<Node> {
        let sign = usize::from(self.rest.starts_with(['+', '-']));
        let digits = self.rest[sign..].find(|c: char| c != '.' && !text::is_digit(c));
        let value = self.take(digits.map_or(self.rest.len(), |d| d + sign));
        if let Ok(i) = value.parse() {
            return Ok(Node::Int(i));
        }
        parse_float(value).map(Node::Float).map_err(|_| format!("cannot parse number {value}"))
    }

    fn quoted(&mut self, mark: char) -> Parsed<Node> {
        let body = &self.rest[1..];
        let end = body
            .char_indices()
            .take_while(|(_, c)| *c != '\n')
            .find(|(i, c)| *c == mark && !body[..*i].ends_with('\\'))
            .map(|(i, _)| i)
            .ok_or("unterminated quoted string")?;
        self.take(end + 2);
        let mut out = Vec::new();
        let mut rest = &body[..end];
        while !rest.is_empty() {
            let bad = || format!("unquote string {} error invalid syntax", &body[..end]);
            let (unit, tail) = unquote_char(rest, mark).ok_or_else(bad)?;
            match unit {
                Unit::Byte(b) => out.push(b),
                Unit::Rune(c) => text::push(&mut out, c),
            }
            rest = tail;
        }
        Ok(Node::Text(out))
    }

    fn array(&mut self, nodes: &mut Vec<Node>) -> Parsed<()> {
        let end = self.rest.find([']', '\n']).filter(|i| self.rest[*i..].starts_with(']'));
        let inner = self.take(end.ok_or("unterminated array")? + 1);
        let inner = &inner[1..inner.len() - 1];
        let inner = if inner == "*" { ":" } else { inner };
        if inner.contains(',') {
            let part = |part: &str| parse_action(&format!("[{}]", part.trim_matches(' ')), self.nesting);
            let lists = inner.split(',').map(part).collect::<Parsed<Vec<_>>>()?;
            nodes.push(Node::Union(lists));
            return Ok(());
        }
        if let Some(key) = DICT_KEY.captures(inner) {
            nodes.append(&mut parse_action(&format!(".{}", &key[1]), self.nesting)?);
            return Ok(());
        }
        let slice = SLICE.captures(inner).ok_or_else(|| format!("invalid array index {inner}"))?;
        let part = |i: usize| slice.get(i).map_or("", |m| m.as_str());
        let number = |s: &str| match s.trim_start_matches(':') {
            "" => Ok(None),
            digits => digits.parse().map(Some).map_err(|_| format!("array index {digits} is not a number")),
        };
        let mut index =
            Index { from: number(part(1))?, to: number(part(2))?, to_derived: false, step: number(part(3))? };
        if part(2).is_empty() {
            index.to = Some(index.from.unwrap_or(0).saturating_add(1));
            index.to_derived = true;
        }
        nodes.push(Node::Array(index));
        Ok(())
    }

    /// After `[?(`: up to the parenthesis that no quotation hides.
    fn filter(&mut self) -> Parsed<Node> {
        let (mut begun, mut ended) = (false, false);
        let mut mark = ' ';
        let mut close = None;
        for (i, c) in self.rest.char_indices() {
            match c {
                '\n' => break,
                '"' | '\'' if !begun => {
                    begun = true;
                    mark = c;
                }
                '"' | '\'' if c == mark && !self.rest[..i].ends_with('\\') => ended = true,
                ')' if begun == ended => {
                    close = Some(i);
                    break;
                }
                _ => {}
            }
        }
        let inner = self.take(close.ok_or("unterminated filter")?);
        self.take(1);
        if !self.eat("]") {
            return Err("unclosed array expect ]".to_owned());
        }
        let Some(sides) = COMPARISON.captures(inner) else {
            let left = parse_action(inner, self.nesting)?;
            return Ok(Node::Filter { left, operator: "exists".to_owned(), right: Vec::new() });
        };
        Ok(Node::Filter {
            left: parse_action(&sides[1], self.nesting)?,
            operator: sides[2].to_owned(),
            right: parse_action(&sides[3], self.nesting)?,
        })
    }
}
