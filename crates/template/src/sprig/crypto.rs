//! Digests and AES.

use super::{Answer, encode, strings_of, text};
use crate::call::{Context, Functions};
use crate::error::Fail;
use crate::types::{Kind, Type};
use crate::value::Value;

use aes::cipher::{
    BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::NoPadding, block_padding::Pkcs7,
};
use sha1::Digest as _;

const BLOCK_BYTES: usize = 16;
const KEY_BYTES: usize = 32;

pub(super) fn install(f: &mut Functions) {
    f.fixed("sha1sum", strings_of(1), |_, a| Ok(Value::str(hex(&sha1::Sha1::digest(text(&a[0]))))));
    f.fixed("sha256sum", strings_of(1), |_, a| Ok(Value::str(hex(&sha2::Sha256::digest(text(&a[0]))))));
    f.fixed("adler32sum", strings_of(1), |_, a| {
        Ok(Value::str(adler2::adler32_slice(text(&a[0])).to_string()))
    });
    f.fixed("encryptAES", strings_of(2), encrypt);
    f.fixed("decryptAES", strings_of(2), decrypt);
    let derive =
        vec![Type::basic(Kind::Uint32), Type::string(), Type::string(), Type::string(), Type::string()];
    f.fixed("derivePassword", derive, |_, _| Err(not_compliant("derivePassword")));
}

/// What is refused because FIPS 140 does not know the algorithm.
pub(super) fn not_compliant(what: &str) -> Fail {
    Fail::text(format!("'{what}' is not allowed: it is not FIPS compatible"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The password, cut or filled with zeros to the length of a key.
fn key(password: &[u8]) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    let len = password.len().min(KEY_BYTES);
    key[..len].copy_from_slice(&password[..len]);
    key
}

fn encrypt(c: &Context<'_>, a: &[Value]) -> Answer {
    let plain = text(&a[1]);
    if plain.is_empty() {
        return Ok(Value::str(""));
    }
    c.budget.room_for(plain.len() * 2)?;
    let mut iv = [0; BLOCK_BYTES];
    (c.world.dice)(&mut iv);
    let sealed = cbc::Encryptor::<aes::Aes256>::new(&key(text(&a[0])).into(), &iv.into())
        .encrypt_padded_vec::<Pkcs7>(plain);
    Ok(Value::str(encode::base64_encode(&[iv.as_slice(), &sealed].concat())))
}

fn decrypt(_: &Context<'_>, a: &[Value]) -> Answer {
    if text(&a[1]).is_empty() {
        return Ok(Value::str(""));
    }
    let sealed = encode::base64_decode(text(&a[1])).map_err(Fail::text)?;
    let Some((iv, body)) = sealed.split_first_chunk::<BLOCK_BYTES>() else {
        let have = sealed.len();
        return Err(Fail::text(format!(
            "runtime error: slice bounds out of range [:16] with capacity {have}"
        )));
    };
    let plain = cbc::Decryptor::<aes::Aes256>::new(&key(text(&a[0])).into(), &(*iv).into())
        .decrypt_padded_vec::<NoPadding>(body)
        .map_err(|_| Fail::text("crypto/cipher: input not full blocks"))?;
    // The last byte says how much padding there is; a wrong key makes it say anything.
    let Some(last) = plain.last() else {
        return Err(Fail::text("runtime error: index out of range [-1]"));
    };
    match plain.len().checked_sub(usize::from(*last)) {
        Some(len) => Ok(Value::str(&plain[..len])),
        None => Err(Fail::text("runtime error: slice bounds out of range")),
    }
}
