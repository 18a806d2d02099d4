//! XFS as nobody made it: bent, cut, lying. The answer is "all of it is used, because …", soon and in little memory; with
//! checksums it is never another map.

use std::time::{Duration, Instant};

use crc::{CRC_32_ISCSI, Crc};
use pack::Extents;
use pack::volume::Volume;
use proptest::prelude::*;

use super::image::Image;
use crate::lab::{Bent, MIB, run};

/// Makes the checksum of a structure right again.
fn seal(bent: &mut Bent<'_>, offset: u64, length: u64, at: u64) {
    bent.put(offset + at, &[0; 4]);
    let bytes = pack::source::read(bent, offset, usize::try_from(length).unwrap()).unwrap();
    bent.put(offset + at, &Crc::<u32>::new(&CRC_32_ISCSI).checksum(&bytes).to_le_bytes());
}

fn look(bent: &Bent<'_>) -> Volume {
    let begin = Instant::now();
    let volume = bent.volume();
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    volume
}

fn refusal(bent: &Bent<'_>) -> String {
    let volume = look(bent);
    assert_eq!(volume.kind, "xfs");
    assert!(!volume.uuid.is_empty(), "it keeps its name");
    let why = volume.why_whole.unwrap_or_default();
    assert!(why.is_empty() || volume.used == Extents::all(bent.bytes), "{why}");
    why
}

/// A small file system with free space in many pieces: the tree of its first group has two levels.
fn fragmented() -> Image {
    let image = Image::made(64 * MIB, "-b size=1k -d agcount=3");
    super::fill(image.disk.mount("rw").path(), 4000, 1024);
    image
}

/// Where the header of the first group's free space is, and a block of that group.
const HEADER: u64 = 512;

fn root(image: &Image) -> u64 {
    image.number(HEADER + 16) * image.block_bytes()
}

/// The first leaf of the first group: the pointers lie behind 80 keys.
fn leaf(image: &Image) -> u64 {
    assert_eq!(image.number(HEADER + 28), 2);
    image.number(root(image) + 56 + 80 * 8) * image.block_bytes()
}

#[test]
fn a_superblock_that_lies_is_not_believed() {
    let image = fragmented();
    let cases: &[(u64, &[u8], &str)] = &[
        (4, &[0, 0, 4, 1], "block size"),
        (4, &[0, 0, 0, 0], "block size"),
        (4, &[0, 2, 0, 0], "block size"),
        (8, &[0, 0, 0, 0, 0, 1, 0, 1], "longer than its volume"),
        (8, &[0, 0, 0, 0, 0, 2, 0, 1], "number of blocks"),
        (8, &[0xff; 8], "number of blocks"),
        (84, &[0, 0, 0, 1], "blocks of an allocation group"),
        (84, &[0xff; 4], "blocks of an allocation group"),
        (88, &[0, 0, 0, 0], "number of allocation groups"),
        (88, &[0xff; 4], "number of blocks"),
        (100, &[0xb4, 0xa3], "version 3"),
        (100, &[0xb4, 0xaf], "version 15"),
        (102, &[0, 0], "sectors of 0 bytes"),
        (102, &[3, 0], "sectors of 768 bytes"),
        (102, &[0xff, 0xff], "sectors of 65535 bytes"),
        (120, &[11], "block size"),
        (124, &[9], "place of the log"),
        (124, &[255], "place of the log"),
        (126, &[1], "mkfs did not end"),
        (48, &[0; 8], "on another device"),
        (48, &[0xff; 8], "place of the log"),
        (96, &[0, 0, 0, 0], "place of the log"),
        (96, &[0xff; 4], "place of the log"),
        (212, &[0, 0, 0, 0x10], "ro_compat 0x10"),
        (216, &[0, 0, 0, 0x13], "xfs_repair"),
        (216, &[0, 0, 2, 3], "incompat 0x200"),
        (216, &[0x80, 0, 0, 3], "incompat 0x80000000"),
        (220, &[0, 0, 0, 2], "log_incompat 0x2"),
        (32, &[1; 16], "another file system's"),
    ];
    for (offset, bytes, want) in cases {
        let mut bent = Bent::of(&image.disk);
        bent.put(*offset, bytes);
        assert_ne!(refusal(&bent), "", "{want}: no checksum");
        seal(&mut bent, 0, 512, 224);
        let why = refusal(&bent);
        assert!(why.contains(want), "{want}: {why}");
    }
    let mut bent = Bent::of(&image.disk);
    seal(&mut bent, 0, 512, 224);
    assert_eq!(refusal(&bent), "");
    bent.bytes -= 1024;
    assert!(refusal(&bent).contains("longer than its volume"));
    for bytes in [0, 1, 511] {
        bent.bytes = bytes;
        assert_eq!(look(&bent).kind, "raw");
    }
    bent.bytes = 512;
    assert!(refusal(&bent).contains("longer than its volume"));
}

/// Where a structure begins, its length, and where in it the checksum is.
type Place = (u64, u64, u64);

#[test]
fn a_group_that_lies_is_not_believed() {
    let image = fragmented();
    let block = image.block_bytes();
    let (root, leaf) = (root(&image), leaf(&image));
    let number = |value: u64| u32::try_from(value).unwrap().to_be_bytes();
    let itself = number(root / block);
    let first_child = number(leaf / block);
    let header = (HEADER, 512, 216);
    let (node, records) = ((root, block, 52), (leaf, block, 52));
    let cases: Vec<(Place, u64, &[u8], &str)> = vec![
        (header, 0, b"XAGI", "no header"),
        (header, 4, &[0, 0, 0, 2], "no header"),
        (header, 8, &[0, 0, 0, 1], "no header"),
        (header, 12, &[0, 0, 0, 1], "wrong length"),
        (header, 64, &[0; 16], "another file system's"),
        (header, 16, &[0xff; 4], "leaves the group"),
        (header, 16, &[0; 4], "is not a level 1"),
        (header, 16, &first_child, "is not a level 1"),
        (header, 28, &[0; 4], "impossible height"),
        (header, 28, &[0, 0, 0, 10], "impossible height"),
        (header, 28, &[0, 0, 0, 3], "is not a level 2"),
        (header, 28, &[0, 0, 0, 1], "is not a level 0"),
        (header, 52, &[0, 0, 0, 1], "its header says 1"),
        (node, 0, b"AB3C", "is not a level 1"),
        (node, 4, &[0, 2], "is not a level 1"),
        (node, 6, &[0, 0], "has 0 records"),
        (node, 6, &[0, 81], "has 81 records"),
        (node, 6, &[0xff, 0xff], "has 65535 records"),
        (node, 16, &[0; 8], "belongs elsewhere"),
        (node, 32, &[0; 16], "belongs elsewhere"),
        (node, 48, &[0, 0, 0, 1], "belongs elsewhere"),
        (node, 56 + 640, &itself, "is not a level 0"),
        (node, 56 + 640 + 4, &first_child, "out of place"),
        (node, 56 + 640, &[0xff; 4], "leaves the group"),
        (records, 6, &[0, 0], "has 0 records"),
        (records, 6, &[0, 122], "has 122 records"),
        (records, 6, &[0, 1], "its header says"),
        (records, 56, &[0, 0, 0, 0], "out of place"),
        (records, 56, &[0xff; 4], "out of place"),
        (records, 60, &[0xff; 4], "out of place"),
        (records, 60, &[0; 4], "out of place"),
        (records, 60, &[0, 0, 2, 0], "out of place"),
    ];
    for ((offset, length, checksum), at, bytes, want) in cases {
        let mut bent = Bent::of(&image.disk);
        bent.put(offset + at, bytes);
        let why = refusal(&bent);
        let is_noticed = why.contains("wrong checksum") || why.contains(want);
        assert!(is_noticed, "{want}, without a checksum: {why}");
        seal(&mut bent, offset, length, checksum);
        let why = refusal(&bent);
        assert!(why.starts_with("allocation group 0: ") && why.contains(want), "{want}: {why}");
    }
}

#[test]
fn a_log_in_the_free_space_is_not_believed() {
    let image = fragmented();
    let mut bent = Bent::of(&image.disk);
    // The whole log is given to the free space of its group, and counted there.
    let (log, blocks) = (image.log(), image.number(96));
    let group = (0..3).find(|group| (image.group(*group)..image.group(group + 1)).contains(&log)).unwrap();
    let begin = image.group(group);
    let (header, tree) = (begin + HEADER, begin + image.number(begin + HEADER + 16) * image.block_bytes());
    assert_eq!(image.number(header + 28), 1);
    let first = (log - begin) / image.block_bytes();
    for (at, value) in [(56, first), (60, blocks)] {
        bent.put(tree + at, &u32::try_from(value).unwrap().to_be_bytes());
    }
    bent.put(tree + 6, &[0, 1]);
    bent.put(header + 52, &u32::try_from(blocks).unwrap().to_be_bytes());
    seal(&mut bent, tree, image.block_bytes(), 52);
    seal(&mut bent, header, 512, 216);
    assert_eq!(refusal(&bent), "a part of its log is in the free space");
}

/// The last record of the log, and the block behind it.
fn last_record(image: &Image) -> (u64, u64) {
    let text = run("xfs_logprint", &["-t", image.disk.name()]);
    let head = text.split("head: ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    let head = image.log() + head.parse::<u64>().unwrap() * 512;
    let records = (1..).map(|back| head - back * 512);
    (records.into_iter().find(|place| image.number(*place) == 0xfeed_babe).unwrap(), head)
}

#[test]
fn a_log_that_lies_is_not_believed() {
    let image = fragmented();
    let (record, head) = last_record(&image);
    let (record, end) = (record - image.log(), image.number(96) * image.block_bytes() - 512);
    let (replay, damaged) = ("must be replayed", "is damaged");
    let cases: &[(u64, &[u8], &str)] = &[
        (record, &[1, 2, 3, 4], "its log"),
        (record + 12, &[0xff; 4], replay),
        (record + 12, &[0; 4], replay),
        (record + 40, &[0; 4], replay),
        (record + 40, &[0, 0, 0, 2], replay),
        (record + 304, &[9; 16], "another file system's"),
        (record + 320, &[0xff; 4], replay),
        (record + 512 + 9, &[0], replay),
        (0, &[0, 0, 0, 9], damaged),
        // A log that begins with a block that was never written was never used: Linux replays nothing either.
        (0, &[0, 0, 0, 0], ""),
        (end, &[0xff; 4], damaged),
        (end, &[0xfe, 0xed, 0xba, 0xbe, 0xff, 0xff, 0xff, 0xff], damaged),
        // Behind the head there is one block more of the same round.
        (head - image.log(), &[0, 0, 0, 1], replay),
    ];
    for (at, bytes, want) in cases {
        let mut bent = Bent::of(&image.disk);
        bent.put(image.log() + at, bytes);
        let why = refusal(&bent);
        assert!(why.contains(want) && want.is_empty() == why.is_empty(), "{at}, {want}: {why}");
    }
}

/// Blocks put into a group.
type Blocks<'a> = &'a [(u32, Vec<u8>)];

/// Version 4 has no checksums: a tree can be made to lead anywhere.
#[test]
fn a_tree_without_an_end_ends() {
    let image = Image::made(64 * MIB, "-m crc=0 -d agcount=1");
    let block = 4096_u64;
    let node = |level: u8, pointers: &[u32]| {
        let mut bytes = vec![0; 4096];
        bytes[..4].copy_from_slice(b"ABTB");
        bytes[5] = level;
        bytes[6..8].copy_from_slice(&u16::try_from(pointers.len()).unwrap().to_be_bytes());
        let most = (4096 - 16) / 12;
        for (n, pointer) in pointers.iter().enumerate() {
            let at = 16 + most * 8 + n * 4;
            bytes[at..at + 4].copy_from_slice(&pointer.to_be_bytes());
        }
        bytes
    };
    let leaf = u32::try_from(image.number(HEADER + 16)).unwrap();
    let cases: &[(u8, Blocks<'_>, &str)] = &[
        // A block under itself, one leaf many times, a block of many paths, empty blocks, no leaf at all.
        (2, &[(9000, node(1, &[9000; 340]))], "not a level 0"),
        (2, &[(9000, node(1, &[leaf; 340]))], "out of place"),
        (3, &[(9000, node(2, &[9001; 340])), (9001, node(1, &[leaf; 340]))], "out of place"),
        (9, &[(9000, node(8, &[9000; 340]))], "not a level 7"),
        (2, &[(9000, node(1, &[]))], "has 0 records"),
        (2, &[(9000, node(1, &[9001])), (9001, node(0, &[]))], "has 0 records"),
        (2, &[(9000, node(1, &[u32::MAX]))], "leaves the group"),
        (2, &[(9000, node(1, &[leaf]))], ""),
    ];
    for (levels, blocks, want) in cases {
        let mut bent = Bent::of(&image.disk);
        bent.put(HEADER + 16, &9000_u32.to_be_bytes());
        bent.put(HEADER + 28, &u32::from(*levels).to_be_bytes());
        blocks.iter().for_each(|(place, bytes)| bent.put(u64::from(*place) * block, bytes));
        let why = refusal(&bent);
        assert!(why.contains(want) && want.is_empty() == why.is_empty(), "{want}: {why}");
    }
}

/// Where the structures lie that are read of an image.
fn structures(image: &Image) -> Vec<(u64, u64)> {
    let (sector, block) = (image.sector_bytes(), image.block_bytes());
    let mut places = vec![(0, sector), (image.log(), 4096)];
    let (record, end) = last_record(image);
    places.push((record, end + 512 - record));
    for group in 0..image.number(88) {
        let begin = image.group(group);
        let root = begin + image.number(begin + sector + 16) * block;
        places.extend([(begin + sector, sector), (root, block)]);
        if image.number(begin + sector + 28) == 2 {
            places.push((leaf(image), block));
        }
    }
    places
}

fn flips() -> impl Strategy<Value = Vec<(prop::sample::Index, prop::sample::Index, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1_u8..), 1..6)
}

fn bend<'a>(
    image: &'a Image,
    places: &[(u64, u64)],
    flips: &[(prop::sample::Index, prop::sample::Index, u8)],
) -> Bent<'a> {
    let mut bent = Bent::of(&image.disk);
    for (place, at, bits) in flips {
        let (offset, length) = place.get(places);
        bent.flip(offset + at.index(usize::try_from(*length).unwrap()) as u64, *bits);
    }
    bent
}

/// What was bent is noticed, or was not looked at.
#[test]
fn bent_bytes_never_make_another_map() {
    let image = fragmented();
    let (places, used) = (structures(&image), image.map().used);
    proptest!(ProptestConfig::with_cases(600), |(flips in flips())| {
        let volume = look(&bend(&image, &places, &flips));
        if volume.kind == "xfs" && volume.why_whole.is_none() {
            prop_assert_eq!(&volume.used, &used);
        }
    });
}

#[test]
fn bent_bytes_without_checksums_do_no_harm() {
    let image = Image::made(64 * MIB, "-m crc=0 -d agcount=3");
    let places = structures(&image);
    proptest!(ProptestConfig::with_cases(600), |(flips in flips(), cut in prop::option::of(0..64 * MIB))| {
        let mut bent = bend(&image, &places, &flips);
        bent.bytes = cut.unwrap_or(bent.bytes);
        prop_assert!(look(&bent).used.end() <= bent.bytes);
    });
}
