//! How fast is sent: up to the limit at once, down to what gets through when too much is lost, and up again.
//!
//! A cable that loses one packet in ten loses it at any speed; a switch that is sent too much loses what is too much. So when much
//! is lost, less is sent for a moment: if as much of that is lost as before, the loss is the cable's and nothing is won by
//! being slow. Every rate is judged by what was sent at that rate, and no rate is doubled before it was. And where nobody says
//! how it goes, it goes slower.

use crate::Micros;

/// Bytes that a symbol takes on an Ethernet: symbol, header, UDP, IPv4, frame, preamble and gap.
pub(super) const WIRE_BYTES: u64 = 1498;
/// Losses below this are nobody's fault, of a million.
const USUAL: u32 = 20_000;
/// Cables that lose more are no use at any rate.
const CABLE: u32 = 200_000;
/// The least, in bytes a second.
const LEAST: u64 = 125_000;
/// How far it may lag behind and catch up.
const SLACK: Micros = Micros(4_000);
/// How long a burst may be.
const BURST: Micros = Micros(2_000);
/// Packets that a loss is judged by at least: of fewer, one in a hundred may look like three. At first, a few tell enough.
const JUDGED_BY: u64 = 512;
const JUDGED_BY_AT_FIRST: u64 = 128;

/// What was tried against a loss.
#[derive(Debug, Clone, Copy)]
struct Trial {
    /// The rate before, and whether it was still doubling.
    rate: u64,
    starting: bool,
    /// The loss, of a million.
    loss: u32,
}

/// The rate, and when the next symbols may go.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    most: u64,
    rate: u64,
    /// Still doubling.
    starting: bool,
    /// The loss that does not go away with the rate, of a million.
    baseline: u32,
    /// Under way: less is sent for a moment.
    trial: Option<Trial>,
    /// The rate at which too much was lost; beyond it, growth is slow.
    knee: u64,
    due: Micros,
}

impl Pace {
    pub(super) fn new(most: u64, first: u64) -> Pace {
        let most = most.max(LEAST);
        let rate = first.clamp(LEAST, most);
        Pace { most, rate, starting: rate < most, baseline: 0, trial: None, knee: u64::MAX, due: Micros(0) }
    }

    /// Bytes a second.
    pub(super) fn rate(&self) -> u64 {
        self.rate
    }

    pub(super) fn limit(&mut self, most: u64) {
        self.most = most.max(LEAST);
        self.rate = self.rate.min(self.most);
    }

    /// Whether what follows depends on how the present rate goes.
    pub(super) fn is_curious(&self) -> bool {
        self.starting || self.trial.is_some()
    }

    /// Packets that a loss is to be judged by.
    pub(super) fn judged_by(&self) -> u64 {
        if self.starting { JUDGED_BY_AT_FIRST } else { JUDGED_BY }
    }

    /// How many symbols may go at once: what takes two milliseconds.
    pub(super) fn burst(&self, most: u16) -> u16 {
        let symbols = self.rate.saturating_mul(BURST.0) / 1_000_000 / WIRE_BYTES;
        u16::try_from(symbols).unwrap_or(most).clamp(1, most.max(1))
    }

    /// When the next symbols may go, if not yet.
    pub(super) fn wait(&self, now: Micros) -> Option<Micros> {
        (self.due > now).then_some(self.due)
    }

    /// So many symbols go now.
    pub(super) fn sent(&mut self, symbols: u64, now: Micros) {
        let from = self.due.max(Micros(now.0.saturating_sub(SLACK.0)));
        let takes = symbols.saturating_mul(WIRE_BYTES).saturating_mul(1_000_000) / self.rate.max(1);
        self.due = from.after(Micros(takes));
    }

    /// Takes what was lost of that which was sent at this rate, of a million. True when the rate is another one now.
    pub(super) fn judge(&mut self, loss: u32) -> bool {
        if let Some(before) = self.trial.take() {
            if loss >= before.loss / 4 * 3 && loss < CABLE {
                self.baseline = loss;
                (self.rate, self.starting) = (before.rate.min(self.most), before.starting);
                return true;
            }
            self.knee = self.rate;
        }
        self.baseline = self.baseline.min(loss.saturating_add(loss / 4));
        if loss > USUAL.saturating_add(self.baseline.saturating_mul(2)) && self.rate > LEAST {
            self.trial = Some(Trial { rate: self.rate, starting: self.starting, loss });
            let through = self.rate / 1000 * u64::from(1000 - loss.min(1_000_000) / 1000);
            self.rate = (through / 100 * 97).clamp(LEAST, self.most);
            self.starting = false;
            return true;
        }
        self.grow()
    }

    /// Nobody says how it goes: half as much, until somebody does.
    pub(super) fn blind(&mut self) {
        self.rate = (self.rate / 2).max(LEAST);
        (self.starting, self.trial) = (self.rate < self.most, None);
    }

    fn grow(&mut self) -> bool {
        let was_starting = self.starting;
        let rate = match (was_starting, self.rate < self.knee) {
            (true, _) => self.rate.saturating_mul(2),
            // What was too much once may not be for long.
            (false, true) => self.rate.saturating_add(self.rate / 10).min(self.knee),
            (false, false) => self.rate.saturating_add(self.rate / 50),
        };
        self.rate = rate.min(self.most);
        self.starting = was_starting && self.rate < self.most;
        was_starting
    }
}
