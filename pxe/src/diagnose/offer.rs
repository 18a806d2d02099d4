//! We answered: the answer was lost, or another server's was taken.

use super::Hint;
use super::case::Case;
use crate::trace::{Answer, Class, Dhcp, Message, Silence, Stage, Step, What};

/// Firmware waits 4 s for other offers before it takes one; a client that waits longer has none.
const DECIDED: u64 = 10;

fn offers<'a>(case: &Case<'a>) -> impl DoubleEndedIterator<Item = (&'a Step, &'a Dhcp)> {
    case.dhcp().filter(|(_, dhcp)| matches!(dhcp.answer, Answer::Offer { .. }))
}

/// The first of at least two offers that none followed on, long enough ago.
fn unanswered<'a>(case: &Case<'a>) -> Option<(&'a Step, &'a Dhcp)> {
    let first = offers(case).next()?;
    let twice = offers(case).nth(1).is_some() || first.0.times > 1;
    let requested = case
        .last
        .steps
        .iter()
        .filter_map(|step| step.what.dhcp())
        .any(|dhcp| matches!(dhcp.message, Message::Request | Message::Inform | Message::Decline));
    let fetched = case.fetches().next().is_some();
    let long = case.now.seconds_since(first.0.at) >= DECIDED;
    (twice && !requested && !fetched && long).then_some(first)
}

pub(super) fn took_other(case: &Case<'_>) -> Option<Hint> {
    let mut chosen = case.dhcp().rev();
    let (step, dhcp) = chosen.find(|(_, dhcp)| dhcp.answer.cause() == Some(Silence::OtherServer))?;
    if case.last.reached() >= Stage::Script {
        return None;
    }
    let other = dhcp.server.map(|server| server.to_string()).unwrap_or_default();
    let hint = Hint::certain(step.at, format!("it took the offer of another DHCP server, {other}"));
    Some(
        hint.why("Two servers answer on this network, and firmware takes whichever offer it likes better.").fix(
            format!(
                "find {other} and turn its DHCP off for this network, or set foreign = \"proxy\" here to serve beside it"
            ),
        ),
    )
}

fn foreign_step<'a>(case: &Case<'a>, ours: bool) -> Option<(&'a Step, String)> {
    case.around().rev().find_map(|step| {
        let What::Foreign { server, rackwright, .. } = &step.what else { return None };
        (*rackwright == ours).then(|| (step, server.to_string()))
    })
}

pub(super) fn another_rackwright(case: &Case<'_>) -> Option<Hint> {
    let (step, server) = foreign_step(case, true)?;
    let hint =
        Hint::certain(step.at, format!("a second Rackwright controller, {server}, is on this network"));
    Some(
        hint.why(
            "Both would give addresses and install servers; a machine may boot from the one or the other.",
        )
        .fix(format!(
            "set dhcp = \"off\" for this network on one of the two, or part them by VLANs ({server})"
        )),
    )
}

pub(super) fn foreign(case: &Case<'_>) -> Option<Hint> {
    let (step, server) = foreign_step(case, false)?;
    if case.last.reached() >= Stage::Address || case.quiet() < DECIDED {
        return None;
    }
    let hint = Hint::likely(step.at, format!("another DHCP server, {server}, answers on this network"));
    Some(
        hint.why("The machine asked and never came back to us: most likely it took that server's offer.")
            .fix(format!(
                "turn DHCP off on {server} for this network, or set foreign = \"proxy\" here to serve beside it"
            )),
    )
}

pub(super) fn not_received(case: &Case<'_>) -> Option<Hint> {
    let (step, dhcp) = unanswered(case)?;
    if dhcp.relay.is_some() || dhcp.class == Class::Http || no_address(dhcp) {
        return None;
    }
    let hint = Hint::likely(step.at, "it is offered an address again and again, and never takes it");
    Some(
        hint.why(
            "Its questions reach us, our answers do not reach it: DHCP snooping on the switch, a port that is tagged in \
             one direction only, or a filter for broadcasts.",
        )
        .fix(
            "on the switch: mark the controller's port as trusted for DHCP snooping, and give the server's port the same \
             untagged VLAN",
        ),
    )
}

pub(super) fn relay_lost(case: &Case<'_>) -> Option<Hint> {
    let (step, dhcp) = unanswered(case)?;
    let relay = dhcp.relay?;
    let hint =
        Hint::likely(step.at, format!("our offers go to the relay {relay}, and the machine never takes one"));
    Some(
        hint.why("The relay drops the answers, or they do not find the way to it.").fix(format!(
            "from the controller: ping {relay}; on the router: allow UDP 67 from the controller, trust its DHCP answers"
        )),
    )
}

fn no_address(dhcp: &Dhcp) -> bool {
    matches!(dhcp.answer, Answer::Offer { address: None, .. })
}

pub(super) fn proxy_ignored(case: &Case<'_>) -> Option<Hint> {
    let (step, _) = unanswered(case).filter(|(_, dhcp)| no_address(dhcp))?;
    let hint = Hint::likely(step.at, "it does not take up our boot offer beside the site's DHCP server");
    Some(
        hint.why(
            "Either the site's own server answers nothing (the machine then has no address), or this firmware ignores \
             proxyDHCP: some of 2014 to 2017 do.",
        )
        .fix(
            "see that the site's server has an address for it; if it has, give the servers a network of their own and set \
             dhcp = \"full\" for it",
        ),
    )
}

pub(super) fn http_ignored(case: &Case<'_>) -> Option<Hint> {
    let (step, _) = unanswered(case).filter(|(_, dhcp)| dhcp.class == Class::Http)?;
    let hint = Hint::likely(step.at, "its UEFI HTTP boot asks again and again, and takes none of our offers");
    Some(hint.why("Our answers do not reach it, or this firmware takes https:// addresses only.").fix(
        "in its firmware setup, put \"PXE over IPv4\" before \"HTTP boot\", or allow HTTP without TLS there",
    ))
}

pub(super) fn boot_service_silent(case: &Case<'_>) -> Option<Hint> {
    let (step, dhcp) = case.dhcp().rev().find(|(_, dhcp)| dhcp.port == 4011)?;
    let Answer::Silence { why, .. } = &dhcp.answer else { return None };
    if case.last.reached() >= Stage::Loader {
        return None;
    }
    let hint = Hint::certain(step.at, "it asked us on port 4011 what to boot, and we did not answer");
    Some(
        hint.why(format!("{why}.")).fix(
            "compare the address it has with the network in the configuration: both must be of one subnet",
        ),
    )
}

pub(super) fn refused_again(case: &Case<'_>) -> Option<Hint> {
    let refused: Vec<_> = case.dhcp().filter(|(_, dhcp)| dhcp.answer == Answer::Nak).collect();
    let (step, dhcp) = refused.last().filter(|_| refused.len() >= 3)?;
    let asked = dhcp.requested.or(dhcp.uses).map(|address| address.to_string()).unwrap_or_default();
    let hint =
        Hint::likely(step.at, format!("it asks again and again for {asked}, which is not its address"));
    Some(
        hint.why("It remembers an address of another server or of an older controller, and does not let go of it.")
            .fix(format!(
                "take the power off it for a moment; if it stays so, fix what it wants: rackwright network reserve {} {asked}",
                case.trace.mac
            )),
    )
}
