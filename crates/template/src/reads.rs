//! What a template reads of its data, found without rendering it: for those who check templates.

use std::collections::HashMap;

use crate::node::{Branch, BranchKind, Command, Expr, ExprKind, Node, Pipe};
use crate::template::Template;

/// Templates that call each other are followed this deep.
const CALL_DEPTH_MAX: usize = 8;

/// A step on the way from the data to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadStep {
    /// `.Name`: a struct's field or a map's key.
    Field(String),
    /// `index … "name"`: an entry that may be absent without an error.
    Key(String),
    /// An element that cannot be named without rendering: a number, a computed key, `range`.
    Element,
}

/// A place of the data that a template reads, or calls a method of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Where in the template's text, in bytes.
    pub offset_bytes: usize,
    /// The way from the data (`$`) to the value.
    pub path: Vec<ReadStep>,
}

/// Where a value comes from: a way from the data, or something computed.
type Origin = Option<Vec<ReadStep>>;

impl Template {
    /// Everything this template may read of its data, in the order of the text. What is read of computed
    /// values (the result of a function other than `index`) is left out.
    pub fn reads(&self) -> Vec<Read> {
        let mut walk =
            Walk { template: self, found: Vec::new(), dot: Some(Vec::new()), vars: HashMap::new(), depth: 0 };
        walk.vars.insert("$".to_owned(), Some(Vec::new()));
        if let Some(nodes) = self.trees.get(self.name.as_bytes()) {
            walk.nodes(nodes);
        }
        walk.found
    }
}

struct Walk<'t> {
    template: &'t Template,
    found: Vec<Read>,
    dot: Origin,
    vars: HashMap<String, Origin>,
    depth: usize,
}

impl Walk<'_> {
    fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            match node {
                Node::Text(_) | Node::Break | Node::Continue => {}
                Node::Action { pipe, .. } => {
                    let origin = self.pipe(pipe);
                    self.declare(pipe, origin);
                }
                Node::Branch(branch) => self.branch(branch),
                Node::Template { name, pipe, .. } => self.call(name, pipe.as_ref()),
            }
        }
    }

    /// Body and alternative of `if`, `with` and `range`, each with its own dot.
    fn branch(&mut self, branch: &Branch) {
        let outer = (self.dot.clone(), self.vars.clone());
        let origin = self.pipe(&branch.pipe);
        let inner = match branch.kind {
            BranchKind::If => self.dot.clone(),
            BranchKind::With => origin.clone(),
            BranchKind::Range => origin.clone().map(|path| longer(path, ReadStep::Element)),
        };
        match (branch.kind, branch.pipe.decl.as_slice()) {
            (BranchKind::Range, [key, value]) => {
                self.vars.insert(key.ident[0].clone(), None);
                self.vars.insert(value.ident[0].clone(), inner.clone());
            }
            (BranchKind::Range, [value]) => {
                self.vars.insert(value.ident[0].clone(), inner.clone());
            }
            _ => self.declare(&branch.pipe, origin),
        }
        self.dot = inner;
        self.nodes(&branch.list);
        self.dot = outer.0;
        if let Some(nodes) = &branch.otherwise {
            self.nodes(nodes);
        }
        self.vars = outer.1;
    }

    fn call(&mut self, name: &[u8], pipe: Option<&Pipe>) {
        let origin = pipe.and_then(|p| self.pipe(p));
        if self.depth == CALL_DEPTH_MAX {
            return;
        }
        let Some(nodes) = self.template.trees.get(name) else { return };
        let mut vars = HashMap::from([("$".to_owned(), origin.clone())]);
        let mut dot = origin;
        std::mem::swap(&mut self.vars, &mut vars);
        std::mem::swap(&mut self.dot, &mut dot);
        self.depth += 1;
        // Places inside a named template are places of the same text.
        self.nodes(nodes);
        self.depth -= 1;
        self.vars = vars;
        self.dot = dot;
    }

    fn declare(&mut self, pipe: &Pipe, origin: Origin) {
        if let [variable] = pipe.decl.as_slice() {
            // An assignment in a branch may or may not happen: afterwards nobody knows.
            let origin = if pipe.assign { None } else { origin };
            self.vars.insert(variable.ident[0].clone(), origin);
        }
    }

    fn pipe(&mut self, pipe: &Pipe) -> Origin {
        let mut origin = None;
        for (i, command) in pipe.cmds.iter().enumerate() {
            let result = self.command(command);
            origin = if i == 0 { result } else { None };
        }
        origin
    }

    fn command(&mut self, command: &Command) -> Origin {
        let (first, rest) = command.args.split_first()?;
        match &first.kind {
            ExprKind::Identifier(name) if name == "index" => self.index(rest),
            _ => {
                let origin = self.expr(first);
                let args: Vec<Origin> = rest.iter().map(|arg| self.expr(arg)).collect();
                if args.is_empty() { origin } else { None }
            }
        }
    }

    /// `index x "a" 0`: reads `x`, then its entries.
    fn index(&mut self, args: &[Expr]) -> Origin {
        let (base, keys) = args.split_first()?;
        let origin = self.expr(base);
        for key in keys {
            self.expr(key);
        }
        let mut path = origin?;
        for key in keys {
            path.push(match &key.kind {
                ExprKind::Str { text, .. } => ReadStep::Key(String::from_utf8_lossy(text).into_owned()),
                _ => ReadStep::Element,
            });
        }
        if !keys.is_empty() {
            self.found.push(Read { offset_bytes: base.pos, path: path.clone() });
        }
        Some(path)
    }

    fn expr(&mut self, expr: &Expr) -> Origin {
        match &expr.kind {
            ExprKind::Dot => self.dot.clone(),
            ExprKind::Field(ident) => {
                let origin = self.dot.clone();
                self.follow(start(expr.pos, 1, ident), origin, ident)
            }
            ExprKind::Variable(ident) => {
                let origin = self.vars.get(&ident[0]).cloned().flatten();
                self.follow(start(expr.pos, 0, ident), origin, &ident[1..])
            }
            ExprKind::Pipe(pipe) => self.pipe(pipe),
            ExprKind::Chain(base, ident) => {
                let origin = self.expr(base);
                self.follow(expr.pos, origin, ident)
            }
            ExprKind::Identifier(_)
            | ExprKind::Bool(_)
            | ExprKind::Nil
            | ExprKind::Number(_)
            | ExprKind::Str { .. } => None,
        }
    }

    fn follow(&mut self, offset_bytes: usize, origin: Origin, ident: &[String]) -> Origin {
        let mut path = origin?;
        if ident.is_empty() {
            return Some(path);
        }
        path.extend(ident.iter().cloned().map(ReadStep::Field));
        self.found.push(Read { offset_bytes, path: path.clone() });
        Some(path)
    }
}

/// Where a chain of fields begins: Go, and so the parser, places it at its second link.
fn start(pos: usize, dot_bytes: usize, ident: &[String]) -> usize {
    if ident.len() > 1 { pos.saturating_sub(dot_bytes + ident[0].len()) } else { pos }
}

fn longer(mut path: Vec<ReadStep>, step: ReadStep) -> Vec<ReadStep> {
    path.push(step);
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Functions;
    use std::sync::Arc;

    fn reads(text: &str) -> Vec<String> {
        let template = Template::parse("t", text, &Arc::new(Functions::sprig())).expect("a template");
        let step = |s: &ReadStep| match s {
            ReadStep::Field(f) => format!(".{f}"),
            ReadStep::Key(k) => format!("[{k}]"),
            ReadStep::Element => "[]".to_owned(),
        };
        let show = |r: &Read| format!("{}{}", r.offset_bytes, r.path.iter().map(step).collect::<String>());
        template.reads().iter().map(show).collect()
    }

    #[test]
    fn what_is_read_is_found_wherever_dot_went() {
        for (text, want) in [
            ("{{ .A.B }}", vec!["3.A.B"]),
            ("{{ index .A \"k\" 0 }}", vec!["9.A", "9.A[k][]"]),
            ("{{ (index .A 0).b | toString }}", vec!["10.A", "10.A[]", "15.A[].b"]),
            ("{{ range .A }}{{ .B }}{{ $.C }}{{ end }}{{ .D }}", vec!["9.A", "17.A[].B", "25.C", "43.D"]),
            ("{{ range $k, $v := .A }}{{ $v.B }}{{ $k.X }}{{ end }}", vec!["19.A", "27.A[].B"]),
            ("{{ with .A }}{{ .B }}{{ else }}{{ .C }}{{ end }}", vec!["8.A", "16.A.B", "34.C"]),
            ("{{ $x := .A }}{{ $x.B }}", vec!["9.A", "17.A.B"]),
            ("{{ toJson .A | upper }}{{ (toString .B).C }}", vec!["10.A", "36.B"]),
            ("{{ define \"d\" }}{{ .X }}{{ end }}{{ template \"d\" .A }}", vec!["49.A", "19.A.X"]),
        ] {
            assert_eq!(reads(text), want, "{text}");
        }
    }
}
