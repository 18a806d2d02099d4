use super::checksum::Checksum;
use super::node::Key;
use super::tree::{CHUNK_TREE, ROOT_TREE};
use super::*;

const DEVICE_BYTES: u64 = 1 << 40;
const GIB: u64 = 1 << 30;

fn superblock(bytes_used: u64) -> Superblock {
    let root = |tree| Root { tree, address: 0, generation: 1, level: 0 };
    Superblock {
        checksum: Checksum::Unverified,
        root: root(ROOT_TREE),
        chunk_root: root(CHUNK_TREE),
        bytes_used,
        devices: 2,
        sector_bytes: 4096,
        node_bytes: 16384,
        device: 1,
        device_uuid: [7; 16],
        device_bytes: DEVICE_BYTES,
        node_uuid: [8; 16],
        system_chunks: Vec::new(),
    }
}

/// A chunk item with stripes at (device, offset).
fn chunk(bytes: u64, kind: u64, sub_stripes: u16, stripes: &[(u64, u64)]) -> Vec<u8> {
    let mut item = vec![0; 48];
    item[..8].copy_from_slice(&bytes.to_le_bytes());
    item[24..32].copy_from_slice(&kind.to_le_bytes());
    item[44..46].copy_from_slice(&u16::try_from(stripes.len()).unwrap().to_le_bytes());
    item[46..48].copy_from_slice(&sub_stripes.to_le_bytes());
    for (device, offset) in stripes {
        item.extend([device.to_le_bytes(), offset.to_le_bytes()].concat());
        item.extend([7; 16]);
    }
    item
}

fn extent(start: u64, bytes: u64) -> Key {
    Key { object: start, kind: 168, offset: bytes }
}

/// Name, flags, sub-stripes, stripes, and what has to be used.
type Case = (&'static str, u64, u16, &'static [(u64, u64)], Vec<std::ops::Range<u64>>);

#[test]
fn each_profile_lies_where_the_kernel_puts_it() {
    let superblock = superblock(0);
    let logical = [GIB..GIB + 4096, GIB + (64 << 10)..GIB + (128 << 10)].into_iter().collect::<Extents>();
    let exact = |at: u64| [at..at + 4096, at + (64 << 10)..at + (128 << 10)];
    let half = || std::iter::once(0..GIB / 2).collect::<Vec<_>>();
    let table: [Case; 11] = [
        ("single", 0, 1, &[(1, 5 * GIB)], exact(5 * GIB).to_vec()),
        ("single elsewhere", 0, 1, &[(2, 5 * GIB)], vec![]),
        ("dup", 1 << 5, 1, &[(1, 9 * GIB), (1, 5 * GIB)], [exact(5 * GIB), exact(9 * GIB)].concat()),
        ("raid0 of one", 1 << 3, 1, &[(1, 0)], exact(0).to_vec()),
        ("raid1", 1 << 4, 1, &[(2, 0), (1, 5 * GIB)], exact(5 * GIB).to_vec()),
        ("raid1c3", 1 << 9, 1, &[(2, 0), (1, 0), (3, 0)], exact(0).to_vec()),
        ("raid1c4", 1 << 10, 1, &[(2, 0), (3, 0), (4, 0), (1, 0)], exact(0).to_vec()),
        ("raid0", 1 << 3, 1, &[(1, 0), (2, 0)], half()),
        ("raid10", 1 << 6, 2, &[(1, 0), (2, 0), (3, 0), (4, 0)], half()),
        ("raid5", 1 << 7, 1, &[(1, 0), (2, 0), (3, 0)], half()),
        ("raid6", 1 << 8, 1, &[(1, 0), (2, 0), (3, 0), (4, 0)], half()),
    ];
    for (name, kind, sub_stripes, stripes, want) in table {
        let mut chunks = Chunks::default();
        chunks.add(&superblock, GIB, &chunk(GIB, kind | 1, sub_stripes, stripes)).unwrap();
        let mut used = Extents::new();
        chunks.place(&logical, &mut used).unwrap();
        assert_eq!(used, want.into_iter().collect(), "{name}");
    }
}

#[test]
fn chunks_are_apart() {
    let superblock = superblock(0);
    let mut chunks = Chunks::default();
    let item = chunk(GIB, 1, 1, &[(1, 0)]);
    chunks.add(&superblock, GIB, &item).unwrap();
    chunks.add(&superblock, GIB, &item).unwrap();
    let other = chunk(GIB, 1, 1, &[(1, GIB / 2)]);
    for logical in [GIB / 2, GIB, GIB + 4096, 2 * GIB - 4096] {
        let why = chunks.add(&superblock, logical, &other).unwrap_err().to_string();
        assert_eq!(why, format!("the chunk at {logical} overlaps another"));
    }
    chunks.add(&superblock, 2 * GIB, &other).unwrap();
    let why = chunks.place(&Extents::new(), &mut Extents::new()).unwrap_err().to_string();
    assert_eq!(why, format!("two chunks lie at {} of the device", GIB / 2));
}

#[test]
fn extents_are_in_chunks_in_order_and_as_many_as_they_should_be() {
    let superblock = superblock(8192);
    let mut chunks = Chunks::default();
    chunks.add(&superblock, GIB, &chunk(GIB, 1, 1, &[(1, 0)])).unwrap();
    let mut allocation = Allocation::new(&superblock, &chunks);
    allocation.add(extent(GIB, 4096)).unwrap();
    let bad = [
        (GIB, 4096),
        (GIB - 4096, 4096),
        (GIB + 4096, 0),
        (GIB + 4096, 512),
        (GIB + 5000, 4096),
        (GIB + 4096, GIB),
        (2 * GIB, 4096),
        (GIB + 4096, u64::MAX),
        (u64::MAX - 4095, 4096),
    ];
    for (start, bytes) in bad {
        let why = allocation.add(extent(start, bytes)).unwrap_err().to_string();
        assert_eq!(why, format!("the extent of {bytes} bytes at {start} can't be"));
    }
    allocation.add(extent(2 * GIB - 4096, 4096)).unwrap();
    let want = [GIB..GIB + 4096, 2 * GIB - 4096..2 * GIB].into_iter().collect();
    assert_eq!(allocation.finish().unwrap(), want);
    let none = Allocation::new(&superblock, &chunks).finish().unwrap_err().to_string();
    assert_eq!(none, "its extents are 0 bytes, and not the 8192 that are in use");
}

#[test]
fn too_many_extents_are_counted_with_the_gaps_between() {
    let superblock = superblock(1000 * 4096);
    let mut chunks = Chunks::default();
    chunks.add(&superblock, GIB, &chunk(GIB, 1, 1, &[(1, 0)])).unwrap();
    let mut allocation = Allocation::new(&superblock, &chunks).with_ranges_max(100);
    // Fifty heaps of twenty, with a sector between any two.
    let starts = (0..1000).map(|n| GIB + n / 20 * (16 << 20) + n % 20 * 8192);
    let extents = starts.map(|start| start..start + 4096).collect::<Vec<_>>();
    extents.iter().for_each(|range| allocation.add(extent(range.start, 4096)).unwrap());
    let ranges = allocation.finish().unwrap();
    assert_eq!((ranges.iter().len(), ranges.bytes()), (50, 1000 * 8192));
    for range in extents {
        assert_eq!(ranges.within(range.clone()).collect::<Vec<_>>(), [range]);
    }
}
