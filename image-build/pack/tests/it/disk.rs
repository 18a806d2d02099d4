//! Disks: a model of random I/O, and everything that goes wrong with a disk that can be made to.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test may panic, and its disks are small"
)]

mod erase;
mod failures;
mod machine;
mod model;
mod pool;

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pack::WINDOW;
use pack::disk::{Access, Disk, DiskError, Engine, Pool, Queue, Run};
use pack::source::read;

use crate::lab::{Dice, Loop, Mounted, run};
use machine::{direct, sparse};

const MIB: u64 = 1 << 20;
const ENGINES: [Engine; 2] = [Engine::Uring, Engine::Threads];

/// Who used the disk before may be gone a moment later on a busy machine: the kernel lets go of a ring's files by itself, and a
/// program that is started beside it has them open until its `exec`. A second is far more than either takes.
fn open(path: &Path, access: Access) -> Arc<Disk> {
    let begun = Instant::now();
    loop {
        match Disk::open(path, access) {
            Ok(disk) => return Arc::new(disk),
            Err(DiskError::Open { source, .. })
                if source.raw_os_error() == Some(16) && begun.elapsed() < Duration::from_secs(1) =>
            {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn queue<T: Send>(disk: &Arc<Disk>, pool: &Pool, depth: u16, engine: Engine) -> Queue<T> {
    let queue = Queue::new(disk, pool, depth, engine).unwrap();
    assert_eq!(queue.engine(), engine, "{:?}", queue.fallback());
    queue
}

fn whole(disk: u64) -> Run {
    Run { disk, buffer: 0, bytes: WINDOW }
}

#[test]
fn a_disk_says_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    sparse(&file, 8 * MIB);
    for sector in [512, 4096] {
        let device = direct(&file, sector);
        let disk = open(device.path(), Access::Write);
        assert!(disk.is_device() && disk.is_direct());
        assert_eq!((disk.bytes(), disk.sector_bytes(), disk.align()), (8 * MIB, sector, sector));
        assert!(disk.physical_bytes() >= sector);
        pack::disk::is_rotational(&*disk).unwrap();
        // A loop device without --partscan has no partitions.
        assert_eq!(pack::disk::reread_partitions(&*disk).unwrap_err().raw_os_error(), Some(22));
    }
    let device = Loop::with(&file, &["--partscan"]);
    pack::disk::reread_partitions(&*open(device.path(), Access::Write)).unwrap();
    let disk = open(&file, Access::Read);
    assert_eq!((disk.is_device(), disk.bytes(), disk.sector_bytes()), (false, 8 * MIB, 512));
    assert!(pack::disk::is_rotational(&*disk).is_err());
}

#[test]
fn only_a_disk_or_a_file_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    run("mkfifo", &[pipe.to_str().unwrap()]);
    for path in [pipe.as_path(), dir.path(), Path::new("/dev/null")] {
        let error = Disk::open(path, Access::Read).unwrap_err();
        assert!(error.to_string().ends_with("neither a block device nor a file"), "{error}");
    }
    let error = Disk::open(&dir.path().join("none"), Access::Read).unwrap_err();
    assert!(matches!(error, DiskError::Open { source, .. } if source.kind() == io::ErrorKind::NotFound));
}

#[test]
fn a_disk_in_use_is_not_opened_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    sparse(&file, 16 * MIB);
    let device = direct(&file, 512);
    run("mkfs.ext4", &["-q", device.name()]);
    let is_busy = |access| {
        let opened = Disk::open(device.path(), access);
        matches!(opened, Err(DiskError::Open { source, .. }) if source.raw_os_error() == Some(16))
    };
    {
        let _mounted = Mounted::new(&dir.path().join("root"), &[device.name()]);
        assert!(is_busy(Access::ReadExclusive) && is_busy(Access::Write));
        assert!(!is_busy(Access::Read));
    }
    let writer = open(device.path(), Access::Write);
    assert!(is_busy(Access::ReadExclusive) && is_busy(Access::Write));
    drop(writer);
    assert!(!is_busy(Access::Write));
}

#[test]
fn a_disk_is_free_when_its_queue_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    sparse(&file, 8 * MIB);
    let device = direct(&file, 512);
    for engine in ENGINES {
        for _ in 0..30 {
            let pool = Pool::new(4);
            let disk = open(device.path(), Access::Write);
            let mut queue = queue(&disk, &pool, 4, engine);
            for window in 0..4 {
                queue.write(window, Arc::new(pool.take()), &[whole(window * MIB)]).unwrap();
            }
        }
    }
}

/// A loop device stays read-only for its next user, unless it is told.
struct Writable<'a>(&'a Disk);

impl Drop for Writable<'_> {
    fn drop(&mut self) {
        pack::disk::set_read_only(self.0, false).unwrap();
    }
}

#[test]
fn a_read_only_disk_is_not_opened_for_writing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    sparse(&file, MIB);
    let device = direct(&file, 512);
    let reader = open(device.path(), Access::Read);
    let _writable = Writable(&reader);
    assert!(!pack::disk::is_read_only(&*reader).unwrap());
    pack::disk::set_read_only(&*reader, true).unwrap();
    assert!(pack::disk::is_read_only(&*reader).unwrap());
    let refused = Disk::open(device.path(), Access::Write).unwrap_err();
    assert_eq!(refused.source().unwrap().to_string(), "the device is set read-only");
    pack::disk::set_read_only(&*reader, false).unwrap();
    open(device.path(), Access::Write);
}

#[test]
fn any_range_of_a_source_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (file, odd) = (dir.path().join("disk"), dir.path().join("odd"));
    let mut bytes = vec![0; 5 * MIB as usize];
    let mut dice = Dice(1);
    dice.fill(&mut bytes);
    std::fs::write(&file, &bytes).unwrap();
    std::fs::write(&odd, &bytes[..3_000_001]).unwrap();
    let device = direct(&file, 4096);
    for path in [device.path(), &*file, &*odd] {
        let disk = Disk::open(path, Access::Read).unwrap();
        let end = disk.bytes();
        for _ in 0..200 {
            let offset = dice.below(end);
            let length = 1 + dice.below((end - offset).min(2_500_000));
            let (begin, length) = (offset as usize, length as usize);
            assert_eq!(read(&disk, offset, length).unwrap(), bytes[begin..begin + length]);
        }
        assert_eq!(read(&disk, end - 1, 1).unwrap(), bytes[end as usize - 1..end as usize]);
        assert_eq!(read(&disk, end, 1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
    // A queue reads the tail of a file that ends within a sector.
    let (disk, pool) = (open(&odd, Access::Read), Pool::new(1));
    for engine in ENGINES {
        let mut queue = queue(&disk, &pool, 1, engine);
        let tail = 3_000_001 - 2 * WINDOW;
        queue.read((), pool.take(), &[Run { disk: 2 * MIB, buffer: 0, bytes: tail }]).unwrap();
        let done = queue.wait().unwrap();
        done.result.unwrap();
        assert_eq!(done.buffer.unwrap()[..tail as usize], bytes[2 * MIB as usize..3_000_001]);
    }
}

#[test]
fn device_reads_leave_nothing_in_the_page_cache() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    std::fs::write(&file, vec![7; 8 * MIB as usize]).unwrap();
    let device = direct(&file, 512);
    let disk = open(device.path(), Access::Read);
    read(&*disk, 0, 8 * MIB as usize).unwrap();
    let name = device.name();
    let cached = run("fincore", &["--bytes", "--noheadings", "--output", "RES", name]);
    // Udev and losetup look at its first sectors.
    let cached: u64 = cached.trim().parse().unwrap();
    assert!(cached < MIB, "{cached} bytes in the page cache");
}
