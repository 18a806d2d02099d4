//! The rings of the object storage: even, each copy on a node of its own, and with no more moved than a change is worth.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use flate2::read::GzDecoder;
use fleet::cloud::ring::{Device, Kind, PART_POWER, REPLICAS, assign, file};
use proptest::prelude::*;
use protocol::NodeId;
use serde_json::Value;

const PARTITIONS: usize = 1 << PART_POWER;

fn device(number: u16, node: [u8; 16]) -> Device {
    let [low, high] = number.to_le_bytes();
    Device { number, node: NodeId(node), address: [10, 77, high, low].into() }
}

/// Devices of random nodes, each with its number.
fn devices(most: usize) -> impl Strategy<Value = Vec<Device>> {
    prop::collection::btree_set(any::<[u8; 16]>(), 1..=most)
        .prop_map(|nodes| nodes.into_iter().zip(0u16..).map(|(node, number)| device(number, node)).collect())
}

/// Who has each partition.
fn holders(devices: &[Device]) -> Vec<BTreeSet<u16>> {
    let rows = assign(devices);
    (0..PARTITIONS).map(|partition| rows.iter().map(|row| row[partition]).collect()).collect()
}

/// How many copies each device has.
fn loads(holders: &[BTreeSet<u16>]) -> BTreeMap<u16, usize> {
    let mut loads = BTreeMap::new();
    for number in holders.iter().flatten() {
        *loads.entry(*number).or_insert(0) += 1;
    }
    loads
}

/// How many copies are on a device that had none of that partition.
fn moved(before: &[BTreeSet<u16>], after: &[BTreeSet<u16>]) -> usize {
    before.iter().zip(after).map(|(before, after)| after.difference(before).count()).sum()
}

/// What is drawn scatters as draws do: six times its standard deviation is never seen.
fn slack(expected: f64) -> f64 {
    6.0 * expected.sqrt() + 1.0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn copies_are_on_nodes_of_their_own_and_every_node_has_its_share(devices in devices(24)) {
        let copies = devices.len().min(REPLICAS);
        let holders = holders(&devices);
        prop_assert!(holders.iter().all(|holders| holders.len() == copies), "two copies on one device");
        let loads = loads(&holders);
        let share = (PARTITIONS * copies) as f64 / devices.len() as f64;
        for device in &devices {
            let load = loads.get(&device.number).copied().unwrap_or_default() as f64;
            let bound = if devices.len() <= REPLICAS { 0.0 } else { slack(share) };
            prop_assert!((load - share).abs() <= bound, "{load} of {share}, {} devices", devices.len());
        }
    }

    #[test]
    fn the_order_in_which_they_are_named_is_nothing(devices in devices(12), turn in 0usize..12) {
        let mut other = devices.clone();
        other.reverse();
        let turn = turn % other.len();
        other.rotate_left(turn);
        prop_assert_eq!(assign(&devices), assign(&other));
        let rows = assign(&devices);
        for kind in Kind::ALL {
            prop_assert_eq!(file(kind, &devices, &rows), file(kind, &other, &rows));
        }
    }

    /// One more takes its share, and nothing moves between the others; the same backwards, when one goes.
    #[test]
    fn one_more_or_less_moves_its_share_and_nothing_else(devices in devices(16), node in any::<[u8; 16]>()) {
        prop_assume!(devices.iter().all(|device| device.node.0 != node));
        let before = holders(&devices);
        let number = u16::try_from(devices.len()).unwrap();
        let mut more = devices.clone();
        more.push(device(number, node));
        let after = holders(&more);
        for (before, after) in before.iter().zip(&after) {
            let others = after.iter().copied().filter(|one| *one != number).collect::<BTreeSet<_>>();
            prop_assert!(others.is_subset(before), "a copy moved between two that were there before");
            prop_assert!(before.difference(after).count() <= 1, "more than one copy of a partition left its place");
        }
        let copies = more.len().min(REPLICAS);
        let share = (PARTITIONS * copies) as f64 / more.len() as f64;
        prop_assert!((moved(&before, &after) as f64) <= share + slack(share));
        // What it had is shared out; that is at least as much as was moved to it.
        let back = moved(&after, &before) as f64;
        prop_assert!(back <= share + slack(share), "{back} moved of {share}");
    }
}

/// What a ring file says, as Swift's programs read it.
fn read(bytes: &[u8]) -> (Value, Vec<Vec<u16>>) {
    let mut ring = Vec::new();
    GzDecoder::new(bytes).read_to_end(&mut ring).unwrap();
    assert_eq!(ring[..6], *b"R1NG\0\x01");
    let length = u32::from_be_bytes(ring[6..10].try_into().unwrap()) as usize;
    let head: Value = serde_json::from_slice(&ring[10..10 + length]).unwrap();
    let numbers = ring[10 + length..].chunks(2).map(|pair| u16::from_le_bytes(pair.try_into().unwrap()));
    let numbers = numbers.collect::<Vec<_>>();
    (head, numbers.chunks(PARTITIONS).map(<[u16]>::to_vec).collect())
}

#[test]
fn a_file_has_all_that_swift_wants_and_nothing_of_the_moment() {
    let devices = [device(4, [4; 16]), device(0, [1; 16]), device(300, [3; 16])];
    let rows = assign(&devices);
    for (kind, port) in [(Kind::Account, 6202), (Kind::Container, 6201), (Kind::Object, 6200)] {
        let bytes = file(kind, &devices, &rows);
        assert_eq!(bytes[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255], "no name, no time, no system");
        let (head, read) = read(&bytes);
        assert_eq!(read, rows);
        assert_eq!((&head["part_shift"], &head["replica_count"]), (&20.into(), &3.into()));
        assert_eq!(head["byteorder"], "little");
        let devs = head["devs"].as_array().unwrap();
        assert_eq!(devs.len(), 301, "a device's place is its number");
        assert_eq!(devs.iter().filter(|dev| !dev.is_null()).count(), 3);
        let dev = &devs[300];
        assert_eq!((&dev["id"], &dev["ip"], &dev["port"]), (&300.into(), &"10.77.1.44".into(), &port.into()));
        assert_eq!((&dev["replication_ip"], &dev["replication_port"]), (&dev["ip"], &dev["port"]));
        assert_eq!((&dev["device"], &dev["region"], &dev["zone"]), (&"objects".into(), &1.into(), &1.into()));
        assert_eq!((&dev["weight"], &dev["meta"]), (&100.0.into(), &"".into()));
    }
}

/// A later version that drew otherwise would move every object of every rack at once.
#[test]
fn the_draw_is_that_of_the_first_version() {
    let devices = (0..7u8).map(|number| device(number.into(), [number; 16])).collect::<Vec<_>>();
    let rows = assign(&devices);
    let first = |row: usize| rows[row][..8].to_vec();
    let want = [[5, 4, 0, 5, 4, 2, 0, 3], [2, 2, 4, 3, 5, 1, 5, 1], [4, 5, 5, 1, 0, 0, 2, 0]];
    assert_eq!([first(0), first(1), first(2)], want);
    let all = rows.iter().flatten().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>();
    assert_eq!(
        pack::Digest::of(&all).to_string(),
        "5a84439a09f1ca37a1ac0cb7b0792e2e8a18150d5ce73340088a9d64649edccc"
    );
}

#[test]
fn nobody_and_one_that_is_named_twice() {
    assert_eq!(assign(&[]), Vec::<Vec<u16>>::new());
    let one = device(0, [1; 16]);
    let rows = assign(&[one, one]);
    assert_eq!((rows.len(), rows[0].len()), (1, PARTITIONS));
    assert!(rows[0].iter().all(|number| *number == 0));
}
