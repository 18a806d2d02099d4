//! The hardware under load: processors, memory, disks and network, one after the other, and what was found told all the while.
//!
//! ```text
//! job -> all disks read-only -> counters read -> cpu, memory, disk, network -> counters read again -> the last report -> asks for work
//! ```
//! Each part computes, writes or reads what it knows the answer of, and names what is wrong with it. Nothing is written to a
//! disk: the kernel itself refuses it meanwhile. The agent keeps nothing; what it said last is what is known of a server that
//! dies.

pub mod ata;
pub mod counters;
pub mod course;
pub mod cpu;
pub mod disk;
pub mod health;
pub mod memory;
mod network;

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Envelope, NodeId, Part, ProgressReply, TestJob, TestReport, routes};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use crate::chain::Chain;
use crate::command::Reign;
use crate::controller::{CallError, Controller, Line};
use crate::deploy::Server;
use crate::deploy::hello::{Admitted, GRACE};
use crate::deploy::imaging::Next;
use crate::deploy::imaging::hold::{HoldError, Protected};
use crate::screen::Bar;

use counters::Counters;
use course::Course;

const EVERY: Duration = Duration::from_secs(2);
const DEADLINE: Duration = Duration::from_secs(15);
/// A link is known after so long; more would be at the cost of the others, who wait for the controller's turn.
const NETWORK_MAX: Duration = Duration::from_secs(8);

/// Why a server can't be tested.
#[derive(Debug, thiserror::Error)]
enum TestError {
    /// Its disks can't be protected.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// This machine gave up on its own work.
    #[error("testing")]
    Thread(#[from] JoinError),
}

/// Does the job, and tells what came of it until somebody has heard.
pub(super) async fn run(server: &mut Server, admitted: &Admitted, job: &TestJob) -> Next {
    server.screen.state("testing", "");
    let course = Arc::new(Course::begin(job));
    let _stopping = Stopping(Arc::clone(&course));
    let teller = Teller::begin(admitted, server.reign, &course);
    let done = work(server, admitted, job, &course).await;
    drop(teller);
    server.screen.progress(None);
    if let Err(error) = done {
        let why = crate::text::clean(&Chain(&error).to_string(), 400);
        course.with(|report| report.unable = Some(why));
    }
    let report = course.finish();
    let word = match (report.over, report.fault_count()) {
        (false, _) => "stopped",
        (true, 0) => "tested",
        (true, _) => "found errors",
    };
    server.screen.state(word, "");
    server.screen.milestone(word);
    let mut line = Line::new(admitted.controller.clone());
    let screen = &server.screen;
    let trouble = |error: &CallError, _| screen.state("telling the result", &Chain(error).to_string());
    // A controller that does not want to hear it knows already.
    let _heard = line.insist::<_, Envelope<ProgressReply>>(routes::TESTED, &report, GRACE, trouble).await;
    None
}

async fn work(
    server: &Server,
    admitted: &Admitted,
    job: &TestJob,
    course: &Arc<Course>,
) -> Result<(), TestError> {
    let root = server.root.clone();
    let (held, mut before) = spawn_blocking(move || (Protected::all(&root), Counters::read(&root))).await?;
    let _held = held?;
    for (part, time) in schedule(&job.parts, Duration::from_secs(job.seconds)) {
        if !course.goes_on() {
            break;
        }
        course.enter(part);
        shown(server, course, job.seconds, load(server, admitted, course, part, time)).await?;
        let (root, course) = (server.root.clone(), Arc::clone(course));
        before = spawn_blocking(move || {
            before.compare(&root, part, &course);
            before
        })
        .await?;
    }
    Ok(())
}

async fn load(
    server: &Server,
    admitted: &Admitted,
    course: &Arc<Course>,
    part: Part,
    time: Duration,
) -> Result<(), JoinError> {
    let (root, course) = (server.root.clone(), Arc::clone(course));
    match part {
        Part::Cpu => spawn_blocking(move || cpu::run(&course, &cpu::Silicon, time)).await,
        Part::Memory => spawn_blocking(move || memory::run(&course, &memory::Idle, &root, time)).await,
        Part::Disk => spawn_blocking(move || disk::run(&course, &root, time)).await,
        Part::Network => {
            network::run(&course, admitted, &server.told.mac, &root, time).await;
            Ok(())
        }
    }
}

/// How long each part takes: the network as long as it needs, of the rest memory most.
fn schedule(parts: &BTreeSet<Part>, all: Duration) -> Vec<(Part, Duration)> {
    let has_network = parts.contains(&Part::Network);
    let network =
        if has_network { NETWORK_MAX.min(all / 6).max(Duration::from_secs(1)) } else { Duration::ZERO };
    let weight = |part: &Part| match part {
        Part::Cpu => 3,
        Part::Memory => 4,
        Part::Disk => 2,
        Part::Network => 0,
    };
    let weights = parts.iter().map(weight).sum::<u32>().max(1);
    let rest = all.saturating_sub(network);
    let time = |part: Part| match part {
        Part::Network => network.min(all),
        Part::Cpu | Part::Memory | Part::Disk => rest * weight(&part) / weights,
    };
    parts.iter().map(|part| (*part, time(*part))).collect()
}

/// Load that nobody waits for any more ends.
struct Stopping(Arc<Course>);

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Does it, and shows meanwhile on the server's own screen how far the test is.
async fn shown<T>(server: &Server, course: &Course, total: u64, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        let report = course.so_far();
        let (what, done) = (report.part.map_or("", Part::word), report.milliseconds / 1000);
        server.screen.state("testing", what);
        server.screen.progress(Some(Bar { what: "testing", done: done.min(total), total, rate: 0 }));
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Tells everything so far, again and again, until it is dropped. Load never waits for this.
struct Teller(JoinHandle<()>);

impl Teller {
    fn begin(admitted: &Admitted, reign: Reign, course: &Arc<Course>) -> Self {
        Self(tokio::spawn(tell(admitted.controller.clone(), admitted.node, reign, Arc::clone(course))))
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn tell(controller: Controller, node: NodeId, mut reign: Reign, course: Arc<Course>) {
    let mut line = Line::new(controller);
    loop {
        let report: TestReport = course.so_far();
        let wait = match line.call::<_, Envelope<ProgressReply>>(routes::TESTED, &report, DEADLINE).await {
            Ok(envelope) => {
                // One that is not for us, or from a reign that is over, says nothing.
                if let Ok(ProgressReply { go_on: false }) = reign.open(node, envelope) {
                    course.stop();
                }
                EVERY
            }
            Err(error) if error.is_refusal() => {
                course.stop();
                EVERY
            }
            Err(_) => line.pause(),
        };
        tokio::time::sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use super::schedule;
    use protocol::Part;
    use std::time::Duration;

    #[test]
    fn a_test_takes_as_long_as_was_said() {
        let all = Duration::from_secs(600);
        let times = schedule(&Part::ALL.into(), all);
        assert_eq!(times.iter().map(|(_, time)| *time).sum::<Duration>().as_secs(), 599);
        assert_eq!(times.last(), Some(&(Part::Network, Duration::from_secs(8))));
        assert_eq!(schedule(&[Part::Memory].into(), all), [(Part::Memory, all)]);
        assert_eq!(schedule(&[].into(), all), []);
        let short = schedule(&Part::ALL.into(), Duration::from_secs(1));
        assert!(short.iter().all(|(_, time)| *time <= Duration::from_secs(1)), "{short:?}");
    }
}
