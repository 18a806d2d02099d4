//! How fast is sent: up to the limit at once, down to what gets through when too much is lost, and up again.
//!
//! A cable that loses one packet in ten loses it at any speed; a switch that is sent too much loses what is too much. So when much
//! is lost, less is sent for a moment: if as much of it is lost as before, the loss is the cable's and nothing is won by
//! being slow.

use crate::Micros;

/// Bytes that a symbol takes on an Ethernet: symbol, header, UDP, IPv4, frame, preamble and gap.
pub(super) const WIRE_BYTES: u64 = 1498;
/// At first the rate doubles this often.
const DOUBLE_EVERY: Micros = Micros(50_000);
/// Later it grows by a fiftieth this often.
const GROW_EVERY: Micros = Micros(100_000);
/// How often losses are looked at: a report's round.
const LOOK_EVERY: Micros = Micros(300_000);
/// Losses below this are nobody's fault, of a million.
const USUAL: u32 = 20_000;
/// The least, in bytes a second.
const LEAST: u64 = 125_000;
/// How far it may lag behind and catch up.
const SLACK: Micros = Micros(4_000);
/// How long a burst may be.
const BURST: Micros = Micros(2_000);

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
    grown: Option<Micros>,
    looked: Option<Micros>,
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
        Pace {
            most,
            rate: first.clamp(LEAST, most),
            starting: true,
            grown: None,
            looked: None,
            baseline: 0,
            trial: None,
            knee: u64::MAX,
            due: Micros(0),
        }
    }

    /// Bytes a second.
    pub(super) fn rate(&self) -> u64 {
        self.rate
    }

    pub(super) fn limit(&mut self, most: u64) {
        self.most = most.max(LEAST);
        self.rate = self.rate.min(self.most);
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

    /// Time passes; while something is sent.
    pub(super) fn grow(&mut self, now: Micros) {
        let every = if self.starting { DOUBLE_EVERY } else { GROW_EVERY };
        let Some(grown) = self.grown else {
            self.grown = Some(now);
            return;
        };
        if now.since(grown) < every {
            return;
        }
        self.grown = Some(now);
        if self.trial.is_some() {
            return;
        }
        let rate = match (self.starting, self.rate < self.knee) {
            (true, _) => self.rate.saturating_mul(2),
            (false, true) => (self.rate + self.rate / 50).min(self.knee),
            (false, false) => self.rate + self.rate / 200,
        };
        self.rate = rate.min(self.most);
        self.starting &= self.rate < self.most;
    }

    /// Looks at what is lost, of a million; says whether it did.
    pub(super) fn look(&mut self, loss: impl FnOnce() -> Option<u32>, now: Micros) -> bool {
        if self.looked.is_some_and(|looked| now.since(looked) < LOOK_EVERY) {
            return false;
        }
        self.looked = Some(now);
        let Some(loss) = loss() else { return true };
        if let Some(before) = self.trial.take() {
            if loss >= before.loss / 4 * 3 {
                self.baseline = loss;
                (self.rate, self.starting) = (before.rate.min(self.most), before.starting);
                return true;
            }
            self.knee = self.rate;
        }
        self.baseline = self.baseline.min(loss.saturating_add(loss / 4));
        if loss > USUAL.saturating_add(self.baseline.saturating_mul(2)) {
            let through = self.rate / 1000 * u64::from(1000 - loss.min(1_000_000) / 1000);
            self.trial = Some(Trial { rate: self.rate, starting: self.starting, loss });
            self.rate = (through / 100 * 97).clamp(LEAST, self.most);
            self.starting = false;
        }
        true
    }
}
