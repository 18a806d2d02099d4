//! The sending side of a transmission: what goes onto the wire next, and when.
//!
//! Nobody is waited for, but for a second at the beginning. A group is sent because somebody who is heard of lacks it: as a whole
//! to those who have nothing of it, then as many repair symbols as the one lacks who lacks most. Repairs go before groups that were
//! not sent yet; whoever lacks far more than the others gets what it lacks when nothing else is to be sent, or fetches it. Whoever
//! comes late gets the rest with the others, and then what it missed.

mod audience;
mod carousel;
mod deficits;
mod pace;
mod provision;
mod round;
#[cfg(test)]
mod tests;
mod timeline;
mod yielding;

use std::ops::Range;

pub use audience::{ReceiverView, Verdict, Why};

use crate::Micros;
use crate::groups::Groups;
use crate::wire::{Beat, DATA_BYTES, Report};
use audience::Audience;
use deficits::{Conditions, Deficits, Due};
use pace::{Change, Pace};
use provision::{MILLION, part};
use timeline::Timeline;
use yielding::Yielding;

/// Between beats while nothing can be sent: at first, and at most.
const BEAT_FIRST: Micros = Micros(20_000);
const BEAT_LAST: Micros = Micros(250_000);
/// How often it is looked who is silent, or hears badly.
const JUDGE_EVERY: Micros = Micros(100_000);
/// How often it is looked how much is lost.
const MEASURE_EVERY: Micros = Micros(20_000);
/// Receivers may have groups of so many bytes open while they wait for repairs: so often they are asked what they lack.
const OPEN_BYTES: u64 = 8 << 20;
/// But not more often than this, and by each receiver's share of ten thousand reports a second.
const ASK_EVERY: Micros = Micros(20_000);
const ASK_EACH: u64 = 100;
/// What any link takes that images are sent over, in bytes a second.
const ANY_LINK: u64 = 12_500_000;
/// Where so long nobody says a word while much is sent, they may be drowning in it.
const BLIND: Micros = Micros(600_000);
/// So long those are waited for who are to come at the same time, after the first one came: whoever comes a moment later than the first
/// symbol lacks a group, and all wait for that at the end.
const COMPANY: Micros = Micros(1_000_000);
/// Whoever is not asked reports so often by itself.
const UNASKED: Micros = Micros(250_000);

/// How much, how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes a second on the wire at most, all headers, preamble and gap included.
    pub rate_max: u64,
    /// At first.
    pub rate_start: u64,
    /// Symbols in one burst at most.
    pub burst: u16,
    /// Whether it gives way to other traffic.
    pub yields: bool,
}

impl Limits {
    /// For a link of so many bytes a second: 100 Mb/s of it at first, and as much at once as a kernel cuts (64 KiB).
    #[must_use]
    pub fn of(rate_max: u64) -> Limits {
        Limits { rate_max, rate_start: ANY_LINK.min(rate_max), burst: 44, yields: false }
    }
}

/// Symbols of one group that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Burst {
    /// The group.
    pub group: u32,
    /// How many data symbols it has.
    pub of: u16,
    /// Which symbols; from `of` on repair symbols.
    pub symbols: Range<u16>,
    /// The sequence number of the first.
    pub sequence: u32,
    /// Whether the last one asks for reports.
    pub asks: bool,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send these symbols.
    Send(Burst),
    /// Send this.
    Beat(Beat),
    /// Nothing, before this moment or a report.
    Wait(Option<Micros>),
}

/// Why a report changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum Ignored {
    #[error("another transmission's")]
    Session,
    #[error("of nobody who listens")]
    Stranger,
    #[error("heard before")]
    Replay,
    #[error("of groups or symbols that there are not")]
    Impossible,
    #[error("of one who was told to fetch")]
    Pulls,
}

/// What was done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes of data packets, headers of ours included.
    pub sent_bytes: u64,
    /// Of these, repair symbols.
    pub repair_bytes: u64,
    /// Reports that counted.
    pub reports: u64,
    /// And those that did not.
    pub ignored: Refusals,
}

/// Reports that did not count, by [`Ignored`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants of `Ignored` are their documentation")]
pub struct Refusals {
    pub session: u64,
    pub stranger: u64,
    pub replay: u64,
    pub impossible: u64,
    pub pulls: u64,
}

/// One transmission.
#[derive(Debug)]
pub struct Sender {
    session: u64,
    limits: Limits,
    deficits: Deficits,
    audience: Audience,
    pace: Pace,
    timeline: Timeline,
    yielding: Option<Yielding>,
    /// What is lost, of a million; repairs are provided for it.
    loss: u32,
    /// Of a round of answers, and of a group.
    repairing: Option<Due>,
    sending: Option<Due>,
    /// When the next beat goes, and how long after the one before.
    beat: Option<(Micros, Micros)>,
    asked: Micros,
    judged: Micros,
    measured: Micros,
    /// When the last report came, or had to be done without.
    heard: Micros,
    /// How many are waited for before anything is sent, and until when.
    company: Option<(u32, Option<Micros>)>,
    now: Micros,
    counters: Counters,
}

impl Sender {
    /// A transmission of these groups, to nobody yet.
    #[must_use]
    pub fn new(groups: &Groups, session: u64, limits: Limits) -> Sender {
        Sender {
            session,
            limits,
            deficits: Deficits::new(groups),
            audience: Audience::default(),
            pace: Pace::new(limits.rate_max, limits.rate_start),
            timeline: Timeline::default(),
            yielding: limits.yields.then(Yielding::new),
            loss: 0,
            repairing: None,
            sending: None,
            beat: None,
            asked: Micros(0),
            judged: Micros(0),
            measured: Micros(0),
            heard: Micros(0),
            company: None,
            now: Micros(0),
            counters: Counters::default(),
        }
    }

    /// So many are to come at about the same time: nothing is sent before as many lack something, or a second after the first of
    /// them did. Later ones come when they come.
    pub fn expect(&mut self, receivers: u32) {
        self.company = Some((receivers, None));
    }

    /// Somebody listens. Until it reports, it lacks nothing. Whoever had this slot before is gone.
    pub fn join(&mut self, slot: u32, now: Micros) {
        self.now = self.now.max(now);
        let at = self.audience.join(slot, self.timeline.sent(), now);
        self.deficits.clear(at);
    }

    /// Somebody does not listen any more.
    pub fn leave(&mut self, slot: u32) {
        if let Some(at) = self.audience.leave(slot) {
            self.deficits.clear(at);
        }
    }

    /// From now on at most so many bytes a second.
    pub fn limit(&mut self, rate_max: u64) {
        self.limits.rate_max = rate_max;
        let share = self.yielding.as_ref().map_or(MILLION, Yielding::part);
        self.pace.limit(part(rate_max, share));
    }

    /// Bytes a second on the wire, now.
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.pace.rate()
    }

    /// Takes a report.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn report(&mut self, report: &Report, now: Micros) -> Result<(), Ignored> {
        let taken = self.take(report, now);
        let counters = &mut self.counters;
        *match taken {
            Ok(()) => &mut counters.reports,
            Err(Ignored::Session) => &mut counters.ignored.session,
            Err(Ignored::Stranger) => &mut counters.ignored.stranger,
            Err(Ignored::Replay) => &mut counters.ignored.replay,
            Err(Ignored::Impossible) => &mut counters.ignored.impossible,
            Err(Ignored::Pulls) => &mut counters.ignored.pulls,
        } += 1;
        taken
    }

    fn take(&mut self, report: &Report, now: Micros) -> Result<(), Ignored> {
        if report.session != self.session {
            return Err(Ignored::Session);
        }
        let heard = self.absolute(report.next).ok_or(Ignored::Impossible)?;
        let groups: u64 = report.runs.iter().map(|run| u64::from(run.groups)).sum();
        if u64::from(report.first) + groups > self.deficits.len() as u64 {
            return Err(Ignored::Impossible);
        }
        let hearing = self.audience.hear(report, heard, self.timeline.sent(), now)?;
        self.heard = now;
        if let Some(yielding) = &mut self.yielding {
            yielding.hear(heard, now);
        }
        let answered = self.deficits.hear(hearing.at, report.first, &report.runs, hearing.until);
        if let Some(is_complete) = answered {
            self.audience.sent_again(hearing.at, is_complete, now);
        }
        Ok(())
    }

    /// What to do now; call it again after having done it.
    pub fn poll(&mut self, now: Micros) -> Step {
        self.now = now;
        self.judge(now);
        if let Some(until) = self.pace.wait(now) {
            return Step::Wait(Some(until));
        }
        let company = self.awaits_company(now);
        if company.is_none() {
            self.fill(now);
        }
        match self.burst(now) {
            Some(burst) => Step::Send(burst),
            None => {
                self.pace.rests(now);
                self.idle(company, now)
            }
        }
    }

    /// Who listens.
    pub fn receivers(&self) -> impl Iterator<Item = (u32, ReceiverView)> {
        self.audience
            .views()
            .map(|(at, slot, view)| (slot, ReceiverView { lacks: self.deficits.lacks(at), ..view }))
    }

    /// Whether everybody who is heard of has everything. Somebody may still come.
    #[must_use]
    pub fn done(&self) -> bool {
        self.is_idle() && self.deficits.is_done() && !self.audience.is_awaited(self.now)
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Looks at what receivers have told since the last time.
    fn judge(&mut self, now: Micros) {
        if now.since(self.measured) >= MEASURE_EVERY {
            self.measured = now;
            self.judge_rate(now);
        }
        let sends = !self.is_resting();
        if let Some(share) = self.yielding.as_mut().and_then(|yielding| yielding.decide(sends, now)) {
            self.pace.limit(part(self.limits.rate_max, share));
        }
        if now.since(self.judged) >= JUDGE_EVERY {
            self.judged = now;
            self.loss = self.audience.loss();
            let lacks = |at| self.deficits.lacks(at);
            for at in self.audience.judge(self.loss, self.timeline.sent(), lacks, now) {
                self.deficits.clear(at);
            }
        }
    }

    fn judge_rate(&mut self, now: Micros) {
        if self.is_resting() {
            self.heard = self.heard.max(now);
        } else if now.since(self.heard) >= BLIND {
            self.heard = now;
            self.pace.blind(now);
            return self.audience.begin_window(self.timeline.sent());
        }
        let Some(packets) = self.pace.needs(now) else { return };
        let Some(measured) = self.audience.measured(packets, &self.timeline) else { return };
        match self.pace.judge(measured, now) {
            Change::None => {}
            Change::GoOn => self.audience.go_on_window(),
            Change::Rate => self.audience.begin_window(self.timeline.sent()),
        }
    }

    /// Takes up what is to be sent. Repairs go before groups, also in the middle of one, so that receivers hold few groups that are not
    /// complete, and nobody who lacks little waits for one who lacks much.
    fn fill(&mut self, now: Micros) {
        let conditions = Conditions { loss: self.loss, live: self.audience.live() };
        for sending in [&mut self.repairing, &mut self.sending] {
            if let Some(due) = sending.take_if(|due| !self.deficits.is_lacking(due.group)) {
                // Whoever lacked it is gone, or has it from elsewhere.
                self.deficits.sent(due.group, self.timeline.sent(), now);
            }
        }
        if self.repairing.is_none() {
            self.repairing = self.deficits.next_repairs(conditions, now);
        }
        if self.repairing.is_none() && self.sending.is_none() {
            self.sending = self.deficits.next_group(conditions);
        }
    }

    /// Until when nothing is sent because others are to come; none once that is over.
    fn awaits_company(&mut self, now: Micros) -> Option<Micros> {
        let (receivers, until) = self.company.as_mut()?;
        let until = *until.get_or_insert(now.after(COMPANY));
        // Who has just come does not know yet.
        let (lacking, receivers) = (self.deficits.lacking(), *receivers);
        match lacking {
            // It begins with the first one.
            0 => self.company = Some((receivers, None)),
            _ if lacking >= receivers || now >= until => self.company = None,
            _ => return Some(until),
        }
        None
    }

    /// Cuts the next burst off what is being sent.
    fn burst(&mut self, now: Micros) -> Option<Burst> {
        let most = self.pace.burst(self.limits.burst);
        let sending = if self.repairing.is_some() { &mut self.repairing } else { &mut self.sending };
        let due = sending.as_mut()?;
        let stretch = due.symbols.front_mut()?;
        // A burst is of data or of repair symbols.
        let end = if stretch.start < due.of { stretch.end.min(due.of) } else { stretch.end };
        let end = end.min(stretch.start.saturating_add(most));
        let symbols = stretch.start..end;
        stretch.start = end;
        if stretch.start == stretch.end {
            due.symbols.pop_front();
        }
        let (group, of, is_last) = (due.group, due.of, due.symbols.is_empty());
        if is_last {
            *sending = None;
        }
        let sequence = self.sequence();
        self.count(&symbols, of, now);
        let mut is_urgent = false;
        if is_last {
            is_urgent = self.deficits.sent(group, self.timeline.sent(), now);
        }
        let asks = self.asks(is_last, is_urgent, now);
        Some(Burst { group, of, symbols, sequence, asks })
    }

    fn count(&mut self, symbols: &Range<u16>, of: u16, now: Micros) {
        let count = u64::from(symbols.end - symbols.start);
        self.timeline.send(count, self.pace.rate(), now);
        self.pace.sent(count, now);
        self.beat = None;
        let bytes = count * DATA_BYTES as u64;
        self.counters.sent_bytes += bytes;
        self.counters.repair_bytes += if symbols.start >= of { bytes } else { 0 };
    }

    /// Whether a burst asks for reports: for the rate's sake, before a wait, and at the end of a group when repairs are needed and
    /// receivers' memory fills, or everybody else would wait for them.
    fn asks(&mut self, is_last: bool, is_urgent: bool, now: Micros) -> bool {
        let at_end = is_last && self.is_resting();
        let every =
            if is_urgent { 0 } else { OPEN_BYTES.saturating_mul(1_000_000) / self.pace.rate().max(1) };
        let every = every.max(ASK_EVERY.0).max(u64::from(self.audience.live()) * ASK_EACH);
        let is_needed = is_urgent || self.loss > 0 && every < UNASKED.0;
        let for_repairs = is_last && is_needed && now.since(self.asked) >= Micros(every);
        let to_yield = self.yielding.is_some() && now.since(self.asked) >= yielding::EVERY;
        let asks = self.pace.asks(now) || at_end || for_repairs || to_yield;
        if asks {
            self.asked = now;
            if let Some(yielding) = &mut self.yielding {
                yielding.ask(self.timeline.sent(), now);
            }
        }
        asks
    }

    /// Nothing is to be sent before somebody speaks.
    fn is_resting(&self) -> bool {
        self.is_idle() && (self.company.is_some() || self.deficits.is_waiting())
    }

    fn is_idle(&self) -> bool {
        self.repairing.is_none() && self.sending.is_none()
    }

    /// Nothing can be sent: says where it is, so that losses at the end are noticed, less and less often.
    fn idle(&mut self, company: Option<Micros>, now: Micros) -> Step {
        if self.timeline.sent() == 0 && company.is_none() {
            return Step::Wait(self.audience.is_awaited(now).then(|| now.after(BEAT_LAST)));
        }
        let (next, pause) = self.beat.unwrap_or((now.after(BEAT_FIRST), BEAT_FIRST));
        if now < next {
            self.beat = Some((next, pause));
            let wake = self.deficits.wake().into_iter().chain(company).fold(next, Micros::min);
            return Step::Wait(Some(wake.max(now.after(Micros(1)))));
        }
        let pause = Micros(pause.0 * 2).min(BEAT_LAST);
        self.beat = Some((now.after(pause), pause));
        Step::Beat(Beat { session: self.session, next: self.sequence(), asks: !self.deficits.is_done() })
    }

    /// The sequence number of the next symbol.
    fn sequence(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "sequence numbers wrap")]
        let sequence = self.timeline.sent() as u32;
        sequence
    }

    /// Which symbol a sequence number means: the last one that had it. None when that was not sent.
    fn absolute(&self, sequence: u32) -> Option<u64> {
        self.timeline.sent().checked_sub(u64::from(self.sequence().wrapping_sub(sequence)))
    }
}
