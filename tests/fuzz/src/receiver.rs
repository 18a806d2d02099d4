//! The delivery of an image, with a disk and a source that answer anything, in any order.

use std::collections::BTreeSet;

use cast::{Action, Heard, Limits, Millis, Order, Outcome, Piece, Receiver, Start, Ticket, Verdict};

use crate::Reached;
use crate::input::Input;

/// Longer deliveries find nothing that shorter ones do not.
const STEPS: usize = 512;

/// A delivery and what its shell has reported: the disk, as far as the receiver can know it.
struct Delivery {
    receiver: Receiver,
    ids: Vec<u32>,
    /// Windows from here on lie in part where a disarm writes.
    lost_from: u32,
    open: Vec<Order>,
    closed: Vec<Ticket>,
    /// Windows last reported to hold what they should, and not written since.
    right: BTreeSet<u32>,
    /// Whether a window of the body is right too when a flush has succeeded that was ordered after its write, and none has failed.
    trusts: bool,
    /// Written, and no flush was ordered since; and what the one under way covers.
    written: BTreeSet<u32>,
    covered: BTreeSet<u32>,
    now: u64,
}

/// The first window is written last, and a job is done only when every window was read back right, or is trusted to be.
pub(crate) fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let pieces = pieces(&mut input);
    let ids: Vec<u32> = pieces.iter().map(|piece| piece.id).collect();
    let how = input.byte();
    let middle = ids.get(ids.len() / 2).copied().unwrap_or(u32::MAX);
    let lost_from = if how & 4 == 0 { u32::MAX } else { middle };
    let trusts = how & 8 != 0;
    let start = Start { seed: how & 1 == 1, begun: how & 2 == 0, lost_from, read_back: !trusts };
    let limits = Limits {
        spool_bytes: u64::from(input.byte()) << 8,
        range_bytes: u64::from(input.byte()) << 8,
        patience: Millis(u64::from(input.byte()) * 1000),
        ..Limits::default()
    };
    let Ok(receiver) = Receiver::new(pieces, start, limits) else { return Reached::Refusal };
    let (open, closed, right) = (Vec::new(), Vec::new(), BTreeSet::new());
    let (written, covered) = (BTreeSet::new(), BTreeSet::new());
    let mut delivery =
        Delivery { receiver, ids, lost_from, open, closed, right, trusts, written, covered, now: 0 };
    for _ in 0..STEPS {
        delivery.poll();
        if input.is_empty() || delivery.receiver.verdict() != Verdict::Working {
            break;
        }
        delivery.answer(&mut input);
    }
    delivery.ended()
}

/// Up to eight pieces; mostly ascending.
fn pieces(input: &mut Input<'_>) -> Vec<Piece> {
    let count = input.byte() % 9;
    let (mut id, mut offset) = (0, 0);
    let mut pieces = Vec::new();
    for _ in 0..count {
        let (gap, stored, bytes) = (input.byte(), u32::from(input.byte()), u32::from(input.byte()));
        pieces.push(Piece { id, offset, stored, bytes: bytes << 4 });
        id += u32::from(gap % 4);
        offset += u64::from(stored);
    }
    pieces
}

impl Delivery {
    fn poll(&mut self) {
        let orders = self.receiver.poll(Millis(self.now));
        for order in &orders {
            assert!(self.open.iter().all(|open| open.ticket != order.ticket), "a ticket twice");
            if let Action::Write(id) = order.action {
                self.right.remove(&id);
                if self.ids.first() == Some(&id) {
                    let missing = self.ids.iter().skip(1).find(|id| !self.right.contains(id));
                    assert_eq!(missing, None, "the first window, and not everything else is right");
                }
            }
            if order.action == Action::Flush {
                self.covered = std::mem::take(&mut self.written);
            }
            if let Action::Fetch { ids, .. } = &order.action {
                assert!(!ids.is_empty());
            }
        }
        self.open.extend(orders);
    }

    fn answer(&mut self, input: &mut Input<'_>) {
        let (what, which) = (input.byte(), usize::from(input.byte()));
        self.now += u64::from(what >> 4) * u64::from(what >> 4) * 16;
        if what & 0xf == 15 {
            // A late answer, to an order that is closed.
            let Some(ticket) = self.closed.get(which.checked_rem(self.closed.len()).unwrap_or(0)) else {
                return;
            };
            let heard = self.receiver.on(*ticket, Outcome::Done, Millis(self.now));
            assert!(matches!(heard, Heard::Ignored(_)), "a closed order was heard");
            return;
        }
        let Some(at) = which.checked_rem(self.open.len()) else { return };
        let Some(order) = self.open.get(at).cloned() else { return };
        let outcome = outcome(&order.action, what & 0xf);
        let of_fetch = matches!(outcome, Outcome::Arrived(_) | Outcome::Spoilt { .. });
        let mut rest = Vec::new();
        if let Action::Fetch { ids, .. } = &order.action
            && of_fetch
        {
            rest.extend_from_slice(ids.get(1..).unwrap_or_default());
        }
        self.note(&order.action, &outcome);
        self.receiver.on(order.ticket, outcome, Millis(self.now));
        match self.open.get_mut(at) {
            Some(Order { action: Action::Fetch { ids, .. }, .. }) if !rest.is_empty() => *ids = rest,
            _ => self.closed.push(self.open.remove(at).ticket),
        }
    }

    fn note(&mut self, action: &Action, outcome: &Outcome) {
        if let (Action::Compare(id) | Action::ReadBack(id), Outcome::Same) = (action, outcome) {
            self.right.insert(*id);
        }
        match action {
            Action::Write(id) if self.trusts && *outcome == Outcome::Done => {
                let is_table = [self.ids.first(), self.ids.last()].contains(&Some(id));
                self.written.extend((!is_table).then_some(*id));
            }
            Action::Flush if *outcome == Outcome::Done => self.right.append(&mut self.covered),
            Action::Flush => {
                (self.trusts, self.written, self.covered) = (false, BTreeSet::new(), BTreeSet::new());
            }
            Action::Discard => self.right.clear(),
            Action::Disarm => {
                let ends = [self.ids.first(), self.ids.last()];
                self.right.retain(|id| !ends.contains(&Some(id)) && *id < self.lost_from);
            }
            Action::Compare(_)
            | Action::Fetch { .. }
            | Action::Write(_)
            | Action::ReadBack(_)
            | Action::WriteSeed => {}
        }
    }

    fn ended(&mut self) -> Reached {
        let progress = self.receiver.progress();
        assert!(
            progress.bytes_done <= progress.bytes_total && progress.bytes_verified <= progress.bytes_total
        );
        match self.receiver.verdict() {
            Verdict::Working => Reached::Refusal,
            Verdict::Failed(failure) => {
                assert!(!failure.cause.is_empty());
                assert!(self.receiver.poll(Millis(self.now)).is_empty(), "orders after the end");
                Reached::Inside
            }
            Verdict::Done(_) => {
                assert!(self.ids.iter().all(|id| self.right.contains(id)), "done, and not read back");
                assert!(self.receiver.poll(Millis(self.now)).is_empty(), "orders after the end");
                Reached::Inside
            }
        }
    }
}

/// An outcome that belongs to the action, most often the good one.
fn outcome(action: &Action, choice: u8) -> Outcome {
    if choice == 14 {
        return Outcome::Failed("it failed".to_owned());
    }
    match action {
        Action::Compare(_) | Action::ReadBack(_) if choice >= 10 => Outcome::Differs,
        Action::Compare(_) | Action::ReadBack(_) => Outcome::Same,
        Action::Fetch { ids, .. } => {
            let id = ids.first().copied().unwrap_or(0);
            if choice >= 11 { Outcome::Spoilt { id, cause: "bent".to_owned() } } else { Outcome::Arrived(id) }
        }
        Action::Disarm | Action::Discard | Action::Write(_) | Action::Flush | Action::WriteSeed => {
            Outcome::Done
        }
    }
}

/// All goes well; everything differs first; a source that fails; a body that is trusted, also when flushes fail; one window;
/// no window.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let disk = vec![4, 1, 9, 1, 1, 9, 1, 1, 0, 1, 1, 9, 1, 1, 64, 64, 60];
    let goes = |answers: &[u8], times: usize| [disk.clone(), answers.repeat(times)].concat();
    vec![
        goes(&[0, 0], 60),
        [disk.clone(), vec![0, 0, 10, 0, 10, 0, 10, 0], [0, 0].repeat(60)].concat(),
        goes(&[0, 0, 14, 1, 0xfa, 0, 0x1f, 2], 60),
        goes(&[0xfe, 0], 40),
        [disk.get(..13).unwrap_or_default(), &[3, 64, 64, 60], &[0, 0].repeat(60)].concat(),
        [disk.get(..13).unwrap_or_default(), &[3, 64, 64, 60], &[10, 0].repeat(4), &[0, 0].repeat(60)]
            .concat(),
        [disk.get(..13).unwrap_or_default(), &[8, 64, 64, 60], &[0, 0].repeat(60)].concat(),
        [
            disk.get(..13).unwrap_or_default(),
            &[8, 64, 64, 60],
            &[[0, 0].repeat(20), vec![14, 0]].concat().repeat(5),
        ]
        .concat(),
        [vec![1, 1, 1, 1, 0, 1, 1, 1], [0, 0].repeat(12)].concat(),
        vec![0],
    ]
}
