//! Streams that somebody encrypted on the way: nothing to see, nothing to deduplicate.

use super::text::Text;
use super::{Completeness, Format, Recognised};

/// `openssl enc`, age (binary and armoured), and armoured OpenPGP.
const MAGICS: [&[u8]; 4] = [
    b"Salted__",
    b"age-encryption.org/v1\n",
    b"-----BEGIN AGE ENCRYPTED FILE-----",
    b"-----BEGIN PGP MESSAGE-----",
];

/// OpenPGP packets (RFC 9580, 4.2) that open an encrypted message: a session key for a public key (tag 1) or for
/// a passphrase (tag 3), in the new or the old packet form. The byte after the length is the packet's version.
const OPENPGP_TAGS: [(u8, &[u8]); 6] = [
    (0xc1, &[3, 6]),
    (0x84, &[3, 6]),
    (0x85, &[3, 6]),
    (0xc3, &[4, 5, 6]),
    (0x8c, &[4, 5, 6]),
    (0x8d, &[4, 5, 6]),
];

pub(super) fn recognise(head: &[u8]) -> Option<Recognised> {
    (MAGICS.iter().any(|magic| head.starts_with(magic)) || is_openpgp(head)).then(|| {
        Recognised::new(Format::Encrypted, Text::new(judge)).advise(
            "encrypted before it arrived: nothing deduplicates; send the plain dump, it is encrypted here",
        )
    })
}

fn is_openpgp(head: &[u8]) -> bool {
    let Some((&tag, rest)) = head.split_first() else { return false };
    let Some((_, versions)) = OPENPGP_TAGS.iter().find(|(known, _)| *known == tag) else { return false };
    let length_bytes = match (tag, rest.first()) {
        (0x85 | 0x8d, _) => 2,
        (0xc1 | 0xc3, Some(192..=223)) => 2,
        _ => 1,
    };
    rest.get(length_bytes).is_some_and(|version| versions.contains(version))
}

fn judge(_head: &[u8], _tail: &[u8]) -> Completeness {
    Completeness::unknown("the stream is encrypted")
}
