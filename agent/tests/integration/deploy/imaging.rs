//! Images onto real block devices, with everything going wrong that can.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use agent::deploy;
use agent::deploy::seeds;
use agent::keys::KeyPair;
use protocol::{Disk, Expectation, ImageJob, JobId, SEED_OFFSET, Seed, Task};

use super::controller::{Controller, Fault, State};
use super::image::{DISK, Image, MIB};
use super::machine::{Console, Machine};
use super::site::Site;
use super::{is_root, run, until};

/// The target, somewhat bigger than the image, and a data disk.
const TARGET: u64 = DISK + 8 * MIB;

struct Rack {
    site: Arc<Site>,
    controller: Controller,
    machine: Machine,
    image: Image,
}

impl Rack {
    async fn new() -> Self {
        let site = Arc::new(Site::new());
        let controller = Controller::start(&site).await;
        let mut machine = Machine::new();
        machine.add_disk("vda", "DATA", 16 * MIB);
        machine.add_disk("vdb", "SYSTEM", TARGET);
        let image = Image::new(1);
        let rack = Self { site, controller, machine, image };
        rack.offer(&rack.image, rack.job());
        rack
    }

    fn target(&self) -> Disk {
        self.machine.inventory("SYSTEM")
    }

    fn job(&self) -> ImageJob {
        self.image.job(&self.target())
    }

    fn offer(&self, image: &Image, job: ImageJob) {
        self.controller.with(|s| {
            s.image = Some((image.signed.clone(), image.data.clone()));
            s.task = Task::Image(Box::new(job));
        });
    }

    /// Powers the machine on and lets it work until the controller sends it off.
    async fn boot(&self) -> Console {
        let (mut server, console) = self.machine.boot(self.controller.address, self.site.pin());
        deploy::follow(&mut server).await.unwrap();
        console
    }

    /// The same, with the power cut when `so`.
    async fn boot_until(&self, what: &str, so: impl Fn(&State, &str) -> bool) -> Console {
        let (mut server, console) = self.machine.boot(self.controller.address, self.site.pin());
        let text = console.clone();
        tokio::select! {
            ended = deploy::follow(&mut server) => panic!("{what}: ended with {ended:?}: {}", console.text()),
            () = until(what, || self.controller.with(|s| so(s, &text.text()))) => console,
        }
    }

    /// The first disk error or refusal that the controller was told.
    async fn failure(&self) -> String {
        self.boot_until("a failure", |s, _| s.progress.iter().any(|p| p.failed.is_some())).await;
        self.controller.with(|s| s.progress.iter().find_map(|p| p.failed.clone()).unwrap())
    }

    /// A seed as this node's agent leaves it.
    fn seed(&self, job: [u8; 8], complete: bool) -> Vec<u8> {
        let seed = Seed {
            controller: self.controller.address,
            ca: self.site.pin(),
            node: self.controller.with(|s| s.node),
            name: "n1".to_owned(),
            job: Some(JobId(job)),
            key: KeyPair::generate().unwrap().pkcs8_base64(),
            certificate: String::new(),
            complete,
        };
        seed.encode().unwrap()
    }

    fn assert_is_image(&self, image: &Image) {
        for (chunk, raw) in &image.windows {
            let on_disk = self.machine.read(1, chunk.disk_offset(), raw.len());
            assert!(on_disk == *raw, "window {} is not the image's", chunk.window);
        }
    }

    fn assert_cannot_boot(&self) {
        assert!(self.machine.read(1, 0, 1 << 20).iter().all(|b| *b == 0), "the first MiB");
        assert!(self.machine.read(1, TARGET - MIB, 1 << 20).iter().all(|b| *b == 0), "the last MiB");
    }
}

#[test]
fn the_disk_becomes_the_image_and_nothing_else_is_touched() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        rack.machine.write(0, 0, b"somebody's data");
        rack.machine.write(1, 5 * MIB, b"in a free window");
        rack.offer(&rack.image, rack.job());
        let data = rack.machine.disks[0].device.clone();
        let (was_protected, was_open) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let (protected, open) = (Arc::clone(&was_protected), Arc::clone(&was_open));
        rack.controller.with(|s| {
            s.witness = Some(Box::new(move |_| {
                let file = fs::File::open(&data).unwrap();
                protected.fetch_and(agent::sys::is_read_only(&file).unwrap(), Ordering::Relaxed);
                open.store(true, Ordering::Relaxed);
            }));
        });
        let console = rack.boot().await;
        rack.assert_is_image(&rack.image);
        assert!(
            was_open.load(Ordering::Relaxed) && was_protected.load(Ordering::Relaxed),
            "read-only meanwhile"
        );
        assert!(!rack.machine.disks[0].is_read_only(), "writable again");
        assert_eq!(rack.machine.read(0, 0, 15), b"somebody's data");
        assert_eq!(rack.machine.read(1, 5 * MIB, 16), b"in a free window");
        let receipt = rack.controller.with(|s| s.receipts[0].clone());
        assert_eq!(receipt.image, rack.image.manifest.digest());
        assert_eq!(receipt.disk.as_str(), "serial:SYSTEM");
        assert_eq!(receipt.total_bytes, rack.image.total());
        assert_eq!(receipt.written_bytes + receipt.same_bytes, receipt.total_bytes);
        assert!(receipt.fetched_bytes <= rack.image.data.len() as u64);
        let seed = seeds::read(&rack.machine.disks[1].device).unwrap();
        assert!(seed.complete && seed.certificate.contains("BEGIN CERTIFICATE"));
        assert_eq!((seed.controller, seed.ca), (rack.controller.address, rack.site.pin()));
        let text = console.text();
        for words in ["imaging 0%", "reading back", "rackwright-agent: verified\r\n"] {
            assert!(text.contains(words), "{words} in {text}");
        }
    });
}

#[test]
fn a_disk_that_appears_meanwhile_is_protected_too() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        let late = super::machine::LoopDisk::new(&rack.machine.path().join("late.img"), 8 * MIB);
        // The wire is kept busy failing until it has been seen.
        rack.controller.with(|s| s.faults = std::iter::repeat_n(Fault::Busy, 100_000).collect());
        let appears = async {
            until("some ranges", || rack.controller.with(|s| s.ranges >= 1)).await;
            rack.machine.wire("vdc", "LATE", 8 * MIB, &late.device, &late.number());
            until("its protection", || late.is_read_only()).await;
            rack.controller.with(|s| s.faults.clear());
        };
        tokio::join!(rack.boot(), appears);
        rack.assert_is_image(&rack.image);
        assert!(!late.is_read_only(), "writable again");
    });
}

#[test]
fn a_disk_that_appears_and_can_not_be_protected_ends_the_job() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        rack.controller.with(|s| s.faults = std::iter::repeat_n(Fault::Busy, 100_000).collect());
        let no_disk = rack.machine.path().join("no-disk");
        fs::write(&no_disk, "").unwrap();
        let appears = async {
            until("some ranges", || rack.controller.with(|s| s.ranges >= 1)).await;
            // One that is still on its way in is waited for.
            rack.machine.wire("vdc", "HALF", 8 * MIB, Path::new("/dev/no-such-device"), "7:99");
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert!(rack.controller.with(|s| s.progress.iter().all(|p| p.failed.is_none())));
            rack.machine.wire("vdd", "LATE", 8 * MIB, &no_disk, "7:99");
        };
        let (why, ()) = tokio::join!(rack.failure(), appears);
        let words = "a disk appeared that can't be protected: setting the other disk vdd read-only";
        assert!(why.starts_with(words), "{why}");
        rack.assert_cannot_boot();
    });
}

#[test]
fn a_wire_that_tears_lies_and_stalls_costs_time_only() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        let faults = [Fault::Torn, Fault::Wrong, Fault::Busy, Fault::NoRange, Fault::Torn, Fault::Wrong];
        rack.controller.with(|s| s.faults = faults.into());
        rack.boot().await;
        rack.assert_is_image(&rack.image);
        assert!(rack.controller.with(|s| s.faults.is_empty()), "every fault was met");
        assert!(rack.controller.with(|s| s.progress.iter().all(|p| p.failed.is_none())));
    });
}

#[test]
fn a_controller_that_restarts_is_waited_for_and_nothing_begins_again() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        let restart = async {
            until("some ranges", || rack.controller.with(|s| s.ranges >= 2)).await;
            rack.controller.with(|s| s.away = true);
            tokio::time::sleep(Duration::from_secs(4)).await;
            rack.controller.with(|s| s.away = false);
        };
        let (console, ()) = tokio::join!(rack.boot(), restart);
        rack.assert_is_image(&rack.image);
        let (hellos, asks, receipts) =
            rack.controller.with(|s| (s.hellos.len(), s.asks.len(), s.receipts.clone()));
        assert_eq!((hellos, asks), (2, 1), "one job, never begun again: {}", console.text());
        assert_eq!(receipts[0].fetched_bytes, rack.image.data.len() as u64, "nothing came twice");
    });
}

#[test]
fn the_tables_are_written_when_all_the_rest_is_there() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        let file = rack.machine.disks[1].file.clone();
        let windows = rack.image.windows.clone();
        let (first_offset, last_offset) = (windows[0].0.offset, windows.last().unwrap().0.offset);
        let seen = Arc::new(AtomicUsize::new(0));
        let looks = Arc::clone(&seen);
        let witness = move |offset: u64| {
            let read = |at: u64, bytes: usize| {
                let mut out = vec![0; bytes];
                fs::File::open(&file).unwrap().read_exact_at(&mut out, at).unwrap();
                out
            };
            let is_there =
                |(chunk, raw): &(pack::Chunk, Vec<u8>)| read(chunk.disk_offset(), raw.len()) == *raw;
            let body = &windows[1..windows.len() - 1];
            if offset == last_offset || offset == first_offset {
                assert!(body.iter().all(is_there), "the body before any table");
                assert!(read(0, 1 << 20).iter().all(|b| *b == 0), "not bootable yet");
                let seed = protocol::Seed::decode(&read(SEED_OFFSET, 1 << 20)).unwrap();
                assert!(seed.complete, "the seed before any table");
                looks.fetch_add(1, Ordering::Relaxed);
            }
            if offset == first_offset {
                assert!(is_there(windows.last().unwrap()), "the last window before the first");
            }
        };
        rack.controller.with(|s| s.witness = Some(Box::new(witness)));
        rack.boot().await;
        assert_eq!(seen.load(Ordering::Relaxed), 2, "both tables were fetched by themselves");
    });
}

#[test]
fn what_does_not_read_back_right_is_written_again() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        let file = rack.machine.disks[1].file.clone();
        let (chunk, raw) = rack.image.windows[2].clone();
        let spoilt = Arc::new(AtomicUsize::new(0));
        let times = Arc::clone(&spoilt);
        // Once, when that window is on the disk, the medium loses a byte of it.
        let witness = move |_| {
            let disk = fs::OpenOptions::new().read(true).write(true).open(&file).unwrap();
            let mut on_disk = vec![0; raw.len()];
            disk.read_exact_at(&mut on_disk, chunk.disk_offset()).unwrap();
            if times.load(Ordering::Relaxed) == 0 && on_disk == raw {
                disk.write_all_at(&[!raw[500]], chunk.disk_offset() + 500).unwrap();
                times.fetch_add(1, Ordering::Relaxed);
            }
        };
        rack.controller.with(|s| s.witness = Some(Box::new(witness)));
        rack.boot().await;
        assert_eq!(spoilt.load(Ordering::Relaxed), 1);
        rack.assert_is_image(&rack.image);
        let receipt = rack.controller.with(|s| s.receipts[0].clone());
        assert_eq!(receipt.written_bytes + receipt.same_bytes, receipt.total_bytes, "{receipt:?}");
    });
}

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
fn only_what_differs_is_fetched() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        rack.boot().await;
        rack.machine.write(1, 20 * MIB + 77, b"one changed byte and some");
        let mut again = rack.job();
        again.target.expect = Expectation::Content { digest: rack.target().content.unwrap() };
        rack.offer(&rack.image, again);
        rack.boot().await;
        rack.assert_is_image(&rack.image);
        let receipt = rack.controller.with(|s| s.receipts[1].clone());
        // That window, and the two with the tables.
        let table_end = u64::from(rack.image.windows.last().unwrap().0.bytes);
        assert_eq!(receipt.written_bytes, 2 * MIB + table_end);
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

/// What the controller remembers of a job is about a disk that may have been swapped since.
#[test]
fn only_a_seed_of_this_job_makes_it_go_on() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        let mut job = rack.job();
        job.resume = true;
        rack.offer(&rack.image, job);
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
fn a_cancelled_job_stops_with_the_disk_disarmed() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        rack.machine.write(1, 0, b"an old boot sector");
        rack.machine.write(1, TARGET - 512, b"EFI PART of an old system");
        rack.offer(&rack.image, rack.job());
        // The wire is kept busy failing, so that the job can't end before the word to stop arrives.
        rack.controller.with(|s| {
            s.cancel = true;
            s.faults = std::iter::repeat_n(Fault::Busy, 100_000).collect();
        });
        let console =
            rack.boot_until("it to stop", |_, text| text.contains("the controller cancelled the job")).await;
        assert!(console.text().contains("n1: stopped"), "{}", console.text());
        rack.assert_cannot_boot();
        assert_eq!(rack.controller.with(|s| s.receipts.len()), 0);
    });
}

#[test]
fn a_final_no_to_a_table_is_heard_and_a_new_hello_goes_on() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        let tables = [rack.image.windows.last().unwrap().0.offset, rack.image.windows[0].0.offset];
        for (offset, hellos) in tables.into_iter().zip([2, 4]) {
            let job = ImageJob { resume: true, ..rack.job() };
            rack.offer(&rack.image, job);
            rack.controller.with(|s| s.forbidden = Some(offset));
            let console = rack.boot().await;
            assert!(console.text().contains("n1: stopped"), "{}", console.text());
            let said = rack.controller.with(|s| s.hellos.iter().filter(|h| h.proof.is_some()).count());
            assert!(said >= hellos, "{said} hellos: {}", console.text());
            rack.assert_is_image(&rack.image);
        }
    });
}

#[test]
fn a_disk_that_changed_since_the_plan_is_not_written() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        rack.machine.write(1, 100, b"somebody was here");
        let why = rack.failure().await;
        assert_eq!(why, "what is on serial:SYSTEM has changed since the plan");
        assert_eq!(rack.machine.read(1, 100, 17), b"somebody was here");
        assert_eq!(rack.controller.with(|s| s.ranges), 0, "nothing was even fetched");
    });
}

#[test]
fn a_disk_that_is_not_a_nodes_is_not_rebuilt() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        let mut job = rack.job();
        job.target.expect = Expectation::Own;
        rack.offer(&rack.image, job);
        let why = rack.failure().await;
        assert!(why.contains("serial:SYSTEM has no partition rackwright-root"), "{why}");
    });
}

#[test]
fn a_disk_in_use_is_not_written() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        let number = fs::read_to_string(rack.machine.path().join("sys/block/vdb/dev")).unwrap();
        rack.machine
            .file("proc/self/mountinfo", &format!("29 28 {} / /mnt rw - ext4 /dev/vdb rw\n", number.trim()));
        assert_eq!(rack.failure().await, "the disk vdb is in use: it is mounted on /mnt");
        rack.machine.file("proc/self/mountinfo", "");
        rack.controller.with(|s| s.progress.clear());
        let claimed = rustix::fs::OFlags::EXCL | rustix::fs::OFlags::RDONLY;
        let device = &rack.machine.disks[1].device;
        let claim = rustix::fs::open(device, claimed, rustix::fs::Mode::empty()).unwrap();
        let why = rack.failure().await;
        assert!(why.starts_with("opening serial:SYSTEM for writing: Device or resource busy"), "{why}");
        drop(claim);
        rack.machine.file("sys/block/vdb/vdb1/partition", "1");
        rack.machine.file("sys/block/vdb/vdb1/holders/md0", "");
        rack.controller.with(|s| s.progress.clear());
        assert_eq!(rack.failure().await, "the disk vdb is in use: md0 is made of it");
    });
}

#[test]
fn an_image_that_is_not_the_jobs_is_not_written() {
    if !is_root() {
        return;
    }
    run(async {
        let rack = Rack::new().await;
        let other = Image::new(2);
        // Signed by another key; signed by the right key but another image; one flipped byte.
        let table = [
            ("is not trusted here", other.signed.clone(), rack.job()),
            ("the job names", other.signed.clone(), ImageJob { signer: other.key.public(), ..rack.job() }),
            ("the signature does not fit", flipped(&rack.image), rack.job()),
        ];
        for (words, signed, job) in table {
            rack.controller.with(|s| {
                s.progress.clear();
                s.image = Some((signed, other.data.clone()));
                s.task = Task::Image(Box::new(job));
            });
            let why = rack.failure().await;
            assert!(why.contains(words), "{words}: {why}");
        }
        assert!(rack.machine.read(1, 0, 1 << 20).iter().all(|b| *b == 0));
        assert_eq!(rack.controller.with(|s| s.ranges), 0);
    });
}

fn flipped(image: &Image) -> pack::Signed {
    let mut signed = image.signed.clone();
    let middle = signed.manifest.len() / 2;
    signed.manifest[middle] ^= 1;
    signed
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
        let chosen = async |root, ca| {
            seeds::key(root, ca, &agent::screen::Screen::default()).await.map(|k| k.public())
        };
        let root = rack.machine.path();
        assert_eq!(chosen(root, rack.site.pin()).await, Some(key));
        assert_eq!(chosen(root, Site::new().pin()).await, None);
        let mut more = Machine::new();
        more.add_disk("vda", "A", TARGET);
        more.add_disk("vdb", "B", TARGET);
        let mut other = protocol::Seed::decode(&seed).unwrap();
        more.write(0, SEED_OFFSET, &seed);
        assert_eq!(chosen(more.path(), rack.site.pin()).await, Some(key));
        other.node = protocol::NodeId([1; 16]);
        more.write(1, SEED_OFFSET, &other.encode().unwrap());
        assert_eq!(chosen(more.path(), rack.site.pin()).await, None, "a disk was moved here");
        more.write(1, SEED_OFFSET + 30, b"\xff\xff");
        assert_eq!(chosen(more.path(), rack.site.pin()).await, Some(key), "a damaged one does not count");
    });
}

#[test]
fn a_failing_disk_is_named_with_place_and_cause() {
    if !is_root() {
        return;
    }
    let full = super::machine::SmallSpace::new("24m");
    run(async {
        let site = Arc::new(Site::new());
        let controller = Controller::start(&site).await;
        let mut machine = Machine::new();
        // A disk whose medium gives out: its file lies where there is room for a quarter of it.
        let disk = super::machine::LoopDisk::new(&full.path().join("disk.img"), TARGET);
        machine.plug("vda", "SYSTEM", TARGET, disk);
        let image = Image::new(1);
        let job = image.job(&machine.inventory("SYSTEM"));
        controller.with(|s| {
            s.image = Some((image.signed.clone(), image.data.clone()));
            s.task = Task::Image(Box::new(job));
        });
        let rack = Rack { site, controller, machine, image };
        let why = rack.failure().await;
        assert!(why.contains("serial:SYSTEM at byte ") && why.contains("os error"), "{why}");
        assert!(!why.contains("vda"), "{why}");
        assert!(rack.machine.read(0, 0, 1 << 20).iter().all(|b| *b == 0), "disarmed");
    });
}

/// The seed comes first: without it, a disk whose ends are gone could not be told from anybody's.
#[test]
fn a_disk_that_takes_no_seed_stays_as_it_was() {
    if !is_root() {
        return;
    }
    // Room for both ends and for nothing between them.
    let full = super::machine::SmallSpace::new("2m");
    run(async {
        let site = Arc::new(Site::new());
        let controller = Controller::start(&site).await;
        let mut machine = Machine::new();
        let disk = super::machine::LoopDisk::new(&full.path().join("disk.img"), TARGET);
        machine.plug("vda", "SYSTEM", TARGET, disk);
        let end = vec![7; 1 << 20];
        machine.write(0, 0, &end);
        machine.write(0, TARGET - MIB, &end);
        let image = Image::new(1);
        let job = image.job(&machine.inventory("SYSTEM"));
        controller.with(|s| {
            s.image = Some((image.signed.clone(), image.data.clone()));
            s.task = Task::Image(Box::new(job));
        });
        let rack = Rack { site, controller, machine, image };
        let why = rack.failure().await;
        assert!(why.contains("writing the seed"), "{why}");
        for at in [0, TARGET - MIB] {
            assert!(rack.machine.read(0, at, 1 << 20) == end, "the end at {at}");
        }
    });
}
