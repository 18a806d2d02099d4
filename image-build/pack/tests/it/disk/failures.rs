//! Disks that fail, end early, fill up or go away; requests that must not be begun; queues that are dropped.

use std::error::Error;
use std::io;
use std::process::Command;
use std::sync::Arc;

use pack::WINDOW;
use pack::disk::{Access, Action, DiskError, Engine, Pool, Queue, Run};
use pack::source::read;

use super::machine::{direct, sparse};
use super::{ENGINES, MIB, open, queue, whole};
use crate::lab::{Dice, Loop, Mounted, run};

/// What every request said, by its tag.
fn results(queue: &mut Queue<u64>) -> Vec<(u64, Result<(), DiskError>)> {
    let mut said: Vec<_> = std::iter::from_fn(|| queue.wait()).map(|done| (done.tag, done.result)).collect();
    said.sort_by_key(|(tag, _)| *tag);
    said
}

#[test]
fn what_is_not_aligned_or_not_there_is_refused_with_words() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    sparse(&file, 4 * MIB);
    let device = direct(&file, 4096);
    let pool = Pool::new(1);
    let reader = open(device.path(), Access::Read);
    let path = device.path().display();
    for engine in ENGINES {
        let mut queue = queue::<()>(&reader, &pool, 1, engine);
        let cases = [
            (512, 0, 4096, format!("reading 4096 bytes at 512 of {path}: not multiples of 4096, or none")),
            (0, 0, 512, format!("reading 512 bytes at 0 of {path}: not multiples of 4096, or none")),
            (0, 0, 0, format!("reading 0 bytes at 0 of {path}: not multiples of 4096, or none")),
            (0, 512, 4096, "reading 4096 bytes, from 512 of the buffer: not a multiple of 4096".to_owned()),
            (
                0,
                4096,
                WINDOW,
                "reading 1048576 bytes, from 4096 of the buffer: it has 1048576 bytes".to_owned(),
            ),
            (
                4 * MIB - 4096,
                0,
                8192,
                format!("reading 8192 bytes at 4190208 of {path}: it has 4194304 bytes"),
            ),
            (
                u64::MAX - 4095,
                0,
                4096,
                format!("reading 4096 bytes at 18446744073709547520 of {path}: it has 4194304 bytes"),
            ),
        ];
        for (disk, buffer, bytes, words) in cases {
            let runs = [whole(0), Run { disk, buffer, bytes }];
            assert_eq!(queue.read((), pool.take(), &runs).unwrap_err().to_string(), words);
        }
        let refused = queue.write((), Arc::new(pool.take()), &[whole(0)]).unwrap_err();
        assert_eq!(refused.to_string(), format!("writing {path}: it is open for reading only"));
        assert!(queue.wait().is_none());
        assert_eq!((queue.pending(), pool.free()), (0, 1));
    }
}

#[test]
fn a_request_of_nothing_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    sparse(&file, MIB);
    let pool = Pool::new(1);
    for engine in ENGINES {
        let mut queue = queue(&open(&file, Access::Write), &pool, 1, engine);
        queue.read(7, pool.take(), &[]).unwrap();
        let done = queue.wait().unwrap();
        assert!(done.result.is_ok() && done.buffer.is_some() && done.tag == 7);
    }
}

#[test]
fn a_read_error_names_its_place_and_stops_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    let mut content = vec![0; 8 * MIB as usize];
    Dice(3).fill(&mut content);
    for engine in ENGINES {
        std::fs::write(&file, &content).unwrap();
        let device = direct(&file, 512);
        let disk = open(device.path(), Access::Read);
        // The medium is gone from the middle of window 5 on.
        let broken = 5 * MIB + MIB / 2;
        run("truncate", &["--size", &broken.to_string(), file.to_str().unwrap()]);
        let pool = Pool::new(8);
        let mut queue = queue(&disk, &pool, 4, engine);
        for window in 0..8 {
            queue.read(window, pool.take(), &[whole(window * MIB)]).unwrap();
        }
        for (window, result) in results(&mut queue) {
            if window < 5 {
                result.unwrap();
                continue;
            }
            let error = result.unwrap_err();
            let DiskError::Io { action: Action::Read, offset, bytes, source, .. } = &error else {
                panic!("{error}")
            };
            assert_eq!(source.raw_os_error(), Some(5), "{error}: {source}");
            assert!((window * MIB..=broken.max(window * MIB)).contains(offset), "{error}");
            assert_eq!(offset + bytes, (window + 1) * MIB);
        }
        // A reader around the broken place gets everything before it.
        queue.read(0, pool.take(), &[Run { disk: 5 * MIB, buffer: 4096, bytes: WINDOW / 2 }]).unwrap();
        let done = queue.wait().unwrap();
        done.result.unwrap();
        let there = 5 * MIB as usize..broken as usize;
        assert!(done.buffer.unwrap()[4096..4096 + WINDOW as usize / 2] == content[there]);
        let error = read(&*disk, broken, 4096).unwrap_err();
        assert!(error.to_string().starts_with("reading 4096 bytes at 5767168 of /dev/loop"), "{error}");
        assert_eq!(error.source().unwrap().to_string(), "Input/output error (os error 5)");
        drop(queue);
        assert_eq!(pool.free(), 8);
    }
}

#[test]
fn the_other_runs_of_a_request_do_not_hide_its_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    for engine in ENGINES {
        sparse(&file, 8 * MIB);
        let device = direct(&file, 512);
        let disk = open(device.path(), Access::Read);
        run("truncate", &["--size", "4M", file.to_str().unwrap()]);
        let pool = Pool::new(1);
        let mut queue = queue(&disk, &pool, 2, engine);
        let at = |disk, number: u32| Run { disk, buffer: number * 4096, bytes: 4096 };
        let runs = [at(0, 0), at(MIB, 1), at(5 * MIB, 2), at(2 * MIB, 3), at(3 * MIB, 4)];
        queue.read(1, pool.take(), &runs).unwrap();
        let [(1, Err(DiskError::Io { offset, .. }))] = results(&mut queue)[..] else { panic!("no error") };
        assert_eq!(offset, 5 * MIB);
    }
}

#[test]
fn a_file_that_ends_early_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    let pool = Pool::new(1);
    for engine in ENGINES {
        sparse(&file, 4 * MIB);
        let disk = open(&file, Access::Read);
        sparse(&file, MIB + 8192);
        let mut queue = queue(&disk, &pool, 1, engine);
        queue.read(1, pool.take(), &[whole(MIB)]).unwrap();
        let said = results(&mut queue);
        let [(1, Err(DiskError::Io { offset, bytes, source, .. }))] = &said[..] else { panic!("{said:?}") };
        assert_eq!((*offset, *bytes), (MIB + 8192, MIB - 8192));
        assert_eq!(source.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read(&*disk, 2 * MIB, 1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[test]
fn a_full_store_is_an_error_of_the_write() {
    let dir = tempfile::tempdir().unwrap();
    for engine in ENGINES {
        let memory = Mounted::new(&dir.path().join("memory"), &["-t", "tmpfs", "-o", "size=3584k", "none"]);
        let file = memory.root.join("disk");
        sparse(&file, 8 * MIB);
        let pool = Pool::new(8);
        let device = Loop::new(&file);
        for path in [&*file, device.path()] {
            let mut queue = queue(&open(path, Access::Write), &pool, 1, engine);
            for window in 0..8 {
                let mut buffer = pool.take();
                buffer.fill(1);
                queue.write(window, Arc::new(buffer), &[whole(window * MIB)]).unwrap();
            }
            let failed: Vec<_> =
                results(&mut queue).into_iter().filter_map(|(_, result)| result.err()).collect();
            // Three windows fit and half of one. That half is told as a whole by the loop driver now and then: it takes a short
            // write for a good one (drivers/block/loop.c, lo_complete_rq). Reading back is for such drives.
            let least = if path == file { 5 } else { 4 };
            assert!(failed.len() >= least, "only {failed:?}");
            for error in failed {
                let DiskError::Io { action: Action::Write, offset, bytes, source, .. } = &error else {
                    panic!("{error}")
                };
                // The loop driver says EIO for what its file says.
                assert!(matches!(source.raw_os_error(), Some(28 | 5)), "{error}: {source}");
                assert!((offset + bytes).is_multiple_of(MIB));
            }
            drop(queue);
            assert_eq!(pool.free(), 8);
        }
    }
}

#[test]
fn a_disk_that_goes_away_hangs_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    for engine in ENGINES {
        sparse(&file, 16 * MIB);
        let device = direct(&file, 512);
        let pool = Pool::new(8);
        let mut queue = queue(&open(device.path(), Access::Write), &pool, 4, engine);
        let mut done = 0;
        for round in 0..20_u64 {
            if round == 5 {
                // Takes effect when the last one closes it; before that the file shrinks to nothing.
                _ = Command::new("losetup").arg("--detach").arg(device.path()).output().unwrap();
                sparse(&file, 0);
            }
            for window in 0..8 {
                let run = whole((round % 2 * 8 + window) * MIB);
                queue.read(window, pool.take(), &[run]).unwrap();
            }
            done += results(&mut queue).len();
        }
        assert_eq!(done, 160);
        drop(queue);
        assert_eq!(pool.free(), 8);
    }
}

#[test]
fn dropping_a_queue_waits_for_what_is_in_flight() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    std::fs::write(&file, vec![0xaa; 16 * MIB as usize]).unwrap();
    let device = direct(&file, 512);
    let disk = open(device.path(), Access::Write);
    for engine in ENGINES {
        let pool = Pool::new(16);
        for depth in [1, 4, 32] {
            let mut queue = queue(&disk, &pool, depth, engine);
            for window in 0..16 {
                queue.read(window, pool.take(), &[whole(window * MIB)]).unwrap();
            }
            drop(queue);
            assert_eq!(pool.free(), 16);
            // Nobody writes into them any more.
            let mut buffers: Vec<_> = (0..16).map(|_| pool.take()).collect();
            buffers.iter_mut().for_each(|buffer| buffer.fill(0x55));
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(buffers.iter().all(|buffer| buffer.iter().all(|byte| *byte == 0x55)));
        }
    }
}

#[test]
fn cancelled_requests_end_and_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    sparse(&file, 16 * MIB);
    let device = direct(&file, 512);
    let disk = open(device.path(), Access::Write);
    for engine in ENGINES {
        let pool = Pool::new(32);
        let mut queue = queue(&disk, &pool, 1, engine);
        for window in 0..32 {
            queue.read(window, pool.take(), &[whole(window % 16 * MIB)]).unwrap();
        }
        queue.cancel();
        let said = results(&mut queue);
        assert_eq!((said.len(), queue.pending(), pool.free()), (32, 0, 32));
        let is_cancelled = |result: &Result<(), DiskError>| match result {
            Err(DiskError::Cancelled { action: Action::Read, .. }) => true,
            Err(other) => panic!("{other}"),
            Ok(()) => false,
        };
        assert!(is_cancelled(&said[31].1), "{engine:?}");
        // It works on.
        queue.read(1, pool.take(), &[whole(0)]).unwrap();
        assert!(matches!(results(&mut queue)[..], [(1, Ok(()))]));
    }
}

#[test]
fn a_queue_may_go_to_another_thread() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    sparse(&file, 4 * MIB);
    let pool = Pool::new(4);
    for engine in [Engine::Uring, Engine::Threads] {
        let mut queue = queue(&open(&file, Access::Read), &pool, 4, engine);
        for window in 0..4 {
            queue.read(window, pool.take(), &[whole(window * MIB)]).unwrap();
        }
        let ends = std::thread::scope(|scope| scope.spawn(move || results(&mut queue).len()).join());
        assert_eq!(ends.unwrap(), 4);
    }
}

/// Answers `io_uring_setup` with an error and becomes another program.
const WITHOUT_URING: &str = "
import ctypes, os, struct, sys
filters = [(0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x50000 | int(sys.argv[1])), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *one) for one in filters))
class Program(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('code', ctypes.c_void_p)]
program = Program(len(filters), ctypes.cast(code, ctypes.c_void_p))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0
os.execv(sys.argv[2], sys.argv[2:])
";

#[test]
fn threads_do_the_work_where_io_uring_is_forbidden_or_unknown() {
    let own = std::env::current_exe().unwrap();
    for errno in ["1", "38"] {
        let test = "disk::failures::without_io_uring";
        let arguments =
            ["-c", WITHOUT_URING, errno, own.to_str().unwrap(), "--exact", test, "--ignored", "--nocapture"];
        let said = run("python3", &arguments);
        assert!(said.contains(&format!("fell back for errno {errno}\n")), "{said}");
    }
}

#[test]
#[ignore = "`cargo test -p pack threads_do_the_work` runs it, under a seccomp filter"]
fn without_io_uring() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    sparse(&file, MIB);
    let pool = Pool::new(1);
    let mut queue = Queue::new(&open(&file, Access::Read), &pool, 4, Engine::Uring).unwrap();
    assert_eq!(queue.engine(), Engine::Threads);
    queue.read(1, pool.take(), &[whole(0)]).unwrap();
    assert!(matches!(results(&mut queue)[..], [(1, Ok(()))]));
    println!("\nfell back for errno {}", queue.fallback().unwrap().raw_os_error().unwrap());
}
