//! What is different every time: random texts, shuffled texts, UUIDs.

use super::{Answer, number, strings_of, text};
use crate::call::{Context, Functions};
use crate::text as utf8;
use crate::types::Type;
use crate::value::Value;

pub(super) fn install(f: &mut Functions) {
    let random = |f: &mut Functions, name: &str, allowed: fn(u8) -> bool| {
        f.fixed(name, vec![Type::int()], move |c, a| from_alphabet(c, number(&a[0]), allowed));
    };
    random(f, "randAlphaNum", |b| b.is_ascii_alphanumeric());
    random(f, "randAlpha", |b| b.is_ascii_alphabetic());
    random(f, "randNumeric", |b| b.is_ascii_digit());
    random(f, "randAscii", |b| (b' '..=b'~').contains(&b));
    f.fixed("shuffle", strings_of(1), shuffle);
    f.fixed("uuidv4", Vec::new(), |c, _| Ok(Value::str(uuid(c))));
}

/// A number below `bound`, every one as likely.
fn below(c: &Context<'_>, bound: usize) -> usize {
    let bound = bound as u64;
    let zone = u64::MAX - u64::MAX % bound;
    loop {
        let mut bytes = [0; 8];
        (c.world.dice)(&mut bytes);
        let n = u64::from_le_bytes(bytes);
        if n < zone {
            return (n % bound) as usize;
        }
    }
}

/// sprig drops the error for a negative count: the text is empty.
fn from_alphabet(c: &Context<'_>, count: i64, allowed: fn(u8) -> bool) -> Answer {
    let count = usize::try_from(count).unwrap_or(0);
    c.budget.charge(count)?;
    c.budget.step(count)?;
    let alphabet: Vec<u8> = (0..128).filter(|b| allowed(*b)).collect();
    Ok(Value::str((0..count).map(|_| alphabet[below(c, alphabet.len())]).collect::<Vec<u8>>()))
}

fn shuffle(c: &Context<'_>, a: &[Value]) -> Answer {
    let mut runes: Vec<char> = utf8::runes(text(&a[0])).map(|(_, rune, _)| rune).collect();
    c.budget.step(runes.len())?;
    for i in (1..runes.len()).rev() {
        runes.swap(i, below(c, i + 1));
    }
    Ok(Value::str(runes.into_iter().collect::<String>()))
}

/// A version 4 UUID.
fn uuid(c: &Context<'_>) -> String {
    let mut bytes = [0u8; 16];
    (c.world.dice)(&mut bytes);
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
