//! The appliance: what `rackwright` is made of, apart from the choice of a command.

pub mod boot;
pub mod ca;
pub mod config;
pub mod listen;
pub mod lock;
pub mod metrics;
pub mod net;
pub mod notify;
pub mod tls;

pub mod agents;
pub mod answers;
pub mod api;
pub mod backup;
pub mod cast;
pub mod catalog;
pub mod clock;
pub mod daemon;
pub mod images;
pub mod install;
pub mod join;
pub mod journal;
pub mod machine;
pub mod netboot;
pub mod offline;
pub mod power;
pub mod preflight;
pub mod prober;
pub mod reservation;
pub mod restore;
pub mod space;
pub mod store;
pub mod support;
pub mod tpm;
pub mod trace;
pub mod writer;

/// An error and everything that caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
