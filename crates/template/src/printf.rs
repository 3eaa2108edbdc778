//! Go's `Sprint`, `Sprintln` and `Sprintf`.

use crate::error::Fail;
use crate::layout::Flags;
use crate::limits::Budget;
use crate::print::Printer;
use crate::text;
use crate::types::Kind;
use crate::value::Value;

/// Widths and precisions beyond this are not numbers to Go.
const NUMBER_MAX: i64 = 1_000_000;

/// `fmt.Sprint`: a space between operands when neither is a string.
pub(crate) fn sprint(args: &[Value], budget: &Budget) -> Result<Vec<u8>, Fail> {
    let mut p = Printer::new(budget);
    let mut after_string = false;
    for (i, arg) in args.iter().enumerate() {
        let is_string = arg.kind() == Kind::String;
        if i > 0 && !is_string && !after_string {
            p.write(" ");
        }
        p.arg(arg, 'v');
        after_string = is_string;
    }
    p.finish()
}

/// `fmt.Sprintln`
pub(crate) fn sprintln(args: &[Value], budget: &Budget) -> Result<Vec<u8>, Fail> {
    let mut p = Printer::new(budget);
    for (i, arg) in args.iter().enumerate() {
        if i > 0 {
            p.write(" ");
        }
        p.arg(arg, 'v');
    }
    p.write("\n");
    p.finish()
}

/// A value under one verb without flags: `%v`, `%s`.
pub(crate) fn with_verb(value: &Value, verb: char, budget: &Budget) -> Result<Vec<u8>, Fail> {
    let mut p = Printer::new(budget);
    p.arg(value, verb);
    p.finish()
}

/// `fmt.Sprintf`
pub(crate) fn sprintf(format: &[u8], args: &[Value], budget: &Budget) -> Result<Vec<u8>, Fail> {
    let mut run = Run { p: Printer::new(budget), format, at: 0, args, next: 0, reordered: false, good: true };
    while run.at < format.len() && run.p.fail.is_none() {
        let stop = memchr::memchr(b'%', &format[run.at..]).map_or(format.len(), |i| run.at + i);
        run.p.write(&format[run.at..stop]);
        run.at = stop + 1;
        if stop == format.len() || !run.directive() {
            break;
        }
    }
    run.extra();
    run.p.finish()
}

struct Run<'a> {
    p: Printer<'a>,
    format: &'a [u8],
    at: usize,
    args: &'a [Value],
    /// The next operand.
    next: usize,
    /// Some directive chose its operand by number.
    reordered: bool,
    /// The operand number of this directive makes sense.
    good: bool,
}

impl Run<'_> {
    fn peek(&self) -> Option<u8> {
        self.format.get(self.at).copied()
    }

    /// Reads one directive after its `%`. False: the format ended inside it.
    fn directive(&mut self) -> bool {
        self.good = true;
        self.p.flags = Flags::default();
        if self.flags() {
            return true;
        }
        let mut indexed = self.index();
        self.width(&mut indexed);
        if self.peek() == Some(b'.') && self.at + 1 < self.format.len() {
            self.precision(&mut indexed);
        }
        if !indexed {
            self.index();
        }
        if self.at >= self.format.len() {
            self.p.write("%!(NOVERB)");
            return false;
        }
        let (verb, width) = text::decode(&self.format[self.at..]);
        self.at += width;
        match self.args.get(self.next) {
            _ if verb == '%' => self.p.write("%"),
            _ if !self.good => self.complain(verb, "(BADINDEX)"),
            None => self.complain(verb, "(MISSING)"),
            Some(_) => self.operand(verb),
        }
        true
    }

    /// Reads the flags; true when a plain verb followed them and is done.
    fn flags(&mut self) -> bool {
        while let Some(c) = self.peek() {
            let flags = &mut self.p.flags;
            match c {
                b'#' => flags.sharp = true,
                b'0' => flags.zero = true,
                b'+' => flags.plus = true,
                b'-' => flags.minus = true,
                b' ' => flags.space = true,
                b'a'..=b'z' if self.next < self.args.len() => {
                    self.at += 1;
                    self.operand(char::from(c));
                    return true;
                }
                _ => break,
            }
            self.at += 1;
        }
        false
    }

    fn operand(&mut self, verb: char) {
        let flags = &mut self.p.flags;
        if matches!(verb, 'v' | 'w') {
            flags.sharp_v = std::mem::take(&mut flags.sharp);
            flags.plus_v = std::mem::take(&mut flags.plus);
        }
        let arg = &self.args[self.next];
        self.next += 1;
        self.p.arg(arg, verb);
    }

    fn complain(&mut self, verb: char, what: &str) {
        self.p.write("%!");
        self.p.write(verb.encode_utf8(&mut [0; 4]).as_bytes());
        self.p.write(what);
    }

    fn width(&mut self, indexed: &mut bool) {
        if self.peek() == Some(b'*') {
            self.at += 1;
            match self.star() {
                Some(width) => {
                    self.p.flags.width = Some(width.unsigned_abs() as usize);
                    if width < 0 {
                        self.p.flags.minus = true;
                        self.p.flags.zero = false;
                    }
                }
                None => self.p.write("%!(BADWIDTH)"),
            }
            *indexed = false;
        } else {
            self.p.flags.width = self.number();
            self.good &= !(*indexed && self.p.flags.width.is_some());
        }
    }

    fn precision(&mut self, indexed: &mut bool) {
        self.at += 1;
        self.good &= !*indexed;
        *indexed = self.index();
        if self.peek() == Some(b'*') {
            self.at += 1;
            self.p.flags.precision = self.star().and_then(|p| usize::try_from(p).ok());
            if self.p.flags.precision.is_none() {
                self.p.write("%!(BADPREC)");
            }
            *indexed = false;
        } else {
            self.p.flags.precision = Some(self.number().unwrap_or(0));
        }
    }

    /// A decimal number; one that is too long takes the rest of the format with it, as in Go.
    fn number(&mut self) -> Option<usize> {
        let mut value: Option<i64> = None;
        while let Some(c @ b'0'..=b'9') = self.peek() {
            if value.unwrap_or(0) > NUMBER_MAX {
                self.at = self.format.len();
                return None;
            }
            value = Some(value.unwrap_or(0) * 10 + i64::from(c - b'0'));
            self.at += 1;
        }
        value.map(|v| v as usize)
    }

    /// An operand used as width or precision.
    fn star(&mut self) -> Option<i64> {
        let arg = self.args.get(self.next)?;
        self.next += 1;
        let n = arg.as_int().or_else(|| arg.as_uint().and_then(|u| i64::try_from(u).ok()))?;
        (-NUMBER_MAX..=NUMBER_MAX).contains(&n).then_some(n)
    }

    /// An operand number such as `[2]`; true when there was a readable one.
    fn index(&mut self) -> bool {
        if self.peek() != Some(b'[') {
            return false;
        }
        self.reordered = true;
        let rest = &self.format[self.at..];
        let close =
            if rest.len() < 3 { None } else { rest[1..].iter().position(|b| *b == b']').map(|i| i + 1) };
        let Some(close) = close else {
            self.good = false;
            self.at += 1;
            return false;
        };
        let digits = &rest[1..close];
        let number = std::str::from_utf8(digits)
            .ok()
            .filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|d| d.parse::<i64>().ok())
            .filter(|n| *n <= NUMBER_MAX * 10 + 9);
        self.at += close + 1;
        let Some(number) = number else {
            self.good = false;
            return false;
        };
        match usize::try_from(number - 1).ok().filter(|i| *i < self.args.len()) {
            Some(i) => self.next = i,
            None => self.good = false,
        }
        true
    }

    /// Operands that no directive used.
    fn extra(&mut self) {
        if self.reordered || self.next >= self.args.len() {
            return;
        }
        self.p.flags = Flags::default();
        self.p.write("%!(EXTRA ");
        for (i, arg) in self.args[self.next..].iter().enumerate() {
            if i > 0 {
                self.p.write(", ");
            }
            if arg.is_valid() {
                self.p.write(arg.ty().name());
                self.p.write("=");
                self.p.arg(arg, 'v');
            } else {
                self.p.write("<nil>");
            }
        }
        self.p.write(")");
    }
}
