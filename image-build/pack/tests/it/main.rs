//! What is read off volumes, against the tools that made them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod btrfs;
