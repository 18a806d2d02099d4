//! Telling how far it is: once a second, as well as it goes. Imaging never waits for this.

use std::sync::Arc;
use std::time::Duration;

use protocol::{Envelope, JobId, NodeId, Phase, Progress, ProgressReply, routes};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::chain::Chain;
use crate::command::Reign;
use crate::controller::{CallError, Controller, Line};
use crate::deploy::Server;
use crate::deploy::hello::{Admitted, GRACE};
use crate::deploy::imaging::deliver::Watcher;
use crate::deploy::imaging::hold::HoldError;
use crate::deploy::imaging::lookout::Lookout;
use crate::screen::{Bar, Screen};

const EVERY: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(15);

/// Sends the newest progress until it is dropped.
#[derive(Debug)]
pub(in crate::deploy) struct Reporter {
    latest: watch::Sender<Progress>,
    stop: watch::Receiver<Option<String>>,
    task: JoinHandle<()>,
}

impl Reporter {
    /// Begins, with a line of its own.
    pub(in crate::deploy) fn begin(
        controller: Controller,
        node: NodeId,
        reign: Reign,
        first: Progress,
    ) -> Self {
        let (latest, news) = watch::channel(first);
        let (say_stop, stop) = watch::channel(None);
        let task = tokio::spawn(send(Line::new(controller), node, reign, news, say_stop));
        Self { latest, stop, task }
    }

    /// This is how far it is now.
    pub(in crate::deploy) fn tell(&self, progress: Progress) {
        self.latest.send_replace(progress);
    }

    /// Why the controller wants the job stopped, if it does.
    pub(in crate::deploy) fn stop(&self) -> Option<String> {
        self.stop.borrow().clone()
    }

    /// The same, as soon as it does.
    pub(in crate::deploy) async fn stopped(&self) -> String {
        let mut stop = self.stop.clone();
        loop {
            if let Some(why) = stop.borrow_and_update().clone() {
                return why;
            }
            if stop.changed().await.is_err() {
                // Nobody will say so any more.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Tells that a job can't go on; until it is heard.
pub(in crate::deploy) async fn confess(server: &Server, admitted: &Admitted, failed: Progress) {
    let mut line = Line::new(admitted.controller.clone());
    let trouble = |error: &CallError, _| server.screen.state("failed", &Chain(error).to_string());
    // A controller that does not want to hear it knows already.
    let _heard = line.insist::<_, Envelope<ProgressReply>>(routes::PROGRESS, &failed, GRACE, trouble).await;
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The controller and the server's own screen.
#[derive(Debug)]
pub(super) struct Told<'a> {
    pub(super) job: JobId,
    pub(super) screen: &'a Screen,
    pub(super) reporter: &'a Reporter,
    pub(super) lookout: &'a Lookout,
}

impl Watcher for Told<'_> {
    fn engine(&self, words: &str) {
        self.screen.milestone(words);
    }

    fn show(&self, bar: Bar, progress: &cast::Progress) {
        self.screen.progress(Some(bar));
        self.reporter.tell(words(self.job, progress));
    }

    fn stop(&self) -> Option<String> {
        self.reporter.stop()
    }

    fn alarm(&self) -> Option<Arc<HoldError>> {
        self.lookout.alarm()
    }
}

async fn send(
    mut line: Line,
    node: NodeId,
    mut reign: Reign,
    mut news: watch::Receiver<Progress>,
    stop: watch::Sender<Option<String>>,
) {
    loop {
        let progress = news.borrow_and_update().clone();
        let reply = line.call::<_, Envelope<ProgressReply>>(routes::PROGRESS, &progress, DEADLINE).await;
        let wait = match reply {
            Ok(envelope) => {
                // One that is not for us, or from a reign that is over, says nothing.
                if let Ok(ProgressReply { go_on: false }) = reign.open(node, envelope) {
                    stop.send_replace(Some("the controller cancelled the job".to_owned()));
                }
                EVERY
            }
            Err(error) if error.is_refusal() => {
                stop.send_replace(Some(error.to_string()));
                EVERY
            }
            Err(_) => line.pause(),
        };
        tokio::time::sleep(wait).await;
        // What is told again brings nothing new, but perhaps its answer does.
        if let Ok(Err(_over)) = tokio::time::timeout(AGAIN, news.changed()).await {
            return;
        }
    }
}

/// A receiver's progress, in the protocol's words.
fn words(job: JobId, progress: &cast::Progress) -> Progress {
    Progress {
        job,
        phase: match progress.phase {
            cast::Phase::Scan => Phase::Compare,
            cast::Phase::Disarm | cast::Phase::Undo | cast::Phase::Failed => Phase::Disarm,
            cast::Phase::Body | cast::Phase::Flush => Phase::Write,
            cast::Phase::ReadBack => Phase::ReadBack,
            cast::Phase::Seed | cast::Phase::Tables | cast::Phase::Done => Phase::Arm,
        },
        total_bytes: progress.bytes_total,
        done_bytes: progress.bytes_done,
        same_bytes: progress.receipt.bytes_skipped,
        read_back_bytes: progress.bytes_verified,
        fetched_bytes: progress.receipt.bytes_fetched,
        failed: None,
    }
}
