//! The walking skeleton on real parts: a controller under systemd, servers that PXE-boot, disks looked at from outside.
//!
//! Needs root, QEMU and some minutes. Left out only when `RACKWRIGHT_FAST` is set (`cargo xtask test --fast`); anything
//! else that is missing is a failure.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests: a panic is how they fail")]

mod clients;
mod cloud;
mod cuts;
mod erasing;
mod iso;
mod lab;
mod mending;
mod neighbours;
mod offline;
mod power_cuts;
mod rogue;
mod secrets;
mod shell;
mod walking_skeleton;
mod ways_in;
mod write_log;
