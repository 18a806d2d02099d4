//! systemd as the node agent and the appliance need it: units are started, stopped, watched and enabled, guarded
//! tasks run as transient units, journals are read. Knows how systemd is spoken to and nothing of what the units
//! are for; refuses to let anything of that way of speaking show in its own types, and to guess the outcome of
//! anything it did not hear.
//!
//! A process that is not root needs polkit rules for `org.freedesktop.systemd1.manage-units`,
//! `manage-unit-files` and `reload-daemon`, and the group `systemd-journal` for journals. Everything runs on the
//! caller's tokio runtime, which needs its I/O and time drivers.

mod error;
mod files;
mod hub;
mod journal;
mod link;
mod name;
mod power;
mod read;
mod state;
mod systemd;
mod task;
mod watch;

/// Private parsers, for the fuzz targets in `tests/fuzz`; no promise to anybody else.
#[doc(hidden)]
pub mod fuzzing {
    pub use super::journal::last as journal;
}

pub use error::{Cause, UnitError};
pub use name::{UnitKind, UnitName, UnitNameError};
pub use state::{Active, Change, JobOutcome, Listed, UnitState};
pub use systemd::Systemd;
pub use task::{Exit, Task, TaskName, TaskNameError, TaskOutcome};
pub use watch::Watch;
