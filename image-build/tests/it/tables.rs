//! qcow2 files that lie: each field of the header and each entry of the tables, one lie at a time; files that are cut off;
//! files with bits turned over.

use std::io::Cursor;

use pack::foreign::qcow2::{Qcow2, Writer};
use pack::{Source, source};
use proptest::prelude::*;

use crate::tool::{noise, words};

const CLUSTER: usize = 65536;
/// The first L2 table of [`file`] comes after the header, the L1 table and three clusters of data.
const L1: usize = CLUSTER;
const L2: usize = 5 * CLUSTER;
/// The first cluster of data.
const DATA: u64 = 2 * CLUSTER as u64;
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;

/// A disk of 2 GiB with three clusters at its beginning and one in its second L2 table.
fn file() -> Vec<u8> {
    let mut writer = Writer::new(Cursor::new(Vec::new()), 2 << 30).unwrap();
    writer.put(0, &noise(1, 3 * CLUSTER)).unwrap();
    writer.put(1 << 30, &noise(2, 512)).unwrap();
    writer.finish().unwrap().into_inner()
}

fn put<const N: usize>(file: &mut [u8], at: usize, bytes: [u8; N]) {
    file[at..at + N].copy_from_slice(&bytes);
}

fn be64(file: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(file[at..at + 8].try_into().unwrap())
}

/// What a file is refused with.
fn refusal(file: &dyn Source) -> String {
    Qcow2::open(file).map_or_else(|error| words(&error), |_| "taken".to_owned())
}

#[test]
fn the_layout_that_these_tests_know() {
    let file = file();
    assert_eq!(be64(&file, L1), L2 as u64 | COPIED);
    assert_eq!(be64(&file, L2), DATA | COPIED);
    assert!(Qcow2::open(&file).is_ok());
}

#[test]
fn a_header_that_lies_is_refused() {
    let lies: &[(usize, &[u8], &str)] = &[
        (0, b"QFI\0", "not a qcow2 file"),
        (4, &[0, 0, 0, 1], "version 1;"),
        (4, &[0, 0, 0, 4], "version 4;"),
        (8, &[0, 0, 0, 0, 0, 0, 0, 112, 0, 0, 0, 11], "backing file"),
        (8, &[0xff; 8], "backing file"),
        (20, &[0, 0, 0, 8], "clusters of 2^8"),
        (20, &[0, 0, 0, 22], "clusters of 2^22"),
        (20, &[0xff; 4], "clusters of 2^4294967295"),
        (24, &[0; 8], "a disk of 0 bytes"),
        (24, &[0, 0, 0, 0, 0, 0, 2, 1], "a disk of 513 bytes"),
        (24, &[0, 0, 0x40, 0, 0, 0, 2, 0], "a disk of 70368744178176 bytes"),
        (24, &[0xff; 8], "a disk of 18446744073709551615 bytes"),
        (32, &[0, 0, 0, 1], "encrypted"),
        (32, &[0, 0, 0, 2], "encrypted"),
        (36, &[0, 0, 0, 3], "an L1 table of 3 entries; this disk needs 4"),
        (36, &[0, 0x10, 0, 1], "an L1 table of 1048577 entries"),
        (36, &[0, 0x10, 0, 0], "the L1 table ends at byte 8454144, the file at"),
        (40, &[0; 8], "the L1 table at byte 0 lies over the header"),
        (40, &[0, 0, 0, 0, 0, 1, 2, 0], "the L1 table at byte 66048 is not where a cluster begins"),
        (40, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0], "the L1 table ends at"),
        (48, &[0; 8], "the reference count table at byte 0 lies over the header"),
        (48, &[0, 0, 0, 0, 0, 1, 0, 0], "the reference count table at byte 65536 lies over the L1 table"),
        (48, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0], "the reference count table ends at"),
        (56, &[0; 4], "reference count table of 0 clusters"),
        (56, &[0, 0, 0, 129], "reference count table of 129 clusters"),
        (72, &[0, 0, 0, 0, 0, 0, 0, 1], "marked dirty"),
        (72, &[0, 0, 0, 0, 0, 0, 0, 2], "marked corrupt"),
        (72, &[0, 0, 0, 0, 0, 0, 0, 4], "external data file"),
        (72, &[0, 0, 0, 0, 0, 0, 0, 8], "compression type 0"),
        (72, &[0, 0, 0, 0, 0, 0, 0, 32], "incompatible bits 0x20"),
        (72, &[0x80, 0, 0, 0, 0, 0, 0, 1], "incompatible bits 0x8000000000000000"),
        (88, &[0, 0, 0, 0, 0, 0, 0, 2], "external data file"),
        (96, &[0, 0, 0, 7], "reference counts of 2^7"),
        (100, &[0, 0, 0, 96], "a header of 96 bytes"),
        (100, &[0, 0, 0, 105], "a header of 105 bytes"),
        (100, &[0, 1, 0, 8], "a header of 65544 bytes"),
        (100, &[0, 0, 0, 112, 1], "compression type 1"),
        (104, b"DATA\0\0\0\x0b/etc/passwd", "external data file"),
        (104, &[0x05, 0x37, 0xbe, 0x77, 0, 0, 0, 16], "encrypted"),
        (104, &[1, 2, 3, 4, 0xff, 0xff, 0xff, 0xff], "the header extension at byte 104 leaves"),
        // An extension of three bytes takes eight: the name of a data file comes after it.
        (104, b"\x01\x02\x03\x04\0\0\0\x03abc\0\0\0\0\0DATA\0\0\0\0", "external data file"),
    ];
    for (at, bytes, said) in lies {
        let mut file = file();
        file[*at..at + bytes.len()].copy_from_slice(bytes);
        assert!(refusal(&file).contains(said), "{at} {said}: {}", refusal(&file));
    }
}

#[test]
fn tables_that_lie_are_refused() {
    let cluster = CLUSTER as u64;
    let lies = [
        (L1, L2 as u64 | 1, "bits that must not be set"),
        (L1, L2 as u64 | 1 << 56, "bits that must not be set"),
        (L1, L2 as u64 | 1 << 62, "bits that must not be set"),
        (L1, L2 as u64 + 512, "an L2 table at byte 328192 is not where a cluster begins"),
        (L1, cluster, "an L2 table at byte 65536 lies over the L1 table"),
        (L1, 1 << 40, "an L2 table ends at byte 1099511693312, the file at"),
        (L1 + 8, L2 as u64 | COPIED, "two parts of the disk share the L2 table at byte 327680"),
        (L2, COPIED, "bits that must not be set"),
        (L2, DATA | 2, "bits that must not be set"),
        (L2, DATA | 1 << 56, "bits that must not be set"),
        (L2, DATA + 512, "a cluster at byte 131584 is not where a cluster begins"),
        (L2, cluster, "a cluster at byte 65536 lies over the L1 table"),
        (L2, 1 << 40, "a cluster ends at byte 1099511693312, the file at"),
        (L2, 0x00ff_ffff_ffff_0000, "a cluster ends at"),
        (L2, COMPRESSED | 100, "a compressed cluster at byte 100 lies over the header"),
        (L2, COMPRESSED | 1 << 40, "a compressed cluster ends at"),
        (L2, COMPRESSED | COPIED | DATA, "bits that must not be set"),
    ];
    for (at, entry, said) in lies {
        let mut file = file();
        put(&mut file, at, entry.to_be_bytes());
        assert!(refusal(&file).contains(said), "{entry:#x}: {}", refusal(&file));
    }
    let mut v2 = file();
    put(&mut v2, 4, 2_u32.to_be_bytes());
    put(&mut v2, L2, 1_u64.to_be_bytes());
    assert!(refusal(&v2).contains("bits that must not be set"));
}

#[test]
fn one_cluster_in_many_places_is_refused() {
    let mut shared = file();
    (0..8192).for_each(|index| put(&mut shared, L2 + index * 8, (DATA | COPIED).to_be_bytes()));
    assert!(refusal(&shared).contains("some lie over others"), "{}", refusal(&shared));
    let mut bomb = file();
    (0..8192).for_each(|index| put(&mut bomb, L2 + index * 8, (DATA | COMPRESSED).to_be_bytes()));
    assert!(refusal(&bomb).contains("decompression bomb"), "{}", refusal(&bomb));
}

#[test]
fn a_compressed_cluster_that_is_none_fails_when_it_is_read() {
    let mut file = file();
    put(&mut file, L2, (DATA | COMPRESSED).to_be_bytes());
    let disk = Qcow2::open(&file).unwrap();
    let error = source::read(&disk, 0, 512).unwrap_err();
    assert!(error.to_string().contains("does not come out as one cluster"), "{error}");
    assert!(source::read(&disk, CLUSTER as u64, 512).is_ok());
}

#[test]
fn subclusters_that_contradict_themselves_are_refused() {
    for (entry, bitmap) in [(DATA, 1 | 1_u64 << 32), (0, 1), (DATA | 1, 1)] {
        let mut file = file();
        put(&mut file, 72, 16_u64.to_be_bytes());
        put(&mut file, 24, (1_u64 << 30).to_be_bytes());
        (0..8192).for_each(|index| put(&mut file, L2 + index * 8, [0; 8]));
        put(&mut file, L2, entry.to_be_bytes());
        put(&mut file, L2 + 8, bitmap.to_be_bytes());
        assert!(refusal(&file).contains("bits that must not be set"), "{}", refusal(&file));
    }
    let mut small = file();
    put(&mut small, 72, 16_u64.to_be_bytes());
    put(&mut small, 20, 13_u32.to_be_bytes());
    assert!(refusal(&small).contains("subclusters need clusters"));
}

/// All that a file holds, or why not. Whatever it claims, no more is read than its own length.
fn content(file: &dyn Source) -> Result<Vec<u8>, String> {
    let disk = Qcow2::open(file).map_err(|error| words(&error))?;
    let mut out = Vec::new();
    for range in disk.allocated().iter() {
        let bytes = usize::try_from((range.end - range.start).min(1 << 20)).unwrap();
        out.extend(source::read(&disk, range.start, bytes).map_err(|error| words(&error))?);
        if out.len() as u64 > file.bytes() {
            break;
        }
    }
    let end = disk.bytes() - 512;
    out.extend(source::read(&disk, end, 512).map_err(|error| words(&error))?);
    Ok(out)
}

#[test]
fn a_file_cut_off_anywhere_is_refused_or_all_there() {
    let whole = file();
    let expected = content(&whole).unwrap();
    let mut refused = 0;
    for end in (0..whole.len()).step_by(512).chain(0..600) {
        match content(&whole[..end].to_vec()) {
            Ok(read) => assert!(read == expected, "cut off at {end}"),
            Err(said) => {
                assert!(said.contains("cut off") || said.contains("not a qcow2 file"), "{end}: {said}");
                refused += 1;
            }
        }
    }
    // All but what is cut off its last table's last clusters.
    assert!(refused > whole.len() / 512 - 3 * CLUSTER / 512, "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn bits_turned_over_do_no_harm(
        flips in prop::collection::vec((prop_oneof![0..112_usize, L1..L1 + 40, L2..L2 + 64], 0_u8..8), 1..4),
        is_extended in any::<bool>(),
    ) {
        let mut file = file();
        file[79] |= u8::from(is_extended) << 4;
        flips.iter().for_each(|(at, bit)| file[*at] ^= 1 << bit);
        // Whether it is taken is not the question: it ends, and does not panic.
        drop(content(&file));
    }

    #[test]
    fn entries_of_chance_do_no_harm(
        entries in prop::collection::vec(any::<u64>(), 1..16),
        masked in any::<bool>(),
        bits in 9_u32..=21,
    ) {
        let mut file = file();
        put(&mut file, 20, bits.to_be_bytes());
        put(&mut file, 24, (1_u64 << 20).to_be_bytes());
        for (index, entry) in entries.iter().enumerate() {
            let entry = if masked { entry & 0xc000_0000_000f_fe01 } else { *entry };
            put(&mut file, L2 + index * 8, entry.to_be_bytes());
        }
        drop(content(&file));
    }
}
