//! What all parts of a test share: what was found so far, how long it has taken, and whether it is to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use protocol::{Part, TestJob, TestReport};

/// The texts of a report are no longer than this; the protocol allows more.
const WORDS_MAX: usize = 300;

/// A test under way.
#[derive(Debug)]
pub struct Course {
    report: Mutex<TestReport>,
    stop: AtomicBool,
    began: Instant,
    seed: u64,
}

impl Course {
    /// Nothing was found yet.
    pub fn begin(job: &TestJob) -> Self {
        let report = Mutex::new(TestReport::begin(job.job));
        Self { report, stop: AtomicBool::new(false), began: Instant::now(), seed: job.seed }
    }

    /// What random patterns and places are drawn from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Looks at the report, or changes it.
    pub fn with<T>(&self, look: impl FnOnce(&mut TestReport) -> T) -> T {
        look(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An error was counted.
    pub fn fault(&self, part: Part, what: &str, count: u64) {
        let what = crate::text::clean(what, WORDS_MAX);
        self.with(|report| report.fault(part, &what, count));
    }

    /// Something that is no error, and worth a look.
    pub fn remark(&self, part: Part, what: &str, count: u64) {
        let what = crate::text::clean(what, WORDS_MAX);
        self.with(|report| report.remark(part, &what, count));
    }

    /// This is tested from here on.
    pub(super) fn enter(&self, part: Part) {
        self.with(|report| report.part = Some(part));
    }

    /// Whether the controller still wants it.
    pub fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// The controller does not want it any more.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Until when a part that begins now goes on.
    pub(super) fn until(&self, time: Duration) -> Until<'_> {
        Until { course: self, end: Instant::now() + time }
    }

    /// Everything so far, with the time that it has taken.
    pub fn so_far(&self) -> TestReport {
        let milliseconds = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.with(|report| {
            report.milliseconds = milliseconds;
            report.clone()
        })
    }

    /// The last report: nothing more comes. One that was stopped is not over, and is judged by nobody.
    pub(super) fn finish(&self) -> TestReport {
        TestReport { over: self.goes_on(), ..self.so_far() }
    }
}

/// The time of one part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Until<'a> {
    course: &'a Course,
    end: Instant,
}

impl Until<'_> {
    /// Whether there is time left, and the controller still wants it.
    pub(super) fn goes_on(&self) -> bool {
        self.course.goes_on() && Instant::now() < self.end
    }

    /// The time that is left.
    pub(super) fn left(&self) -> Duration {
        if self.course.goes_on() {
            self.end.saturating_duration_since(Instant::now())
        } else {
            Duration::ZERO
        }
    }
}

/// A well-mixed number for each number (splitmix64): the same on every machine.
pub(super) fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// So many in a second.
pub(super) fn per_second(count: u64, time: Duration) -> u64 {
    let nanos = time.as_nanos().max(1);
    u64::try_from(u128::from(count) * 1_000_000_000 / nanos).unwrap_or(u64::MAX)
}
