//! Whether a switch sends what is for a group to everybody.

use crate::Micros;

/// So long it counts as one that floods: it is not looked at meanwhile, as nothing is sent.
const REMEMBERED: Micros = Micros(10 * 60 * 1_000_000);

/// What is known of a network's switch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flood(Option<Micros>);

impl Flood {
    /// Somebody who had not joined a group has got what was sent to it.
    pub fn seen(&mut self, now: Micros) {
        self.0 = Some(now);
    }

    /// Whether nothing should be sent to a group there.
    #[must_use]
    pub fn is_known(&self, now: Micros) -> bool {
        self.0.is_some_and(|seen| now.since(seen) < REMEMBERED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_that_floods_is_left_alone_for_ten_minutes() {
        let mut flood = Flood::default();
        assert!(!flood.is_known(Micros(0)));
        flood.seen(Micros(5));
        assert!(flood.is_known(Micros(5)) && flood.is_known(Micros(600_000_004)));
        assert!(!flood.is_known(Micros(600_000_005)), "it may have been set up better");
    }
}
