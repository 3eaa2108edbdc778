//! Kubernetes-flavoured JSONPath: evaluation and printing. The syntax is read in `jsonpath_parse.rs`.
//!
//! This is the dialect of `kubectl -o jsonpath`, which differs from RFC 9535: text around `{…}` is kept,
//! a missing key is an error, several results are joined by spaces, objects print as JSON.

use std::ops::Range;
use std::sync::LazyLock;

use crate::call::Ref;
use crate::compare;
use crate::error::{Error, ErrorKind, Fail};
use crate::json::{self, NoJson};
use crate::jsonpath_parse::{self, Index, Node};
use crate::limits::{Budget, Limits};
use crate::printf;
use crate::types::{Kind, Type};
use crate::value::Value;

/// A parsed JSONPath template, such as `{.status.conditions[?(@.type=="Ready")].status}`.
#[derive(Debug)]
pub struct JsonPath {
    nodes: Vec<Node>,
}

/// A value on the way; `None` is no value at all, which `range` over nothing leaves.
type Found = Option<Value>;
type Results = Result<Vec<Found>, Fail>;

impl JsonPath {
    /// Reads a template.
    ///
    /// # Errors
    /// The text is not a JSONPath template.
    pub fn parse(text: &str) -> Result<JsonPath, Error> {
        match jsonpath_parse::parse(text) {
            Ok(nodes) => Ok(JsonPath { nodes }),
            Err(message) => Err(Error::new(ErrorKind::Parse, format!("parse jsonpath {text:?}: {message}"))),
        }
    }

    /// Evaluates the template and prints the results as kubectl does.
    ///
    /// # Errors
    /// A key that is not there, an index out of range, or a limit.
    pub fn render(&self, data: &Value, limits: &Limits) -> Result<Vec<u8>, Error> {
        let budget = Budget::new(limits.clone());
        let mut walk =
            Walk { nodes: &self.nodes, budget: &budget, begin: 0, inside: 0, end: 0, last_end: None };
        let rendered = walk.root(Some(data.clone()), 0, 0).and_then(|groups| {
            let mut out = Vec::new();
            for group in &groups {
                print(&mut out, group, &budget)?;
            }
            Ok(out)
        });
        rendered.map_err(|fail| {
            let kind = if matches!(fail, Fail::Limit(_)) { ErrorKind::Limit } else { ErrorKind::Exec };
            Error::new(kind, format!("evaluate jsonpath: {fail}"))
        })
    }

    /// Replaces every `{ $.path }` in a text by what the path leads to in `data`. A path that cannot be
    /// read is replaced by nothing.
    ///
    /// # Errors
    /// As [`JsonPath::render`]; or a value that is not UTF-8.
    pub fn substitute(text: &str, data: &Value, limits: &Limits) -> Result<String, Error> {
        let mut out = text.to_owned();
        for (begin, path) in placeholders(text) {
            let source = format!("{}}}", begin.as_str());
            let Ok(path) = path else {
                out = out.replace(&source, "");
                continue;
            };
            let value = path.render(data, limits)?;
            let value = String::from_utf8(value).map_err(|_| {
                Error::new(ErrorKind::Exec, format!("{source} leads to bytes that are not text"))
            })?;
            // A value may hold what is replaced next, any number of times.
            let grown = out.matches(&source).count().saturating_mul(value.len());
            if out.len().saturating_add(grown) > limits.output_bytes {
                let message = format!("the text is larger than {} bytes", limits.output_bytes);
                return Err(Error::new(ErrorKind::Limit, message));
            }
            out = out.replace(&source, &value);
        }
        Ok(out)
    }

    /// Where the paths stand that [`JsonPath::substitute`] would replace, in bytes with their braces, and why
    /// those that it would drop cannot be read.
    pub fn places(text: &str) -> Vec<(Range<usize>, Result<(), Error>)> {
        let closed = placeholders(text).filter(|(begin, _)| text[begin.end()..].starts_with('}'));
        closed.map(|(begin, path)| (begin.start()..begin.end() + 1, path.map(drop))).collect()
    }
}

/// The beginnings of `{ $.path }` in a text, up to the closing brace, and what each path is.
fn placeholders(text: &str) -> impl Iterator<Item = (regex::Match<'_>, Result<JsonPath, Error>)> {
    static PATH: LazyLock<regex::Regex> =
        LazyLock::new(|| regex::Regex::new(r"\{[\t\n\x0C\r ]*\$([^}]*)").expect("the pattern is valid"));
    PATH.captures_iter(text).map(|found| {
        let path = JsonPath::parse(&format!("{{{}}}", found[1].trim()));
        (found.get(0).expect("the whole is always there"), path)
    })
}

struct Walk<'a> {
    nodes: &'a [Node],
    budget: &'a Budget,
    /// `range` seen, its loop not yet begun.
    begin: usize,
    /// Loops that run.
    inside: usize,
    /// `end` seen, not yet acted upon.
    end: usize,
    last_end: Option<usize>,
}

/// Follows pointers; nil is reported apart from "no value".
fn indirect(found: &Found) -> (Value, bool) {
    let Some(value) = found else { return (Value::nil(), false) };
    let at = Ref { value: value.clone(), iface: true };
    let (at, is_nil) = at.indirect();
    (at.value, is_nil)
}

fn children(value: &Value) -> Vec<Found> {
    match value.kind() {
        Kind::Struct => value.field_values().iter().cloned().map(Some).collect(),
        Kind::Map => value.entries().into_iter().map(|(_, v)| Some(v)).collect(),
        Kind::Array | Kind::Slice | Kind::String => {
            (0..value.len().unwrap_or(0)).map(|i| value.item(i)).collect()
        }
        _ => Vec::new(),
    }
}

impl Walk<'_> {
    /// The top level from a node on: each text or action gives a group of results.
    fn root(&mut self, data: Found, from: usize, depth: usize) -> Result<Vec<Vec<Found>>, Fail> {
        self.budget.depth(depth)?;
        let nodes = self.nodes;
        let start = vec![data];
        let mut groups = Vec::new();
        let mut i = from;
        while let Some(node) = nodes.get(i) {
            let results = self.node(&start, node)?;
            if self.end > 0 && self.end <= self.inside {
                self.end -= 1;
                self.last_end = Some(i);
                break;
            }
            if self.begin == 0 {
                groups.push(results);
                i += 1;
                continue;
            }
            self.begin -= 1;
            self.inside += 1;
            if results.is_empty() {
                self.root(None, i + 1, depth + 1)?;
            }
            for value in results {
                groups.append(&mut self.root(value, i + 1, depth + 1)?);
            }
            self.inside -= 1;
            i = self.last_end.filter(|end| *end > i).unwrap_or(i) + 1;
        }
        Ok(groups)
    }

    fn list(&mut self, input: &[Found], nodes: &[Node]) -> Results {
        let mut at = input.to_vec();
        for node in nodes {
            at = self.node(&at, node)?;
        }
        Ok(at)
    }

    fn node(&mut self, input: &[Found], node: &Node) -> Results {
        self.budget.step(1 + input.len())?;
        let constant = |value: Value| Ok(vec![Some(value); input.len()]);
        match node {
            Node::List(nodes) => self.list(input, nodes),
            Node::Text(text) => Ok(vec![Some(Value::str(text))]),
            Node::Int(i) => constant(Value::int(*i)),
            Node::Float(f) => constant(Value::float64(*f)),
            Node::Bool(b) => constant(Value::bool(*b)),
            Node::Field(name) => field(input, name),
            Node::Array(index) => self.array(input, index),
            Node::Wildcard => Ok(input.iter().flat_map(|v| children(&indirect(v).0)).collect()),
            Node::Recursive => self.recursive(input, 0),
            Node::Union(lists) => {
                let mut all = Vec::new();
                for list in lists {
                    all.append(&mut self.list(input, list)?);
                }
                Ok(all)
            }
            Node::Filter { left, operator, right } => self.filter(input, left, operator, right),
            Node::Identifier(name) => match name.as_str() {
                "range" => {
                    self.begin += 1;
                    Ok(input.to_vec())
                }
                "end" if self.inside > 0 => {
                    self.end += 1;
                    Ok(Vec::new())
                }
                "end" => Err(Fail::text("not in range, nothing to end")),
                _ => Err(Fail::text(format!("unrecognized identifier {name}"))),
            },
        }
    }

    fn array(&mut self, input: &[Found], index: &Index) -> Results {
        let mut all = Vec::new();
        for found in input {
            let (value, is_nil) = indirect(found);
            if is_nil {
                continue;
            }
            if !value.kind().is_list() {
                return Err(Fail::text(format!("{} is not array or slice", value.ty())));
            }
            let len = value.len().unwrap_or(0) as i64;
            let from = match index.from.unwrap_or(0) {
                n if n < 0 => n + len,
                n => n,
            };
            let to = match index.to {
                None => len,
                Some(n) if n < 0 || n == 0 && index.to_derived => n + len,
                Some(n) => n,
            };
            if from == to {
                return Ok(all);
            }
            let out_of_bounds =
                |i: i64| Fail::text(format!("array index out of bounds: index {i}, length {len}"));
            if !(0..len).contains(&from) {
                return Err(out_of_bounds(from));
            }
            if !(0..=len).contains(&to) {
                return Err(out_of_bounds(to - 1));
            }
            if from > to {
                return Err(Fail::text(format!("starting index {from} is greater than ending index {to}")));
            }
            let step = index.step.unwrap_or(1);
            if step <= 0 {
                return Err(Fail::text("step must be > 0"));
            }
            self.budget.step((to - from) as usize)?;
            let step = usize::try_from(step).unwrap_or(usize::MAX);
            all.extend((from as usize..to as usize).step_by(step).map(|i| value.item(i)));
        }
        Ok(all)
    }

    fn recursive(&mut self, input: &[Found], depth: usize) -> Results {
        self.budget.depth(depth)?;
        let mut all = Vec::new();
        for found in input {
            self.budget.step(1)?;
            let (value, _) = indirect(found);
            let inner = children(&value);
            if !inner.is_empty() {
                all.push(Some(value));
                all.append(&mut self.recursive(&inner, depth + 1)?);
            }
        }
        Ok(all)
    }

    fn filter(&mut self, input: &[Found], left: &[Node], operator: &str, right: &[Node]) -> Results {
        let mut kept = Vec::new();
        for found in input {
            let (list, _) = indirect(found);
            if !list.kind().is_list() {
                let shown = printf::with_verb(&list, 'v', self.budget)?;
                let shown = String::from_utf8_lossy(&shown).into_owned();
                return Err(Fail::text(format!("{shown} is not array or slice and cannot be filtered")));
            }
            for i in 0..list.len().unwrap_or(0) {
                let item = list.item(i);
                let here = [item.clone()];
                if operator == "exists" {
                    if self.exists(&here, left)? {
                        kept.push(item);
                    }
                    continue;
                }
                let Some(a) = single(self.list(&here, left)?)? else { continue };
                let Some(b) = single(self.list(&here, right)?)? else { continue };
                if self.compare(operator, &a, &b)? {
                    kept.push(item);
                }
            }
        }
        Ok(kept)
    }

    /// Whether a path leads anywhere. As in kubectl, an index out of range does "exist", because what
    /// was indexed does; only a missing key does not.
    fn exists(&mut self, input: &[Found], path: &[Node]) -> Result<bool, Fail> {
        let mut at = input.to_vec();
        for node in path {
            match self.node(&at, node) {
                Ok(next) => at = next,
                Err(Fail::Limit(text)) => return Err(Fail::Limit(text)),
                Err(Fail::Text(_)) => return Ok(!at.is_empty() && !matches!(node, Node::Field(_))),
            }
        }
        Ok(!at.is_empty())
    }

    fn compare(&self, operator: &str, a: &Value, b: &Value) -> Result<bool, Fail> {
        let pair = [Ref::plain(a.clone()), Ref::plain(b.clone())];
        let less = || compare::lt(&pair);
        let equal = || compare::basic_eq(a, b);
        match operator {
            "==" => equal(),
            "!=" => equal().map(|e| !e),
            "<" => less(),
            ">=" => less().map(|l| !l),
            "<=" => Ok(less()? || equal()?),
            ">" => Ok(!(less()? || equal()?)),
            _ => Err(Fail::text(format!("unrecognized filter operator {operator}"))),
        }
    }
}

/// The one result of one side of a comparison.
fn single(mut results: Vec<Found>) -> Result<Option<Value>, Fail> {
    if results.len() > 1 {
        return Err(Fail::text("can only compare one element at a time"));
    }
    Ok(results.pop().map(|found| found.unwrap_or_else(Value::nil)))
}

fn field(input: &[Found], name: &str) -> Results {
    let mut results = Vec::new();
    for found in input {
        let (value, is_nil) = indirect(found);
        if is_nil {
            continue;
        }
        let inner = match value.kind() {
            Kind::Struct => struct_field(&value, name),
            Kind::Map => {
                let key_type = value.ty().key().cloned().unwrap_or_else(Type::string);
                if key_type.kind() != Kind::String && !key_type.is_any() {
                    return Err(Fail::text(format!("{name} is not convertible to {key_type}")));
                }
                let key = Value::str(name);
                value.entry(&if key_type.is_any() { key } else { key.retyped(&key_type) })
            }
            _ => None,
        };
        results.extend(inner.map(Some));
    }
    if results.is_empty() && !input.is_empty() {
        return Err(Fail::text(format!("{name} is not found")));
    }
    Ok(results)
}

/// A struct's field by its JSON name, in inlined structs too; failing that, by its Go name.
fn struct_field(value: &Value, name: &str) -> Option<Value> {
    let fields = || value.ty().fields().iter().zip(value.field_values());
    let direct = fields().find(|(decl, _)| !decl.inline && decl.json.as_deref() == Some(name));
    let inlined =
        || fields().filter(|(decl, _)| decl.inline).find_map(|(_, inner)| struct_field(inner, name));
    let by_go_name = || fields().find(|(decl, _)| decl.name == name).map(|(_, inner)| inner.clone());
    direct.map(|(_, inner)| inner.clone()).or_else(inlined).or_else(by_go_name)
}

fn print(out: &mut Vec<u8>, results: &[Found], budget: &Budget) -> Result<(), Fail> {
    for (i, found) in results.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        let Some(value) = found else {
            out.extend_from_slice(b"<no value>");
            continue;
        };
        let text = match value.kind() {
            Kind::Invalid => b"null".to_vec(),
            Kind::Map | Kind::Array | Kind::Slice | Kind::Struct => {
                match json::encode(value, false, budget) {
                    Ok(text) => text,
                    Err(NoJson::Limit(fail)) => return Err(fail),
                    Err(NoJson::Unsupported) => {
                        return Err(Fail::text(format!("a value of type {} has no JSON", value.ty())));
                    }
                }
            }
            _ => printf::with_verb(&indirect(found).0, 'v', budget)?,
        };
        budget.room_for(out.len() + text.len())?;
        out.extend(text);
    }
    Ok(())
}
