//! What was logged about each machine a moment ago: firmware repeats itself, and a stranger could do so on purpose.

use std::collections::BTreeMap;

use fleet::Time;

/// How long the same text about a machine is not logged again, in milliseconds.
const REPEAT_MS: u64 = 60_000;
/// Lines about one machine in that time. A boot makes about ten.
const LINES: u32 = 32;
/// Machines that are no node of ours, in that time: a rack or several that are switched on together. Beyond, a new
/// address is not worth a line: somebody makes addresses up.
const STRANGERS: usize = 2048;

/// A bounded memory of lines. Nodes are let in always: there are only so many.
#[derive(Debug, Default)]
pub(super) struct Told {
    each: BTreeMap<String, Recent>,
    swept: Time,
}

#[derive(Debug)]
struct Recent {
    text: String,
    at: Time,
    since: Time,
    lines: u32,
}

impl Told {
    /// Whether this is worth a line; it counts as logged then. `ours`: an operator has admitted the machine.
    pub(super) fn worth(&mut self, machine: &str, ours: bool, text: &str, now: Time) -> bool {
        if let Some(recent) = self.each.get_mut(machine) {
            return recent.worth(text, now);
        }
        self.sweep(now);
        if !ours && self.each.len() >= STRANGERS {
            return false;
        }
        let recent = Recent { text: text.to_owned(), at: now, since: now, lines: 1 };
        self.each.insert(machine.to_owned(), recent);
        true
    }

    /// Forgets who was quiet; not at every line of a flood, because looking at all of them is what costs.
    fn sweep(&mut self, now: Time) {
        if self.each.len() >= STRANGERS && now.0 >= self.swept.0.saturating_add(1000) {
            self.each.retain(|_, recent| now.0 < recent.at.0.saturating_add(REPEAT_MS));
            self.swept = now;
        }
    }
}

impl Recent {
    fn worth(&mut self, text: &str, now: Time) -> bool {
        if self.text == text && now.0 < self.at.0.saturating_add(REPEAT_MS) {
            return false;
        }
        if now.0 >= self.since.0.saturating_add(REPEAT_MS) {
            (self.since, self.lines) = (now, 0);
        }
        if self.lines >= LINES {
            return false;
        }
        self.lines += 1;
        (self.text, self.at) = (text.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{LINES, REPEAT_MS, STRANGERS, Told};
    use fleet::Time;

    #[test]
    fn the_same_is_said_once_a_minute_and_never_too_much() {
        let mut told = Told::default();
        let worth = |told: &mut Told, text: &str, ms| told.worth("n1", true, text, Time(ms));
        assert!(worth(&mut told, "offer", 0));
        assert!(!worth(&mut told, "offer", REPEAT_MS - 1));
        assert!(worth(&mut told, "offer", REPEAT_MS));
        let lines = (0..1000).filter(|i| worth(&mut told, &format!("offer {i}"), REPEAT_MS + i));
        assert_eq!(lines.count(), LINES as usize - 1);
        assert!(worth(&mut told, "offer", 3 * REPEAT_MS));
    }

    #[test]
    fn made_up_machines_are_bounded_and_ours_are_not_lost_among_them() {
        let mut told = Told::default();
        let flood = (0..10_000).filter(|i| told.worth(&format!("m{i}"), false, "offer", Time(5)));
        assert_eq!(flood.count(), STRANGERS);
        assert!(told.worth("n1", true, "offer", Time(6)));
        assert_eq!(told.each.len(), STRANGERS + 1);
        assert!(told.worth("m10000", false, "offer", Time(5 + REPEAT_MS)), "and all is well when it is over");
        assert!(told.each.len() <= 2);
    }
}
