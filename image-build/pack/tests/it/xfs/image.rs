//! File systems that mkfs.xfs made, and where things are in them.

use std::path::Path;

use pack::volume::Volume;
use pack::{Extents, Source};

use crate::lab::{Disk, fed, run};

/// A disk with an XFS.
pub(super) struct Image {
    pub(super) disk: Disk,
}

impl Image {
    /// `options` as for a shell.
    pub(super) fn made(bytes: u64, options: &str) -> Image {
        let arguments = ["-q", "-f"].into_iter().chain(options.split_whitespace()).collect::<Vec<_>>();
        Image { disk: Disk::made(bytes, "mkfs.xfs", &arguments) }
    }

    /// Four bytes of it.
    pub(super) fn number(&self, offset: u64) -> u64 {
        let mut bytes = [0; 4];
        self.disk.read_at(offset, &mut bytes).unwrap();
        u32::from_be_bytes(bytes).into()
    }

    pub(super) fn block_bytes(&self) -> u64 {
        self.number(4)
    }

    pub(super) fn sector_bytes(&self) -> u64 {
        self.number(100) & 0xffff
    }

    /// Where an allocation group begins.
    pub(super) fn group(&self, group: u64) -> u64 {
        group * self.number(84) * self.block_bytes()
    }

    /// Where the log begins.
    pub(super) fn log(&self) -> u64 {
        let (start, bits) = (self.number(48) << 32 | self.number(52), self.number(121) & 0xff);
        self.group(start >> bits) + (start & ((1 << bits) - 1)) * self.block_bytes()
    }

    /// What it is, when its map could be read.
    #[track_caller]
    pub(super) fn map(&self) -> Volume {
        self.disk.map("xfs")
    }

    /// A disk that is full of something else but for the used bytes of this one.
    pub(super) fn restored(&self, used: &Extents) -> Image {
        Image { disk: self.disk.only(used) }
    }

    pub(super) fn copied(&self) -> Image {
        Image { disk: self.disk.copy() }
    }

    /// What the file system's own checker says against it.
    pub(super) fn check(&self) {
        run("xfs_repair", &["-n", "-f", self.disk.name()]);
    }

    /// Does what xfs_io is told on a file in it.
    pub(super) fn edit(file: &Path, commands: impl Iterator<Item = String>) {
        let script = commands.map(|command| command + "\n").collect::<String>();
        fed("xfs_io", &["-f", file.to_str().unwrap()], &script);
    }
}
