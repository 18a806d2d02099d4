//! Compressed files as streams, and a stream into a sparse file. Nobody knows how long a stream is before its end: each has a
//! limit of bytes that may come out, and its decoder one of memory.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;
use pack::is_zero;

/// The largest window of a decoder, as a power of two: 32 MiB. `xz -8` and `zstd -19` need no more.
const WINDOW_LOG: u32 = 25;
/// What the decoder of xz may take, in KiB: that window, and what comes with it.
const XZ_KIB: u32 = (1 << (WINDOW_LOG - 10)) + 1024;
/// Bytes that are taken out of a stream at once.
const BLOCK: usize = 1 << 20;
/// The hole that is left for zeros has a multiple of this many bytes.
const HOLE: usize = 64 << 10;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// The .xz format.
    Xz,
    /// RFC 8878.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::Gzip => "gzip",
            Compression::Xz => "xz",
            Compression::Zstd => "zstd",
        })
    }
}

impl Compression {
    /// What a file is compressed with, by its first bytes.
    #[must_use]
    pub fn of(head: &[u8]) -> Option<Compression> {
        let marks: [(&[u8], Compression); 3] = [
            (b"\x1f\x8b\x08", Compression::Gzip),
            (b"\xfd7zXZ\0", Compression::Xz),
            (b"\x28\xb5\x2f\xfd", Compression::Zstd),
        ];
        marks.into_iter().find(|(mark, _)| head.starts_with(mark)).map(|(_, compression)| compression)
    }

    /// What comes out of a file that is compressed so. Reading it fails when the file is broken or cut off, when a checksum
    /// in it is wrong, or when more than about 34 MiB of memory would be needed.
    ///
    /// # Errors
    /// When no decoder can be had.
    pub fn open(self, file: File) -> io::Result<Box<dyn Read>> {
        let file = BufReader::with_capacity(256 << 10, file);
        Ok(match self {
            Compression::Gzip => Box::new(MultiGzDecoder::new(file)),
            Compression::Xz => Box::new(XzReader::new_mem_limit(file, true, XZ_KIB)),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(file)?;
                decoder.window_log_max(WINDOW_LOG)?;
                Box::new(decoder)
            }
        })
    }
}

/// Reads up to so many bytes: fewer only when the stream is over.
///
/// # Errors
/// What the stream says.
pub fn head(stream: &mut dyn Read, bytes: usize) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    stream.take(bytes as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// How a stream went into a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spooled {
    /// All of it, so many bytes.
    Whole(u64),
    /// It has more bytes than were allowed; not one more of them was written.
    TooLong,
}

/// Writes a stream into an empty file, leaving holes for zeros. `still` hears from time to time how far it is.
///
/// # Errors
/// What the stream or the file says, told apart by the first of the pair.
pub fn spool(
    stream: &mut dyn Read,
    to: &File,
    most: u64,
    mut still: impl FnMut(u64),
) -> Result<Spooled, SpoolError> {
    let (mut block, mut at) = (vec![0; BLOCK], 0_u64);
    loop {
        let bytes = fill(stream, &mut block).map_err(SpoolError::Stream)?;
        if at + bytes as u64 > most {
            return Ok(Spooled::TooLong);
        }
        let read = block.get(..bytes).unwrap_or_default();
        write_with_holes(to, at, read).map_err(SpoolError::File)?;
        at += bytes as u64;
        if bytes < BLOCK {
            to.set_len(at).map_err(SpoolError::File)?;
            return Ok(Spooled::Whole(at));
        }
        still(at);
    }
}

/// Which side failed.
#[derive(Debug)]
pub enum SpoolError {
    /// The stream.
    Stream(io::Error),
    /// The file.
    File(io::Error),
}

/// Fills a block; gives how much was there.
fn fill(stream: &mut dyn Read, block: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match stream.read(rest) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes bytes at a place where the file has a hole, and leaves it where they are zeros.
fn write_with_holes(to: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let parts = (offset..).step_by(HOLE).zip(bytes.chunks(HOLE));
    let mut data = parts.filter(|(_, part)| !is_zero(part));
    data.try_for_each(|(at, part)| to.write_all_at(part, at))
}
