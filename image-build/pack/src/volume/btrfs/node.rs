//! One node of a tree: a sorted list of items, or of nodes one level below.

use super::superblock::Superblock;
use super::{Fields, Unread, doubtful};

pub(super) const KEY_BYTES: usize = 17;
const HEADER_BYTES: usize = 101;
const ITEM_BYTES: usize = 25;
const POINTER_BYTES: usize = 33;

/// What items are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) object: u64,
    pub(super) kind: u8,
    pub(super) offset: u64,
}

impl Key {
    pub(super) fn parse(bytes: &[u8], at: usize) -> Result<Key, Unread> {
        Ok(Key {
            object: Fields(bytes).le64(at)?,
            kind: Fields(bytes).byte(at.saturating_add(8))?,
            offset: Fields(bytes).le64(at.saturating_add(9))?,
        })
    }
}

/// What a parent, or the superblock, says of a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pointer {
    pub(super) tree: u64,
    pub(super) address: u64,
    pub(super) generation: u64,
    pub(super) level: u8,
    /// Its first key; unknown for a root.
    pub(super) first: Option<Key>,
}

/// A node that is what its pointer says.
#[derive(Debug)]
pub(super) struct Node {
    bytes: Vec<u8>,
    pointer: Pointer,
    count: usize,
}

impl Node {
    /// The error says what is wrong: another copy may be right.
    pub(super) fn parse(superblock: &Superblock, pointer: Pointer, bytes: Vec<u8>) -> Result<Node, Unread> {
        let is_the_one = superblock.checksum.holds(&bytes)
            && Fields(&bytes).array(32)? == superblock.node_uuid
            && Fields(&bytes).le64(48)? == pointer.address
            && Fields(&bytes).le64(80)? == pointer.generation
            && Fields(&bytes).le64(88)? == pointer.tree
            && Fields(&bytes).byte(100)? == pointer.level;
        let count = Fields(&bytes).le32(96)? as usize;
        let entry = if pointer.level == 0 { ITEM_BYTES } else { POINTER_BYTES };
        let is_bounded = count <= bytes.len().saturating_sub(HEADER_BYTES) / entry;
        // A tree without items is a leaf.
        let is_filled = count > 0 || (pointer.level == 0 && pointer.first.is_none());
        let node = Node { bytes, pointer, count };
        if !(is_the_one && is_bounded && is_filled)
            || (pointer.first.is_some() && node.first()? != pointer.first)
        {
            return Err(node.damaged());
        }
        Ok(node)
    }

    pub(super) fn is_leaf(&self) -> bool {
        self.pointer.level == 0
    }

    /// How many items or pointers it has.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    fn first(&self) -> Result<Option<Key>, Unread> {
        if self.count == 0 { Ok(None) } else { Key::parse(&self.bytes, HEADER_BYTES).map(Some) }
    }

    /// An item of a leaf. Its place among the others has been bounded, its data has not.
    pub(super) fn item(&self, index: usize) -> Result<(Key, &[u8]), Unread> {
        let at = HEADER_BYTES.saturating_add(index.saturating_mul(ITEM_BYTES));
        let key = Key::parse(&self.bytes, at)?;
        let begin = (Fields(&self.bytes).le32(at.saturating_add(17))? as usize).saturating_add(HEADER_BYTES);
        let end = begin.saturating_add(Fields(&self.bytes).le32(at.saturating_add(21))? as usize);
        let items_end = HEADER_BYTES.saturating_add(self.count.saturating_mul(ITEM_BYTES));
        let data = self.bytes.get(begin..end).filter(|_| begin >= items_end);
        Ok((key, data.ok_or_else(|| self.damaged())?))
    }

    /// The pointer to a node one level below.
    pub(super) fn child(&self, index: usize) -> Result<Pointer, Unread> {
        let at = HEADER_BYTES.saturating_add(index.saturating_mul(POINTER_BYTES));
        Ok(Pointer {
            tree: self.pointer.tree,
            address: Fields(&self.bytes).le64(at.saturating_add(17))?,
            generation: Fields(&self.bytes).le64(at.saturating_add(25))?,
            level: self.pointer.level.checked_sub(1).ok_or_else(|| self.damaged())?,
            first: Some(Key::parse(&self.bytes, at)?),
        })
    }

    pub(super) fn damaged(&self) -> Unread {
        let Pointer { tree, address, .. } = self.pointer;
        doubtful(format!("the node at {address} of tree {tree} is damaged"))
    }
}
