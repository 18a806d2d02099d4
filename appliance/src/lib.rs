//! The appliance: what `rackwright` is made of, apart from the choice of a command.

pub mod config;
