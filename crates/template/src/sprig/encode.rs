//! Base64 and base32, with Go's tolerance and Go's complaints.

use super::{strings_of, text};
use crate::call::Functions;
use crate::value::Value;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

pub(super) fn install(f: &mut Functions) {
    f.fixed("b64enc", strings_of(1), |c, a| {
        c.budget.room_for(text(&a[0]).len() / 3 * 4)?;
        Ok(Value::str(encode(text(&a[0]), 6, BASE64)))
    });
    f.fixed("b32enc", strings_of(1), |c, a| {
        c.budget.room_for(text(&a[0]).len() / 5 * 8)?;
        Ok(Value::str(encode(text(&a[0]), 5, BASE32)))
    });
    // The decoders never fail: the complaint is the result.
    f.fixed("b64dec", strings_of(1), |_, a| {
        Ok(base64_decode(text(&a[0])).map_or_else(Value::str, Value::str))
    });
    f.fixed("b32dec", strings_of(1), |_, a| {
        Ok(base32_decode(text(&a[0])).map_or_else(Value::str, Value::str))
    });
}

/// The bytes of a string argument.
pub(crate) fn text_of(value: &Value) -> &[u8] {
    text(value)
}

fn encode(input: &[u8], bits: u32, alphabet: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(input.len() * 8 / bits as usize + 8);
    let (mut buffer, mut held) = (0u32, 0u32);
    for b in input {
        buffer = buffer << 8 | u32::from(*b);
        held += 8;
        while held >= bits {
            held -= bits;
            out.push(alphabet[(buffer >> held & ((1 << bits) - 1)) as usize]);
        }
        buffer &= (1 << held) - 1;
    }
    if held > 0 {
        out.push(alphabet[(buffer << (bits - held) & ((1 << bits) - 1)) as usize]);
    }
    let group = if bits == 6 { 4 } else { 8 };
    while out.len() % group != 0 {
        out.push(b'=');
    }
    out
}

/// Go's `base64.StdEncoding.DecodeString`: line breaks ignored, padding demanded, spare bits accepted.
pub(crate) fn base64_decode(input: &[u8]) -> Result<Vec<u8>, String> {
    decode(input, 6, BASE64).map_err(|at| format!("illegal base64 data at input byte {at}"))
}

/// Go's `base32.StdEncoding.DecodeString`
fn base32_decode(input: &[u8]) -> Result<Vec<u8>, String> {
    // Base 32 counts its positions after line breaks are taken out.
    let clean: Vec<u8> = input.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    decode(&clean, 5, BASE32).map_err(|at| format!("illegal base32 data at input byte {at}"))
}

/// Decodes group by group; the error is the position Go reports.
fn decode(input: &[u8], bits: u32, alphabet: &[u8]) -> Result<Vec<u8>, usize> {
    let group = if bits == 6 { 4 } else { 8 };
    let mut out = Vec::with_capacity(input.len());
    let mut at = 0;
    loop {
        let mut digits = Vec::with_capacity(group);
        let mut ended = false;
        while digits.len() < group {
            let Some(&b) = input.get(at) else {
                if digits.is_empty() {
                    return Ok(out);
                }
                return Err(at - digits.len());
            };
            at += 1;
            match b {
                b'\r' | b'\n' => {}
                b'=' => {
                    at = padding(input, at, digits.len(), bits)?;
                    ended = true;
                    break;
                }
                b => match alphabet.iter().position(|a| *a == b) {
                    Some(digit) => digits.push(digit as u64),
                    None => return Err(at - 1),
                },
            }
        }
        let value = digits.iter().fold(0u64, |value, d| value << bits | d);
        let have = digits.len() as u32 * bits;
        let bytes = have / 8;
        out.extend((0..bytes).map(|i| (value >> (have - 8 * (i + 1))) as u8));
        if ended {
            return if at < input.len() { Err(at) } else { Ok(out) };
        }
    }
}

/// Checks the padding that begins just before `at`, and returns where it ends.
fn padding(input: &[u8], mut at: usize, digits: usize, bits: u32) -> Result<usize, usize> {
    let skip = |mut at: usize| {
        while matches!(input.get(at), Some(b'\r' | b'\n')) {
            at += 1;
        }
        at
    };
    if bits == 6 {
        match digits {
            0 | 1 => return Err(at - 1),
            2 => {
                at = skip(at);
                match input.get(at) {
                    None => return Err(input.len()),
                    Some(b'=') => at += 1,
                    Some(_) => return Err(at),
                }
            }
            _ => {}
        }
        return Ok(skip(at));
    }
    // Base 32: 2, 4, 5 or 7 digits may stand before the padding, which fills the group.
    let missing = 8 - digits;
    let rest = &input[at..];
    if rest.len() + 1 < missing {
        return Err(input.len());
    }
    if let Some(i) = rest[..missing - 1].iter().position(|b| *b != b'=') {
        return Err(at + i);
    }
    if !matches!(digits, 2 | 4 | 5 | 7) {
        return Err(at - 1);
    }
    Ok(at + missing - 1)
}

/// `base64.StdEncoding.EncodeToString`
pub(super) fn base64_encode(input: &[u8]) -> Vec<u8> {
    encode(input, 6, BASE64)
}
