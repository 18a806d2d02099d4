//! From a list of pieces to one disk that is the image, or that does not boot.
//!
//! ```text
//! Disarm ─► Body: compare ─► fetch ─► write ─► flush ─► read back ─► Seed ─► Last window ─► First window ─► Done
//!              ▲                                           │          (each: fetch, write, flush, read back)
//!              └────────────── what differs ───────────────┘                          │
//!                                                                          Undo ◄─────┘ failed
//! ```
//! The first window, without which nothing boots, is written when everything else is durable and was read back. If
//! it then can't be brought to read back right, the disk is disarmed again before the job fails.

use thiserror::Error;

use crate::order::{Open, Orders};
use crate::pool::{Ledger, Pool, Stuck, cause_of};
use crate::retry::{Source, Tries};
use crate::{
    Failure, Heard, Limits, Millis, Order, Outcome, Phase, Piece, Progress, Receipt, Ticket, Verdict,
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
    seed: bool,
    bytes_total: u64,
    ledger: Ledger,
}

#[derive(Debug)]
enum Stage {
    Disarm(Tries),
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
    /// tables and are written last. `seed`: whether a [`crate::Action::WriteSeed`] belongs to the job.
    ///
    /// # Errors
    /// When the pieces are none, out of order, empty, or their ranges overflow.
    pub fn new(pieces: Vec<Piece>, seed: bool, limits: Limits) -> Result<Receiver, JobError> {
        check(&pieces)?;
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
            receipt: Receipt::default(),
        };
        let stage = Stage::Disarm(Tries::default());
        Ok(Receiver { stage, first, last, body, seed, bytes_total, ledger })
    }

    /// What to start now. Empty when everything possible is under way, or the job has ended.
    pub fn poll(&mut self, now: Millis) -> Vec<Order> {
        self.tick(now);
        let (tries, open) = match &mut self.stage {
            Stage::Body(pool) | Stage::Last(pool) | Stage::First(pool) => {
                return pool.orders(&mut self.ledger);
            }
            Stage::Disarm(tries) | Stage::Undo(tries, _) => (tries, Open::Disarm),
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
            Stage::Body(pool) | Stage::Last(pool) | Stage::First(pool) => pool.wake(&self.ledger.source),
            Stage::Disarm(tries) | Stage::Seed(tries) | Stage::SeedFlush(tries) | Stage::Undo(tries, _) => {
                Some(tries.not_before())
            }
            Stage::Done | Stage::Failed(_) => None,
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
            Stage::Disarm(tries) | Stage::Seed(tries) | Stage::SeedFlush(tries) | Stage::Undo(tries, _) => {
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
        self.pass_finished_pools();
        Heard::Taken
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            phase: self.phase(),
            bytes_total: self.bytes_total,
            bytes_done: self.ledger.done,
            bytes_verified: self.ledger.verified,
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
            Stage::Disarm(_)
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
            Stage::Disarm(_)
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
            Stage::Disarm(_) => Phase::Disarm,
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
            Stage::Disarm(_) => Stage::Body(Pool::unknown(&std::mem::take(&mut self.body))),
            Stage::Body(_) if self.seed => Stage::Seed(Tries::default()),
            Stage::Seed(tries) => Stage::SeedFlush(tries),
            Stage::Body(_) | Stage::SeedFlush(_) => match self.last {
                Some(last) => Stage::Last(Pool::missing(last)),
                None => Stage::First(Pool::missing(self.first)),
            },
            Stage::Last(_) => Stage::First(Pool::missing(self.first)),
            Stage::First(_) | Stage::Done => Stage::Done,
            Stage::Undo(_, failure) => Stage::Failed(Failure { disarmed: true, ..failure }),
            Stage::Failed(failure) => Stage::Failed(failure),
        };
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
        let failure = |disarmed| Failure { phase, piece, cause, disarmed };
        self.stage = match stage {
            // The first window may be on the disk in part.
            Stage::First(_) => Stage::Undo(Tries::default(), failure(false)),
            Stage::Disarm(_) => Stage::Failed(failure(false)),
            Stage::Undo(_, earlier) | Stage::Failed(earlier) => Stage::Failed(earlier),
            Stage::Body(_) | Stage::Seed(_) | Stage::SeedFlush(_) | Stage::Last(_) | Stage::Done => {
                Stage::Failed(failure(true))
            }
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
