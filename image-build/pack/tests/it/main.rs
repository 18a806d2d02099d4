//! Volumes made by the tools that people make them with, and such as nobody should have made.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may panic, and has files and a clock"
)]

mod xfs;
