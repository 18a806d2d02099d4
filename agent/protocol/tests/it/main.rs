//! What both sides may count on across power cuts and upgrades.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests: a panic is how they fail")]

mod disks;
mod seed;
mod tpm;
mod upgrade;
