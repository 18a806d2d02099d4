//! Figures for monitoring: what there is, and where each comes from.
//!
//! Knows the names, which `docs/metrics.md` explains; a test compares. Refuses to remember anything: a figure that nobody
//! keeps is counted where it happens.

mod gather;
mod kind;
mod serve;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use crate::cast::Casts;
use crate::listen::ListenerState;
use crate::writer::Core;

pub use kind::Metric;
pub use serve::serve;

/// Where the figures come from.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// The world, and what became of packets.
    pub core: Core,
    /// What was sent of images.
    pub casts: Arc<Casts>,
    /// The listeners.
    pub listeners: Vec<Arc<ListenerState>>,
    /// The data base.
    pub state_db: PathBuf,
    /// When the daemon was started.
    pub started: SystemTime,
}
