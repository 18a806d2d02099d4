//! Giving way to other traffic: slower as soon as packets have to wait for others, before any is lost.
//!
//! Whoever is asked for a report answers at once. When the answer takes longer than it can take, packets stand in a queue: somebody else
//! uses the way too, or it takes less than is sent. The idea is LEDBAT's (RFC 6817): as little as others leave, and never more than
//! a few milliseconds of queue.

use std::collections::VecDeque;

use super::provision::MILLION;
use crate::Micros;

/// How long others may have to wait for us.
const TARGET: u64 = 5_000;
/// How often it is decided, and asked.
pub(super) const EVERY: Micros = Micros(100_000);
/// How long the shortest answer is believed to be the shortest possible: ways change.
const BASE_FOR: Micros = Micros(30_000_000);
/// An answer that tells of so many symbols more than were asked about was not given at once.
const AT_ONCE: u64 = 88;
/// Questions that are remembered.
const KEPT: usize = 64;
/// The least part, of a million.
const LEAST: u32 = 20_000;
/// What is added to the part when nobody waits.
const STEP: u32 = 40_000;

/// Which part of its rate a sender may use.
#[derive(Debug, Clone)]
pub(super) struct Yielding {
    /// Questions: symbols that had been sent with them, and when.
    asked: VecDeque<(u64, Micros)>,
    /// How long answers took since the last decision.
    answers: Vec<u64>,
    /// The shortest answer of this half minute and of the one before.
    shortest: [Option<u64>; 2],
    turned: Micros,
    decided: Micros,
    part: u32,
}

impl Yielding {
    pub(super) fn new() -> Yielding {
        Yielding {
            asked: VecDeque::new(),
            answers: Vec::new(),
            shortest: [None; 2],
            turned: Micros(0),
            decided: Micros(0),
            part: MILLION,
        }
    }

    /// The part of the rate that may be used now, of a million.
    pub(super) fn part(&self) -> u32 {
        self.part
    }

    /// Reports were asked for with the last of so many symbols.
    pub(super) fn ask(&mut self, sent: u64, now: Micros) {
        if self.asked.len() == KEPT {
            self.asked.pop_front();
        }
        self.asked.push_back((sent, now));
    }

    /// A receiver has heard of so many symbols.
    pub(super) fn hear(&mut self, heard: u64, now: Micros) {
        let question = self.asked.iter().rev().find(|(sent, _)| *sent <= heard);
        let Some((_, asked)) = question.filter(|(sent, _)| heard - sent <= AT_ONCE) else { return };
        let took = now.since(*asked).0;
        self.answers.push(took);
        let [newest, _] = &mut self.shortest;
        *newest = Some(newest.map_or(took, |known| known.min(took)));
    }

    /// The part of the rate that may be used from now on, of a million; none when there is nothing new. `sends`: something was sent since.
    pub(super) fn decide(&mut self, sends: bool, now: Micros) -> Option<u32> {
        if now.since(self.decided) < EVERY {
            return None;
        }
        self.decided = now;
        if now.since(self.turned) >= BASE_FOR {
            self.turned = now;
            let [newest, _] = self.shortest;
            self.shortest = [None, newest];
        }
        let mut answers = std::mem::take(&mut self.answers);
        answers.sort_unstable();
        let before = self.part;
        match (answers.get(answers.len() / 2), self.shortest.into_iter().flatten().min()) {
            (Some(usual), Some(shortest)) => self.weigh(usual.saturating_sub(shortest)),
            // Nobody answers: what is not known is not assumed to be good.
            (None, _) | (_, None) if sends => self.shrink(TARGET * 2),
            (None, _) | (_, None) => {}
        }
        (self.part != before).then_some(self.part)
    }

    fn weigh(&mut self, waits: u64) {
        if waits > TARGET {
            self.shrink(waits);
        } else {
            let room = (TARGET - waits) * u64::from(STEP) / TARGET;
            self.part = self.part.saturating_add(u32::try_from(room).unwrap_or(STEP)).min(MILLION);
        }
    }

    /// By a tenth when others wait a little too long, by two fifths when twice as long and more.
    fn shrink(&mut self, waits: u64) {
        let over = (waits.min(2 * TARGET) - TARGET) * 300 / TARGET;
        let kept = u64::from(self.part) * (900 - over) / 1000;
        self.part = u32::try_from(kept).unwrap_or(MILLION).max(LEAST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A way that takes so many symbols in a tenth of a second, and has a queue.
    struct Way {
        takes: f64,
        queue: f64,
        sent: u64,
        now: Micros,
    }

    impl Way {
        /// A second: who yields sends its part of `rate` symbols in each tenth, others send so many. The part in the end, and how long a
        /// packet waits then, in microseconds.
        fn second(&mut self, yielding: &mut Yielding, rate: f64, others: f64) -> (f64, f64) {
            for _ in 0..10 {
                let part = f64::from(yielding.part) / 1e6;
                self.queue = (self.queue + part * rate + others - self.takes).max(0.0);
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hundred")]
                let (sent, waits) = ((part * rate) as u64, (self.queue / self.takes * 1e5) as u64);
                self.sent += sent;
                yielding.ask(self.sent, self.now);
                yielding.hear(self.sent, self.now.after(Micros(300 + waits)));
                self.now = self.now.after(EVERY);
                yielding.decide(true, self.now);
            }
            (f64::from(yielding.part) / 1e6, self.queue / self.takes * 1e5)
        }
    }

    fn way() -> (Way, Yielding) {
        (Way { takes: 1000.0, queue: 0.0, sent: 0, now: Micros(0) }, Yielding::new())
    }

    #[test]
    fn alone_it_takes_everything() {
        let (mut way, mut yielding) = way();
        for _ in 0..60 {
            let (part, _) = way.second(&mut yielding, 950.0, 0.0);
            assert!(part > 0.99, "{part}");
        }
    }

    #[test]
    fn it_leaves_others_what_they_use_and_takes_it_back() {
        let (mut way, mut yielding) = way();
        way.second(&mut yielding, 950.0, 0.0);
        for second in 0..20 {
            let (part, waits) = way.second(&mut yielding, 950.0, 700.0);
            if second > 3 {
                assert!((0.1..0.45).contains(&part) && waits < 12_000.0, "{second}: {part}, {waits}");
            }
        }
        for second in 0..6 {
            let (part, _) = way.second(&mut yielding, 950.0, 960.0);
            assert!(second < 2 || part < 0.1, "{second}: {part}");
        }
        for _ in 0..4 {
            way.second(&mut yielding, 950.0, 0.0);
        }
        assert!(way.second(&mut yielding, 950.0, 0.0).0 > 0.99);
    }

    #[test]
    fn where_nobody_answers_it_takes_little_and_while_nothing_is_sent_nothing_changes() {
        let mut yielding = Yielding::new();
        for step in 1..40 {
            yielding.decide(false, Micros(step * EVERY.0));
        }
        assert_eq!(yielding.part, MILLION);
        for step in 40..80 {
            yielding.decide(true, Micros(step * EVERY.0));
        }
        assert_eq!(yielding.part, LEAST);
    }

    #[test]
    fn what_is_told_by_the_way_is_no_answer() {
        let mut yielding = Yielding::new();
        yielding.ask(100, Micros(0));
        yielding.hear(99, Micros(1));
        yielding.hear(100 + AT_ONCE + 1, Micros(1));
        assert!(yielding.answers.is_empty());
        yielding.hear(110, Micros(700));
        assert_eq!(yielding.answers, [700]);
        for number in 0..1_000 {
            yielding.ask(number, Micros(number));
        }
        assert_eq!(yielding.asked.len(), KEPT);
    }
}
