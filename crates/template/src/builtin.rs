//! The functions of Go's `text/template` itself, comparisons apart.

use crate::call::{Act, Context, Function, Functions, Ref};
use crate::compare;
use crate::error::Fail;
use crate::escape;
use crate::methods;
use crate::printf;
use crate::types::{Kind, Type};
use crate::value::{Data, Value};

/// Adds the builtins.
pub(crate) fn install(functions: &mut Functions) {
    let any = || vec![Type::any()];
    let refs = |n: usize| vec![Type::reflect_value(); n];
    let special = |params, variadic, act| Function::special(params, variadic, act);
    functions.insert("and", special(refs(2), true, Act::And));
    functions.insert("or", special(refs(2), true, Act::Or));
    functions.insert("call", special(refs(2), true, Act::Call));
    functions.insert("not", special(refs(1), false, Act::Refs(|_, a| Ok(plain(Value::bool(!truth(&a[0])))))));
    functions.insert("len", special(refs(1), false, Act::Refs(len)));
    functions.insert("index", special(refs(2), true, Act::Refs(index)));
    functions.insert("slice", special(refs(2), true, Act::Refs(slice)));
    functions.variadic("print", any(), |c, a| Ok(Value::str(printf::sprint(a, c.budget)?)));
    functions
        .insert("println", Function::variadic(any(), |c, a| Ok(Value::str(printf::sprintln(a, c.budget)?))));
    let format = vec![Type::string(), Type::any()];
    functions.variadic("printf", format, |c, a| {
        let format = a[0].as_str().cloned().unwrap_or_default();
        Ok(Value::str(printf::sprintf(&format, &a[1..], c.budget)?))
    });
    functions.variadic("html", any(), |c, a| escaped(c, a, escape::html));
    functions.variadic("js", any(), |c, a| escaped(c, a, escape::js));
    functions.variadic("urlquery", any(), |c, a| escaped(c, a, escape::query));
    functions.insert("eq", special(refs(2), true, Act::Refs(|c, a| compare::eq(c, a).map(flag))));
    functions.insert("ne", special(refs(2), false, Act::Refs(|c, a| compare::eq(c, a).map(|b| flag(!b)))));
    functions.insert("lt", special(refs(2), false, Act::Refs(|_, a| compare::lt(a).map(flag))));
    functions.insert("le", special(refs(2), false, Act::Refs(|c, a| compare::le(c, a).map(flag))));
    functions.insert("gt", special(refs(2), false, Act::Refs(|c, a| compare::le(c, a).map(|b| flag(!b)))));
    functions.insert("ge", special(refs(2), false, Act::Refs(|_, a| compare::lt(a).map(|b| flag(!b)))));
}

fn plain(value: Value) -> Ref {
    Ref::plain(value)
}

fn flag(b: bool) -> Ref {
    plain(Value::bool(b))
}

/// Go's truth: not zero, not empty, not nil.
pub(crate) fn truth(value: &Ref) -> bool {
    let value = &value.value;
    match &value.data {
        Data::Invalid => false,
        Data::Bool(b) => *b,
        Data::Int(i) => *i != 0,
        Data::Uint(u) => *u != 0,
        Data::Float(f) => *f != 0.0,
        Data::Complex(re, im) => *re != 0.0 || *im != 0.0,
        Data::Pointer(_) | Data::Func(_) => !value.is_nil(),
        Data::Struct(_) | Data::Time(_) => true,
        Data::Str(_) | Data::Bytes(_) | Data::List(_) | Data::Map(_) => !value.is_empty(),
    }
}

fn len(_: &Context<'_>, args: &[Ref]) -> Result<Ref, Fail> {
    if !args[0].is_valid() {
        return Err(Fail::text("reflect: call of reflect.Value.Type on zero Value"));
    }
    let (item, is_nil) = args[0].indirect();
    if is_nil {
        return Err(Fail::text("len of nil pointer"));
    }
    match item.value.len() {
        Some(n) => Ok(plain(Value::int(n as i64))),
        None => Err(Fail::text(format!("len of type {}", item.type_name()))),
    }
}

/// An index into something of length `cap`.
fn index_arg(index: &Value, cap: usize) -> Result<usize, Fail> {
    let n = match index.data {
        Data::Int(i) => i,
        Data::Uint(u) => u as i64,
        Data::Invalid => return Err(Fail::text("cannot index slice/array with nil")),
        _ => return Err(Fail::text(format!("cannot index slice/array with type {}", index.ty()))),
    };
    usize::try_from(n)
        .ok()
        .filter(|i| *i <= cap)
        .ok_or_else(|| Fail::text(format!("index out of range: {n}")))
}

fn index(_: &Context<'_>, args: &[Ref]) -> Result<Ref, Fail> {
    let mut item = args[0].clone();
    if !item.value.is_valid() {
        return Err(Fail::text("index of untyped nil"));
    }
    for index in &args[1..] {
        let (at, is_nil) = item.indirect();
        if is_nil {
            return Err(Fail::text("index of nil pointer"));
        }
        let value = &at.value;
        item = match value.kind() {
            Kind::Array | Kind::Slice | Kind::String => {
                let i = index_arg(&index.value, value.len().unwrap_or(0))?;
                let found = value.item(i).ok_or_else(|| {
                    let what = if value.kind() == Kind::String { "string" } else { "slice" };
                    Fail::text(format!("reflect: {what} index out of range"))
                })?;
                let elem = value.ty().elem().cloned().unwrap_or_else(|| found.ty().clone());
                Ref::of(found, &elem)
            }
            Kind::Map => {
                let key_type = value.ty().key().cloned().unwrap_or_else(Type::any);
                let elem = value.ty().elem().cloned().unwrap_or_else(Type::any);
                let key = prepare(&index.value, &key_type)?;
                Ref::of(value.entry(&key).unwrap_or_else(|| Value::zero(&elem)), &elem)
            }
            _ => return Err(Fail::text(format!("can't index item of type {}", at.type_name()))),
        };
    }
    Ok(item)
}

/// A map key or the argument of a called function, in the type wanted there.
fn prepare(value: &Value, ty: &Type) -> Result<Value, Fail> {
    if !value.is_valid() {
        if !ty.kind().can_be_nil() {
            return Err(Fail::text(format!("value is nil; should be of type {ty}")));
        }
        return Ok(Value::zero(ty));
    }
    if ty.is_any() {
        return Ok(value.clone());
    }
    if value.ty().assignable_to(ty) {
        return Ok(value.retyped(ty));
    }
    let number = match value.data {
        Data::Int(i) => Some((i, i as u64)),
        Data::Uint(u) => Some((u as i64, u)),
        _ => None,
    };
    match number {
        Some((i, _)) if ty.kind().is_int() => Ok(Value::int_of(ty.clone(), i)),
        Some((_, u)) if ty.kind().is_uint() => Ok(Value::uint_of(ty.clone(), u)),
        _ => Err(Fail::text(format!("value has type {}; should be {ty}", value.ty()))),
    }
}

fn slice(_: &Context<'_>, args: &[Ref]) -> Result<Ref, Fail> {
    if !args[0].value.is_valid() {
        return Err(Fail::text("slice of untyped nil"));
    }
    let (item, is_nil) = args[0].indirect();
    if is_nil {
        return Err(Fail::text("slice of nil pointer"));
    }
    let indexes = &args[1..];
    if indexes.len() > 3 {
        return Err(Fail::text(format!("too many slice indexes: {}", indexes.len())));
    }
    let value = &item.value;
    let len = match value.kind() {
        Kind::String if indexes.len() == 3 => return Err(Fail::text("cannot 3-index slice a string")),
        Kind::String | Kind::Array | Kind::Slice => value.len().unwrap_or(0),
        _ => return Err(Fail::text(format!("can't slice item of type {}", item.type_name()))),
    };
    let mut bounds = [0, len, len];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        *bound = index_arg(&index.value, len)?;
    }
    let [start, end, cap] = bounds;
    if start > end {
        return Err(Fail::text(format!("invalid slice index: {start} > {end}")));
    }
    if indexes.len() == 3 && end > cap {
        return Err(Fail::text(format!("invalid slice index: {end} > {cap}")));
    }
    if value.kind() == Kind::Array {
        return Err(Fail::text("reflect.Value.Slice: slice of unaddressable array"));
    }
    Ok(plain(value.sub(start, end)))
}

/// `call f args…`
pub(crate) fn call(context: &Context<'_>, name: &str, args: &[Ref]) -> Result<Ref, Fail> {
    let callee = &args[0].value;
    let function = match &callee.data {
        Data::Invalid => return Err(Fail::text("call of nil")),
        Data::Func(Some(function)) => function,
        Data::Func(None) => return Err(Fail::text("reflect: call of nil function")),
        _ => return Err(Fail::text(format!("non-function {name} of type {}", callee.ty()))),
    };
    let given = &args[1..];
    let (want, got) = (function.fixed(), given.len());
    if function.variadic && got < want {
        return Err(Fail::text(format!("wrong number of args for {name}: got {got} want at least {want}")));
    }
    if !function.variadic && got != want {
        return Err(Fail::text(format!("wrong number of args for {name}: got {got} want {want}")));
    }
    let mut values = Vec::with_capacity(got);
    for (i, arg) in given.iter().enumerate() {
        let value = prepare(&arg.value, function.param(i));
        values.push(value.map_err(|e| Fail::text(format!("arg {i}: {e}")))?);
    }
    match &function.act {
        Act::Values(body) => body(context, &values).map(Ref::plain),
        _ => Err(Fail::text("a builtin cannot be called as a value")),
    }
}

fn escaped(context: &Context<'_>, args: &[Value], escape: fn(&[u8]) -> Vec<u8>) -> Result<Value, Fail> {
    let text = match args {
        [one] if *one.ty() == Type::string() => one.as_str().map(|s| s.to_vec()).unwrap_or_default(),
        _ => {
            let shown: Vec<Value> = args.iter().map(printable).collect();
            printf::sprint(&shown, context.budget)?
        }
    };
    context.budget.room_for(text.len() * 2)?;
    Ok(Value::str(escape(&text)))
}

/// What an action would print.
fn printable(value: &Value) -> Value {
    if methods::string_of(value).is_some() {
        return value.clone();
    }
    let shown = Ref::plain(value.clone()).indirect().0.value;
    if shown.is_valid() { shown } else { Value::str("<no value>") }
}
