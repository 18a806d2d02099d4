//! What the crowd found.

use std::time::Duration;

use serde::Serialize;

/// Of the whole crowd; times in seconds.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Figures {
    /// Nodes that are active in the end.
    pub(crate) active: usize,
    /// What was said by those that are not, each once.
    pub(crate) failed: Vec<String>,
    /// From the first hello until all are approved and have asked for work.
    pub(crate) enrolled: f64,
    /// From then until all are active.
    pub(crate) imaged: f64,
    /// Of each job: from the plan that is applied until the node is active.
    pub(crate) jobs: Vec<f64>,
    /// How long a report waited for its answer while all were active.
    pub(crate) reports: Vec<f64>,
    /// Reports that were not answered at once, but after another try.
    pub(crate) repeated: usize,
    /// One NIC with its address, as MAC=IP, for whoever asks again.
    pub(crate) known: String,
}

/// Seconds, for a figure.
pub(crate) fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
