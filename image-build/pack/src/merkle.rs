//! The Merkle root of an image's content.
//!
//! A leaf is a chunk: BLAKE3 of the byte 0, the window's number (4 bytes, little-endian), its map as a record has it, and
//! the digest of its data. A node is BLAKE3 of the byte 1, its left and its right child. The tree has the shape of RFC 9162
//! §2.1.1: the left child holds the largest power of two of leaves that is less than all of them. How chunks are
//! compressed is no part of it.

use crate::{Chunk, Digest, record};

/// The root over these chunks; that of none is the digest of nothing.
#[must_use]
pub fn root(chunks: &[Chunk]) -> Digest {
    root_over(chunks.iter().map(|chunk| (chunk, chunk.digest)))
}

/// The root over these windows, when these are the digests of their data: of what was read from a disk, say.
#[must_use]
pub fn root_over<'a>(windows: impl IntoIterator<Item = (&'a Chunk, Digest)>) -> Digest {
    let mut tree = Tree::default();
    windows.into_iter().for_each(|(chunk, digest)| tree.push(chunk, digest));
    tree.root()
}

/// A tree that grows by one window at a time: for who can't keep them all.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// One subtree for each bit of the number of leaves so far, largest first.
    open: Vec<(u32, Digest)>,
}

impl Tree {
    /// The next window of the disk, and the digest of its data.
    pub fn push(&mut self, chunk: &Chunk, digest: Digest) {
        let (mut height, mut node) = (0, leaf(chunk, digest));
        while let Some((_, left)) = self.open.pop_if(|(below, _)| *below == height) {
            node = parent(left, node);
            height += 1;
        }
        self.open.push((height, node));
    }

    /// The root over all windows so far.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut subtrees = self.open.iter().rev().map(|(_, node)| *node);
        let last = subtrees.next().unwrap_or_else(|| Digest::of(&[]));
        subtrees.fold(last, |right, left| parent(left, right))
    }
}

fn leaf(chunk: &Chunk, digest: Digest) -> Digest {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&chunk.window.to_le_bytes());
    record::write_map(&chunk.map, &mut bytes);
    bytes.extend_from_slice(&digest.0);
    Digest::of(&bytes)
}

fn parent(left: Digest, right: Digest) -> Digest {
    let mut bytes = [1; 65];
    let (_, children) = bytes.split_at_mut(1);
    for (to, from) in children.iter_mut().zip(left.0.iter().chain(&right.0)) {
        *to = *from;
    }
    Digest::of(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BlockMap, Codec};

    fn chunk(window: u32) -> Chunk {
        let map = BlockMap::new([crate::Block::Data]);
        let digest = Digest::of(&window.to_le_bytes());
        let (codec, offset, stored, stored_digest) = (Codec::Raw, 0, 4096, Some(digest));
        Chunk { window, bytes: 4096, map, digest, codec, offset, stored, stored_digest }
    }

    /// As RFC 9162 defines it.
    fn defined(chunks: &[Chunk]) -> Digest {
        match chunks {
            [] => Digest::of(&[]),
            [one] => leaf(one, one.digest),
            more => {
                let (left, right) = more.split_at((more.len()).next_power_of_two() / 2);
                parent(defined(left), defined(right))
            }
        }
    }

    #[test]
    fn it_has_the_shape_of_the_definition_and_hangs_on_every_chunk() {
        let chunks: Vec<Chunk> = (0..33).map(chunk).collect();
        for count in 0..chunks.len() {
            assert_eq!(root(&chunks[..count]), defined(&chunks[..count]), "{count}");
        }
        let whole = root(&chunks);
        for at in 0..chunks.len() {
            let mut bent = chunks.clone();
            bent[at].digest = Digest::of(b"other");
            assert_ne!(root(&bent), whole);
            bent[at] = Chunk { map: BlockMap::new([crate::Block::Zero]), ..chunks[at].clone() };
            assert_ne!(root(&bent), whole);
        }
        let recompressed = Chunk { codec: Codec::Zstd, stored: 9, ..chunks[0].clone() };
        assert_eq!(root(&[recompressed]), root(&chunks[..1]));
    }
}
