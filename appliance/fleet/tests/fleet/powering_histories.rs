//! Power and consoles in histories of chance.

use fleet::Reply;
use fleet::power::{
    Act, ConsoleEvent, Device, Fault, HAND_SECONDS, Kind, Observed, Power, PowerEvent, QUEUE, Wish, Word,
    writes,
};
use proptest::prelude::*;
use protocol::NodeId;

use crate::powering::account;
use crate::rack::{MAC, OTHER_MAC, Rack};

fn fault(pick: u8) -> Fault {
    let why = "no".to_owned();
    match pick % 6 {
        0 => Fault::Login(why),
        1 => Fault::Stranger(why),
        2 => Fault::Busy(why),
        3 => Fault::Unreachable(why),
        4 => Fault::Lost(why),
        _ => Fault::Refused(why),
    }
}

fn wish(pick: u8) -> Wish {
    match pick % 5 {
        0 => Wish::On,
        1 => Wish::Off { hard: false },
        2 => Wish::Off { hard: true },
        3 => Wish::Cycle,
        _ => Wish::Boot { device: Device::Pxe },
    }
}

/// What an outsider can tell of a run: requests to controllers, in the order they left.
#[derive(Default)]
struct Watch {
    open: Vec<(NodeId, String, u64)>,
    locked: std::collections::BTreeSet<NodeId>,
}

impl Watch {
    fn begins(&mut self, rack: &mut Rack, node: NodeId) -> Result<(), TestCaseError> {
        let state = rack.fleet.nodes[&node].clone();
        let forced =
            rack.fleet.powers.get(&node).and_then(Power::current).is_some_and(|request| request.forced);
        let Ok(Reply::Errand(errand)) = rack.power_event(node, PowerEvent::Begin) else { return Ok(()) };
        let whom =
            errand.account.address.map(|address| address.to_string()).unwrap_or_else(|| node.to_string());
        prop_assert!(!self.locked.contains(&node), "asked after a wrong password");
        prop_assert!(self.open.iter().all(|(_, other, _)| *other != whom), "two on their way to {whom}");
        let cuts = matches!(errand.act, Act::SoftOff | Act::HardOff | Act::Cycle);
        prop_assert!(!(cuts && writes(&state)) || forced, "{:?} while it writes", errand.act);
        self.open.push((node, whom, errand.flight));
        Ok(())
    }

    fn answered(&mut self, rack: &mut Rack, pick: u8, good: bool) {
        if self.open.is_empty() {
            return;
        }
        let (node, _, flight) = self.open.swap_remove(usize::from(pick) % self.open.len());
        let state = [Observed::On, Observed::Off, Observed::Unknown][usize::from(pick) % 3];
        let result = if good { Ok(Word { state, ..Word::default() }) } else { Err(fault(pick)) };
        let locks = matches!(result, Err(Fault::Login(_) | Fault::Stranger(_)));
        if rack.power_event(node, PowerEvent::Answered { flight, result, pin: None }).is_ok() && locks {
            self.locked.insert(node);
        }
    }

    /// What the rules have given up is not waited for any more.
    fn prune(&mut self, rack: &Rack) {
        let flies = |node: &NodeId, flight: u64| {
            let power = rack.fleet.powers.get(node);
            power.and_then(|power| power.flight).is_some_and(|known| known.number == flight)
        };
        self.open.retain(|(node, _, flight)| flies(node, *flight));
    }
}

proptest! {
    /// Whatever is asked, answered, lost and late, in whatever order.
    #[test]
    fn whatever_happens_to_power(steps in proptest::collection::vec((any::<u8>(), any::<u8>()), 1..150)) {
        let (mut rack, first) = Rack::ready("control");
        rack.hello(7, OTHER_MAC, false).unwrap();
        let second = *rack.fleet.nodes.keys().find(|id| **id != first).unwrap();
        let mut watch = Watch::default();
        for (kind, pick) in steps {
            let node = if pick.is_multiple_of(2) { first } else { second };
            match kind % 15 {
                0 | 1 => {
                    let kind = [Kind::Ipmi, Kind::Redfish, Kind::Wol, Kind::Manual][usize::from(pick / 2) % 4];
                    // Both may hang on one controller.
                    let set = PowerEvent::Set(Box::new(account(kind, ["bmc1", "bmc2"][usize::from(pick / 8) % 2])));
                    if rack.power_event(node, set).is_ok() {
                        watch.locked.remove(&node);
                    }
                }
                2..=4 => {
                    let confirmed = (!pick.is_multiple_of(3)).then(|| rack.fleet.nodes[&node].name.to_string());
                    let force = pick.is_multiple_of(5);
                    drop(rack.power_event(node, PowerEvent::Wish { wish: wish(pick / 2), confirmed, force }));
                }
                5 | 6 => watch.begins(&mut rack, node)?,
                7 => watch.answered(&mut rack, pick, true),
                8 => watch.answered(&mut rack, pick, false),
                9 => rack.passes(u64::from(pick) * 4),
                10 => {
                    if let Ok(plan) = rack.plan(first) {
                        drop(rack.apply(&plan.id));
                    }
                    drop(rack.hello(1, MAC, true));
                }
                11 => drop(rack.power_event(node, PowerEvent::Look { act: Act::Status })),
                12 => drop(rack.opens(node, ["alice", "bob"][usize::from(pick / 2) % 2], pick.is_multiple_of(3), pick.is_multiple_of(5))),
                _ => {
                    let known = rack.fleet.powers.get(&node).and_then(|power| power.console.clone());
                    if let Some(console) = known {
                        let number = console.number;
                        let fault = (pick > 128).then(|| fault(pick));
                        let locks = matches!(fault, Some(Fault::Login(_) | Fault::Stranger(_)));
                        let event = match kind % 15 {
                            13 => ConsoleEvent::Opened { number },
                            _ => ConsoleEvent::Closed { number, fault },
                        };
                        let closes = matches!(event, ConsoleEvent::Closed { .. });
                        if rack.console(node, event).is_ok() && locks && closes {
                            watch.locked.insert(node);
                        }
                    }
                }
            }
            watch.prune(&rack);
            for power in rack.fleet.powers.values() {
                let lets_in = power.console.as_ref().is_some_and(|console| !console.open);
                prop_assert!(!lets_in || power.flight.is_none(), "a login beside a request: {power:?}");
                // Who has its turn waits for something that ends.
                if let Some(request) = power.current() {
                    let locked = power.locked.is_some() && request.way == fleet::power::Way::Controller;
                    prop_assert!(!locked, "a request waits for a controller that nothing is asked of");
                }
                prop_assert!(power.requests.len() <= 2 * QUEUE);
            }
        }
        // No dead end: time alone ends whatever waits.
        for _ in 0..4 * QUEUE {
            rack.passes(HAND_SECONDS);
        }
        for power in rack.fleet.powers.values() {
            prop_assert!(power.current().is_none() && power.flight.is_none(), "{power:?}");
        }
    }
}
