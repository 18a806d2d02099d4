//! The compressions. Each thread keeps its zstd contexts: making one for every window would cost more than a small window.

use std::cell::RefCell;
use std::io;

use zstd::bulk::{Compressor, Decompressor};

thread_local! {
    static COMPRESSOR: RefCell<Option<(i32, Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

pub(crate) fn zstd(data: &[u8], level: i32) -> io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|kept| {
        let fresh = kept.take_if(|(of, _)| *of != level).is_some() || kept.is_none();
        if fresh {
            *kept = Some((level, Compressor::new(level)?));
        }
        match kept {
            Some((_, compressor)) => compressor.compress(data),
            None => Err(io::ErrorKind::OutOfMemory.into()),
        }
    })
}

/// Gives the number of bytes that came out; more than `out` holds is an error.
pub(crate) fn unzstd(stored: &[u8], out: &mut [u8]) -> io::Result<usize> {
    DECOMPRESSOR.with_borrow_mut(|kept| {
        if kept.is_none() {
            *kept = Some(Decompressor::new()?);
        }
        match kept {
            Some(decompressor) => decompressor.decompress_to_buffer(stored, out),
            None => Err(io::ErrorKind::OutOfMemory.into()),
        }
    })
}

pub(crate) fn lz4(data: &[u8]) -> Vec<u8> {
    lz4_flex::block::compress(data)
}

/// As [`unzstd`].
pub(crate) fn unlz4(stored: &[u8], out: &mut [u8]) -> io::Result<usize> {
    lz4_flex::block::decompress_into(stored, out).map_err(io::Error::other)
}
