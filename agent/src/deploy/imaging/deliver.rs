//! The receiver's shell: carries out its orders, disk work on threads of their own, and answers them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cast::{Action, Limits, Millis, Order, Outcome, Phase, Piece, Rate, Receiver, Start, Ticket, Verdict};
use pack::{Chunk, Manifest};
use protocol::{JobId, Seed};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::chain::Chain;
use crate::deploy::imaging::fetch::Fetcher;
use crate::deploy::imaging::hold::HoldError;
use crate::deploy::imaging::lookout::Lookout;
use crate::deploy::imaging::report::{self, Reporter};
use crate::deploy::imaging::target::{DiskError, Drive};
use crate::screen::{Bar, Screen};

/// A controller that is away can't be told of a failure either, and may come back: waiting costs nothing. One that is
/// there and can't deliver has deadlines of its own.
const PATIENCE: Millis = Millis(12 * 60 * 60 * 1000);
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// All that a delivery needs; nothing is left to choose.
#[derive(Debug)]
pub(super) struct Delivery<'a> {
    pub(super) job: JobId,
    pub(super) manifest: Arc<Manifest>,
    pub(super) drive: Arc<Drive>,
    pub(super) fetcher: Arc<Fetcher>,
    /// Left on the disk while the job runs.
    pub(super) begun: Seed,
    /// Left on the disk when everything but the tables is there.
    pub(super) finished: Seed,
    pub(super) rotational: bool,
    /// Whether the job has written to the disk before.
    pub(super) has_begun: bool,
    pub(super) lookout: &'a Lookout,
    pub(super) reporter: &'a Reporter,
    pub(super) screen: &'a Screen,
}

/// How a delivery ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The disk is the image.
    Done(cast::Progress),
    /// It can't become the image.
    Failed(cast::Failure),
    /// The controller wants no more of it; the disk does not boot.
    Stopped(String),
    /// Another disk is not safe from us; the disk does not boot.
    Exposed(Arc<HoldError>),
}

/// The orders under way.
struct Shell<'a> {
    delivery: &'a Delivery<'a>,
    tell: UnboundedSender<Answer>,
    disk: JoinSet<()>,
    wire: JoinSet<()>,
}

enum Answer {
    To(Ticket, Outcome),
    Refused(String),
}

impl Delivery<'_> {
    /// Runs to the end.
    ///
    /// # Errors
    /// [`cast::JobError`] for a manifest that makes no job; a valid one always does.
    pub(super) async fn run(&self) -> Result<Ended, cast::JobError> {
        let pieces = self.manifest.chunks().iter().map(piece).collect();
        let start = Start { seed: true, begun: self.has_begun };
        let mut receiver = Receiver::new(pieces, start, limits(self.rotational))?;
        let (tell, mut told) = unbounded_channel();
        let mut shell = Shell { delivery: self, tell, disk: JoinSet::new(), wire: JoinSet::new() };
        let ended = self.work(&mut receiver, &mut shell, &mut told).await;
        // What is under way on the disk must be over before anybody else touches it.
        shell.wire.abort_all();
        while shell.disk.join_next().await.is_some() {}
        Ok(ended)
    }

    async fn work(
        &self,
        receiver: &mut Receiver,
        shell: &mut Shell<'_>,
        told: &mut UnboundedReceiver<Answer>,
    ) -> Ended {
        let begun = Instant::now();
        let now = || Millis(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
        let mut shown = Shown::default();
        let mut stop = None;
        loop {
            receiver.poll(now()).into_iter().for_each(|order| shell.start(order));
            shown.show(self, &receiver.progress(), now());
            match receiver.verdict() {
                Verdict::Working => {}
                Verdict::Done(_) => return Ended::Done(receiver.progress()),
                Verdict::Failed(failure) => return Ended::Failed(failure),
            }
            // While the first window is written there is nothing safer than going on.
            let is_safe = receiver.may_stop();
            if let Some(why) = stop.clone().or_else(|| self.reporter.stop()).filter(|_| is_safe) {
                return Ended::Stopped(why);
            }
            if let Some(error) = self.lookout.alarm().filter(|_| is_safe) {
                return Ended::Exposed(error);
            }
            let wake = receiver.wake().map_or(SHOW_EVERY, |then| Duration::from_millis(then.since(now()).0));
            match timeout(wake.min(SHOW_EVERY), told.recv()).await {
                Ok(Some(Answer::To(ticket, outcome))) => {
                    receiver.on(ticket, outcome, now());
                }
                Ok(Some(Answer::Refused(why))) => stop = Some(why),
                Ok(None) | Err(_) => {}
            }
        }
    }
}

impl Shell<'_> {
    fn start(&mut self, Order { ticket, action }: Order) {
        while self.disk.try_join_next().is_some() || self.wire.try_join_next().is_some() {}
        match action {
            Action::Disarm => {
                let seed = self.delivery.begun.clone();
                self.on_disk(ticket, move |drive| drive.disarm(&seed).map(|()| Outcome::Done));
            }
            Action::Discard => self.on_disk(ticket, |drive| {
                drive.discard();
                Ok(Outcome::Done)
            }),
            Action::Compare(id) | Action::ReadBack(id) => self.on_window(ticket, id, |drive, chunk| {
                Ok(if drive.holds(chunk)? { Outcome::Same } else { Outcome::Differs })
            }),
            Action::Write(id) => {
                let stored = self.delivery.fetcher.take(id);
                self.on_window(ticket, id, move |drive, chunk| {
                    drive.write(chunk, &stored).map(|()| Outcome::Done)
                });
            }
            Action::Flush => self.on_disk(ticket, |drive| drive.flush().map(|()| Outcome::Done)),
            Action::WriteSeed => {
                let seed = self.delivery.finished.clone();
                self.on_disk(ticket, move |drive| drive.write_seed(&seed).map(|()| Outcome::Done));
            }
            Action::Fetch { ids, offset, len } => self.on_wire(ticket, ids, offset, len),
        }
    }

    fn on_window(
        &mut self,
        ticket: Ticket,
        id: u32,
        work: impl FnOnce(&Drive, &Chunk) -> Result<Outcome, DiskError> + Send + 'static,
    ) {
        let manifest = Arc::clone(&self.delivery.manifest);
        self.on_disk(ticket, move |drive| match manifest.chunk(id) {
            Some(chunk) => work(drive, chunk),
            None => Ok(Outcome::Failed("the image has no such window".to_owned())),
        });
    }

    fn on_disk(
        &mut self,
        ticket: Ticket,
        work: impl FnOnce(&Drive) -> Result<Outcome, DiskError> + Send + 'static,
    ) {
        let (drive, tell) = (Arc::clone(&self.delivery.drive), self.tell.clone());
        self.disk.spawn_blocking(move || {
            let outcome = work(&drive).unwrap_or_else(|error| Outcome::Failed(Chain(&error).to_string()));
            // Nobody listens any more: the job has ended.
            let _ended = tell.send(Answer::To(ticket, outcome));
        });
    }

    fn on_wire(&mut self, ticket: Ticket, ids: Vec<u32>, offset: u64, len: u64) {
        let (fetcher, tell) = (Arc::clone(&self.delivery.fetcher), self.tell.clone());
        self.wire.spawn(async move {
            let fetched = fetcher.fetch(ids, offset, len).await;
            let refused = fetched.refused.into_iter().map(Answer::Refused);
            let answers = fetched.outcomes.into_iter().map(|outcome| Answer::To(ticket, outcome));
            for answer in refused.chain(answers) {
                let _ended = tell.send(answer);
            }
        });
    }
}

fn piece(chunk: &Chunk) -> Piece {
    Piece { id: chunk.window, offset: chunk.offset, stored: chunk.stored, bytes: chunk.used_bytes() }
}

/// A disk that spins loses more by seeking between orders than it wins by having several.
fn limits(rotational: bool) -> Limits {
    let at_once = if rotational { 2 } else { 4 };
    Limits { compares: at_once, writes: at_once, patience: PATIENCE, ..Limits::default() }
}

/// What was last shown, and how fast it goes.
#[derive(Default)]
struct Shown {
    rate: Rate,
    last: Option<(Instant, Phase)>,
}

impl Shown {
    /// Shows and reports, at most once a second and whenever the phase changes.
    fn show(&mut self, delivery: &Delivery<'_>, progress: &cast::Progress, now: Millis) {
        let (what, done) = match progress.phase {
            Phase::Scan => ("comparing", progress.bytes_verified),
            Phase::ReadBack => ("reading back", progress.bytes_verified),
            Phase::Disarm
            | Phase::Body
            | Phase::Flush
            | Phase::Seed
            | Phase::Tables
            | Phase::Undo
            | Phase::Done
            | Phase::Failed => ("imaging", progress.bytes_done),
        };
        self.rate.sample(now, done);
        let is_due = |(at, phase): (Instant, Phase)| at.elapsed() >= SHOW_EVERY || phase != progress.phase;
        if !self.last.is_none_or(is_due) {
            return;
        }
        self.last = Some((Instant::now(), progress.phase));
        let rate = self.rate.bytes_per_second().unwrap_or(0);
        delivery.screen.progress(Some(Bar { what, done, total: progress.bytes_total, rate }));
        delivery.reporter.tell(report::words(delivery.job, progress));
    }
}
