//! Why no plan can be made.

use protocol::{Clash, Holding, Mark};

/// Why no plan can be made, or one can't be applied any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unplannable {
    /// Not in a state that allows it.
    #[error(
        "{name} is {state}: only a ready, planned or active node (or one that needs attention) can be planned"
    )]
    State {
        /// The node.
        name: String,
        /// Its state.
        state: &'static str,
    },
    /// Nothing to be.
    #[error("{name} has no role: say what it is for first (rackwright node role set {name} control)")]
    NoRole {
        /// The node.
        name: String,
    },
    /// No image has its roles.
    #[error("no image carries {roles}: import one that does (rackwright image import FILE)")]
    NoImage {
        /// What is needed.
        roles: String,
    },
    /// The image lacks roles.
    #[error("image {image} does not carry {roles}: choose another (rackwright image list)")]
    WrongImage {
        /// The image.
        image: String,
        /// What it lacks.
        roles: String,
    },
    /// The image is of another node, keys and all.
    #[error(
        "image {image} is {owner} as it was, with its keys and ids, and not for {name}: take one without them (rackwright \
         image capture {owner} --name NAME --generalize)"
    )]
    Personal {
        /// The image.
        image: String,
        /// The node that it was taken of.
        owner: String,
        /// The node that was to get it.
        name: String,
    },
    /// No disk will do.
    #[error("no disk of {name} can take the image (at least {need} bytes): {}", .why.join("; "))]
    NoDisk {
        /// The node.
        name: String,
        /// Bytes.
        need: u64,
        /// Why not, disk by disk.
        why: Vec<String>,
    },
    /// Several would do.
    #[error("{name} has {} disks that fit: name one with --disk: {}", .disks.len(), .disks.join(", "))]
    Ambiguous {
        /// The node.
        name: String,
        /// Which.
        disks: Vec<String>,
    },
    /// The disk that was named will not do.
    #[error("disk {disk} of {name} can't be used: {why}")]
    WrongDisk {
        /// The node.
        name: String,
        /// The disk.
        disk: String,
        /// Why.
        why: String,
    },
    /// Another disk would be mounted in its place.
    #[error(
        "disk {twin} of {name} already carries a Rackwright system: two would be mistaken for each other at boot; \
         take it out, or erase it, or name it with --disk"
    )]
    Twin {
        /// The node.
        name: String,
        /// The other disk.
        twin: String,
    },
    /// Another disk has something of the same name.
    #[error(
        "the image brings to {disk} of {name} what another disk carries, and which is mounted at boot is chance: {}; take \
         that disk out, or erase it",
        .clashes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    Clash {
        /// The node.
        name: String,
        /// The disk that would be written.
        disk: String,
        /// What is there twice.
        clashes: Vec<Clash>,
    },
    /// Something on the disk is part of something bigger, or there is more than one system on it.
    #[error(
        "disk {disk} of {name} holds more than one old system: {}; if nobody needs that, name it: {}",
        .found.iter().map(in_words).collect::<Vec<_>>().join(", "),
        .found.iter().map(|held| format!("--erase {}", Mark::short(held))).collect::<Vec<_>>().join(" ")
    )]
    Foreign {
        /// The node.
        name: String,
        /// The disk.
        disk: String,
        /// What is foreign on it and was not named.
        found: Vec<Holding>,
    },
    /// What shall be erased by name is not there.
    #[error("disk {disk} of {name} holds no {mark}; it holds {}", or_nothing(.there))]
    NoSuchHolding {
        /// The node.
        name: String,
        /// The disk.
        disk: String,
        /// What was named.
        mark: String,
        /// What is there, as it is named.
        there: Vec<String>,
    },
    /// A role keeps data, and there is no disk for it.
    #[error("the roles of {name} need a data disk beside the system disk: {}", or_none(.why))]
    NoDataDisk {
        /// The node.
        name: String,
        /// Why not, disk by disk.
        why: Vec<String>,
    },
    /// Several disks would do for the data.
    #[error("{name} has {} disks that can hold its data: name one with --data-disk: {}", .disks.len(), .disks.join(", "))]
    AmbiguousData {
        /// The node.
        name: String,
        /// Which.
        disks: Vec<String>,
    },
    /// The data disk that was named, or that it had, will not do.
    #[error("disk {disk} of {name} can't hold its data: {why}; another is named with --data-disk")]
    WrongDataDisk {
        /// The node.
        name: String,
        /// The disk.
        disk: String,
        /// Why.
        why: String,
    },
    /// A data disk was named for nothing.
    #[error("no role of {name} keeps data: plan without --data-disk")]
    NoData {
        /// The node.
        name: String,
    },
    /// The plan's time is over.
    #[error("plan {plan} can't be applied: {why}; make a new one (rackwright node plan {name})")]
    Stale {
        /// The plan.
        plan: String,
        /// The node.
        name: String,
        /// What changed.
        why: String,
    },
}

fn or_none(why: &[String]) -> String {
    if why.is_empty() { "it has no other disk".to_owned() } else { why.join("; ") }
}

fn or_nothing(there: &[String]) -> String {
    if there.is_empty() { "nothing that is recognised".to_owned() } else { there.join(", ") }
}

/// Something on a disk, for a person.
fn in_words(held: &Holding) -> String {
    let place = match held.partition {
        0 => "whole disk".to_owned(),
        number => format!("partition {number}"),
    };
    match [&held.label, &held.uuid].into_iter().find(|name| !name.is_empty()) {
        Some(name) => format!("{} {name:?} ({place})", held.kind),
        None => format!("{} ({place})", held.kind),
    }
}
