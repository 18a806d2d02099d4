//! Programs that the tests compare with, and disks to give them.

use std::path::{Path, PathBuf};

use image_build::container::{Image, Plain};
use image_build::files::{self, WorkFolder};
use image_build::import::{ImportError, Order, import};
use image_build::progress::Progress;
use image_build::tools::Call;
use pack::foreign::DiskFormat;
use pack::{Digest, SigningKey, Source};

/// (program, Debian package).
const PACKAGES: &[(&str, &str)] = &[
    ("qemu-img", "qemu-utils"),
    ("qemu-io", "qemu-utils"),
    ("gzip", "gzip"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
    ("sgdisk", "gdisk"),
    ("losetup", "mount"),
    ("mount", "mount"),
    ("blockdev", "util-linux"),
    ("blkid", "util-linux"),
    ("mkswap", "util-linux"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("btrfs", "btrfs-progs"),
    ("lvm", "lvm2"),
];

/// Runs a program to its end; gives its standard output.
pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Vec<u8> {
    Call::new(program).args(args).run().unwrap_or_else(|error| {
        let package = PACKAGES.iter().find(|(name, _)| *name == program).map_or("?", |(_, package)| package);
        panic!("{program} (Debian package {package}): {error}: {:?}", std::error::Error::source(&error))
    })
}

/// The same with words, and paths between them.
pub(crate) fn qemu_img(line: &str, paths: &[&Path]) -> Vec<u8> {
    let words = line.split_whitespace().map(PathBuf::from);
    run("qemu-img", words.chain(paths.iter().map(|path| path.to_path_buf())))
}

/// Writes, discards and so on as a guest would.
pub(crate) fn qemu_io(image: &Path, commands: &[&str]) {
    let commands = commands.iter().flat_map(|command| ["-c", command]).map(PathBuf::from);
    run(
        "qemu-io",
        ["-t", "unsafe"].map(PathBuf::from).into_iter().chain(commands.chain([image.to_path_buf()])),
    );
}

pub(crate) fn work() -> WorkFolder {
    WorkFolder::make(&std::env::temp_dir()).unwrap()
}

/// Bytes that do not compress.
pub(crate) fn noise(seed: u32, bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes + 32);
    for block in 0_u32.. {
        if out.len() >= bytes {
            break;
        }
        out.extend(Digest::of(&[seed.to_le_bytes(), block.to_le_bytes()].concat()).0);
    }
    out.truncate(bytes);
    out
}

/// A disk with an MBR, of some more than 9 MiB: noise, text, zeros, single bytes at the ends of things.
pub(crate) fn disk() -> Vec<u8> {
    let mut disk = vec![0; (9 << 20) + 37 * 512];
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    let text = b"all work and no play makes Jack a dull boy\n".iter().copied().cycle();
    let mut put = |at: usize, bytes: &[u8]| disk[at..at + bytes.len()].copy_from_slice(bytes);
    put(70_000, &noise(1, 300_000));
    put(1 << 20, &text.take(2 << 20).collect::<Vec<_>>());
    put((5 << 20) - 1, &[1, 2]);
    put((7 << 20) + 512, &noise(2, 512));
    put((9 << 20) + 36 * 512, &noise(3, 512));
    disk
}

pub(crate) fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32]).unwrap()
}

/// What [`import`] makes of a file.
pub(crate) fn imported(
    file: &Path,
    format: Option<DiskFormat>,
    disk_bytes: Option<u64>,
) -> Result<(WorkFolder, Image), ImportError> {
    let work = work();
    let out = work.path().join("out/image.rwimage");
    let (roles, key) = (["compute".to_owned()], key());
    let order = Order {
        file,
        format,
        disk_bytes,
        name: Some("it"),
        arch: "amd64",
        roles: &roles,
        level: 1,
        key: &key,
        out: &out,
        work: work.path(),
    };
    let result = import(&order, &Progress::start(true));
    let left = files::list(work.path()).unwrap();
    if result.is_err() {
        assert!(!out.exists(), "an image in spite of an error");
    }
    assert!(left.iter().all(|path| path.ends_with("out")), "left behind: {left:?}");
    let in_out = if work.path().join("out").exists() {
        files::list(&work.path().join("out")).unwrap()
    } else {
        vec![]
    };
    assert!(in_out.len() <= 1, "left behind: {in_out:?}");
    result.map(|image| (work, image))
}

/// A file, as bytes that can be read at any place.
pub(crate) fn opened(path: &Path) -> Plain {
    Plain::open(path, files::look(path).unwrap().len()).unwrap()
}

/// An error and its causes, in one line.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

/// All bytes of a small disk.
pub(crate) fn all(disk: &dyn Source) -> Vec<u8> {
    pack::source::read(disk, 0, usize::try_from(disk.bytes()).unwrap()).unwrap()
}
