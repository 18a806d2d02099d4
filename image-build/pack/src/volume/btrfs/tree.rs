//! Trees: everything in a file system is an item of one.

use super::chunk::Chunks;
use super::node::{Key, Node, Pointer};
use super::superblock::Superblock;
use super::{Fields, Unread, doubtful};
use crate::{Source, source};

pub(super) const ROOT_TREE: u64 = 1;
pub(super) const EXTENT_TREE: u64 = 2;
pub(super) const CHUNK_TREE: u64 = 3;
/// The kind of the key that a tree's root has in the root tree; its object is the tree.
pub(super) const ROOT_ITEM: u8 = 132;

const LEVEL_MAX: u8 = 7;

/// Where a tree begins.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) tree: u64,
    pub(super) address: u64,
    pub(super) generation: u64,
    pub(super) level: u8,
}

impl Root {
    /// From a root item.
    pub(super) fn parse(tree: u64, item: &[u8]) -> Result<Root, Unread> {
        let (generation, address) = (Fields(item).le64(160)?, Fields(item).le64(176)?);
        Ok(Root { tree, address, generation, level: Fields(item).byte(238)? })
    }
}

/// The trees of one file system.
#[derive(Clone, Copy)]
pub(super) struct Forest<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) superblock: &'a Superblock,
    pub(super) chunks: &'a Chunks,
}

impl Forest<'_> {
    /// Shows every item of a tree, in the order of the keys.
    ///
    /// It comes to an end whatever is on the disk: each leaf but an empty root has keys, each key is above the last one,
    /// so no node is met twice; and there are not more nodes than the device has room for.
    pub(super) fn walk(
        &self,
        root: &Root,
        mut visit: impl FnMut(Key, &[u8]) -> Result<(), Unread>,
    ) -> Result<(), Unread> {
        let Root { tree, address, generation, level } = *root;
        if level > LEVEL_MAX {
            return Err(doubtful(format!("tree {tree} has {level} levels")));
        }
        let mut nodes_left = self.source.bytes() / u64::from(self.superblock.node_bytes);
        let mut last = None;
        let mut path = vec![(self.node(Pointer { tree, address, generation, level, first: None })?, 0)];
        while let Some((node, next)) = path.last_mut() {
            if node.is_leaf() {
                for index in 0..node.count() {
                    let (key, data) = node.item(index)?;
                    if last.is_some_and(|last| key <= last) {
                        return Err(node.damaged());
                    }
                    last = Some(key);
                    visit(key, data)?;
                }
            } else if *next < node.count() {
                let child = node.child(*next)?;
                *next += 1;
                nodes_left = nodes_left.checked_sub(1).ok_or_else(|| node.damaged())?;
                path.push((self.node(child)?, 0));
                continue;
            }
            path.pop();
        }
        Ok(())
    }

    /// The first good one of a node's copies.
    fn node(&self, pointer: Pointer) -> Result<Node, Unread> {
        let bytes = self.superblock.node_bytes;
        let end = pointer
            .address
            .checked_add(u64::from(bytes))
            .filter(|_| pointer.address.is_multiple_of(u64::from(self.superblock.sector_bytes)));
        let end = end.ok_or_else(|| doubtful(format!("a node can't be at {}", pointer.address)))?;
        let mut damage = None;
        for copy in self.chunks.copies(&(pointer.address..end))? {
            match Node::parse(self.superblock, pointer, source::read(self.source, copy, bytes as usize)?) {
                Ok(node) => return Ok(node),
                Err(why) => damage = damage.or(Some(why)),
            }
        }
        Err(damage.unwrap_or_else(|| doubtful(format!("the node at {} is nowhere", pointer.address))))
    }
}
