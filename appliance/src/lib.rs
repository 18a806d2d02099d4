//! The appliance: what `rackwright` is made of, apart from the choice of a command.

pub mod ca;
pub mod config;
pub mod net;
pub mod tls;
