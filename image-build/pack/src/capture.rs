//! From a disk to packed windows, on all cores.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::disk::Pool;
use crate::{BlockMap, ChunkError, Compression, Extents, Packed, Source, WINDOW, pack_window};

/// Used ranges of one window with less than this between them are read as one.
const GAP: u64 = 64 << 10;
/// More threads than this are not started.
const THREADS_MAX: usize = 1024;

/// What to pack of a disk, and how.
#[derive(Clone, Copy)]
pub struct Capture<'a> {
    /// The disk. Nobody may write to it meanwhile.
    pub source: &'a dyn Source,
    /// Which of its bytes are used. What is outside is free.
    pub used: &'a Extents,
    /// What to compress with.
    pub compression: Compression,
    /// How many threads read, scan and compress.
    pub threads: usize,
}

/// Why a capture ended early.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError<E: std::error::Error + 'static> {
    /// The disk could not be read.
    #[error("reading the disk at byte {offset}")]
    Read {
        /// First byte of the stretch that failed.
        offset: u64,
        /// What the device said.
        source: io::Error,
    },
    /// A window could not be packed.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// A thread died, which is a bug.
    #[error("a thread that packs windows died")]
    Died,
    /// The taker of the windows failed.
    #[error(transparent)]
    Sink(E),
}

impl std::fmt::Debug for Capture<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Capture({} bytes, {} used)", self.source.bytes(), self.used.bytes())
    }
}

impl Capture<'_> {
    /// Packs every window of which something is used and hands them to `sink`, ascending, on the caller's thread. Holds at
    /// most four windows for each thread.
    ///
    /// # Errors
    /// The first failure, in the order of the disk; nothing is handed on after it.
    pub fn run<E: std::error::Error + Send + 'static>(
        &self,
        mut sink: impl FnMut(Packed) -> Result<(), E>,
    ) -> Result<(), CaptureError<E>> {
        let windows = self.windows();
        let threads = self.threads.clamp(1, THREADS_MAX);
        // A disk reads into these without another copy.
        let pool = Pool::new(u16::try_from(threads).unwrap_or(u16::MAX));
        let desk = Desk::new(threads.saturating_mul(4));
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| self.work(&windows, &desk, &pool));
            }
            // Also when the sink panics: the threads must see that nobody waits for them.
            let _closing = Closing(&desk);
            for turn in 0..windows.len() {
                match desk.take(turn) {
                    Some(Ok(packed)) => sink(packed).map_err(CaptureError::Sink)?,
                    Some(Err(Failure::Read(offset, source))) => {
                        return Err(CaptureError::Read { offset, source });
                    }
                    Some(Err(Failure::Chunk(error))) => return Err(CaptureError::Chunk(error)),
                    None => return Err(CaptureError::Died),
                }
            }
            Ok(())
        })
    }

    /// The windows of which something is used, ascending.
    fn windows(&self) -> Vec<u64> {
        let window = u64::from(WINDOW);
        let mut windows = Vec::new();
        for range in self.used.within(0..self.source.bytes()) {
            let first = windows.last().map_or(0, |last| last + 1).max(range.start / window);
            windows.extend(first..range.end.div_ceil(window));
        }
        windows
    }

    fn work(&self, windows: &[u64], desk: &Desk, pool: &Pool) {
        let mut raw = pool.take();
        let watched = Closing(desk);
        while let Some(turn) = desk.next() {
            let Some(window) = windows.get(turn) else { break };
            let packed = self.pack(*window, &mut raw);
            desk.put(turn, packed);
        }
        // Only a panic closes the desk from here.
        std::mem::forget(watched);
    }

    fn pack(&self, window: u64, raw: &mut [u8]) -> Result<Packed, Failure> {
        let offset = window.saturating_mul(u64::from(WINDOW));
        let bytes = usize::try_from(self.source.bytes().saturating_sub(offset)).unwrap_or(usize::MAX);
        let raw = raw.get_mut(..bytes.min(WINDOW as usize)).unwrap_or_default();
        let number = u32::try_from(window).unwrap_or(u32::MAX);
        for range in self.reads(offset..offset.saturating_add(raw.len() as u64)) {
            let at = |place: u64| usize::try_from(place - offset).unwrap_or(usize::MAX);
            let part = raw.get_mut(at(range.start)..at(range.end)).unwrap_or_default();
            self.source.read_at(range.start, part).map_err(|error| Failure::Read(range.start, error))?;
        }
        self.blank(raw, offset);
        let map = BlockMap::scan(raw, offset, self.used);
        pack_window(number, raw, map, self.compression).map_err(Failure::Chunk)
    }

    /// Zeros where nothing is used. A file system whose blocks are smaller than ours has free ones in a block that is used in part,
    /// and what was deleted there is nobody's business.
    fn blank(&self, raw: &mut [u8], offset: u64) {
        let end = offset.saturating_add(raw.len() as u64);
        let place = |at: u64| usize::try_from(at - offset).unwrap_or(usize::MAX);
        let mut next = offset;
        for range in self.used.within(offset..end).chain(std::iter::once(end..end)) {
            raw.get_mut(place(next)..place(range.start)).unwrap_or_default().fill(0);
            next = range.end;
        }
    }

    /// What to read of a window: what is used, to whole blocks, with small gaps.
    fn reads(&self, window: Range<u64>) -> Vec<Range<u64>> {
        let block = u64::from(crate::BLOCK);
        let mut reads: Vec<Range<u64>> = Vec::new();
        for range in self.used.within(window.clone()) {
            let range = range.start / block * block..range.end.next_multiple_of(block).min(window.end);
            match reads.last_mut() {
                Some(last) if range.start <= last.end.saturating_add(GAP) => {
                    last.end = last.end.max(range.end)
                }
                Some(_) | None => reads.push(range),
            }
        }
        reads
    }
}

enum Failure {
    Read(u64, io::Error),
    Chunk(ChunkError),
}

/// Where threads leave what they have packed, and the caller takes it in order.
struct Desk {
    /// Turns given out.
    given: AtomicU64,
    closed: AtomicBool,
    /// How far ahead of the caller the threads may be.
    ahead: usize,
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    ready: BTreeMap<usize, Result<Packed, Failure>>,
    /// Turns the caller has taken.
    taken: usize,
}

/// Closes the desk when it is dropped: nobody waits for anybody any more.
struct Closing<'a>(&'a Desk);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::Release);
        let _state = self.0.state();
        self.0.moved.notify_all();
    }
}

impl Desk {
    fn new(ahead: usize) -> Desk {
        let (given, closed) = (AtomicU64::new(0), AtomicBool::new(false));
        Desk { given, closed, ahead, state: Mutex::default(), moved: Condvar::new() }
    }

    /// A poisoned lock guards a queue that is whole between any two statements.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next turn to work on, as soon as it is not too far ahead; none when nobody waits any more.
    fn next(&self) -> Option<usize> {
        let turn = usize::try_from(self.given.fetch_add(1, Ordering::Relaxed)).ok()?;
        let mut state = self.state();
        while turn >= state.taken.saturating_add(self.ahead) && !self.closed.load(Ordering::Acquire) {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        (!self.closed.load(Ordering::Acquire)).then_some(turn)
    }

    fn put(&self, turn: usize, packed: Result<Packed, Failure>) {
        self.state().ready.insert(turn, packed);
        self.moved.notify_all();
    }

    fn take(&self, turn: usize) -> Option<Result<Packed, Failure>> {
        let mut state = self.state();
        loop {
            if let Some(packed) = state.ready.remove(&turn) {
                state.taken = turn + 1;
                self.moved.notify_all();
                return Some(packed);
            }
            if self.closed.load(Ordering::Acquire) {
                return None;
            }
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Block, Codec};

    /// Fails where it is told to.
    struct Bad<'a>(&'a [u8], u64);

    impl Source for Bad<'_> {
        fn bytes(&self) -> u64 {
            self.0.bytes()
        }

        fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            let is_bad = (offset..offset + out.len() as u64).contains(&self.1);
            if is_bad { Err(io::Error::other("broken")) } else { self.0.read_at(offset, out) }
        }
    }

    fn disk() -> Vec<u8> {
        let mut disk = vec![0; 40 << 20];
        disk.chunks_mut(4096).enumerate().for_each(|(n, block)| block.fill(u8::try_from(n % 251).unwrap()));
        disk
    }

    fn windows(
        source: &dyn Source,
        used: &Extents,
        threads: usize,
    ) -> Result<Vec<Packed>, CaptureError<io::Error>> {
        let mut packed = Vec::new();
        let compression = Compression::Zstd(1);
        let capture = Capture { source, used, compression, threads };
        capture.run(|window| {
            packed.push(window);
            Ok(())
        })?;
        Ok(packed)
    }

    #[test]
    fn the_used_windows_come_in_order_whatever_the_number_of_threads() {
        let disk = disk();
        let mib = 1 << 20;
        let used = [0..100, 5 * mib - 1..5 * mib + 1, 9 * mib..30 * mib, 40 * mib - 1..50 * mib];
        let used = used.into_iter().collect::<Extents>();
        let one = windows(&disk, &used, 1).unwrap();
        let numbers = one.iter().map(|packed| packed.window).collect::<Vec<_>>();
        assert_eq!(numbers, [vec![0, 4, 5], (9..30).collect(), vec![39]].concat());
        assert_eq!(one[0].codec, Codec::Zero, "its one used block is zeros");
        assert_eq!(one[1].map.runs(WINDOW).last(), Some((Block::Data, 1_044_480..1_048_576)));
        for threads in [2, 7] {
            assert_eq!(windows(&disk, &used, threads).unwrap(), one);
        }
        assert_eq!(windows(&disk, &Extents::new(), 2).unwrap(), []);
    }

    /// As on a file system with blocks of 1 KiB.
    #[test]
    fn what_is_free_in_a_block_that_is_used_in_part_is_zeros() {
        let disk = vec![7; 2 << 20];
        let used = [1024..3072, 8192..8193].into_iter().collect::<Extents>();
        for packed in windows(&disk, &used, 2).unwrap() {
            let mut raw = vec![9; 1 << 20];
            let bytes = crate::codec::unzstd(&packed.stored, &mut raw).unwrap();
            assert_eq!(bytes, 8192, "two blocks have data");
            packed.map.scatter(&mut raw);
            let sevens = raw.iter().enumerate().filter(|(_, byte)| **byte == 7).map(|(at, _)| at);
            assert_eq!(sevens.collect::<Vec<_>>(), (1024..3072).chain([8192]).collect::<Vec<_>>());
        }
    }

    #[test]
    fn it_ends_at_the_first_failure_and_free_space_is_never_read() {
        let disk = disk();
        let bad = Bad(&disk, 20 << 20);
        let all = Extents::all(disk.bytes());
        let told = windows(&bad, &all, 3).unwrap_err();
        assert!(matches!(told, CaptureError::Read { offset: 20_971_520, .. }), "{told}");
        let mut around = all.clone();
        around.remove((20 << 20) - 65536..(20 << 20) + 65536);
        assert_eq!(windows(&bad, &around, 3).unwrap().len(), 40);
        let capture = Capture { source: &disk, used: &all, compression: Compression::Lz4, threads: 2 };
        let mut count = 0;
        let told = capture.run(|_| {
            count += 1;
            if count == 3 { Err(io::Error::other("full")) } else { Ok(()) }
        });
        assert!(matches!(told, Err(CaptureError::Sink(_))) && count == 3);
    }

    #[test]
    fn a_thread_that_dies_is_an_error_and_no_hang() {
        struct Deadly;
        impl Source for Deadly {
            fn bytes(&self) -> u64 {
                8 << 20
            }
            fn read_at(&self, offset: u64, _: &mut [u8]) -> io::Result<()> {
                assert!(offset < 4 << 20, "dies here");
                Ok(())
            }
        }
        let died = std::panic::catch_unwind(|| windows(&Deadly, &Extents::all(8 << 20), 2));
        assert!(died.is_err() || died.is_ok_and(|told| matches!(told, Err(CaptureError::Died))));
    }
}
