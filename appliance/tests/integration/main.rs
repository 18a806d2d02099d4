//! The controller below the rack: real SQLite files, the real writer, real TLS over loopback, the real control socket.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

mod agent;
mod capturing;
mod cli;
mod controller;
mod dhcp;
mod durability;
mod enrolment;
mod full_disk;
mod image;
mod images;
mod journey;
mod limits;
mod operator;
mod planning;
mod reservations;
mod retiring;
mod strangers;
mod witness;
