//! What can go wrong with a disk, and where.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// What was being done to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Bytes were read.
    Read,
    /// Bytes were written.
    Write,
    /// A stretch was made to read as zeros.
    Zero,
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Action::Read => "reading",
            Action::Write => "writing",
            Action::Zero => "zeroing",
        })
    }
}

/// Why something was not done to a disk. Offsets and lengths in bytes; the source of an error is the kernel's `errno`.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum DiskError {
    #[error("opening {path}")]
    Open { path: PathBuf, source: io::Error },
    #[error("opening {path}: neither a block device nor a file")]
    Kind { path: PathBuf },
    /// `offset` is where the transfer stopped: what lies before it in the same run has been transferred.
    #[error("{action} {bytes} bytes at {offset} of {path}")]
    Io { action: Action, path: PathBuf, offset: u64, bytes: u64, source: io::Error },
    #[error("flushing {path}")]
    Flush { path: PathBuf, source: io::Error },
    #[error("{action} {bytes} bytes at {offset} of {path}: not multiples of {align}, or none")]
    Unaligned { action: Action, path: PathBuf, offset: u64, bytes: u64, align: u32 },
    #[error("{action} {bytes} bytes, from {place} of the buffer: not a multiple of {align}")]
    BufferUnaligned { action: Action, bytes: u64, place: u64, align: u32 },
    #[error("{action} {bytes} bytes at {offset} of {path}: it has {end} bytes")]
    Beyond { action: Action, path: PathBuf, offset: u64, bytes: u64, end: u64 },
    #[error("{action} {bytes} bytes, from {place} of the buffer: it has {end} bytes")]
    Buffer { action: Action, bytes: u64, place: u64, end: u64 },
    #[error("{action} {path}: it is open for reading only")]
    ReadOnly { action: Action, path: PathBuf },
    #[error("{action} {path}: cancelled")]
    Cancelled { action: Action, path: PathBuf },
    #[error("starting or running the queue of {path}")]
    Queue { path: PathBuf, source: io::Error },
}
