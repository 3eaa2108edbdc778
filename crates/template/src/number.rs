//! Go's numbers in text: `strconv.ParseInt`, `ParseFloat` and `FormatFloat`.

/// Why a number could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadNumber {
    /// Not a number at all.
    Syntax,
    /// A number, but too large for its type.
    Range,
}

impl BadNumber {
    /// Go's words for it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            BadNumber::Syntax => "invalid syntax",
            BadNumber::Range => "value out of range",
        }
    }
}

/// Go's rule: an underscore stands between digits, or between the base prefix and a digit.
fn underscores_ok(s: &str) -> bool {
    let s = s.strip_prefix(['+', '-']).unwrap_or(s).as_bytes();
    let mut saw = b'^';
    let mut i = 0;
    let mut hex = false;
    if s.len() >= 2 && s[0] == b'0' && matches!(s[1] | 0x20, b'b' | b'o' | b'x') {
        i = 2;
        saw = b'0';
        hex = s[1] | 0x20 == b'x';
    }
    for &b in &s[i..] {
        if b.is_ascii_digit() || hex && b.is_ascii_hexdigit() {
            saw = b'0';
        } else if b == b'_' {
            if saw != b'0' {
                return false;
            }
            saw = b'_';
        } else {
            if saw == b'_' {
                return false;
            }
            saw = b'!';
        }
    }
    saw != b'_'
}

/// `strconv.ParseUint(s, base, 64)`; base 0 reads the prefix and allows underscores.
pub(crate) fn parse_uint(s: &str, base: u32) -> Result<u64, BadNumber> {
    let mut digits = s;
    let mut radix = base;
    if base == 0 {
        let lower = s.get(..2).map(str::to_ascii_lowercase);
        (radix, digits) = match lower.as_deref() {
            Some("0b") => (2, &s[2..]),
            Some("0o") => (8, &s[2..]),
            Some("0x") => (16, &s[2..]),
            _ if s.len() > 1 && s.starts_with('0') => (8, &s[1..]),
            _ => (10, s),
        };
    }
    if digits.is_empty() {
        return Err(BadNumber::Syntax);
    }
    let mut value: u64 = 0;
    let mut over = false;
    let mut underscores = false;
    for c in digits.chars() {
        if c == '_' && base == 0 {
            underscores = true;
            continue;
        }
        let digit = c.to_digit(radix).ok_or(BadNumber::Syntax)?;
        match value.checked_mul(u64::from(radix)).and_then(|v| v.checked_add(u64::from(digit))) {
            Some(v) if !over => value = v,
            _ => over = true,
        }
    }
    if underscores && !underscores_ok(s) {
        return Err(BadNumber::Syntax);
    }
    if over { Err(BadNumber::Range) } else { Ok(value) }
}

/// `strconv.ParseInt(s, base, 64)`
pub(crate) fn parse_int(s: &str, base: u32) -> Result<i64, BadNumber> {
    let (negative, digits) = match s.as_bytes().first() {
        Some(b'-') => (true, &s[1..]),
        Some(b'+') => (false, &s[1..]),
        Some(_) => (false, s),
        None => return Err(BadNumber::Syntax),
    };
    let magnitude = parse_uint(digits, base)?;
    if negative {
        0i64.checked_sub_unsigned(magnitude).ok_or(BadNumber::Range)
    } else {
        i64::try_from(magnitude).map_err(|_| BadNumber::Range)
    }
}

/// `strconv.ParseFloat(s, 64)`
pub(crate) fn parse_float(s: &str) -> Result<f64, BadNumber> {
    let bare = s.strip_prefix(['+', '-']).unwrap_or(s);
    let sign = if s.starts_with('-') { -1.0 } else { 1.0 };
    match bare.to_ascii_lowercase().as_str() {
        "inf" | "infinity" => return Ok(sign * f64::INFINITY),
        "nan" => return if bare.len() == s.len() { Ok(f64::NAN) } else { Err(BadNumber::Syntax) },
        _ => {}
    }
    let hex = bare.starts_with("0x") || bare.starts_with("0X");
    if s.contains('_') && !underscores_ok(s) {
        return Err(BadNumber::Syntax);
    }
    let clean = bare.replace('_', "");
    let value = if hex {
        parse_hex_float(&clean[2..])?
    } else {
        if !clean.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-')) {
            return Err(BadNumber::Syntax);
        }
        clean.parse::<f64>().map_err(|_| BadNumber::Syntax)?
    };
    if value.is_infinite() { Err(BadNumber::Range) } else { Ok(sign * value) }
}

/// The part after `0x`: a mantissa and the exponent that Go demands.
fn parse_hex_float(s: &str) -> Result<f64, BadNumber> {
    let (mantissa, exponent) = s.split_once(['p', 'P']).ok_or(BadNumber::Syntax)?;
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(BadNumber::Syntax);
    }
    let mut exponent: i64 =
        exponent.parse().unwrap_or(if exponent.starts_with('-') { -99_999 } else { 99_999 });
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return Err(BadNumber::Syntax);
    }
    let mut value: u128 = 0;
    let mut sticky = false;
    for (i, c) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = c.to_digit(16).ok_or(BadNumber::Syntax)?;
        let in_fraction = i >= whole.len();
        if value >> 120 == 0 {
            value = value << 4 | u128::from(digit);
            exponent -= if in_fraction { 4 } else { 0 };
        } else {
            sticky |= digit != 0;
            exponent += if in_fraction { 0 } else { 4 };
        }
    }
    // The lowest bit only breaks ties: 120 bits are far more than a float keeps.
    let value = (value | u128::from(sticky)) as f64;
    Ok(scale(value, exponent))
}

fn scale(mut value: f64, mut exponent: i64) -> f64 {
    while exponent > 0 && value.is_finite() && value != 0.0 {
        let step = exponent.min(1000);
        value *= 2f64.powi(step as i32);
        exponent -= step;
    }
    while exponent < 0 && value != 0.0 {
        let step = (-exponent).min(1000);
        value /= 2f64.powi(step as i32);
        exponent += step;
    }
    value
}

/// Beyond this many decimal digits every float has only zeros.
const EXACT_DIGITS_MAX: usize = 1100;

/// Decimal digits of a finite float and where the point stands: `0.d1d2d3… × 10^point`.
struct Decimal {
    digits: String,
    point: i32,
}

/// The shortest digits that read back as the same float, or as many as asked for.
fn decimal(value: f64, bits: u32, digits: Option<usize>) -> Decimal {
    let text = match digits {
        Some(n) => format!("{:.*e}", n.saturating_sub(1).min(EXACT_DIGITS_MAX), value),
        None if bits == 32 => format!("{:e}", value as f32),
        None => format!("{value:e}"),
    };
    let (mantissa, exponent) = text.split_once('e').expect("exponent form has an e");
    let exponent: i32 = exponent.parse().expect("a float's exponent is a small number");
    if value == 0.0 {
        return Decimal { digits: "0".to_owned(), point: 1 };
    }
    Decimal { digits: mantissa.replace('.', ""), point: exponent + 1 }
}

/// `strconv.FormatFloat(value, verb, precision, bits)`; precision -1 is "shortest".
/// Verbs: `e E f g G b x X`.
pub(crate) fn format_float(value: f64, verb: u8, precision: i32, bits: u32) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let value = value.abs();
    let body = match verb {
        b'b' => format_binary(value, bits),
        b'x' | b'X' => format_hex(value, verb, precision, bits),
        b'e' | b'E' => format_exponent(value, verb, precision, bits),
        b'f' => match usize::try_from(precision) {
            Ok(n) => fixed(value, n),
            Err(_) => format_plain(&decimal(value, bits, None)),
        },
        _ => format_general(value, verb, precision, bits),
    };
    format!("{sign}{body}")
}

/// `%.nf`
fn fixed(value: f64, fraction: usize) -> String {
    let exact = fraction.min(EXACT_DIGITS_MAX);
    let mut out = format!("{value:.exact$}");
    out.extend(std::iter::repeat_n('0', fraction - exact));
    out
}

fn format_plain(d: &Decimal) -> String {
    let mut out = String::new();
    let digits = d.digits.as_bytes();
    if d.point <= 0 {
        out.push('0');
    }
    for i in 0..d.point.max(0) as usize {
        out.push(digits.get(i).map_or('0', |b| char::from(*b)));
    }
    let rest = &d.digits[(d.point.max(0) as usize).min(d.digits.len())..];
    if !rest.is_empty() {
        out.push('.');
        out.extend(std::iter::repeat_n('0', (-d.point).max(0) as usize));
        out.push_str(rest);
    }
    out
}

fn format_exponent(value: f64, verb: u8, precision: i32, bits: u32) -> String {
    let d = decimal(value, bits, usize::try_from(precision).ok().map(|p| p + 1));
    let fraction = usize::try_from(precision).unwrap_or(d.digits.len() - 1);
    let exponent = if value == 0.0 { 0 } else { d.point - 1 };
    let mut out = d.digits[..1].to_owned();
    if fraction > 0 {
        out.push('.');
        let tail = &d.digits[1..];
        out.push_str(tail);
        out.extend(std::iter::repeat_n('0', fraction - tail.len().min(fraction)));
    }
    out.push(char::from(verb));
    out.push(if exponent < 0 { '-' } else { '+' });
    out.push_str(&format!("{:02}", exponent.abs()));
    out
}

fn format_general(value: f64, verb: u8, precision: i32, bits: u32) -> String {
    let shortest = precision < 0;
    let wanted = if precision == 0 { 1 } else { precision };
    let mut d = decimal(value, bits, usize::try_from(wanted).ok());
    let kept = d.digits.trim_end_matches('0').len().max(1);
    d.digits.truncate(kept);
    let mut limit = wanted;
    if limit > d.digits.len() as i32 && d.digits.len() as i32 >= d.point {
        limit = d.digits.len() as i32;
    }
    if shortest {
        limit = 6;
    }
    let exponent = d.point - 1;
    if exponent < -4 || exponent >= limit {
        let fraction = (d.digits.len() - 1) as i32;
        return format_exponent(value, verb + b'e' - b'g', if shortest { -1 } else { fraction }, bits);
    }
    format_plain(&d)
}

/// Mantissa and exponent with `value = mantissa × 2^exponent`.
fn parts(value: f64, bits: u32) -> (u64, i32) {
    if bits == 32 {
        let raw = (value as f32).to_bits();
        let exponent = (raw >> 23 & 0xFF) as i32;
        let mantissa = u64::from(raw & 0x7F_FFFF);
        return if exponent == 0 { (mantissa, -149) } else { (mantissa | 1 << 23, exponent - 150) };
    }
    let raw = value.to_bits();
    let exponent = (raw >> 52 & 0x7FF) as i32;
    let mantissa = raw & ((1 << 52) - 1);
    if exponent == 0 { (mantissa, -1074) } else { (mantissa | 1 << 52, exponent - 1075) }
}

fn format_binary(value: f64, bits: u32) -> String {
    let (mantissa, exponent) = parts(value, bits);
    format!("{mantissa}p{}{}", if exponent < 0 { "-" } else { "+" }, exponent.abs())
}

fn format_hex(value: f64, verb: u8, precision: i32, bits: u32) -> String {
    let (mut mantissa, mut exponent) = parts(value, bits);
    let width = if bits == 32 { 23 } else { 52 };
    exponent = if mantissa == 0 { 0 } else { exponent + width };
    // One digit before the point, sixty bits after it.
    mantissa <<= 60 - width;
    while mantissa != 0 && mantissa >> 60 == 0 {
        mantissa <<= 1;
        exponent -= 1;
    }
    if (0..15).contains(&precision) {
        let shift = 60 - precision as u32 * 4;
        let extra = mantissa & ((1 << shift) - 1);
        mantissa >>= shift;
        if extra | (mantissa & 1) > 1 << (shift - 1) {
            mantissa += 1;
        }
        mantissa <<= shift;
        if mantissa >> 61 != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let fraction = format!("{:015x}", mantissa & ((1 << 60) - 1));
    let fraction = match usize::try_from(precision) {
        Ok(n) => {
            let zeros = "0".repeat(n.saturating_sub(fraction.len()));
            format!("{fraction}{zeros}")[..n].to_owned()
        }
        Err(_) => fraction.trim_end_matches('0').to_owned(),
    };
    let point = if fraction.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    let text = format!("0x{}{point}{fraction}p{sign}{:02}", mantissa >> 60, exponent.abs());
    if verb == b'X' { text.to_uppercase() } else { text }
}
