//! Whether what is sent to groups arrives on a network, by what nodes have heard while they waited.

use std::collections::BTreeMap;

use super::Node;
use crate::Micros;

/// So long it counts what one has said: afterwards a switch may be set up otherwise.
const REMEMBERED: Micros = Micros(10 * 60 * 1_000_000);
/// One that hears nothing may be the only one; and so many packets may have been lost.
const SEVERAL: usize = 2;
/// Nodes that are remembered: what they say is needed for minutes.
const NODES: usize = 4096;

/// What is known of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach(BTreeMap<Node, (Micros, bool)>);

impl Reach {
    /// A node was sent so many packets while it waited, and has got some of them or none.
    pub fn told(&mut self, node: Node, sent: u32, heard: bool, now: Micros) {
        if self.0.len() >= NODES {
            self.0.retain(|_, (said, _)| now.since(*said) < REMEMBERED);
        }
        let tells = heard || sent as usize >= SEVERAL;
        if tells && (self.0.len() < NODES || self.0.contains_key(&node)) {
            self.0.insert(node, (now, heard));
        }
    }

    /// Whether nothing arrives: several have said so, and nobody else.
    #[must_use]
    pub fn is_blocked(&self, now: Micros) -> bool {
        let mut said = self.0.values().filter(|(said, _)| now.since(*said) < REMEMBERED);
        let count = said.clone().count();
        count >= SEVERAL && said.all(|(_, heard)| !heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_arrives_when_several_say_so_and_nobody_has_heard_anything() {
        let mut reach = Reach::default();
        let minutes = |minutes: u64| Micros(minutes * 60_000_000);
        reach.told(Node(1), 9, false, minutes(0));
        assert!(!reach.is_blocked(minutes(0)), "it may be the only one");
        reach.told(Node(2), 1, false, minutes(0));
        assert!(!reach.is_blocked(minutes(0)), "that one packet may have been lost");
        reach.told(Node(2), 2, false, minutes(1));
        assert!(reach.is_blocked(minutes(1)));
        assert!(!reach.is_blocked(minutes(10)), "only one has said so of late");
        reach.told(Node(1), 9, false, minutes(10));
        assert!(reach.is_blocked(minutes(10)));
        reach.told(Node(3), 1, true, minutes(10));
        assert!(!reach.is_blocked(minutes(10)), "it does arrive somewhere");
        reach.told(Node(3), 2, false, minutes(10));
        assert!(reach.is_blocked(minutes(10)), "what one says last counts");
    }

    #[test]
    fn what_strangers_make_up_does_not_grow_for_ever() {
        let mut reach = Reach::default();
        (0..10_000).for_each(|node| reach.told(Node(node), 2, false, Micros(5)));
        assert_eq!(reach.0.len(), NODES);
        reach.told(Node(10_000), 2, false, Micros(5 + REMEMBERED.0));
        assert_eq!(reach.0.len(), 1, "what is forgotten makes room");
    }
}
