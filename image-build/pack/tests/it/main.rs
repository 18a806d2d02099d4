//! Disks and volumes, against the kernel and the tools that make them. They run as root.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may panic, and has files and a clock"
)]

mod btrfs;
mod containers;
mod disk;
mod exfat;
mod ext;
mod fat;
mod fit;
mod lab;
mod lvm;
mod md;
mod ntfs;
mod owner;
mod survey;
mod swap;
mod table;
mod xfs;
