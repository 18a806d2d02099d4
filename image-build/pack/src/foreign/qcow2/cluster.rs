//! Compressed clusters.

use std::io;

use flate2::{Decompress, FlushDecompress};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe::DParameter;

use super::header::Compression;

/// The largest window of a zstd frame that is taken, as a power of two: 8 MiB. A cluster has 2 MiB at most.
const WINDOW_LOG: u32 = 23;

/// Fills `out`, a whole cluster, from compressed bytes. There may be more of these than it takes: their end is known to
/// the sector only.
pub(super) fn inflate(compression: Compression, stored: &[u8], out: &mut [u8]) -> io::Result<()> {
    let bytes = match compression {
        Compression::Deflate => deflate(stored, out)?,
        Compression::Zstd => zstd(stored, out)?,
    };
    if bytes != out.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{bytes} bytes came out")));
    }
    Ok(())
}

fn deflate(stored: &[u8], out: &mut [u8]) -> io::Result<usize> {
    let mut state = Decompress::new(false);
    // With the output full, it does not matter whether the stream says that it is over.
    state.decompress(stored, out, FlushDecompress::Finish)?;
    Ok(usize::try_from(state.total_out()).unwrap_or(usize::MAX))
}

fn zstd(stored: &[u8], out: &mut [u8]) -> io::Result<usize> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
    let most = out.len();
    let (mut input, mut output) = (InBuffer::around(stored), OutBuffer::around(out));
    loop {
        let before = (input.pos, output.pos());
        decoder.run(&mut input, &mut output)?;
        if output.pos() == most || (input.pos, output.pos()) == before {
            return Ok(output.pos());
        }
    }
}
