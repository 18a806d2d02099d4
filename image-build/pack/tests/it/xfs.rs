//! XFS: its map against partclone's, and by what is left of a file system when only that is kept.

mod hostile;
mod image;
mod memory;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pack::{Digest, Extents, Source};

use self::image::Image;
use crate::lab::{Disk, MIB, beyond, each, run, tree};

/// Options of mkfs, size in MiB.
const KINDS: &[(&str, u64)] = &[
    ("-L root", 96),
    ("-m reflink=0,rmapbt=0,finobt=0", 96),
    ("-m reflink=1,rmapbt=1,bigtime=1 -d agcount=7", 128),
    ("-m rmapbt=1 -b size=1k -d agcount=3", 96),
    ("-b size=2k -i size=1024,nrext64=1", 96),
    ("-i size=2048", 64),
    ("-s size=4k", 96),
    ("-s size=2k -b size=2k -l sunit=8", 96),
    ("-b size=64k", 512),
    ("-s size=32k -b size=32k", 256),
    ("-d su=64k,sw=4 -l su=256k", 192),
    ("-n size=64k -l size=10m", 96),
    ("-d agcount=5,size=133000k", 160),
];

/// Files, directories, links; then a file with a hole at every second block, so that free space is in many pieces.
fn fill(root: &Path, blocks: u64, block: u64) {
    for n in 0..300_u32 {
        let dir = root.join(format!("d{}", n % 7));
        fs::create_dir_all(&dir).unwrap();
        let content = Digest::of(&n.to_le_bytes()).0.repeat((n as usize * 37) % 1000);
        fs::write(dir.join(format!("f{n}")), content).unwrap();
    }
    std::os::unix::fs::symlink("d1/f1", root.join("link")).unwrap();
    for n in (0..300_u32).step_by(3) {
        fs::remove_file(root.join(format!("d{}/f{n}", n % 7))).unwrap();
    }
    let write = format!("pwrite -q -S 0x5a 0 {}", blocks * block);
    let punch = (0..blocks).step_by(2).map(|n| format!("fpunch {} {block}", n * block));
    Image::edit(&root.join("holes"), [write, "fsync".into()].into_iter().chain(punch));
}

/// Blocks in the free lists of all groups. They are in no tree of free blocks, and hold nothing.
fn free_lists(image: &Image) -> u64 {
    (0..image.number(88)).map(|group| image.number(image.group(group) + image.sector_bytes() + 48)).sum()
}

/// Nothing that partclone saves is missing, and nothing is there beyond it but the free lists.
fn compare(image: &Image, used: &Extents, what: &str) {
    let theirs = image.disk.partclone("xfs");
    let (more, missing) = (beyond(used, &theirs).bytes(), beyond(&theirs, used).bytes());
    assert_eq!((more, missing), (free_lists(image) * image.block_bytes(), 0), "{what}");
}

/// The used bytes alone are the whole file system.
fn prove(image: &Image, used: &Extents, want: &BTreeMap<String, String>) {
    let restored = image.restored(used);
    restored.check();
    let mount = restored.disk.mount("ro");
    assert_eq!(&tree(mount.path()), want);
}

#[test]
fn maps_are_those_of_partclone_and_enough_to_restore() {
    each(KINDS, |(options, mib)| make_and_restore(options, mib * MIB));
}

fn make_and_restore(options: &str, bytes: u64) {
    let image = Image::made(bytes, options);
    compare(&image, &image.map().used, options);
    let block = image.block_bytes();
    let want = {
        let mount = image.disk.mount("rw");
        fill(mount.path(), (12 * MIB / block).min(4000), block);
        tree(mount.path())
    };
    let volume = image.map();
    compare(&image, &volume.used, options);
    image.disk.assert_named(&volume);
    assert_eq!(volume.label, if options.contains("-L root") { "root" } else { "" });
    assert!(volume.used.bytes() < bytes / 10 * 9, "{options}");
    prove(&image, &volume.used, &want);
}

/// A tree of three levels: 20,000 pieces of free space in one group of small blocks.
#[test]
fn a_deep_tree_is_read_whole() {
    let image = Image::made(128 * MIB, "-b size=1k -d agcount=2");
    let want = {
        let mount = image.disk.mount("rw");
        fill(mount.path(), 40_000, 1024);
        tree(mount.path())
    };
    let volume = image.map();
    assert!(volume.used.iter().len() > 15_000);
    compare(&image, &volume.used, "deep");
    prove(&image, &volume.used, &want);
}

#[test]
fn a_large_sparse_disk_costs_what_is_in_it() {
    let image = Image::made(300 << 30, "");
    fill(image.disk.mount("rw").path(), 1000, 4096);
    let volume = image.map();
    compare(&image, &volume.used, "large");
    assert!(volume.used.bytes() < 1 << 30);
}

/// This kernel need not mount version 4: mkfs itself puts a file in, and the checker is the judge.
#[test]
fn version_4_is_read() {
    for options in
        ["", "-b size=512", "-l version=1", "-d agcount=5 -i size=256", "-s size=4k -l lazy-count=0"]
    {
        let image = Image { disk: Disk::new(96 * MIB) };
        let (proto, content) = (image.disk.beside("proto"), image.disk.beside("content"));
        fs::write(&content, Digest::of(b"content").0.repeat(100_000)).unwrap();
        let line = format!("/dev/null\n0 0\nd--755 0 0\nfile ---644 0 0 {}\n$\n", content.display());
        fs::write(&proto, line).unwrap();
        let mut args = vec!["-q", "-f", "-m", "crc=0", "-p", proto.to_str().unwrap()];
        args.extend(options.split_whitespace());
        args.push(image.disk.name());
        run("mkfs.xfs", &args);
        let volume = image.map();
        compare(&image, &volume.used, options);
        let restored = image.restored(&volume.used);
        restored.check();
        assert_eq!(restored.map(), volume);
    }
}

#[test]
fn another_uuid_and_a_zeroed_log_are_fine() {
    let image = Image::made(96 * MIB, "");
    {
        fill(image.disk.mount("rw").path(), 100, 4096);
    }
    let uuid = "01234567-89ab-cdef-0123-456789abcdef";
    run("xfs_admin", &["-U", uuid, image.disk.name()]);
    assert_eq!(image.map().uuid, uuid);
    compare(&image, &image.map().used, "uuid");
    run("xfs_repair", &["-L", "-f", image.disk.name()]);
    compare(&image, &image.map().used, "repaired");
    {
        fill(&image.disk.mount("rw").path().join("d2"), 100, 4096);
    }
    compare(&image, &image.map().used, "mounted again");
}

#[test]
fn parts_on_other_devices_are_not_here() {
    let (other, image) = (Disk::new(64 * MIB), Image { disk: Disk::new(96 * MIB) });
    let realtime = format!("rtdev={}", other.name());
    run("mkfs.xfs", &["-q", "-f", "-r", &realtime, image.disk.name()]);
    compare(&image, &image.map().used, "realtime");
    let log = format!("logdev={},size=10m", other.name());
    run("mkfs.xfs", &["-q", "-f", "-l", &log, image.disk.name()]);
    assert!(image.disk.volume().why_whole.unwrap().contains("its log is on another device"));
}

fn expect_dirty(image: &Image, what: &str) {
    let volume = image.disk.volume();
    image.disk.assert_named(&volume);
    let why = volume.why_whole.unwrap_or_default();
    assert!(why.contains("log must be replayed"), "{what}: {why}");
    assert_eq!(volume.used, Extents::all(image.disk.bytes()));
}

#[test]
fn a_log_that_must_be_replayed_is_noticed() {
    let image = Image::made(96 * MIB, "-l size=10m");
    let (copy, want) = {
        let mount = image.disk.mount("rw");
        fill(mount.path(), 100, 4096);
        run("sync", &["-f", mount.path().to_str().unwrap()]);
        (image.copied(), tree(mount.path()))
    };
    expect_dirty(&copy, "copied while mounted");
    drop(copy.disk.mount("rw"));
    let volume = copy.map();
    compare(&copy, &volume.used, "replayed");
    prove(&copy, &volume.used, &want);

    {
        let mount = image.disk.mount("rw");
        fs::write(mount.path().join("last"), b"words").unwrap();
        run("xfs_io", &["-x", "-c", "shutdown -f", mount.path().to_str().unwrap()]);
    }
    expect_dirty(&image, "shut down");
}

/// Copies at any moment of a busy file system, whose log goes round many times: whatever is found to be clean, the file
/// system's own tool finds clean too. In the end it is unmounted, and is.
#[test]
fn no_moment_looks_clean_that_is_not() {
    let image = Image::made(96 * MIB, "-l size=10m");
    let mut clean = 0;
    for round in 0..6 {
        {
            let mount = image.disk.mount("rw");
            for step in 0..4 {
                let dir = mount.path().join(format!("r{round}-{step}"));
                fs::create_dir(&dir).unwrap();
                (0..2500).for_each(|n| fs::write(dir.join(format!("{n}")), []).unwrap());
                if step % 2 == 1 {
                    fs::remove_dir_all(&dir).unwrap();
                }
                let copy = image.copied();
                if copy.disk.volume().why_whole.is_some() {
                    continue;
                }
                clean += 1;
                let says = run("xfs_logprint", &["-t", copy.disk.name()]);
                assert!(says.contains("<CLEAN>"), "{says}");
            }
        }
        compare(&image, &image.map().used, "unmounted");
    }
    let round = match image.number(image.log()) {
        0xfeed_babe => image.number(image.log() + 4),
        round => round,
    };
    assert!(round > 1, "the log went round");
    assert!(clean < 24, "every copy of a mounted file system was found to be clean");
}
