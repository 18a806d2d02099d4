//! Disks with real file systems: looked into, generalised, captured.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser;
use image_build::cli::Cli;
use image_build::container::Image;
use image_build::files::WorkFolder;
use image_build::lint::rule::Strip;
use image_build::lint::{Generalized, Outcome, Report, examine};
use image_build::progress::Progress;
use image_build::{capture, lint, verbs};
use pack::{Compression, Digest};

use super::{Files, everything, lay, rules};
use crate::tool::{key, run, work};

pub(super) const MIB: u64 = 1 << 20;

/// Where the tests' root file system begins, in sectors.
pub(super) const FIRST: u64 = 2048;

const BLOCK: usize = 4096;
const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// A loop device that goes away, with what is mounted of it.
pub(super) struct Mounted {
    device: String,
    pub(super) at: PathBuf,
}

impl Mounted {
    pub(super) fn of(disk: &Path, offset: u64, bytes: u64, at: &Path, options: &str) -> Mounted {
        let (offset, bytes) = (offset.to_string(), bytes.to_string());
        let line = ["--find", "--show", "--offset", &offset, "--sizelimit", &bytes].map(PathBuf::from);
        let device = run("losetup", line.into_iter().chain([disk.to_owned()]));
        let device = String::from_utf8(device).unwrap().trim().to_owned();
        run("blockdev", ["--setrw", &device]);
        std::fs::create_dir_all(at).unwrap();
        let mounted = Mounted { device, at: at.to_owned() };
        run("mount", ["-o", options, &mounted.device, at.to_str().unwrap()]);
        mounted
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let call = |program: &str, args: &[&str]| image_build::tools::Call::new(program).args(args).run();
        drop(call("umount", &[self.at.to_str().unwrap()]));
        drop(call("losetup", &["-d", &self.device]));
    }
}

/// A disk of one partition with such a file system.
pub(super) fn disk(at: &Path, mkfs: &[&str], bytes: u64, kind: &str) -> PathBuf {
    let disk = at.join("disk.img");
    std::fs::File::create(&disk).unwrap().set_len(bytes + 2 * MIB).unwrap();
    let new = format!("--new=1:{FIRST}:+{}M", bytes / MIB);
    run("sgdisk", ["--set-alignment=1", &new, &format!("--typecode=1:{kind}"), disk.to_str().unwrap()]);
    let part = at.join("part.img");
    std::fs::File::create(&part).unwrap().set_len(bytes).unwrap();
    run(mkfs[0], mkfs[1..].iter().map(PathBuf::from).chain([part.clone()]));
    copy(&part, &disk, FIRST * 512);
    disk
}

fn copy(from: &Path, to: &Path, at: u64) {
    let (bytes, to) = (std::fs::read(from).unwrap(), std::fs::File::options().write(true).open(to).unwrap());
    for (place, run) in written(&bytes) {
        to.write_all_at(run, at + place as u64).unwrap();
    }
}

/// The blocks of a disk in which something stands, with their places. Compared as a whole: byte for byte, without optimisation,
/// a disk takes half a minute.
fn written(disk: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let blocks = disk.chunks(BLOCK).enumerate();
    blocks.filter(|(_, block)| **block != ZEROS[..block.len()]).map(|(number, block)| (number * BLOCK, block))
}

fn system() -> Files {
    let mut files = everything();
    files.insert("/etc/os-release".into(), "PRETTY_NAME=\"Test OS 1\"\n".into());
    files.insert("/usr/bin/program".into(), "stays".into());
    files.insert("/etc/fstab".into(), "/dev/sda1 / auto defaults 0 1\n".into());
    files
}

pub(super) fn digest(path: &Path) -> Digest {
    Digest::of(&std::fs::read(path).unwrap())
}

fn ids(report: &Report, outcome: Outcome) -> BTreeSet<String> {
    report.findings.iter().filter(|one| one.outcome == outcome).map(|one| one.id.clone()).collect()
}

/// What a capture of the disk has in it, as a disk again.
fn captured(source: &Path, at: &Path) -> PathBuf {
    let (image, raw) = (at.join("x.rwimage"), at.join("captured.img"));
    let order = capture::Order {
        source,
        sector_bytes: None,
        name: "it",
        arch: "amd64",
        roles: &[],
        compression: Compression::Zstd(1),
        key: &key(),
        out: &image,
    };
    let (image, _) = capture::capture(&order, &Progress::start(true)).unwrap();
    image.unpack(&raw, &Progress::start(true)).unwrap();
    raw
}

/// No loop device of the files below a folder is left.
pub(super) fn nothing_is_left(at: &Path) {
    let at = at.canonicalize().unwrap();
    let is_left = || {
        let loops = run("losetup", ["--list", "--noheadings", "--output", "BACK-FILE"]);
        String::from_utf8_lossy(&loops).contains(at.to_str().unwrap())
    };
    // A test beside this one may just be starting a program: until that runs, it has our files open.
    let patience = Instant::now() + Duration::from_secs(5);
    while is_left() {
        assert!(Instant::now() < patience, "a loop device was left");
        std::thread::sleep(Duration::from_millis(50));
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(at.to_str().unwrap()), "a mount was left");
}

/// Lints, generalises and captures a disk that is full of identity; gives the disk in the image.
fn whole_way(disk: &Path, at: &Path) -> PathBuf {
    let (rules, before) = (rules(), digest(disk));
    let report = examine(disk, &rules).unwrap();
    assert_eq!(report.system, "Test OS 1", "{report}");
    assert!(report.refused() && report.unseen.is_empty(), "{report}");
    let expected: BTreeSet<_> = super::cases().into_keys().collect();
    assert_eq!(ids(&report, Outcome::Found), expected);
    nothing_is_left(at);

    let keep = BTreeSet::from(["shell-history".to_owned()]);
    let generalized = Generalized::of(disk, &at.join("work"), &rules, &keep).unwrap();
    let report = generalized.report();
    let by_person = rules.iter().filter(|rule| rule.strip == Strip::Nothing).map(|rule| rule.id.clone());
    let by_person: BTreeSet<_> = by_person.collect();
    assert!(ids(report, Outcome::Found).is_subset(&by_person), "{report}");
    assert_eq!(ids(report, Outcome::Kept), keep);
    assert!(ids(report, Outcome::Stripped).contains("machine-id"), "{report}");
    assert!(!report.refused() && report.troubles.is_empty(), "{report}");
    nothing_is_left(at);
    let raw = captured(generalized.path(), at);
    let view = generalized.path().to_owned();
    drop(generalized);
    assert!(!view.exists());

    assert_eq!(digest(disk), before, "the source was changed");
    let report = examine(&raw, &rules).unwrap();
    assert!(ids(&report, Outcome::Found).is_subset(&by_person.union(&keep).cloned().collect()), "{report}");
    assert!(!report.refused(), "{report}");
    nothing_is_left(at);
    raw
}

/// Neither in a free block nor in a journal: the bytes themselves are gone. Names may be left in folders.
fn no_secret_is_left(raw: &Path) {
    let bytes = std::fs::read(raw).unwrap();
    for secret in
        [&b"$6$x"[..], b"fedcba9876543210fedcba9876543210", b"OPENSSH PRIVATE KEY", b"iqn.1993-08.org"]
    {
        // It may begin in one block and end in the next.
        let reach = |at: usize| &bytes[at..bytes.len().min(at + BLOCK + secret.len() - 1)];
        let is_in = |at: usize| reach(at).windows(secret.len()).any(|window| window == secret);
        assert!(!written(&bytes).any(|(at, _)| is_in(at)), "{}", String::from_utf8_lossy(secret));
    }
}

fn root_on(mkfs: &[&str], bytes: u64) {
    let (_work, raw) = root_in(mkfs, bytes);
    no_secret_is_left(&raw);
}

fn root_in(mkfs: &[&str], bytes: u64) -> (WorkFolder, PathBuf) {
    let work = work();
    let disk = disk(work.path(), mkfs, bytes, "8300");
    {
        let mounted = Mounted::of(&disk, FIRST * 512, bytes, &work.path().join("mnt"), "defaults");
        lay(&mounted.at, &system());
    }
    let raw = whole_way(&disk, work.path());
    (work, raw)
}

#[test]
fn ext4() {
    root_on(&["mkfs.ext4", "-q"], 96 * MIB);
}

#[test]
fn ext4_with_small_files_in_inodes() {
    // What lies in inodes may be left in the journal.
    root_in(&["mkfs.ext4", "-q", "-O", "inline_data", "-I", "512"], 96 * MIB);
}

#[test]
fn xfs() {
    root_on(&["mkfs.xfs", "-q"], 320 * MIB);
}

#[test]
fn btrfs() {
    root_on(&["mkfs.btrfs", "-q"], 160 * MIB);
}

#[test]
fn btrfs_in_subvolumes() {
    let (work, bytes) = (work(), 160 * MIB);
    let disk = disk(work.path(), &["mkfs.btrfs", "-q"], bytes, "8300");
    {
        let mounted = Mounted::of(&disk, FIRST * 512, bytes, &work.path().join("mnt"), "defaults");
        for name in ["@", "@var", "@home"] {
            run("btrfs", ["subvolume", "create", mounted.at.join(name).to_str().unwrap()]);
        }
        let mut files = Files::new();
        for (path, content) in system() {
            let place = ["var", "home"].iter().find(|top| path.starts_with(&format!("/{top}/")));
            let new = match place {
                Some(top) => path.replacen(&format!("/{top}/"), &format!("/@{top}/"), 1),
                None => format!("/@{path}"),
            };
            files.insert(new, content);
        }
        let fstab = "/dev/sda1 / btrfs subvol=@ 0 0\n/dev/sda1 /var btrfs rw,subvol=@var 0 0\n\
                     /dev/sda1 /home btrfs subvol=/@home 0 0\n";
        files.insert("/@/etc/fstab".into(), fstab.into());
        lay(&mounted.at, &files);
        lay(
            &mounted.at,
            &Files::from([("/@/var/".into(), String::new()), ("/@/home/".into(), String::new())]),
        );
    }
    no_secret_is_left(&whole_way(&disk, work.path()));
}

/// Calls btrfs on subvolumes.
fn subvolume(verb: &str, paths: &[PathBuf]) {
    let words = ["subvolume", verb].map(PathBuf::from);
    run("btrfs", words.into_iter().chain(paths.iter().cloned()));
}

/// A system in a subvolume, with others beside it and below it.
fn lay_subvolumes(top: &Path) {
    let at = |path: &str| top.join(path);
    subvolume("create", &[at("@")]);
    let files = [
        ("/@/etc/os-release", "PRETTY_NAME=\"Test OS 1\"\n"),
        ("/@/etc/fstab", "/dev/sda1 / btrfs subvol=@ 0 0\n"),
        ("/@/etc/machine-id", "fedcba9876543210fedcba9876543210\n"),
        ("/@/var/lib/x", "x"),
        ("/@/.snapshots/info", "x"),
    ];
    lay(top, &Files::from(files.map(|(path, text)| (path.to_owned(), text.to_owned()))));
    // Where the system has it, and with nothing in it: no finding.
    subvolume("create", &[at("@/var/lib/machines")]);
    std::fs::write(at("@/var/lib/machines/file"), "x").unwrap();
    subvolume("create", &[at("@empty")]);
    std::fs::create_dir(at("@empty/folder")).unwrap();
    // Copies of the machine's id, at no place where a rule looks.
    subvolume("snapshot", &[at("@"), at("@/.snapshots/1")]);
    subvolume("snapshot", &[at("@"), at("old")]);
    subvolume("create", &[at("@other")]);
    std::fs::write(at("@other/file"), "x").unwrap();
    subvolume("create", &[at("@/machine")]);
    lay(&at("@/machine"), &Files::from([("/etc/os-release".into(), "NAME=x\n".into())]));
    std::fs::write(at("loose"), "x").unwrap();
}

#[test]
fn subvolumes_that_nobody_looks_into_are_refused_by_name_until_they_are_gone_or_kept() {
    let (work, bytes) = (work(), 160 * MIB);
    let disk = disk(work.path(), &["mkfs.btrfs", "-q"], bytes, "8300");
    let mount = || Mounted::of(&disk, FIRST * 512, bytes, &work.path().join("mnt"), "subvolid=5");
    lay_subvolumes(&mount().at);
    let before = digest(&disk);
    let generalized = |keep: &[&str]| {
        let keep = keep.iter().map(|&id| id.to_owned()).collect();
        Generalized::of(&disk, &work.path().join("work"), &rules(), &keep).unwrap()
    };
    let view = generalized(&[]);
    let report = view.report();
    let stops = report.findings.iter().filter(|one| one.stops()).map(|one| one.id.as_str());
    assert_eq!(stops.collect::<Vec<_>>(), ["btrfs-subvolume"], "{report}");
    assert!(report.refused() && report.unseen.is_empty(), "{report}");
    let finding = report.findings.iter().find(|one| one.id == "btrfs-subvolume").unwrap();
    let places = finding.places.iter().map(String::as_str).collect::<BTreeSet<_>>();
    let wanted = [
        "partition 1: the top of it, subvolid=5",
        "partition 1: @/.snapshots/1 (a copy)",
        "partition 1: old (a copy)",
        "partition 1: @other",
        "partition 1: @/machine",
    ];
    assert_eq!(places, BTreeSet::from(wanted));
    drop(view);
    assert!(!generalized(&["btrfs-subvolume"]).report().refused());
    assert_eq!(digest(&disk), before, "the source was changed");
    {
        let mounted = mount();
        for path in ["@/.snapshots/1", "old", "@other", "@/machine"] {
            subvolume("delete", &[mounted.at.join(path)]);
        }
        std::fs::remove_file(mounted.at.join("loose")).unwrap();
        subvolume("sync", std::slice::from_ref(&mounted.at));
    }
    let view = generalized(&[]);
    assert!(!view.report().refused() && view.report().unseen.is_empty(), "{}", view.report());
    no_secret_is_left(&captured(view.path(), work.path()));
    drop(view);
    nothing_is_left(work.path());
}

#[test]
fn a_separate_var_is_found_by_fstab_and_a_hibernated_swap_space_is_woken() {
    let (work, bytes) = (work(), 64 * MIB);
    let disk = disk(work.path(), &["mkfs.ext4", "-q", "-L", "top"], bytes, "8300");
    let disk_file = std::fs::File::options().write(true).open(&disk).unwrap();
    disk_file.set_len(170 * MIB).unwrap();
    run("sgdisk", ["--move-second-header", disk.to_str().unwrap()]);
    run("sgdisk", ["--new=2:0:+64M", "--new=3:0:+16M", "--typecode=3:8200", disk.to_str().unwrap()]);
    let (var, swap) = (work.path().join("var.img"), work.path().join("swap.img"));
    for (path, bytes) in [(&var, 64 * MIB), (&swap, 16 * MIB)] {
        std::fs::File::create(path).unwrap().set_len(bytes).unwrap();
    }
    run("mkfs.ext4", ["-q", "-L", "my var", var.to_str().unwrap()]);
    run("mkswap", ["-q", swap.to_str().unwrap()]);
    std::fs::File::options().write(true).open(&swap).unwrap().write_all_at(b"LINHIB0001", 4086).unwrap();
    let (var_at, swap_at) = (FIRST * 512 + bytes, FIRST * 512 + 2 * bytes);
    copy(&var, &disk, var_at);
    copy(&swap, &disk, swap_at);
    {
        let root = Mounted::of(&disk, FIRST * 512, bytes, &work.path().join("mnt"), "defaults");
        let _var = Mounted::of(&disk, var_at, bytes, &work.path().join("mnt/var"), "defaults");
        lay(&root.at, &system());
        let fstab =
            "LABEL=top / ext4 defaults 0 1\nLABEL=my\\040var /var ext4 defaults 0 2\n/dev/sda3 none swap\n";
        lay(&root.at, &Files::from([("/etc/fstab".into(), fstab.into())]));
    }
    let report = examine(&disk, &rules()).unwrap();
    assert!(ids(&report, Outcome::Found).contains("hibernated"), "{report}");
    assert!(ids(&report, Outcome::Found).contains("dhcp-lease"), "{report}");
    let generalized = Generalized::of(&disk, &work.path().join("work"), &rules(), &BTreeSet::new()).unwrap();
    assert!(ids(generalized.report(), Outcome::Stripped).contains("hibernated"), "{}", generalized.report());
    assert!(!generalized.report().refused(), "{}", generalized.report());
    let again = examine(generalized.path(), &rules()).unwrap();
    assert!(!again.refused(), "{again}");
    let kind = run(
        "blkid",
        ["-p", "-O", &swap_at.to_string(), "-o", "value", "-s", "TYPE", generalized.path().to_str().unwrap()],
    );
    assert_eq!(kind, b"swap\n");
    nothing_is_left(work.path());
}

#[test]
fn a_logical_volume_in_one_piece_is_looked_into() {
    let (work, bytes) = (work(), 128 * MIB);
    let disk = disk(work.path(), &["true"], bytes, "8e00");
    let config = "devices/use_devicesfile=0 global/locking_type=0 activation/monitoring=0";
    {
        let mounted = Attached::of(&disk, FIRST * 512, bytes);
        let filter = format!("{config} devices/filter=[\"a|^{}$|\",\"r|.*|\"]", mounted.0);
        let lvm = |line: &str, device: &[&str]| {
            let words = line.split(' ').chain(device.iter().copied());
            run("lvm", words.chain(["--driverloaded", "n", "--config", &filter]));
        };
        lvm("pvcreate -q", &[&mounted.0]);
        lvm("vgcreate -q rw-lint-test", &[&mounted.0]);
        lvm("lvcreate -q -an -Zn -Wn -L 80m -n top-lv rw-lint-test", &[]);
    }
    let part = work.path().join("lv.img");
    std::fs::File::create(&part).unwrap().set_len(80 * MIB).unwrap();
    run("mkfs.ext4", ["-q", part.to_str().unwrap()]);
    copy(&part, &disk, FIRST * 512 + MIB);
    {
        let root = Mounted::of(&disk, FIRST * 512 + MIB, 80 * MIB, &work.path().join("mnt"), "defaults");
        lay(&root.at, &system());
    }
    no_secret_is_left(&whole_way(&disk, work.path()));
}

/// A loop device that goes away.
struct Attached(String);

impl Attached {
    fn of(disk: &Path, offset: u64, bytes: u64) -> Attached {
        let (offset, bytes) = (offset.to_string(), bytes.to_string());
        let line = ["--find", "--show", "--offset", &offset, "--sizelimit", &bytes].map(PathBuf::from);
        let device = run("losetup", line.into_iter().chain([disk.to_owned()]));
        let device = String::from_utf8(device).unwrap().trim().to_owned();
        run("blockdev", ["--setrw", &device]);
        Attached(device)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        drop(image_build::tools::Call::new("losetup").args(["-d", &self.0]).run());
    }
}

#[test]
fn an_encrypted_volume_is_refused_and_nothing_can_be_done_about_it() {
    let work = work();
    let disk = disk(work.path(), &["mkfs.ext4", "-q"], 64 * MIB, "8300");
    let file = std::fs::File::options().write(true).open(&disk).unwrap();
    file.write_all_at(b"LUKS\xba\xbe\x00\x02", FIRST * 512).unwrap();
    let generalized = Generalized::of(&disk, &work.path().join("work"), &rules(), &BTreeSet::new()).unwrap();
    assert!(generalized.report().refused());
    let wanted = ["luks", "not-looked-into"].map(str::to_owned);
    assert_eq!(ids(generalized.report(), Outcome::Found), BTreeSet::from(wanted));
    nothing_is_left(work.path());
}

/// Makes a physical volume with a logical volume in two pieces, and another between them.
fn in_two_pieces(device: &str) {
    let config = "devices/use_devicesfile=0 global/locking_type=0 activation/monitoring=0";
    let filter = format!("{config} devices/filter=[\"a|^{device}$|\",\"r|.*|\"]");
    for line in [
        "pvcreate -q PV",
        "vgcreate -q rw-unseen-test PV",
        "lvcreate -q -an -Zn -Wn -l 2 -n pieces rw-unseen-test",
        "lvcreate -q -an -Zn -Wn -l 2 -n between rw-unseen-test",
        "lvextend -q -l +2 rw-unseen-test/pieces",
    ] {
        let words = line.split(' ').map(|word| if word == "PV" { device } else { word });
        run("lvm", words.chain(["--driverloaded", "n", "--config", &filter]));
    }
}

#[test]
fn what_could_not_be_looked_into_refuses_a_generalised_image_until_it_is_kept_by_name() {
    let (work, bytes) = (work(), 96 * MIB);
    let disk = disk(work.path(), &["mkfs.ext4", "-q"], bytes, "8300");
    let file = std::fs::File::options().write(true).open(&disk).unwrap();
    file.set_len(bytes + 140 * MIB).unwrap();
    run("sgdisk", ["--move-second-header", disk.to_str().unwrap()]);
    let new = ["--new=2:0:+64M", "--new=3:0:+32M", "--new=4:0:+8M"];
    run("sgdisk", new.into_iter().chain(["--typecode=2:8e00", disk.to_str().unwrap()]));
    let at = |mib: u64| FIRST * 512 + bytes + mib * MIB;
    in_two_pieces(&Attached::of(&disk, at(0), 64 * MIB).0);
    file.write_all_at(b"LUKS\xba\xbe\x00\x02", at(96)).unwrap();
    let other = work.path().join("other.img");
    std::fs::File::create(&other).unwrap().set_len(32 * MIB).unwrap();
    run("mkfs.ext4", ["-q", other.to_str().unwrap()]);
    copy(&other, &disk, at(64));
    {
        let release = || ("/etc/os-release".to_owned(), "PRETTY_NAME=\"Test OS 1\"\n".to_owned());
        let root = Mounted::of(&disk, FIRST * 512, bytes, &work.path().join("mnt"), "defaults");
        lay(&root.at, &Files::from([release()]));
        let other = Mounted::of(&disk, at(64), 32 * MIB, &work.path().join("other"), "defaults");
        lay(&other.at, &Files::from([release()]));
        lay(&root.at, &Files::from([("/srv/host/file".into(), "x".into())]));
        std::os::unix::fs::symlink("/srv/host", root.at.join("tmp")).unwrap();
    }
    let generalized = |keep: &[&str]| {
        let keep = keep.iter().map(|&id| id.to_owned()).collect();
        Generalized::of(&disk, &work.path().join("work"), &rules(), &keep).unwrap()
    };
    let view = generalized(&["luks"]);
    let report = view.report();
    let stops = report.findings.iter().filter(|one| one.stops()).map(|one| one.id.as_str());
    assert_eq!(stops.collect::<Vec<_>>(), ["not-looked-into"], "{report}");
    for words in
        ["rw-unseen-test/pieces: it does not lie", "another system", "(crypto_LUKS)", "a link led to"]
    {
        assert!(report.unseen.iter().any(|why| why.contains(words)), "{words}: {:?}", report.unseen);
    }
    let finding = report.findings.iter().find(|one| one.id == "not-looked-into").unwrap();
    assert_eq!(finding.places_total, report.unseen.len());
    assert!(lint::Refused::check(report).unwrap_err().to_string().contains("(not-looked-into)"));
    drop(view);
    let kept = generalized(&["luks", "not-looked-into"]);
    assert!(!kept.report().refused(), "{}", kept.report());
    assert!(
        kept.report().to_string().contains("because you said so: luks, not-looked-into"),
        "{}",
        kept.report()
    );
    drop(kept);
    nothing_is_left(work.path());
}

#[test]
fn a_disk_without_a_system_is_data_until_a_golden_image_shall_come_of_it() {
    let work = work();
    let disk = disk(work.path(), &["mkfs.ext4", "-q"], 48 * MIB, "8300");
    let report = examine(&disk, &rules()).unwrap();
    assert!(!report.refused() && !report.unseen.is_empty(), "{report}");
    let view = Generalized::of(&disk, &work.path().join("work"), &rules(), &BTreeSet::new()).unwrap();
    assert!(view.report().refused(), "{}", view.report());
}

#[test]
fn a_disk_whose_file_system_is_nonsense_is_said_and_left() {
    let work = work();
    let disk = disk(work.path(), &["mkfs.ext4", "-q"], 64 * MIB, "8300");
    let file = std::fs::File::options().write(true).open(&disk).unwrap();
    file.write_all_at(&[0xff; 64 << 10], FIRST * 512 + 4096).unwrap();
    let report = examine(&disk, &rules()).unwrap();
    assert!(!report.unseen.is_empty(), "{report}");
    nothing_is_left(work.path());
}

#[test]
fn a_disk_can_not_be_generalised_without_a_device_mapper_and_is_told_the_way_out() {
    let work = work();
    let file = disk(work.path(), &["mkfs.ext4", "-q"], 64 * MIB, "8300");
    let before = digest(&file);
    let attached = Attached::of(&file, 0, 66 * MIB);
    let device = Path::new(&attached.0);
    let report = examine(device, &rules()).unwrap();
    assert!(report.unseen.iter().any(|why| why.contains("os-release")), "{report}");
    let made = Generalized::of(device, &work.path().join("work"), &rules(), &BTreeSet::new());
    if let Err(error) = made {
        assert!(error.to_string().contains("--as-is"), "{error}");
    }
    assert_eq!(digest(&file), before);
}

/// The verb as people type it; gives what it ended with.
fn captures(disk: &Path, out: &Path, more: &[&str]) -> Result<(), String> {
    let at = out.parent().unwrap();
    let (key, work) = (at.join("key"), at.join("work"));
    let words =
        ["image-build", "--quiet", "capture", "--name", "it", "--level", "1", "--work"].map(PathBuf::from);
    let words = words.into_iter().chain([work, "--key".into(), key, "--out".into(), out.to_owned()]);
    let words = words.chain(more.iter().map(PathBuf::from)).chain([disk.to_owned()]);
    let cli = Cli::try_parse_from(words.map(PathBuf::into_os_string)).unwrap();
    verbs::run(&cli).map_err(|error| {
        assert!(error.is::<lint::Refused>(), "{error}");
        error.to_string()
    })
}

#[test]
fn a_capture_is_refused_until_identity_is_stripped_or_let_in() {
    let work = work();
    let disk = disk(work.path(), &["mkfs.ext4", "-q"], 48 * MIB, "8300");
    {
        let mounted = Mounted::of(&disk, FIRST * 512, 48 * MIB, &work.path().join("mnt"), "defaults");
        let id = b"fedcba9876543210fedcba9876543210\n".to_vec();
        let release = b"ID=test\nNAME=\"Test OS\"\nPRETTY_NAME=\"Test OS 1\"\n".to_vec();
        let files = [("etc/os-release".to_owned(), release), ("etc/machine-id".to_owned(), id)];
        for (path, bytes) in files {
            let path = mounted.at.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
    let out = work.path().join("out.rwimage");
    let why = captures(&disk, &out, &[]).unwrap_err();
    assert!(why.contains("machine-id") || why.contains("--generalize"), "{why}");
    assert!(!out.exists(), "an image in spite of a refusal");
    for (how, is_in) in [("--as-is", true), ("--keep=machine-id", true), ("--generalize", false)] {
        captures(&disk, &out, &[how]).unwrap();
        let raw = work.path().join("raw");
        Image::open(&out, None).unwrap().unpack(&raw, &Progress::start(true)).unwrap();
        let bytes = std::fs::read(&raw).unwrap();
        let found = bytes.windows(32).any(|window| window == b"fedcba9876543210fedcba9876543210");
        assert_eq!(found, is_in, "{how}");
    }
}
