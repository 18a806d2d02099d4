//! The virtual rack, and what a test or the demo needs around it.
//!
//! Knows how to build what goes into a rack, start it, talk to it through the CLI and take it down. Refuses to link
//! any other crate of the workspace: the rack is used from outside, as an operator would.

pub mod artifacts;
pub mod bench;
pub mod cargo;
pub mod interrupt;
pub mod journey;
pub mod mounted;
pub mod operator;
pub mod place;
pub mod prerequisites;
pub mod rack;
pub mod say;
pub mod timeline;
pub mod tool;
pub mod watch;
