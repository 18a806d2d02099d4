//! Who listens, and how well.

use std::collections::BTreeMap;
use std::fmt;

use super::Ignored;
use crate::Micros;
use crate::wire::Report;

/// Of whom nothing was heard for so long, nothing counts.
const GONE: Micros = Micros(3_000_000);
/// Who has heard nothing for so long while something was sent, will not.
const DEAF: Micros = Micros(1_500_000);
/// Losses above this, of a million, are better fetched.
const TOO_LOSSY: u32 = 150_000;
/// How often in a row somebody has to hear far worse than the others before it is sent away.
const ROUNDS: u32 = 4;

/// Why somebody is better off fetching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Nothing that is sent arrives.
    Deaf,
    /// More is lost than repairs can make up for, and not with the others.
    Lossy,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Deaf => "nothing that is sent to all arrives there",
            Why::Lossy => "more than 15 of 100 packets do not arrive there",
        })
    }
}

/// What becomes of a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on listening.
    Keep,
    /// It is to fetch; what it lacks does not count any more.
    Pull(Why),
}

/// One receiver, for those who look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiverView {
    /// Of a million packets, how many do not arrive; of late.
    pub loss_ppm: u32,
    /// Symbols that it lacks.
    pub lacks: u64,
    /// When it was last heard of.
    pub heard: Option<Micros>,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// One receiver.
#[derive(Debug, Clone)]
struct Seat {
    joined: Micros,
    /// Symbols that had been sent when it joined.
    joined_at: u64,
    heard: Option<Micros>,
    number: Option<u32>,
    /// Of the last report that a loss was judged by: symbols sent, symbols arrived.
    judged: Option<(u64, u32)>,
    loss: u32,
    /// In how many rounds it heard far worse than the others.
    bad: u32,
    /// What was lost in this round, of a million.
    lately: Option<u32>,
    lacks: u64,
    /// What it lacks in the reports of one round; a round begins with the first group.
    lacking: u64,
    verdict: Verdict,
}

/// All of them. Losses are judged in rounds: all by what was sent since the round began.
#[derive(Debug, Default)]
pub(super) struct Audience {
    seats: BTreeMap<u32, Seat>,
    /// Symbols that had been sent when the round began.
    since: u64,
    /// Packets that a loss is judged by at least.
    judged_by: u64,
}

impl Audience {
    pub(super) fn join(&mut self, slot: u32, sent: u64, now: Micros) {
        let seat = Seat {
            joined: now,
            joined_at: sent,
            heard: None,
            number: None,
            judged: None,
            loss: 0,
            bad: 0,
            lately: None,
            lacks: 0,
            lacking: 0,
            verdict: Verdict::Keep,
        };
        self.seats.insert(slot, seat);
    }

    pub(super) fn leave(&mut self, slot: u32) {
        self.seats.remove(&slot);
    }

    /// Takes a report's numbers; `heard` is up to which symbol it speaks, of `sent`.
    pub(super) fn hear(
        &mut self,
        report: &Report,
        heard: u64,
        sent: u64,
        now: Micros,
    ) -> Result<(), Ignored> {
        let seat = self.seats.get_mut(&report.slot).ok_or(Ignored::Stranger)?;
        // Numbers wrap; half of them lie ahead.
        let is_new = |known: u32| (1..u32::MAX / 2).contains(&report.number.wrapping_sub(known));
        if !seat.number.is_none_or(is_new) {
            return Err(Ignored::Replay);
        }
        seat.number = Some(report.number);
        seat.heard = Some(now);
        if report.first == 0 {
            seat.lacks = std::mem::take(&mut seat.lacking);
        }
        let lacking = report.runs.iter().map(|run| u64::from(run.groups) * u64::from(run.deficit));
        seat.lacking = seat.lacking.saturating_add(lacking.sum());
        seat.judge((report.received, heard), self.since, self.judged_by);
        let is_deaf = heard <= seat.joined_at && sent > seat.joined_at && now.since(seat.joined) > DEAF;
        if is_deaf {
            seat.verdict = Verdict::Pull(Why::Deaf);
        }
        match seat.verdict {
            Verdict::Keep => Ok(()),
            Verdict::Pull(_) => Err(Ignored::Pulls),
        }
    }

    /// The loss that the rate goes by, of a million: of nine in ten, the worst. Among few, one that is far worse than all others
    /// does not count.
    fn loss(&self, now: Micros) -> Option<u32> {
        let mut all: Vec<u32> = self.live(now).filter_map(|seat| seat.lately).collect();
        all.sort_unstable();
        let counted = (all.len() * 9).div_ceil(10);
        let worst = *all.get(counted.checked_sub(1)?)?;
        let rest = counted.checked_sub(2).and_then(|at| all.get(at));
        let others = rest.filter(|rest| all.len() < 10 && worst > TOO_LOSSY && **rest < worst / 3);
        Some(others.copied().unwrap_or(worst))
    }

    /// The loss of this round, as soon as half of all who listen have said enough.
    pub(super) fn verdict(&self, now: Micros) -> Option<u32> {
        let (mut all, mut told) = (0_usize, 0_usize);
        for seat in self.live(now) {
            all += 1;
            told += usize::from(seat.lately.is_some());
        }
        if told > 0 && 2 * told >= all { self.loss(now) } else { None }
    }

    /// Sends away who hears far worse than the others, again and again.
    pub(super) fn send_away(&mut self, loss: u32) {
        for seat in self.seats.values_mut() {
            let Some(lately) = seat.lately else { continue };
            seat.bad = if lately > TOO_LOSSY && loss < lately / 3 { seat.bad + 1 } else { 0 };
            if seat.verdict == Verdict::Keep && seat.bad >= ROUNDS {
                seat.verdict = Verdict::Pull(Why::Lossy);
            }
        }
    }

    /// A new round begins with what is sent from now on; or, where nothing has changed, with what the last one ended with.
    pub(super) fn begin_round(&mut self, sent: u64, judged_by: u64, is_new: bool) {
        self.judged_by = judged_by;
        if is_new {
            self.since = sent;
        }
        for seat in self.seats.values_mut() {
            seat.lately = None;
            if is_new {
                seat.judged = None;
            }
        }
    }

    pub(super) fn views(&self) -> impl Iterator<Item = (u32, ReceiverView)> {
        self.seats.iter().map(|(slot, seat)| {
            let Seat { loss, lacks, lacking, heard, verdict, .. } = *seat;
            (*slot, ReceiverView { loss_ppm: loss, lacks: lacks.max(lacking), heard, verdict })
        })
    }

    fn live(&self, now: Micros) -> impl Iterator<Item = &Seat> {
        let is_live = move |seat: &&Seat| {
            seat.verdict == Verdict::Keep && seat.heard.is_some_and(|heard| now.since(heard) < GONE)
        };
        self.seats.values().filter(is_live)
    }
}

impl Seat {
    /// Loss since the last report that was judged, when enough was sent; of what was sent since the round began.
    fn judge(&mut self, (received, heard): (u32, u64), since: u64, judged_by: u64) {
        if heard < since {
            return;
        }
        let Some((sent_before, received_before)) = self.judged else {
            self.judged = Some((heard, received));
            return;
        };
        let (sent, arrived) =
            (heard.saturating_sub(sent_before), u64::from(received.wrapping_sub(received_before)));
        if sent < judged_by.max(1) {
            return;
        }
        let lost = sent.saturating_sub(arrived);
        let loss = u32::try_from(lost.saturating_mul(1_000_000) / sent).unwrap_or(1_000_000);
        self.lately = Some(loss);
        self.loss = if self.loss == 0 { loss } else { (self.loss / 4 * 3).saturating_add(loss / 4) };
        self.judged = Some((heard, received));
    }
}
