//! We did not answer, on purpose; or could not give an address.

use super::Hint;
use super::case::Case;
use crate::trace::{Answer, Message, Plain, Silence, Stage};

const CONFIG: &str = "/etc/rackwright/rackwright.toml";

fn said(answer: &Answer) -> &str {
    if let Answer::Silence { why, .. } = answer { why.as_str() } else { "" }
}

pub(super) fn dhcp_off(case: &Case<'_>) -> Option<Hint> {
    let (step, dhcp) = case.silence(Silence::Off)?;
    let hint = Hint::certain(step.at, format!("it asks on {}, where DHCP is turned off", dhcp.interface));
    Some(
        hint.why("dhcp = \"off\" is set for that network, so nobody there is answered.").fix(format!(
            "set dhcp = \"full\" or \"known\" for it in {CONFIG}, then restart rackwright.service"
        )),
    )
}

pub(super) fn too_early(case: &Case<'_>) -> Option<Hint> {
    let (step, _) = case.silence(Silence::Listening).filter(|(step, _)| case.since(step) >= 30)?;
    let hint = Hint::certain(step.at, "it asked while we were still looking for other DHCP servers");
    Some(
        hint.why("After a start, and when a cable was put in, nobody is answered for some seconds until that is known.")
            .fix("restart the server; if this goes on, see what is being looked for: rackwright network list"),
    )
}

pub(super) fn stood_back(case: &Case<'_>) -> Option<Hint> {
    let (step, dhcp) = case.silence(Silence::StoodBack)?;
    let hint = Hint::certain(step.at, format!("it asks on {}, where we stay silent", dhcp.interface));
    Some(
        hint.why(format!("On purpose: {}.", said(&dhcp.answer))).fix(
            "turn the other server off; or, to serve beside it, set foreign = \"proxy\" for that network",
        ),
    )
}

pub(super) fn stranger(case: &Case<'_>) -> Option<Hint> {
    let (step, _) = case.silence(Silence::Stranger)?;
    let hint = Hint::certain(step.at, "it asks to boot, and nobody has made it known");
    Some(
        hint.why("On this network only servers that an operator has made known are answered.")
            .fix(format!("if it is one of yours: rackwright network reserve {}", case.trace.mac)),
    )
}

pub(super) fn pool_exhausted(case: &Case<'_>) -> Option<Hint> {
    let (step, dhcp) = case.silence(Silence::PoolExhausted)?;
    let hint = Hint::certain(step.at, "there is no address left to give it");
    Some(hint.why(format!("The pool is used up: {}.", said(&dhcp.answer))).fix(format!(
        "release what is not needed (rackwright network leases, then release), or make the pool larger in {CONFIG}"
    )))
}

pub(super) fn relay_not_ours(case: &Case<'_>) -> Option<Hint> {
    let (step, dhcp) = case.silence(Silence::Relay)?;
    let relay = dhcp.relay.map(|relay| relay.to_string()).unwrap_or_default();
    let hint =
        Hint::certain(step.at, format!("it asks through the relay {relay}, which is in no network of ours"));
    Some(
        hint.why(
            "A relay (\"ip helper\") on a router sends us requests of a network that is not configured here.",
        )
        .fix(format!(
            "add that network to {CONFIG}, or take the helper address off the router's other interfaces"
        )),
    )
}

pub(super) fn fixed_elsewhere(case: &Case<'_>) -> Option<Hint> {
    let (step, dhcp) = case.silence(Silence::Elsewhere)?;
    let hint = Hint::certain(
        step.at,
        format!("it asks on {}, and its address is fixed in another network", dhcp.interface),
    );
    Some(hint.why(format!("{}.", said(&dhcp.answer))).fix(format!(
        "plug it where it belongs; or, if it shall stay here: rackwright network unreserve {}",
        case.trace.mac
    )))
}

pub(super) fn in_use(case: &Case<'_>) -> Option<Hint> {
    let declined = case.dhcp().rev().find(|(_, dhcp)| dhcp.message == Message::Decline);
    let (step, dhcp) = match declined {
        Some(declined) if case.last.reached() <= Stage::Address => declined,
        _ => case.silence(Silence::InUse)?,
    };
    let address = dhcp.requested.map_or_else(|| "its address".to_owned(), |address| address.to_string());
    let hint = Hint::certain(step.at, format!("{address} is used by some other host on that network"));
    Some(
        hint.why("A host with an address set by hand, or another DHCP server's client, sits on an address of our pool.")
            .fix(format!(
                "find it (on the controller: ip neigh show {address}; its MAC, then the switch's table), give it another"
            )),
    )
}

pub(super) fn other_network(case: &Case<'_>) -> Option<Hint> {
    let (step, dhcp) = case.silence(Silence::Subnet)?;
    let asked = dhcp.requested.or(dhcp.uses).map(|address| address.to_string()).unwrap_or_default();
    let interface: &Plain = &dhcp.interface;
    let hint =
        Hint::likely(step.at, format!("it asks on {interface} for {asked}, an address of another network"));
    Some(hint.why("Its card was moved to this network, or its switch port is in the wrong VLAN.").fix(
        "put the port into the VLAN of the provisioning network, or plug it where it was; then restart it",
    ))
}
