//! The receiver's shell: carries out its orders, disk work on threads of their own, and answers them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cast::{Action, Limits, Millis, Order, Outcome, Phase, Piece, Rate, Receiver, Start, Ticket, Verdict};
use pack::disk::Engine;
use pack::{Chunk, Digest, Fit, Manifest, merkle};
use protocol::{Seed, Verify};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::chain::Chain;
use crate::deploy::imaging::fetch::{Fetcher, Origin};
use crate::deploy::imaging::hold::HoldError;
use crate::deploy::imaging::listen::{Came, Listening, STEER_EVERY};
use crate::deploy::imaging::pipeline::{Answer, Pipeline, Width};
use crate::deploy::imaging::target::{Begun, DiskError, Drive};
use crate::screen::Bar;

/// A controller that is away can't be told of a failure either, and may come back: waiting costs nothing. One that is
/// there and can't deliver has deadlines of its own.
pub(crate) const PATIENCE: Millis = Millis(12 * 60 * 60 * 1000);
/// What is fetched at once where others may have it: each of a chain waits for so much before it can pass it on, and what is under way from
/// the controller is not asked of anybody else.
const SHARED_RANGE: u64 = 1 << 20;
/// And so many at once: each more makes all of them later at everybody behind us, and one alone leaves gaps between two.
const SHARED_FETCHES: usize = 2;
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// Who watches a delivery, and may end it.
pub(crate) trait Watcher: std::fmt::Debug {
    /// What does the I/O; said once.
    fn engine(&self, words: &str);
    /// How far it is: at most once a second, and whenever the phase changes.
    fn show(&self, bar: Bar, progress: &cast::Progress);
    /// Why it is to stop, if it is.
    fn stop(&self) -> Option<String>;
    /// Why another disk is not safe from us, if one is not.
    fn alarm(&self) -> Option<Arc<HoldError>>;
}

/// All that a delivery needs; nothing is left to choose.
#[derive(Debug)]
pub(crate) struct Delivery<'a, O> {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) drive: Arc<Drive>,
    /// Where on the disk the image's bytes lie.
    pub(crate) fit: Arc<Fit>,
    pub(crate) fetcher: Arc<Fetcher<O>>,
    /// Left on the disk while the job runs.
    pub(crate) begun: Begun,
    /// Left on the disk when everything but the tables is there.
    pub(crate) seed: Option<Seed>,
    pub(crate) rotational: bool,
    pub(crate) engine: Engine,
    /// Whether a disk that is another's may be discarded before it is written.
    pub(crate) discard: bool,
    /// Whether the job has written to the disk before.
    pub(crate) has_begun: bool,
    /// Whether what was written is read back.
    pub(crate) verify: Verify,
    pub(crate) patience: Millis,
    /// Stored bytes that may wait for the disk.
    pub(crate) spool_bytes: u64,
    pub(crate) watcher: &'a dyn Watcher,
}

/// How a delivery ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The disk is the image; the root is over what was read from it, or, as [`Verify::Stream`] has it, was given to it.
    Done(cast::Progress, Digest),
    /// It can't become the image.
    Failed(cast::Failure),
    /// It shall not go on; the disk does not boot.
    Stopped(String),
    /// Another disk is not safe from us; the disk does not boot.
    Exposed(Arc<HoldError>),
}

/// Why a delivery did not begin, or ended as none can.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The manifest makes no job; a valid one always does.
    #[error(transparent)]
    Job(#[from] cast::JobError),
    /// The disk's queue.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The content that was read is not the image's, or was not all read.
    #[error("what was read back from the disk does not add up to the image")]
    Root,
}

/// The orders under way.
struct Shell<'a, O> {
    delivery: &'a Delivery<'a, O>,
    pipeline: Pipeline,
    tell: UnboundedSender<Answer>,
    /// The origin's final no.
    refused: UnboundedSender<String>,
    disk: JoinSet<()>,
    wire: JoinSet<()>,
    /// Which window each write is of.
    writing: BTreeMap<Ticket, u32>,
    /// The digests of the windows that are on the disk, as they were read from it, or written without being read back.
    held: BTreeMap<u32, Digest>,
}

/// What comes back from the orders.
struct Answers {
    told: UnboundedReceiver<Answer>,
    refused: UnboundedReceiver<String>,
    /// And what comes unasked.
    listening: Option<Listening>,
}

/// What a delivery waits for.
enum News {
    Answer(Answer),
    Came(Came),
}

impl Answers {
    async fn next(&mut self) -> Option<News> {
        let Some(listening) = &mut self.listening else { return self.told.recv().await.map(News::Answer) };
        tokio::select! {
            answer = self.told.recv() => answer.map(News::Answer),
            came = listening.next() => Some(News::Came(came)),
        }
    }
}

impl<O: Origin> Delivery<'_, O> {
    /// Runs to the end. Who listens to a transmission takes from it what comes.
    ///
    /// # Errors
    /// [`DeliveryError`].
    pub(crate) async fn run(&self, listening: Option<Listening>) -> Result<Ended, DeliveryError> {
        let width = Width::of(self.rotational);
        let pieces = self.manifest.chunks().iter().map(piece).collect();
        let (seed, lost_from) = (self.seed.is_some(), self.fit.lost_from());
        let read_back = self.verify == Verify::Readback;
        let start = Start { seed, begun: self.has_begun, lost_from, read_back };
        let mut receiver = Receiver::new(pieces, start, self.limits(width, listening.is_some()))?;
        let (tell, told) = unbounded_channel();
        let (refused, noes) = unbounded_channel();
        let pipeline =
            Pipeline::begin(&self.drive, (&self.manifest, &self.fit), (width, self.engine), &tell)?;
        self.watcher.engine(pipeline.words());
        let (disk, wire) = (JoinSet::new(), JoinSet::new());
        let (writing, held) = (BTreeMap::new(), BTreeMap::new());
        let mut shell = Shell { delivery: self, pipeline, tell, refused, disk, wire, writing, held };
        let answers = Answers { told, refused: noes, listening };
        let ended = self.work(&mut receiver, &mut shell, answers).await;
        let Shell { pipeline, mut disk, mut wire, .. } = shell;
        // What is under way on the disk must be over before anybody else touches it.
        wire.abort_all();
        while disk.join_next().await.is_some() {}
        let _ended = tokio::task::spawn_blocking(move || drop(pipeline)).await;
        ended
    }

    async fn work(
        &self,
        receiver: &mut Receiver,
        shell: &mut Shell<'_, O>,
        mut answers: Answers,
    ) -> Result<Ended, DeliveryError> {
        let begun = Instant::now();
        let now = || Millis(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
        let mut shown = Shown::default();
        let mut stop = None;
        loop {
            if let Some(listening) = &mut answers.listening {
                listening.steer(receiver, &*self.fetcher, now());
            }
            receiver.poll(now()).into_iter().for_each(|order| shell.start(order));
            shown.show(self.watcher, &receiver.progress(), now());
            match receiver.verdict() {
                Verdict::Working => {}
                Verdict::Done(_) => return Ok(Ended::Done(receiver.progress(), self.root(&shell.held)?)),
                Verdict::Failed(failure) => return Ok(Ended::Failed(failure)),
            }
            stop = stop.or_else(|| answers.refused.try_recv().ok());
            // While the first window is written there is nothing safer than going on.
            let is_safe = receiver.may_stop();
            if let Some(why) = stop.clone().or_else(|| self.watcher.stop()).filter(|_| is_safe) {
                return Ok(Ended::Stopped(why));
            }
            if let Some(error) = self.watcher.alarm().filter(|_| is_safe) {
                return Ok(Ended::Exposed(error));
            }
            let wake = receiver.wake().map_or(SHOW_EVERY, |then| Duration::from_millis(then.since(now()).0));
            if let Ok(Some(news)) = timeout(wake.min(patience(&answers)), answers.next()).await {
                match news {
                    News::Answer(answer) => shell.hear(answer, receiver, now()),
                    News::Came(came) => {
                        if let Some(listening) = &mut answers.listening {
                            listening.take(came, receiver, &*self.fetcher, now());
                        }
                    }
                }
                // What has come meanwhile is heard at once: one poll is enough for all of it.
                while let Ok(answer) = answers.told.try_recv() {
                    shell.hear(answer, receiver, now());
                }
            }
        }
    }

    /// The root over what is on the disk, when that is all of the image.
    fn root(&self, held: &BTreeMap<u32, Digest>) -> Result<Digest, DeliveryError> {
        let chunks = self.manifest.chunks();
        let windows = chunks.iter().filter_map(|chunk| Some((chunk, *held.get(&chunk.window)?)));
        let root = merkle::root_over(windows);
        if root == self.manifest.root() { Ok(root) } else { Err(DeliveryError::Root) }
    }

    fn limits(&self, width: Width, in_company: bool) -> Limits {
        let at_once = usize::from(width.orders);
        let (patience, spool_bytes, usual) = (self.patience, self.spool_bytes, Limits::default());
        let (range_bytes, fetches) =
            if in_company { (SHARED_RANGE, SHARED_FETCHES) } else { (usual.range_bytes, usual.fetches) };
        Limits { compares: at_once, writes: at_once, patience, spool_bytes, range_bytes, fetches, ..usual }
    }
}

impl<O: Origin> Shell<'_, O> {
    fn start(&mut self, Order { ticket, action }: Order) {
        while self.disk.try_join_next().is_some() || self.wire.try_join_next().is_some() {}
        match action {
            Action::Disarm => {
                let (mark, vacated) = (self.delivery.begun.clone(), self.delivery.fit.vacated());
                self.on_disk(ticket, move |drive| drive.disarm(&mark, vacated));
            }
            Action::Discard if self.delivery.discard => self.on_disk(ticket, |drive| {
                drive.discard();
                Ok(())
            }),
            Action::Discard => self.on_disk(ticket, |_| Ok(())),
            Action::Compare(id) | Action::ReadBack(id) => self.pipeline.check(ticket, id),
            Action::Write(id) => self.write(ticket, id),
            Action::Flush => self.on_disk(ticket, Drive::flush),
            Action::WriteSeed => {
                let seed = self.delivery.seed.clone();
                self.on_disk(ticket, move |drive| seed.map_or(Ok(()), |seed| drive.write_seed(&seed)));
            }
            // Where they lie is in the manifest.
            Action::Fetch { ids, .. } => self.on_wire(ticket, ids),
        }
    }

    fn hear(&mut self, Answer { ticket, outcome, read }: Answer, receiver: &mut Receiver, now: Millis) {
        if let Some((id, digest)) = read {
            self.held.insert(id, digest);
            if outcome == Outcome::Same {
                self.delivery.fetcher.pass(id);
            }
        }
        let written = self.writing.remove(&ticket).filter(|_| outcome == Outcome::Done);
        let trusted = written.filter(|_| self.delivery.verify == Verify::Stream);
        if let Some(chunk) = trusted.and_then(|id| self.delivery.manifest.chunk(id)) {
            // Nothing is written but what has this digest.
            self.held.insert(chunk.window, chunk.digest);
        }
        receiver.on(ticket, outcome, now);
    }

    /// The drive writes long zeros itself. That is a call which waits, so it is no work for those who unpack.
    fn write(&mut self, ticket: Ticket, id: u32) {
        self.held.remove(&id);
        self.writing.insert(ticket, id);
        let stored = self.delivery.fetcher.take(id);
        let (hands, (zeros, has_more)) = (self.pipeline.hands(), self.pipeline.zeros(id));
        if zeros.is_empty() {
            return hands.write(ticket, id, stored);
        }
        let (drive, tell) = (Arc::clone(&self.delivery.drive), self.tell.clone());
        self.disk.spawn_blocking(move || {
            match zeros.into_iter().try_for_each(|(at, bytes)| drive.zero(at, bytes)) {
                Ok(()) if has_more => hands.write(ticket, id, stored),
                zeroed => answer(&tell, ticket, zeroed),
            }
        });
    }

    fn on_disk(
        &mut self,
        ticket: Ticket,
        work: impl FnOnce(&Drive) -> Result<(), DiskError> + Send + 'static,
    ) {
        let (drive, tell) = (Arc::clone(&self.delivery.drive), self.tell.clone());
        self.disk.spawn_blocking(move || answer(&tell, ticket, work(&drive)));
    }

    fn on_wire(&mut self, ticket: Ticket, ids: Vec<u32>) {
        let (fetcher, tell) = (Arc::clone(&self.delivery.fetcher), self.tell.clone());
        let say_no = self.refused.clone();
        self.wire.spawn(async move {
            let fetched = fetcher.fetch(ids).await;
            if let Some(why) = fetched.refused {
                let _ended = say_no.send(why);
            }
            for outcome in fetched.outcomes {
                let _ended = tell.send(Answer { ticket, outcome, read: None });
            }
        });
    }
}

fn answer(tell: &UnboundedSender<Answer>, ticket: Ticket, done: Result<(), DiskError>) {
    let outcome = match done {
        Ok(()) => Outcome::Done,
        Err(error) => Outcome::Failed(Chain(&error).to_string()),
    };
    // Nobody listens any more: the job has ended.
    let _ended = tell.send(Answer { ticket, outcome, read: None });
}

pub(crate) fn piece(chunk: &Chunk) -> Piece {
    Piece { id: chunk.window, offset: chunk.offset, stored: chunk.stored, bytes: chunk.used_bytes() }
}

/// How long nothing may happen before everything is looked at again.
fn patience(answers: &Answers) -> Duration {
    if answers.listening.is_some() { STEER_EVERY } else { SHOW_EVERY }
}

/// What was last shown, and how fast it goes.
#[derive(Default)]
struct Shown {
    rate: Rate,
    last: Option<(Instant, Phase)>,
}

impl Shown {
    fn show(&mut self, watcher: &dyn Watcher, progress: &cast::Progress, now: Millis) {
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
        watcher.show(Bar { what, done, total: progress.bytes_total, rate }, progress);
    }
}
