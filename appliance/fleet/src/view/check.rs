//! What `doctor` looks at beside the machines.

use pxe::dhcp::{Mode, Policy, Room, Stance};
use serde::{Deserialize, Serialize};

use crate::network::{Network, Rule, Server};
use crate::notice::unrenewed;
use crate::patience::SILENT_SECONDS;
use crate::{Fleet, Time};

/// Of so many addresses less than this share free is worth a word, in percent.
const SCARCE: u64 = 10;

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckRow {
    /// A stable word: `listeners`, `boot-store`, `dhcp`, `pool`, `other-servers`, `certificates`.
    pub check: String,
    /// `ok`, `warn` or `fail`.
    pub result: String,
    /// What is so.
    pub what: String,
    /// What to do, when something is.
    pub fix: Option<String>,
}

impl CheckRow {
    /// A check with no fix.
    #[must_use]
    pub fn new(check: &str, result: &str, what: &str) -> CheckRow {
        let [check, result, what] = [check, result, what].map(str::to_owned);
        CheckRow { check, result, what, fix: None }
    }

    fn fixed_by(self, fix: &str) -> CheckRow {
        CheckRow { fix: Some(fix.to_owned()), ..self }
    }
}

/// Other DHCP servers on a network, and what is done beside them.
#[must_use]
pub fn others_check(network: &Network) -> CheckRow {
    let name = &network.interface;
    let kind = |server: &Server| if server.site.is_some() { "Rackwright controller" } else { "DHCP server" };
    let heard = network.servers.iter().map(|(address, server)| format!("{} {address}", kind(server)));
    let heard = heard.collect::<Vec<_>>().join(", ");
    let row = |result: &str, what: String| CheckRow::new("other-servers", result, &format!("{name}: {what}"));
    match (network.stance(), heard.is_empty()) {
        (Stance::Listening, _) => row("warn", "not looked for yet".to_owned()),
        (Stance::Paused(_), _) => row("fail", format!("nobody is answered, because of {heard}"))
            .fixed_by("turn it off; or, to serve beside it, set foreign = \"proxy\" for that network"),
        (Stance::Proxy, _) => row("ok", format!("addresses are left to {heard}, as configured")),
        (Stance::Serve, true) if network.looked.is_none() => row("warn", "not looked for yet".to_owned()),
        (Stance::Serve, true) => row("ok", "no other DHCP server".to_owned()),
        (Stance::Serve, false) if network.rule != Rule::Ignore => {
            row("warn", format!("{heard} is there too and should stop by itself"))
                .fixed_by("if it does not: turn it off, or part the two networks")
        }
        (Stance::Serve, false) => row("ok", format!("beside {heard}, as configured")),
    }
}

/// Whether the installed systems have their certificates renewed.
#[must_use]
pub fn certificates_check(fleet: &Fleet, now: Time) -> CheckRow {
    let row = |result: &str, what: &str| CheckRow::new("certificates", result, what);
    let refused = fleet.nodes.values().find(|node| node.lapsed.is_some_and(|lapsed| !lapsed.pardoned));
    if let Some(node) = refused {
        let what = format!("{} is back, and its certificate ended too long ago for a new one", node.name);
        return row("fail", &what)
            .fixed_by(&format!("when it is the server that it was: rackwright node retry {}", node.name));
    }
    let late = fleet.nodes.values().filter_map(|node| Some((node, unrenewed(fleet, node, now)?)));
    // One that is silent can't renew anything, and that is told elsewhere.
    let late =
        late.filter(|(node, _)| node.reported.is_some_and(|at| now.seconds_since(at) < SILENT_SECONDS));
    let late = late.map(|(node, until)| (node.name.as_str(), until)).collect::<Vec<_>>();
    match late.first() {
        None => row("ok", "all that should have been renewed are"),
        Some((name, until)) => row(
            "warn",
            &format!("{} not renewed; that of {name} ends at {until}", late.len()),
        )
        .fixed_by(&format!(
            "what its agent says: journalctl -u rackwright-agent on {name}; rackwright node why {name}"
        )),
    }
}

/// Whom DHCP answers in a subnet.
#[must_use]
pub fn dhcp_check(policy: &Policy) -> CheckRow {
    let row = |result: &str, what: &str| CheckRow::new("dhcp", result, &format!("{}: {what}", policy.subnet));
    match policy.mode {
        Mode::Off => row("warn", "DHCP is off, nobody is answered")
            .fixed_by("if servers shall boot there, set dhcp to \"full\", \"known\" or \"proxy\""),
        Mode::Full if policy.proxy => {
            row("ok", "addresses are another server's; everybody who boots is told what")
        }
        Mode::KnownOnly if policy.proxy => {
            row("ok", "addresses are another server's; servers that were made known are told what to boot")
        }
        Mode::Full => row("ok", "everybody who asks is answered"),
        Mode::KnownOnly => row("ok", "only servers that were made known are answered"),
    }
}

/// How full the pools of a subnet are; nothing where there are none.
#[must_use]
pub fn pool_check(policy: &Policy, room: Room) -> Option<CheckRow> {
    let Room { size, held, quarantined } = room;
    if size == 0 || policy.mode == Mode::Off || policy.proxy {
        return None;
    }
    let quarantine = if quarantined > 0 { format!(", {quarantined} in quarantine") } else { String::new() };
    let what = format!("{}: {held} of {size} addresses are held{quarantine}", policy.subnet);
    let row = |result: &str| CheckRow::new("pool", result, &what);
    let fix = "release what is not needed (rackwright network leases), or make the pool larger";
    Some(match size.saturating_sub(held).saturating_sub(quarantined) {
        0 => row("fail").fixed_by(fix),
        free if free.saturating_mul(100) < size.saturating_mul(SCARCE) => row("warn").fixed_by(fix),
        _ => row("ok"),
    })
}
