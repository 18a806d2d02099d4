//! Random requests, many at a time, against bytes in memory.

use std::path::Path;
use std::sync::Arc;

use pack::WINDOW;
use pack::disk::{Access, Buffer, Engine, Pool, Run};
use pack::source::read;

use super::machine::{direct, sparse};
use super::{ENGINES, MIB, open, queue};
use crate::lab::{Dice, Mounted};

const WINDOWS: u64 = 12;
const ROUNDS: u64 = 15;

/// Parts of one window, placed in a buffer one behind the other but shifted.
fn runs(dice: &mut Dice, window: u64, align: u32) -> Vec<Run> {
    let blocks = u64::from(WINDOW / align.max(512));
    let block = align.max(512);
    let (mut at, mut place, mut out) = (dice.below(blocks), 0_u64, Vec::new());
    while at < blocks && out.len() < 8 {
        let count = 1 + dice.below((blocks - at).min(40));
        out.push(Run {
            disk: window * MIB + at * u64::from(block),
            buffer: u32::try_from(place).unwrap() * block,
            bytes: u32::try_from(count).unwrap() * block,
        });
        place += count;
        at += count + dice.below(20);
    }
    if dice.below(3) == 0 {
        out = vec![Run { disk: window * MIB, buffer: 0, bytes: WINDOW }];
    }
    out
}

fn span(run: Run) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
    let (disk, buffer, bytes) = (run.disk as usize, run.buffer as usize, run.bytes as usize);
    (disk..disk + bytes, buffer..buffer + bytes)
}

/// Every round reads or writes each window at most once, all at the same time.
fn exercise(path: &Path, engine: Engine, depth: u16, is_foreign: bool) {
    let mut dice = Dice(u64::from(depth));
    let pool = Pool::new(6);
    let registered = if is_foreign { Pool::new(2) } else { pool.clone() };
    let disk = open(path, Access::Write);
    let mut queue = queue::<(bool, Vec<Run>)>(&disk, &registered, depth, engine);
    let mut noise = vec![0; 2 * MIB as usize];
    dice.fill(&mut noise);
    let mut model = read(&*disk, 0, (WINDOWS * MIB) as usize).unwrap();
    for _ in 0..ROUNDS {
        let first = dice.below(WINDOWS);
        for step in 0..WINDOWS {
            let runs = runs(&mut dice, (first + 5 * step) % WINDOWS, disk.align());
            let mut buffer = loop {
                match pool.try_take() {
                    Some(buffer) => break buffer,
                    None => check(queue.wait().unwrap(), &model),
                }
            };
            let shift = dice.below(MIB) as usize;
            buffer.copy_from_slice(&noise[shift..shift + WINDOW as usize]);
            if dice.below(2) == 0 {
                queue.read((true, runs.clone()), buffer, &runs).unwrap();
            } else {
                for run in &runs {
                    let (there, here) = span(*run);
                    model[there].copy_from_slice(&buffer[here]);
                }
                queue.write((false, runs.clone()), Arc::new(buffer), &runs).unwrap();
            }
        }
        while let Some(done) = queue.wait() {
            check(done, &model);
        }
        assert_eq!((queue.pending(), pool.free()), (0, 6));
    }
    disk.flush().unwrap();
    assert!(read(&*disk, 0, model.len()).unwrap() == model, "the disk differs from the model");
}

fn check(done: pack::disk::Done<(bool, Vec<Run>)>, model: &[u8]) {
    done.result.unwrap();
    let (is_read, runs) = done.tag;
    assert_eq!(done.buffer.is_some(), is_read);
    let Some(buffer): Option<Buffer> = done.buffer else { return };
    for run in runs {
        let (there, here) = span(run);
        assert!(model[there] == buffer[here], "{run:?} holds something else");
    }
}

#[test]
fn a_file_is_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    sparse(&file, WINDOWS * MIB);
    for engine in ENGINES {
        exercise(&file, engine, 8, false);
    }
    let memory = Mounted::new(&dir.path().join("memory"), &["-t", "tmpfs", "-o", "size=32m", "none"]);
    let file = memory.root.join("disk");
    sparse(&file, WINDOWS * MIB);
    for engine in ENGINES {
        exercise(&file, engine, 3, false);
    }
}

#[test]
fn a_disk_is_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    sparse(&file, WINDOWS * MIB);
    for sector in [512, 4096] {
        let device = direct(&file, sector);
        for engine in ENGINES {
            for depth in [1, 2, 32] {
                exercise(device.path(), engine, depth, false);
            }
        }
        exercise(device.path(), Engine::Uring, 8, true);
    }
}

#[test]
fn one_buffer_goes_to_several_disks() {
    let dir = tempfile::tempdir().unwrap();
    let pool = Pool::new(4);
    let files: Vec<_> = (0..3).map(|number| dir.path().join(format!("disk{number}"))).collect();
    for engine in ENGINES {
        files.iter().for_each(|file| sparse(file, 4 * MIB));
        let mut queues: Vec<_> =
            files.iter().map(|file| queue::<()>(&open(file, Access::Write), &pool, 4, engine)).collect();
        for window in 0..4_u8 {
            let mut buffer = pool.take();
            buffer.fill(window + 1);
            let buffer = Arc::new(buffer);
            let run = super::whole(u64::from(window) * MIB);
            queues.iter_mut().for_each(|queue| queue.write((), Arc::clone(&buffer), &[run]).unwrap());
        }
        for queue in &mut queues {
            while let Some(done) = queue.wait() {
                done.result.unwrap();
            }
        }
        assert_eq!(pool.free(), 4);
        for file in &files {
            let bytes = std::fs::read(file).unwrap();
            let is_right = |(at, byte): (usize, &u8)| usize::from(*byte) == at / WINDOW as usize + 1;
            assert!(bytes.iter().enumerate().all(is_right));
        }
    }
}
