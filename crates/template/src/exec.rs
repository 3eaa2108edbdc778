//! Walks the tree and writes the output; expressions are evaluated in `eval.rs`.

use crate::builtin::truth;
use crate::call::{Context, Ref};
use crate::error::{Error, ErrorKind, Fail};
use crate::methods;
use crate::node::{Branch, BranchKind, Command, Expr, Node, Pipe};
use crate::printf;
use crate::quote::quote;
use crate::template::{MissingKey, Template};
use crate::types::{Kind, Type};
use crate::value::Value;

/// The node that a message points at.
#[derive(Clone, Copy)]
pub(crate) enum At<'t> {
    Nowhere,
    Node(&'t Node, usize),
    Branch(&'t Branch),
    Pipe(&'t Pipe),
    Command(&'t Command),
    Expr(&'t Expr),
}

/// Why execution leaves a list of nodes early.
pub(crate) enum Stop {
    Break,
    Continue,
    Fail(Box<Error>),
}

pub(crate) type Run<T> = Result<T, Stop>;

/// One execution of a template.
pub(crate) struct Exec<'t, 'c> {
    pub(crate) template: &'t Template,
    pub(crate) missing_key: MissingKey,
    pub(crate) context: &'c Context<'c>,
    pub(crate) at: At<'t>,
    pub(crate) vars: Vec<(&'t str, Ref)>,
    /// The named template that runs.
    current: &'t [u8],
    out: Vec<u8>,
    depth: usize,
}

/// Renders the template that carries the text's own name.
pub(crate) fn run(
    template: &Template,
    data: &Value,
    missing_key: MissingKey,
    context: &Context<'_>,
) -> Result<Vec<u8>, Error> {
    let dot = Ref::plain(data.clone());
    let name = template.name.as_bytes();
    let mut exec = Exec {
        template,
        missing_key,
        context,
        at: At::Nowhere,
        vars: vec![("$", dot.clone())],
        current: name,
        out: Vec::new(),
        depth: 0,
    };
    let nodes = template.trees.get(name).map_or([].as_slice(), Vec::as_slice);
    match exec.list(&dot, nodes) {
        Ok(()) => Ok(exec.out),
        Err(Stop::Fail(error)) => Err(*error),
        Err(Stop::Break | Stop::Continue) => unreachable!("the parser allows them inside range only"),
    }
}

impl<'t> Exec<'t, '_> {
    /// An error at the current node, in Go's words.
    pub(crate) fn fail<T>(&self, message: impl AsRef<str>) -> Run<T> {
        self.fail_as(ErrorKind::Exec, message.as_ref())
    }

    pub(crate) fn fail_as<T>(&self, kind: ErrorKind, message: &str) -> Run<T> {
        let (pos, context) = match self.at {
            At::Nowhere => (0, String::new()),
            At::Node(node, pos) => (pos, node.to_string()),
            At::Branch(branch) => (branch.pos, branch.to_string()),
            At::Pipe(pipe) => (pipe.pos, pipe.to_string()),
            At::Command(command) => (command.pos, command.to_string()),
            At::Expr(expr) => (expr.pos, expr.to_string()),
        };
        let before = &self.template.text.as_bytes()[..pos];
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        let column = pos - memchr::memrchr(b'\n', before).map_or(0, |i| i + 1);
        let name = &self.template.name;
        let text = format!(
            "template: {name}:{line}:{column}: executing {} at <{context}>: {message}",
            quote(self.current)
        );
        Err(Stop::Fail(Box::new(Error::new(kind, text))))
    }

    /// A failure of something that knows no positions.
    pub(crate) fn lift<T>(&self, result: Result<T, Fail>) -> Run<T> {
        match result {
            Ok(value) => Ok(value),
            Err(Fail::Text(text)) => self.fail(text),
            Err(Fail::Limit(text)) => self.fail_as(ErrorKind::Limit, &text),
        }
    }

    /// Runs one level deeper; everything recursive passes here.
    pub(crate) fn deeper<T>(&mut self, run: impl FnOnce(&mut Self) -> Run<T>) -> Run<T> {
        self.lift(self.context.budget.depth(self.depth + 1))?;
        self.depth += 1;
        let result = run(self);
        self.depth -= 1;
        result
    }

    fn write(&mut self, bytes: &[u8]) -> Run<()> {
        let limit = self.context.budget.limits.output_bytes;
        if self.out.len() + bytes.len() > limit {
            return self.fail_as(ErrorKind::Limit, &format!("the output is larger than {limit} bytes"));
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn list(&mut self, dot: &Ref, nodes: &'t [Node]) -> Run<()> {
        nodes.iter().try_for_each(|node| self.node(dot, node))
    }

    fn node(&mut self, dot: &Ref, node: &'t Node) -> Run<()> {
        self.lift(self.context.budget.step(1))?;
        match node {
            Node::Text(text) => self.write(text.as_bytes()),
            Node::Action { pos, pipe } => {
                self.at = At::Node(node, *pos);
                let value = self.pipeline(dot, pipe)?;
                if pipe.decl.is_empty() {
                    self.at = At::Node(node, *pos);
                    self.print(&value, node)?;
                }
                Ok(())
            }
            Node::Branch(branch) => {
                self.at = At::Branch(branch);
                let mark = self.vars.len();
                let result = self.deeper(|e| match branch.kind {
                    BranchKind::Range => e.range(dot, branch),
                    _ => e.choose(dot, branch),
                });
                self.vars.truncate(mark);
                result
            }
            Node::Template { pos, name, pipe } => {
                self.at = At::Node(node, *pos);
                self.invoke(dot, name, pipe.as_ref())
            }
            Node::Break => Err(Stop::Break),
            Node::Continue => Err(Stop::Continue),
        }
    }

    fn print(&mut self, value: &Ref, node: &Node) -> Run<()> {
        let mut shown = value.value.clone();
        if shown.kind() == Kind::Pointer && methods::string_of(&shown).is_none() {
            shown = value.indirect().0.value;
        }
        if !shown.is_valid() {
            return self.write(b"<no value>");
        }
        if shown.kind() == Kind::Func {
            return self.fail(format!("can't print {node} of type {}", shown.ty()));
        }
        if let Some(text) = shown.as_str().filter(|_| *shown.ty() == Type::string()) {
            return self.write(text);
        }
        let text = self.lift(printf::with_verb(&shown, 'v', self.context.budget))?;
        self.write(&text)
    }

    fn choose(&mut self, dot: &Ref, branch: &'t Branch) -> Run<()> {
        let value = self.pipeline(dot, &branch.pipe)?;
        if truth(&value) {
            let dot = if branch.kind == BranchKind::With { &value } else { dot };
            return self.list(dot, &branch.list);
        }
        match &branch.otherwise {
            Some(list) => self.list(dot, list),
            None => Ok(()),
        }
    }

    fn range(&mut self, dot: &Ref, branch: &'t Branch) -> Run<()> {
        let value = self.pipeline(dot, &branch.pipe)?.indirect().0.value;
        let ran = match value.kind() {
            kind if kind.is_int() || kind.is_uint() => self.range_number(&value, branch)?,
            Kind::Slice | Kind::Array => {
                let elem = value.ty().elem().cloned().unwrap_or_else(Type::any);
                let len = value.len().unwrap_or(0);
                let pair = |i| {
                    (
                        Ref::plain(Value::int(i as i64)),
                        Ref::of(value.item(i).unwrap_or_else(Value::nil), &elem),
                    )
                };
                self.iterate(branch, (0..len).map(pair))?
            }
            Kind::Map => {
                let key = value.ty().key().cloned().unwrap_or_else(Type::any);
                let elem = value.ty().elem().cloned().unwrap_or_else(Type::any);
                let pair = |(k, v)| (Ref::of(k, &key), Ref::of(v, &elem));
                self.iterate(branch, value.entries().into_iter().map(pair))?
            }
            Kind::Invalid => false,
            _ => {
                let shown = self.lift(printf::with_verb(&value, 'v', self.context.budget))?;
                return self.fail(format!("range can't iterate over {}", String::from_utf8_lossy(&shown)));
            }
        };
        match &branch.otherwise {
            Some(list) if !ran => self.list(dot, list),
            _ => Ok(()),
        }
    }

    fn range_number(&mut self, value: &Value, branch: &'t Branch) -> Run<bool> {
        if branch.pipe.decl.len() > 1 {
            let shown = self.lift(printf::with_verb(value, 'v', self.context.budget))?;
            let shown = String::from_utf8_lossy(&shown);
            return self.fail(format!("can't use {shown} to iterate over more than one variable"));
        }
        let ty = value.ty().clone();
        if let Some(n) = value.as_int() {
            let item = |i| (Ref::invalid(), Ref::plain(Value::int_of(ty.clone(), i)));
            return self.iterate(branch, (0..n).map(item));
        }
        let item = |i| (Ref::invalid(), Ref::plain(Value::uint_of(ty.clone(), i)));
        self.iterate(branch, (0..value.as_uint().unwrap_or(0)).map(item))
    }

    /// Runs the body for each pair of index and element; false when there was none.
    fn iterate(&mut self, branch: &'t Branch, pairs: impl Iterator<Item = (Ref, Ref)>) -> Run<bool> {
        let mark = self.vars.len();
        let decl = &branch.pipe.decl;
        let mut ran = false;
        for (index, elem) in pairs {
            ran = true;
            self.lift(self.context.budget.step(1))?;
            if branch.pipe.assign {
                if decl.len() > 1 {
                    self.set_var(&decl[0].ident[0], index)?;
                    self.set_var(&decl[1].ident[0], elem.clone())?;
                } else if decl.len() == 1 {
                    self.set_var(&decl[0].ident[0], elem.clone())?;
                }
            } else {
                if !decl.is_empty() {
                    self.vars[mark - 1].1 = elem.clone();
                }
                if decl.len() > 1 {
                    self.vars[mark - 2].1 = index;
                }
            }
            let result = self.list(&elem, &branch.list);
            self.vars.truncate(mark);
            match result {
                Ok(()) | Err(Stop::Continue) => {}
                Err(Stop::Break) => break,
                Err(stop) => return Err(stop),
            }
        }
        Ok(ran)
    }

    fn invoke(&mut self, dot: &Ref, name: &'t [u8], pipe: Option<&'t Pipe>) -> Run<()> {
        let Some((name, nodes)) = self.template.trees.get_key_value(name) else {
            return self.fail(format!("template {} not defined", quote(name)));
        };
        let dot = match pipe {
            Some(pipe) => self.pipeline(dot, pipe)?,
            None => Ref::invalid(),
        };
        let vars = std::mem::replace(&mut self.vars, vec![("$", dot.clone())]);
        let caller = std::mem::replace(&mut self.current, name);
        let result = self.deeper(|e| e.list(&dot, nodes));
        self.vars = vars;
        self.current = caller;
        result
    }
}
