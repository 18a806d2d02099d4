//! The qcow2 format, read and written after QEMU's specification (docs/interop/qcow2).
//!
//! The reader takes versions 2 and 3 with every cluster size, compressed clusters and subclusters. It refuses what needs
//! another file or a key, what says of itself that it is not whole, and what it does not know. Internal snapshots and
//! bitmaps are passed over: the disk as it is now is what is read.

mod cluster;
mod error;
mod header;
mod read;
mod tables;
mod write;

pub use error::Qcow2Error;
pub use read::Qcow2;
pub use write::{CLUSTER, Writer};
