//! What is read off volumes, against the tools that made them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_types,
    reason = "a test may panic, and has files"
)]

mod exfat;
mod fat;
mod foreign;
mod ntfs;
