//! Bytes that mkfs.btrfs would not write.

use std::sync::LazyLock;

use pack::Extents;
use pack::volume::{self, Volume};
use proptest::prelude::*;

use super::{fill, made, oracle};
use crate::lab::{Bent, MIB};

const SUPERBLOCK: u64 = 64 << 10;
const SYSTEM_CHUNK: u64 = SUPERBLOCK + 0x32b + 17;
const BYTES: u64 = 128 * MIB;

/// A small file system whose trees have several levels.
struct Sample {
    bytes: Vec<u8>,
    volume: Volume,
    /// The nodes of the extent, chunk and root trees on the device, the root of each first.
    extent: Vec<u64>,
    chunk: Vec<u64>,
    root: Vec<u64>,
}

impl Sample {
    fn new(mkfs: &[&str]) -> Sample {
        let image = made(BYTES, &[&["-n", "4096", "-d", "single"], mkfs].concat());
        fill::fragment(image.mount("rw").path(), 12);
        let nodes = |tree| oracle::nodes(&image, tree);
        Sample {
            bytes: image.load(),
            volume: image.map("btrfs"),
            extent: nodes("extent"),
            chunk: nodes("chunk"),
            root: nodes("root"),
        }
    }

    fn bend(&self, edits: &[(u64, &[u8])]) -> Volume {
        let mut bent = Bent::of(&self.bytes);
        edits.iter().for_each(|(at, bytes)| bent.put(*at, bytes));
        bent.volume()
    }

    fn bent(&self, edits: &[(u64, Vec<u8>)]) -> Volume {
        self.bend(&edits.iter().map(|(at, bytes)| (*at, bytes.as_slice())).collect::<Vec<_>>())
    }
}

/// With checksums that the reader leaves unverified: what is bent is believed.
static BELIEVED: LazyLock<Sample> = LazyLock::new(|| Sample::new(&["-m", "single", "--csum", "xxhash"]));
static VERIFIED: LazyLock<Sample> = LazyLock::new(|| Sample::new(&["-m", "single"]));
static TWICE: LazyLock<Sample> = LazyLock::new(|| Sample::new(&["-m", "dup"]));

fn check_refused(name: &str, volume: &Volume, why: &str) {
    assert_eq!((volume.kind, &volume.used), ("btrfs", &Extents::all(BYTES)), "{name}");
    let said = volume.why_whole.as_deref().unwrap();
    assert!(said.contains(why), "{name}: {said}");
}

#[test]
fn superblocks_that_lie() {
    let max = &[0xff; 8][..];
    let table: &[(&str, u64, &[u8], &str)] = &[
        ("address", 0x30, &[1], "superblock is damaged"),
        ("an error", 0x38, &[5], "flags 0x4"),
        ("a UUID half changed", 0x3c, &[8], "flags 0x800000000"),
        ("generation", 0x48, max, "of tree 1 is damaged"),
        ("root", 0x50, max, "a node can't be at"),
        ("root not aligned", 0x50, &[1], "a node can't be at"),
        ("root in no chunk", 0x56, &[1], "in no chunk"),
        ("chunk root", 0x58, max, "a node can't be at"),
        ("log", 0x60, &[0, 16], "its log must be replayed"),
        ("bytes used", 0x79, &[0xff], "are in use"),
        ("sectors of 0", 0x90, &[0; 4], "sectors are of 0 bytes"),
        ("sectors of 3", 0x90, &[3], "sectors are of"),
        ("sectors of 2 GiB", 0x90, &[0, 0, 0, 0x80], "sectors are of"),
        ("nodes of 0", 0x94, &[0; 4], "nodes of 0"),
        ("nodes of 128 KiB", 0x94, &[0, 0, 2, 0], "nodes of 131072"),
        ("nodes of 2 KiB", 0x94, &[0, 8], "nodes of 2048"),
        ("nodes of 8 KiB", 0x94, &[0, 32], "the extent of 8192 bytes"),
        ("no system chunks", 0xa0, &[0; 4], "is in no chunk"),
        ("half a system chunk", 0xa0, &[30, 0], "cut short"),
        ("a system chunk too long", 0xa0, &[98, 0], "cut short"),
        ("system chunks, 2049 bytes", 0xa0, &[1, 8], "too long"),
        ("system chunks, 4 GiB", 0xa0, &[0xff; 4], "too long"),
        ("chunk root generation", 0xa4, max, "of tree 3 is damaged"),
        ("an unknown read-only feature", 0xb4, &[0x13], "ro_compat 0x10"),
        ("zoned", 0xbd, &[0x13], "incompat 0x1000"),
        ("extent tree v2", 0xbd, &[0x23], "incompat 0x2000"),
        ("RAID stripe tree", 0xbd, &[0x43], "incompat 0x4000"),
        ("the future", 0xbf, &[0x80], "incompat 0x80000000"),
        ("checksums", 0xc4, &[4], "checksums are of kind 4"),
        ("checksums of another kind", 0xc4, &[0], "superblock is damaged"),
        ("root level", 0xc6, &[255], "tree 1 has 255 levels"),
        ("another root level", 0xc6, &[7], "of tree 1 is damaged"),
        ("chunk root level", 0xc7, &[8], "tree 3 has 8 levels"),
        ("device 0", 0xc9, &[0], "target of a replacement"),
        ("device 2", 0xc9, &[2], "is on no device"),
        ("device length", 0xd1, max, "longer than its volume"),
        ("device UUID", 0x10b, &[1, 2, 3, 4], "do not fit together"),
        ("a system chunk's key", 0x32b + 8, &[1], "list of system chunks is damaged"),
    ];
    for (name, at, bytes, why) in table {
        check_refused(name, &BELIEVED.bend(&[(SUPERBLOCK + at, bytes)]), why);
    }
    assert_eq!(BELIEVED.bend(&[(SUPERBLOCK + 0x40, b"-")]).kind, "raw");
}

#[test]
fn chunks_that_lie() {
    let table: &[(&str, u64, &[u8], &str)] = &[
        ("no length", 0, &[0; 8], "is damaged"),
        ("all addresses", 0, &[0xff; 8], "is damaged"),
        ("all aligned addresses", 1, &[0xf0, 255, 255, 255, 255, 255, 255], "is damaged"),
        ("longer than the device", 4, &[1], "is not within the device"),
        ("two profiles", 24, &[0x32], "of an unknown kind"),
        ("an unknown profile", 25, &[0x80], "of an unknown kind"),
        ("RAID6 of one", 25, &[1], "of an unknown kind"),
        ("RAID10 of none", 24, &[0x42, 0, 0, 0, 0, 0, 0, 0], "of an unknown kind"),
        ("no stripe", 44, &[0], "of an unknown kind"),
        ("all stripes", 44, &[0xff, 0xff], "cut short"),
        ("no such device", 48, &[9], "is on no device"),
        ("a stripe at the end", 56, &[0xff; 8], "is not within the device"),
        ("a stripe just over the end", 56, &[0, 0, 0xf0, 7], "is not within the device"),
        ("another stripe", 56, &[0, 0, 0x50, 0], "damaged"),
    ];
    for (name, at, bytes, why) in table {
        check_refused(name, &BELIEVED.bend(&[(SYSTEM_CHUNK + at, bytes)]), why);
    }
}

#[test]
fn nodes_that_lie() {
    let sample = &*BELIEVED;
    let (root, leaf) = (sample.extent[0], *sample.extent.last().unwrap());
    assert!(sample.extent.len() > 10 && sample.bytes[usize::try_from(root).unwrap() + 100] > 0);
    let table: &[(&str, u64, &[u8], &str)] = &[
        ("another file system's", leaf + 32, &[1, 2, 3], "of tree 2 is damaged"),
        ("another node", leaf + 48, &[1], "of tree 2 is damaged"),
        ("another generation", leaf + 80, &[0xff], "of tree 2 is damaged"),
        ("another tree's", leaf + 88, &[5], "of tree 2 is damaged"),
        ("no items", leaf + 96, &[0; 4], "of tree 2 is damaged"),
        ("4 billion items", leaf + 96, &[0xff; 4], "of tree 2 is damaged"),
        ("as many items as fit", leaf + 96, &[159, 0], "of tree 2 is damaged"),
        ("another level", leaf + 100, &[1], "of tree 2 is damaged"),
        ("another first key", leaf + 101, &[1, 1], "of tree 2 is damaged"),
        ("data among the items", leaf + 101 + 17, &[0; 4], "of tree 2 is damaged"),
        ("data beyond the node", leaf + 101 + 17, &[0xff; 4], "of tree 2 is damaged"),
        ("4 GiB of data", leaf + 101 + 21, &[0xff; 4], "of tree 2 is damaged"),
        ("keys that go down", leaf + 101 + 25, &[0; 17], "of tree 2 is damaged"),
        ("the root below itself", root + 101 + 17, &sample.bytes[65536 + 0x50..][..8], "is damaged"),
        ("no children", root + 96, &[0; 4], "of tree 2 is damaged"),
        ("a child nowhere", root + 101 + 17, &[0xff; 8], "a node can't be at"),
        ("a tree too short", root + 96, &[1], "are in use"),
        ("a chunk tree without", sample.chunk[0] + 96, &[1], "is in no chunk"),
        ("a root tree without", *sample.root.last().unwrap() + 96, &[0], "it has no extent tree"),
    ];
    for (name, at, bytes, why) in table {
        check_refused(name, &sample.bend(&[(*at, bytes)]), why);
    }
}

#[test]
fn a_block_group_tree_changes_nothing() {
    // No extent is in that tree: the flag alone has to do.
    assert_eq!(BELIEVED.bend(&[(SUPERBLOCK + 0xb4, &[0xb])]), BELIEVED.volume);
}

#[test]
fn the_end_is_missing() {
    for bytes in [0, 1, 65_536, 69_631, 69_632, MIB, 64 * MIB, BYTES - 4096, BYTES - 1] {
        let cut = BELIEVED.bytes[..usize::try_from(bytes).unwrap()].to_vec();
        let volume = volume::read(&cut).unwrap();
        assert_eq!(
            (volume.kind, volume.used),
            (if bytes < 69_632 { "raw" } else { "btrfs" }, Extents::all(bytes))
        );
    }
}

/// A place in a superblock or a node of the three trees, and what to put there.
fn edit(sample: &'static Sample) -> impl Strategy<Value = (u64, Vec<u8>)> {
    let nodes = [&sample.extent, &sample.chunk, &sample.root].into_iter().flatten().copied();
    let nodes = nodes.collect::<Vec<_>>();
    let place = prop_oneof![
        1 => (0_u64..0xb30).prop_map(|at| SUPERBLOCK + at),
        2 => (prop::sample::select(nodes.clone()), 0_u64..300).prop_map(|(node, at)| node + at),
        2 => (prop::sample::select(nodes), 0_u64..4096).prop_map(|(node, at)| node + at),
    ];
    let bytes = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        any::<u64>().prop_map(|word| word.to_le_bytes().to_vec()),
        Just(vec![0; 8]),
        Just(vec![0xff; 8]),
        (0_u64..64).prop_map(|bit| (1_u64 << bit).to_le_bytes().to_vec()),
    ];
    (place, bytes)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn whatever_is_believed_there_is_an_answer(edits in prop::collection::vec(edit(&BELIEVED), 1..6)) {
        let volume = BELIEVED.bent(&edits);
        prop_assert!(volume.used.end() <= BYTES && volume.label.len() <= 255);
        prop_assert!(volume.why_whole.is_none() || volume.used == Extents::all(BYTES));
    }

    #[test]
    fn what_is_verified_is_right_or_refused(edits in prop::collection::vec(edit(&VERIFIED), 1..6)) {
        let volume = VERIFIED.bent(&edits);
        prop_assert!(volume.used == VERIFIED.volume.used || volume.used == Extents::all(BYTES));
    }

    #[test]
    fn a_node_has_a_second_copy(node in prop::sample::select(TWICE.extent.clone()), at in 0_u64..4096, byte: u8) {
        let volume = TWICE.bend(&[(node + at, &[byte])]);
        prop_assert_eq!(&volume, &TWICE.volume);
    }
}
