//! The superblock: what the file system says it is, and whether its maps can be relied upon.
//!
//! Fields and features as in the kernel's `Documentation/filesystems/ext4/super.rst`.

use super::{Unread, doubtful, u16_at, u32_at, unknown};
use crate::checksum::{crc16_on, crc32c_on};
use crate::field;

/// Where it lies.
pub(super) const OFFSET: u64 = 1024;
/// Its length.
pub(super) const BYTES: usize = 1024;

/// Feature bits, by the word that they are in.
pub(super) mod compat {
    pub(crate) const HAS_JOURNAL: u32 = 0x4;
    pub(crate) const SPARSE_SUPER2: u32 = 0x200;
}

/// A kernel that does not know one of these must not read the file system.
pub(super) mod incompat {
    pub(crate) const FILETYPE: u32 = 0x2;
    pub(crate) const RECOVER: u32 = 0x4;
    pub(crate) const JOURNAL_DEV: u32 = 0x8;
    pub(crate) const META_BG: u32 = 0x10;
    pub(crate) const BIT64: u32 = 0x80;
    pub(crate) const FLEX_BG: u32 = 0x200;
    pub(crate) const CSUM_SEED: u32 = 0x2000;
    /// Those above, and extents, multiple mount protection, extended attributes in inodes, data in directory entries,
    /// large directories, inline data, encryption, case folding: none of which changes what a bitmap means.
    pub(crate) const KNOWN: u32 =
        0x2 | 0x4 | 0x8 | 0x10 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x1000 | 0x3_E000;
}

/// A kernel that does not know one of these must not write: bigalloc shows that a bitmap may mean something else, too.
pub(super) mod ro_compat {
    pub(crate) const SPARSE_SUPER: u32 = 0x1;
    pub(crate) const LARGE_FILE: u32 = 0x2;
    pub(crate) const BTREE_DIR: u32 = 0x4;
    pub(crate) const GDT_CSUM: u32 = 0x10;
    pub(crate) const BIGALLOC: u32 = 0x200;
    pub(crate) const METADATA_CSUM: u32 = 0x400;
    /// Those above, and huge files, many links, extra inode fields, quotas, read-only, projects, shared blocks, verity,
    /// an orphan file. Not the snapshots and replicas that no kernel ever had.
    pub(crate) const KNOWN: u32 =
        0x7 | 0x8 | 0x10 | 0x20 | 0x40 | 0x100 | 0x200 | 0x400 | 0x1000 | 0x2000 | 0x1_C000;
}

/// Which checksum the descriptors of the groups have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksum {
    None,
    /// With what the UUID has added up to.
    Crc16(u16),
    /// With the seed.
    Crc32c(u32),
}

/// The bytes, known to have the magic number.
#[derive(Clone, Copy)]
pub(super) struct Superblock<'a> {
    raw: &'a [u8],
    pub(super) compat: u32,
    pub(super) incompat: u32,
    pub(super) ro_compat: u32,
}

impl<'a> Superblock<'a> {
    /// `None` unless the magic number is there.
    pub(super) fn new(raw: &'a [u8]) -> Option<Superblock<'a>> {
        let [compat, incompat, ro_compat] = [0x5C, 0x60, 0x64].map(|at| u32_at(raw, at));
        (u16_at(raw, 0x38) == 0xEF53).then_some(Superblock { raw, compat, incompat, ro_compat })
    }

    /// The 16-bit field at an offset.
    pub(super) fn u16(&self, at: usize) -> u64 {
        u64::from(u16_at(self.raw, at))
    }

    /// The 32-bit field at an offset.
    pub(super) fn u32(&self, at: usize) -> u64 {
        u64::from(u32_at(self.raw, at))
    }

    /// The name that blkid has for it: by the features, not by the driver that last wrote it.
    pub(super) fn kind(&self) -> &'static str {
        let old_incompat = incompat::FILETYPE | incompat::RECOVER | incompat::META_BG;
        let old_ro_compat = ro_compat::SPARSE_SUPER | ro_compat::LARGE_FILE | ro_compat::BTREE_DIR;
        if self.is_journal() {
            "jbd"
        } else if self.incompat & !old_incompat != 0 || self.ro_compat & !old_ro_compat != 0 {
            "ext4"
        } else if self.compat & compat::HAS_JOURNAL != 0 {
            "ext3"
        } else {
            "ext2"
        }
    }

    /// Whether this is the journal of a file system that lies elsewhere.
    pub(super) fn is_journal(&self) -> bool {
        self.incompat & incompat::JOURNAL_DEV != 0
    }

    pub(super) fn uuid(&self) -> Option<[u8; 16]> {
        field::array(self.raw, 0x68)
    }

    pub(super) fn label(&self) -> &'a [u8] {
        self.raw.get(0x78..0x88).unwrap_or_default()
    }

    pub(super) fn checksum(&self) -> Checksum {
        let uuid = &self.uuid().unwrap_or_default();
        if self.ro_compat & ro_compat::METADATA_CSUM != 0 {
            let is_kept = self.incompat & incompat::CSUM_SEED != 0;
            let seed = if is_kept { u32_at(self.raw, 0x270) } else { crc32c_on(u32::MAX, &[uuid]) };
            Checksum::Crc32c(seed)
        } else if self.ro_compat & ro_compat::GDT_CSUM != 0 {
            Checksum::Crc16(crc16_on(u16::MAX, &[uuid]))
        } else {
            Checksum::None
        }
    }

    /// Refuses what the bitmaps of which can't be relied upon.
    pub(super) fn check(&self) -> Result<(), Unread> {
        if self.ro_compat & ro_compat::METADATA_CSUM != 0 {
            if self.raw.get(0x175) != Some(&1) {
                return Err(doubtful("it has checksums of an unknown kind"));
            }
            let summed = self.raw.get(..0x3FC).unwrap_or_default();
            if crc32c_on(u32::MAX, &[summed]) != u32_at(self.raw, 0x3FC) {
                return Err(doubtful("its superblock has a wrong checksum: check it with e2fsck"));
            }
        }
        unknown("incompat", self.incompat & !incompat::KNOWN)?;
        unknown("ro_compat", self.ro_compat & !ro_compat::KNOWN)?;
        if self.incompat & incompat::RECOVER != 0 {
            return Err(doubtful("its journal must be replayed: mount and unmount it once"));
        }
        match u16_at(self.raw, 0x3A) & 7 {
            1 => Ok(()),
            0 => Err(doubtful("it was not unmounted: check it with e2fsck")),
            _ => Err(doubtful("it is marked as having errors: check it with e2fsck")),
        }
    }
}
