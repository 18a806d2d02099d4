//! ext2, ext3, ext4: maps of file systems that mke2fs and the kernel wrote, against partclone, and put back.

use pack::volume::Volume;
use pack::{Extents, Source};

mod damage;
mod fill;
mod image;
mod oracle;
mod restore;

use crate::lab::{Disk, MIB, each, run};

/// How the files get in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filled {
    /// By the kernel.
    Mounted,
    /// By mke2fs: this kernel may not be able to mount it.
    Made,
}

/// Name, type of `mkfs.ext4 -t`, its options, bytes.
type Case = (&'static str, &'static str, u64);

const OLD: &[Case] = &[
    ("ext2", "", 40 * MIB),
    ("ext2", "-b 1024", 40 * MIB),
    ("ext2", "-b 1024 -O ^sparse_super,^resize_inode", 40 * MIB),
    ("ext2", "-b 1024 -r 0 -O none", 40 * MIB + 512),
    ("ext2", "-b 2048 -g 2048", 40 * MIB),
    ("ext3", "-b 1024", 64 * MIB),
    ("ext3", "-b 4096 -g 1024", 64 * MIB),
];

const LAYOUTS: &[Case] = &[
    ("ext4", "", 48 * MIB),
    ("ext4", "-b 1024", 48 * MIB),
    ("ext4", "-b 1024 -O ^has_journal -E lazy_itable_init=0", 64 * MIB),
    ("ext4", "-b 2048 -G 2", 48 * MIB + 3 * 1024),
    ("ext4", "-g 1024 -G 4", 48 * MIB),
    ("ext4", "-g 1024 -G 64 -N 2000", 48 * MIB),
    ("ext4", "-g 2048 -O ^flex_bg", 48 * MIB),
    ("ext4", "-g 1024 -O 64bit,^metadata_csum", 48 * MIB),
    ("ext4", "-g 1024 -O 64bit,^metadata_csum,uninit_bg", 48 * MIB),
    ("ext4", "-g 1024 -O ^64bit", 48 * MIB),
    ("ext4", "-b 1024 -O ^64bit,^metadata_csum,uninit_bg", 48 * MIB),
    ("ext4", "-b 1024 -O ^64bit,^metadata_csum,^uninit_bg", 48 * MIB),
    ("ext4", "-b 1024 -O meta_bg,^resize_inode", 48 * MIB),
    ("ext4", "-b 1024 -g 256 -O meta_bg,^resize_inode,^flex_bg,^sparse_super", 48 * MIB),
    ("ext4", "-g 256 -O meta_bg,^resize_inode,^64bit", 48 * MIB),
    ("ext4", "-b 1024 -O ^sparse_super,^resize_inode", 48 * MIB),
    ("ext4", "-b 1024 -O sparse_super2 -E num_backup_sb=2", 48 * MIB),
    ("ext4", "-b 1024 -O sparse_super2 -E num_backup_sb=1", 48 * MIB),
    ("ext4", "-b 1024 -O sparse_super2 -E num_backup_sb=0", 48 * MIB),
];

const FEATURES: &[Case] = &[
    ("ext4", "-O bigalloc -C 16384 -g 4096", 48 * MIB),
    ("ext4", "-O bigalloc,^flex_bg -C 65536 -g 8192", 48 * MIB),
    ("ext4", "-b 1024 -O bigalloc,^metadata_csum,uninit_bg -C 4096 -g 8192", 48 * MIB),
    ("ext4", "-b 1024 -O bigalloc -C 1048576", 200 * MIB),
    ("ext4", "-O inline_data -I 256", 64 * MIB),
    ("ext4", "-I 128 -O ^metadata_csum", 64 * MIB),
    ("ext4", "-g 1024 -O metadata_csum_seed,orphan_file,fast_commit", 48 * MIB),
    ("ext4", "-O mmp,ea_inode,large_dir,encrypt,verity -g 1024", 48 * MIB),
];

const MADE: &[Case] = &[
    ("ext4", "-b 65536", 128 * MIB),
    ("ext4", "-b 65536 -g 512 -O 64bit,bigalloc -C 262144", 128 * MIB),
    ("ext4", "-b 16384 -g 1024 -O ^has_journal", 48 * MIB),
    ("ext4", "-O quota,project -g 1024", 48 * MIB),
    ("ext4", "-O casefold -g 1024", 48 * MIB),
    ("ext3", "-b 8192", 48 * MIB),
];

#[test]
fn ext2_and_ext3_come_back_whole() {
    each(OLD, |case| comes_back_whole(case, Filled::Mounted));
}

#[test]
fn ext4_comes_back_whole_however_it_is_laid_out() {
    each(LAYOUTS, |case| comes_back_whole(case, Filled::Mounted));
}

#[test]
fn ext4_comes_back_whole_whatever_its_features() {
    each(FEATURES, |case| comes_back_whole(case, Filled::Mounted));
}

#[test]
fn what_this_kernel_may_not_mount_comes_back_whole() {
    each(MADE, |case| comes_back_whole(case, Filled::Made));
}

fn comes_back_whole((kind, options, bytes): &Case, filled: Filled) {
    let context = format!("{kind} {options}");
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path();
    if filled == Filled::Made {
        fill::few(tree);
    }
    let mut args = options.split_whitespace().collect::<Vec<_>>();
    args.extend(["-L", "a label", "-d", tree.to_str().unwrap()]);
    let image = image::made(*bytes, kind, &args);
    if filled == Filled::Made {
        // Mke2fs does not count what it puts in for the quotas.
        image::repair(&image);
    }
    let fresh = image.volume();
    is_right(&image, &fresh, &context);
    if filled == Filled::Mounted {
        let mount = image.mount("rw");
        fill::fragmented(mount.path(), options.len() as u64, bytes / 6);
        drop(mount);
        let aged = image.volume();
        assert_ne!(aged.used, fresh.used, "{context}");
        is_right(&image, &aged, &context);
    }
    restore::comes_back(&image, filled, &context);
}

/// Whether a volume is what the tools say that it is.
fn is_right(image: &Disk, volume: &Volume, context: &str) {
    assert_eq!(volume.why_whole, None, "{context}");
    image.assert_named(volume);
    let theirs = oracle::used(image);
    // What no file system owns: the boot block and what lies behind the last block.
    let nobodys = [0..1024, theirs.bytes..image.bytes()];
    let of_file_system = |used: &Extents| {
        let mut used = used.clone();
        nobodys.iter().for_each(|range| used.remove(range.clone()));
        used
    };
    assert_eq!(of_file_system(&volume.used), of_file_system(&theirs.by_dumpe2fs), "{context}: dumpe2fs");
    // Partclone takes the bits of a bitmap for blocks when they are clusters, and complains.
    if let Some(used) = theirs.by_partclone {
        assert_eq!(of_file_system(&volume.used), of_file_system(&used), "{context}: partclone");
    }
    for range in nobodys {
        assert!(volume.used.contains(range), "{context}");
    }
}

#[test]
fn a_large_sparse_disk_is_read_by_its_maps() {
    for options in
        [&[][..], &["-O", "^64bit,^metadata_csum,uninit_bg"], &["-O", "meta_bg,^resize_inode,bigalloc"]]
    {
        let image = image::made(200 << 30, "ext4", options);
        let volume = image.volume();
        assert!(volume.used.bytes() < 8 << 30, "{options:?}: {} bytes", volume.used.bytes());
        is_right(&image, &volume, &format!("{options:?}"));
    }
}

#[test]
fn what_was_resized_is_read_as_well() {
    for (options, from, to) in
        [("", 32, 200), ("-b 1024", 200, 40), ("-b 1024 -O ^resize_inode,meta_bg", 20, 150)]
    {
        let args = options.split_whitespace().chain(["-L", "sized"]).collect::<Vec<_>>();
        let mut image = image::made(from * MIB, "ext4", &args);
        image.resize(256 * MIB);
        run("resize2fs", &[image.name(), &format!("{to}M")]);
        // It cuts a file to the file system's size, as it can't a partition.
        image.resize(256 * MIB);
        is_right(&image, &image.volume(), &format!("{options} resized from {from} to {to} MiB"));
    }
}
