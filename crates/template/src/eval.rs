//! Expressions: pipelines, commands, fields, calls and the conversion of arguments.

use std::sync::Arc;

use crate::builtin::{self, truth};
use crate::call::{Act, Function, Ref};
use crate::error::{ErrorKind, Fail};
use crate::exec::{At, Exec, Run};
use crate::methods;
use crate::node::{Command, Expr, ExprKind, Number, Pipe};
use crate::quote::quote;
use crate::template::MissingKey;
use crate::types::{Kind, Type};
use crate::value::{Data, Value};

impl<'t> Exec<'t, '_> {
    /// The value of a pipeline; variables it declares are set.
    pub(crate) fn pipeline(&mut self, dot: &Ref, pipe: &'t Pipe) -> Run<Ref> {
        self.at = At::Pipe(pipe);
        let mut value = None;
        for cmd in &pipe.cmds {
            self.lift(self.context.budget.step(1))?;
            let mut result = self.command(dot, cmd, value.as_ref())?;
            result.iface = false;
            value = Some(result);
        }
        let value = value.unwrap_or_else(Ref::invalid);
        for variable in &pipe.decl {
            let name = variable.ident[0].as_str();
            if pipe.assign {
                self.set_var(name, value.clone())?;
            } else {
                self.vars.push((name, value.clone()));
            }
        }
        Ok(value)
    }

    pub(crate) fn set_var(&mut self, name: &str, value: Ref) -> Run<()> {
        match self.vars.iter_mut().rev().find(|(n, _)| *n == name) {
            Some(var) => {
                var.1 = value;
                Ok(())
            }
            None => self.fail(format!("undefined variable: {name}")),
        }
    }

    fn variable(&self, name: &str) -> Run<Ref> {
        match self.vars.iter().rev().find(|(n, _)| *n == name) {
            Some((_, value)) => Ok(value.clone()),
            None => self.fail(format!("undefined variable: {name}")),
        }
    }

    fn command(&mut self, dot: &Ref, cmd: &'t Command, last: Option<&Ref>) -> Run<Ref> {
        let first = &cmd.args[0];
        match &first.kind {
            ExprKind::Field(_) | ExprKind::Chain(..) | ExprKind::Variable(_) => {
                return self.selection(dot, first, &cmd.args, last);
            }
            ExprKind::Identifier(name) => {
                return self.function(dot, first, name, At::Command(cmd), &cmd.args, last);
            }
            ExprKind::Pipe(pipe) => {
                self.no_arguments(&cmd.args, last)?;
                return self.deeper(|e| e.pipeline(dot, pipe));
            }
            _ => {}
        }
        self.at = At::Expr(first);
        self.no_arguments(&cmd.args, last)?;
        match &first.kind {
            ExprKind::Nil => self.fail("nil is not a command"),
            ExprKind::Dot => Ok(dot.clone()),
            _ => self.constant(first),
        }
    }

    fn no_arguments(&self, args: &[Expr], last: Option<&Ref>) -> Run<()> {
        if args.len() > 1 || last.is_some() {
            return self.fail(format!("can't give argument to non-function {}", args[0]));
        }
        Ok(())
    }

    /// A literal where any type will do.
    fn constant(&mut self, expr: &'t Expr) -> Run<Ref> {
        self.at = At::Expr(expr);
        let value = match &expr.kind {
            ExprKind::Bool(b) => Value::bool(*b),
            ExprKind::Str { text, .. } => Value::str(text),
            ExprKind::Number(n) => self.ideal(n)?,
            _ => return self.fail(format!("can't handle assignment of {expr} to empty interface argument")),
        };
        Ok(Ref::plain(value))
    }

    /// The type Go gives an untyped number: `int`, unless it is written as a float.
    fn ideal(&self, n: &Number) -> Run<Value> {
        if let Some((re, im)) = n.complex {
            return Ok(Value::new(Type::basic(Kind::Complex128), Data::Complex(re, im)));
        }
        let lower = n.text.to_ascii_lowercase();
        let hex_int = lower.len() > 2 && lower.starts_with("0x") && !lower.contains('p');
        let looks_float = !hex_int && !lower.starts_with('\'') && lower.contains(['.', 'e', 'p']);
        match (n.float.filter(|_| looks_float), n.int) {
            (Some(f), _) => Ok(Value::float64(f)),
            (None, Some(i)) => Ok(Value::int(i)),
            (None, None) => self.fail(format!("{} overflows int", n.text)),
        }
    }

    /// `.a.b`, `$x.a.b`, `(…).a.b`
    fn selection(&mut self, dot: &Ref, expr: &'t Expr, args: &'t [Expr], last: Option<&Ref>) -> Run<Ref> {
        self.at = At::Expr(expr);
        match &expr.kind {
            ExprKind::Field(ident) => self.chain(dot, dot.clone(), expr, ident, args, last),
            ExprKind::Variable(ident) => {
                let value = self.variable(&ident[0])?;
                if ident.len() == 1 {
                    if args.len() > 1 || last.is_some() {
                        self.no_arguments(args, last)?;
                    }
                    return Ok(value);
                }
                self.chain(dot, value, expr, &ident[1..], args, last)
            }
            ExprKind::Chain(base, ident) => {
                if matches!(base.kind, ExprKind::Nil) {
                    return self.fail(format!("indirection through explicit nil in {expr}"));
                }
                let value = self.argument(dot, None, base)?;
                self.chain(dot, value, expr, ident, args, last)
            }
            _ => unreachable!("only these three kinds select fields"),
        }
    }

    fn chain(
        &mut self,
        dot: &Ref,
        mut receiver: Ref,
        expr: &'t Expr,
        ident: &'t [String],
        args: &'t [Expr],
        last: Option<&Ref>,
    ) -> Run<Ref> {
        let (name, way) = ident.split_last().expect("a chain has at least one field");
        for step in way {
            receiver = self.field(dot, step, expr, &[], None, &receiver)?;
        }
        self.field(dot, name, expr, args, last, &receiver)
    }

    /// One field: a method, a struct's field or a map's entry, in this order.
    fn field(
        &mut self,
        dot: &Ref,
        name: &str,
        expr: &'t Expr,
        args: &'t [Expr],
        last: Option<&Ref>,
        from: &Ref,
    ) -> Run<Ref> {
        if !from.is_valid() {
            if self.missing_key == MissingKey::Error {
                return self.fail(format!("nil data; no entry for key {}", quote(name)));
            }
            return Ok(Ref::invalid());
        }
        let type_name = from.type_name();
        let (receiver, is_nil) = from.indirect();
        if receiver.iface && is_nil {
            return self.fail(format!("nil pointer evaluating {type_name}.{name}"));
        }
        if let Some(method) = methods::find(&receiver.value, name, from.value.kind() == Kind::Pointer) {
            return self.call(dot, &method, At::Expr(expr), name, args, last);
        }
        let has_args = args.len() > 1 || last.is_some();
        let value = &receiver.value;
        match value.kind() {
            Kind::Struct => {
                if let Some(found) = self.struct_field(value, name, &type_name, has_args)? {
                    return Ok(found);
                }
            }
            Kind::Map if value.ty().key().is_some_and(|k| Type::string().assignable_to(k)) => {
                if has_args {
                    return self.fail(format!("{name} is not a method but has arguments"));
                }
                return self.map_entry(value, name);
            }
            Kind::Pointer => {
                let target = value.ty().elem();
                let unknown =
                    target.is_some_and(|t| t.kind() == Kind::Struct && t.find_field(name).is_none());
                if is_nil && !unknown {
                    return self.fail(format!("nil pointer evaluating {type_name}.{name}"));
                }
            }
            _ => {}
        }
        self.fail(format!("can't evaluate field {name} in type {type_name}"))
    }

    fn struct_field(&self, value: &Value, name: &str, type_name: &str, has_args: bool) -> Run<Option<Ref>> {
        let Some(path) = value.ty().find_field(name) else { return Ok(None) };
        let mut at = Ref::plain(value.clone());
        let mut unexported = false;
        for i in path {
            at = at.indirect().0;
            let decl = &at.value.ty().fields()[i];
            unexported = decl.unexported;
            let Some(inner) = at.value.field_values().get(i) else {
                return self.fail(format!("nil pointer to embedded struct evaluating {type_name}.{name}"));
            };
            at = Ref::of(inner.clone(), &decl.ty);
        }
        if unexported {
            return self.fail(format!("{name} is an unexported field of struct type {type_name}"));
        }
        if has_args {
            return self.fail(format!("{name} has arguments but cannot be invoked as function"));
        }
        Ok(Some(at))
    }

    fn map_entry(&self, map: &Value, name: &str) -> Run<Ref> {
        let elem = map.ty().elem().cloned().unwrap_or_else(Type::any);
        if let Some(found) = map.entry(&Value::str(name)) {
            return Ok(Ref::of(found, &elem));
        }
        match self.missing_key {
            MissingKey::Default => Ok(Ref::invalid()),
            MissingKey::Zero => Ok(Ref::of(Value::zero(&elem), &elem)),
            MissingKey::Error => self.fail_as(
                ErrorKind::MissingKey(name.to_owned()),
                &format!("map has no entry for key {}", quote(name)),
            ),
        }
    }

    fn function(
        &mut self,
        dot: &Ref,
        expr: &'t Expr,
        name: &str,
        node: At<'t>,
        args: &'t [Expr],
        last: Option<&Ref>,
    ) -> Run<Ref> {
        self.at = At::Expr(expr);
        let Some(function) = self.template.functions.get(name).map(Arc::clone) else {
            return self.fail(format!("{} is not a defined function", quote(name)));
        };
        self.call(dot, &function, node, name, args, last)
    }

    fn call(
        &mut self,
        dot: &Ref,
        function: &Function,
        node: At<'t>,
        name: &str,
        args: &'t [Expr],
        last: Option<&Ref>,
    ) -> Run<Ref> {
        let args = args.get(1..).unwrap_or_default();
        let given = args.len() + usize::from(last.is_some());
        if function.variadic && given < function.fixed() {
            let (want, got) = (function.fixed(), args.len());
            return self.fail(format!("wrong number of args for {name}: want at least {want} got {got}"));
        }
        if !function.variadic && given != function.fixed() {
            let want = function.fixed();
            return self.fail(format!("wrong number of args for {name}: want {want} got {given}"));
        }
        if let Act::Unfit(why) = &function.act {
            return self.fail(why);
        }
        if matches!(function.act, Act::And | Act::Or) {
            return self.short_circuit(dot, function, args, last);
        }
        let mut argv = Vec::with_capacity(given);
        for (i, arg) in args.iter().enumerate() {
            argv.push(self.argument(dot, Some(function.param(i)), arg)?);
        }
        if let Some(last) = last {
            argv.push(self.assign(last.clone(), Some(function.param(args.len())))?);
        }
        let result = match &function.act {
            Act::Values(body) => {
                let values: Vec<Value> = argv.into_iter().map(|r| r.value).collect();
                body(self.context, &values).and_then(|v| self.charged(v)).map(Ref::plain)
            }
            Act::Refs(body) => body(self.context, &argv),
            Act::Call => {
                let callee = args.first().map_or_else(|| reflect_string(&argv[0].value), Expr::to_string);
                builtin::call(self.context, &callee, &argv)
            }
            Act::And | Act::Or | Act::Unfit(_) => unreachable!("handled above"),
        };
        if result.is_err() {
            self.at = node;
        }
        match result {
            Err(Fail::Text(text)) => self.fail(format!("error calling {name}: {text}")),
            other => self.lift(other),
        }
    }

    /// Counts what a function made against the budget.
    fn charged(&self, value: Value) -> Result<Value, Fail> {
        let bytes = match &value.data {
            Data::Str(s) => s.len(),
            Data::Bytes(Some(b)) => b.len(),
            Data::List(Some(l)) => l.len() * size_of::<Value>(),
            _ => 0,
        };
        self.context.budget.charge(bytes)?;
        Ok(value)
    }

    /// `and` and `or` evaluate only as many arguments as they need.
    fn short_circuit(
        &mut self,
        dot: &Ref,
        function: &Function,
        args: &'t [Expr],
        last: Option<&Ref>,
    ) -> Run<Ref> {
        let stop_at = matches!(function.act, Act::Or);
        let mut value = Ref::invalid();
        for arg in args {
            value = self.argument(dot, Some(function.param(0)), arg)?;
            if truth(&value) == stop_at {
                return Ok(value);
            }
        }
        Ok(last.cloned().unwrap_or(value))
    }

    /// An argument, converted to the parameter's type; no type means "as it is".
    fn argument(&mut self, dot: &Ref, ty: Option<&Type>, expr: &'t Expr) -> Run<Ref> {
        self.at = At::Expr(expr);
        let value = match &expr.kind {
            ExprKind::Dot => dot.clone(),
            ExprKind::Nil => return self.nil_argument(ty),
            ExprKind::Field(_) | ExprKind::Variable(_) => {
                self.selection(dot, expr, std::slice::from_ref(expr), None)?
            }
            ExprKind::Chain(..) => self.deeper(|e| e.selection(dot, expr, &[], None))?,
            ExprKind::Pipe(pipe) => self.deeper(|e| e.pipeline(dot, pipe))?,
            ExprKind::Identifier(name) => self.function(dot, expr, name, At::Expr(expr), &[], None)?,
            _ => return self.literal(ty, expr),
        };
        self.assign(value, ty)
    }

    fn nil_argument(&self, ty: Option<&Type>) -> Run<Ref> {
        match ty {
            Some(ty) if ty.is_reflect_value() => Ok(Ref::invalid()),
            Some(ty) if ty.kind().can_be_nil() => Ok(Ref::plain(Value::zero(ty))),
            Some(ty) => self.fail(format!("cannot assign nil to {ty}")),
            None => self.fail("cannot assign nil to %!s(<nil>)"),
        }
    }

    /// A literal takes the type of the parameter.
    fn literal(&mut self, ty: Option<&Type>, expr: &'t Expr) -> Run<Ref> {
        let Some(ty) = ty.filter(|t| !t.is_reflect_value() && t.kind() != Kind::Interface) else {
            return self.constant(expr);
        };
        let kind = ty.kind();
        let (value, wanted) = match (&expr.kind, kind) {
            (ExprKind::Bool(b), Kind::Bool) => (Some(Data::Bool(*b)), "bool"),
            (_, Kind::Bool) => (None, "bool"),
            (ExprKind::Str { text, .. }, Kind::String) => {
                (Some(Data::Str(Arc::from(text.as_slice()))), "string")
            }
            (_, Kind::String) => (None, "string"),
            (ExprKind::Number(n), k) if k.is_int() => (n.int.map(Data::Int), "integer"),
            (_, k) if k.is_int() => (None, "integer"),
            (ExprKind::Number(n), k) if k.is_uint() => (n.uint.map(Data::Uint), "unsigned integer"),
            (_, k) if k.is_uint() => (None, "unsigned integer"),
            (ExprKind::Number(n), k) if k.is_float() => (n.float.map(Data::Float), "float"),
            (_, k) if k.is_float() => (None, "float"),
            _ => return self.fail(format!("can't handle {expr} for arg of type {ty}")),
        };
        match value {
            Some(data) => Ok(Ref::plain(Value::new(ty.clone(), data))),
            None => self.fail(format!("expected {wanted}; found {expr}")),
        }
    }

    /// Go's rules for passing a value: assignability, one pointer followed, nil where nil can be.
    fn assign(&self, mut value: Ref, ty: Option<&Type>) -> Run<Ref> {
        let Some(ty) = ty else { return Ok(value) };
        if ty.is_reflect_value() {
            return Ok(value);
        }
        if !value.is_valid() {
            if ty.kind().can_be_nil() {
                return Ok(Ref::plain(Value::zero(ty)));
            }
            return self.fail(format!("invalid value; expected {ty}"));
        }
        if ty.is_any() {
            value.iface = false;
            return Ok(value);
        }
        let got = value.type_name();
        if value.iface {
            if !value.value.is_valid() {
                return self.fail(format!("wrong type for value; expected {ty}; got {got}"));
            }
            value.iface = false;
        }
        if value.value.ty().assignable_to(ty) {
            return Ok(Ref::plain(value.value.retyped(ty)));
        }
        if value.value.ty().elem().is_some_and(|e| value.value.kind() == Kind::Pointer && e.assignable_to(ty))
        {
            return match value.value.pointee() {
                Some(to) => Ok(Ref::plain(to.clone())),
                None => self.fail(format!("dereference of nil pointer of type {ty}")),
            };
        }
        self.fail(format!("wrong type for value; expected {ty}; got {}", value.value.ty()))
    }
}

/// `reflect.Value.String`: strings as they are, of everything else only the type.
fn reflect_string(value: &Value) -> String {
    match value.as_str() {
        Some(s) => String::from_utf8_lossy(s).into_owned(),
        None if value.is_valid() => format!("<{} Value>", value.ty()),
        None => "<invalid Value>".to_owned(),
    }
}
