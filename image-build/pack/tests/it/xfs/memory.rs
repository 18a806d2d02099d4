//! XFS with more pieces of free space than anybody has: what is kept of them is bounded.

use std::io;
use std::process::Command;

use pack::{Source, volume};

const BLOCK: usize = 4096;
/// Pieces of free space of one block each, twice as many as a set of ranges keeps.
const PIECES: u32 = 8 << 20;
const LEAF: u32 = (4096 - 16) / 8;
const NODE: u32 = (4096 - 16) / 12;
const LEAVES: u32 = PIECES.div_ceil(LEAF);
const NODES: u32 = LEAVES.div_ceil(NODE);
const ROOT_AT: u32 = 16;
const NODES_AT: u32 = 100;
const LEAVES_AT: u32 = 1000;
const LOG_AT: u32 = 20_000;
const FREE_AT: u32 = 32_768;
const BLOCKS: u32 = FREE_AT + 2 * PIECES;

/// A file system of version 4 of one group, of which every second block is free. Its blocks are made when they are read.
struct Checkered;

fn put(bytes: &mut [u8], fields: &[(usize, u32)]) {
    for (at, value) in fields {
        bytes[*at..*at + 4].copy_from_slice(&value.to_be_bytes());
    }
}

fn headers() -> [u8; BLOCK] {
    let mut bytes = [0; BLOCK];
    let superblock =
        [(0, 0x5846_5342), (4, 4096), (12, BLOCKS), (52, LOG_AT), (84, BLOCKS), (88, 1), (96, 1024)];
    put(&mut bytes, &superblock);
    put(&mut bytes, &[(100, 0x0004_0200)]);
    bytes[120] = 12;
    bytes[124] = u8::try_from(BLOCKS.next_power_of_two().trailing_zeros()).unwrap();
    put(&mut bytes, &[(512, 0x5841_4746), (516, 1), (524, BLOCKS), (528, ROOT_AT), (540, 3), (564, PIECES)]);
    bytes
}

/// The `number`th of the blocks of a level.
fn tree(level: u32, number: u32) -> [u8; BLOCK] {
    let mut bytes = [0; BLOCK];
    let (most, all) = match level {
        0 => (LEAF, PIECES),
        1 => (NODE, LEAVES),
        _ => (NODE, NODES),
    };
    let first = number * most;
    let count = most.min(all - first);
    put(&mut bytes, &[(0, 0x4142_5442), (4, level << 16 | count)]);
    for n in 0..count {
        let at = 16 + n as usize * 8;
        let pointer = 16 + NODE as usize * 8 + n as usize * 4;
        match level {
            0 => put(&mut bytes, &[(at, FREE_AT + 2 * (first + n)), (at + 4, 1)]),
            1 => put(&mut bytes, &[(pointer, LEAVES_AT + first + n)]),
            _ => put(&mut bytes, &[(pointer, NODES_AT + first + n)]),
        }
    }
    bytes
}

impl Source for Checkered {
    fn bytes(&self) -> u64 {
        u64::from(BLOCKS) * BLOCK as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        pack::source::within(self.bytes(), offset, out.len())?;
        let block = u32::try_from(offset / BLOCK as u64).unwrap();
        let bytes = match block {
            0 => headers(),
            ROOT_AT => tree(2, 0),
            NODES_AT.. if block < NODES_AT + NODES => tree(1, block - NODES_AT),
            LEAVES_AT.. if block < LEAVES_AT + LEAVES => tree(0, block - LEAVES_AT),
            _ => [0; BLOCK],
        };
        let begin = usize::try_from(offset % BLOCK as u64).unwrap();
        out.copy_from_slice(&bytes[begin..begin + out.len()]);
        Ok(())
    }
}

/// The most memory that this process ever had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}

#[test]
#[ignore = "`cargo test -p pack memory_is_bounded` runs it, in a process of its own"]
fn eight_million_pieces() {
    let before = peak();
    let volume = volume::read(&Checkered).unwrap();
    assert_eq!((volume.kind, volume.why_whole), ("xfs", None));
    assert!(volume.used.bytes() >= u64::from(PIECES) * BLOCK as u64);
    let grown = (peak() - before) / 1024;
    // What the allocator and the program itself take comes on top.
    assert!(grown <= 72, "{grown} MiB: a full set of ranges is 64");
}

#[test]
fn memory_is_bounded() {
    let test = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "xfs::memory::eight_million_pieces"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&test.stdout);
    assert!(test.status.success() && text.contains("1 passed"), "{text}");
}
