//! Links that have a rate, a queue that may be full, and losses.

use cast::Micros;

use crate::dice::Dice;

/// Bytes that a symbol takes on an Ethernet, all headers, preamble and gap included.
pub const WIRE_BYTES: u64 = 1498;

/// What a cable loses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Each packet so many times of a million, whatever became of the others.
    Independent(u32),
    /// After Gilbert and Elliott: good and bad times, how many packets they last on average, and what is lost while they are bad.
    Bursts {
        /// Packets of a good time; none is lost.
        good: u32,
        /// Packets of a bad time.
        bad: u32,
        /// What is lost of these, of a million.
        lost: u32,
    },
}

/// A cable's losses, packet by packet.
#[derive(Debug, Clone)]
pub struct Cable {
    loss: Loss,
    is_bad: bool,
    /// Packets that arrive before the next one is lost.
    arriving: u64,
    /// Packets before the weather changes.
    changing: u64,
}

impl Cable {
    /// A cable with such losses.
    #[must_use]
    pub fn new(loss: Loss, dice: &mut Dice) -> Cable {
        let mut cable = Cable { loss, is_bad: true, arriving: 0, changing: u64::MAX };
        match loss {
            Loss::Independent(lost) => cable.arriving = dice.misses(lost),
            Loss::Bursts { .. } => cable.change(dice),
        }
        cable
    }

    fn change(&mut self, dice: &mut Dice) {
        let Loss::Bursts { good, bad, lost } = self.loss else { return };
        self.is_bad = !self.is_bad;
        let (lasts, lost) = if self.is_bad { (bad, lost) } else { (good, 0) };
        self.changing = dice.misses(1_000_000 / lasts.max(1));
        self.arriving = dice.misses(lost);
    }

    /// Sends so many packets, at most 64: which of them arrive, a bit for each.
    pub fn carry(&mut self, packets: u32, dice: &mut Dice) -> u64 {
        if u64::from(packets) <= self.arriving && u64::from(packets) <= self.changing {
            self.arriving = self.arriving.saturating_sub(u64::from(packets));
            self.changing = self.changing.saturating_sub(u64::from(packets));
            return all(packets);
        }
        (0..packets).filter(|_| self.carry_one(dice)).fold(0, |arrived, packet| arrived | 1 << packet)
    }

    fn carry_one(&mut self, dice: &mut Dice) -> bool {
        while self.changing == 0 {
            self.change(dice);
        }
        self.changing -= u64::from(self.changing < u64::MAX);
        if self.arriving > 0 {
            self.arriving -= u64::from(self.arriving < u64::MAX);
            return true;
        }
        let lost = match self.loss {
            Loss::Independent(lost) | Loss::Bursts { lost, .. } => lost,
        };
        self.arriving = dice.misses(lost);
        false
    }
}

/// A bit for each packet.
#[must_use]
pub fn all(packets: u32) -> u64 {
    1_u64.checked_shl(packets).map_or(u64::MAX, |bit| bit - 1)
}

/// A switch's port, or a link between two switches: sends packets one after another, and drops what its queue has no room for.
#[derive(Debug, Clone)]
pub struct Port {
    /// Bytes a second.
    rate: u64,
    /// Nanoseconds that the queue's bytes take.
    room: u64,
    /// When everything in it is sent, in nanoseconds.
    free: u64,
    /// Packets it had no room for.
    pub dropped: u64,
}

impl Port {
    /// A port of so many bytes a second with room for so many.
    #[must_use]
    pub fn new(rate: u64, queue: u64) -> Port {
        Port { rate, room: nanos(queue, rate), free: 0, dropped: 0 }
    }

    /// Packets that come from `begin` to `end`, those of `arrived`: which go on, and when the last one has.
    pub fn pass(&mut self, packets: u32, arrived: u64, begin: Micros, end: Micros) -> (u64, Micros) {
        let (begin, span) = (begin.0 * 1000, end.since(begin).0 * 1000);
        let each = nanos(WIRE_BYTES, self.rate);
        let mut passed = 0;
        for packet in 0..packets {
            if arrived & (1 << packet) == 0 {
                continue;
            }
            let at = begin + span * u64::from(packet + 1) / u64::from(packets);
            if self.free.saturating_sub(at) > self.room {
                self.dropped += 1;
                continue;
            }
            self.free = self.free.max(at.saturating_sub(each)) + each;
            passed |= 1 << packet;
        }
        (passed, Micros(self.free / 1000).max(end))
    }
}

/// How long so many bytes take.
#[must_use]
pub fn nanos(bytes: u64, rate: u64) -> u64 {
    u64::try_from(u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(loss: Loss) -> f64 {
        let mut dice = Dice::new(5, 0);
        let mut cable = Cable::new(loss, &mut dice);
        let arrived: u32 = (0..50_000).map(|_| cable.carry(40, &mut dice).count_ones()).sum();
        1.0 - f64::from(arrived) / 2e6
    }

    #[test]
    fn a_cable_loses_what_it_should() {
        assert_eq!(lost(Loss::Independent(0)), 0.0);
        assert_eq!(lost(Loss::Independent(1_000_000)), 1.0);
        for (loss, expected) in [
            (Loss::Independent(10_000), 0.01),
            (Loss::Independent(300_000), 0.3),
            (Loss::Bursts { good: 900, bad: 100, lost: 500_000 }, 0.05),
        ] {
            let part = lost(loss);
            assert!((part / expected - 1.0).abs() < 0.05, "{part} instead of {expected}");
        }
    }

    #[test]
    fn a_port_drops_what_its_queue_has_no_room_for() {
        let mut fast = Port::new(1_000_000_000, 64_000);
        assert_eq!(fast.pass(40, all(40), Micros(0), Micros(500)).0, all(40));
        let mut slow = Port::new(1_498_000, 14_980);
        let (passed, free) = slow.pass(40, all(40), Micros(0), Micros(4_000));
        assert_eq!((passed.count_ones(), slow.dropped), (15, 25), "four go on, one is under way, ten wait");
        assert_eq!(free, Micros(15_000));
    }
}
