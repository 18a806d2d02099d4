//! What `cargo xtask bench pack` needs beside the programs that it measures: what the machine allows, a disk that has
//! changed, and the proof of what is on a disk.
//!
//! ```text
//! packlab write DISK BYTES             writes so many bytes as the agent does, and flushes
//! packlab inflate IMAGE                one decoder for each core over the image's own chunks, from memory
//! packlab dirty IMAGE DISK NTH         changes one block in every NTH chunk with data
//! packlab check IMAGE DISK [FROM END]  compares the disk, or the chunks between two bytes of it, with the image
//! ```
//! Prints words and numbers, one pair on each line.

use std::error::Error;
use std::fs::File;
use std::num::NonZero;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pack::disk::{Access, Disk, Engine, Pool, Queue, Run};
use pack::{BLOCK, Block, Chunk, Codec, Header, Manifest, Parsed, WINDOW};

type Done<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How many writes are under way at once, as in the agent.
const DEPTH: u16 = 16;
/// As often as the agent flushes.
const FLUSH: Duration = Duration::from_secs(1);

fn main() -> Done<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["write", disk, bytes] => write(Path::new(disk), bytes.parse()?),
        ["inflate", image] => inflate(Path::new(image)),
        ["dirty", image, disk, nth] => dirty(Path::new(image), Path::new(disk), nth.parse()?),
        ["check", image, disk] => check(Path::new(image), Path::new(disk), 0, u64::MAX),
        ["check", image, disk, from, end] => {
            check(Path::new(image), Path::new(disk), from.parse()?, end.parse()?)
        }
        _ => Err("packlab: see its source".into()),
    }
}

/// An image file without the trust: this is a bench, and the file its own.
struct Image {
    file: File,
    manifest: Manifest,
    data_begin: u64,
}

impl Image {
    fn open(path: &Path) -> Done<Image> {
        let file = File::open(path)?;
        let mut head = Vec::new();
        loop {
            match Header::parse(&head)? {
                Parsed::Needs(bytes) => {
                    head = vec![0; bytes];
                    file.read_exact_at(&mut head, 0)?;
                }
                Parsed::Whole(header) => {
                    let (_, manifest) = header.signed.verify(&[header.signed.key])?;
                    return Ok(Image { file, manifest, data_begin: header.data_begin() });
                }
            }
        }
    }

    fn stored(&self, chunk: &Chunk) -> Done<Vec<u8>> {
        let mut stored = vec![0; chunk.stored as usize];
        self.file.read_exact_at(&mut stored, self.data_begin + chunk.offset)?;
        Ok(stored)
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

fn write(path: &Path, bytes: u64) -> Done<()> {
    let disk = Arc::new(Disk::open(path, Access::Write)?);
    let pool = Pool::new(2 * DEPTH);
    let mut queue = Queue::<()>::new(&disk, &pool, DEPTH, Engine::Uring)?;
    let begun = Instant::now();
    let mut flushed = begun;
    for at in (0..bytes.min(disk.bytes())).step_by(WINDOW as usize) {
        while queue.pending() >= DEPTH.into() {
            queue.wait().map_or(Ok(()), |done| done.result)?;
        }
        let run = Run { disk: at, buffer: 0, bytes: WINDOW };
        queue.write((), Arc::new(pool.take()), &[run])?;
        if flushed.elapsed() > FLUSH {
            drain(&mut queue)?;
            disk.flush()?;
            flushed = Instant::now();
        }
    }
    drain(&mut queue)?;
    disk.flush()?;
    println!("seconds {}", begun.elapsed().as_secs_f64());
    Ok(())
}

fn drain(queue: &mut Queue<()>) -> Done<()> {
    while let Some(done) = queue.wait() {
        done.result?;
    }
    Ok(())
}

/// As many chunks as fit into this are inflated, taken evenly from the whole image.
const SAMPLE: u64 = 512 << 20;

fn inflate(path: &Path) -> Done<()> {
    let image = Image::open(path)?;
    let chunks: Vec<&Chunk> = image.manifest.chunks().iter().filter(|chunk| chunk.stored > 0).collect();
    let step = usize::try_from(image.manifest.data_bytes() / SAMPLE + 1)?;
    let sample: Vec<(&Chunk, Vec<u8>)> = chunks
        .into_iter()
        .step_by(step)
        .map(|chunk| Ok((chunk, image.stored(chunk)?)))
        .collect::<Done<_>>()?;
    let next = AtomicUsize::new(0);
    let begun = Instant::now();
    thread::scope(|scope| {
        let work = || -> Done<()> {
            let mut decoder = zstd::bulk::Decompressor::new()?;
            let mut out = vec![0; WINDOW as usize];
            while let Some((chunk, stored)) = sample.get(next.fetch_add(1, Ordering::Relaxed)) {
                match chunk.codec {
                    Codec::Zstd => drop(decoder.decompress_to_buffer(stored.as_slice(), out.as_mut_slice())?),
                    Codec::Raw | Codec::Lz4 | Codec::Zero => {
                        out.iter_mut().zip(stored).for_each(|(to, from)| *to = *from)
                    }
                }
            }
            Ok(())
        };
        let threads: Vec<_> = (0..cores()).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a decoder died".into())))
    })?;
    let raw: u64 = sample.iter().map(|(chunk, _)| u64::from(chunk.map.data_bytes(chunk.bytes))).sum();
    println!("seconds {}\nbytes {raw}", begun.elapsed().as_secs_f64());
    Ok(())
}

fn dirty(image: &Path, disk: &Path, nth: usize) -> Done<()> {
    let image = Image::open(image)?;
    let file = File::options().write(true).open(disk)?;
    let (mut chunks, mut stored, mut bytes) = (0, 0, 0);
    let with_data = image.manifest.chunks().iter().filter(|chunk| chunk.codec != Codec::Zero);
    for chunk in with_data.skip(nth / 2).step_by(nth) {
        let run = chunk.map.runs(chunk.bytes).find(|(kind, _)| *kind == Block::Data);
        let Some((_, range)) = run else { continue };
        file.write_all_at(&[0xa5; BLOCK as usize], chunk.disk_offset() + range.start as u64)?;
        chunks += 1;
        stored += u64::from(chunk.stored);
        bytes += u64::from(chunk.used_bytes());
    }
    file.sync_all()?;
    println!("chunks {chunks}\nstored {stored}\nused {bytes}");
    Ok(())
}

fn check(image: &Path, disk: &Path, from: u64, end: u64) -> Done<()> {
    let image = Image::open(image)?;
    let disk = Disk::open(disk, Access::Read)?;
    let chunks = image.manifest.chunks();
    let (next, compared) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || -> Done<()> {
        while let Some(chunk) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (begin, bytes) = (chunk.disk_offset(), chunk.bytes as usize);
            if begin < from || begin + bytes as u64 > end {
                continue;
            }
            if !chunk.matches(&pack::source::read(&disk, begin, bytes)?) {
                return Err(format!("window {} is not what the image says", chunk.window).into());
            }
            compared.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cores()).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a thread died".into())))
    })?;
    println!("chunks {}", compared.into_inner());
    Ok(())
}
