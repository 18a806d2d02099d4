//! The rings of the object storage: which node keeps which part of the objects, in the format of Swift's own programs.
//!
//! A ring splits the names of all things into partitions, and says for each on which devices its copies are. Swift's builder keeps a file
//! of its own and moves as little as it can from one state to the next. This one keeps nothing: for each partition every device draws a
//! number, made of the node's id and the partition alone, and the highest have it (highest random weight, Thaler and Ravishankar 1998).
//! So the same devices give the same ring, whatever order they came in; one more takes from each of the others what is its share, and what
//! one had that is gone is shared out among the rest; nothing else moves. Every device counts the same: all are made in one size.

mod file;

use std::net::Ipv4Addr;

use protocol::NodeId;

pub use file::file;

/// Partitions are numbered with so many bits: 4096 of them. Swift's rule is a hundred for each device, so this is enough for some forty
/// nodes with three copies of everything, and still even, if less so, for three times as many. It never changes: another number would
/// have every object in another place.
pub const PART_POWER: u32 = 12;
/// Copies of everything, where there are so many nodes.
pub const REPLICAS: usize = 3;

/// What a ring is of. Each has a server of its own on every storage node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Lists of containers.
    Account,
    /// Lists of objects.
    Container,
    /// What was put.
    Object,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Account, Kind::Container, Kind::Object];

    /// As it is called in Swift's file names.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Account => "account",
            Kind::Container => "container",
            Kind::Object => "object",
        }
    }

    /// Where its server listens: the ports of Swift's own examples, and of Debian's packages.
    pub fn port(self) -> u16 {
        match self {
            Kind::Account => 6202,
            Kind::Container => 6201,
            Kind::Object => 6200,
        }
    }
}

/// The file system for objects of one node; a node has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its number in the rings; no other device ever has it.
    pub number: u16,
    /// The node.
    pub node: NodeId,
    /// Where the node's servers are.
    pub address: Ipv4Addr,
}

/// Of each copy, in each partition, the number of the device that it is on. As many copies as there are devices, and at most
/// [`REPLICAS`]; no two of a partition on one device. Devices with the same number or node count once.
pub fn assign(devices: &[Device]) -> Vec<Vec<u16>> {
    let mut seats =
        devices.iter().map(|device| (seed(device.node), device.node, device.number)).collect::<Vec<_>>();
    seats.sort_unstable_by_key(|&(_, node, number)| (node, number));
    seats.dedup_by_key(|&mut (_, node, _)| node);
    let copies = seats.len().min(REPLICAS);
    let partitions = 1usize << PART_POWER;
    let mut rows = vec![Vec::with_capacity(partitions); copies];
    let mut drawn = Vec::with_capacity(seats.len());
    for partition in 0..1u64 << PART_POWER {
        drawn.clear();
        drawn.extend(seats.iter().map(|&(seed, node, number)| (draw(seed, partition), node, number)));
        // The node's id decides where two have drawn the same.
        drawn.sort_unstable_by(|a, b| b.cmp(a));
        for (row, (_, _, number)) in rows.iter_mut().zip(&drawn) {
            row.push(*number);
        }
    }
    rows
}

/// What a device draws its numbers from.
fn seed(node: NodeId) -> u64 {
    let digest = blake3::derive_key("rackwright 2026-11 rings of the object storage", &node.0);
    let (first, _) = digest.split_at(8);
    first.iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

/// The number that a device draws for a partition. A change of this moves every object of every rack.
fn draw(seed: u64, partition: u64) -> u64 {
    mix(seed ^ mix(partition.wrapping_add(0x9e37_79b9_7f4a_7c15)))
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every bit of the input is in every bit of the output.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}
