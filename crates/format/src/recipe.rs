//! Which chunks make up a stream, in order: a shallow tree whose pieces deduplicate like data.
//!
//! A list of chunks is cut where a chunk id ends in ten zero bits, so an unchanged stretch of a
//! stream gives the same pieces again; each piece is stored as a recipe chunk, and the list of
//! pieces is cut in turn, until few enough nodes are left for the snapshot to hold them itself.
//!
//! Piece: `u8 level ‖ u32 n ‖ n × chunk id[32] ‖ n × u64 length`. Level 0 names data chunks.

use crate::Damage;
use crate::id::ChunkId;
use crate::reader::Reader;
use serde::{Deserialize, Serialize};

/// Fewest and most nodes of a stored piece, except the last of its level.
const PIECE_NODES_MIN: usize = 128;
const PIECE_NODES_MAX: usize = 4096;
/// Most nodes a snapshot holds itself.
const ROOT_NODES_MAX: usize = 32;
/// Deeper trees than this would describe more than 2^64 bytes.
const DEPTH_MAX: u8 = 6;

/// A chunk, or a piece of a lower level, and how many bytes of the stream it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Name of the data chunk (level 0) or of the recipe chunk that holds the piece below.
    pub id: ChunkId,
    /// Bytes of the stream.
    pub len: u64,
}

/// The top of the tree, as the snapshot holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// Levels of stored pieces below: 0 when the nodes are data chunks.
    pub depth: u8,
    /// The nodes.
    pub nodes: Vec<Node>,
}

impl Root {
    /// Refuses roots no writer makes.
    pub fn check(&self) -> Result<(), Damage> {
        if self.depth > DEPTH_MAX || self.nodes.len() > ROOT_NODES_MAX {
            return Err(Damage::malformed("recipe", "deeper or wider than any writer makes it"));
        }
        Ok(())
    }
}

/// Builds the tree as chunks arrive; holds at most one unfinished piece per level.
#[derive(Default)]
pub struct RecipeBuilder {
    levels: Vec<Vec<Node>>,
}

impl RecipeBuilder {
    /// Adds the next chunk. `store` is handed each finished piece and returns its name.
    pub fn push(&mut self, node: Node, store: &mut dyn FnMut(Vec<u8>) -> ChunkId) {
        self.push_at(0, node, store);
    }

    fn push_at(&mut self, level: usize, node: Node, store: &mut dyn FnMut(Vec<u8>) -> ChunkId) {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        let pending = &mut self.levels[level];
        pending.push(node);
        let marked = u16::from_le_bytes([node.id.0[30], node.id.0[31]]) & 0x03ff == 0;
        if (marked && pending.len() >= PIECE_NODES_MIN) || pending.len() >= PIECE_NODES_MAX {
            self.flush(level, store);
        }
    }

    fn flush(&mut self, level: usize, store: &mut dyn FnMut(Vec<u8>) -> ChunkId) {
        let nodes = std::mem::take(&mut self.levels[level]);
        let len = nodes.iter().map(|n| n.len).sum();
        let id = store(encode(level as u8, &nodes));
        self.push_at(level + 1, Node { id, len }, store);
    }

    /// Stores what is unfinished and returns the top.
    pub fn finish(mut self, store: &mut dyn FnMut(Vec<u8>) -> ChunkId) -> Root {
        let mut level = 0;
        loop {
            let is_top = level + 1 >= self.levels.len();
            let pending = self.levels.get(level).map_or(0, Vec::len);
            if is_top && pending <= ROOT_NODES_MAX {
                let nodes = self.levels.pop().unwrap_or_default();
                return Root { depth: level as u8, nodes };
            }
            if pending > 0 {
                self.flush(level, store);
            }
            level += 1;
        }
    }
}

fn encode(level: u8, nodes: &[Node]) -> Vec<u8> {
    let mut out = Vec::with_capacity(5 + nodes.len() * 40);
    out.push(level);
    out.extend_from_slice(&(nodes.len() as u32).to_le_bytes());
    nodes.iter().for_each(|n| out.extend_from_slice(&n.id.0));
    nodes.iter().for_each(|n| out.extend_from_slice(&n.len.to_le_bytes()));
    out
}

/// Reads a stored piece, which must be of `level`.
pub fn decode(level: u8, piece: &[u8]) -> Result<Vec<Node>, Damage> {
    let mut r = Reader::new("recipe", piece);
    if r.u8()? != level {
        return Err(Damage::malformed("recipe", "a piece of another level"));
    }
    let n = r.count(40)?;
    if n > PIECE_NODES_MAX {
        return Err(Damage::malformed("recipe", "a piece with more nodes than any writer makes"));
    }
    let ids = (0..n).map(|_| Ok(ChunkId(r.array()?))).collect::<Result<Vec<_>, Damage>>()?;
    let nodes = ids.into_iter().map(|id| Ok(Node { id, len: r.u64()? })).collect::<Result<_, Damage>>()?;
    r.end()?;
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn id(n: u64) -> ChunkId {
        ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes())
    }

    fn build(chunks: impl Iterator<Item = u64>) -> (Root, HashMap<ChunkId, Vec<u8>>) {
        let mut pieces = HashMap::new();
        let mut store = |bytes: Vec<u8>| {
            let id = ChunkId(*blake3::hash(&bytes).as_bytes());
            pieces.insert(id, bytes);
            id
        };
        let mut builder = RecipeBuilder::default();
        chunks.for_each(|n| builder.push(Node { id: id(n), len: n + 1 }, &mut store));
        (builder.finish(&mut store), pieces)
    }

    fn walk(depth: u8, nodes: &[Node], pieces: &HashMap<ChunkId, Vec<u8>>, out: &mut Vec<Node>) {
        for node in nodes {
            if depth == 0 {
                out.push(*node);
                continue;
            }
            let below = decode(depth - 1, &pieces[&node.id]).expect("stored by us");
            assert_eq!(node.len, below.iter().map(|n| n.len).sum::<u64>());
            walk(depth - 1, &below, pieces, out);
        }
    }

    #[test]
    fn every_length_of_list_reads_back_in_order() {
        for n in [0, 1, 31, 32, 33, 127, 129, 5000, 300_000] {
            let (root, pieces) = build(0..n);
            root.check().expect("we make legal roots");
            let mut out = Vec::new();
            walk(root.depth, &root.nodes, &pieces, &mut out);
            assert_eq!(out.len() as u64, n);
            assert!(out.iter().enumerate().all(|(i, node)| node.id == id(i as u64)));
        }
    }

    #[test]
    fn one_changed_chunk_changes_few_pieces() {
        let (_, before) = build(0..50_000);
        let (_, after) = build((0..50_000).map(|n| if n == 20_000 { 1_000_000 } else { n }));
        let new = after.keys().filter(|k| !before.contains_key(k)).count();
        assert!(new <= 4 && after.len() > 40, "{new} of {}", after.len());
    }
}
