//! The sender and the receivers of a transmission in virtual time, between them a network of which everything can go wrong.
//!
//! The state machines are the real ones. What their shells would do is here: reading packets, asking the controller once a
//! second, fetching what is better fetched, from others and at last from the controller, writing to a disk. A [`Story`] says what happens; one made of a seed is one
//! history, for ever. While it is played, whatever must be true is looked at: see [`play`].

mod dice;
mod network;
mod node;
mod story;
mod watch;
mod world;

pub use cast::Micros;
pub use dice::Dice;
pub use network::{Cable, Loss, Port, WIRE_BYTES, all, nanos};
pub use story::{Fault, Host, MBIT, SECOND, Story};
pub use world::{Ended, play};

#[cfg(test)]
mod tests;
