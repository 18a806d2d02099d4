//! Disks in files, their partition tables, and what holds volumes in them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use image_build::files::WorkFolder;
use image_build::tools::Call;
use pack::{Block, Header, Parsed};

use crate::tool::work;

pub(super) const MIB: u64 = 1 << 20;
/// The Debian package of each program.
const PACKAGES: &[(&str, &str)] = &[
    ("sfdisk", "fdisk"),
    ("sgdisk", "gdisk"),
    ("losetup", "mount"),
    ("mount", "mount"),
    ("umount", "mount"),
    ("mkfs.ext4", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("xfs_repair", "xfsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("btrfs", "btrfs-progs"),
    ("mkfs.vfat", "dosfstools"),
    ("fsck.vfat", "dosfstools"),
    ("mcopy", "mtools"),
    ("mkfs.exfat", "exfatprogs"),
    ("fsck.exfat", "exfatprogs"),
    ("mount.exfat-fuse", "exfat-fuse"),
    ("mkfs.ntfs", "ntfs-3g"),
    ("ntfs-3g", "ntfs-3g"),
    ("ntfsfix", "ntfs-3g"),
    ("pvcreate", "lvm2"),
    ("vgcreate", "lvm2"),
    ("lvcreate", "lvm2"),
];
/// What mkfs.xfs asks for before it makes file systems as small as these: that the suite of XFS runs it. Besides, LVM shall
/// not moan, and mtools take what mkfs made.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("TEST_DIR", "/"),
    ("TEST_DEV", "/"),
    ("QA_CHECK_FS", "1"),
    ("LVM_SUPPRESS_FD_WARNINGS", "1"),
    ("MTOOLS_SKIP_CHECK", "1"),
];

/// Runs a program that must do well, words parted by spaces; gives what it says.
pub(super) fn done(line: &str) -> String {
    fed(line, "")
}

fn fed(line: &str, input: &str) -> String {
    let mut words = line.split_whitespace();
    let program = words.next().unwrap();
    let call =
        ENVIRONMENT.iter().fold(Call::new(program).args(words), |call, (name, value)| call.env(name, value));
    let said = call.input(input).run().unwrap_or_else(|error| {
        let package = PACKAGES.iter().find(|(name, _)| *name == program);
        panic!("{program} (Debian package {}): {error}", package.map_or("util-linux", |(_, package)| package))
    });
    String::from_utf8_lossy(&said).into_owned()
}

/// A disk in a file that goes when this does.
pub(super) struct Disk {
    _folder: WorkFolder,
    path: PathBuf,
    bytes: u64,
    sector: u32,
}

impl Disk {
    /// Every byte of it is `fill`.
    pub(super) fn full_of(fill: u8, bytes: u64, sector: u32) -> Disk {
        let folder = work();
        let path = folder.path().join("disk");
        let file = File::create(&path).unwrap();
        file.set_len(bytes).unwrap();
        if fill != 0 {
            let full = vec![fill; 1 << 20];
            (0..bytes / MIB).for_each(|n| file.write_all_at(&full, n * MIB).unwrap());
        }
        Disk { _folder: folder, path, bytes, sector }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn sector(&self) -> u32 {
        self.sector
    }

    /// A loop device of it.
    pub(super) fn device(&self) -> Device {
        self.part(0, self.bytes)
    }

    /// A loop device of a part of it.
    pub(super) fn part(&self, offset: u64, bytes: u64) -> Device {
        let (path, sector) = (self.path.display(), self.sector);
        let name = done(&format!("losetup -f --show -b {sector} -o {offset} --sizelimit {bytes} {path}"));
        let device = Device { name: name.trim().to_owned(), file: self.path.clone() };
        // Set read-only, a device stays so for who comes after.
        done(&format!("blockdev --setrw {}", device.name));
        device
    }

    /// Makes a partition table of sfdisk's script.
    pub(super) fn partition(&self, script: &str) {
        let device = self.device();
        fed(&format!("sfdisk -q --no-reread --no-tell-kernel {}", device.name()), script);
    }

    /// What sfdisk says of the partition table. A GPT must be whole in both its places.
    pub(super) fn table(&self) -> String {
        let device = self.device();
        let table = done(&format!("sfdisk -d {}", device.name())).replace(device.name(), "DISK");
        if table.contains("label: gpt") {
            let said = done(&format!("sgdisk -v {}", device.name()));
            assert!(said.contains("No problems found"), "{said}");
        }
        table
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) {
        File::options().write(true).open(&self.path).unwrap().write_all_at(bytes, offset).unwrap();
    }

    pub(super) fn read(&self, offset: u64, bytes: u64) -> Vec<u8> {
        let mut out = vec![0; usize::try_from(bytes).unwrap()];
        File::open(&self.path).unwrap().read_exact_at(&mut out, offset).unwrap();
        out
    }

    /// Makes a volume group with volumes of so many extents of 1 MiB, one behind the other. LVM sees this device alone, and
    /// device mapper is not needed.
    pub(super) fn group(&self, offset: u64, bytes: u64, volumes: &[(&str, u32)]) {
        let device = self.part(offset, bytes);
        let name = device.name();
        let devices = format!("devices{{filter=[\"a|^{name}$|\",\"r|.*|\"] use_devicesfile=0 scan_lvs=0}}");
        let config = format!("{devices} backup{{backup=0 archive=0}}");
        let lvm = |program: &str, line: &str| {
            let call = Call::new(program).args(["--driverloaded", "n", "--config", &config]);
            let call = call.args(line.split(' ')).env("LVM_SUPPRESS_FD_WARNINGS", "1");
            call.run().unwrap_or_else(|error| panic!("{program} (Debian package lvm2): {error}"));
        };
        lvm("pvcreate", &format!("-y {name}"));
        lvm("vgcreate", &format!("-y -s 1m vg-{offset} {name}"));
        for (volume, extents) in volumes {
            lvm("lvcreate", &format!("-y -Zn -Wn -an -n {volume} -l {extents} vg-{offset}"));
        }
    }

    /// Writes the superblock of a mirror's half, version 1.2 (`mdp_superblock_1` in the kernel's md_p.h): the content lies
    /// `from` behind its start.
    pub(super) fn mirror(&self, offset: u64, from: u64, bytes: u64) {
        let mut block = vec![0_u8; 4096];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &0xa92b_4efc_u32.to_le_bytes());
        put(4, &1_u32.to_le_bytes());
        put(16, &[0x11; 16]);
        put(32, b"rack:0");
        put(64, &1_700_000_000_u64.to_le_bytes());
        put(72, &1_u32.to_le_bytes());
        put(80, &(bytes / 512).to_le_bytes());
        put(92, &2_u32.to_le_bytes());
        put(128, &(from / 512).to_le_bytes());
        put(136, &(bytes / 512).to_le_bytes());
        put(144, &8_u64.to_le_bytes());
        put(168, &[0x22; 16]);
        put(200, &7_u64.to_le_bytes());
        put(208, &u64::MAX.to_le_bytes());
        put(220, &128_u32.to_le_bytes());
        put(256, &[0xff; 256]);
        put(256, &[0, 0, 1, 0]);
        let words = block[..512].as_chunks::<4>().0;
        let sum: u64 = words.iter().map(|word| u64::from(u32::from_le_bytes(*word))).sum();
        let sum = u32::try_from(((sum & 0xffff_ffff) + (sum >> 32)) & 0xffff_ffff).unwrap();
        block[216..220].copy_from_slice(&sum.to_le_bytes());
        self.write(offset + 4096, &block);
    }
}

/// A loop device; detached when dropped.
pub(super) struct Device {
    name: String,
    file: PathBuf,
}

impl Device {
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = Call::new("losetup").args(["-d", &self.name]).run();
        let sys = Path::new("/sys/block").join(self.name.trim_start_matches("/dev/"));
        let backing = || std::fs::read_to_string(sys.join("loop/backing_file")).unwrap_or_default();
        let is_gone = soon(|| Path::new(backing().trim_end()) != self.file);
        assert!(is_gone || std::thread::panicking(), "{} stays attached", self.name);
    }
}

/// Whether this becomes so within some seconds. What another test starts has our open files too, for a moment: a mount and a
/// device are busy then.
pub(super) fn soon(is_so: impl Fn() -> bool) -> bool {
    (0..200).any(|turn| {
        if turn > 0 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        is_so()
    })
}

/// Writes an image onto a disk as a node does: what must be written and nothing else.
pub(super) fn restore(image: &Path, onto: &Path) {
    let bytes = std::fs::read(image).unwrap();
    let Parsed::Whole(header) = Header::parse(&bytes).unwrap() else { panic!("a head without an end") };
    let (_, manifest) = header.signed.verify(&[header.signed.key]).unwrap();
    let data = &bytes[usize::try_from(header.data_begin()).unwrap()..];
    let disk = File::options().read(true).write(true).open(onto).unwrap();
    let mut window = vec![0; 1 << 20];
    for chunk in manifest.chunks() {
        let stored = &data[usize::try_from(chunk.offset).unwrap()..][..chunk.stored as usize];
        let raw = &mut window[..chunk.bytes as usize];
        chunk.unpack(stored, raw).unwrap();
        for (kind, range) in chunk.writes(64 << 10, 64 << 10) {
            let at = chunk.disk_offset() + range.start as u64;
            let zeros = vec![0; range.len()];
            match kind {
                Block::Data => disk.write_all_at(&raw[range], at).unwrap(),
                Block::Zero => disk.write_all_at(&zeros, at).unwrap(),
                Block::Free => panic!("a free block is to be written"),
            }
        }
        disk.read_exact_at(raw, chunk.disk_offset()).unwrap();
        assert!(chunk.matches(raw), "window {}", chunk.window);
    }
}
