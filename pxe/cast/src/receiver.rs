//! From a list of pieces to one disk that is the image, or that does not boot.
//!
//! ```text
//! Scan ─► Disarm ─► Body: compare ─► fetch ─► write ─► flush ─► read back ─► Seed ─► Last window ─► First window ─► Done
//!   │                 ▲                                           │          (each: fetch, write, flush, read back)
//!   │                 └────────────── what differs ───────────────┘                          │
//!   └─ everything is right ─► Seed ─► Done                                        Undo ◄─────┘ failed
//! ```
//! The scan writes nothing. A disk on which hardly anything is right is discarded after it is disarmed and is not compared
//! any further; a disk that this job has begun on before is disarmed at once, and compared.
//!
//! A job may be told not to read the body back: then each flush must succeed for what it covers to be trusted, and after one
//! that fails the rest is read back all the same.
//!
//! The first window, without which nothing boots, is written when everything else is durable and was read back. If
//! it then can't be brought to read back right, the disk is disarmed again before the job fails.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::order::{Open, Orders};
use crate::pool::{Ledger, Pool, Stuck, cause_of};
use crate::retry::{Source, Tries};
use crate::scan::{Found, Scan};
use crate::{
    Failure, Feed, Heard, Left, Limits, Millis, Offer, Order, Outcome, Phase, Piece, Progress, Receipt,
    Ticket, Verdict,
};

/// A job that can't be begun.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum JobError {
    #[error("planning a delivery: no pieces")]
    Empty,
    #[error("planning a delivery: piece {id} comes after {after}")]
    Order { id: u32, after: u32 },
    #[error("planning a delivery: piece {id} is empty, or ends beyond all offsets")]
    Range { id: u32 },
}

/// The receiving side of one job: one image, one disk.
#[derive(Debug)]
pub struct Receiver {
    stage: Stage,
    first: Piece,
    last: Option<Piece>,
    body: Vec<Piece>,
    /// Windows of the body that the scan has found right.
    right: BTreeSet<u32>,
    /// The scan has found every window right: nothing but the seed is written.
    whole: bool,
    seed: bool,
    lost_from: u32,
    read_back: bool,
    feed: Feed,
    /// Tables that are not waited for to be offered: they were, or are to be fetched.
    settled: BTreeSet<u32>,
    bytes_total: u64,
    ledger: Ledger,
}

/// How a job begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Whether an [`crate::Action::WriteSeed`] belongs to the job.
    pub seed: bool,
    /// Whether this job has written to the disk before, in an earlier life. What is right then is its own work, however little
    /// that is.
    pub begun: bool,
    /// Windows from this number on lie in part where a disarm writes zeros at the end of the disk, besides the last: what the
    /// scan has found right there no longer is. `u32::MAX` when there are none.
    pub lost_from: u32,
    /// Whether every window that was written is read back. Otherwise those of the body are trusted when a flush has made them
    /// durable; after one that failed, they are read back all the same. The windows with the partition tables always are.
    pub read_back: bool,
}

#[derive(Debug)]
enum Stage {
    Scan(Scan),
    /// What comes after it: whether the disk is discarded then.
    Disarm(Tries, bool),
    Discard,
    Body(Pool),
    Seed(Tries),
    SeedFlush(Tries),
    Last(Pool),
    First(Pool),
    Undo(Tries, Failure),
    Done,
    Failed(Failure),
}

impl Receiver {
    /// Begins a job. `pieces` ascend by id; the first and the last of them are the windows with the partition
    /// tables and are written last.
    ///
    /// # Errors
    /// When the pieces are none, out of order, empty, or their ranges overflow.
    pub fn new(pieces: Vec<Piece>, start: Start, limits: Limits) -> Result<Receiver, JobError> {
        check(&pieces)?;
        let stage = if start.begun {
            Stage::Disarm(Tries::default(), false)
        } else {
            Stage::Scan(Scan::new(pieces.iter().copied()))
        };
        let bytes_total = pieces.iter().map(|piece| u64::from(piece.bytes)).sum();
        let mut body = pieces;
        let last = if body.len() > 1 { body.pop() } else { None };
        if body.is_empty() {
            return Err(JobError::Empty);
        }
        let first = body.remove(0);
        let ledger = Ledger {
            orders: Orders::default(),
            source: Source::default(),
            limits,
            now: Millis(0),
            done: 0,
            verified: 0,
            durable: 0,
            receipt: Receipt::default(),
        };
        let (right, whole) = (BTreeSet::new(), false);
        let Start { seed, lost_from, read_back, .. } = start;
        Ok(Receiver {
            stage,
            first,
            last,
            body,
            right,
            whole,
            seed,
            lost_from,
            read_back,
            feed: Feed::default(),
            settled: BTreeSet::new(),
            bytes_total,
            ledger,
        })
    }

    /// What to start now. Empty when everything possible is under way, or the job has ended.
    pub fn poll(&mut self, now: Millis) -> Vec<Order> {
        self.tick(now);
        let (tries, open) = match &mut self.stage {
            Stage::Body(pool) | Stage::Last(pool) | Stage::First(pool) => {
                return pool.orders(&mut self.ledger);
            }
            Stage::Scan(scan) => return scan.orders(&mut self.ledger),
            Stage::Disarm(tries, _) | Stage::Undo(tries, _) => (tries, Open::Disarm),
            Stage::Discard => (&mut Tries::default(), Open::Discard),
            Stage::Seed(tries) => (tries, Open::WriteSeed),
            Stage::SeedFlush(tries) => (tries, Open::Flush),
            Stage::Done | Stage::Failed(_) => return Vec::new(),
        };
        let Ledger { orders, now, .. } = &mut self.ledger;
        if orders.is_empty() && tries.ready(*now) { vec![orders.give(open)] } else { Vec::new() }
    }

    /// When to poll again if no answer comes before. None: only an answer can move the job.
    #[must_use]
    pub fn wake(&self) -> Option<Millis> {
        let wake = match &self.stage {
            Stage::Body(pool) | Stage::Last(pool) | Stage::First(pool) => {
                pool.wake(&self.ledger.source, &self.ledger.limits)
            }
            Stage::Disarm(tries, _)
            | Stage::Seed(tries)
            | Stage::SeedFlush(tries)
            | Stage::Undo(tries, _) => Some(tries.not_before()),
            Stage::Scan(_) | Stage::Discard | Stage::Done | Stage::Failed(_) => None,
        };
        wake.filter(|then| *then > self.ledger.now)
    }

    /// Takes an answer. Poll afterwards.
    pub fn on(&mut self, ticket: Ticket, outcome: Outcome, now: Millis) -> Heard {
        self.tick(now);
        let phase = self.phase();
        let Some(open) = self.ledger.orders.take(ticket) else {
            return Heard::Ignored("no order with this ticket is open");
        };
        if let (Open::Fetch(pieces), Outcome::Arrived(id) | Outcome::Spoilt { id, .. }) = (&open, &outcome)
            && !pieces.contains_key(id)
        {
            self.ledger.orders.put_back(ticket, open);
            return Heard::Ignored("this piece of the range was not awaited");
        }
        let answer = match &mut self.stage {
            Stage::Body(pool) | Stage::Last(pool) | Stage::First(pool) => {
                pool.on(open, outcome, &mut self.ledger)
            }
            Stage::Scan(scan) => {
                if let Open::Compare(piece) = open {
                    scan.on(piece, &outcome);
                }
                Ok(None)
            }
            Stage::Discard => {
                // A drive that can't, or does not come to an end, is written as it is.
                self.advance();
                Ok(None)
            }
            Stage::Disarm(tries, _)
            | Stage::Seed(tries)
            | Stage::SeedFlush(tries)
            | Stage::Undo(tries, _) => {
                let answer = single(tries, outcome, &self.ledger);
                match answer {
                    Ok(true) => self.advance(),
                    Ok(false) => self.step_back(),
                    Err(_) => {}
                }
                answer.map(|_| None)
            }
            Stage::Done | Stage::Failed(_) => Ok(None),
        };
        match answer {
            Ok(Some(rest)) => self.ledger.orders.put_back(ticket, rest),
            Ok(None) => {}
            Err(stuck) => self.give_up(phase, stuck),
        }
        self.pass_finished_scan();
        self.pass_finished_pools();
        Heard::Taken
    }

    /// From now on pieces come in this way. Poll afterwards.
    pub fn feed(&mut self, feed: Feed) {
        self.feed = feed;
        if let Stage::Body(pool) | Stage::Last(pool) | Stage::First(pool) = &mut self.stage {
            pool.feed(feed);
        }
    }

    /// This piece is fetched, even while the others are pushed. Poll afterwards.
    pub fn pull(&mut self, id: u32) {
        if self.tables().any(|table| table.id == id) {
            self.settled.insert(id);
        }
        if let Stage::Body(pool) | Stage::Last(pool) | Stage::First(pool) = &mut self.stage {
            pool.pull(id);
        }
    }

    /// The pieces that are waited for to be offered. The tables are among them from the beginning of the body on, though they are
    /// of use only later.
    pub fn awaited(&self) -> impl Iterator<Item = u32> + '_ {
        let pool = match &self.stage {
            Stage::Body(pool) | Stage::Last(pool) | Stage::First(pool) => Some(pool),
            Stage::Scan(_)
            | Stage::Disarm(..)
            | Stage::Discard
            | Stage::Seed(_)
            | Stage::SeedFlush(_)
            | Stage::Undo(..)
            | Stage::Done
            | Stage::Failed(_) => None,
        };
        let is_lacking = |table: &Piece| table.stored > 0 && !self.settled.contains(&table.id);
        let tables = self.tables().filter(move |table| self.feed == Feed::Pushed && is_lacking(table));
        pool.into_iter().flat_map(Pool::awaited).chain(tables.map(|table| table.id))
    }

    /// The tables whose time has not come, while the body is written or has been.
    fn tables(&self) -> impl Iterator<Item = Piece> + use<> {
        let (first, last) = match &self.stage {
            Stage::Body(_) => (Some(self.first), self.last),
            Stage::Seed(_) | Stage::SeedFlush(_) if !self.whole => (Some(self.first), self.last),
            Stage::Last(_) => (Some(self.first), None),
            Stage::Scan(_)
            | Stage::Disarm(..)
            | Stage::Discard
            | Stage::Seed(_)
            | Stage::SeedFlush(_)
            | Stage::First(_)
            | Stage::Undo(..)
            | Stage::Done
            | Stage::Failed(_) => (None, None),
        };
        first.into_iter().chain(last)
    }

    /// A piece came without having been ordered; its stored bytes are right. When it is taken, they must be in the spool as if
    /// it had been fetched. Poll afterwards.
    pub fn offer(&mut self, id: u32, now: Millis) -> Offer {
        self.tick(now);
        if self.tables().any(|table| table.id == id) {
            self.settled.insert(id);
            return Offer::Table;
        }
        match &mut self.stage {
            Stage::Body(pool) | Stage::Last(pool) | Stage::First(pool) => pool.offer(id, &mut self.ledger),
            Stage::Scan(_) | Stage::Disarm(..) | Stage::Discard => Offer::Early,
            Stage::Seed(_) | Stage::SeedFlush(_) | Stage::Undo(..) | Stage::Done | Stage::Failed(_) => {
                Offer::Useless
            }
        }
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            phase: self.phase(),
            bytes_total: self.bytes_total,
            bytes_done: self.ledger.done,
            bytes_verified: self.ledger.verified,
            bytes_durable: self.ledger.durable,
            receipt: self.ledger.receipt,
        }
    }

    /// Whether the job may be left as it is: nothing of the first window was ordered to the disk, so that it does not
    /// boot. From then on only the end of the job makes sure what it is.
    #[must_use]
    pub fn may_stop(&self) -> bool {
        match &self.stage {
            Stage::First(pool) => pool.untouched(),
            Stage::Undo(..) => false,
            Stage::Scan(_)
            | Stage::Disarm(..)
            | Stage::Discard
            | Stage::Body(_)
            | Stage::Seed(_)
            | Stage::SeedFlush(_)
            | Stage::Last(_)
            | Stage::Done
            | Stage::Failed(_) => true,
        }
    }

    /// Whether it has ended, and how.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match &self.stage {
            Stage::Done => Verdict::Done(self.ledger.receipt),
            Stage::Failed(failure) => Verdict::Failed(failure.clone()),
            Stage::Scan(_)
            | Stage::Disarm(..)
            | Stage::Discard
            | Stage::Body(_)
            | Stage::Seed(_)
            | Stage::SeedFlush(_)
            | Stage::Last(_)
            | Stage::First(_)
            | Stage::Undo(..) => Verdict::Working,
        }
    }

    fn phase(&self) -> Phase {
        match &self.stage {
            Stage::Scan(_) => Phase::Scan,
            Stage::Disarm(..) | Stage::Discard => Phase::Disarm,
            Stage::Body(pool) => pool.phase(&self.ledger.orders),
            Stage::Seed(_) | Stage::SeedFlush(_) => Phase::Seed,
            Stage::Last(_) | Stage::First(_) => Phase::Tables,
            Stage::Undo(..) => Phase::Undo,
            Stage::Done => Phase::Done,
            Stage::Failed(_) => Phase::Failed,
        }
    }

    fn tick(&mut self, now: Millis) {
        self.ledger.now = self.ledger.now.max(now);
    }

    fn pass_finished_scan(&mut self) {
        let Stage::Scan(scan) = &self.stage else { return };
        let Some(found) = scan.found(&self.ledger) else { return };
        self.stage = match found {
            Found::Everything => {
                let all = [Some(self.first), self.last].into_iter().flatten().chain(self.body.drain(..));
                all.for_each(|piece| self.ledger.skip(piece));
                self.whole = true;
                if self.seed { Stage::Seed(Tries::default()) } else { Stage::Done }
            }
            Found::Parts(right) => {
                self.right = right;
                Stage::Disarm(Tries::default(), false)
            }
            Found::Nothing => Stage::Disarm(Tries::default(), true),
        };
    }

    fn pass_finished_pools(&mut self) {
        while let Stage::Body(pool) | Stage::Last(pool) | Stage::First(pool) = &self.stage {
            if !pool.finished(&self.ledger.orders) {
                return;
            }
            self.advance();
        }
    }

    /// On to the next stage; called when this one is finished.
    fn advance(&mut self) {
        let stage = std::mem::replace(&mut self.stage, Stage::Done);
        self.stage = match stage {
            Stage::Disarm(_, true) => Stage::Discard,
            Stage::Disarm(_, false) => {
                let pool = self.compare_the_rest();
                Stage::Body(self.proven(pool))
            }
            Stage::Discard => {
                let pool = Pool::all_missing(&std::mem::take(&mut self.body), self.feed);
                Stage::Body(self.proven(pool))
            }
            Stage::Body(_) if self.seed => Stage::Seed(Tries::default()),
            Stage::Seed(tries) => Stage::SeedFlush(tries),
            Stage::SeedFlush(_) if self.whole => Stage::Done,
            Stage::Body(_) | Stage::SeedFlush(_) => match self.last {
                Some(last) => Stage::Last(self.table(last)),
                None => Stage::First(self.table(self.first)),
            },
            Stage::Last(_) => Stage::First(self.table(self.first)),
            Stage::First(_) | Stage::Scan(_) | Stage::Done => Stage::Done,
            Stage::Undo(_, failure) => Stage::Failed(Failure { left: Left::Unbootable, ..failure }),
            Stage::Failed(failure) => Stage::Failed(failure),
        };
    }

    /// A table's pool. One that was offered is fetched from where it was laid by.
    fn table(&self, table: Piece) -> Pool {
        let mut pool = Pool::missing(table, self.feed);
        if self.settled.contains(&table.id) {
            pool.pull(table.id);
        }
        pool
    }

    /// The body's pool, as the job is to prove what it writes.
    fn proven(&self, pool: Pool) -> Pool {
        if self.read_back { pool } else { pool.trusting() }
    }

    /// What the scan has found right stays as it is, where the disarm has not been.
    fn compare_the_rest(&mut self) -> Pool {
        let mut right = std::mem::take(&mut self.right);
        let _lost = right.split_off(&self.lost_from);
        let (right, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.body).into_iter().partition(|piece| right.contains(&piece.id));
        right.into_iter().for_each(|piece| self.ledger.skip(piece));
        Pool::unknown(&rest).fed(self.feed)
    }

    /// A flush that failed may have lost what it was to make durable. Windows are read back after it; the seed was read
    /// back before, so it is written again.
    fn step_back(&mut self) {
        if let Stage::SeedFlush(tries) = self.stage {
            self.stage = Stage::Seed(tries);
        }
    }

    fn give_up(&mut self, phase: Phase, Stuck { piece, cause }: Stuck) {
        self.ledger.orders.abandon();
        let stage = std::mem::replace(&mut self.stage, Stage::Done);
        let failure = |left| Failure { phase, piece, cause, left };
        self.stage = match stage {
            // The first window may be on the disk in part.
            Stage::First(_) => Stage::Undo(Tries::default(), failure(Left::Unknown)),
            Stage::Scan(_) | Stage::Disarm(..) => Stage::Failed(failure(Left::Unknown)),
            Stage::Undo(_, earlier) | Stage::Failed(earlier) => Stage::Failed(earlier),
            Stage::Seed(_) | Stage::SeedFlush(_) if self.whole => Stage::Failed(failure(Left::Whole)),
            Stage::Discard
            | Stage::Body(_)
            | Stage::Seed(_)
            | Stage::SeedFlush(_)
            | Stage::Last(_)
            | Stage::Done => Stage::Failed(failure(Left::Unbootable)),
        };
    }
}

/// Takes the answer to an order that stands alone: true when it is done, false when it is to be tried again.
fn single(tries: &mut Tries, outcome: Outcome, ledger: &Ledger) -> Result<bool, Stuck> {
    if outcome == Outcome::Done {
        return Ok(true);
    }
    match tries.failed(ledger.now, ledger.limits.disk_tries) {
        true => Err(Stuck { piece: None, cause: cause_of(outcome) }),
        false => Ok(false),
    }
}

fn check(pieces: &[Piece]) -> Result<(), JobError> {
    let mut before: Option<u32> = None;
    for Piece { id, offset, stored, bytes } in pieces.iter().copied() {
        if let Some(after) = before
            && id <= after
        {
            return Err(JobError::Order { id, after });
        }
        if bytes == 0 || offset.checked_add(u64::from(stored)).is_none() {
            return Err(JobError::Range { id });
        }
        before = Some(id);
    }
    Ok(())
}
