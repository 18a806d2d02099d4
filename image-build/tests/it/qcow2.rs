//! qcow2 files that QEMU made, against what QEMU reads in them.

use std::path::Path;

use image_build::files;
use pack::foreign::qcow2::{Qcow2, Qcow2Error};
use pack::{Source, is_zero};

use crate::tool::{all, disk, opened, qemu_img, qemu_io, run, words, work};

/// What a guest does to its disk: parts of clusters, zeros, discards, a whole MiB.
const GUEST: &[&str] = &[
    "write -P 17 1000k 3k",
    "write -P 18 5000512 512",
    "write -z 2M 100k",
    "write -z 1500k 64k",
    "discard 2500k 256k",
    "write -P 19 6M 1M",
    "write -P 20 9437184 512",
];

/// The disk in a file is what QEMU says, wherever one reads, and what is not zero counts as allocated.
fn is_as_qemu_reads(file: &Path, raw: &Path) {
    qemu_img("convert -t unsafe -f qcow2 -O raw", &[file, raw]);
    let expected = files::read(raw).unwrap();
    let file = opened(file);
    let disk = Qcow2::open(&file).unwrap();
    assert_eq!(disk.bytes(), expected.len() as u64);
    let read = all(&disk);
    let first = read.iter().zip(&expected).position(|(one, other)| one != other);
    assert_eq!(first, None, "the first byte that differs");
    // Reads that begin and end anywhere.
    for step in 0..200_u64 {
        let (at, length) = (step * 47_111 % (expected.len() as u64 - 9000), 1 + (step * 7919) % 9000);
        let (at, length) = (usize::try_from(at).unwrap(), usize::try_from(length).unwrap());
        let part = pack::source::read(&disk, at as u64, length).unwrap();
        assert!(part == expected[at..at + length], "{length} bytes at {at}");
    }
    for (at, block) in (0_u64..).step_by(512).zip(expected.chunks(512)) {
        let is_known = disk.allocated().within(at..at + 512).next().is_some();
        assert!(is_known || is_zero(block), "data at {at} that is not allocated");
    }
}

/// One way of making a qcow2 file: as it is converted, after a guest wrote to it, and with snapshots.
fn made(options: &str) {
    let work = work();
    let [raw, file, back] = ["raw", "qcow2", "back"].map(|name| work.path().join(name));
    files::write(&raw, &disk()).unwrap();
    qemu_img(&format!("convert -q -t unsafe -f raw -O qcow2 {options}"), &[&raw, &file]);
    is_as_qemu_reads(&file, &back);
    assert!(files::read(&back).unwrap() == disk());
    qemu_io(&file, GUEST);
    is_as_qemu_reads(&file, &back);
    if !options.contains("data_file") {
        qemu_img("snapshot -q -c one", &[&file]);
        qemu_io(&file, &["write -P 33 3M 200k", "write -P 34 0 512", "discard 6M 512k"]);
        is_as_qemu_reads(&file, &back);
    }
}

macro_rules! made_with {
    ($($name:ident: $options:literal,)*) => { $(#[test] fn $name() { made($options); })* };
}

made_with! {
    version_2: "-o compat=0.10",
    version_2_compressed: "-c -o compat=0.10",
    version_3: "-o compat=1.1",
    clusters_of_512_bytes: "-o cluster_size=512",
    clusters_of_4_kib: "-o cluster_size=4k",
    clusters_of_2_mib: "-o cluster_size=2M",
    deflate: "-c",
    deflate_in_clusters_of_512_bytes: "-c -o cluster_size=512",
    deflate_in_clusters_of_2_mib: "-c -o cluster_size=2M",
    zstd: "-c -o compression_type=zstd",
    zstd_in_clusters_of_4_kib: "-c -o compression_type=zstd,cluster_size=4k",
    zstd_in_clusters_of_2_mib: "-c -o compression_type=zstd,cluster_size=2M",
    subclusters: "-o extended_l2=on",
    subclusters_of_512_bytes: "-o extended_l2=on,cluster_size=16k",
    subclusters_of_64_kib: "-o extended_l2=on,cluster_size=2M",
    subclusters_and_zstd: "-c -o extended_l2=on,compression_type=zstd",
    lazy_reference_counts: "-o lazy_refcounts=on",
    reference_counts_of_64_bits: "-o refcount_bits=64",
    preallocated_metadata: "-o preallocation=metadata",
    preallocated: "-o preallocation=falloc",
    preallocated_and_written: "-o preallocation=full",
    preallocated_subclusters: "-o preallocation=metadata,extended_l2=on",
}

#[test]
fn one_bit_of_reference_counts_and_a_bitmap_of_what_is_dirty() {
    let work = work();
    let [file, back] = ["qcow2", "back"].map(|name| work.path().join(name));
    for options in ["-o refcount_bits=1", "-o cluster_size=128k"] {
        qemu_img(&format!("create -q -f qcow2 {options}"), &[&file, Path::new("64M")]);
        if options.contains("cluster") {
            qemu_img("bitmap --add --enable", &[&file, Path::new("dirty")]);
        }
        qemu_io(&file, &["write -P 1 20M 70k", "write -P 2 67108352 512"]);
        is_as_qemu_reads(&file, &back);
    }
}

#[test]
fn a_disk_of_nothing_and_a_disk_of_ten_terabytes() {
    let work = work();
    let file = work.path().join("qcow2");
    for (size, at) in [("512", 0_u64), ("10T", 9 << 40)] {
        qemu_img("create -q -f qcow2", &[&file, Path::new(size)]);
        let whole = opened(&file);
        assert!(Qcow2::open(&whole).unwrap().allocated().is_empty());
        qemu_io(&file, &[&format!("write -P 5 {at} 512")]);
        let whole = opened(&file);
        let disk = Qcow2::open(&whole).unwrap();
        assert_eq!(pack::source::read(&disk, at, 512).unwrap(), [5; 512]);
        assert!(disk.allocated().within(at..at + 1).next().is_some());
        assert!(disk.allocated().bytes() <= 32 << 20, "{}", disk.allocated().bytes());
    }
}

/// What [`Qcow2::open`] says to a file.
fn refused(file: &Path) -> Qcow2Error {
    let file = opened(file);
    Qcow2::open(&file).unwrap_err()
}

#[test]
fn what_needs_another_file_or_a_key_is_refused() {
    let work = work();
    let [base, file, data] = ["base", "qcow2", "data"].map(|name| work.path().join(name));
    files::write(&base, &disk()).unwrap();
    let create = |options: &[&str]| {
        let before = ["create", "-q", "-f", "qcow2"].into_iter().chain(options.iter().copied());
        run("qemu-img", before.chain([file.to_str().unwrap(), "8M"]));
        refused(&file)
    };
    let error = create(&["-b", base.to_str().unwrap(), "-F", "raw"]);
    assert!(
        matches!(&error, Qcow2Error::BackingFile { name } if base.to_str().unwrap().starts_with(name)),
        "{error}"
    );
    for raw in ["on", "off"] {
        let option = format!("data_file={},data_file_raw={raw}", data.display());
        assert!(matches!(create(&["-o", &option]), Qcow2Error::DataFile));
    }
    for format in ["luks,encrypt.iter-time=10", "aes"] {
        let option = format!("encrypt.format={format},encrypt.key-secret=s");
        let error = create(&["--object", "secret,id=s,data=secret", "-o", &option]);
        assert!(matches!(error, Qcow2Error::Encrypted), "{}", words(&error));
    }
}
