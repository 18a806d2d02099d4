//! Who listens, how well, and who is better off fetching.

use std::collections::BTreeMap;
use std::fmt;

use super::Ignored;
use super::pace::{Measured, Quality};
use super::provision::MILLION;
use super::timeline::Timeline;
use crate::Micros;
use crate::wire::Report;

/// Of whom nothing was heard for so long, nothing counts.
const GONE: Micros = Micros(3_000_000);
/// Who has heard nothing for so long while something was sent, will not.
const DEAF: Micros = Micros(1_500_000);
/// Who has not completed a single group for so long, though groups were sent to it, will not.
const STUCK: Micros = Micros(3_000_000);
/// Nor will one who lacks as much as so long ago, whatever the reason: fetching is never slower than that.
const NO_PROGRESS: Micros = Micros(30_000_000);
/// And so many groups were sent.
const STUCK_GROUPS: u32 = 8;
/// Losses above this are better fetched.
const TOO_LOSSY: u32 = 150_000;
/// So many reports in a row must say so: one alone may tell of a pause.
const LOSSY_REPORTS: u32 = 3;
/// Whoever has heard of so few packets is not deaf yet.
const FEW: u64 = 40;
/// Packets that a loss is judged by at least.
const JUDGED_BY: u64 = 256;
/// When so many of a hundred receivers have told enough about the rate, the rest is not waited for.
const SAMPLED: u32 = 67;
/// Losses that are told of fewer packets count for less when they are smoothed.
const SMOOTHED_BY: u64 = 2048;
/// Who has heard none of so many packets since it said so the last time is cut off for the moment.
const CUT_OFF: u64 = 256;
/// From so many receivers on, one in ten does not count for the rate. Of fewer, one that is far worse than the others.
const MANY: usize = 10;

/// Why somebody is better off fetching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Nothing that is sent arrives.
    Deaf,
    /// More is lost than repairs can make up for, and not with the others.
    Lossy,
    /// Packets arrive, and no group is ever complete.
    Stuck,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Deaf => "nothing that is sent to all arrives there",
            Why::Lossy => "more than 15 of 100 packets do not arrive there",
            Why::Stuck => "what is sent to all does not become whole there",
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
pub(super) struct Seat {
    slot: u32,
    joined: Micros,
    /// Symbols that had been sent when it joined, or came back.
    joined_at: u64,
    heard: Option<Micros>,
    /// What was sent before this symbol has arrived, or will not.
    until: u64,
    /// It counts: it was heard of, not too long ago, and is not to fetch.
    is_live: bool,
    number: Option<u32>,
    /// Of the last report that a loss was judged by: symbols sent, symbols arrived.
    mark: Option<(u64, u32)>,
    /// Of the report that the rate is judged from.
    window: Option<(u64, u32)>,
    /// Of the last report.
    last: (u64, u32),
    /// It reports, and hears nothing: a switch does not know of it yet, or a cable is out. That says nothing about the rate.
    is_cut_off: bool,
    loss: Option<u32>,
    /// Reports in a row that tell of too much loss.
    lossy: u32,
    /// Since when, and how many, groups were sent to it in vain.
    stuck: Option<(Micros, u32)>,
    /// The least that it has lacked, and since when.
    least: (u64, Micros),
    verdict: Verdict,
}

/// What a report means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hearing {
    /// The receiver's place.
    pub(super) at: usize,
    /// What was sent before this symbol has arrived, or will not.
    pub(super) until: u64,
}

/// All of them. A receiver has a place, from 0 on, for as long as it listens.
#[derive(Debug, Default)]
pub(super) struct Audience {
    places: BTreeMap<u32, usize>,
    seats: Vec<Option<Seat>>,
    live: u32,
    /// What was sent before this symbol says nothing about the rate now.
    since: u64,
}

impl Audience {
    /// A new receiver, in the place of the one that had its slot before.
    pub(super) fn join(&mut self, slot: u32, sent: u64, now: Micros) -> usize {
        let at = self.places.get(&slot).copied().or_else(|| self.seats.iter().position(Option::is_none));
        let at = at.unwrap_or(self.seats.len());
        self.leave_place(at);
        if at == self.seats.len() {
            self.seats.push(None);
        }
        if let Some(seat) = self.seats.get_mut(at) {
            *seat = Some(Seat::new(slot, sent, now));
        }
        self.places.insert(slot, at);
        at
    }

    /// The place that becomes free.
    pub(super) fn leave(&mut self, slot: u32) -> Option<usize> {
        let at = self.places.remove(&slot)?;
        self.leave_place(at);
        Some(at)
    }

    fn leave_place(&mut self, at: usize) {
        let Some(seat) = self.seats.get_mut(at).and_then(Option::take) else { return };
        self.live -= u32::from(seat.is_live);
    }

    /// How many count.
    pub(super) fn live(&self) -> u32 {
        self.live
    }

    /// Whether somebody may still be heard of: one who has joined and says nothing yet.
    pub(super) fn is_awaited(&self, now: Micros) -> bool {
        let is_new = |seat: &Seat| seat.heard.is_none() && now.since(seat.joined) < GONE;
        self.seats.iter().flatten().any(is_new)
    }

    /// Takes a report's numbers; `heard` is up to which symbol it speaks, of `sent`.
    pub(super) fn hear(
        &mut self,
        report: &Report,
        heard: u64,
        sent: u64,
        now: Micros,
    ) -> Result<Hearing, Ignored> {
        let at = self.places.get(&report.slot).copied().ok_or(Ignored::Stranger)?;
        let seat = self.seats.get_mut(at).and_then(Option::as_mut).ok_or(Ignored::Stranger)?;
        // Numbers wrap; half of them lie ahead.
        let is_new = |known: u32| (1..u32::MAX / 2).contains(&report.number.wrapping_sub(known));
        if !seat.number.is_none_or(is_new) {
            return Err(Ignored::Replay);
        }
        seat.number = Some(report.number);
        if seat.heard.is_some() && !seat.is_live {
            // It was silent, and comes back: what it missed meanwhile says nothing about its cable.
            (seat.mark, seat.window, seat.lossy, seat.stuck) = (None, None, 0, None);
            (seat.joined, seat.joined_at, seat.least) = (now, sent, (u64::MAX, now));
        }
        seat.heard = Some(now);
        if report.first == 0 {
            seat.is_cut_off = heard <= seat.until && sent > heard.saturating_add(CUT_OFF);
        }
        seat.until = seat.until.max(heard);
        if seat.verdict == Verdict::Keep && !seat.is_live {
            seat.is_live = true;
            self.live += 1;
        }
        // What was sent before it came is not lost, nor what was before its switch knew of it.
        if heard >= seat.joined_at && report.received > 0 {
            seat.measure(report.received, heard);
            if seat.window.is_none() && heard >= self.since {
                seat.window = Some((heard, report.received));
            }
        }
        match seat.verdict {
            Verdict::Keep => Ok(Hearing { at, until: heard.max(seat.joined_at) }),
            Verdict::Pull(_) => Err(Ignored::Pulls),
        }
    }

    /// The rate is judged from now on by what is sent from now on.
    pub(super) fn begin_window(&mut self, sent: u64) {
        self.since = sent;
        self.seats.iter_mut().flatten().for_each(|seat| seat.window = None);
    }

    /// The rate is judged from now on by what is reported from now on.
    pub(super) fn go_on_window(&mut self) {
        self.seats.iter_mut().flatten().for_each(|seat| seat.window = seat.window.map(|_| seat.last));
    }

    /// What was lost in the window, when enough receivers have told of so many packets.
    pub(super) fn measured(&self, packets: u64, sent: &Timeline) -> Option<Measured> {
        let hearing = self.hearing().count() as u64;
        let (seats, is_one_left_out) = self.counted();
        let told = seats.filter_map(|seat| seat.quality(sent));
        let mut all: Vec<Quality> = told.filter(|quality| quality.packets >= packets).collect();
        let is_enough = hearing * u64::from(SAMPLED) <= all.len() as u64 * 100;
        all.sort_unstable_by_key(|quality| quality.loss);
        let (worst, median) = (
            nine_in_ten(&all, |quality| quality.loss, is_one_left_out).filter(|_| is_enough)?,
            all.get((all.len() - 1) / 2)?,
        );
        let counted = all.get(..=worst)?;
        let mean = counted.iter().map(|quality| u64::from(quality.loss)).sum::<u64>() / counted.len() as u64;
        let mean = u32::try_from(mean).unwrap_or(MILLION);
        Some(Measured {
            worst: *counted.last()?,
            mean,
            median: median.loss,
            live: u32::try_from(hearing).unwrap_or(u32::MAX),
        })
    }

    /// The smoothed loss that repairs are provided for: of nine in ten, the worst.
    pub(super) fn loss(&self) -> u32 {
        let (seats, is_one_left_out) = self.counted();
        let mut all: Vec<u32> = seats.filter_map(|seat| seat.loss).collect();
        all.sort_unstable();
        nine_in_ten(&all, |loss| *loss, is_one_left_out).and_then(|at| all.get(at).copied()).unwrap_or(0)
    }

    /// Those who count for the rate and for repairs.
    fn hearing(&self) -> impl Iterator<Item = &Seat> {
        self.seats.iter().flatten().filter(|seat| seat.is_live && !seat.is_cut_off)
    }

    /// These, but for one among few that has long lost far more than all others; and whether there is such a one.
    fn counted(&self) -> (impl Iterator<Item = &Seat>, bool) {
        let (mut worst, mut next) = (0, 0);
        for loss in self.hearing().filter_map(|seat| seat.loss) {
            (worst, next) = if loss > worst { (loss, worst) } else { (worst, next.max(loss)) };
        }
        let is_outlier = (2..MANY).contains(&self.hearing().count()) && next < worst / 3;
        (self.hearing().filter(move |seat| !is_outlier || seat.loss != Some(worst)), is_outlier)
    }

    /// Sends away who hears far worse than the others, and lets go who is silent; tells whose place does not count any more.
    /// `lacks` tells how much a place lacks.
    pub(super) fn judge(
        &mut self,
        loss: u32,
        sent: u64,
        lacks: impl Fn(usize) -> u64,
        now: Micros,
    ) -> Vec<usize> {
        let mut gone = Vec::new();
        for (at, seat) in self.seats.iter_mut().enumerate() {
            let Some(seat) = seat.as_mut().filter(|seat| seat.verdict == Verdict::Keep) else { continue };
            if !seat.is_live {
                if seat.is_mute(sent, now) {
                    seat.verdict = Verdict::Pull(Why::Stuck);
                }
                continue;
            }
            let lacks = lacks(at);
            if lacks < seat.least.0 || lacks == 0 {
                seat.least = (if lacks == 0 { u64::MAX } else { lacks }, now);
            }
            if let Some(why) = seat.fault(loss, sent, now) {
                seat.verdict = Verdict::Pull(why);
            }
            let is_silent = seat.heard.is_none_or(|heard| now.since(heard) >= GONE);
            if is_silent || seat.verdict != Verdict::Keep {
                seat.is_live = false;
                self.live -= 1;
                seat.window = None;
                gone.push(at);
            }
        }
        gone
    }

    /// A group became complete there, or nothing came of it though it was sent again as a whole.
    pub(super) fn sent_again(&mut self, at: usize, is_complete: bool, now: Micros) {
        let Some(seat) = self.seats.get_mut(at).and_then(Option::as_mut) else { return };
        seat.stuck = match seat.stuck {
            _ if is_complete => None,
            Some((since, groups)) => Some((since, groups.saturating_add(1))),
            None => Some((now, 1)),
        };
    }

    /// Everybody, with the place.
    pub(super) fn views(&self) -> impl Iterator<Item = (usize, u32, ReceiverView)> {
        let seats = self.seats.iter().enumerate().filter_map(|(at, seat)| Some((at, seat.as_ref()?)));
        seats.map(|(at, seat)| {
            let (loss_ppm, heard, verdict) = (seat.loss.unwrap_or(0), seat.heard, seat.verdict);
            (at, seat.slot, ReceiverView { loss_ppm, lacks: 0, heard, verdict })
        })
    }
}

impl Seat {
    fn new(slot: u32, sent: u64, now: Micros) -> Seat {
        Seat {
            slot,
            joined: now,
            joined_at: sent,
            heard: None,
            until: 0,
            is_live: false,
            number: None,
            mark: None,
            window: None,
            last: (0, 0),
            is_cut_off: false,
            loss: None,
            lossy: 0,
            stuck: None,
            least: (u64::MAX, now),
            verdict: Verdict::Keep,
        }
    }

    /// What was lost in the window.
    fn quality(&self, sent: &Timeline) -> Option<Quality> {
        let ((from, before), (heard, received)) = (self.window?, self.last);
        let packets = heard.checked_sub(from).filter(|packets| *packets > 0)?;
        let loss = lost(packets, received.wrapping_sub(before));
        Some(Quality { loss, rate: sent.rate(from, heard)?, packets })
    }

    /// What was lost since the last report, when enough was sent.
    fn measure(&mut self, received: u32, heard: u64) {
        self.last = (heard, received);
        let Some((from, before)) = self.mark else {
            self.mark = Some((heard, received));
            return;
        };
        let packets = heard.saturating_sub(from);
        if packets < JUDGED_BY {
            return;
        }
        self.mark = Some((heard, received));
        let loss = lost(packets, received.wrapping_sub(before));
        let part = packets.min(SMOOTHED_BY / 2);
        let smoothed = self.loss.map_or(u64::from(loss), |old| {
            (u64::from(old) * (SMOOTHED_BY - part) + u64::from(loss) * part) / SMOOTHED_BY
        });
        self.loss = u32::try_from(smoothed).ok();
        self.lossy = if loss > TOO_LOSSY { self.lossy.saturating_add(1) } else { 0 };
    }

    /// Whether nothing of what it says counts, and it would wait for ever for what it can't ask for. Whoever lacked nothing when it was last
    /// heard of has no more to say.
    fn is_mute(&self, sent: u64, now: Micros) -> bool {
        let (since, has_lacked) = match self.heard {
            Some(heard) => (heard, self.least.0 < u64::MAX),
            None => (self.joined, sent > self.joined_at.saturating_add(FEW)),
        };
        has_lacked && now.since(since) >= NO_PROGRESS
    }

    /// Why it is better off fetching, if it is, when most lose only so much.
    fn fault(&self, others: u32, sent: u64, now: Micros) -> Option<Why> {
        let loss = self.loss.unwrap_or(0);
        let is_deaf = self.until <= self.joined_at;
        let is_stuck = |(since, groups): (Micros, u32)| groups >= STUCK_GROUPS && now.since(since) >= STUCK;
        if is_deaf && sent > self.joined_at.saturating_add(FEW) && now.since(self.joined) > DEAF {
            Some(Why::Deaf)
        } else if self.lossy >= LOSSY_REPORTS && loss > TOO_LOSSY && others < loss / 3 {
            Some(Why::Lossy)
        } else if self.stuck.is_some_and(is_stuck) || now.since(self.least.1) >= NO_PROGRESS {
            Some(Why::Stuck)
        } else {
            None
        }
    }
}

/// How many of so many packets were lost, of a million.
fn lost(packets: u64, arrived: u32) -> u32 {
    let lost = packets.saturating_sub(u64::from(arrived));
    u32::try_from(lost.saturating_mul(u64::from(MILLION)) / packets.max(1)).unwrap_or(MILLION)
}

/// Where the worst is that counts: one in ten does not, and of few not one that is far worse than the others, unless one was left out.
fn nine_in_ten<T>(sorted: &[T], loss: impl Fn(&T) -> u32, is_one_left_out: bool) -> Option<usize> {
    let last = sorted.len().checked_sub(1)?;
    if sorted.len() >= MANY {
        return Some(last - sorted.len() / MANY);
    }
    let (worst, next) =
        (loss(sorted.get(last)?), last.checked_sub(1).and_then(|at| sorted.get(at)).map(&loss));
    let is_outlier = !is_one_left_out && next.is_some_and(|next| next < worst / 3);
    Some(if is_outlier { last - 1 } else { last })
}
