//! The sending side of a transmission: what goes onto the wire next, and when.
//!
//! Nobody is waited for. A group is sent because somebody said that it lacks it, as a whole to those who have nothing of it, and as
//! as many repair symbols as the one lacks who lacks most. What is lacking is said again and again, so that nothing about any receiver
//! has to be remembered: who is silent lacks nothing.

mod audience;
mod pace;
#[cfg(test)]
mod tests;
mod wants;

use std::ops::Range;

pub use audience::{ReceiverView, Verdict, Why};

use crate::Micros;
use crate::groups::Groups;
use crate::wire::{Beat, DATA_BYTES, Report};
use audience::Audience;
use pace::Pace;
use wants::{Due, Wants};

/// Between beats while nothing is known to be lacking: at first, and at most.
const BEAT_FIRST: Micros = Micros(20_000);
const BEAT_LAST: Micros = Micros(250_000);
/// Between questions while the rate depends on the answers.
const ASK_EVERY: Micros = Micros(15_000);
/// What any link takes that images are sent over, in bytes a second.
const ANY_LINK: u64 = 12_500_000;
/// Where so long nobody says a word while much is sent, they may be drowning in it.
const BLIND: Micros = Micros(600_000);

/// How much, how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes a second on the wire at most, all headers, preamble and gap included.
    pub rate_max: u64,
    /// At first.
    pub rate_start: u64,
    /// Symbols in one burst at most.
    pub burst: u16,
}

impl Limits {
    /// For a link of so many bytes a second: 100 Mb/s of it at first, and as much at once as a kernel cuts (64 KiB).
    #[must_use]
    pub fn of(rate_max: u64) -> Limits {
        Limits { rate_max, rate_start: ANY_LINK.min(rate_max), burst: 44 }
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
    pub ignored: u64,
}

/// One transmission.
#[derive(Debug)]
pub struct Sender {
    session: u64,
    limits: Limits,
    wants: Wants,
    audience: Audience,
    pace: Pace,
    /// Symbols sent so far.
    sent: u64,
    sending: Option<Due>,
    /// The loss of the last round, of a million.
    loss: u32,
    /// When reports were last asked for, and when the last one came, or had to be done without.
    asked: Micros,
    heard: Micros,
    beat: Option<(Micros, Micros)>,
    counters: Counters,
}

impl Sender {
    /// A transmission of these groups, to nobody yet.
    #[must_use]
    pub fn new(groups: &Groups, session: u64, limits: Limits) -> Sender {
        let pace = Pace::new(limits.rate_max, limits.rate_start);
        let mut audience = Audience::default();
        audience.begin_round(0, pace.judged_by(), true);
        Sender {
            session,
            limits,
            wants: Wants::new(groups),
            audience,
            pace,
            sent: 0,
            sending: None,
            loss: 0,
            asked: Micros(0),
            heard: Micros(0),
            beat: None,
            counters: Counters::default(),
        }
    }

    /// Somebody listens. Until it reports, it lacks nothing.
    pub fn join(&mut self, slot: u32, now: Micros) {
        self.audience.join(slot, self.sent, now);
    }

    /// Somebody does not listen any more.
    pub fn leave(&mut self, slot: u32) {
        self.audience.leave(slot);
    }

    /// From now on at most so many bytes a second.
    pub fn limit(&mut self, rate_max: u64) {
        self.pace.limit(rate_max);
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
        match taken {
            Ok(()) => self.counters.reports += 1,
            Err(_) => self.counters.ignored += 1,
        }
        taken
    }

    fn take(&mut self, report: &Report, now: Micros) -> Result<(), Ignored> {
        if report.session != self.session {
            return Err(Ignored::Session);
        }
        let heard = self.absolute(report.next).ok_or(Ignored::Impossible)?;
        let groups: u64 = report.runs.iter().map(|run| u64::from(run.groups)).sum();
        if u64::from(report.first) + groups > self.wants.len() as u64 {
            return Err(Ignored::Impossible);
        }
        self.audience.hear(report, heard, self.sent, now)?;
        self.heard = now;
        let mut first = report.first;
        for run in &report.runs {
            let end = first.saturating_add(u32::from(run.groups));
            if run.deficit > 0 {
                self.wants.lack(first..end, run.deficit, heard, now);
            }
            first = end;
        }
        Ok(())
    }

    /// What to do now; call it again after having done it.
    pub fn poll(&mut self, now: Micros) -> Step {
        if let Some(loss) = self.audience.verdict(now) {
            if !self.pace.is_curious() {
                self.audience.send_away(loss);
            }
            let is_new = self.pace.judge(loss);
            self.audience.begin_round(self.sent, self.pace.judged_by(), is_new);
            self.loss = loss;
        }
        if self.sending.is_some() && now.since(self.heard) >= BLIND {
            self.heard = now;
            self.pace.blind();
        }
        if let Some(until) = self.pace.wait(now) {
            return Step::Wait(Some(until));
        }
        if self.sending.is_none() {
            self.sending = self.wants.next(self.loss, now);
        }
        match self.burst() {
            Some(burst) => {
                self.beat = None;
                self.pace.sent(u64::from(burst.symbols.end - burst.symbols.start), now);
                let wants_to_know = self.pace.is_curious() && now.since(self.asked) >= ASK_EVERY;
                if burst.asks || wants_to_know {
                    self.asked = now;
                }
                Step::Send(Burst { asks: burst.asks || wants_to_know, ..burst })
            }
            None => self.idle(now),
        }
    }

    /// Who listens.
    pub fn receivers(&self) -> impl Iterator<Item = (u32, ReceiverView)> {
        self.audience.views()
    }

    /// What was done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Cuts the next burst off what is being sent.
    fn burst(&mut self) -> Option<Burst> {
        let most = self.pace.burst(self.limits.burst);
        let due = self.sending.as_mut()?;
        let stretch = due.symbols.front_mut()?;
        let end = stretch.end.min(stretch.start.saturating_add(most));
        let symbols = stretch.start..end;
        stretch.start = end;
        if end == stretch.end {
            due.symbols.pop_front();
        }
        let (group, of, is_repair) = (due.group, due.of, symbols.start >= due.of);
        let count = u64::from(symbols.end - symbols.start);
        #[expect(clippy::cast_possible_truncation, reason = "sequence numbers wrap")]
        let sequence = self.sent as u32;
        self.sent += count;
        self.wants.sent(group, self.sent);
        let bytes = count * DATA_BYTES as u64;
        self.counters.sent_bytes += bytes;
        self.counters.repair_bytes += if is_repair { bytes } else { 0 };
        if due.symbols.is_empty() {
            self.sending = None;
        }
        let asks = self.sending.is_none() && self.wants.is_empty();
        Some(Burst { group, of, symbols, sequence, asks })
    }

    /// Nothing is known to be lacking: says where it is, so that losses at the end are noticed, less and less often.
    fn idle(&mut self, now: Micros) -> Step {
        let (next, pause) = self.beat.unwrap_or((now.after(BEAT_FIRST), BEAT_FIRST));
        if now < next || self.sent == 0 {
            self.beat = Some((next, pause));
            let next = if self.sent == 0 { None } else { Some(next) };
            return Step::Wait(next);
        }
        let pause = Micros(pause.0 * 2).min(BEAT_LAST);
        self.beat = Some((now.after(pause), pause));
        #[expect(clippy::cast_possible_truncation, reason = "sequence numbers wrap")]
        let next = self.sent as u32;
        Step::Beat(Beat { session: self.session, next, asks: true })
    }

    /// Which symbol a sequence number means: the last one that had it. None when that was not sent.
    fn absolute(&self, sequence: u32) -> Option<u64> {
        #[expect(clippy::cast_possible_truncation, reason = "sequence numbers wrap")]
        let behind = (self.sent as u32).wrapping_sub(sequence);
        self.sent.checked_sub(u64::from(behind))
    }
}
