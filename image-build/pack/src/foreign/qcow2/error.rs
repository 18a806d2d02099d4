//! Why a qcow2 file is refused.

use std::io;

use thiserror::Error;

use crate::DISK_BYTES_MAX;

/// The rule that a qcow2 file breaks.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum Qcow2Error {
    #[error("reading the qcow2 file")]
    Io(#[from] io::Error),
    #[error("not a qcow2 file")]
    Magic,
    #[error("qcow2: version {version}; versions 2 and 3 are read")]
    Version { version: u32 },
    #[error("qcow2: {what} ends at byte {end}, the file at {file}: it is cut off, or it lies")]
    CutOff { what: &'static str, end: u64, file: u64 },
    #[error("qcow2: clusters of 2^{bits} bytes; 2^9 to 2^21 are allowed")]
    ClusterBits { bits: u32 },
    #[error("qcow2: a disk of {bytes} bytes (allowed: multiples of 512 up to {DISK_BYTES_MAX})")]
    DiskBytes { bytes: u64 },
    #[error("qcow2: it is a layer on the backing file {name:?}; whoever made it has to flatten it")]
    BackingFile { name: String },
    #[error("qcow2: its content lies in an external data file; whoever made it has to put it into one file")]
    DataFile,
    #[error("qcow2: it is encrypted")]
    Encrypted,
    #[error("qcow2: it is marked dirty: it was not closed, or is in use; repair it where it comes from")]
    Dirty,
    #[error("qcow2: it is marked corrupt; repair it where it comes from")]
    Corrupt,
    #[error("qcow2: it uses features that are not known here (incompatible bits {bits:#x})")]
    Features { bits: u64 },
    #[error("qcow2: compression type {kind} does not go with its features, or is not known here")]
    Compression { kind: u8 },
    #[error("qcow2: a header of {bytes} bytes")]
    HeaderBytes { bytes: u32 },
    #[error("qcow2: reference counts of 2^{order} bits")]
    RefcountOrder { order: u32 },
    #[error("qcow2: the header extension at byte {at} leaves the header")]
    Extension { at: usize },
    #[error("qcow2: subclusters need clusters of at least 2^14 bytes, these have 2^{bits}")]
    ClustersTooSmall { bits: u32 },
    #[error(
        "qcow2: an L1 table of {entries} entries; this disk needs {needed}, and {most} are the most allowed"
    )]
    L1Size { entries: u32, needed: u64, most: u64 },
    #[error("qcow2: a reference count table of {clusters} clusters")]
    RefcountTable { clusters: u32 },
    #[error("qcow2: {what} at byte {offset} is not where a cluster begins")]
    Unaligned { what: &'static str, offset: u64 },
    #[error("qcow2: {what} at byte {offset} lies over {other}")]
    Overlap { what: &'static str, offset: u64, other: &'static str },
    #[error("qcow2: the entry {entry:#018x} for byte {at} of the disk has bits that must not be set")]
    Reserved { entry: u64, at: u64 },
    #[error("qcow2: two parts of the disk share the L2 table at byte {offset}")]
    SharedTable { offset: u64 },
    #[error("qcow2: it maps more clusters than the {file} bytes of the file hold: some lie over others")]
    SharedClusters { file: u64 },
    #[error(
        "qcow2: {file} bytes of file come out as more than {most} bytes: a decompression bomb, or a disk of nothing"
    )]
    Bomb { file: u64, most: u64 },
    #[error("qcow2: the compressed cluster at byte {offset} does not come out as one cluster")]
    Inflate { offset: u64, source: io::Error },
}

impl From<Qcow2Error> for io::Error {
    fn from(error: Qcow2Error) -> io::Error {
        if let Qcow2Error::Io(error) = error {
            return error;
        }
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}
