//! An operator works at a node: its silence and its restarts are no alarm, and nothing begins on it.
//!
//! It may take as long as it takes; after a day the operators are told that it is still so ([`crate::notice`]).

use crate::returning::{home, leave, may_leave};
use crate::step::{moved, refused};
use crate::{Change, Denied, Fleet, Node, Outcome, State, Time};

/// Begins, or gives another reason.
pub(crate) fn begin(fleet: &Fleet, node: &Node, why: String, now: Time) -> Result<Outcome, Denied> {
    let mut outcome = Outcome::default();
    outcome.fact(node.id, "service", why.clone());
    let mut next;
    if let State::Servicing { back, .. } = &node.state {
        next = node.clone();
        next.state = State::Servicing { why, back: back.clone() };
    } else {
        may_leave(node, "servicing")?;
        next = leave(fleet, node, "the node is in service", now, &mut outcome);
        let back = Box::new(next.state.clone());
        next = moved(&next, State::Servicing { why, back }, now);
    }
    outcome.changes.push(Change::Node(Box::new(next)));
    Ok(outcome)
}

/// Ends: the node must be heard again.
pub(crate) fn end(fleet: &Fleet, node: &Node, now: Time) -> Result<Outcome, Denied> {
    let State::Servicing { why, back } = &node.state else {
        return Err(refused(node, "ending a service", "; it is not in service"));
    };
    let mut outcome = Outcome::default();
    let next = moved(node, home(fleet, node, back), now);
    outcome.fact(node.id, "service-ended", format!("since {}: {why}; now {}", node.since, next.state.word()));
    outcome.changes.push(Change::Node(Box::new(next)));
    Ok(outcome)
}
