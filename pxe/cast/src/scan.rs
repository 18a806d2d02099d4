//! Looking at a disk before anything is written to it: is it the image, nearly, or something else?
//!
//! A sample that is spread over the disk says whether it is worth reading as a whole. From then on windows are compared in
//! the order of the disk until one differs; if none does, nothing has to be written.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::order::Open;
use crate::pool::Ledger;
use crate::{Order, Outcome, Piece};

/// One piece of so many is in the sample, and at least [`SAMPLE_LEAST`].
const SAMPLE_SHARE: usize = 100;
const SAMPLE_LEAST: usize = 16;
/// A sample is read with so many orders at once: it is small, and each takes memory that a new disk needs for nothing else yet.
const SAMPLE_AT_ONCE: usize = 4;
/// When so many are wrong and none is right, the rest of the sample is not read.
const PLAINLY_WRONG: usize = 8;
/// The disk is taken for another one's when fewer than one of so many in the sample is right.
const RIGHT_SHARE: usize = 5;

/// What a scan has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Every window is right.
    Everything,
    /// Some are right, and known to be: these. At least one is not.
    Parts(BTreeSet<u32>),
    /// So little is right that reading on is not worth it.
    Nothing,
}

/// A scan under way.
#[derive(Debug)]
pub(crate) struct Scan {
    sample: VecDeque<Piece>,
    rest: BTreeMap<u32, Piece>,
    /// How many of the sample have no answer yet.
    awaited: BTreeSet<u32>,
    sampled: usize,
    right: BTreeSet<u32>,
    differs: bool,
}

impl Scan {
    pub(crate) fn new(pieces: impl IntoIterator<Item = Piece>) -> Scan {
        let mut rest: BTreeMap<u32, Piece> = pieces.into_iter().map(|piece| (piece.id, piece)).collect();
        // A new disk is full of zeros: windows of zeros say little about what it is.
        let mut telling: Vec<u32> = rest.values().filter(|p| p.stored > 0).map(|p| p.id).collect();
        if telling.is_empty() {
            telling.extend(rest.keys());
        }
        let wanted = (telling.len() / SAMPLE_SHARE).max(SAMPLE_LEAST);
        let stride = (telling.len() / wanted).max(1);
        let awaited: BTreeSet<u32> = telling.into_iter().step_by(stride).collect();
        let sampled = rest.extract_if(.., |id, _| awaited.contains(id)).map(|(_, piece)| piece);
        // Those that may be enough come first, spread over the whole disk.
        let step = (awaited.len() / PLAINLY_WRONG).max(2);
        let (first, second): (Vec<_>, Vec<_>) =
            sampled.enumerate().partition(|(number, _)| number.is_multiple_of(step));
        let sample = first.into_iter().chain(second).map(|(_, piece)| piece).collect();
        let (sampled, right, differs) = (awaited.len(), BTreeSet::new(), false);
        Scan { sample, rest, awaited, sampled, right, differs }
    }

    pub(crate) fn orders(&mut self, ledger: &mut Ledger) -> Vec<Order> {
        let mut given = Vec::new();
        let most = ledger.limits.compares.max(1);
        let most = if self.sample.is_empty() { most } else { most.min(SAMPLE_AT_ONCE) };
        while ledger.orders.reading().count() < most {
            let next = match self.sample.pop_front() {
                None if self.awaited.is_empty() && !self.differs => {
                    self.rest.pop_first().map(|(_, piece)| piece)
                }
                sampled => sampled,
            };
            let Some(piece) = next else { break };
            given.push(ledger.orders.give(Open::Compare(piece)));
        }
        given
    }

    /// Takes an answer. A window that can't be read is not what it should be.
    pub(crate) fn on(&mut self, piece: Piece, outcome: &Outcome) {
        self.awaited.remove(&piece.id);
        if *outcome == Outcome::Same {
            self.right.insert(piece.id);
        } else {
            self.differs = true;
        }
        if self.right.is_empty() && self.sampled - self.awaited.len() >= PLAINLY_WRONG {
            for piece in self.sample.drain(..) {
                self.awaited.remove(&piece.id);
            }
        }
    }

    /// What was found, when that is certain and no read is under way any more.
    pub(crate) fn found(&self, ledger: &Ledger) -> Option<Found> {
        if !self.awaited.is_empty() || !ledger.orders.is_empty() {
            return None;
        }
        match self.differs {
            true if self.right.len().saturating_mul(RIGHT_SHARE) < self.sampled => Some(Found::Nothing),
            true => Some(Found::Parts(self.right.clone())),
            false => self.rest.is_empty().then_some(Found::Everything),
        }
    }
}
