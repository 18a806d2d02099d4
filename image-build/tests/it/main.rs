//! Disks of other making: taken when they are what QEMU reads in them, refused with words when they are anything else.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod bombs;
mod hostile;
mod lint;
mod qcow2;
mod roundtrip;
mod roundtrips;
mod streams;
mod tables;
mod tool;
