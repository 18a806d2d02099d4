//! Compressed files.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use image_build::export::export;
use image_build::files;
use image_build::progress::Progress;
use image_build::stream::Compression;
use pack::foreign::DiskFormat;
use proptest::prelude::*;

use crate::tool::{disk, imported, qemu_img, run, words, work};

const PROGRAMS: &[&[&str]] = &[
    &["gzip", "-1"],
    &["gzip", "-9"],
    &["xz", "-0"],
    &["xz", "-8"],
    &["xz", "-T2", "--block-size=1MiB"],
    &["zstd", "-q", "-1"],
    &["zstd", "-q", "-19"],
];

/// A file, compressed.
fn squeezed(program: &[&str], file: &Path) -> Vec<u8> {
    let args = program[1..].iter().chain(&["-c"]).map(PathBuf::from);
    run(program[0], args.chain([file.to_path_buf()]))
}

fn refusal(file: &Path, format: Option<DiskFormat>, disk_bytes: Option<u64>) -> String {
    words(&imported(file, format, disk_bytes).map(drop).unwrap_err())
}

#[test]
fn a_stream_is_its_content() {
    let work = work();
    let [raw, qcow2, file, out] = ["raw", "qcow2", "file", "out"].map(|name| work.path().join(name));
    files::write(&raw, &disk()).unwrap();
    qemu_img("convert -q -t unsafe -f raw -O qcow2", &[&raw, &qcow2]);
    let bytes = disk().len() as u64;
    for program in PROGRAMS {
        for (from, format) in [(&raw, DiskFormat::Raw), (&qcow2, DiskFormat::Qcow2)] {
            files::write(&file, &squeezed(program, from)).unwrap();
            for (declared, size) in [(None, None), (Some(format), Some(bytes))] {
                let (_kept, image) = imported(&file, declared, size).unwrap();
                export(&image, DiskFormat::Raw, &out, &Progress::start(true)).unwrap();
                assert!(files::read(&out).unwrap() == disk(), "{program:?} {format}");
            }
        }
    }
}

#[test]
fn streams_one_after_the_other_are_one() {
    let work = work();
    let [half, file, out] = ["half", "file", "out"].map(|name| work.path().join(name));
    let disk = disk();
    for program in PROGRAMS {
        let halves = disk.chunks(disk.len() / 2 + 1).map(|bytes| {
            files::write(&half, bytes).unwrap();
            squeezed(program, &half)
        });
        files::write(&file, &halves.collect::<Vec<_>>().concat()).unwrap();
        let (_kept, image) = imported(&file, None, None).unwrap();
        export(&image, DiskFormat::Raw, &out, &Progress::start(true)).unwrap();
        assert!(files::read(&out).unwrap() == disk, "{program:?}");
    }
}

#[test]
fn a_stream_that_is_cut_off_or_bent_is_refused() {
    let work = work();
    let [raw, file] = ["raw", "file"].map(|name| work.path().join(name));
    files::write(&raw, &disk()).unwrap();
    for program in [&["gzip", "-6"][..], &["xz", "-1"], &["zstd", "-q", "--check"]] {
        let whole = squeezed(program, &raw);
        for left in [10, 100, 5000, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
            files::write(&file, &whole[..left]).unwrap();
            let said = refusal(&file, None, None);
            assert!(
                said.contains("stream is broken") || said.contains("nothing in it"),
                "{program:?} {left}: {said}"
            );
        }
        for at in [whole.len() / 3, whole.len() - 3] {
            let mut bent = whole.clone();
            bent[at] ^= 0x10;
            files::write(&file, &bent).unwrap();
            let said = refusal(&file, None, None);
            assert!(said.contains("stream is broken"), "{program:?} {at}: {said}");
        }
        files::write(&file, &[&whole[..], b"and something else"].concat()).unwrap();
        assert!(refusal(&file, None, None).contains("stream is broken"), "{program:?}");
    }
}

#[test]
fn what_is_declared_holds() {
    let work = work();
    let [raw, qcow2, file] = ["raw", "qcow2", "file"].map(|name| work.path().join(name));
    files::write(&raw, &disk()).unwrap();
    qemu_img("convert -q -t unsafe -f raw -O qcow2", &[&raw, &qcow2]);
    let bytes = disk().len() as u64;
    for program in [&["gzip", "-1"][..], &["xz", "-0"], &["zstd", "-q"]] {
        files::write(&file, &squeezed(program, &raw)).unwrap();
        assert!(refusal(&file, None, Some(bytes - 512)).contains("bytes that were declared"));
        assert!(
            refusal(&file, None, Some(bytes + 512))
                .contains(&format!("a disk of {bytes} bytes, declared were"))
        );
        assert!(refusal(&file, Some(DiskFormat::Qcow2), None).contains("does not begin like one"));
        files::write(&file, &squeezed(program, &qcow2)).unwrap();
        assert!(
            refusal(&file, None, Some(bytes - 512))
                .contains(&format!("a disk of {bytes} bytes, declared were"))
        );
        assert!(refusal(&file, Some(DiskFormat::Raw), None).contains("declared as raw, but this is qcow2"));
    }
    for file in [&raw, &qcow2] {
        assert!(
            refusal(file, None, Some(bytes - 512))
                .contains(&format!("a disk of {bytes} bytes, declared were"))
        );
    }
    files::write(&raw, &disk()[..disk().len() - 1]).unwrap();
    assert!(refusal(&raw, None, None).contains("whole sectors"));
}

#[test]
fn streams_in_streams_are_refused_and_so_are_those_that_need_much_memory() {
    let work = work();
    let [raw, once, twice] = ["raw", "once", "twice"].map(|name| work.path().join(name));
    files::write(&raw, &disk()).unwrap();
    for inner in [&["gzip"][..], &["xz", "-0"], &["zstd", "-q"]] {
        files::write(&once, &squeezed(inner, &raw)).unwrap();
        for outer in [&["gzip"][..], &["xz", "-0"], &["zstd", "-q"]] {
            files::write(&twice, &squeezed(outer, &once)).unwrap();
            let said = refusal(&twice, None, None);
            assert!(said.contains(&format!("{} stream, which is not read", inner[0])), "{said}");
            assert_eq!(refusal(&twice, Some(DiskFormat::Raw), None), said);
        }
    }
    files::write(&once, &squeezed(&["xz", "-9"], &raw)).unwrap();
    assert!(refusal(&once, None, None).contains("needs more memory than it may"));
}

/// Streams of each kind, of a disk of little.
fn small_streams() -> Vec<(Compression, Vec<u8>)> {
    let work = work();
    let raw = work.path().join("raw");
    files::write(&raw, &disk()[..400_000]).unwrap();
    let kinds = [Compression::Gzip, Compression::Xz, Compression::Zstd];
    kinds
        .into_iter()
        .zip([&["gzip"][..], &["xz", "-0"], &["zstd", "-q"]].map(|program| squeezed(program, &raw)))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn bytes_changed_in_a_stream_do_no_harm(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        static STREAMS: LazyLock<Vec<(Compression, Vec<u8>)>> = LazyLock::new(small_streams);
        let work = work();
        let file = work.path().join("file");
        for (compression, stream) in STREAMS.iter() {
            let mut bent = stream.clone();
            for (at, byte) in &changes {
                // Half of them where the headers are.
                let end = if *byte < 128 { 64 } else { bent.len() };
                bent[at.index(end)] = *byte;
            }
            files::write(&file, &bent).unwrap();
            let stream = compression.open(files::open(&file).unwrap());
            // Whether it is taken is not the question: it ends, and does not panic.
            drop(stream.and_then(|stream| std::io::copy(&mut stream.take(64 << 20), &mut std::io::sink())));
        }
    }
}
