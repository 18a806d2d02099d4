//! `restore`: image files onto loop devices.

mod content;
mod fitting;
mod image;
mod sharing;

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use agent::restore::{Options, Receipt, RestoreError, run};
use pack::disk::Engine;
use protocol::Verify;
use tempfile::TempDir;

use crate::deploy::is_root;
use crate::deploy::machine::{LoopDisk, Machine, SmallSpace};
use image::{ImageFile, MIB, Slices};

/// A server with one disk.
fn machine(bytes: u64) -> Machine {
    let mut machine = Machine::new();
    machine.add_disk("vda", "SYSTEM", bytes);
    machine
}

fn options(machine: &Machine, image: &ImageFile) -> Options {
    Options {
        image: image.path.clone(),
        disk: "/dev/vda".into(),
        trust: Some(image.key),
        confirm: Some("SYSTEM".to_owned()),
        discard: true,
        engine: Engine::Uring,
        verify: Verify::Readback,
        root: machine.path().to_owned(),
        json: true,
    }
}

fn restore(options: &Options) -> Result<Receipt, RestoreError> {
    run(options, |_| panic!("nothing is to be asked"))
}

/// Sectors that the kernel has written to the disk (Documentation/block/stat.rst), zeros and discards apart.
fn sectors_written(disk: &LoopDisk) -> u64 {
    stat(disk, 6)
}

/// Sectors that the kernel has read from it.
fn sectors_read(disk: &LoopDisk) -> u64 {
    stat(disk, 2)
}

fn stat(disk: &LoopDisk, field: usize) -> u64 {
    let name = disk.device.file_name().unwrap().to_str().unwrap();
    let stat = fs::read_to_string(format!("/sys/block/{name}/stat")).unwrap();
    stat.split_ascii_whitespace().nth(field).unwrap().parse().unwrap()
}

fn assert_cannot_boot(machine: &Machine) {
    let begin = machine.read(0, 0, 1 << 20);
    assert!(begin.starts_with(b"rackwright: not finished"), "{:?}", &begin[..64]);
    assert!(begin[4096..].iter().all(|byte| *byte == 0), "only the mark lies in the first MiB");
}

#[test]
fn a_disk_that_is_the_image_is_not_written_and_one_that_is_nearly_only_where_it_differs() {
    if !is_root() {
        return;
    }
    let place = TempDir::new().unwrap();
    let slices = Slices::new(2048);
    let image = slices.file(&place.path().join("one.rwimage"), 1);
    // Twenty of 2048 windows are other ones.
    let changed = Slices { changed: (0..20).map(|n| 50 + n * 97).collect(), ..slices.clone() };
    let other = changed.file(&place.path().join("two.rwimage"), 1);
    let machine = machine(slices.bytes() + 3 * MIB);
    machine.write(0, 5 * MIB, &[0xaa; 4096]);
    for engine in [Engine::Uring, Engine::Threads] {
        let first = restore(&Options { engine, ..options(&machine, &image) }).unwrap();
        image.assert_on(&machine.disks[0].file);
        assert_eq!(first.written_bytes + first.skipped_bytes, first.total_bytes);
        assert_eq!(first.root, image.root);
        let word =
            if engine == Engine::Uring { "disk: io_uring, 16 at once" } else { "disk: threads, 16 at once" };
        assert_eq!(first.engine, word);
        assert!(first.peak_rss_bytes > 0 && first.cpu_milliseconds > 0);

        let before = sectors_written(&machine.disks[0]);
        let again = restore(&Options { engine, ..options(&machine, &image) }).unwrap();
        assert_eq!(sectors_written(&machine.disks[0]), before, "not one sector");
        assert_eq!((again.written_bytes, again.fetched_bytes), (0, 0));
        assert_eq!((again.skipped_bytes, again.root), (again.total_bytes, image.root));

        let delta = restore(&Options { engine, ..options(&machine, &other) }).unwrap();
        other.assert_on(&machine.disks[0].file);
        let (bytes, stored) = changed.changed_bytes(&other);
        assert!(delta.written_bytes * 10 <= bytes * 11, "{} of {bytes}", delta.written_bytes);
        assert!(delta.fetched_bytes * 10 <= stored * 13, "{} of {stored}", delta.fetched_bytes);
    }
}

#[test]
fn what_a_disk_says_is_durable_can_be_trusted_instead_of_read_back() {
    if !is_root() {
        return;
    }
    let place = TempDir::new().unwrap();
    let image = Slices::new(1024).file(&place.path().join("one.rwimage"), 1);
    let read = |verify: Verify| {
        let machine = machine(1024 * MIB);
        machine.write(0, 5 * MIB, &[0xaa; 4096]);
        let before = sectors_read(&machine.disks[0]);
        let receipt = restore(&Options { verify, ..options(&machine, &image) }).unwrap();
        let read = 512 * (sectors_read(&machine.disks[0]) - before);
        image.assert_on(&machine.disks[0].file);
        assert_eq!((receipt.verify, receipt.root), (verify, image.root));
        assert_eq!(receipt.written_bytes, receipt.total_bytes);
        (read, receipt.total_bytes)
    };
    let (all, total) = read(Verify::Readback);
    assert!(all >= total, "{all} of {total}");
    // A look at what is there, and the tables.
    let (some, _) = read(Verify::Stream);
    assert!(some + total / 10 * 9 <= all, "{some} of {all}");
    assert!(some * 4 < total, "{some} of {total}");
}

#[test]
fn a_medium_that_gives_out_is_named_with_place_and_cause_and_does_not_boot() {
    if !is_root() {
        return;
    }
    let place = TempDir::new().unwrap();
    let slices = Slices::new(512);
    let image = slices.file(&place.path().join("one.rwimage"), 1);
    for engine in [Engine::Uring, Engine::Threads] {
        // The image has 32 MiB.
        let full = SmallSpace::new("12m");
        let mut machine = Machine::new();
        let bytes = slices.bytes();
        machine.plug("vda", "SYSTEM", bytes, LoopDisk::new(&full.path().join("disk.img"), bytes));
        let error = restore(&Options { engine, ..options(&machine, &image) }).unwrap_err();
        let RestoreError::Failed { why, left } = &error else { panic!("{error:?}") };
        assert!(why.contains("writing serial:SYSTEM at byte ") && why.contains("os error"), "{why}");
        assert!(left.contains("does not boot"), "{left}");
        assert_cannot_boot(&machine);
    }
}

#[test]
fn ctrl_c_leaves_a_disk_that_does_not_boot_and_the_same_command_goes_on() {
    if !is_root() {
        return;
    }
    let place = TempDir::new().unwrap();
    let slices = Slices::new(2048);
    let image = slices.file(&place.path().join("one.rwimage"), 1);
    for _ in 0..20 {
        let machine = machine(slices.bytes());
        let options = options(&machine, &image);
        let mut command = Command::new(env!("CARGO_BIN_EXE_rackwright-agent"));
        command.args(["restore", "--disk", "/dev/vda", "--confirm", "SYSTEM", "-o", "json", "--root"]);
        command.arg(machine.path()).arg("--image").arg(&image.path);
        command.args(["--trust", &image.key.to_string()]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut probe = [0; 16];
        let disk = fs::File::open(&machine.disks[0].file).unwrap();
        // The slice of window 600 of 2048.
        while probe == [0; 16] && child.try_wait().unwrap().is_none() {
            disk.read_exact_at(&mut probe, 600 * MIB + (8 << 16)).unwrap();
            sleep(Duration::from_millis(1));
        }
        let pid = rustix::process::Pid::from_child(&child);
        let _ended = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        // One that was quicker says nothing: there is another.
        if child.wait().unwrap().code() != Some(130) {
            continue;
        }
        assert_cannot_boot(&machine);
        let receipt = restore(&options).unwrap();
        image.assert_on(&machine.disks[0].file);
        assert!(receipt.skipped_bytes > 0 && receipt.written_bytes < receipt.total_bytes, "{receipt:?}");
        return;
    }
    panic!("it was never stopped in time");
}

#[test]
fn every_doubt_is_a_refusal_and_nothing_is_written() {
    if !is_root() {
        return;
    }
    let place = TempDir::new().unwrap();
    let slices = Slices::new(16);
    let image = slices.file(&place.path().join("one.rwimage"), 1);
    let machine = machine(slices.bytes());
    let sound = options(&machine, &image);
    let before = sectors_written(&machine.disks[0]);
    let refused = |options: &Options, words: &str| {
        let told = agent::chain::Chain(&restore(options).unwrap_err()).to_string();
        assert!(told.contains(words), "{words}: {told}");
    };
    let confirm = |word: &str| Options { confirm: Some(word.to_owned()), ..sound.clone() };
    refused(
        &confirm("SYSTEMS"),
        r#"nothing was written: serial:SYSTEM is confirmed by "SYSTEM", not by "SYSTEMS""#,
    );
    refused(&Options { trust: None, ..sound.clone() }, "who signed it, to be trusted?");
    refused(&Options { trust: Some(pack::PublicKey([7; 32])), ..sound.clone() }, "is not trusted here");
    refused(&Options { disk: "/dev/vdb".into(), ..sound.clone() }, "is no whole disk");
    refused(&Options { disk: "/dev/../dev/vda".into(), ..sound.clone() }, "is no whole disk");

    let bytes = fs::read(&image.path).unwrap();
    let broken = place.path().join("broken.rwimage");
    let with = |content: &[u8]| {
        fs::write(&broken, content).unwrap();
        Options { image: broken.clone(), ..sound.clone() }
    };
    refused(&with(&bytes[..bytes.len() - 1]), "bytes long, its manifest says");
    refused(&with(&bytes[..200]), "reading");
    refused(&with(b"QFI\xfb"), "it does not begin like one");
    let mut flipped = bytes.clone();
    flipped[130] ^= 1;
    refused(&with(&flipped), "the signature does not fit");

    let larger = Slices::new(17).file(&place.path().join("larger.rwimage"), 1);
    refused(&Options { image: larger.path.clone(), ..sound.clone() }, "the image needs a disk of");
    machine.file("sys/block/vda/queue/logical_block_size", "4096\n");
    refused(&sound, "made for sectors of 512 bytes, serial:SYSTEM has sectors of 4096");
    machine.file("sys/block/vda/queue/logical_block_size", "512\n");
    let number = fs::read_to_string(machine.path().join("sys/block/vda/dev")).unwrap();
    let mounted = format!("29 28 {} / /mnt rw - ext4 /dev/vda rw\n", number.trim());
    machine.file("proc/self/mountinfo", &mounted);
    refused(&sound, "the disk vda is in use: it is mounted on /mnt");
    machine.file("proc/self/mountinfo", "");
    let claimed = rustix::fs::OFlags::EXCL | rustix::fs::OFlags::RDONLY;
    let claim = rustix::fs::open(&machine.disks[0].device, claimed, rustix::fs::Mode::empty()).unwrap();
    refused(&sound, "opening serial:SYSTEM for writing: Device or resource busy");
    drop(claim);
    assert_eq!(sectors_written(&machine.disks[0]), before, "not one sector");

    // A person is shown what they type a name for.
    let asked = Options { confirm: None, trust: None, ..sound };
    let receipt = run(&asked, |question| {
        for words in ["nobody has vouched for this key", "serial:SYSTEM", "Type SYSTEM to go on", "slices"] {
            assert!(question.contains(words), "{words} in {question}");
        }
        Some("SYSTEM".to_owned())
    });
    assert!(!receipt.unwrap().trusted);
}

/// In a data area that rots, a window is not written: the place is named, and the disk does not boot.
#[test]
fn an_image_that_rots_is_refused_piece_by_piece() {
    if !is_root() {
        return;
    }
    let place = TempDir::new().unwrap();
    let slices = Slices::new(64);
    let image = slices.file(&place.path().join("one.rwimage"), 1);
    let file = fs::OpenOptions::new().read(true).write(true).open(&image.path).unwrap();
    let at = file.metadata().unwrap().len() - 100_000;
    file.write_all_at(b"rot", at).unwrap();
    let machine = machine(slices.bytes());
    let error = restore(&options(&machine, &image)).unwrap_err();
    assert!(matches!(&error, RestoreError::Failed { why, .. } if why.contains("do not match")), "{error}");
    assert_cannot_boot(&machine);
}

/// One that is in use is left alone: the system may run from it.
#[test]
fn other_disks_are_read_only_meanwhile_unless_somebody_uses_them() {
    if !is_root() {
        return;
    }
    let mut machine = Machine::new();
    machine.add_disk("vda", "SYSTEM", 16 * MIB);
    machine.add_disk("vdb", "FREE", 16 * MIB);
    machine.add_disk("vdc", "MOUNTED", 16 * MIB);
    machine.add_disk("vdd", "CLAIMED", 16 * MIB);
    let number = fs::read_to_string(machine.path().join("sys/block/vdc/dev")).unwrap();
    machine.file("proc/self/mountinfo", &format!("29 28 {} / / rw - ext4 /dev/vdc rw\n", number.trim()));
    let claimed = rustix::fs::OFlags::EXCL | rustix::fs::OFlags::RDONLY;
    let claim = rustix::fs::open(&machine.disks[3].device, claimed, rustix::fs::Mode::empty()).unwrap();
    let held = agent::deploy::imaging::hold::Protected::all_unused_but(machine.path(), "vda").unwrap();
    let are_read_only = machine.disks.iter().map(LoopDisk::is_read_only).collect::<Vec<_>>();
    assert_eq!(are_read_only, [false, true, false, false]);
    assert_eq!(held.1, ["vdc", "vdd"]);
    drop((held, claim));
    assert!(machine.disks.iter().all(|disk| !disk.is_read_only()));
}
