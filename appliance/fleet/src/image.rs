//! Images the controller holds: immutable disk content, named by digest; and which of them nobody needs.

use std::collections::BTreeSet;

use pack::{Digest, Layout, PublicKey};
use protocol::{Carried, NodeId};
use serde::{Deserialize, Serialize};

use crate::event::Fact;
use crate::job::Job;
use crate::plan::{Plan, PlanState};
use crate::{Change, Denied, Fleet, Node, Outcome, Time, capture};

/// One image in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// BLAKE3 of the encoded manifest.
    pub digest: Digest,
    /// The manifest's name.
    pub name: String,
    /// Roles whose packages it carries.
    pub roles: BTreeSet<String>,
    /// Architecture.
    pub arch: String,
    /// Size of the disk that it was made of, in bytes.
    pub disk_bytes: u64,
    /// Bytes of the disk that it defines.
    pub content_bytes: u64,
    /// Compressed bytes in the store.
    pub stored_bytes: u64,
    /// Who signed it.
    pub signer: PublicKey,
    /// When it was imported.
    pub imported: Time,
    /// What it makes of a disk; of an image that was imported before this was kept, nothing is known.
    #[serde(default)]
    pub layout: Layout,
    /// The Merkle root of its content: what is read back from a disk adds up to it. `None` when it was imported before this was
    /// kept.
    #[serde(default)]
    pub root: Option<Digest>,
}

impl Image {
    /// The smallest disk that it goes onto, in bytes. One of whose layout nothing is known needs a disk of its own size.
    pub fn least_bytes(&self) -> u64 {
        self.layout.least_bytes(self.disk_bytes)
    }

    /// What it makes of the disk that it is written to, as far as the choice of that disk goes.
    pub fn carried(&self) -> Carried {
        Carried::of(&self.layout)
    }
}

/// What needs an image, for a refusal; none when nothing does: no node runs it, no open plan names it, no job writes it.
pub fn user(fleet: &Fleet, digest: Digest) -> Option<String> {
    let runs = |node: &&Node| node.installed.as_ref().is_some_and(|installed| installed.image == digest);
    if let Some(node) = fleet.nodes.values().find(runs) {
        return Some(format!("{} runs it", node.name));
    }
    let open = |plan: &&Plan| plan.image == digest && plan.state == PlanState::Open;
    if let Some(plan) = fleet.plans.values().find(open) {
        return Some(format!("plan {} names it", plan.id));
    }
    // A job that failed may be tried again, as long as its node waits for that.
    let waits = |job: &Job| fleet.nodes.get(&job.node).is_some_and(|node| node.state.job() == Some(job.id));
    let works = |job: &&Job| job.image == digest && (!job.state.ended() || waits(job));
    fleet.jobs.values().find(works).map(|job| format!("job {} writes it", job.id))
}

/// Where an image came from. Of two images with one name, one of the same origin takes the place of the other.
#[derive(PartialEq, Eq)]
enum Origin {
    /// A file.
    File,
    /// The disk of a node, without what belongs to that node.
    Node,
    /// The disk of this node, as it was.
    AsIs(NodeId),
}

fn origin(fleet: &Fleet, image: Digest) -> Origin {
    match capture::owner(fleet, image) {
        Some(node) => Origin::AsIs(node),
        None if capture::is_taken(fleet, image) => Origin::Node,
        None => Origin::File,
    }
}

/// Images that nothing needs and of whose name and origin there is a newer one; the oldest first.
pub fn prunable(fleet: &Fleet) -> Vec<&Image> {
    let is_newest = |image: &Image| {
        let own = origin(fleet, image.digest);
        let of_name = fleet.images.values().filter(|other| other.name == image.name);
        let of_name = of_name.filter(|other| origin(fleet, other.digest) == own);
        of_name
            .max_by_key(|other| (other.imported, other.digest))
            .is_some_and(|newest| newest.digest == image.digest)
    };
    let images = fleet.images.values().filter(|image| !is_newest(image));
    let mut images = images.filter(|image| user(fleet, image.digest).is_none()).collect::<Vec<_>>();
    images.sort_by_key(|image| (image.imported, image.digest));
    images
}

/// Puts an image into the list.
pub(crate) fn imported(image: Image) -> Outcome {
    let text = format!("{} ({})", image.name, image.digest.short());
    let fact = Fact { node: None, mac: None, kind: "imported".to_owned(), text };
    Outcome { changes: vec![Change::Image(Box::new(image))], facts: vec![fact], ..Outcome::default() }
}

/// Takes an image out of the list.
///
/// # Errors
/// [`Denied::Missing`]; [`Denied::Conflict`] when something needs it.
pub(crate) fn forget(fleet: &Fleet, digest: Digest) -> Result<Outcome, Denied> {
    let missing = || Denied::Missing { kind: "image", name: digest.short() };
    let image = fleet.images.get(&digest).ok_or_else(missing)?;
    if let Some(why) = user(fleet, digest) {
        let text = format!("image {} ({}) stays: {why}", image.name, digest.short());
        return Err(Denied::Conflict(text));
    }
    let text = format!("{} ({})", image.name, digest.short());
    let fact = Fact { node: None, mac: None, kind: "deleted".to_owned(), text };
    Ok(Outcome { changes: vec![Change::ForgetImage(digest)], facts: vec![fact], ..Outcome::default() })
}
