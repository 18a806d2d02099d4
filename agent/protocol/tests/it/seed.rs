//! The seed's place through power cuts: the newest whole seed counts, and there always is one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use protocol::{CaPin, NodeId, SEED_BYTES, SEED_SLOT_BYTES, Seed, SeedError, SeedWrite};

const BLOCK: usize = 4096;

/// `size` makes it longer than a block; no block is like that of a seed with another name.
fn seed(name: &str, size: usize) -> Seed {
    Seed {
        controller: "10.77.0.1:8443".parse().unwrap(),
        ca: CaPin([1; 32]),
        node: NodeId([1; 16]),
        name: name.to_owned(),
        job: None,
        key: "a2V5".to_owned(),
        certificate: name.repeat(size),
        complete: true,
    }
}

fn empty() -> Vec<u8> {
    vec![0; usize::try_from(SEED_BYTES).unwrap()]
}

fn write(place: &mut [u8], SeedWrite { offset, bytes }: &SeedWrite) {
    let at = usize::try_from(*offset).unwrap();
    place[at..at + bytes.len()].copy_from_slice(bytes);
}

#[test]
fn seeds_take_turns_and_the_newest_counts() {
    let mut place = empty();
    let mut offsets = Vec::new();
    for turn in 0..5 {
        let next = seed(&turn.to_string(), 3000 * turn);
        let leave = next.write_over(&place).unwrap();
        assert!(leave.bytes.len().is_multiple_of(BLOCK) && leave.bytes.len() <= 5 * BLOCK, "what is needed");
        write(&mut place, &leave);
        assert_eq!(Seed::decode(&place).unwrap(), next);
        offsets.push(leave.offset);
    }
    assert_eq!(offsets, [0, SEED_SLOT_BYTES, 0, SEED_SLOT_BYTES, 0]);
    assert_eq!(seed("alone", 0).encode().unwrap().len(), empty().len());
}

/// Any of the blocks of a write may be there or not, and each may be torn.
#[test]
fn a_write_that_is_cut_leaves_the_seed_before_it() {
    let mut place = empty();
    for turn in 0..4 {
        let (before, next) = (Seed::decode(&place).ok(), seed(&turn.to_string(), 2 * BLOCK));
        let leave = next.write_over(&place).unwrap();
        let blocks = leave.bytes.chunks(BLOCK).enumerate().collect::<Vec<_>>();
        for there in 0..(1_u32 << blocks.len()) - 1 {
            let mut cut = place.clone();
            for (number, block) in blocks.iter().filter(|(number, _)| there & (1 << number) != 0) {
                let at = usize::try_from(leave.offset).unwrap() + number * BLOCK;
                cut[at..at + BLOCK].copy_from_slice(block);
            }
            assert_eq!(Seed::decode(&cut).ok(), before, "turn {turn}, blocks {there:b}");
        }
        let mut torn = place.clone();
        let (half, at) = (leave.bytes.len() / 2 + 100, usize::try_from(leave.offset).unwrap());
        torn[at..at + half].copy_from_slice(&leave.bytes[..half]);
        assert_eq!(Seed::decode(&torn).ok(), before);
        // And the next attempt mends it.
        let again = next.write_over(&torn).unwrap();
        write(&mut torn, &again);
        assert_eq!(Seed::decode(&torn).unwrap(), next);
        write(&mut place, &leave);
    }
}

#[test]
fn a_seed_of_the_time_before_the_slots_is_read_and_kept_until_there_is_a_newer_one() {
    let old = seed("old", 0);
    let json = serde_json::to_vec(&old).unwrap();
    let mut bytes =
        [b"RWSEED1\n".as_slice(), &u32::try_from(json.len()).unwrap().to_le_bytes(), &json].concat();
    bytes.extend_from_slice(blake3::hash(&bytes).as_bytes());
    let mut place = empty();
    place[..bytes.len()].copy_from_slice(&bytes);
    assert_eq!(Seed::decode(&place).unwrap(), old);
    assert_eq!(Seed::decode(&place[..BLOCK]).unwrap(), old, "of a place that is cut short");
    let leave = seed("new", 0).write_over(&place).unwrap();
    assert_eq!(leave.offset, SEED_SLOT_BYTES);
    write(&mut place, &leave);
    assert_eq!(Seed::decode(&place).unwrap().name, "new");
}

#[test]
fn a_wipe_that_is_cut_brings_no_older_seed_back() {
    let mut place = empty();
    for turn in 0..3 {
        let leave = seed(&turn.to_string(), 0).write_over(&place).unwrap();
        write(&mut place, &leave);
        let mut wiped = place.clone();
        let [first, last] = Seed::wipe_order(&place);
        assert_eq!((first + last, last), (SEED_SLOT_BYTES, leave.offset));
        let at = usize::try_from(first).unwrap();
        wiped[at..at + usize::try_from(SEED_SLOT_BYTES).unwrap()].fill(0);
        assert_eq!(Seed::decode(&wiped).unwrap().name, turn.to_string());
    }
}

#[test]
fn nonsense_is_no_seed() {
    assert!(matches!(Seed::decode(&[]), Err(SeedError::Absent)));
    assert!(matches!(Seed::decode(&empty()), Err(SeedError::Absent)));
    assert!(matches!(Seed::decode(b"RWSEED2\n"), Err(SeedError::Damaged(_))));
    assert!(matches!(Seed::decode(b"RWSEED2\n\xff\xff\xff\xff"), Err(SeedError::Damaged(_))));
    let mut place = seed("n1", 0).encode().unwrap();
    for at in [8, 12, 20, 40] {
        place[at] ^= 1;
        assert!(matches!(Seed::decode(&place), Err(SeedError::Damaged(_))), "byte {at}");
        place[at] ^= 1;
    }
    for end in [9, 12, 19, 20, 100] {
        assert!(matches!(Seed::decode(&place[..end]), Err(SeedError::Damaged(_))), "{end} bytes of it");
    }
    assert!(seed("n1", 64 << 10).encode().is_err(), "it does not fit");
}
