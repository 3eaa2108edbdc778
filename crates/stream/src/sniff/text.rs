//! Text formats: the head is kept, the end is remembered, what lies between is not looked at.

use super::{Completeness, HEAD_BYTES, Walk};

/// How much of the end is remembered. Trailers take 200 bytes; the rest is for long last lines.
const TAIL_BYTES: usize = 64 << 10;

/// A text whose end is judged in the light of its head.
pub(super) struct Text {
    head: Vec<u8>,
    tail: Tail,
    judge: fn(head: &[u8], tail: &[u8]) -> Completeness,
}

impl Text {
    pub(super) fn new(judge: fn(&[u8], &[u8]) -> Completeness) -> Self {
        Text { head: Vec::new(), tail: Tail::default(), judge }
    }
}

impl Walk for Text {
    fn push(&mut self, bytes: &[u8]) {
        let room = (HEAD_BYTES - self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..room]);
        self.tail.push(bytes);
    }

    fn finish(self: Box<Self>) -> Completeness {
        (self.judge)(&self.head, self.tail.bytes())
    }
}

/// The last bytes of a stream, at most [`TAIL_BYTES`].
#[derive(Default)]
struct Tail {
    /// Grows to twice the tail before the older half is dropped, so that a byte is moved once at most.
    held: Vec<u8>,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        if bytes.len() >= TAIL_BYTES {
            self.held.clear();
            self.held.extend_from_slice(&bytes[bytes.len() - TAIL_BYTES..]);
            return;
        }
        if self.held.len() + bytes.len() > 2 * TAIL_BYTES {
            self.held.drain(..self.held.len() - TAIL_BYTES);
        }
        self.held.extend_from_slice(bytes);
    }

    fn bytes(&self) -> &[u8] {
        &self.held[self.held.len().saturating_sub(TAIL_BYTES)..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_is_the_end_of_the_stream_whatever_the_pieces() {
        let stream: Vec<u8> = (0..400_000u32).map(|i| (i % 251) as u8).collect();
        for piece_bytes in [1, 7, 1000, TAIL_BYTES - 1, TAIL_BYTES, TAIL_BYTES + 1, 400_000] {
            for len in [0, 1, TAIL_BYTES, 2 * TAIL_BYTES + 1, stream.len()] {
                let mut tail = Tail::default();
                stream[..len].chunks(piece_bytes).for_each(|piece| tail.push(piece));
                assert_eq!(tail.bytes(), &stream[len.saturating_sub(TAIL_BYTES)..len]);
                assert!(tail.held.len() <= 2 * TAIL_BYTES);
            }
        }
    }
}
