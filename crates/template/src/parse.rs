//! Tokens into trees, with Go's messages and line numbers.

use std::collections::HashMap;

use crate::error::{Error, ErrorKind};
use crate::lex::{Lexer, Token, TokenKind};
use crate::literal;
use crate::node::{Branch, BranchKind, Command, Expr, ExprKind, Node, Pipe, Variable};
use crate::quote::{quote, unquote};

/// Parentheses and blocks may be nested this deep; what runs them is recursive.
const NESTING_MAX: usize = 200;

/// The named templates of one text.
pub(crate) type Trees = HashMap<Vec<u8>, Vec<Node>>;

/// What ends a list of nodes.
enum ListEnd {
    End,
    /// `else`; the token tells apart `else if` and `else with`.
    Else,
}

enum Item {
    Node(Node),
    End(ListEnd),
}

impl ListEnd {
    fn show(&self) -> &'static str {
        match self {
            ListEnd::End => "{{end}}",
            ListEnd::Else => "{{else}}",
        }
    }
}

/// What is known while one named template is being read.
struct Scope {
    tokens: [Token; 3],
    peeked: usize,
    vars: Vec<String>,
    action_line: usize,
    range_depth: usize,
}

impl Scope {
    fn new() -> Scope {
        let tokens = [Token::none(), Token::none(), Token::none()];
        Scope { tokens, peeked: 0, vars: vec!["$".to_owned()], action_line: 0, range_depth: 0 }
    }
}

struct Parser<'t> {
    name: &'t str,
    lexer: Lexer<'t>,
    known: &'t dyn Fn(&str) -> bool,
    trees: Trees,
    scope: Scope,
    nesting: usize,
}

type Parsed<T> = Result<T, Error>;

/// Reads a text and everything it defines. `known` says which functions exist.
pub(crate) fn parse(name: &str, text: &str, known: &dyn Fn(&str) -> bool) -> Parsed<Trees> {
    let mut parser =
        Parser { name, lexer: Lexer::new(text), known, trees: Trees::new(), scope: Scope::new(), nesting: 0 };
    let root = parser.top_level()?;
    parser.add(name.as_bytes().to_vec(), root)?;
    Ok(parser.trees)
}

impl Parser<'_> {
    fn next(&mut self) -> Token {
        if self.scope.peeked > 0 {
            self.scope.peeked -= 1;
        } else {
            self.scope.tokens[0] = self.lexer.next_token();
        }
        self.scope.tokens[self.scope.peeked].clone()
    }

    fn backup(&mut self) {
        self.scope.peeked += 1;
    }

    fn backup2(&mut self, first: Token) {
        self.scope.tokens[1] = first;
        self.scope.peeked = 2;
    }

    fn backup3(&mut self, first: Token, second: Token) {
        self.scope.tokens[1] = second;
        self.scope.tokens[2] = first;
        self.scope.peeked = 3;
    }

    fn peek(&mut self) -> Token {
        if self.scope.peeked == 0 {
            self.scope.peeked = 1;
            self.scope.tokens[0] = self.lexer.next_token();
        }
        self.scope.tokens[self.scope.peeked - 1].clone()
    }

    fn next_non_space(&mut self) -> Token {
        loop {
            let token = self.next();
            if token.kind != TokenKind::Space {
                return token;
            }
        }
    }

    fn peek_non_space(&mut self) -> Token {
        let token = self.next_non_space();
        self.backup();
        token
    }

    fn fail<T>(&self, message: impl AsRef<str>) -> Parsed<T> {
        let line = self.scope.tokens[0].line;
        let text = format!("template: {}:{line}: {}", self.name, message.as_ref());
        Err(Error::new(ErrorKind::Parse, text))
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Parsed<T> {
        if token.kind == TokenKind::Error {
            let started = self.scope.action_line;
            let mut extra = String::new();
            if started != 0 && started != token.line {
                let action = if token.val.ends_with(" action") { "" } else { " in action" };
                extra = format!("{action} started at {}:{started}", self.name);
            }
            return self.fail(format!("{}{extra}", token.val));
        }
        self.fail(format!("unexpected {} in {context}", token.show()))
    }

    fn expect(&mut self, kind: TokenKind, context: &str) -> Parsed<Token> {
        let token = self.next_non_space();
        if token.kind != kind { self.unexpected(&token, context) } else { Ok(token) }
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting == NESTING_MAX {
            return self.fail("max expression depth exceeded");
        }
        self.nesting += 1;
        let result = read(self);
        self.nesting -= 1;
        result
    }

    fn add(&mut self, name: Vec<u8>, nodes: Vec<Node>) -> Parsed<()> {
        let blank = |nodes: &[Node]| nodes.iter().all(Node::is_blank);
        match self.trees.get(&name) {
            Some(old) if !blank(old) => {
                if !blank(&nodes) {
                    let name = quote(&name);
                    return self.fail(format!("template: multiple definition of template {name}"));
                }
            }
            _ => {
                self.trees.insert(name, nodes);
            }
        }
        Ok(())
    }

    fn top_level(&mut self) -> Parsed<Vec<Node>> {
        let mut nodes = Vec::new();
        while self.peek().kind != TokenKind::Eof {
            if self.peek().kind == TokenKind::LeftDelim {
                let delim = self.next();
                if self.next_non_space().kind == TokenKind::Define {
                    self.definition()?;
                    continue;
                }
                self.backup2(delim);
            }
            match self.text_or_action()? {
                Item::Node(node) => nodes.push(node),
                Item::End(end) => return self.fail(format!("unexpected {}", end.show())),
            }
        }
        Ok(nodes)
    }

    /// Reads in a scope of its own, as the body of a named template.
    fn own_scope<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        let outer = std::mem::replace(&mut self.scope, Scope::new());
        let result = read(self);
        self.scope = outer;
        result
    }

    fn definition(&mut self) -> Parsed<()> {
        const CONTEXT: &str = "define clause";
        self.own_scope(|p| {
            let token = p.next_non_space();
            let name = p.template_name(&token, CONTEXT)?;
            p.expect(TokenKind::RightDelim, CONTEXT)?;
            let body = p.body(CONTEXT)?;
            p.add(name, body)
        })
    }

    fn body(&mut self, context: &str) -> Parsed<Vec<Node>> {
        let (nodes, end) = self.item_list()?;
        match end {
            ListEnd::End => Ok(nodes),
            ListEnd::Else => self.fail(format!("unexpected {} in {context}", end.show())),
        }
    }

    fn template_name(&mut self, token: &Token, context: &str) -> Parsed<Vec<u8>> {
        if !matches!(token.kind, TokenKind::String | TokenKind::RawString) {
            return self.unexpected(token, context);
        }
        unquote(&token.val).map_or_else(|| self.fail("invalid syntax"), Ok)
    }

    fn item_list(&mut self) -> Parsed<(Vec<Node>, ListEnd)> {
        let mut nodes = Vec::new();
        while self.peek_non_space().kind != TokenKind::Eof {
            match self.text_or_action()? {
                Item::Node(node) => nodes.push(node),
                Item::End(end) => return Ok((nodes, end)),
            }
        }
        self.fail("unexpected EOF")
    }

    fn text_or_action(&mut self) -> Parsed<Item> {
        let token = self.next_non_space();
        match token.kind {
            TokenKind::Text => Ok(Item::Node(Node::Text(token.val))),
            TokenKind::LeftDelim => {
                self.scope.action_line = token.line;
                let item = self.action();
                self.scope.action_line = 0;
                item
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Parsed<Item> {
        let token = self.next_non_space();
        let node = match token.kind {
            TokenKind::Block => self.nested(Self::block)?,
            TokenKind::Break => self.loop_control("{{break}}", Node::Break)?,
            TokenKind::Continue => self.loop_control("{{continue}}", Node::Continue)?,
            TokenKind::Else => {
                let peek = self.peek_non_space();
                if !matches!(peek.kind, TokenKind::If | TokenKind::With) {
                    self.expect(TokenKind::RightDelim, "else")?;
                }
                return Ok(Item::End(ListEnd::Else));
            }
            TokenKind::End => {
                self.expect(TokenKind::RightDelim, "end")?;
                return Ok(Item::End(ListEnd::End));
            }
            TokenKind::If => self.control(BranchKind::If)?,
            TokenKind::Range => self.control(BranchKind::Range)?,
            TokenKind::With => self.control(BranchKind::With)?,
            TokenKind::Template => self.template()?,
            _ => {
                self.backup();
                let pos = self.peek().pos;
                Node::Action { pos, pipe: self.pipeline("command", TokenKind::RightDelim)? }
            }
        };
        Ok(Item::Node(node))
    }

    fn loop_control(&mut self, word: &str, node: Node) -> Parsed<Node> {
        let token = self.next_non_space();
        if token.kind != TokenKind::RightDelim {
            return self.unexpected(&token, word);
        }
        if self.scope.range_depth == 0 {
            return self.fail(format!("{word} outside {{{{range}}}}"));
        }
        Ok(node)
    }

    fn control(&mut self, kind: BranchKind) -> Parsed<Node> {
        let vars = self.scope.vars.len();
        let node = self.nested(|p| p.branch(kind));
        self.scope.vars.truncate(vars);
        node
    }

    fn branch(&mut self, kind: BranchKind) -> Parsed<Node> {
        let (context, again) = match kind {
            BranchKind::If => ("if", TokenKind::If),
            BranchKind::With => ("with", TokenKind::With),
            BranchKind::Range => ("range", TokenKind::Eof),
        };
        let pipe = self.pipeline(context, TokenKind::RightDelim)?;
        self.scope.range_depth += usize::from(kind == BranchKind::Range);
        let (list, end) = self.item_list()?;
        self.scope.range_depth -= usize::from(kind == BranchKind::Range);
        let otherwise = match end {
            ListEnd::End => None,
            ListEnd::Else if kind != BranchKind::Range && self.peek().kind == again => {
                self.next();
                Some(vec![self.control(kind)?])
            }
            ListEnd::Else => {
                let (list, end) = self.item_list()?;
                if !matches!(end, ListEnd::End) {
                    return self.fail(format!("expected end; found {}", end.show()));
                }
                Some(list)
            }
        };
        Ok(Node::Branch(Box::new(Branch { kind, pos: pipe.pos, pipe, list, otherwise })))
    }

    fn block(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "block clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let pipe = self.pipeline(CONTEXT, TokenKind::RightDelim)?;
        self.own_scope(|p| {
            let body = p.body(CONTEXT)?;
            p.add(name.clone(), body)
        })?;
        Ok(Node::Template { pos: token.pos, name, pipe: Some(pipe) })
    }

    fn template(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "template clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let mut pipe = None;
        if self.next_non_space().kind != TokenKind::RightDelim {
            self.backup();
            pipe = Some(self.pipeline(CONTEXT, TokenKind::RightDelim)?);
        }
        Ok(Node::Template { pos: token.pos, name, pipe })
    }

    fn pipeline(&mut self, context: &str, end: TokenKind) -> Parsed<Pipe> {
        let pos = self.peek_non_space().pos;
        let mut pipe = Pipe { pos, assign: false, decl: Vec::new(), cmds: Vec::new() };
        self.declarations(context, &mut pipe)?;
        loop {
            use TokenKind::*;
            let token = self.next_non_space();
            match token.kind {
                kind if kind == end => {
                    self.check_pipeline(&pipe, context)?;
                    return Ok(pipe);
                }
                Bool | CharConstant | Complex | Dot | Field | Identifier | Number | Nil | RawString
                | String | Variable | LeftParen => {
                    self.backup();
                    pipe.cmds.push(self.command()?);
                }
                _ => return self.unexpected(&token, context),
            }
        }
    }

    fn declarations(&mut self, context: &str, pipe: &mut Pipe) -> Parsed<()> {
        loop {
            let variable = self.peek_non_space();
            if variable.kind != TokenKind::Variable {
                return Ok(());
            }
            self.next();
            // `$x` may be followed by a space and then turn out to be an operand.
            let after = self.peek();
            let next = self.peek_non_space();
            match next.kind {
                TokenKind::Assign | TokenKind::Declare => {
                    pipe.assign = next.kind == TokenKind::Assign;
                    self.next_non_space();
                    self.declare(pipe, &variable);
                    return Ok(());
                }
                TokenKind::Char if next.val == "," => {
                    self.next_non_space();
                    self.declare(pipe, &variable);
                    if context != "range" || pipe.decl.len() >= 2 {
                        return self.fail(format!("too many declarations in {context}"));
                    }
                    let follows = self.peek_non_space().kind;
                    if !matches!(follows, TokenKind::Variable | TokenKind::RightDelim | TokenKind::RightParen)
                    {
                        return self.fail("range can only initialize variables");
                    }
                }
                _ if after.kind == TokenKind::Space => {
                    self.backup3(variable, after);
                    return Ok(());
                }
                _ => {
                    self.backup2(variable);
                    return Ok(());
                }
            }
        }
    }

    fn declare(&mut self, pipe: &mut Pipe, token: &Token) {
        pipe.decl.push(Variable { ident: split(&token.val) });
        self.scope.vars.push(token.val.clone());
    }

    fn check_pipeline(&self, pipe: &Pipe, context: &str) -> Parsed<()> {
        if pipe.cmds.is_empty() {
            return self.fail(format!("missing value for {context}"));
        }
        for (i, cmd) in pipe.cmds.iter().enumerate().skip(1) {
            use ExprKind::*;
            if matches!(cmd.args[0].kind, Bool(_) | Dot | Nil | Number(_) | Str { .. }) {
                return self.fail(format!("non executable command in pipeline stage {}", i + 1));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Parsed<Command> {
        let mut cmd = Command { pos: self.peek_non_space().pos, args: Vec::new() };
        loop {
            self.peek_non_space();
            if let Some(operand) = self.operand()? {
                cmd.args.push(operand);
            }
            let token = self.next();
            match token.kind {
                TokenKind::Space => continue,
                TokenKind::RightDelim | TokenKind::RightParen => self.backup(),
                TokenKind::Pipe => {}
                _ => return self.unexpected(&token, "operand"),
            }
            break;
        }
        if cmd.args.is_empty() {
            return self.fail("empty command");
        }
        Ok(cmd)
    }

    /// A term and the fields chained to it.
    fn operand(&mut self) -> Parsed<Option<Expr>> {
        let Some(term) = self.term()? else { return Ok(None) };
        if self.peek().kind != TokenKind::Field {
            return Ok(Some(term));
        }
        let pos = self.peek().pos;
        let mut fields = Vec::new();
        while self.peek().kind == TokenKind::Field {
            fields.push(self.next().val[1..].to_owned());
        }
        let kind = match term.kind {
            ExprKind::Field(mut ident) => {
                ident.append(&mut fields);
                ExprKind::Field(ident)
            }
            ExprKind::Variable(mut ident) => {
                ident.append(&mut fields);
                ExprKind::Variable(ident)
            }
            ExprKind::Identifier(_) | ExprKind::Pipe(_) | ExprKind::Chain(..) => {
                ExprKind::Chain(Box::new(term), fields)
            }
            _ => return self.fail(format!("unexpected . after term {}", quote(term.to_string()))),
        };
        Ok(Some(Expr { pos, kind }))
    }

    fn term(&mut self) -> Parsed<Option<Expr>> {
        let token = self.next_non_space();
        let kind = match token.kind {
            TokenKind::Identifier => {
                if !(self.known)(&token.val) {
                    return self.fail(format!("function {} not defined", quote(&token.val)));
                }
                ExprKind::Identifier(token.val)
            }
            TokenKind::Dot => ExprKind::Dot,
            TokenKind::Nil => ExprKind::Nil,
            TokenKind::Variable => {
                if !self.scope.vars.contains(&token.val) {
                    return self.fail(format!("undefined variable {}", quote(&token.val)));
                }
                ExprKind::Variable(split(&token.val))
            }
            TokenKind::Field => ExprKind::Field(split(&token.val[1..])),
            TokenKind::Bool => ExprKind::Bool(token.val == "true"),
            TokenKind::CharConstant | TokenKind::Complex | TokenKind::Number => {
                match literal::number(&token.val, token.kind) {
                    Ok(number) => ExprKind::Number(number),
                    Err(message) => return self.fail(message),
                }
            }
            TokenKind::LeftParen => {
                let pipe = self.nested(|p| p.pipeline("parenthesized pipeline", TokenKind::RightParen))?;
                ExprKind::Pipe(Box::new(pipe))
            }
            TokenKind::String | TokenKind::RawString => {
                let Some(text) = unquote(&token.val) else { return self.fail("invalid syntax") };
                ExprKind::Str { quoted: token.val, text }
            }
            _ => {
                self.backup();
                return Ok(None);
            }
        };
        Ok(Some(Expr { pos: token.pos, kind }))
    }
}

fn split(ident: &str) -> Vec<String> {
    ident.split('.').map(str::to_owned).collect()
}
