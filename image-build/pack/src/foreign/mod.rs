//! Disk images of other programs: what a file is, by its content, and the one format besides raw that is read, qcow2.
//!
//! A stranger made the file. A name in it is never opened: an image that is made of several files is refused. What no
//! reader is here for is refused by name, and so is a file whose content is not what was declared: a qcow2 file written
//! to a disk as if it were raw makes a server that does not boot, and a raw disk that begins like a qcow2 file makes the
//! next program that guesses open whatever it names.

use std::fmt;
use std::io;
use std::str::FromStr;

use thiserror::Error;

use crate::Source;

mod magic;
pub mod qcow2;

pub use magic::{Content, HEAD_BYTES, recognise};

/// A disk image that comes out as this many bytes, or fewer, is taken however short its file is: 256 MiB.
const FREE_BYTES: u64 = 256 << 20;

/// Beyond that it is taken while it is at most so many times as long as its file. Deflate goes to 1,032, zstd to 32,768.
const RATIO_MAX: u64 = 256;

/// How many bytes of content a file of so many bytes may come out as, when nobody has declared it.
#[must_use]
pub fn inflated_max(file_bytes: u64) -> u64 {
    file_bytes.saturating_mul(RATIO_MAX).max(FREE_BYTES)
}

/// How a disk lies in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskFormat {
    /// The disk's bytes, nothing else.
    Raw,
    /// QEMU copy on write, version 2 or 3.
    Qcow2,
}

impl fmt::Display for DiskFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DiskFormat::Raw => "raw",
            DiskFormat::Qcow2 => "qcow2",
        })
    }
}

impl FromStr for DiskFormat {
    type Err = FormatError;

    fn from_str(name: &str) -> Result<DiskFormat, FormatError> {
        match name {
            "raw" => Ok(DiskFormat::Raw),
            "qcow2" => Ok(DiskFormat::Qcow2),
            _ => Err(FormatError::Name),
        }
    }
}

/// Why a file is not taken as a disk.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum FormatError {
    #[error("no such disk format; there are raw and qcow2")]
    Name,
    #[error("this is {what}, which is not read; convert it to raw or qcow2 where it comes from")]
    Foreign { what: &'static str },
    #[error("declared as {declared}, but this is {found}")]
    Declared { declared: DiskFormat, found: DiskFormat },
    #[error("declared as qcow2, but it does not begin like one")]
    NotQcow2,
    #[error(
        "nothing in it says what this is: no partition table, and the mark of no disk format; declare it as raw if it is a disk"
    )]
    Unknown,
    #[error("reading")]
    Io(#[from] io::Error),
}

/// Which format a file is in: what was declared, when the content does not say otherwise, or what the content says.
///
/// # Errors
/// When the content is of a format that is not read, or of another than the declared one, or says nothing at all and
/// nothing was declared.
pub fn format_of(file: &dyn Source, declared: Option<DiskFormat>) -> Result<DiskFormat, FormatError> {
    match (recognise(file)?, declared) {
        (Content::Foreign(what), _) => Err(FormatError::Foreign { what }),
        (Content::Qcow2, Some(DiskFormat::Raw)) => {
            Err(FormatError::Declared { declared: DiskFormat::Raw, found: DiskFormat::Qcow2 })
        }
        (Content::Qcow2, Some(DiskFormat::Qcow2) | None) => Ok(DiskFormat::Qcow2),
        (Content::Partitioned | Content::Unknown, Some(DiskFormat::Qcow2)) => Err(FormatError::NotQcow2),
        (Content::Partitioned, Some(DiskFormat::Raw) | None) | (Content::Unknown, Some(DiskFormat::Raw)) => {
            Ok(DiskFormat::Raw)
        }
        (Content::Unknown, None) => Err(FormatError::Unknown),
    }
}
