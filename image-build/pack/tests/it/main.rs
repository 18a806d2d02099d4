//! What is read off volumes, against the tools that made them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]
#![allow(clippy::disallowed_types, reason = "tools read and write files")]

mod bench;
mod btrfs;
mod disk;
mod exfat;
mod ext;
mod fat;
mod foreign;
mod lvm;
mod md;
mod ntfs;
mod owner;
mod survey;
mod swap;
mod table;
mod xfs;
