//! Every parser of the project, and every decision about what a stranger sent, as a function of arbitrary bytes.
//!
//! A target runs one of them and asserts what must hold whatever the bytes are: it does not panic, what it accepts it
//! writes back the same, what it hands on is inside its limits. `cargo test -p fuzz` runs each on its seeds, on every
//! input that was once a bug (`regressions/TARGET`) and on a fixed number of mutations; `cargo xtask fuzz` looks for new
//! inputs under libFuzzer. Both go through [`TARGETS`], so a target is in both or in none.
//!
//! Knows the public interfaces of the other crates, and their `fuzzing` modules where a parser is private. Refuses to
//! touch sockets, disks and clocks: an input decides everything.
#![forbid(unsafe_code)]

mod ansible;
mod chunk;
mod configuration;
mod dhcp;
mod disk;
mod document;
mod exchange;
mod hardware;
mod http;
mod identity;
mod image;
mod input;
mod journal;
mod loader;
mod message;
mod mutation;
mod receiver;
mod recipe;
mod row;
mod screen;
mod script;
mod target;
mod terminal;
mod trace;
mod transfer;

pub use mutation::Mutations;
pub use target::{Reached, TARGETS, Target};
