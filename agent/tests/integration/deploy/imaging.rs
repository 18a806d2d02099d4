//! Images onto real block devices, with everything going wrong that can.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use agent::deploy::seeds;
use protocol::{Expectation, ImageJob, SEED_OFFSET, Task};

use super::controller::Fault;
use super::image::{Image, MIB};
use super::machine::SmallSpace;
use super::rack::{Rack, TARGET};
use super::{is_root, run, until};

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
                protected.fetch_and(pack::disk::is_read_only(&file).unwrap(), Ordering::Relaxed);
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
        assert_eq!(rack.machine.read(1, 5 * MIB, 16), [0; 16], "another system's data was discarded");
        let receipt = rack.controller.with(|s| s.receipts[0].clone());
        assert_eq!(receipt.image, rack.image.manifest.digest());
        assert_eq!(receipt.disk.as_str(), "serial:SYSTEM");
        assert_eq!(receipt.total_bytes, rack.image.total());
        assert_eq!(receipt.written_bytes + receipt.same_bytes, receipt.total_bytes);
        assert!(receipt.fetched_bytes <= rack.image.data.len() as u64);
        let seed = seeds::read(&rack.machine.disks[1].device).unwrap();
        assert!(seed.complete && seed.certificate.contains("BEGIN CERTIFICATE"));
        assert_eq!((seed.controller, seed.ca), (rack.controller.address, rack.site.pin()));
        // The console has a thread of its own.
        for words in ["imaging 0%", "reading back", "rackwright-agent: verified\r\n"] {
            until(words, || console.text().contains(words)).await;
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
        // A boot that asks for the whole body before that window is written says nothing: there is another.
        for _ in 0..20 {
            if spoilt_once_and_mended().await {
                return;
            }
        }
        panic!("the window was never there before the last request of the body");
    });
}

/// Lets the medium lose a byte of a window between its writing and its reading back. `false`: there was no such moment.
async fn spoilt_once_and_mended() -> bool {
    let rack = Rack::new().await;
    let file = rack.machine.disks[1].file.clone();
    let (chunk, raw) = rack.image.windows[2].clone();
    let tables = [0, rack.image.windows.len() - 1].map(|at| rack.image.windows[at].0.offset);
    let spoilt = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&spoilt);
    let witness = move |offset| {
        // The tables are asked for after the read-back; whatever else is, before it.
        if tables.contains(&offset) || done.load(Ordering::Relaxed) {
            return;
        }
        let disk = fs::OpenOptions::new().read(true).write(true).open(&file).unwrap();
        let mut on_disk = vec![0; raw.len()];
        disk.read_exact_at(&mut on_disk, chunk.disk_offset()).unwrap();
        if on_disk == raw {
            disk.write_all_at(&[!raw[500]], chunk.disk_offset() + 500).unwrap();
            done.store(true, Ordering::Relaxed);
        }
    };
    rack.controller.with(|s| s.witness = Some(Box::new(witness)));
    rack.boot().await;
    rack.assert_is_image(&rack.image);
    let receipt = rack.controller.with(|s| s.receipts[0].clone());
    assert_eq!(receipt.written_bytes + receipt.same_bytes, receipt.total_bytes, "{receipt:?}");
    spoilt.load(Ordering::Relaxed)
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
            s.faults = std::iter::repeat_n(Fault::Busy, 100_000).collect();
        });
        // Earlier than that, nothing was written, and the disk is left as it was.
        let cancel = async {
            until("the disk to be disarmed", || rack.cannot_boot()).await;
            rack.controller.with(|s| s.cancel = true);
        };
        let stopped =
            rack.boot_until("it to stop", |_, text| text.contains("the controller cancelled the job"));
        let (console, ()) = tokio::join!(stopped, cancel);
        until("that it stopped", || console.text().contains("n1: stopped")).await;
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
            rack.offer(&rack.image, rack.job());
            rack.controller.with(|s| s.forbidden = Some(offset));
            let console = rack.boot().await;
            until("that it stopped", || console.text().contains("n1: stopped")).await;
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
fn a_failing_disk_is_named_with_place_and_cause() {
    if !is_root() {
        return;
    }
    let full = SmallSpace::new("24m");
    run(async {
        // A disk whose medium gives out.
        let rack = Rack::of(Rack::on_small(&full)).await;
        let why = rack.failure().await;
        assert!(why.contains("serial:SYSTEM at byte ") && why.contains("os error"), "{why}");
        assert!(!why.contains("vda"), "{why}");
        assert!(rack.machine.read(0, 0, 1 << 20).iter().all(|b| *b == 0), "disarmed");
    });
}
