//! Flags, width and precision of Go's formatted printing, and numbers laid out under them.

use crate::number::format_float;
use crate::text;

/// What stands between `%` and the verb.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    pub(crate) width: Option<usize>,
    pub(crate) precision: Option<usize>,
    pub(crate) minus: bool,
    pub(crate) plus: bool,
    pub(crate) sharp: bool,
    pub(crate) space: bool,
    pub(crate) zero: bool,
    /// `%+v`
    pub(crate) plus_v: bool,
    /// `%#v`
    pub(crate) sharp_v: bool,
}

/// A 64-bit integer with its sign apart.
#[derive(Clone, Copy)]
pub(crate) struct Integer {
    pub(crate) magnitude: u64,
    pub(crate) negative: bool,
    pub(crate) signed: bool,
}

impl Integer {
    pub(crate) fn signed(i: i64) -> Integer {
        Integer { magnitude: i.unsigned_abs(), negative: i < 0, signed: true }
    }

    pub(crate) fn unsigned(u: u64) -> Integer {
        Integer { magnitude: u, negative: false, signed: false }
    }

    /// Two's complement, as Go passes integers to `%c` and `%q`.
    pub(crate) fn bits(self) -> u64 {
        if self.negative { self.magnitude.wrapping_neg() } else { self.magnitude }
    }
}

impl Flags {
    /// Cuts a string to the precision, counted in runes.
    pub(crate) fn truncate<'s>(&self, s: &'s [u8]) -> &'s [u8] {
        match self.precision.and_then(|n| text::runes(s).nth(n)) {
            Some((at, _, _)) => &s[..at],
            None => s,
        }
    }

    /// Digits, prefix and sign, without the padding to the width.
    pub(crate) fn integer(&self, n: Integer, radix: u32, upper: bool, octal_prefix: bool) -> String {
        let mut least = self.precision.unwrap_or(0);
        if self.precision == Some(0) && n.magnitude == 0 {
            return String::new();
        }
        if self.precision.is_none() && self.zero && !self.minus {
            let signed = n.negative || self.plus || self.space;
            least = self.width.unwrap_or(0).saturating_sub(usize::from(signed));
        }
        let mut digits = match radix {
            2 => format!("{:b}", n.magnitude),
            8 => format!("{:o}", n.magnitude),
            16 if upper => format!("{:X}", n.magnitude),
            16 => format!("{:x}", n.magnitude),
            _ => n.magnitude.to_string(),
        };
        if digits.len() < least {
            digits.insert_str(0, &"0".repeat(least - digits.len()));
        }
        if self.sharp {
            match radix {
                2 => digits.insert_str(0, "0b"),
                8 if !digits.starts_with('0') => digits.insert(0, '0'),
                16 => digits.insert_str(0, if upper { "0X" } else { "0x" }),
                _ => {}
            }
        }
        if octal_prefix {
            digits.insert_str(0, "0o");
        }
        if n.negative {
            digits.insert(0, '-');
        } else if self.plus {
            digits.insert(0, '+');
        } else if self.space {
            digits.insert(0, ' ');
        }
        digits
    }

    /// `%U`
    pub(crate) fn unicode(&self, code: u64) -> String {
        let least = self.precision.unwrap_or(4).max(4);
        let digits = format!("{code:X}");
        let mut out = format!("U+{}{digits}", "0".repeat(least.saturating_sub(digits.len())));
        if self.sharp
            && let Some(c) = u32::try_from(code).ok().and_then(char::from_u32)
            && text::is_print(c)
        {
            out.push_str(&format!(" '{c}'"));
        }
        out
    }

    /// Sign and digits of a float, without the padding to the width. A plus that was not asked for
    /// is left out.
    pub(crate) fn float(&self, f: f64, verb: u8, default_precision: i32, bits: u32) -> String {
        let precision = self.precision.map_or(default_precision, |p| p as i32);
        let mut number = format_float(f, verb, precision, bits);
        if !number.starts_with(['+', '-']) {
            number.insert(0, '+');
        }
        let mut number = if self.space && number.starts_with('+') && !self.plus {
            format!(" {}", &number[1..])
        } else {
            number
        };
        if f.is_nan() {
            let keep = self.space || self.plus;
            return if keep { number } else { number[1..].to_owned() };
        }
        if f.is_infinite() {
            return number;
        }
        if self.sharp && verb != b'b' {
            number = keep_zeros(&number, verb, precision);
        }
        if self.plus || !number.starts_with('+') { number } else { number[1..].to_owned() }
    }

    /// `%x` of bytes, with `%# x` in all its variants.
    pub(crate) fn hex_bytes(&self, bytes: &[u8], upper: bool) -> String {
        let mut out = String::with_capacity(bytes.len() * 2);
        let prefix = if upper { "0X" } else { "0x" };
        for (i, b) in bytes.iter().enumerate() {
            if self.space && i > 0 {
                out.push(' ');
            }
            if self.sharp && (i == 0 || self.space) {
                out.push_str(prefix);
            }
            out.push_str(&if upper { format!("{b:02X}") } else { format!("{b:02x}") });
        }
        out
    }
}

/// `%#g` and friends: a decimal point always, trailing zeros kept.
fn keep_zeros(number: &str, verb: u8, precision: i32) -> String {
    let mut digits = match verb {
        b'g' | b'G' | b'x' if precision == -1 => 6,
        b'g' | b'G' | b'x' => precision,
        _ => 0,
    };
    let hex = matches!(verb, b'x' | b'X');
    let split = number[1..]
        .find(|c| matches!(c, 'p' | 'P') || !hex && matches!(c, 'e' | 'E'))
        .map_or(number.len(), |i| i + 1);
    let (head, tail) = number.split_at(split);
    let mut out = head.to_owned();
    let mut significant = false;
    for c in head[1..].chars().filter(|c| *c != '.') {
        significant |= c != '0';
        digits -= i32::from(significant);
    }
    if !head.contains('.') {
        if head.len() == 2 && head.ends_with('0') {
            digits -= 1;
        }
        out.push('.');
    }
    out.extend(std::iter::repeat_n('0', digits.max(0) as usize));
    out + tail
}
