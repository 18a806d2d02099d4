//! What a person sees while waiting: one line per step with the time since the start, on standard error.

use std::cell::Cell;
use std::fmt::Display;
use std::time::{Duration, Instant};

/// How often a long step says that it is still alive.
const EVERY: Duration = Duration::from_secs(5);

/// The teller of one run.
#[derive(Debug)]
pub struct Progress {
    started: Instant,
    last: Cell<Instant>,
    quiet: bool,
}

impl Progress {
    /// Starts the clock. `quiet` says nothing at all.
    pub fn start(quiet: bool) -> Progress {
        let now = Instant::now();
        Progress { started: now, last: Cell::new(now), quiet }
    }

    /// Says what is being done now.
    pub fn step(&self, what: impl Display) {
        self.last.set(Instant::now());
        if !self.quiet {
            eprintln!("[{:6.1} s] {what}", self.started.elapsed().as_secs_f64());
        }
    }

    /// Says how far a long step is, at most every five seconds.
    pub fn still(&self, what: impl FnOnce() -> String) {
        if self.last.get().elapsed() >= EVERY {
            self.step(what());
        }
    }
}
