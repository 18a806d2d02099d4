//! How far a capture is: on the server's own screen and to the controller, once a second.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cast::{Millis, Rate};
use pack::Chunk;
use protocol::{JobId, Phase, Progress};

use crate::chain::Chain;
use crate::controller::CallError;
use crate::deploy::imaging::report::Reporter;
use crate::screen::{Bar, Screen};

const EVERY: Duration = Duration::from_secs(1);

/// Counts, and tells.
#[derive(Debug)]
pub(super) struct Gauge<'a> {
    screen: &'a Screen,
    reporter: &'a Reporter,
    begun: Instant,
    counted: Mutex<Counted>,
}

#[derive(Debug)]
struct Counted {
    progress: Progress,
    rate: Rate,
    told: Option<Instant>,
    in_trouble: bool,
}

/// A job of which nothing is done.
pub(super) fn nothing_yet(job: JobId) -> Progress {
    Progress {
        job,
        phase: Phase::Survey,
        total_bytes: 0,
        done_bytes: 0,
        same_bytes: 0,
        read_back_bytes: 0,
        fetched_bytes: 0,
        failed: None,
    }
}

impl<'a> Gauge<'a> {
    /// A capture of so many bytes begins, perhaps again.
    pub(super) fn new(job: JobId, total_bytes: u64, screen: &'a Screen, reporter: &'a Reporter) -> Self {
        let progress = Progress { phase: Phase::Capture, total_bytes, ..nothing_yet(job) };
        let counted = Counted { progress, rate: Rate::new(), told: None, in_trouble: false };
        let gauge = Self { screen, reporter, begun: Instant::now(), counted: Mutex::new(counted) };
        gauge.tell(&mut gauge.counted());
        gauge
    }

    /// A window was told of. The store has it, unless it is missing there; one of zeros there is nothing to have of.
    pub(super) fn done(&self, chunk: &Chunk, is_missing: bool) {
        let used = u64::from(chunk.used_bytes());
        let mut counted = self.counted();
        let progress = &mut counted.progress;
        // Blocks are counted whole, the end of a file system need not be.
        progress.done_bytes = progress.done_bytes.saturating_add(used).min(progress.total_bytes);
        if !is_missing && chunk.stored > 0 {
            progress.same_bytes = progress.same_bytes.saturating_add(used).min(progress.done_bytes);
        }
        self.tell_at_times(&mut counted);
    }

    /// So many stored bytes were taken.
    pub(super) fn sent(&self, bytes: u64) {
        let mut counted = self.counted();
        counted.progress.fetched_bytes = counted.progress.fetched_bytes.saturating_add(bytes);
        self.tell_at_times(&mut counted);
    }

    /// Why it goes no further.
    pub(super) fn trouble(&self, error: &CallError) {
        self.counted().in_trouble = true;
        self.screen.state("capturing", &Chain(error).to_string());
    }

    /// It does again.
    pub(super) fn no_trouble(&self) {
        if std::mem::take(&mut self.counted().in_trouble) {
            self.screen.state("capturing", "");
        }
    }

    /// Everything was sent.
    pub(super) fn end(&self) {
        let mut counted = self.counted();
        counted.progress.done_bytes = counted.progress.total_bytes;
        self.tell(&mut counted);
    }

    fn tell_at_times(&self, counted: &mut Counted) {
        let now = Millis(u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX));
        counted.rate.sample(now, counted.progress.done_bytes);
        if counted.told.is_none_or(|told| told.elapsed() >= EVERY) {
            self.tell(counted);
        }
    }

    fn tell(&self, counted: &mut Counted) {
        counted.told = Some(Instant::now());
        let Progress { done_bytes: done, total_bytes: total, .. } = counted.progress;
        let rate = counted.rate.bytes_per_second().unwrap_or(0);
        self.screen.progress(Some(Bar { what: "capturing", done, total, rate }));
        self.reporter.tell(counted.progress.clone());
    }

    /// A poisoned lock guards numbers that are whole between any two statements.
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
