//! Every node by its id, cheap to copy: a copy shares each node until one of them changes.
//!
//! The writer decides every batch on a copy of the world, and a server may say a hundred kilobytes of itself.

use std::collections::BTreeMap;
use std::ops::Index;
use std::sync::Arc;

use protocol::NodeId;

use crate::Node;

/// A map that reads like `BTreeMap<NodeId, Node>`.
#[derive(Clone, Debug, Default)]
pub struct Nodes(BTreeMap<NodeId, Arc<Node>>);

impl Nodes {
    /// The node with this id.
    pub fn get(&self, id: &NodeId) -> Option<&Node> {
        self.0.get(id).map(Arc::as_ref)
    }

    /// The node with this id, to be changed in this copy alone.
    pub fn get_mut(&mut self, id: &NodeId) -> Option<&mut Node> {
        self.0.get_mut(id).map(Arc::make_mut)
    }

    /// Puts a node in, in the place of the one with this id.
    pub fn insert(&mut self, id: NodeId, node: Node) {
        self.0.insert(id, Arc::new(node));
    }

    /// Takes a node out.
    pub fn remove(&mut self, id: &NodeId) {
        self.0.remove(id);
    }

    /// Every node, by id.
    pub fn values(&self) -> impl Iterator<Item = &Node> {
        self.0.values().map(Arc::as_ref)
    }

    /// Every id.
    pub fn keys(&self) -> impl Iterator<Item = &NodeId> {
        self.0.keys()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Index<&NodeId> for Nodes {
    type Output = Node;

    /// As of a `BTreeMap`: for whoever knows that it is there.
    fn index(&self, id: &NodeId) -> &Node {
        self.0.index(id)
    }
}
