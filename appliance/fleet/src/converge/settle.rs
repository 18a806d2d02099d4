//! Which nodes get a new document.

use std::collections::BTreeSet;

use pack::Digest;
use protocol::StateDocument;

use super::{Unconvertible, document};
use crate::catalog::Service;
use crate::cloud::objects;
use crate::cloud::release::{self, Providers};
use crate::node::Document;
use crate::{Catalog, Change, Fleet, Node, Site};

/// After any change: every running node whose document is another one now gets a new generation.
///
/// A document that can't be made leaves the node with the one it has; the reason is in the second list.
pub fn settle(fleet: &Fleet, site: &Site, catalog: &Catalog) -> (Vec<Change>, Vec<(Node, Unconvertible)>) {
    let Some(objects) = objects::joined(fleet, catalog) else { return documents(fleet, site, catalog) };
    // The documents name who has come: that is kept together with them.
    let joined = Change::Objects(Box::new(objects));
    let mut fleet = fleet.clone();
    fleet.put(joined.clone());
    let (mut changes, failed) = documents(&fleet, site, catalog);
    changes.insert(0, joined);
    (changes, failed)
}

fn documents(fleet: &Fleet, site: &Site, catalog: &Catalog) -> (Vec<Change>, Vec<(Node, Unconvertible)>) {
    let (mut changes, mut failed) = (Vec::new(), Vec::new());
    let providers = Providers::of(fleet, site, catalog);
    let rack = &providers.rack;
    for node in fleet.nodes.values().filter(|node| runs(node)) {
        let held = release::held(&providers, node);
        let is_held = |service: &Service| held.contains_key(service.name.as_str());
        match document(rack, site, catalog, node, is_held) {
            Err(why) => failed.push((node.clone(), why)),
            Ok(document) => {
                let digest = Some(fingerprint(&document));
                let grows = u64::from(node.document.digest != digest);
                let generation = node.document.generation + grows;
                let mut next = node.clone();
                let released = document.services.iter().map(|service| service.name.clone()).collect();
                let leaves = document.services.iter().any(|service| service.leave.is_some());
                next.document = Document {
                    generation,
                    digest,
                    resting: resting(&document),
                    released,
                    leaves,
                    passwords: rack.editions.of_node(node.id).number,
                    taken: node.document.taken,
                };
                if next.document != node.document {
                    changes.push(Change::Node(Box::new(next)));
                }
            }
        }
    }
    (changes, failed)
}

/// After a restore: every document under a number that no controller of an earlier reign has given. What that has told nodes since the
/// backup was made may have the number that this one would give next, and another content: passwords of a rotation that is forgotten here.
pub fn renumbered(fleet: &Fleet, epoch: u64) -> Vec<Change> {
    let told = fleet.nodes.values().filter(|node| node.document.generation > 0);
    let next = told.map(|node| {
        let mut next = node.clone();
        next.document.generation = epoch.max(node.document.generation + 1);
        // Nobody knows which of a rotation that is forgotten here it has.
        next.document.taken = u64::MAX;
        Change::Node(Box::new(next))
    });
    next.collect()
}

/// Units that the document wants stopped.
fn resting(document: &StateDocument) -> BTreeSet<String> {
    let stopped = document.units.iter().filter(|unit| !unit.running);
    stopped.map(|unit| unit.name.clone()).collect()
}

/// Whether it has a document, or should.
pub(crate) fn runs(node: &Node) -> bool {
    node.run.is_some() && ["booting", "enrolling", "active"].contains(&node.state.phase())
}

fn fingerprint(document: &StateDocument) -> Digest {
    let bare = StateDocument { generation: 0, ..document.clone() };
    Digest::of(&serde_json::to_vec(&bare).unwrap_or_default())
}
