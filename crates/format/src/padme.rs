//! Padmé padding: lengths that tell little.
//!
//! Source: Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with
//! PURBs", PoPETS 2019, section 4. Overhead at most 12 %, falling with size; a length of `L` leaks
//! O(log log L) bits.

/// Smallest Padmé length that holds `len` bytes.
pub fn padded_len(len: u64) -> u64 {
    if len < 2 {
        return len;
    }
    let exponent = 63 - u64::from(len.leading_zeros());
    let exponent_bits = 64 - u64::from(exponent.leading_zeros());
    let mask = (1u64 << (exponent - exponent_bits)) - 1;
    len.saturating_add(mask) & !mask
}

#[cfg(test)]
mod tests {
    use super::padded_len;

    #[test]
    fn padding_is_at_least_the_length_and_at_most_an_eighth_more() {
        assert_eq!((padded_len(0), padded_len(1), padded_len(9)), (0, 1, 10));
        for len in (0..100_000).chain([1 << 24, (1 << 24) + 1, (1 << 40) + 12345]) {
            let padded = padded_len(len);
            assert!(padded >= len && padded - len <= len / 8 + 1, "{len} -> {padded}");
            assert_eq!(padded_len(padded), padded, "padding is stable");
        }
    }
}
