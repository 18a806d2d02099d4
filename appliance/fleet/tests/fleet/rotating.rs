//! Another site CA in the place of this one: nobody who may come back is locked out, whatever the order of things.

use std::collections::BTreeSet;

use fleet::certificate::{Stage, authorise, authorise_enrolment};
use fleet::trust::{self, Holder, Verb};
use fleet::{Denied, Event};
use proptest::prelude::*;
use protocol::{CaPin, Key, NodeId};

use crate::rack::{MAC, Rack};

const OLD: CaPin = CaPin([1; 32]);
const NEW: CaPin = CaPin([2; 32]);

fn bring(rack: &mut Rack, verb: Verb) -> Result<(), Denied> {
    rack.bring(Event::Trust(verb))?;
    rack.signs = Some(trust::wanted(&rack.fleet, &rack.site()));
    Ok(())
}

fn begin(rack: &mut Rack) {
    bring(rack, Verb::Begin { current: OLD, new: NEW }).unwrap();
}

fn finish(rack: &mut Rack, leave: &[NodeId]) -> Result<(), Denied> {
    bring(rack, Verb::Finish { leave: leave.iter().copied().collect() })
}

fn waiting(rack: &Rack) -> Vec<String> {
    trust::waits(&rack.fleet, rack.now).into_iter().map(|waiting| waiting.why).collect()
}

/// The newest certificate of this stage.
fn newest(rack: &Rack, stage: Stage) -> String {
    let own = rack.fleet.certificates.values().filter(|row| row.stage == stage);
    own.max_by_key(|row| (row.number, row.until)).unwrap().fingerprint.clone()
}

/// What the installed agent does when it is told: renews, trusts the CA it was told of, and renews by that.
fn renew(rack: &mut Rack, node: NodeId, pin: CaPin) {
    let certificate = newest(rack, Stage::Run);
    rack.bring(Event::Pinned { node, holder: Holder::System, pin }).unwrap();
    let key = rack.fleet.nodes[&node].run.unwrap();
    rack.bring(Event::Enrolled { node, certificate, key, uptime_seconds: 9 }).unwrap();
}

#[test]
fn a_node_has_moved_when_it_says_so_with_a_certificate_of_the_new_ca() {
    let (mut rack, node, _) = Rack::active("control");
    assert_eq!(trust::told(&rack.fleet), None);
    assert!(
        matches!(finish(&mut rack, &[]).unwrap_err(), Denied::Conflict(why) if why.contains("not being"))
    );
    begin(&mut rack);
    assert!(matches!(bring(&mut rack, Verb::Begin { current: NEW, new: OLD }), Err(Denied::Conflict(_))));
    assert_eq!(trust::hint(&rack.fleet, rack.only()), Some(NEW));
    assert_eq!(trust::boot_pins(&rack.fleet, &rack.site(), &MAC.parse().unwrap()), (OLD, Some(NEW)));
    let refused = finish(&mut rack, &[]).unwrap_err().to_string();
    assert!(refused.contains("1 nodes still depend") && refused.contains("n1"), "{refused}");
    let old = newest(&rack, Stage::Run);
    renew(&mut rack, node, OLD);
    assert_eq!(waiting(&rack).len(), 1, "it has the certificate, and trusts the old CA");
    assert!(waiting(&rack)[0].contains("too old"), "{:?}", waiting(&rack));
    renew(&mut rack, node, NEW);
    assert_eq!((waiting(&rack), trust::hint(&rack.fleet, rack.only())), (Vec::new(), None));
    assert_eq!(trust::boot_pins(&rack.fleet, &rack.site(), &MAC.parse().unwrap()), (NEW, Some(OLD)));
    finish(&mut rack, &[]).unwrap();
    assert_eq!(trust::boot_pins(&rack.fleet, &rack.site(), &MAC.parse().unwrap()), (NEW, None));
    assert!(authorise(&rack.fleet, Some(&old), Stage::Run, rack.now).is_err(), "old ones are refused");
    let new = newest(&rack, Stage::Run);
    assert!(authorise(&rack.fleet, Some(&new), Stage::Run, rack.now).is_ok());
    assert!(rack.fleet.certificates.values().all(|row| row.ca == Some(NEW)));
}

#[test]
fn whoever_is_off_is_waited_for_or_left_behind_by_name() {
    let (mut rack, node, _) = Rack::active("control");
    begin(&mut rack);
    rack.now = rack.now.plus_seconds(3600);
    assert!(waiting(&rack)[0].contains("off or silent since"), "{:?}", waiting(&rack));
    assert!(finish(&mut rack, &[NodeId([9; 16])]).is_err(), "another's name is no leave");
    finish(&mut rack, &[node]).unwrap();
    assert!(rack.log.iter().filter(|kind| *kind == "ca").count() >= 3);
    let certificate = rack.fleet.certificates.values().find(|row| row.stage == Stage::Run);
    assert_eq!(certificate, None, "what it has opens nothing");
    // The next change does not wait for it again.
    bring(&mut rack, Verb::Begin { current: NEW, new: CaPin([3; 32]) }).unwrap();
    assert_eq!(waiting(&rack), Vec::<String>::new());
}

#[test]
fn a_disk_that_was_written_and_has_not_booted_is_waited_for_and_enrols() {
    let (mut rack, node, job) = Rack::imaging("control");
    begin(&mut rack);
    assert!(waiting(&rack)[0].contains("at work in the ramdisk"), "{:?}", waiting(&rack));
    rack.verified(node, job).unwrap();
    assert!(waiting(&rack)[0].contains("has not booted since"), "{:?}", waiting(&rack));
    assert!(finish(&mut rack, &[]).is_err());
    let seed = newest(&rack, Stage::Deploy);
    rack.now = rack.now.plus_seconds(86_400);
    assert!(authorise_enrolment(&rack.fleet, Some(&seed), rack.now).is_ok(), "the seed stays good");
    rack.bring(Event::Pinned { node, holder: Holder::System, pin: OLD }).unwrap();
    rack.enrols(node, 9).unwrap();
    rack.reports(node, "active").unwrap();
    assert_eq!(waiting(&rack).len(), 1);
    renew(&mut rack, node, NEW);
    finish(&mut rack, &[]).unwrap();
    assert_eq!(rack.state(), "active");
}

#[test]
fn a_ramdisk_without_work_is_sent_to_say_hello_again_and_one_at_work_is_not() {
    let (mut rack, node) = Rack::ready("control");
    let row = |rack: &Rack| rack.fleet.certificates[&newest(rack, Stage::Deploy)].clone();
    let first = row(&rack);
    assert!(!trust::is_stale(&rack.fleet, &first));
    begin(&mut rack);
    assert!(trust::is_stale(&rack.fleet, &first));
    // It says hello as it was told, is told the new one, and says hello by that.
    for pin in [OLD, NEW] {
        rack.bring(Event::Pinned { node, holder: Holder::Ramdisk(Key([1; 32])), pin }).unwrap();
        rack.hello(1, MAC, true).unwrap();
        assert!(!trust::is_stale(&rack.fleet, &row(&rack)), "once");
    }
    assert_eq!(waiting(&rack), Vec::<String>::new());
    let plan = rack.plan(node).unwrap();
    rack.apply(&plan.id).unwrap();
    rack.asks(node).unwrap();
    assert!(!trust::is_stale(&rack.fleet, &first), "it writes");
    finish(&mut rack, &[]).unwrap();
}

#[test]
fn an_abort_right_away_is_over_at_once_and_a_later_one_moves_nodes_back() {
    let (mut rack, node, _) = Rack::active("control");
    begin(&mut rack);
    bring(&mut rack, Verb::Abort).unwrap();
    assert_eq!((trust::told(&rack.fleet), rack.signs), (None, Some(OLD)));
    assert!(!rack.fleet.certificates.is_empty(), "nothing of before is void");
    let before = newest(&rack, Stage::Run);
    assert!(authorise(&rack.fleet, Some(&before), Stage::Run, rack.now).is_ok());
    begin(&mut rack);
    renew(&mut rack, node, NEW);
    renew(&mut rack, node, NEW);
    bring(&mut rack, Verb::Abort).unwrap();
    assert_eq!(trust::hint(&rack.fleet, rack.only()), Some(OLD));
    assert!(finish(&mut rack, &[]).is_err());
    renew(&mut rack, node, OLD);
    renew(&mut rack, node, OLD);
    finish(&mut rack, &[]).unwrap();
    assert!(authorise(&rack.fleet, Some(&newest(&rack, Stage::Run)), Stage::Run, rack.now).is_ok());
}

/// A node as it is out there: what it trusts, and what it would show.
#[derive(Clone, Debug)]
struct Agent {
    trusts: CaPin,
    shows: String,
}

proptest! {
    /// A node asks, is off, loses answers, has an agent of before; an operator begins, aborts and finishes when it is allowed. In the end
    /// the node trusts a CA that the controller shows, and shows a certificate that is known.
    #[test]
    fn nobody_is_locked_out(old_agent: bool, steps in proptest::collection::vec(0u8..8, 1..60)) {
        let (mut rack, node, _) = Rack::active("control");
        let mut agent = Agent { trusts: OLD, shows: newest(&rack, Stage::Run) };
        let mut number = 1u8;
        for what in steps {
            let current = trust::wanted(&rack.fleet, &rack.site());
            let trusted = |rack: &Rack| {
                let other = rack.fleet.trust.as_ref().and_then(|trust| trust.other);
                BTreeSet::from_iter([Some(trust::wanted(&rack.fleet, &rack.site())), other].into_iter().flatten())
            };
            match what {
                0 => {
                    number = number.wrapping_add(1);
                    let current = if rack.fleet.trust.is_none() { OLD } else { current };
                    drop(bring(&mut rack, Verb::Begin { current, new: CaPin([number; 32]) }));
                }
                1 => drop(bring(&mut rack, Verb::Abort)),
                2 => drop(finish(&mut rack, &[])),
                3 => rack.now = rack.now.plus_seconds(20 * 3600),
                _ => {
                    let who = authorise_enrolment(&rack.fleet, Some(&agent.shows), rack.now).unwrap();
                    let (pin, key) = (agent.trusts, who.certificate.key);
                    rack.bring(Event::Pinned { node, holder: Holder::System, pin }).unwrap();
                    let certificate = agent.shows.clone();
                    rack.bring(Event::Enrolled { node, certificate, key, uptime_seconds: 9 }).unwrap();
                    // Certificate first, then whom it trusts; killed between the two, or before both.
                    if what > 4 { agent.shows = newest(&rack, Stage::Run); }
                    if what > 5 && !old_agent { agent.trusts = trust::told(&rack.fleet).unwrap_or(agent.trusts); }
                }
            }
            prop_assert!(trusted(&rack).contains(&agent.trusts), "it trusts {} and {:?} is shown", agent.trusts, trusted(&rack));
            let row = rack.fleet.certificates.get(&agent.shows);
            prop_assert!(row.is_some(), "what it shows is known to nobody");
            let signed = row.and_then(|row| row.ca).unwrap_or(OLD);
            prop_assert!(trusted(&rack).contains(&signed), "what it shows is refused in the handshake");
        }
    }
}
