//! How far a job is, and how it ended.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a receiver is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Reading what is on the disk, to see whether it is the image already, in part or not at all. Nothing is written.
    Scan,
    /// Making the disk unbootable; then, when nothing on it is of use, telling the drive so.
    Disarm,
    /// Comparing, fetching and writing all windows but the first and the last.
    Body,
    /// Making them durable.
    Flush,
    /// Reading them back.
    ReadBack,
    /// Writing the node's seed.
    Seed,
    /// Writing the last window and then the first: from here on the disk boots.
    Tables,
    /// Making the disk unbootable again, because its first window did not come out right.
    Undo,
    /// The disk is the image.
    Done,
    /// The job failed.
    Failed,
}

/// How far a job is. Counters are of this receiver's life; `done` and `verified` may go back when a window has to
/// be written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// What it is busy with.
    pub phase: Phase,
    /// Bytes of disk the image has data for.
    pub bytes_total: u64,
    /// Bytes of disk that were right already or have been written.
    pub bytes_done: u64,
    /// Bytes of disk read and found right: by the compare, or back after they were written.
    pub bytes_verified: u64,
    /// Bytes of disk that no power cut takes any more: right already, or written and flushed.
    pub bytes_durable: u64,
    /// The counters that will be in the receipt.
    pub receipt: Receipt,
}

/// What a job did. Every window of a finished job counts once, as skipped or as written: the bytes of both together
/// are the image's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Bytes of disk that were right already.
    pub bytes_skipped: u64,
    /// Stored bytes that arrived.
    pub bytes_fetched: u64,
    /// Bytes of disk written, each once, however often it took.
    pub bytes_written: u64,
    /// Windows that were right already.
    pub pieces_skipped: u64,
    /// Windows written, each once.
    pub pieces_written: u64,
    /// Pieces tried again, for whatever cause.
    pub retries: u64,
    /// Fetches the source failed.
    pub source_failures: u64,
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// What it was busy with.
    pub phase: Phase,
    /// The window that could not be had or written, when it was one.
    pub piece: Option<u32>,
    /// The last cause, for people.
    pub cause: String,
    /// What the disk is now.
    pub left: Left,
}

/// What a job that failed leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Left {
    /// The disk that was there: it is the image already.
    Whole,
    /// A disk that does not boot.
    Unbootable,
    /// Nobody knows: making it unbootable failed.
    Unknown,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.piece {
            Some(id) => write!(f, "writing window {id}: {}", self.cause),
            None => f.write_str(&self.cause),
        }
    }
}

impl std::error::Error for Failure {}

/// Whether a job has ended, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has not.
    Working,
    /// The disk is the image: written, flushed, read back.
    Done(Receipt),
    /// It gave up.
    Failed(Failure),
}
