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
/// Packets that a loss is judged by at least: of fewer, one in a hundred may look like three.
const JUDGED_BY: u64 = 512;

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
    /// What was lost in the last interval, of a million.
    lately: Option<u32>,
    lacks: u64,
    /// What it lacks in the reports of one round; a round begins with the first group.
    lacking: u64,
    verdict: Verdict,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Audience(BTreeMap<u32, Seat>);

impl Audience {
    pub(super) fn join(&mut self, slot: u32, sent: u64, now: Micros) {
        let seat = Seat {
            joined: now,
            joined_at: sent,
            heard: None,
            number: None,
            judged: None,
            loss: 0,
            lately: None,
            lacks: 0,
            lacking: 0,
            verdict: Verdict::Keep,
        };
        self.0.insert(slot, seat);
    }

    pub(super) fn leave(&mut self, slot: u32) {
        self.0.remove(&slot);
    }

    /// Takes a report's numbers; `heard` is up to which symbol it speaks, of `sent`.
    pub(super) fn hear(
        &mut self,
        report: &Report,
        heard: u64,
        sent: u64,
        now: Micros,
    ) -> Result<(), Ignored> {
        let seat = self.0.get_mut(&report.slot).ok_or(Ignored::Stranger)?;
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
        seat.judge(report.received, heard);
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
    pub(super) fn loss(&self, now: Micros) -> Option<u32> {
        let mut all: Vec<u32> = self.live(now).filter_map(|seat| seat.lately).collect();
        all.sort_unstable();
        let counted = (all.len() * 9).div_ceil(10);
        let worst = *all.get(counted.checked_sub(1)?)?;
        let rest = counted.checked_sub(2).and_then(|at| all.get(at));
        let others = rest.filter(|rest| all.len() < 10 && worst > TOO_LOSSY && **rest < worst / 3);
        Some(others.copied().unwrap_or(worst))
    }

    /// Sends away who hears far worse than the others.
    pub(super) fn judge(&mut self, now: Micros) {
        let Some(loss) = self.loss(now) else { return };
        for seat in self.0.values_mut() {
            if seat.verdict == Verdict::Keep && seat.loss > TOO_LOSSY && loss < seat.loss / 3 {
                seat.verdict = Verdict::Pull(Why::Lossy);
            }
        }
    }

    pub(super) fn views(&self) -> impl Iterator<Item = (u32, ReceiverView)> {
        self.0.iter().map(|(slot, seat)| {
            let Seat { loss, lacks, lacking, heard, verdict, .. } = *seat;
            (*slot, ReceiverView { loss_ppm: loss, lacks: lacks.max(lacking), heard, verdict })
        })
    }

    fn live(&self, now: Micros) -> impl Iterator<Item = &Seat> {
        let is_live = move |seat: &&Seat| {
            seat.verdict == Verdict::Keep && seat.heard.is_some_and(|heard| now.since(heard) < GONE)
        };
        self.0.values().filter(is_live)
    }
}

impl Seat {
    /// Loss since the last report that was judged, when enough was sent.
    fn judge(&mut self, received: u32, heard: u64) {
        let Some((sent_before, received_before)) = self.judged else {
            self.judged = Some((heard, received));
            return;
        };
        let (sent, arrived) =
            (heard.saturating_sub(sent_before), u64::from(received.wrapping_sub(received_before)));
        if sent < JUDGED_BY {
            return;
        }
        let lost = sent.saturating_sub(arrived);
        let loss = u32::try_from(lost.saturating_mul(1_000_000) / sent).unwrap_or(1_000_000);
        self.lately = Some(loss);
        self.loss = if self.loss == 0 { loss } else { (self.loss / 4 * 3).saturating_add(loss / 4) };
        self.judged = Some((heard, received));
    }
}
