//! Walks a structured format: items that matter are gathered and handed over whole, payloads are skipped.

use super::{Completeness, Walk};

/// The largest item that is gathered.
pub(super) const ITEM_BYTES_MAX: usize = 1 << 20;

/// What a grammar needs next from the stream.
#[derive(Debug)]
pub(super) enum Want {
    /// So many bytes, in one piece. At most [`ITEM_BYTES_MAX`].
    Item(usize),
    /// So many bytes passed over, shown to [`Grammar::passed`] in pieces.
    Skip(u64),
    /// Nothing more: the stream is not what this grammar describes. The verdict will be *unknown*.
    Lost(String),
}

/// A format as a machine that is fed what it asked for.
pub(super) trait Grammar: Send {
    /// The item that was wanted. Returns what is wanted after it.
    fn item(&mut self, item: &[u8]) -> Want;

    /// A shortcut past small items: where an item is wanted, the grammar may take as much of what has come as
    /// it understands at one look, and says how much. It stays in the state it is in.
    fn leap(&mut self, _bytes: &[u8]) -> usize {
        0
    }

    /// A piece of what is being skipped.
    fn passed(&mut self, _piece: &[u8]) {}

    /// The skipped bytes are all past. Returns what is wanted after them; sooner or later an item.
    fn skipped(&mut self) -> Want;

    /// The stream ended. `between_items` says that no item was cut; whether a skipped stretch was, the grammar's
    /// own state says.
    fn judge(&self, between_items: bool) -> Completeness;
}

/// A [`Grammar`] being fed.
pub(super) struct Walker<G> {
    grammar: G,
    want: Want,
    /// What has come of a wanted item that is not all there.
    held: Vec<u8>,
    offset_bytes: u64,
}

impl<G: Grammar> Walker<G> {
    pub(super) fn new(grammar: G, first: Want) -> Self {
        Walker { grammar, want: first, held: Vec::new(), offset_bytes: 0 }
    }

    /// Feeds what the want asks for, as far as `bytes` reach, and returns the rest.
    fn step<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        match &mut self.want {
            Want::Item(len) => {
                let len = *len;
                let bytes = match self.held.is_empty() {
                    true => &bytes[self.grammar.leap(bytes)..],
                    false => bytes,
                };
                if self.held.is_empty() && bytes.len() >= len {
                    let (item, rest) = bytes.split_at(len);
                    self.want = self.grammar.item(item);
                    return rest;
                }
                let (more, rest) = bytes.split_at(bytes.len().min(len - self.held.len()));
                self.held.extend_from_slice(more);
                if self.held.len() == len {
                    self.want = self.grammar.item(&self.held);
                    self.held.clear();
                }
                rest
            }
            Want::Skip(left) => {
                let here = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                let (piece, rest) = bytes.split_at(here);
                *left -= here as u64;
                let past = *left == 0;
                self.grammar.passed(piece);
                if past {
                    self.want = self.grammar.skipped();
                }
                rest
            }
            Want::Lost(_) => bytes,
        }
    }

    fn wants_nothing(&self) -> bool {
        matches!(self.want, Want::Item(0) | Want::Skip(0))
    }
}

impl<G: Grammar> Walk for Walker<G> {
    fn push(&mut self, mut bytes: &[u8]) {
        while (!bytes.is_empty() || self.wants_nothing()) && !matches!(self.want, Want::Lost(_)) {
            let rest = self.step(bytes);
            self.offset_bytes += (bytes.len() - rest.len()) as u64;
            bytes = rest;
        }
    }

    fn finish(self: Box<Self>) -> Completeness {
        match self.want {
            Want::Lost(ref why) => {
                Completeness::unknown(format!("{why} (before byte {})", self.offset_bytes))
            }
            Want::Item(_) | Want::Skip(_) => self.grammar.judge(self.held.is_empty()),
        }
    }
}

/// A little-endian number from an item.
pub(super) fn number_le(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
