//! Btrfs: maps of file systems that mkfs.btrfs and the kernel wrote, against btrfs-progs and partclone, and put back.
use pack::{Extents, Source};

use crate::lab::{Disk, run};

mod damage;
mod devices;
mod fill;
mod oracle;
mod profiles;
mod restore;

fn btrfs(args: &[&str]) -> String {
    run("btrfs", args)
}

fn made(bytes: u64, mkfs: &[&str]) -> Disk {
    Disk::made(bytes, "mkfs.btrfs", &[&["-q"], mkfs].concat())
}

/// Why the reader takes all of it; its names are known all the same.
fn refusal(image: &Disk) -> String {
    let volume = image.volume();
    assert_eq!((volume.kind, &volume.used), ("btrfs", &Extents::all(image.bytes())));
    assert!(!volume.uuid.is_empty());
    volume.why_whole.unwrap()
}
