//! How one node gets its image, for those who look.

use std::time::Instant;

use protocol::{Hearing, JobId};

use super::view::Listener;

/// Where most of it comes from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// It is sent to this and other nodes at once.
    Multicast,
    /// Others that have it.
    Others,
    /// The controller, to this one alone.
    Controller,
}

impl By {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            By::Multicast => "multicast",
            By::Others => "others",
            By::Controller => "controller",
        }
    }
}

/// How one node gets its image.
#[derive(Clone, Debug, PartialEq)]
pub struct Lane {
    /// When it last said so.
    pub asked: Instant,
    /// Its job.
    pub job: JobId,
    /// Where most of it comes from now.
    pub by: By,
    /// Why it does not come by multicast.
    pub why: Option<String>,
    /// What it has heard, and what others gave it, by its own word.
    pub hearing: Hearing,
    /// Stored bytes of the image that it has had, by its own word.
    pub had_bytes: u64,
    /// What the sender knows of it; nothing while it does not listen.
    pub listener: Option<Listener>,
    /// Seconds from the beginning to the end, for all on its network, as predicted.
    pub seconds: f64,
}
