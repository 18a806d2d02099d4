//! Every parser of the project, and every decision about what a stranger sent, as a function of arbitrary bytes.
//!
//! A target runs one of them and asserts what must hold whatever the bytes are: it does not panic, what it accepts it
//! writes back the same, what it hands on is inside its limits. `cargo test -p fuzz` runs each on its seeds, on every
//! input that was once a bug (`regressions/TARGET`) and on a fixed number of mutations; `cargo xtask fuzz` looks for new
//! inputs under libFuzzer. Both go through [`targets`], so a target is in both or in none.
//!
//! Knows the public interfaces of the other crates, and their `fuzzing` modules where a parser is private. Refuses to
//! touch sockets, disks and clocks: an input decides everything.
#![forbid(unsafe_code)]

#[cfg(feature = "everything")]
mod ansible;
#[cfg(feature = "everything")]
mod choice;
#[cfg(feature = "everything")]
mod chunk;
#[cfg(feature = "everything")]
mod configuration;
mod dhcp;
#[cfg(feature = "everything")]
mod disk;
#[cfg(feature = "everything")]
mod document;
#[cfg(feature = "everything")]
mod exchange;
#[cfg(feature = "everything")]
mod hardware;
#[cfg(feature = "everything")]
mod http;
#[cfg(feature = "everything")]
mod identity;
#[cfg(feature = "everything")]
mod image;
mod input;
#[cfg(feature = "everything")]
mod journal;
mod loader;
#[cfg(feature = "everything")]
mod message;
#[cfg(feature = "delivery")]
mod multicast;
mod mutation;
#[cfg(feature = "everything")]
mod power;
#[cfg(feature = "delivery")]
mod receiver;
#[cfg(feature = "everything")]
mod recipe;
#[cfg(feature = "everything")]
mod recovery;
#[cfg(feature = "everything")]
mod row;
#[cfg(feature = "everything")]
mod screen;
mod script;
#[cfg(feature = "everything")]
mod setup_answers;
mod slots;
#[cfg(feature = "everything")]
mod ssh_key;
#[cfg(feature = "everything")]
mod store;
mod target;
#[cfg(feature = "everything")]
mod terminal;
#[cfg(feature = "everything")]
mod tpm;
mod trace;
mod transfer;
#[cfg(feature = "volumes")]
mod volume;
#[cfg(feature = "everything")]
mod wiring;

pub use mutation::Mutations;
pub use target::{Reached, Target, targets};
