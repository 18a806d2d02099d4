//! The controller below the rack: real SQLite files, the real writer, real TLS over loopback, the real control socket.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may panic")]

mod agent;
mod burning_in;
mod capturing;
mod checking;
mod cli;
mod controller;
mod daemon;
mod dhcp;
mod draining;
mod durability;
mod enrolment;
mod full_disk;
mod hostile;
mod image;
mod images;
mod journey;
mod limits;
mod matrix;
mod metrics;
mod operator;
mod operators;
mod planning;
mod power;
mod recovering;
mod renewing;
mod rescuing;
mod reservations;
mod retiring;
mod roles;
mod rolling;
mod rotating;
mod strangers;
mod support;
mod telling;
mod witness;
