//! What `cargo xtask bench pack` needs beside the programs that it measures: what the machine allows, a disk that has
//! changed, and the proof of what is on a disk.
//!
//! ```text
//! packlab write DISK BYTES             writes so many bytes as the agent does, and flushes
//! packlab read DISK BYTES              reads so many as the agent does
//! packlab inflate IMAGE                one decoder for each core over the image's own chunks, from memory
//! packlab unpack IMAGE                 as inflate, with all that a restore can't leave out: the stored bytes are read and
//!                                      hashed, the content is hashed before it is written
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
use pack::{BLOCK, Block, Chunk, Codec, Digest, Header, Manifest, Parsed, WINDOW};
use zstd::bulk::Decompressor;

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
        ["read", disk, bytes] => read(Path::new(disk), bytes.parse()?),
        ["inflate", image] => inflate(Path::new(image)),
        ["unpack", image] => unpack(Path::new(image)),
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
    transfer(path, bytes, Access::Write)
}

fn read(path: &Path, bytes: u64) -> Done<()> {
    transfer(path, bytes, Access::Read)
}

fn transfer(path: &Path, bytes: u64, access: Access) -> Done<()> {
    let disk = Arc::new(Disk::open(path, access)?);
    let pool = Pool::new(2 * DEPTH);
    let mut queue = Queue::<()>::new(&disk, &pool, DEPTH, Engine::Uring)?;
    let (begun, spent) = (Instant::now(), processor()?);
    let mut flushed = begun;
    for at in (0..bytes.min(disk.bytes())).step_by(WINDOW as usize) {
        while queue.pending() >= DEPTH.into() {
            queue.wait().map_or(Ok(()), |done| done.result)?;
        }
        let run = Run { disk: at, buffer: 0, bytes: WINDOW };
        if access != Access::Write {
            queue.read((), pool.take(), &[run])?;
            continue;
        }
        queue.write((), Arc::new(pool.take()), &[run])?;
        if flushed.elapsed() > FLUSH {
            drain(&mut queue)?;
            disk.flush()?;
            flushed = Instant::now();
        }
    }
    drain(&mut queue)?;
    if access == Access::Write {
        disk.flush()?;
    }
    println!("seconds {}\nprocessor {}", begun.elapsed().as_secs_f64(), processor()? - spent);
    Ok(())
}

/// Seconds of processor that this process has had: fields 14 and 15 of proc_pid_stat(5), in hundredths.
fn processor() -> Done<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = stat.rsplit_once(") ").ok_or("a short stat")?;
    let times = rest.split_ascii_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(times.sum::<Result<f64, _>>()? / 100.0)
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
    let sample = sample(&image)?;
    let stored: Vec<Vec<u8>> = sample.iter().map(|chunk| image.stored(chunk)).collect::<Done<_>>()?;
    timed(&sample, |at, chunk, decoder, out| inflated(chunk, stored.get(at).ok_or("no chunk")?, decoder, out))
}

fn unpack(path: &Path) -> Done<()> {
    let image = Image::open(path)?;
    timed(&sample(&image)?, |_, chunk, decoder, out| {
        let stored = image.stored(chunk)?;
        chunk.check_stored(&stored)?;
        inflated(chunk, &stored, decoder, out)?;
        let content = out.get(..chunk.map.data_bytes(chunk.bytes) as usize).unwrap_or_default();
        if Digest::of(content) == chunk.digest { Ok(()) } else { Err("a chunk is not what it was".into()) }
    })
}

fn sample(image: &Image) -> Done<Vec<&Chunk>> {
    let step = usize::try_from(image.manifest.data_bytes() / SAMPLE + 1)?;
    Ok(image.manifest.chunks().iter().filter(|chunk| chunk.stored > 0).step_by(step).collect())
}

fn inflated(chunk: &Chunk, stored: &[u8], decoder: &mut Decompressor<'_>, out: &mut [u8]) -> Done<()> {
    match chunk.codec {
        Codec::Zstd => drop(decoder.decompress_to_buffer(stored, out)?),
        Codec::Raw | Codec::Lz4 | Codec::Zero => {
            out.get_mut(..stored.len()).ok_or("a chunk is too long")?.copy_from_slice(stored);
        }
    }
    Ok(())
}

/// Does something with each chunk, one thread on each core, and says how long that took and how much content it was.
fn timed(
    sample: &[&Chunk],
    one: impl Fn(usize, &Chunk, &mut Decompressor<'static>, &mut [u8]) -> Done<()> + Sync,
) -> Done<()> {
    let next = AtomicUsize::new(0);
    let (begun, spent) = (Instant::now(), processor()?);
    thread::scope(|scope| {
        let work = || -> Done<()> {
            let (mut decoder, mut out) = (Decompressor::new()?, vec![0; WINDOW as usize]);
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(chunk) = sample.get(at) else { return Ok(()) };
                one(at, chunk, &mut decoder, &mut out)?;
            }
        };
        let threads: Vec<_> = (0..cores()).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| Err("a decoder died".into())))
    })?;
    let (took, spent) = (begun.elapsed().as_secs_f64(), processor()? - spent);
    let raw: u64 = sample.iter().map(|chunk| u64::from(chunk.map.data_bytes(chunk.bytes))).sum();
    println!("seconds {took}\nprocessor {spent}\nbytes {raw}");
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
