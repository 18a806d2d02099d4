//! The daemon's listeners: DHCP, TFTP, HTTP for boot files, HTTPS for agents, router solicitations of firmware. Shells:
//! they bring bytes to the functions that decide, and carry out what those say.
//!
//! Common to all: they listen on provisioning interfaces only, survive every error (an interface that goes away, no
//! file descriptors left) and say in their [`ListenerState`] what is wrong, and stop when told to.

pub mod dhcp;
pub mod files;
pub mod foreign;
pub mod http;
pub mod https;
pub mod ndp;
pub mod range;
pub mod stream;
pub mod tftp;
pub mod turns;

mod gate;
mod lobby;
mod patient;
mod serve;
mod state;
mod straight;
mod supervise;
#[cfg(test)]
pub(crate) mod tests;

pub use gate::{Full, Gate, Seat};
pub use state::{ListenerReport, ListenerState, Trouble};
pub use supervise::{Place, Stop};
