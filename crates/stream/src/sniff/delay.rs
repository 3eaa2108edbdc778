//! Holds back the last bytes of a stream: a checksum at the end does not cover itself.

/// Lets bytes through once `N` more have followed them.
pub(super) struct Delay<const N: usize> {
    held: Vec<u8>,
}

impl<const N: usize> Default for Delay<N> {
    fn default() -> Self {
        Delay { held: Vec::with_capacity(N) }
    }
}

impl<const N: usize> Delay<N> {
    /// Takes the next bytes and hands on, in order, those that are now more than `N` from the end.
    pub(super) fn push(&mut self, bytes: &[u8], through: &mut impl FnMut(&[u8])) {
        let out = (self.held.len() + bytes.len()).saturating_sub(N);
        let from_held = out.min(self.held.len());
        through(&self.held[..from_held]);
        through(&bytes[..out - from_held]);
        self.held.drain(..from_held);
        self.held.extend_from_slice(&bytes[out - from_held..]);
    }

    /// The last `N` bytes, or all there were.
    pub(super) fn held(&self) -> &[u8] {
        &self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_the_last_bytes_goes_through_in_order() {
        let stream: Vec<u8> = (0..200).collect();
        for piece_bytes in [1, 3, 31, 32, 33, 200] {
            for len in [0, 5, 32, 33, 200] {
                let (mut delay, mut seen) = (Delay::<32>::default(), Vec::new());
                for piece in stream[..len].chunks(piece_bytes) {
                    delay.push(piece, &mut |bytes| seen.extend_from_slice(bytes));
                }
                assert_eq!(seen, &stream[..len.saturating_sub(32)]);
                assert_eq!(delay.held(), &stream[len.saturating_sub(32)..len]);
            }
        }
    }
}
