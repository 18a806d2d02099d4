//! What other programs say is in use.

use std::ops::Range;

use pack::{Extents, Source};

use super::btrfs;
use crate::lab::{Disk, MIB};

/// The first number after a word.
fn after(line: &str, word: &str) -> Option<u64> {
    let rest = line.split_once(&format!("{word} "))?.1;
    rest.trim_start().split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn number(image: &Disk, field: &str) -> u64 {
    let dump = btrfs(&["inspect-internal", "dump-super", image.name()]);
    let line = dump.lines().find(|line| line.split_whitespace().next() == Some(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A chunk as btrfs-progs prints it.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) logical: u64,
    pub(super) bytes: u64,
    pub(super) is_data_only: bool,
    /// Device and offset.
    pub(super) stripes: Vec<(u64, u64)>,
}

pub(super) fn chunks(image: &Disk) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    for line in btrfs(&["inspect-internal", "dump-tree", "-t", "chunk", image.name()]).lines() {
        if let Some(logical) = after(line, "CHUNK_ITEM") {
            chunks.push(Chunk { logical, ..Chunk::default() });
        }
        let Some(chunk) = chunks.last_mut() else { continue };
        if line.contains("stripe_len") {
            chunk.bytes = after(line, "length").unwrap();
            chunk.is_data_only = line.contains("type DATA|") && !line.contains("METADATA");
        }
        if line.contains("devid") && line.contains("offset") && line.contains("stripe") {
            chunk.stripes.push((after(line, "devid").unwrap(), after(line, "offset").unwrap()));
        }
    }
    chunks
}

/// Where the nodes of a tree lie on the device, the first copy of each, the root first.
pub(super) fn nodes(image: &Disk, tree: &str) -> Vec<u64> {
    let chunks = chunks(image);
    let mut nodes = Vec::new();
    for line in btrfs(&["inspect-internal", "dump-tree", "-t", tree, image.name()]).lines() {
        let number = after(line, "leaf").or_else(|| after(line, "node"));
        let Some(logical) = number.filter(|_| line.contains(" generation ") && line.contains(" owner "))
        else {
            continue;
        };
        let holds = |chunk: &&Chunk| (chunk.logical..chunk.logical + chunk.bytes).contains(&logical);
        let chunk = chunks.iter().find(holds).unwrap();
        nodes.push(logical - chunk.logical + chunk.stripes[0].1);
    }
    nodes
}

/// The extent items that btrfs-progs prints: logical addresses in use.
pub(super) fn extents(image: &Disk) -> Extents {
    let node_bytes = number(image, "nodesize");
    let mut logical = Extents::new();
    for line in btrfs(&["inspect-internal", "dump-tree", "-t", "extent", image.name()]).lines() {
        let Some(key) = line.split_once("key (").and_then(|(_, rest)| rest.split_once(')')) else { continue };
        match key.0.split(' ').collect::<Vec<_>>()[..] {
            [start, "EXTENT_ITEM", bytes] => {
                let start = start.parse().unwrap();
                logical.add(start..start + bytes.parse::<u64>().unwrap());
            }
            [start, "METADATA_ITEM", _] => {
                let start = start.parse().unwrap();
                logical.add(start..start + node_bytes);
            }
            _ => {}
        }
    }
    assert!(logical.bytes() > 0);
    logical
}

/// Those, put through the chunks that btrfs-progs prints, with the first MiB and the superblocks: what has to be found.
pub(super) fn progs(image: &Disk) -> Extents {
    let (device, disk_bytes) = (number(image, "dev_item.devid"), image.bytes());
    let logical = extents(image);
    let mut used = Extents::all(MIB);
    for chunk in chunks(image) {
        for (_, offset) in chunk.stripes.iter().filter(|(owner, _)| *owner == device) {
            let here = |at: u64| at - chunk.logical + offset;
            let extents = logical.within(chunk.logical..chunk.logical + chunk.bytes);
            extents.for_each(|extent| used.add(here(extent.start)..here(extent.end)));
        }
    }
    let copies = [64 << 10, 64 << 20, 256 << 30].map(|at: u64| at..at + 4096);
    copies.into_iter().filter(|copy| copy.end <= disk_bytes).for_each(|copy| used.add(copy));
    used
}

/// Refuses a map with less in it than partclone saves, or more, but for these. Partclone:
/// - rounds to blocks as long as a node;
/// - also saves what lies on the device where the logical addresses would be, were they no logical ones;
/// - saves blocks beside the nodes that no extent item holds;
/// - leaves out second copies, without which a scrub finds errors; nodes, among them roots of snapshots, without which those
///   can't be read (0.3.23 does); and what boot loaders keep in the first MiB.
pub(super) fn compare_partclone(image: &Disk, used: &Extents) {
    let (saved, block) = (image.partclone("btrfs"), number(image, "nodesize"));
    let round = |range: Range<u64>| range.start / block * block..range.end.next_multiple_of(block);
    let chunks = chunks(image);
    let lies = |chunk: &Chunk, offset: u64| offset..offset + chunk.bytes;
    let nodes = chunks.iter().filter(|chunk| !chunk.is_data_only);
    let nodes = nodes.flat_map(|chunk| chunk.stripes.iter().map(|(_, offset)| lies(chunk, *offset)));
    let nodes = nodes.collect::<Vec<_>>();

    let mut theirs_only = saved.clone();
    used.iter().map(round).for_each(|range| theirs_only.remove(range));
    extents(image).iter().map(round).for_each(|range| theirs_only.remove(range));
    nodes.iter().for_each(|range| theirs_only.remove(range.clone()));
    assert_eq!(theirs_only, Extents::new(), "partclone saves more");

    let mut ours_only = used.clone();
    saved.iter().for_each(|range| ours_only.remove(range));
    ours_only.remove(0..MIB);
    nodes.iter().for_each(|range| ours_only.remove(range.clone()));
    let copies =
        chunks.iter().flat_map(|chunk| chunk.stripes.iter().skip(1).map(|(_, offset)| lies(chunk, *offset)));
    copies.for_each(|range| ours_only.remove(range));
    assert_eq!(ours_only, Extents::new(), "partclone saves less");
}
