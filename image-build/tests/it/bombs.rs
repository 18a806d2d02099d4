//! Files that come out a million times as long as they are: the program says no at once, and stays small.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use image_build::files;

use crate::tool::{run, work};

const MIB: usize = 1 << 20;
/// What the program may take at its peak.
const PEAK_KIB: u64 = 64 << 10;
/// It takes about a tenth of this. A machine that is busy may take its time; one that unpacks a TiB takes minutes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Imports a file in a process of its own; gives what it said, and its peak memory in KiB.
fn imported(file: &Path, args: &[&str]) -> (String, u64) {
    let out = file.with_extension("rwimage");
    #[expect(clippy::disallowed_methods, reason = "the peak memory of a process is asked for while it runs")]
    let mut command = Command::new(env!("CARGO_BIN_EXE_image-build"));
    command.arg("import").arg(file).args(args).arg("--quiet").arg("--out").arg(&out);
    command.arg("--key").arg(file.with_extension("key")).arg("--work").arg(file.parent().unwrap());
    let started = Instant::now();
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    let status = loop {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.parse().ok());
        peak = now.map_or(peak, |now| peak.max(now));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(started.elapsed() < PATIENCE || child.kill().is_err(), "{} still runs", file.display());
        std::thread::sleep(Duration::from_micros(200));
    };
    let mut said = String::new();
    child.stderr.unwrap().read_to_string(&mut said).unwrap();
    assert!(!status.success() && !out.exists(), "{} was taken", file.display());
    assert!(peak > 0 || started.elapsed() < Duration::from_millis(100), "nothing was measured");
    (said, peak)
}

/// A file that must be refused with some words, by a process that stays small.
fn refused(name: &str, bytes: &[u8], args: &[&str], with: &str) {
    let work = work();
    let file = work.path().join(name);
    files::write(&file, bytes).unwrap();
    let (said, peak) = imported(&file, args);
    assert!(said.contains(with), "{name}: {said}");
    assert!(peak <= PEAK_KIB, "{name}: {peak} KiB");
}

/// 64 MiB of zeros that begin like a disk, as a gzip member.
fn gzip_member() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let mut block = vec![0; MIB];
    block[510..512].copy_from_slice(&[0x55, 0xaa]);
    for _ in 0..64 {
        std::io::Write::write_all(&mut encoder, &block).unwrap();
        block.fill(0);
    }
    encoder.finish().unwrap()
}

/// A zstd frame of a disk's first block and then `blocks` of 128 KiB of zeros, each of them four bytes.
fn zstd_frame(blocks: usize) -> Vec<u8> {
    let header = |bytes: usize, kind: usize, is_last: bool| {
        (bytes << 3 | kind << 1 | usize::from(is_last)).to_le_bytes()
    };
    // A window of 8 MiB, no length of content.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x68];
    let mut first = vec![0; 4096];
    first[510..512].copy_from_slice(&[0x55, 0xaa]);
    frame.extend(&header(first.len(), 0, false)[..3]);
    frame.extend(first);
    for block in 1..=blocks {
        frame.extend(&header(128 << 10, 1, block == blocks)[..3]);
        frame.push(0);
    }
    frame
}

/// An xz stream of 64 MiB that begins like a disk.
fn xz_stream(folder: &Path, level: &str) -> Vec<u8> {
    let file = folder.join("zeros");
    let mut first = vec![0; 512];
    first[510..512].copy_from_slice(&[0x55, 0xaa]);
    files::write(&file, &first).unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_len(64 << 20).unwrap();
    run("xz", [Path::new(level), Path::new("-c"), &file])
}

#[test]
fn gzip() {
    let bomb = gzip_member().repeat(16);
    assert!(bomb.len() < 2 * MIB);
    refused("bomb.gz", &bomb, &[], "out of proportion");
    refused("bomb.gz", &bomb, &["--disk-bytes", "104857600"], "more than the 104857600 bytes");
    refused("bomb.gz", &bomb, &["--format", "raw"], "out of proportion");
}

#[test]
fn gzip_in_gzip() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    std::io::Write::write_all(&mut encoder, &gzip_member().repeat(1024)).unwrap();
    refused("bomb.gz", &encoder.finish().unwrap(), &["--format", "raw"], "a gzip stream, which is not read");
}

#[test]
fn a_name_without_end_in_gzip() {
    let bomb = [&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 0][..], &vec![b'a'; 8 * MIB]].concat();
    refused("bomb.gz", &bomb, &[], "stream is broken");
}

#[test]
fn zstd() {
    // 1 MiB that comes out as 32 GiB, and 32 MiB that come out as 1 TiB.
    refused("bomb.zst", &zstd_frame(MIB / 4), &[], "out of proportion");
    refused(
        "bomb.zst",
        &zstd_frame(8 * MIB),
        &["--disk-bytes", "104857600"],
        "more than the 104857600 bytes",
    );
    let window_of_2_tib = [0x28, 0xb5, 0x2f, 0xfd, 0, 0xf8];
    refused(
        "bomb.zst",
        &[&window_of_2_tib, &zstd_frame(1)[6..]].concat(),
        &[],
        "needs more memory than it may",
    );
    // Frames that are to be skipped, and nothing else.
    let skipped = [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0];
    let bomb = [&zstd_frame(1)[..], &skipped.repeat(MIB)].concat();
    refused("bomb.zst", &bomb, &["--format", "qcow2"], "does not begin like one");
}

#[test]
fn xz() {
    let work = work();
    let bomb = xz_stream(work.path(), "-6").repeat(104);
    refused("bomb.xz", &bomb, &["--disk-bytes", "209715200"], "more than the 209715200 bytes");
    refused("bomb.xz", &xz_stream(work.path(), "-8").repeat(104), &[], "out of proportion");
    refused("bomb.xz", &xz_stream(work.path(), "-9"), &[], "needs more memory than it may");
}

/// A qcow2 file of 2 MiB clusters: header, L1 table, reference count table, one L2 table whose 262,144 entries are one, and
/// a cluster of noise.
fn qcow2(entry: u64, disk_bytes: u64) -> Vec<u8> {
    let cluster = 2 * MIB;
    let mut file = vec![0; 5 * cluster];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"QFI\xfb\0\0\0\x03");
    put(20, &21_u32.to_be_bytes());
    put(24, &disk_bytes.to_be_bytes());
    put(36, &u32::try_from(disk_bytes.div_ceil(1 << 39)).unwrap().to_be_bytes());
    put(40, &(cluster as u64).to_be_bytes());
    put(48, &(2 * cluster as u64).to_be_bytes());
    put(56, &1_u32.to_be_bytes());
    put(96, &4_u32.to_be_bytes());
    put(100, &104_u32.to_be_bytes());
    put(cluster, &(3 * cluster as u64).to_be_bytes());
    put(3 * cluster, &entry.to_be_bytes().repeat(cluster / 8));
    put(4 * cluster, &crate::tool::noise(1, cluster));
    file
}

#[test]
fn qcow2_with_one_cluster_everywhere() {
    let at = 8 * MIB as u64;
    let half_tib = 1 << 39;
    refused("bomb.qcow2", &qcow2(at | 1 << 63, half_tib), &[], "some lie over others");
    refused("bomb.qcow2", &qcow2(at | 1 << 62, half_tib), &[], "decompression bomb");
    refused("bomb.qcow2", &qcow2(0, 64 << 40), &[], "an image has room for");
    refused("bomb.qcow2", &qcow2(1, 64 << 40), &["--disk-bytes", "1048576"], "declared were 1048576");
}

/// The longest L1 table that is read, each entry with an L2 table of its own, all of them holes.
#[test]
fn qcow2_with_as_many_tables_as_there_may_be() {
    let (entries, cluster) = (1_u64 << 20, 512_u64);
    let first = 2 * cluster + entries * 8;
    let mut head = vec![0; 1024];
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"QFI\xfb\0\0\0\x03");
    put(20, &9_u32.to_be_bytes());
    put(24, &(entries << 15).to_be_bytes());
    put(36, &u32::try_from(entries).unwrap().to_be_bytes());
    put(40, &(2 * cluster).to_be_bytes());
    put(48, &cluster.to_be_bytes());
    put(56, &1_u32.to_be_bytes());
    put(96, &4_u32.to_be_bytes());
    put(100, &104_u32.to_be_bytes());
    head.extend((0..entries).flat_map(|index| (first + index * cluster).to_be_bytes()));
    let work = work();
    let file = work.path().join("bomb.qcow2");
    files::write(&file, &head).unwrap();
    let length = first + entries * cluster;
    fs::File::options().write(true).open(&file).unwrap().set_len(length).unwrap();
    let (said, peak) = imported(&file, &["--disk-bytes", "512"]);
    assert!(said.contains("declared were 512"), "{said}");
    assert!(peak <= PEAK_KIB, "{peak} KiB");
}
