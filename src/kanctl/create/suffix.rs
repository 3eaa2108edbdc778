//! The random end of a name, as Kubernetes makes it for `generateName`.

use crate::failure::Failure;

/// Letters and digits of which no word can come: no vowels, and nothing that is mistaken for another.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// So many random letters and digits.
pub fn random(letters: usize) -> Result<String, Failure> {
    let mut dice = vec![0u8; letters];
    getrandom::fill(&mut dice)
        .map_err(|e| Failure::other(format!("cannot make up a name: the system gives no randomness: {e}")))?;
    // 27 does not divide 256: the first letters come up a little more often, which a name can bear.
    Ok(dice.iter().map(|die| char::from(LETTERS[usize::from(*die) % LETTERS.len()])).collect())
}
