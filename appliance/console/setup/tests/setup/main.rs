//! The questions, as front-ends and files meet them.

// Clippy's leave for tests covers functions marked as tests, not what they call.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]

mod checks;
mod files;
mod laws;
mod machines;
mod outcomes;
mod paths;
mod resuming;
mod texts;
