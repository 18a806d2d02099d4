//! Power cuts and what they leave: seeds, disks that are gone on with, and disks that are not.

use agent::deploy::seeds;
use protocol::SEED_OFFSET;

use super::image::MIB;
use super::machine::{Machine, SmallSpace};
use super::rack::{Rack, TARGET};
use super::site::Site;
use super::{is_root, run};

#[test]
fn the_finished_seed_lies_beside_the_begun_one() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        rack.boot().await;
        let place = rack.machine.read(1, SEED_OFFSET, 1 << 20);
        let (first, second) = place.split_at(usize::try_from(protocol::SEED_SLOT_BYTES).unwrap());
        let complete = |slot: &[u8]| protocol::Seed::decode(slot).unwrap().complete;
        assert_eq!((complete(first), complete(second)), (false, true));
        // Power fails while the finished one is written: the begun one is still there to say hello with.
        rack.machine.write(1, SEED_OFFSET + protocol::SEED_SLOT_BYTES + 30, b"torn");
        assert!(!seeds::read(&rack.machine.disks[1].device).unwrap().complete);
    });
}

#[test]
fn a_power_cut_leaves_a_disk_that_does_not_boot_and_the_next_boot_goes_on() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        // The plan's look at the disk stays what it was, and no report need ever have arrived.
        rack.machine.write(1, 0, b"an old boot sector");
        rack.offer(&rack.image, rack.job());
        for cut in [1, 3, 6] {
            rack.controller.with(|s| s.ranges = 0);
            rack.boot_until("some ranges", |s, _| s.ranges >= cut).await;
            rack.assert_cannot_boot();
            let seed = seeds::read(&rack.machine.disks[1].device).unwrap();
            assert!(!seed.complete && seed.certificate.is_empty());
        }
        rack.boot().await;
        rack.assert_is_image(&rack.image);
        let keys = rack.controller.with(|s| s.hellos.iter().map(|h| h.key).collect::<Vec<_>>());
        assert!(keys.iter().all(|key| *key == keys[0]), "every boot said hello with the key on the disk");
        let receipt = rack.controller.with(|s| s.receipts[0].clone());
        assert!(receipt.same_bytes > 0, "something was there already: {receipt:?}");
    });
}

/// What a cut may leave while the disk is disarmed, and between the complete seed and the tables.
#[test]
fn every_disk_that_a_cut_can_leave_is_gone_on_with() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        let zeros = vec![0; 1 << 20];
        let last = TARGET - MIB;
        let (begun, complete) = (rack.seed([5; 8], false), rack.seed([5; 8], true));
        let mut torn = begun.clone();
        torn[40..80].fill(0xee);
        type Writes<'a> = Vec<(u64, &'a [u8])>;
        let table: [(&str, Writes<'_>); 6] = [
            ("the ends as they were, a torn seed", vec![(SEED_OFFSET, &torn)]),
            ("the ends as they were, the seed", vec![(SEED_OFFSET, &begun)]),
            ("the first one gone", vec![(SEED_OFFSET, &begun), (0, &zeros)]),
            ("the last one gone", vec![(SEED_OFFSET, &begun), (last, &zeros)]),
            ("both gone", vec![(SEED_OFFSET, &begun), (0, &zeros), (last, &zeros)]),
            ("half of the tables", vec![(SEED_OFFSET, &complete), (0, &zeros), (last, b"half")]),
        ];
        for (what, writes) in table {
            rack.machine.write(1, 0, b"an old boot sector");
            rack.machine.write(1, last, b"an old table");
            rack.machine.write(1, SEED_OFFSET, &zeros);
            rack.offer(&rack.image, rack.job());
            writes.iter().for_each(|(at, bytes)| rack.machine.write(1, *at, bytes));
            rack.boot().await;
            rack.assert_is_image(&rack.image);
            assert!(rack.controller.with(|s| s.progress.iter().all(|p| p.failed.is_none())), "{what}");
        }
    });
}

/// The disk may have been swapped since the job began.
#[test]
fn only_a_seed_of_this_job_makes_it_go_on() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        rack.machine.write(1, 100, b"somebody was here");
        for seed in [vec![0; 512], rack.seed([6; 8], false)] {
            rack.controller.with(|s| s.progress.clear());
            rack.machine.write(1, SEED_OFFSET, &seed);
            assert_eq!(rack.failure().await, "what is on serial:SYSTEM has changed since the plan");
            assert_eq!(rack.machine.read(1, 100, 17), b"somebody was here");
        }
    });
}

#[test]
fn a_seed_of_another_site_is_not_ours_and_two_nodes_seeds_are_nobodys() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        rack.boot().await;
        let key = rack.controller.with(|s| s.hellos[0].key);
        let seed = rack.machine.read(1, SEED_OFFSET, 1 << 20);
        let chosen = async |root, sites: Vec<protocol::CaPin>| {
            seeds::key(root, &sites, &agent::screen::Screen::default()).await.map(|k| k.public())
        };
        let root = rack.machine.path();
        assert_eq!(chosen(root, vec![rack.site.pin()]).await, Some(key));
        assert_eq!(chosen(root, vec![Site::new().pin()]).await, None);
        let changing = vec![Site::new().pin(), rack.site.pin()];
        assert_eq!(chosen(root, changing).await, Some(key), "left under the CA of before");
        let mut more = Machine::new();
        more.add_disk("vda", "A", TARGET);
        more.add_disk("vdb", "B", TARGET);
        let mut other = protocol::Seed::decode(&seed).unwrap();
        more.write(0, SEED_OFFSET, &seed);
        assert_eq!(chosen(more.path(), vec![rack.site.pin()]).await, Some(key));
        other.node = protocol::NodeId([1; 16]);
        more.write(1, SEED_OFFSET, &other.encode().unwrap());
        assert_eq!(chosen(more.path(), vec![rack.site.pin()]).await, None, "a disk was moved here");
        more.write(1, SEED_OFFSET + 30, b"\xff\xff");
        assert_eq!(
            chosen(more.path(), vec![rack.site.pin()]).await,
            Some(key),
            "a damaged one does not count"
        );
    });
}

/// The seed comes first: without it, a disk whose ends are gone could not be told from anybody's.
#[test]
fn a_disk_that_takes_no_seed_stays_as_it_was() {
    if !is_root() {
        return;
    }
    // Room for both ends and for nothing between them.
    let full = SmallSpace::new("2m");
    run(async {
        let machine = Rack::on_small(&full);
        let end = vec![7; 1 << 20];
        machine.write(0, 0, &end);
        machine.write(0, TARGET - MIB, &end);
        let rack = Rack::of(machine).await;
        let why = rack.failure().await;
        assert!(why.contains("writing the seed"), "{why}");
        for at in [0, TARGET - MIB] {
            assert!(rack.machine.read(0, at, 1 << 20) == end, "the end at {at}");
        }
    });
}
