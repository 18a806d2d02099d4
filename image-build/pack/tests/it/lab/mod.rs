//! What the tests of disks and volumes work with: tools of Debian packages, disks in sparse files, loop devices, mounts,
//! files to find again, and bytes that are bent.

mod bent;
mod device;
mod disk;
mod files;
mod tool;

pub(crate) use bent::{Bent, Patch, assert_whole, flip, patched};
pub(crate) use device::{Loop, Mount, Mounted};
pub(crate) use disk::{Disk, beyond};
pub(crate) use files::{Dice, content, contents, fill, tree};
pub(crate) use tool::{attempt, done, each, fed, run};

pub(crate) const MIB: u64 = 1 << 20;
