//! What the switch does to packets, as a ruleset of nft.
//!
//! Knows the names of the switch's ports. Refuses to touch ARP and IGMP: a cable loses those too, but what is measured then
//! is the kernel's timers.

use std::fmt::Write as _;

use super::scenario::{Lan, Loss};

/// The controller's port of the switch.
pub(super) const UPLINK: &str = "uplink";
/// The port of a machine that has nothing to do with it.
pub(super) const BYSTANDER: &str = "bystander";
/// Receivers' ports begin so.
const RECEIVER: &str = "r";
/// How often a burst of losses comes: once in so many packets.
const ROUND: u32 = 20_000;
/// How many are lost then.
const BURST: u32 = 200;

/// A receiver's port of the switch.
pub(super) fn port(receiver: u16) -> String {
    format!("{RECEIVER}{receiver}")
}

/// The whole ruleset, which replaces what was there before.
pub(super) fn ruleset(loss: Loss, lan: Lan, receivers: u16) -> String {
    let mut rules = Vec::new();
    if lan == Lan::Blocked {
        rules.push("ip daddr 224.0.1.0-239.255.255.255 counter drop".to_owned());
    }
    let carried = "ip protocol { tcp, udp }";
    let some = |share: u16| format!("{carried} numgen random mod 10000 < {share} counter drop");
    match loss {
        Loss::None => {}
        Loss::Each { share } => rules.push(format!("oifname \"{RECEIVER}*\" {}", some(share))),
        Loss::OnePort { share } => rules.push(format!("oifname \"{}\" {}", port(1), some(share))),
        Loss::Reverse { share } => rules.push(format!("oifname \"{UPLINK}\" {}", some(share))),
        Loss::Bursts => rules.extend((1..=receivers).map(|receiver| {
            let first = ROUND / u32::from(receivers) * u32::from(receiver - 1);
            let last = first + BURST - 1;
            let oif = port(receiver);
            format!("oifname \"{oif}\" {carried} numgen inc mod {ROUND} {first}-{last} counter drop")
        })),
    }
    let mut text = String::from("table bridge cast\ndelete table bridge cast\ntable bridge cast {\n");
    text.push_str(" chain forward {\n  type filter hook forward priority 0;\n");
    for rule in rules {
        let _ = writeln!(text, "  {rule}");
    }
    text.push_str(" }\n}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_the_ports_that_lose() {
        let each = ruleset(Loss::Each { share: 100 }, Lan::Snooping, 4);
        assert!(
            each.contains(
                "oifname \"r*\" ip protocol { tcp, udp } numgen random mod 10000 < 100 counter drop"
            )
        );
        let bursts = ruleset(Loss::Bursts, Lan::Snooping, 4);
        assert!(
            bursts.contains("oifname \"r4\" ip protocol { tcp, udp } numgen inc mod 20000 15000-15199"),
            "{bursts}"
        );
        let blocked = ruleset(Loss::None, Lan::Blocked, 4);
        assert!(blocked.contains("224.0.1.0-239.255.255.255"));
        assert!(!ruleset(Loss::None, Lan::Snooping, 4).contains("drop"));
    }
}
