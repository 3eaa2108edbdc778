//! Go's `fmt` for values: `%v` and its relatives, verb by verb. Formats are read in `printf.rs`.

use crate::error::Fail;
use crate::layout::{Flags, Integer};
use crate::limits::Budget;
use crate::methods;
use crate::text;
use crate::time::Time;
use crate::types::{Kind, Type};
use crate::value::{Data, Value};

/// The address Go would print; no template can depend on its value.
const ADDRESS: u64 = 0xc000_0100_0000 >> 8;

/// Prints values into a bounded buffer.
pub(crate) struct Printer<'a> {
    pub(crate) out: Vec<u8>,
    pub(crate) flags: Flags,
    pub(crate) budget: &'a Budget,
    pub(crate) fail: Option<Fail>,
    /// Inside `%!v(…)`: no methods are called there.
    erroring: bool,
}

impl<'a> Printer<'a> {
    pub(crate) fn new(budget: &'a Budget) -> Printer<'a> {
        Printer { out: Vec::new(), flags: Flags::default(), budget, fail: None, erroring: false }
    }

    /// The text, unless a limit was reached on the way.
    pub(crate) fn finish(self) -> Result<Vec<u8>, Fail> {
        match self.fail {
            Some(fail) => Err(fail),
            None => Ok(self.out),
        }
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        if self.allow(bytes.len()) {
            self.out.extend_from_slice(bytes);
        }
    }

    /// Whether `more` bytes fit; notes the failure when not.
    fn allow(&mut self, more: usize) -> bool {
        if self.fail.is_none() {
            self.fail = self.budget.room_for(self.out.len() + more).err();
        }
        self.fail.is_none()
    }

    /// Writes padded to the width in force.
    pub(crate) fn pad(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let width = self.flags.width.unwrap_or(0);
        let missing = width.saturating_sub(text::rune_count(bytes));
        if !self.allow(bytes.len() + missing) {
            return;
        }
        if self.flags.minus {
            self.out.extend_from_slice(bytes);
            self.padding(missing);
        } else {
            self.padding(missing);
            self.out.extend_from_slice(bytes);
        }
    }

    fn padding(&mut self, n: usize) {
        let fill = if self.flags.zero && !self.flags.minus { b'0' } else { b' ' };
        self.out.resize(self.out.len() + n, fill);
    }

    /// One argument of a print function under a verb.
    pub(crate) fn arg(&mut self, arg: &Value, verb: char) {
        if !arg.is_valid() {
            match verb {
                'T' | 'v' => self.pad("<nil>"),
                _ => self.bad_verb(verb, arg),
            }
            return;
        }
        match verb {
            'T' => {
                let name = self.flags.truncate(arg.ty().name().as_bytes()).to_vec();
                self.pad(name);
            }
            'p' => self.pointer(arg, 'p'),
            _ if *arg.ty() == Type::bytes() => {
                let bytes = arg.as_bytes().unwrap_or_default();
                self.bytes(arg, bytes, verb, "[]byte");
            }
            _ if is_predeclared(arg) => self.value(arg, verb, 0),
            _ => {
                if !self.methods(arg, verb) {
                    self.value(arg, verb, 0);
                }
            }
        }
    }

    /// Prints through `String`, `Error` or `GoString` if the type has them and the verb wants them.
    fn methods(&mut self, value: &Value, verb: char) -> bool {
        if self.erroring {
            return false;
        }
        if verb == 'w' {
            self.bad_verb(verb, value);
            return true;
        }
        if self.flags.sharp_v {
            let Some(text) = methods::go_string(value) else { return false };
            let text = self.flags.truncate(text.as_bytes()).to_vec();
            self.pad(text);
            return true;
        }
        if !matches!(verb, 'v' | 's' | 'x' | 'X' | 'q') {
            return false;
        }
        match methods::string_of(value) {
            Some(Some(text)) => self.string(&text, verb, value),
            Some(None) => self.write("<nil>"),
            None => return false,
        }
        true
    }

    pub(crate) fn bad_verb(&mut self, verb: char, value: &Value) {
        self.erroring = true;
        self.write("%!");
        self.write(verb.encode_utf8(&mut [0; 4]).as_bytes());
        self.write("(");
        if value.is_valid() {
            self.write(value.ty().name());
            self.write("=");
            self.arg(value, 'v');
        } else {
            self.write("<nil>");
        }
        self.write(")");
        self.erroring = false;
    }

    /// A value at some depth of another; depth 0 is the argument itself.
    pub(crate) fn value(&mut self, value: &Value, verb: char, depth: usize) {
        if self.fail.is_none() {
            self.fail = self.budget.step(1).and(self.budget.depth(depth)).err();
        }
        if self.fail.is_some() || depth > 0 && value.is_valid() && self.methods(value, verb) {
            return;
        }
        match &value.data {
            Data::Invalid if self.flags.sharp_v => self.write("interface {}(nil)"),
            Data::Invalid => self.write("<nil>"),
            Data::Bool(b) => match verb {
                't' | 'v' => self.pad(if *b { "true" } else { "false" }),
                _ => self.bad_verb(verb, value),
            },
            Data::Int(i) => self.integer(Integer::signed(*i), verb, value),
            Data::Uint(u) => self.integer(Integer::unsigned(*u), verb, value),
            Data::Float(f) => {
                let bits = if value.kind() == Kind::Float32 { 32 } else { 64 };
                self.float(*f, bits, verb, value);
            }
            Data::Complex(re, im) => self.complex(*re, *im, verb, value),
            Data::Str(s) => self.string(s, verb, value),
            Data::Map(_) => self.map(value, verb, depth),
            Data::Struct(fields) => self.structure(value, fields, verb, depth),
            Data::Time(t) => {
                let fields = t.internal_fields();
                self.structure(value, &fields, verb, depth);
            }
            Data::Bytes(_) | Data::List(_) => self.list(value, verb, depth),
            Data::Pointer(Some(to)) if depth == 0 && is_composite(to.kind()) => {
                self.write("&");
                self.value(to, verb, 1);
            }
            Data::Pointer(_) | Data::Func(_) => self.pointer(value, verb),
        }
    }

    fn integer(&mut self, n: Integer, verb: char, value: &Value) {
        let (radix, upper) = match verb {
            'v' if self.flags.sharp_v && !n.signed => return self.hex_0x(n.magnitude, true),
            'v' | 'd' => (10, false),
            'b' => (2, false),
            'o' | 'O' => (8, false),
            'x' => (16, false),
            'X' => (16, true),
            'c' => {
                let mut out = Vec::new();
                text::push_code(&mut out, n.bits());
                return self.pad(out);
            }
            'q' => {
                let c = u32::try_from(n.bits()).ok().and_then(char::from_u32).unwrap_or(text::RUNE_ERROR);
                return self.pad(crate::quote::quote_rune(c, self.flags.plus));
            }
            'U' => {
                if !self.allow(self.flags.precision.unwrap_or(0)) {
                    return;
                }
                let text = self.flags.unicode(n.bits());
                return self.pad_without_zero(text);
            }
            _ => return self.bad_verb(verb, value),
        };
        self.number(n, radix, upper, verb == 'O');
    }

    fn number(&mut self, n: Integer, radix: u32, upper: bool, octal_prefix: bool) {
        if !self.allow(self.flags.width.unwrap_or(0).max(self.flags.precision.unwrap_or(0))) {
            return;
        }
        let text = self.flags.integer(n, radix, upper, octal_prefix);
        self.pad_without_zero(text);
    }

    fn pad_without_zero(&mut self, bytes: impl AsRef<[u8]>) {
        let zero = std::mem::take(&mut self.flags.zero);
        self.pad(bytes);
        self.flags.zero = zero;
    }

    fn hex_0x(&mut self, n: u64, prefix: bool) {
        let sharp = std::mem::replace(&mut self.flags.sharp, prefix);
        self.number(Integer::unsigned(n), 16, false, false);
        self.flags.sharp = sharp;
    }

    fn float(&mut self, f: f64, bits: u32, verb: char, value: &Value) {
        let (format, precision) = match verb {
            'v' => (b'g', -1),
            'b' | 'g' | 'G' | 'x' | 'X' => (verb as u8, -1),
            'f' | 'e' | 'E' => (verb as u8, 6),
            'F' => (b'f', 6),
            _ => return self.bad_verb(verb, value),
        };
        if !self.allow(self.flags.precision.unwrap_or(0)) {
            return;
        }
        let number = self.flags.float(f, format, precision, bits);
        let width = self.flags.width.unwrap_or(0);
        let finite = f.is_finite();
        let signed = number.starts_with(['+', '-', ' ']);
        if !finite {
            return self.pad_without_zero(number);
        }
        if signed && self.flags.zero && !self.flags.minus && width > number.len() {
            // The sign stands before the zeros.
            self.write(&number[..1]);
            if self.allow(width) {
                self.padding(width - number.len());
            }
            self.write(&number[1..]);
        } else {
            self.pad(number);
        }
    }

    fn complex(&mut self, re: f64, im: f64, verb: char, value: &Value) {
        if !matches!(verb, 'v' | 'b' | 'g' | 'G' | 'x' | 'X' | 'f' | 'F' | 'e' | 'E') {
            return self.bad_verb(verb, value);
        }
        self.write("(");
        self.float(re, 64, verb, value);
        let plus = std::mem::replace(&mut self.flags.plus, true);
        self.float(im, 64, verb, value);
        self.flags.plus = plus;
        self.write("i)");
    }

    fn string(&mut self, s: &[u8], verb: char, value: &Value) {
        match verb {
            'v' if self.flags.sharp_v => self.quoted(s),
            'v' | 's' => {
                let cut = self.flags.truncate(s);
                self.pad(cut);
            }
            'x' | 'X' => self.hex_bytes(s, verb == 'X'),
            'q' => self.quoted(s),
            _ => self.bad_verb(verb, value),
        }
    }

    fn quoted(&mut self, s: &[u8]) {
        let cut = self.flags.truncate(s);
        if self.flags.sharp && crate::quote::can_backquote(cut) {
            let text = [b"`", cut, b"`"].concat();
            return self.pad(text);
        }
        if self.allow(cut.len()) {
            self.pad(crate::quote::quote_with(cut, '"', self.flags.plus));
        }
    }

    fn hex_bytes(&mut self, s: &[u8], upper: bool) {
        let cut = &s[..self.flags.precision.unwrap_or(s.len()).min(s.len())];
        if self.allow(cut.len() * 5) {
            let text = self.flags.hex_bytes(cut, upper);
            if cut.is_empty() {
                let width = self.flags.width.unwrap_or(0);
                if self.allow(width) {
                    self.padding(width);
                }
            } else {
                self.pad(text);
            }
        }
    }

    fn bytes(&mut self, value: &Value, bytes: &[u8], verb: char, type_name: &str) {
        match verb {
            'v' | 'd' if self.flags.sharp_v => {
                self.write(type_name);
                if value.is_nil() {
                    return self.write("(nil)");
                }
                self.write("{");
                for (i, b) in bytes.iter().enumerate() {
                    self.write(if i > 0 { ", " } else { "" });
                    self.hex_0x(u64::from(*b), true);
                }
                self.write("}");
            }
            'v' | 'd' => {
                self.write("[");
                for (i, b) in bytes.iter().enumerate() {
                    self.write(if i > 0 { " " } else { "" });
                    self.number(Integer::unsigned(u64::from(*b)), 10, false, false);
                }
                self.write("]");
            }
            's' => {
                let cut = self.flags.truncate(bytes);
                self.pad(cut);
            }
            'x' | 'X' => self.hex_bytes(bytes, verb == 'X'),
            'q' => self.quoted(bytes),
            _ => self.list(value, verb, 0),
        }
    }

    fn list(&mut self, value: &Value, verb: char, depth: usize) {
        let of_bytes = value.ty().elem().is_some_and(|e| e.kind() == Kind::Uint8);
        if of_bytes && matches!(verb, 's' | 'q' | 'x' | 'X') {
            let bytes: Vec<u8> = match value.as_bytes() {
                Some(bytes) => bytes.to_vec(),
                None => {
                    let items = value.items().unwrap_or_default();
                    items.iter().map(|v| v.as_uint().unwrap_or_default() as u8).collect()
                }
            };
            return self.bytes(value, &bytes, verb, value.ty().name());
        }
        let sharp = self.flags.sharp_v;
        if sharp {
            self.write(value.ty().name());
            if value.kind() == Kind::Slice && value.is_nil() {
                return self.write("(nil)");
            }
        }
        self.write(if sharp { "{" } else { "[" });
        for i in 0..value.len().unwrap_or(0) {
            if self.fail.is_some() {
                return;
            }
            if i > 0 {
                self.write(if sharp { ", " } else { " " });
            }
            self.value(&value.item(i).unwrap_or_else(Value::nil), verb, depth + 1);
        }
        self.write(if sharp { "}" } else { "]" });
    }

    fn map(&mut self, value: &Value, verb: char, depth: usize) {
        let sharp = self.flags.sharp_v;
        if sharp {
            self.write(value.ty().name());
            if value.is_nil() {
                return self.write("(nil)");
            }
        }
        self.write(if sharp { "{" } else { "map[" });
        for (i, (key, item)) in value.entries().iter().enumerate() {
            if self.fail.is_some() {
                return;
            }
            if i > 0 {
                self.write(if sharp { ", " } else { " " });
            }
            self.value(key, verb, depth + 1);
            self.write(":");
            self.value(item, verb, depth + 1);
        }
        self.write(if sharp { "}" } else { "]" });
    }

    fn structure(&mut self, value: &Value, fields: &[Value], verb: char, depth: usize) {
        let sharp = self.flags.sharp_v;
        if sharp {
            self.write(value.ty().name());
        }
        self.write("{");
        for (i, field) in fields.iter().enumerate() {
            if self.fail.is_some() {
                return;
            }
            if i > 0 {
                self.write(if sharp { ", " } else { " " });
            }
            if sharp || self.flags.plus_v {
                let declared = value.ty().fields().get(i).map(|f| f.name.as_str());
                let name = declared.or_else(|| Time::INTERNAL_FIELDS.get(i).copied());
                self.write(name.unwrap_or_default());
                self.write(":");
            }
            self.value(field, verb, depth + 1);
        }
        self.write("}");
    }

    fn pointer(&mut self, value: &Value, verb: char) {
        if !matches!(value.kind(), Kind::Func | Kind::Map | Kind::Pointer | Kind::Slice) {
            return self.bad_verb(verb, value);
        }
        let address = if value.is_nil() { 0 } else { ADDRESS };
        match verb {
            'v' if self.flags.sharp_v => {
                self.write("(");
                self.write(value.ty().name());
                self.write(")(");
                if address == 0 {
                    self.write("nil")
                } else {
                    self.hex_0x(address, true)
                }
                self.write(")");
            }
            'v' if address == 0 => self.pad("<nil>"),
            'v' | 'p' => self.hex_0x(address, !self.flags.sharp),
            'b' | 'o' | 'd' | 'x' | 'X' => self.integer(Integer::unsigned(address), verb, value),
            _ => self.bad_verb(verb, value),
        }
    }
}

/// Types that Go's printer knows by name, so that it looks for no methods on them.
fn is_predeclared(value: &Value) -> bool {
    !matches!(
        value.kind(),
        Kind::Array | Kind::Func | Kind::Interface | Kind::Map | Kind::Pointer | Kind::Slice | Kind::Struct
    ) && *value.ty() == Type::basic(value.kind())
}

fn is_composite(kind: Kind) -> bool {
    matches!(kind, Kind::Array | Kind::Slice | Kind::Struct | Kind::Map)
}
