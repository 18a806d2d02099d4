//! Root file systems on disks of every kind: as `/sys` tells of them, and on real loop devices.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{RootDiskError, SEED_TYPE, mount, seed_partition};

/// The table that image-build makes, in MiB: start, size, type, name. The root is the fourth.
const NODE: [(u64, u64, &str, &str); 4] = [
    (1, 1, "21686148-6449-6E6F-744E-656564454649", "rackwright-bios"),
    (2, 64, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "rackwright-esp"),
    (66, 1, SEED_TYPE, "rackwright-seed"),
    (67, 130, "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "rackwright-root"),
];
const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";
const DISK_MIB: u64 = 200;

/// Runs a program; its output.
fn tool(package: &str, program: &str, arguments: &[&str]) -> String {
    let out = Command::new(program).args(arguments).stderr(Stdio::inherit()).output();
    let out = out.unwrap_or_else(|error| panic!("{program} (Debian package {package}): {error}"));
    assert!(out.status.success(), "{program} {arguments:?}");
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// A sparse file with such a GPT.
fn gpt(file: &Path, table: &[(u64, u64, &str, &str)]) {
    fs::File::create(file).unwrap().set_len(DISK_MIB << 20).unwrap();
    let line = |(start, size, kind, name): &(u64, u64, &str, &str)| {
        format!("start={start}MiB, size={size}MiB, type={kind}, name=\"{name}\"\n")
    };
    let script = file.with_extension("sfdisk");
    fs::write(&script, "label: gpt\n".to_owned() + &table.iter().map(line).collect::<String>()).unwrap();
    let run = format!("sfdisk --quiet '{}' < '{}'", file.display(), script.display());
    tool("fdisk", "sh", &["-c", &run]);
    fs::remove_file(script).unwrap();
}

/// A machine as `/sys`, `/proc` and `/dev` tell of it.
pub(in crate::serve) struct Tree(TempDir);

impl Tree {
    pub(in crate::serve) fn new() -> Tree {
        let tree = Tree(TempDir::new().unwrap());
        for folder in ["dev", "proc/self", "sys/block", "sys/dev/block", "sys/devices"] {
            fs::create_dir_all(tree.path(folder)).unwrap();
        }
        tree
    }

    /// A node's own: its root is `vda4`.
    pub(in crate::serve) fn of_a_node() -> Tree {
        let tree = Tree::new();
        tree.disk("vda", 254, &NODE);
        tree.mounted("254:4", "ext4 /dev/vda4");
        tree
    }

    /// A disk that came from another rack: `vdb`, all of it as on [`Tree::of_a_node`]'s.
    pub(in crate::serve) fn add_foreign(&self) {
        self.disk("vdb", 253, &NODE);
        // Both have the name, and the one that came last has the link.
        fs::create_dir_all(self.path("dev/disk/by-partlabel")).unwrap();
        symlink("../../vdb3", self.path("dev/disk/by-partlabel/rackwright-seed")).unwrap();
    }

    pub(in crate::serve) fn root(&self) -> &Path {
        self.0.path()
    }

    pub(in crate::serve) fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn device(&self, place: &str, number: &str) {
        self.file(&format!("sys/devices/{place}/dev"), &format!("{number}\n"));
        symlink(format!("../../devices/{place}"), self.path(&format!("sys/dev/block/{number}"))).unwrap();
    }

    fn disk(&self, name: &str, major: u32, table: &[(u64, u64, &str, &str)]) {
        gpt(&self.path(&format!("dev/{name}")), table);
        self.device(name, &format!("{major}:0"));
        self.file(&format!("sys/devices/{name}/size"), &(DISK_MIB << 11).to_string());
        fs::create_dir_all(self.path(&format!("sys/devices/{name}/slaves"))).unwrap();
        symlink(format!("../devices/{name}"), self.path(&format!("sys/block/{name}"))).unwrap();
        for (number, (start, size, _, _)) in (1..).zip(table) {
            let part = format!("{name}/{name}{number}");
            self.device(&part, &format!("{major}:{number}"));
            self.file(&format!("sys/devices/{part}/partition"), &format!("{number}\n"));
            self.file(&format!("sys/devices/{part}/start"), &format!("{}\n", start << 11));
            self.file(&format!("sys/devices/{part}/size"), &format!("{}\n", size << 11));
            self.file(&format!("dev/{name}{number}"), "");
        }
    }

    /// Device mapper and md: a device that is made of these.
    fn made(&self, name: &str, number: &str, of: &[&str]) {
        self.device(name, number);
        let slaves = self.path(&format!("sys/devices/{name}/slaves"));
        fs::create_dir_all(&slaves).unwrap();
        for place in of {
            symlink(format!("../../{place}"), slaves.join(place.rsplit('/').next().unwrap())).unwrap();
        }
    }

    fn mounted(&self, number: &str, what: &str) {
        let root = self.root().display();
        let text = format!(
            "20 1 0:2 / {root} rw - rootfs rootfs rw\n\
             21 20 {number} / {root} rw,relatime shared:1 - {what} rw\n\
             22 21 0:5 / {root}/proc rw - proc proc rw\n"
        );
        self.file("proc/self/mountinfo", &text);
    }

    fn found(&self) -> Result<String, RootDiskError> {
        let path = seed_partition(self.root())?;
        Ok(path.strip_prefix(self.root()).unwrap().to_str().unwrap().to_owned())
    }

    #[track_caller]
    fn refused(&self, words: &str) {
        let told = self.found().unwrap_err().to_string();
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn the_seed_is_on_the_disk_of_the_root_whoever_owns_the_name() {
    let tree = Tree::of_a_node();
    assert_eq!(tree.found().unwrap(), "dev/vda3");
    tree.add_foreign();
    assert_eq!(tree.found().unwrap(), "dev/vda3");
    tree.mounted("253:4", "ext4 /dev/vdb4");
    assert_eq!(tree.found().unwrap(), "dev/vdb3", "the root decides");
}

#[test]
fn the_disk_is_found_through_everything_that_a_root_can_be_made_of() {
    let tree = Tree::of_a_node();
    tree.add_foreign();
    // LVM on LUKS on a partition.
    tree.made("dm-0", "252:0", &["vda/vda4"]);
    tree.made("dm-1", "252:1", &["dm-0"]);
    tree.mounted("252:1", "xfs /dev/mapper/vg-root");
    assert_eq!(tree.found().unwrap(), "dev/vda3");
    // A partition of a RAID that has one disk left.
    tree.made("md127", "9:127", &["vda"]);
    tree.device("md127/md127p4", "259:4");
    tree.file("sys/devices/md127/md127p4/partition", "4\n");
    tree.mounted("259:4", "ext4 /dev/md127p4");
    assert_eq!(tree.found().unwrap(), "dev/vda3");
    // Two volumes of one disk.
    tree.made("dm-2", "252:2", &["dm-0", "vda/vda2"]);
    tree.mounted("252:2", "ext4 /dev/mapper/vg-wide");
    assert_eq!(tree.found().unwrap(), "dev/vda3");
}

#[test]
fn several_disks_under_the_root_are_told_and_none_is_taken() {
    let tree = Tree::of_a_node();
    tree.add_foreign();
    tree.made("md0", "9:0", &["vda/vda4", "vdb/vdb4"]);
    tree.mounted("9:0", "ext4 /dev/md0");
    tree.refused("several disks (vda, vdb)");
    // Also when only one of them has a seed's partition.
    let tree = Tree::of_a_node();
    tree.disk("vdc", 253, &[(1, 100, LINUX, "data")]);
    tree.made("dm-0", "252:0", &["vda/vda4", "vdc/vdc1"]);
    tree.mounted("252:0", "ext4 /dev/mapper/vg-root");
    tree.refused("several disks (vda, vdc)");
}

#[test]
fn a_disk_with_no_or_two_or_another_seed_partition_is_told() {
    type Change = fn(&mut Vec<(u64, u64, &'static str, &'static str)>);
    let table: [(Change, &str); 4] = [
        (|table| table[2].2 = LINUX, "has no seed partition"),
        (|table| table.push((198, 1, SEED_TYPE, "spare")), "has several seed partitions"),
        (|table| (table[2].0, table[3].0) = (67, 68), "at 70254592"),
        (|table| (table[1].1, table[2].1) = (63, 0), "has no seed partition"),
    ];
    for (change, words) in table {
        let tree = Tree::new();
        let mut partitions = NODE.to_vec();
        change(&mut partitions);
        partitions.retain(|(_, size, _, _)| *size > 0);
        tree.disk("vda", 254, &partitions);
        tree.mounted("254:1", "ext4 /dev/vda1");
        tree.refused(words);
    }
    // The kernel has not read what is in the table.
    let tree = Tree::of_a_node();
    fs::remove_dir_all(tree.path("sys/devices/vda/vda3")).unwrap();
    tree.refused("the kernel does not know the seed partition of vda");
}

#[test]
fn a_root_on_no_disk_is_told() {
    let tree = Tree::of_a_node();
    for what in ["overlay overlay", "nfs4 10.0.0.1:/root", "zfs tank/root", "btrfs somewhere"] {
        tree.mounted("0:42", what);
        tree.refused("does not say on which disk it lies");
    }
    // Not a device, whatever its name.
    tree.mounted("0:42", "btrfs /dev/vda4");
    tree.refused("does not say on which disk it lies");
    tree.mounted("254:9", "ext4 /dev/vda9");
    tree.refused("sys/dev/block/254:9");
    tree.made("md9", "9:9", &[]);
    tree.mounted("9:9", "ext4 /dev/md9");
    tree.refused("is no disk");
    // A ring ends, and so does a list without end.
    tree.made("dm-0", "252:0", &["dm-1"]);
    tree.made("dm-1", "252:1", &["dm-0"]);
    tree.mounted("252:0", "ext4 /dev/dm-0");
    tree.refused("several disks ()");
    for number in 2..100 {
        tree.made(&format!("dm-{number}"), &format!("252:{number}"), &[&format!("dm-{}", number + 1)]);
    }
    tree.mounted("252:2", "ext4 /dev/dm-2");
    tree.refused("more than 64 devices");
    tree.file("proc/self/mountinfo", "");
    tree.refused("nothing is mounted on");
    fs::remove_file(tree.path("proc/self/mountinfo")).unwrap();
    tree.refused("proc/self/mountinfo");
}

#[test]
fn mounts_of_any_text() {
    let texts =
        ["", "x", "1 2 3", "1 2 254:4 / / rw", "1 2 254:4 / / rw - ext4", " - ", "1 2 254:4 / - ext4 x"];
    for text in texts {
        assert!(mount(text, Path::new("/")).is_none(), "{text:?}");
    }
    let text =
        "1 2 254:4 /@ / rw shared:1 master:2 - ext4 /dev/vda4 rw\n3 1 254:5 / /x rw - ext4 /dev/vda5 rw\n";
    let found = mount(text, Path::new("/")).unwrap();
    assert_eq!((found.number.as_str(), found.kind.as_str()), ("254:4", "ext4"));
}

/// A real disk with its partitions, mounted or not; everything is let go of when it is dropped.
struct Real {
    device: String,
    mounted: Option<PathBuf>,
}

impl Real {
    fn new(file: &Path) -> Real {
        gpt(file, &NODE);
        let device = tool("mount", "losetup", &["--find", "--show", "--partscan", file.to_str().unwrap()]);
        let real = Real { device, mounted: None };
        tool("util-linux", "blockdev", &["--setrw", &real.device]);
        // A kernel that does not read GPT itself is told.
        tool("util-linux", "partx", &["--update", &real.device]);
        real
    }

    fn part(&self, number: u32) -> String {
        format!("{}p{number}", self.device)
    }

    fn mount(&mut self, on: &Path) {
        tool("mount", "mount", &[&self.part(4), on.to_str().unwrap()]);
        self.mounted = Some(on.to_owned());
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let quietly = |program: &str, arguments: &[&str]| {
            let _ = Command::new(program).args(arguments).stderr(Stdio::null()).status();
        };
        if let Some(place) = &self.mounted {
            for folder in ["sys", "proc", "dev"] {
                quietly("umount", &[place.join(folder).to_str().unwrap()]);
            }
            quietly("umount", &[place.to_str().unwrap()]);
        }
        quietly("partx", &["--delete", &self.device]);
        quietly("losetup", &["--detach", &self.device]);
    }
}

/// Two disks of the same make; the root file system is on the first, with this machine's own `/sys`, `/proc` and `/dev`.
#[test]
fn on_real_disks_it_is_the_one_that_is_mounted() {
    let makes: [(&str, &str, &[&str]); 2] = [
        ("e2fsprogs", "mkfs.ext4", &["-q", "-F"]),
        ("btrfs-progs", "mkfs.btrfs", &["--quiet", "--force", "--mixed"]),
    ];
    for (package, program, arguments) in makes {
        let dir = TempDir::new().unwrap();
        let (mut ours, foreign) = (Real::new(&dir.path().join("a")), Real::new(&dir.path().join("b")));
        tool(package, program, &[arguments, &[&ours.part(4)]].concat());
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        ours.mount(&root);
        bind(&root);
        let found = seed_partition(&root).unwrap();
        assert_eq!(found.strip_prefix(&root).unwrap(), Path::new(&ours.part(3)[1..]), "{program}");
        if program == "mkfs.btrfs" {
            tool(package, "btrfs", &["device", "add", "-f", &foreign.part(4), root.to_str().unwrap()]);
            let told = seed_partition(&root).unwrap_err();
            assert!(matches!(told, RootDiskError::SeveralDisks(_)), "{told}");
        }
        drop(ours);
    }
}

fn bind(root: &Path) {
    for folder in ["sys", "proc", "dev"] {
        let place = root.join(folder);
        fs::create_dir(&place).unwrap();
        tool("mount", "mount", &["--bind", &format!("/{folder}"), place.to_str().unwrap()]);
    }
}
