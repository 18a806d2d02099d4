//! The clock is believed, or not any more.

use super::{Doubt, Verb, Verdict, Why, problem};
use crate::{Change, Denied, Fact, Fleet, Outcome};

/// Decides about the clock.
pub(crate) fn step(fleet: &Fleet, verb: Verb) -> Result<Outcome, Denied> {
    let (next, text) = match verb {
        Verb::Seen(Verdict::Doubted(doubt)) => {
            let mut world = fleet.clone();
            world.clock = Some(doubt.clone());
            (Some(doubt), problem(&world).unwrap_or_default())
        }
        Verb::Seen(Verdict::Right) => {
            (None, "the controller's clock is right again: certificates are issued".to_owned())
        }
        Verb::Seen(Verdict::Settled(seconds)) => {
            let text = format!("the controller's clock was set by {seconds} s, soon after its boot");
            return Ok(Outcome { facts: vec![fact(text)], ..Outcome::default() });
        }
        Verb::Accept => match &fleet.clock {
            None => {
                return Err(Denied::Conflict(
                    "the controller's clock is believed: there is nothing to accept".to_owned(),
                ));
            }
            Some(Doubt { why: Why::BeforeBuild, .. }) => {
                return Err(Denied::Conflict(problem(fleet).unwrap_or_default()));
            }
            Some(doubt) => (
                None,
                format!(
                    "the controller's clock is taken for right, by an operator's word; it was doubted since {}",
                    doubt.at.wall
                ),
            ),
        },
    };
    let mut outcome = Outcome { facts: vec![fact(text)], ..Outcome::default() };
    outcome.changes.push(Change::Clock(next.map(Box::new)));
    Ok(outcome)
}

fn fact(text: String) -> Fact {
    Fact { node: None, mac: None, kind: "clock".to_owned(), text }
}
