//! A set of pieces on their way to the disk: compared, fetched, written, flushed, read back. Used for the body with
//! thousands of pieces, and for each partition table with one.
//!
//! Where the pool stands follows from its queues; there is no second variable that could disagree with them.

use std::collections::{BTreeMap, BTreeSet};

use crate::order::{Open, Orders};
use crate::retry::{Source, Tries, pause};
use crate::{Feed, Limits, Millis, Offer, Order, Outcome, Phase, Piece, Receipt};

type Queue = BTreeMap<u32, Piece>;

/// A spool too small for several ranges is filled again when so large a part of it is free.
const SPOOL_PARTS: u64 = 4;

/// What lasts as long as the job: open orders, the source's health, counters, limits, the time.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) orders: Orders,
    pub(crate) source: Source,
    pub(crate) limits: Limits,
    pub(crate) now: Millis,
    pub(crate) done: u64,
    pub(crate) verified: u64,
    pub(crate) durable: u64,
    pub(crate) receipt: Receipt,
}

impl Ledger {
    /// A piece was read and is right: nothing is left to do for it.
    pub(crate) fn skip(&mut self, piece: Piece) {
        let bytes = u64::from(piece.bytes);
        self.receipt.bytes_skipped += bytes;
        self.receipt.pieces_skipped += 1;
        self.done += bytes;
        self.verified += bytes;
        self.durable += bytes;
    }

    /// A piece that was written is not what it should be: it counts when it is.
    fn take_back(&mut self, piece: Piece) {
        let bytes = u64::from(piece.bytes);
        self.done = self.done.saturating_sub(bytes);
        self.durable = self.durable.saturating_sub(bytes);
        self.receipt.bytes_written = self.receipt.bytes_written.saturating_sub(bytes);
        self.receipt.pieces_written = self.receipt.pieces_written.saturating_sub(1);
    }
}

/// Why a pool can't go on.
#[derive(Debug)]
pub(crate) struct Stuck {
    pub(crate) piece: Option<u32>,
    pub(crate) cause: String,
}

#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// Not looked at yet.
    unknown: Queue,
    /// To be fetched.
    wanted: Queue,
    /// To be offered.
    awaited: Queue,
    /// Fetched, however the others come.
    pulled: BTreeSet<u32>,
    /// What becomes of pieces that are not there: whether they are fetched or awaited.
    feed: Feed,
    /// To be fetched, but not before a moment.
    later: BTreeMap<(Millis, u32), Piece>,
    /// To be written: in the spool, or zeros.
    arrived: Queue,
    /// On the disk, to be read back.
    unread: Queue,
    /// Whether every window is read back that was written, and not only what a flush that failed may have lost.
    reads_back: bool,
    /// Written and not to be read back, if the next flush succeeds; and if the one under way does.
    trusted: Queue,
    trusted_flushing: Queue,
    /// How often pieces have failed.
    tries: BTreeMap<u32, u32>,
    /// Stored bytes being fetched, waiting, or being written.
    spool: u64,
    /// Whether a write was ordered.
    written: bool,
    /// Whether a flush has succeeded that was ordered after the last write was done.
    flushed: bool,
    flush: Tries,
    /// Bytes whose write is done and no flush was ordered since, and when the first of them was done.
    unflushed: u64,
    since: Option<Millis>,
    /// Bytes that the flush under way will make durable.
    flushing: Option<u64>,
}

impl Pool {
    fn empty() -> Pool {
        Pool { reads_back: true, ..Pool::default() }
    }

    /// Pieces that may be on the disk already.
    pub(crate) fn unknown(pieces: &[Piece]) -> Pool {
        let unknown = pieces.iter().map(|piece| (piece.id, *piece)).collect();
        Pool { unknown, ..Pool::empty() }
    }

    /// Pieces that are certainly not there, or of no use where they are.
    pub(crate) fn all_missing(pieces: &[Piece], feed: Feed) -> Pool {
        let mut pool = Pool::empty().fed(feed);
        pieces.iter().for_each(|piece| pool.want(*piece));
        pool
    }

    /// A piece that is certainly not there.
    pub(crate) fn missing(piece: Piece, feed: Feed) -> Pool {
        Pool::all_missing(&[piece], feed)
    }

    /// The same pool, and what it has written is taken to be right once it is durable.
    pub(crate) fn trusting(self) -> Pool {
        Pool { reads_back: false, ..self }
    }

    /// The same pool, and what it lacks comes in this way.
    pub(crate) fn fed(mut self, feed: Feed) -> Pool {
        self.feed(feed);
        self
    }

    /// From now on what is lacking comes in this way. What is being fetched still comes; what has failed is still fetched.
    pub(crate) fn feed(&mut self, feed: Feed) {
        self.feed = feed;
        match feed {
            Feed::Pulled => self.wanted.append(&mut self.awaited),
            Feed::Pushed => {
                let is_fetched = |id: &u32| self.pulled.contains(id) || self.tries.contains_key(id);
                self.awaited.extend(self.wanted.extract_if(.., |id, _| !is_fetched(id)));
            }
        }
    }

    /// This piece is fetched from now on, however the others come.
    pub(crate) fn pull(&mut self, id: u32) {
        self.pulled.insert(id);
        if let Some(piece) = self.awaited.remove(&id) {
            self.wanted.insert(id, piece);
        }
    }

    /// The pieces that are to be offered.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = u32> {
        self.awaited.keys().copied()
    }

    /// A piece has come unasked.
    pub(crate) fn offer(&mut self, id: u32, ledger: &mut Ledger) -> Offer {
        let is_compared = |open: &Open| matches!(open, Open::Compare(piece) if piece.id == id);
        if self.unknown.contains_key(&id) || ledger.orders.any(is_compared) {
            return Offer::Early;
        }
        let queue = if self.awaited.contains_key(&id) { &mut self.awaited } else { &mut self.wanted };
        let Some(piece) = queue.get(&id) else { return Offer::Useless };
        let stored = u64::from(piece.stored);
        if self.spool > 0 && self.spool.saturating_add(stored) > ledger.limits.spool_bytes {
            return Offer::Full;
        }
        if let Some(piece) = queue.remove(&id) {
            self.spool += stored;
            ledger.receipt.bytes_fetched += stored;
            self.arrived.insert(id, piece);
        }
        Offer::Taken
    }

    /// Everything is on the disk, durable and read back.
    pub(crate) fn finished(&self, orders: &Orders) -> bool {
        self.flushed && self.unread.is_empty() && self.still() && orders.is_empty()
    }

    /// Nothing of it was ordered to the disk.
    pub(crate) fn untouched(&self) -> bool {
        !self.written
    }

    pub(crate) fn phase(&self, orders: &Orders) -> Phase {
        if !self.still() || orders.count(moves) > 0 {
            Phase::Body
        } else if self.flushed {
            Phase::ReadBack
        } else {
            Phase::Flush
        }
    }

    /// The next moment at which [`Pool::orders`] will have more to give without an answer coming first.
    pub(crate) fn wake(&self, source: &Source, limits: &Limits) -> Option<Millis> {
        let ripe = self.later.keys().next().map(|(then, _)| *then);
        let source = (!self.wanted.is_empty()).then(|| source.not_before());
        let flush = (self.still() && !self.flushed).then(|| self.flush.not_before());
        let due = self.since.filter(|_| self.flushing.is_none());
        let due = due.map(|since| since.after(limits.flush_after).max(self.flush.not_before()));
        [ripe, source, flush, due].into_iter().flatten().min()
    }

    /// No piece waits to be compared, fetched or written.
    fn still(&self) -> bool {
        let Pool { unknown, wanted, awaited, later, arrived, .. } = self;
        [unknown, wanted, awaited, arrived].iter().all(|queue| queue.is_empty()) && later.is_empty()
    }

    pub(crate) fn orders(&mut self, ledger: &mut Ledger) -> Vec<Order> {
        self.ripen(ledger.now);
        let mut given = Vec::new();
        self.give_writes(ledger, &mut given);
        self.give_fetches(ledger, &mut given);
        self.give_compares(ledger, &mut given);
        let is_still = self.still() && ledger.orders.count(moves) == 0;
        if is_still && self.flushed {
            self.give_reads(ledger, &mut given);
        } else if (is_still || self.flush_is_due(ledger)) && self.flush.ready(ledger.now) {
            self.give_flush(ledger, &mut given);
        }
        given
    }

    fn flush_is_due(&self, Ledger { limits, now, .. }: &Ledger) -> bool {
        let is_old = |since: Millis| since.after(limits.flush_after) <= *now;
        self.unflushed >= limits.flush_bytes.max(1) || self.since.is_some_and(is_old)
    }

    /// One at a time: it covers every write that is done when it is ordered.
    fn give_flush(&mut self, ledger: &mut Ledger, given: &mut Vec<Order>) {
        if self.flushing.is_some() {
            return;
        }
        self.flushing = Some(std::mem::take(&mut self.unflushed));
        self.trusted_flushing = std::mem::take(&mut self.trusted);
        self.since = None;
        given.push(ledger.orders.give(Open::Flush));
    }

    fn ripen(&mut self, now: Millis) {
        while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= now) {
            let piece = entry.remove();
            self.want(piece);
        }
    }

    fn want(&mut self, piece: Piece) {
        let queue = match self.feed {
            _ if piece.stored == 0 => &mut self.arrived,
            Feed::Pushed if !self.is_fetched(piece.id) => &mut self.awaited,
            Feed::Pushed | Feed::Pulled => &mut self.wanted,
        };
        queue.insert(piece.id, piece);
    }

    /// Whoever sends to all does not send again for one.
    fn is_fetched(&self, id: u32) -> bool {
        self.pulled.contains(&id) || self.tries.contains_key(&id)
    }

    fn give_writes(&mut self, ledger: &mut Ledger, given: &mut Vec<Order>) {
        while ledger.orders.count(|open| matches!(open, Open::Write(_))) < ledger.limits.writes.max(1) {
            let Some((_, piece)) = self.arrived.pop_first() else { return };
            (self.written, self.flushed) = (true, false);
            given.push(ledger.orders.give(Open::Write(piece)));
        }
    }

    fn give_compares(&mut self, ledger: &mut Ledger, given: &mut Vec<Order>) {
        while ledger.orders.count(reads) < ledger.limits.compares.max(1) {
            let Some((_, piece)) = self.unknown.pop_first() else { return };
            given.push(ledger.orders.give(Open::Compare(piece)));
        }
    }

    fn give_reads(&mut self, ledger: &mut Ledger, given: &mut Vec<Order>) {
        while ledger.orders.count(reads) < ledger.limits.compares.max(1) {
            let Some((_, piece)) = self.unread.pop_first() else { return };
            given.push(ledger.orders.give(Open::ReadBack(piece)));
        }
    }

    fn give_fetches(&mut self, ledger: &mut Ledger, given: &mut Vec<Order>) {
        if !ledger.source.ready(ledger.now) {
            return;
        }
        let is_open = |open: &Open| matches!(open, Open::Fetch(_));
        while self.has_room(&ledger.limits) && ledger.orders.count(is_open) < ledger.limits.fetches.max(1) {
            let range = self.next_range(&ledger.limits);
            if range.is_empty() {
                return;
            }
            given.push(ledger.orders.give(Open::Fetch(range)));
        }
    }

    /// Whether the spool has room for a range that is worth asking for. A spool that is nearly full gets room piece by piece:
    /// whoever asked at once would ask for every piece alone.
    fn has_room(&self, limits: &Limits) -> bool {
        let worth = limits.range_bytes.min(limits.spool_bytes / SPOOL_PARTS);
        self.spool == 0 || limits.spool_bytes.saturating_sub(self.spool) >= worth
    }

    /// Takes the lowest wanted piece that the spool has room for, and its neighbours at the source.
    fn next_range(&mut self, limits: &Limits) -> Queue {
        let mut range = Queue::new();
        let (mut len, mut end) = (0_u64, None);
        while let Some(entry) = self.wanted.first_entry() {
            let piece = *entry.get();
            let stored = u64::from(piece.stored);
            let fits_spool = self.spool == 0 || self.spool.saturating_add(stored) <= limits.spool_bytes;
            let joins = end.is_none_or(|end| end == piece.offset && len + stored <= limits.range_bytes);
            if !fits_spool || !joins {
                break;
            }
            entry.remove();
            self.spool += stored;
            len += stored;
            end = Some(piece.offset.saturating_add(stored));
            range.insert(piece.id, piece);
        }
        range
    }

    /// Takes the answer to one of this pool's orders. Gives back what is still open of it: the pieces of a range
    /// that are yet to come.
    pub(crate) fn on(
        &mut self,
        open: Open,
        outcome: Outcome,
        ledger: &mut Ledger,
    ) -> Result<Option<Open>, Stuck> {
        match open {
            Open::Compare(piece) => self.compared(piece, &outcome, ledger),
            Open::Fetch(pieces) => return self.fetched(pieces, outcome, ledger),
            Open::Write(piece) => self.written(piece, outcome, ledger)?,
            Open::ReadBack(piece) => self.read_back(piece, outcome, ledger)?,
            Open::Flush => self.was_flushed(outcome, ledger)?,
            Open::Disarm | Open::Discard | Open::WriteSeed => {}
        }
        Ok(None)
    }

    fn compared(&mut self, piece: Piece, outcome: &Outcome, ledger: &mut Ledger) {
        // A window that can't be read is not what it should be: writing it may even mend the disk.
        if *outcome != Outcome::Same {
            return self.want(piece);
        }
        ledger.skip(piece);
    }

    fn fetched(
        &mut self,
        mut pieces: Queue,
        outcome: Outcome,
        ledger: &mut Ledger,
    ) -> Result<Option<Open>, Stuck> {
        match outcome {
            Outcome::Arrived(id) => {
                if let Some(piece) = pieces.remove(&id) {
                    ledger.source.arrived();
                    ledger.receipt.bytes_fetched += u64::from(piece.stored);
                    self.arrived.insert(id, piece);
                }
            }
            Outcome::Spoilt { id, cause } => {
                if let Some(piece) = pieces.remove(&id) {
                    self.leave_spool(piece);
                    self.try_again(piece, cause, ledger)?;
                }
            }
            other @ (Outcome::Done | Outcome::Same | Outcome::Differs | Outcome::Failed(_)) => {
                for (_, piece) in std::mem::take(&mut pieces) {
                    self.leave_spool(piece);
                    self.want(piece);
                }
                ledger.receipt.source_failures += 1;
                if ledger.source.failed(ledger.now, ledger.limits.patience) {
                    return Err(Stuck { piece: None, cause: cause_of(other) });
                }
            }
        }
        Ok((!pieces.is_empty()).then_some(Open::Fetch(pieces)))
    }

    fn written(&mut self, piece: Piece, outcome: Outcome, ledger: &mut Ledger) -> Result<(), Stuck> {
        self.leave_spool(piece);
        if outcome != Outcome::Done {
            return self.try_again(piece, cause_of(outcome), ledger);
        }
        ledger.receipt.bytes_written += u64::from(piece.bytes);
        ledger.receipt.pieces_written += 1;
        ledger.done += u64::from(piece.bytes);
        self.unflushed += u64::from(piece.bytes);
        self.since.get_or_insert(ledger.now);
        let written = if self.reads_back { &mut self.unread } else { &mut self.trusted };
        written.insert(piece.id, piece);
        Ok(())
    }

    fn read_back(&mut self, piece: Piece, outcome: Outcome, ledger: &mut Ledger) -> Result<(), Stuck> {
        if outcome == Outcome::Same {
            ledger.verified += u64::from(piece.bytes);
            return Ok(());
        }
        ledger.take_back(piece);
        let cause = match outcome {
            Outcome::Differs => "read back, it is not what was written".to_owned(),
            other @ (Outcome::Done
            | Outcome::Same
            | Outcome::Arrived(_)
            | Outcome::Spoilt { .. }
            | Outcome::Failed(_)) => cause_of(other),
        };
        self.try_again(piece, cause, ledger)
    }

    fn was_flushed(&mut self, outcome: Outcome, ledger: &mut Ledger) -> Result<(), Stuck> {
        let covered = self.flushing.take().unwrap_or(0);
        if outcome == Outcome::Done {
            ledger.durable += covered;
            self.trusted_flushing.clear();
            // A write that was under way beside it is not covered.
            self.flushed = self.unflushed == 0 && ledger.orders.count(|o| matches!(o, Open::Write(_))) == 0;
            self.flush = Tries::default();
            return Ok(());
        }
        self.unflushed += covered;
        self.since.get_or_insert(ledger.now);
        // Whatever was in the drive's cache may be lost, and what is on its way there too.
        self.reads_back = true;
        self.unread.append(&mut self.trusted_flushing);
        self.unread.append(&mut self.trusted);
        if self.flush.failed(ledger.now, ledger.limits.disk_tries) {
            return Err(Stuck { piece: None, cause: cause_of(outcome) });
        }
        Ok(())
    }

    fn leave_spool(&mut self, piece: Piece) {
        self.spool = self.spool.saturating_sub(u64::from(piece.stored));
    }

    fn try_again(&mut self, piece: Piece, cause: String, ledger: &mut Ledger) -> Result<(), Stuck> {
        let tries = self.tries.entry(piece.id).or_insert(0);
        *tries = tries.saturating_add(1);
        if *tries >= ledger.limits.piece_tries.max(1) {
            return Err(Stuck { piece: Some(piece.id), cause });
        }
        ledger.receipt.retries += 1;
        self.later.insert((ledger.now.after(pause(*tries)), piece.id), piece);
        Ok(())
    }
}

/// The cause of a failure; an answer that does not fit its order is one too.
pub(crate) fn cause_of(outcome: Outcome) -> String {
    match outcome {
        Outcome::Failed(cause) | Outcome::Spoilt { cause, .. } => cause,
        Outcome::Done | Outcome::Same | Outcome::Differs | Outcome::Arrived(_) => {
            "the answer does not fit the order".to_owned()
        }
    }
}

fn reads(open: &Open) -> bool {
    matches!(open, Open::Compare(_) | Open::ReadBack(_))
}

fn moves(open: &Open) -> bool {
    matches!(open, Open::Compare(_) | Open::Fetch(_) | Open::Write(_))
}
