//! What other programs say is in use.

use std::fs;

use pack::Extents;

use super::{Image, MIB, btrfs, run};

/// The first number after a word.
fn after(line: &str, word: &str) -> Option<u64> {
    let rest = line.split_once(&format!("{word} "))?.1;
    rest.trim_start().split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn number(image: &Image, field: &str) -> u64 {
    let dump = btrfs(&["inspect-internal", "dump-super", image.path()]);
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

pub(super) fn chunks(image: &Image) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    for line in btrfs(&["inspect-internal", "dump-tree", "-t", "chunk", image.path()]).lines() {
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

/// The extent items that btrfs-progs prints, put through the chunks that it prints: what the reader has to find, with the
/// first MiB and the superblocks.
pub(super) fn progs(image: &Image) -> Extents {
    let node_bytes = number(image, "nodesize");
    let (device, disk_bytes) = (number(image, "dev_item.devid"), fs::metadata(&image.path).unwrap().len());
    let mut logical = Extents::new();
    for line in btrfs(&["inspect-internal", "dump-tree", "-t", "extent", image.path()]).lines() {
        let Some(start) = after(line, "key (")
            .or_else(|| line.split_once("key (").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok()))
        else {
            continue;
        };
        if let Some(bytes) = after(line, " EXTENT_ITEM") {
            logical.add(start..start + bytes);
        } else if line.contains(" METADATA_ITEM ") {
            logical.add(start..start + node_bytes);
        }
    }
    assert!(logical.bytes() > 0);
    let mut used = Extents::all(MIB);
    for chunk in chunks(image) {
        for (_, offset) in chunk.stripes.iter().filter(|(owner, _)| *owner == device) {
            let extents = logical.within(chunk.logical..chunk.logical + chunk.bytes);
            extents.for_each(|extent| {
                used.add(extent.start - chunk.logical + offset..extent.end - chunk.logical + offset)
            });
        }
    }
    let copies = [64 << 10, 64 << 20, 256 << 30].map(|at: u64| at..at + 4096);
    copies.into_iter().filter(|copy| copy.end <= disk_bytes).for_each(|copy| used.add(copy));
    used
}

/// What partclone would save.
pub(super) fn partclone(image: &Image) -> Extents {
    let log = image.dir.path().join("domain");
    let quiet = image.dir.path().join("partclone.log");
    let (log, quiet) = (log.to_str().unwrap(), quiet.to_str().unwrap());
    run("partclone", "partclone.btrfs", &["-D", "-q", "-F", "-s", image.path(), "-o", log, "-L", quiet]);
    let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    let text = fs::read_to_string(log).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let ranges = lines.filter_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [start, bytes, "+"] => Some(hex(start)..hex(start) + hex(bytes)),
        _ => None,
    });
    let saved = ranges.collect::<Extents>();
    assert!(saved.bytes() > 0, "{text}");
    saved
}
