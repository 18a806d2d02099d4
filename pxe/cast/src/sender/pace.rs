//! How fast is sent: up to the limit at once, down to what gets through when too much is lost, and up again.
//!
//! A cable that loses one packet in ten loses it at any speed; a switch that is sent too much loses what is too much. The two differ
//! in what more speed brings: more arrives over the cable, and no more through the switch. While the rate doubles, that is seen
//! from step to step. Later, when more is lost than usual, a little less is sent for a second: if as much of it is lost as
//! before, it is the cable, and nothing is won by being slow. A second, for cables lose packets in bursts: what was lost in a
//! moment is an accident, and that less is lost in the next one says nothing.

use super::provision::{MILLION, part};
use crate::Micros;

/// Bytes that a symbol takes on an Ethernet: symbol, header, UDP, IPv4, frame, preamble and gap.
pub(super) const WIRE_BYTES: u64 = 1498;
/// At first the rate doubles at most this often, when it is known how the rate does that it has.
const DOUBLE_EVERY: Micros = Micros(40_000);
/// Later it grows by a fiftieth this often; beyond what was too much before, by a two-hundredth.
const GROW_EVERY: Micros = Micros(100_000);
/// The longer nothing is wrong, the more it grows: so often its steps double, until they are a hundredth.
const CALM: Micros = Micros(1_000_000);
const STEP_MOST: u64 = 100;
/// How long it is measured, and how many packets at least, while the rate doubles, later, and when half of all receivers lose
/// more than so many of a million.
const DOUBLING: (Micros, u64) = (Micros(0), 40);
const LONG: (Micros, u64) = (Micros(1_000_000), 1000);
const SHORT: (Micros, u64) = (Micros(300_000), 500);
const HEAVY: u32 = 200_000;
/// How often reports are asked for while they are to tell something about the rate: while it doubles, and later.
const ASK_DOUBLING: Micros = Micros(20_000);
const ASK_EVERY: Micros = Micros(50_000);
/// So many receivers together tell as much in a moment as one does in a second: what befalls the cable of one hardly counts.
const TOGETHER: u32 = 8;
/// Losses below this say nothing, of a million.
const NOTICED: u32 = 5_000;
/// The least, in bytes a second.
const LEAST: u64 = 125_000;
/// How far it may lag behind and catch up, in nanoseconds; and of that at once, the rest a quarter faster than the rate: a
/// machine that has other things to do for a moment loses nothing by it, and no switch is sent much more than it is known to take.
const LAG: u64 = 20_000_000;
const SLACK: u64 = 4_000_000;
/// How long a burst may take; and so few symbols may take longer: each burst costs every receiver a look, and this many fit every switch.
const BURST: Micros = Micros(4_000);
const SMALL: (u64, Micros) = (8, Micros(8_000));
/// No cable loses more, of a million.
const WORST_CABLE: u32 = 350_000;
const NANOS: u64 = 1_000_000_000;

/// What was lost, at what rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quality {
    /// Of a million.
    pub(super) loss: u32,
    /// Bytes a second on the wire.
    pub(super) rate: u64,
    /// Of how many packets.
    pub(super) packets: u64,
}

impl Quality {
    /// Bytes a second that arrive.
    fn arriving(self) -> u64 {
        part(self.rate, MILLION.saturating_sub(self.loss))
    }

    /// How far chance alone takes a loss from what is usual, hardly ever more: three standard deviations, of a million.
    fn chance(self) -> u32 {
        let (lost, arrived) = (u64::from(self.loss), u64::from(MILLION.saturating_sub(self.loss)));
        u32::try_from(3 * (lost * arrived / self.packets.max(1)).isqrt()).unwrap_or(MILLION)
    }
}

/// What all receivers together have told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Measured {
    /// Of nine in ten, the worst.
    pub(super) worst: Quality,
    /// What nine in ten lose on average, of a million.
    pub(super) mean: u32,
    /// What half of them lose at most, of a million.
    pub(super) median: u32,
    /// How many there are who hear anything.
    pub(super) live: u32,
}

impl Measured {
    /// What all of them lost, as one.
    fn together(self) -> Quality {
        let packets = self.worst.packets.saturating_mul(u64::from(self.live));
        Quality { loss: self.mean, packets, ..self.worst }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Doubles.
    Ramp(Ramp),
    /// At the limit, or near what gets through.
    Steady,
    /// Slower than before, to see whether less is lost.
    Trial(Trial),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ramp {
    /// What was lost at the step before, once that is known.
    before: Option<Quality>,
    /// No more got through since.
    is_doubted: bool,
    /// How fast was sent what receivers have told of.
    judged: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trial {
    before: Measured,
    /// The rate that was held.
    held: u64,
    /// It was doubling then.
    was_doubling: bool,
}

/// What a judgement changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// More has to be known.
    None,
    /// The rate goes on as it is.
    GoOn,
    /// What was measured before now says nothing any more.
    Rate,
}

/// The rate, and when the next symbols may go.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    most: u64,
    rate: u64,
    stage: Stage,
    /// The loss that does not go away with the rate, of a million.
    usual: u32,
    /// The rate at which too much was lost; beyond it, growth is slow.
    knee: u64,
    grown: Option<Micros>,
    /// Since when nothing is wrong.
    calm: Micros,
    asked: Micros,
    /// Since when it is measured.
    window: Micros,
    /// When the next symbols are due at this rate, and when they may go if it lags behind; in nanoseconds.
    due: u64,
    free: u64,
}

impl Pace {
    pub(super) fn new(most: u64, first: u64) -> Pace {
        let most = most.max(LEAST);
        Pace {
            most,
            rate: first.clamp(LEAST, most),
            stage: Stage::Ramp(Ramp::default()),
            usual: 0,
            knee: u64::MAX,
            grown: None,
            calm: Micros(0),
            asked: Micros(0),
            window: Micros(0),
            due: 0,
            free: 0,
        }
    }

    /// Bytes a second.
    pub(super) fn rate(&self) -> u64 {
        self.rate
    }

    /// From now on at most so many.
    pub(super) fn limit(&mut self, most: u64) {
        self.most = most.max(LEAST);
        self.rate = self.rate.min(self.most);
    }

    /// How many symbols may go at once.
    pub(super) fn burst(&self, most: u16) -> u16 {
        let within = |span: Micros| self.rate.saturating_mul(span.0) / 1_000_000 / WIRE_BYTES;
        let symbols = within(BURST).max(within(SMALL.1).min(SMALL.0));
        u16::try_from(symbols).unwrap_or(most).clamp(1, most.max(1))
    }

    /// When the next symbols may go, if not yet.
    pub(super) fn wait(&self, now: Micros) -> Option<Micros> {
        let due = Micros(self.due.max(self.free).div_ceil(1000));
        (due > now).then_some(due)
    }

    /// Nothing is to be sent: that is not made up for.
    pub(super) fn rests(&mut self, now: Micros) {
        self.due = self.due.max(now.0.saturating_mul(1000).saturating_sub(SLACK));
    }

    /// So many symbols go now.
    pub(super) fn sent(&mut self, symbols: u64, now: Micros) {
        let now_nanos = now.0.saturating_mul(1000);
        let bytes = u128::from(symbols) * u128::from(WIRE_BYTES) * u128::from(NANOS);
        let takes = u64::try_from(bytes / u128::from(self.rate.max(1))).unwrap_or(u64::MAX);
        self.due = self.due.max(now_nanos.saturating_sub(LAG)).saturating_add(takes);
        self.free = self.free.max(now_nanos.saturating_sub(SLACK)).saturating_add(takes / 5 * 4);
        self.grow(now);
    }

    /// Whether the symbols that go now should ask for reports, for the rate's sake.
    pub(super) fn asks(&mut self, now: Micros) -> bool {
        let every = match self.stage {
            Stage::Steady => return false,
            Stage::Ramp(_) => ASK_DOUBLING,
            Stage::Trial(_) => ASK_EVERY,
        };
        let is_due = now.since(self.asked) >= every;
        if is_due {
            self.asked = now;
        }
        is_due
    }

    /// Time passes while something is sent.
    fn grow(&mut self, now: Micros) {
        let every = if matches!(self.stage, Stage::Ramp(_)) { DOUBLE_EVERY } else { GROW_EVERY };
        let grown = *self.grown.get_or_insert(now);
        if now.since(grown) < every {
            return;
        }
        let rate = match self.stage {
            // Whoever can not say how it goes may be drowning.
            Stage::Ramp(ramp) if ramp.judged < self.rate / 8 * 5 => return,
            Stage::Ramp(_) => self.rate.saturating_mul(2),
            Stage::Steady if self.rate < self.knee => (self.rate + self.rate / 50).min(self.knee),
            Stage::Steady => {
                let doubled = now.since(self.calm).0 / CALM.0;
                self.rate + self.rate / (200_u64 >> doubled.min(3)).max(STEP_MOST)
            }
            Stage::Trial(..) => self.rate,
        };
        self.grown = Some(now);
        self.rate = rate.min(self.most);
        if matches!(self.stage, Stage::Ramp(_)) && self.rate == self.most {
            self.stage = Stage::Steady;
        }
    }

    /// Nobody says how it goes: half as much, until somebody does.
    pub(super) fn blind(&mut self, now: Micros) {
        self.rate = (self.rate / 2).max(LEAST.min(self.rate));
        self.stage = Stage::Ramp(Ramp::default());
        (self.window, self.calm) = (now, now);
    }

    /// Packets that a judgement needs, when enough time has passed for one.
    pub(super) fn needs(&self, now: Micros) -> Option<u64> {
        let (span, packets) = match self.stage {
            Stage::Ramp(_) => DOUBLING,
            Stage::Steady | Stage::Trial(..) => SHORT,
        };
        (now.since(self.window) >= span).then_some(packets)
    }

    /// Takes what was measured since the last change.
    pub(super) fn judge(&mut self, measured: Measured, now: Micros) -> Change {
        let is_long = now.since(self.window) >= LONG.0 && measured.worst.packets >= LONG.1;
        let change = match self.stage {
            Stage::Ramp(ramp) => self.judge_ramp(ramp, measured, now),
            Stage::Steady if is_long => self.judge_steady(measured, now),
            Stage::Steady if measured.median > HEAVY.saturating_add(self.usual.saturating_mul(2)) => {
                self.slow_down(self.rate, measured, now)
            }
            Stage::Trial(trial) if is_long || trial.before.median > HEAVY => {
                self.judge_trial(trial, measured, (trial.before.worst, measured.worst), now)
            }
            Stage::Trial(trial) if trial.before.live.min(measured.live) >= TOGETHER => {
                let told = (trial.before.together(), measured.together());
                self.judge_trial(trial, measured, told, now)
            }
            Stage::Steady | Stage::Trial(..) => Change::None,
        };
        if change != Change::None {
            self.window = now;
        }
        change
    }

    fn judge_ramp(&mut self, ramp: Ramp, measured: Measured, now: Micros) -> Change {
        let Ramp { before, is_doubted, .. } = ramp;
        // So few packets say something only when all receivers are taken together.
        let quality = Quality { loss: measured.mean, ..measured.worst };
        let step = before.filter(|before| quality.rate > before.rate.saturating_add(before.rate / 4));
        let is_full = step.is_some_and(|before| {
            let more = quality.arriving().saturating_sub(before.arriving());
            quality.loss > NOTICED && more < (quality.rate - before.rate) / 2
        });
        if is_full && is_doubted {
            return self.slow_down(quality.rate.min(self.rate), measured, now);
        }
        if step.is_some() && !is_full {
            self.usual = measured.worst.loss;
        }
        let is_new = before.is_none() || step.is_some() && !is_full;
        let before = if is_new { Some(quality) } else { before };
        self.stage = Stage::Ramp(Ramp { before, is_doubted: is_full, judged: quality.rate });
        Change::GoOn
    }

    fn judge_steady(&mut self, measured: Measured, now: Micros) -> Change {
        let usual = NOTICED + self.usual + self.usual / 2;
        if measured.worst.loss > usual.saturating_add(measured.worst.chance()) {
            return self.slow_down(self.rate, measured, now);
        }
        // Never up: a queue that overflows a little more each time would become usual.
        self.usual = self.usual.min(self.usual / 4 * 3 + measured.worst.loss / 4);
        Change::GoOn
    }

    /// A little less than what gets through of a rate.
    fn slow_down(&mut self, rate: u64, measured: Measured, now: Micros) -> Change {
        let was_doubling = matches!(self.stage, Stage::Ramp(_));
        self.stage = Stage::Trial(Trial { before: measured, held: self.rate, was_doubling });
        let through = part(rate, MILLION.saturating_sub(measured.worst.loss));
        self.rate = (through / 100 * 96).clamp(LEAST.min(self.rate), self.rate);
        self.asked = Micros(now.0.saturating_sub(ASK_EVERY.0));
        self.calm = now;
        Change::Rate
    }

    /// Judges by what was lost before and after.
    fn judge_trial(
        &mut self,
        trial: Trial,
        measured: Measured,
        (first, second): (Quality, Quality),
        now: Micros,
    ) -> Change {
        let Trial { before, held, was_doubling } = trial;
        self.stage = Stage::Steady;
        self.grown = Some(now);
        let is_other = measured.live.abs_diff(before.live) > before.live / 8;
        if is_other && second.loss > first.loss {
            // Others are heard of than before: that says nothing.
            self.rate = held.min(self.most);
            return Change::Rate;
        }
        // More than before is lost where queues were not full yet. No cable loses so much, unless that stays so however slow it is.
        let is_growing = second.loss > (first.loss + first.loss / 4).saturating_add(second.chance());
        if (is_growing || second.loss > WORST_CABLE) && self.rate > held / 16 {
            let change = self.slow_down(self.rate, measured, now);
            self.stage = Stage::Trial(Trial { before: measured, ..trial });
            return change;
        }
        // If it was too much for a switch, as much gets through as before.
        let expected = MILLION.saturating_sub(ratio(first.arriving(), second.rate));
        self.usual = measured.worst.loss;
        if second.loss > (first.loss / 2).saturating_add(expected / 2) {
            self.rate = held.min(self.most);
            if was_doubling {
                self.stage = Stage::Ramp(Ramp::default());
            }
        } else {
            self.knee = self.rate;
        }
        Change::Rate
    }
}

/// How many of a million one is of the other; at most all.
fn ratio(one: u64, other: u64) -> u32 {
    let parts = u128::from(one) * u128::from(MILLION) / u128::from(other.max(1));
    u32::try_from(parts).unwrap_or(MILLION).min(MILLION)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 12_500_000;

    /// Sends for so long over something that lets `capacity` through and then loses `loss` of a million; judged each 60 ms.
    fn run(pace: &mut Pace, from: Micros, span: u64, capacity: u64, loss: u32) -> Micros {
        let (mut now, end, mut judged) = (from, from.after(Micros(span)), from);
        while now < end {
            match pace.wait(now) {
                Some(until) => now = until,
                None => pace.sent(u64::from(pace.burst(44)), now),
            }
            if now.since(judged) > Micros(60_000) && pace.needs(now).is_some() {
                judged = now;
                let through = part(pace.rate().min(capacity), MILLION - loss);
                let loss = MILLION - ratio(through, pace.rate());
                let worst = Quality { rate: pace.rate(), loss, packets: 1_000 };
                pace.judge(Measured { worst, mean: loss, median: loss, live: 8 }, now);
            }
        }
        now
    }

    #[test]
    fn it_is_at_the_limit_in_a_third_of_a_second() {
        let mut pace = Pace::new(RATE, RATE / 10);
        run(&mut pace, Micros(0), 330_000, u64::MAX, 0);
        assert_eq!(pace.rate(), RATE);
    }

    #[test]
    fn a_lossy_cable_does_not_slow_it_down() {
        for loss in [10_000, 50_000, 100_000, 300_000] {
            let mut pace = Pace::new(RATE, RATE / 10);
            let now = run(&mut pace, Micros(0), 330_000, u64::MAX, loss);
            assert_eq!(pace.rate(), RATE, "{loss}");
            run(&mut pace, now, 3_000_000, u64::MAX, loss);
            assert_eq!(pace.rate(), RATE, "{loss}");
        }
    }

    #[test]
    fn a_cable_that_becomes_lossy_slows_it_down_for_a_moment() {
        let mut pace = Pace::new(RATE, RATE / 10);
        let now = run(&mut pace, Micros(0), 1_000_000, u64::MAX, 0);
        let (mut now, mut least) = (now, RATE);
        for _ in 0..30 {
            now = run(&mut pace, now, 100_000, u64::MAX, 80_000);
            least = least.min(pace.rate());
        }
        assert!((RATE / 100 * 87..RATE / 100 * 90).contains(&least), "{least}");
        assert_eq!(pace.rate(), RATE);
    }

    #[test]
    fn eight_together_tell_in_less_than_a_second() {
        let mut pace = Pace::new(RATE, RATE / 10);
        let mut now = run(&mut pace, Micros(0), 1_000_000, u64::MAX, 0);
        let mut slow = 0;
        for _ in 0..60 {
            now = run(&mut pace, now, 70_000, u64::MAX, 80_000);
            slow += u32::from(pace.rate() < RATE);
        }
        assert!((1..9).contains(&slow), "slower for {slow} times 70 ms");
    }

    #[test]
    fn a_narrow_path_is_filled_and_not_flooded() {
        for capacity in [RATE / 20, RATE / 7, RATE / 3, RATE / 2, RATE / 10 * 9] {
            for loss in [0, 50_000] {
                let mut pace = Pace::new(RATE, RATE / 10);
                let mut now = run(&mut pace, Micros(0), 3_000_000, capacity, loss);
                for _ in 0..50 {
                    now = run(&mut pace, now, 100_000, capacity, loss);
                    let part = pace.rate() as f64 / capacity as f64;
                    assert!((0.85..1.15).contains(&part), "{part} of {capacity}, {loss}");
                }
            }
        }
    }

    /// At which a burst takes half a millisecond.
    const FAST: u64 = 125_000_000;

    /// What goes in so many milliseconds, by milliseconds of the rate.
    fn goes(pace: &mut Pace, from: u64, span: u64) -> f64 {
        let (mut now, mut sent) = (Micros(from * 1000), 0);
        while now < Micros((from + span) * 1000) {
            match pace.wait(now) {
                Some(until) => now = until,
                None => {
                    let burst = u64::from(pace.burst(44));
                    pace.sent(burst, now);
                    sent += burst * WIRE_BYTES;
                }
            }
        }
        sent as f64 * 1000.0 / pace.rate() as f64
    }

    #[test]
    fn what_a_pause_cost_is_caught_up_with_little_by_little() {
        for (pause, made_up) in [(3, 3.0), (15, 15.0), (500, 20.0)] {
            let mut pace = Pace::new(FAST, FAST);
            assert!((goes(&mut pace, 0, 100) - 100.0).abs() < 2.0);
            let from = 100 + pause;
            let soon = goes(&mut pace, from, 8);
            assert!(soon < 8.0 * 1.25 + 4.0 + 2.0, "{pause}: {soon} ms of the rate in 8 ms");
            let all = soon + goes(&mut pace, from + 8, 192);
            assert!((all - 200.0 - made_up).abs() < 2.5, "{pause}: {all}");
        }
        let mut rested = Pace::new(FAST, FAST);
        goes(&mut rested, 0, 100);
        rested.rests(Micros(600_000));
        let all = goes(&mut rested, 600, 200);
        assert!((all - 204.0).abs() < 2.5, "there was nothing to send: {all}");
    }

    #[test]
    fn bursts_are_short_and_the_rate_is_held() {
        let sent = goes(&mut Pace::new(RATE, RATE), 0, 1000);
        assert!((sent / 1000.0 - 1.0).abs() < 0.005, "{sent}");
        let bursts = [1_000_000, 9_000_000, 25_000_000, FAST].map(|rate| Pace::new(rate, rate).burst(44));
        assert_eq!(bursts, [5, 24, 44, 44], "8 ms of a slow rate, 4 ms, what a kernel cuts");
        assert_eq!(Pace::new(u64::MAX, u64::MAX).burst(44), 44);
        assert_eq!(Pace::new(0, 0).burst(44), 1);
    }
}
