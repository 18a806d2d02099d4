//! The file systems: how each is made, filled, read and checked by its own tools.

use std::path::Path;

use image_build::tools::Call;
use pack::VolumeId;

use super::disk::{self, Device, Disk, done};
use super::files::{self, Tree};
use super::{listed, noise, scratch};

/// What is in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Code that a BIOS boots.
    Boot,
    /// ext2, 3 or 4.
    Ext(u8),
    Xfs,
    Btrfs,
    /// With entries of 12, 16 or 32 bits.
    Vfat(u8),
    Exfat,
    Ntfs,
    Swap,
    /// Bytes of no known file system.
    Unknown,
}

/// A place on a disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// Unmounted when dropped.
struct Mount<'a>(&'a Path);

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let is_gone = disk::soon(|| Call::new("umount").arg(self.0).run().is_ok());
        assert!(is_gone || std::thread::panicking(), "{} stays mounted", self.0.display());
    }
}

impl Place {
    pub(super) fn end(&self) -> u64 {
        self.offset + self.bytes
    }

    fn device(&self, disk: &Disk) -> Device {
        disk.part(self.offset, self.bytes)
    }

    fn is_bytes(&self) -> bool {
        matches!(self.kind, Kind::Boot | Kind::Unknown)
    }

    pub(super) fn make(&self, disk: &Disk) {
        let make = match self.kind {
            Kind::Boot | Kind::Unknown => {
                let half = usize::try_from(self.bytes / 2).unwrap();
                return disk.write(self.offset + 4096 * 7, &noise(9, half));
            }
            Kind::Ext(version) => &format!("mkfs.ext4 -q -F -t ext{version} -L plan"),
            Kind::Xfs => "mkfs.xfs -q -f -L plan",
            Kind::Btrfs => "mkfs.btrfs -q -f -L plan",
            Kind::Vfat(bits) => &format!("mkfs.vfat -F {bits} -n PLAN"),
            Kind::Exfat => "mkfs.exfat -L plan",
            Kind::Ntfs => "mkfs.ntfs -F -Q -q -L plan",
            Kind::Swap => "mkswap -L plan",
        };
        let device = self.device(disk);
        done(&format!("{make} {}", device.name()));
    }

    /// Fills it with files; gives what is in it then.
    pub(super) fn fill(&self, disk: &Disk, work: &Path) -> Tree {
        let device = self.device(disk);
        match self.kind {
            Kind::Boot | Kind::Unknown | Kind::Swap => {}
            Kind::Vfat(_) => {
                let from = scratch(work, "from");
                files::fill(&from, false);
                let copy = Call::new("mcopy").env("MTOOLS_SKIP_CHECK", "1").args(["-s", "-i", device.name()]);
                copy.args(image_build::files::list(&from).unwrap()).arg("::/").run().unwrap();
            }
            Kind::Ext(_) | Kind::Xfs | Kind::Btrfs | Kind::Exfat | Kind::Ntfs => {
                let at = scratch(work, "mounted");
                let _mount = self.mount(&device, &at, "rw");
                files::fill(&at, self.is_unix());
            }
        }
        drop(device);
        self.tree(disk, work)
    }

    /// What is in it now.
    pub(super) fn tree(&self, disk: &Disk, work: &Path) -> Tree {
        let device = self.device(disk);
        match self.kind {
            Kind::Boot | Kind::Unknown => {
                let content = pack::Digest::of(&disk.read(self.offset, self.bytes));
                [("".into(), content.to_string())].into()
            }
            Kind::Swap => Tree::new(),
            Kind::Vfat(_) => {
                let to = scratch(work, "to");
                done(&format!("mcopy -s -n -i {} ::/ {}", device.name(), to.display()));
                files::tree(&to, false)
            }
            Kind::Ext(_) | Kind::Xfs | Kind::Btrfs | Kind::Exfat | Kind::Ntfs => {
                let at = scratch(work, "mounted");
                let mount = self.mount(&device, &at, "ro");
                let tree = files::tree(&at, self.is_unix());
                drop(mount);
                if self.kind == Kind::Btrfs {
                    // The kernel takes two disks with one UUID for one that has moved.
                    done(&format!("btrfs device scan --forget {}", device.name()));
                }
                tree
            }
        }
    }

    fn is_unix(&self) -> bool {
        matches!(self.kind, Kind::Ext(_) | Kind::Xfs | Kind::Btrfs)
    }

    fn mount<'a>(&self, device: &Device, at: &'a Path, options: &str) -> Mount<'a> {
        let mount = match self.kind {
            Kind::Exfat => "mount.exfat-fuse",
            Kind::Ntfs => "ntfs-3g",
            Kind::Boot
            | Kind::Ext(_)
            | Kind::Xfs
            | Kind::Btrfs
            | Kind::Vfat(_)
            | Kind::Swap
            | Kind::Unknown => "mount",
        };
        done(&format!("{mount} -o {options} {} {}", device.name(), at.display()));
        Mount(at)
    }

    /// Its own checker finds nothing wrong.
    pub(super) fn is_sound(&self, disk: &Disk) {
        let check = match self.kind {
            Kind::Boot | Kind::Unknown => return,
            Kind::Ext(_) => "e2fsck -f -n",
            Kind::Xfs => "xfs_repair -n",
            Kind::Btrfs => "btrfs check --readonly --check-data-csum",
            Kind::Vfat(_) => "fsck.vfat -n",
            Kind::Exfat => "fsck.exfat -n",
            Kind::Ntfs => "ntfsfix -n",
            Kind::Swap => "swaplabel",
        };
        let device = self.device(disk);
        done(&format!("{check} {}", device.name()));
    }

    /// The manifest says of it what blkid says, and that it is used in part.
    pub(super) fn is_told(&self, disk: &Disk, volumes: &[VolumeId]) {
        if self.is_bytes() {
            let told = volumes.iter().find(|volume| volume.offset == self.offset).unwrap();
            assert_eq!((&*told.kind, told.bytes, told.used_bytes), ("raw", self.bytes, self.bytes));
            return;
        }
        let device = self.device(disk);
        let tag =
            |tag: &str| done(&format!("blkid -p -o value -s {tag} {}", device.name())).trim().to_owned();
        let told = listed(volumes, &tag("TYPE"), &tag("UUID"));
        assert_eq!((&told.label, told.bytes), (&tag("LABEL"), self.bytes));
        assert!(told.used_bytes > 0 && told.used_bytes < self.bytes, "{told:?}");
        if self.kind != Kind::Swap {
            assert!(told.used_bytes > 1_200_000, "less than its files: {told:?}");
        }
    }
}
