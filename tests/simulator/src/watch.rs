//! What must be true of everything that a sender sends.

use std::collections::BTreeMap;

use cast::Micros;
use cast::code::repairs;
use cast::groups::Groups;
use cast::sender::Burst;

use crate::network::{WIRE_BYTES, nanos};

/// For so long somebody who lacks a group no more may still be sent it: it was silent, or its reports were lost.
const NEWS: Micros = Micros(4_500_000);
/// What may be sent beyond the rate after a pause, in nanoseconds of it: 20 ms that are made up for, and a burst.
const AHEAD: u64 = 30_000_000;
/// A sender that has so much to do at one moment will not end.
const STEPS: u32 = 20_000;

/// Looks at one sender.
#[derive(Debug)]
pub(crate) struct Watch {
    sequence: u32,
    rate: u64,
    /// Until when what was sent fills the rate, in nanoseconds.
    filled: u64,
    relieved: BTreeMap<u32, Micros>,
    steps: (Micros, u32),
}

impl Watch {
    pub(crate) fn new(rate: u64) -> Watch {
        Watch { sequence: 0, rate, filled: 0, relieved: BTreeMap::new(), steps: (Micros(0), 0) }
    }

    /// Somebody does not need this any more.
    pub(crate) fn relieve(&mut self, group: u32, now: Micros) {
        self.relieved.insert(group, now);
    }

    /// The sender did something.
    pub(crate) fn step(&mut self, now: Micros) {
        let (at, steps) = self.steps;
        self.steps = if at == now { (at, steps + 1) } else { (now, 1) };
        assert!(self.steps.1 < STEPS, "the sender goes round and round");
    }

    /// A burst is sent; `is_needed` says whether somebody who listens needs it.
    pub(crate) fn burst(
        &mut self,
        burst: &Burst,
        groups: &Groups,
        is_needed: impl FnOnce() -> bool,
        now: Micros,
    ) {
        let group = groups.get(burst.group).expect("there is such a group");
        assert_eq!(burst.of, group.symbols);
        assert!(
            burst.symbols.start < burst.symbols.end
                && burst.symbols.end <= group.symbols + repairs(group.symbols)
        );
        assert!(burst.symbols.len() <= 44, "one burst is one packet to the kernel");
        assert_eq!(burst.sequence, self.sequence, "sequence numbers have no gaps");
        let count = u32::from(burst.symbols.end - burst.symbols.start);
        self.sequence = self.sequence.wrapping_add(count);
        self.filled = self.filled.max(now.0 * 1000) + nanos(u64::from(count) * WIRE_BYTES, self.rate);
        assert!(self.filled - now.0 * 1000 < AHEAD + nanos(2 * WIRE_BYTES, self.rate), "faster than allowed");
        let was_needed = self.relieved.get(&burst.group).is_some_and(|at| now.since(*at) < NEWS);
        assert!(was_needed || is_needed(), "nobody needs group {}", burst.group);
    }
}
