//! When a request is done: by what the node itself says, and its controller's word only beside that.

use super::{HAND_SECONDS, HUSHED_SECONDS, OFF_SECONDS, ON_SECONDS, Observed, QUIET_SECONDS, Seen};
use super::{Request, SETTING_SECONDS, Way, Wish};
use crate::{Node, Time};

/// How it is known that it is done; none while it is not.
pub(super) fn done(node: &Node, seen: Seen, request: &Request, since: Time, now: Time) -> Option<String> {
    let heard = node.heard > since;
    // A hello without a proof is anybody's word.
    let speaks = node.booted.as_ref().filter(|booted| booted.heard > since);
    let booted = speaks.is_some_and(|booted| Some(&booted.id) != request.before.as_ref());
    let silent = now.seconds_since(node.heard);
    match request.wish {
        Wish::Cycle if booted => Some("its agent is heard, with a new boot id".to_owned()),
        Wish::On if booted => Some("its agent is heard, with a new boot id".to_owned()),
        Wish::On if speaks.is_some() => {
            Some("its agent is heard, with the boot id it had: it was on".to_owned())
        }
        // Nobody vouches for what an unapproved key says, but nothing better is to be had.
        Wish::On | Wish::Cycle if heard && !node.is_let_in() => {
            Some("a server that says it is this one is heard; it is not approved yet".to_owned())
        }
        Wish::On | Wish::Cycle | Wish::Boot { .. } => None,
        Wish::Off { .. } if request.way == Way::Controller => {
            let word = seen.state == Observed::Off && seen.at > since;
            (word && silent >= QUIET_SECONDS)
                .then(|| format!("its controller says off, and its agent is silent since {}", node.heard))
        }
        Wish::Off { .. } => (!heard && silent >= HUSHED_SECONDS)
            .then(|| format!("its agent is silent since {}; nobody else can tell", node.heard)),
    }
}

/// Until when it must be done.
pub(super) fn deadline(request: &Request, begun: Time) -> Time {
    let seconds = match (request.way, request.wish) {
        (Way::Hand, _) => HAND_SECONDS,
        (Way::Controller | Way::Wake | Way::Agent, Wish::On | Wish::Cycle) => ON_SECONDS,
        (Way::Controller | Way::Wake | Way::Agent, Wish::Off { .. }) => OFF_SECONDS,
        (Way::Controller | Way::Wake | Way::Agent, Wish::Boot { .. }) => SETTING_SECONDS,
    };
    begun.plus_seconds(seconds)
}

/// Why it is not done, at the deadline, and what a person can do.
pub(super) fn overdue(node: &Node, seen: Seen, request: &Request, now: Time) -> String {
    let name = &node.name;
    let silent = now.seconds_since(node.heard);
    let last = request.trouble.as_ref().map(|why| format!("; last: {why}")).unwrap_or_default();
    let word = match (request.way, seen.state) {
        (Way::Controller, state) if seen.at > request.asked => {
            format!("its controller says {}", state.word())
        }
        (Way::Controller, _) => "its controller has not said anything".to_owned(),
        (Way::Wake, _) => "a magic packet was sent".to_owned(),
        (Way::Agent, _) => "its agent was told".to_owned(),
        (Way::Hand, _) => "a person was to do it".to_owned(),
    };
    let next = match request.wish {
        Wish::On | Wish::Cycle => format!("see how far it boots: rackwright node why {name}"),
        Wish::Off { .. } => {
            format!("cut its power by hand, or try again: rackwright node power off {name} --hard")
        }
        Wish::Boot { .. } => format!("see what its controller says: rackwright node bmc test {name}"),
    };
    format!("{word}, and its agent was last heard {silent} s ago{last}; {next}")
}
