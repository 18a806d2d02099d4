//! Serial consoles: when one is opened, who has the keyboard, and how it ends.

use fleet::power::console::hung_up;
use fleet::power::{Act, ConsoleEvent, Fault, Kind, Line, Observed, PowerEvent, Wish, Word, due};
use fleet::{Denied, Reply};
use protocol::NodeId;

use crate::powering::{account, failed};
use crate::rack::Rack;

impl Rack {
    pub(crate) fn opens(&mut self, node: NodeId, by: &str, types: bool, take: bool) -> Result<Line, Denied> {
        let event = ConsoleEvent::Open { by: by.to_owned(), types, take };
        match self.power_event(node, PowerEvent::Console(event))? {
            Reply::Console(line) => Ok(*line),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn console(&mut self, node: NodeId, event: ConsoleEvent) -> Result<Reply, Denied> {
        self.power_event(node, PowerEvent::Console(event))
    }
}

#[test]
fn a_console_is_opened_in_its_turn_and_lies_beside_requests_then() {
    let (mut rack, node) = Rack::with_controller();
    rack.power_event(node, PowerEvent::Look { act: Act::Status }).unwrap();
    let (flight, _) = rack.begins(node).unwrap();
    assert!(rack.opens(node, "alice", true, false).is_err(), "a login beside a request");
    rack.power_event(node, PowerEvent::Answered { flight, result: Ok(Word::default()), pin: None }).unwrap();
    let line = rack.opens(node, "alice", true, false).unwrap();
    assert!(line.account.is_some() && line.keyboard.is_some());
    rack.wishes(node, Wish::Cycle).unwrap();
    assert_eq!(rack.begins(node), None, "a request beside a login");
    rack.console(node, ConsoleEvent::Opened { number: line.number }).unwrap();
    assert_eq!(rack.answers(node, Ok(Observed::On)), Act::Cycle);
    // Another has no keyboard, but may look, and may take it; whoever had it leaves nothing behind then.
    let told = rack.opens(node, "bob", true, false).unwrap_err().to_string();
    assert!(told.contains("alice has the console") && told.contains("--take"), "{told}");
    let looks = rack.opens(node, "bob", false, false).unwrap();
    assert_eq!((looks.number, looks.keyboard, looks.account), (line.number, None, None));
    let taken = rack.opens(node, "bob", true, true).unwrap();
    assert!(taken.account.is_none() && taken.keyboard != line.keyboard);
    assert!(rack.console(node, ConsoleEvent::Left { keyboard: line.keyboard.unwrap() }).is_err());
    assert_eq!(rack.power(node).console.unwrap().keyboard.unwrap().by, "bob");
    rack.console(node, ConsoleEvent::Left { keyboard: taken.keyboard.unwrap() }).unwrap();
    let again = rack.opens(node, "alice", true, false).unwrap();
    assert_eq!(again.number, line.number);
    // Another account is another controller: the shell finds its number gone.
    rack.power_event(node, PowerEvent::Set(Box::new(account(Kind::Ipmi, "10.0.0.6")))).unwrap();
    assert_eq!(rack.power(node).console, None);
    assert!(rack.console(node, ConsoleEvent::Closed { number: line.number, fault: None }).is_err());
}

#[test]
fn a_console_that_is_not_let_in_locks_and_one_that_never_opens_ends() {
    let (mut rack, node) = Rack::with_controller();
    let line = rack.opens(node, "alice", true, false).unwrap();
    rack.passes(fleet::power::FLIGHT_SECONDS);
    assert_eq!(rack.power(node).console, None, "it is opened for ever");
    assert!(rack.console(node, ConsoleEvent::Opened { number: line.number }).is_err(), "it came too late");
    let line = rack.opens(node, "alice", true, false).unwrap();
    rack.wishes(node, Wish::On).unwrap();
    let fault = Some(Fault::Login("no".to_owned()));
    rack.console(node, ConsoleEvent::Closed { number: line.number, fault }).unwrap();
    failed(&rack.last(node));
    assert!(rack.opens(node, "alice", true, true).is_err(), "asked after a wrong password");
    assert!(due(&rack.fleet, rack.now).is_empty());
    rack.power_event(node, PowerEvent::Set(Box::new(account(Kind::Wol, "")))).unwrap();
    assert!(
        rack.opens(node, "alice", true, true).unwrap_err().to_string().contains("no management controller")
    );
    // What was open when the controller was restarted is over.
    rack.power_event(node, PowerEvent::Set(Box::new(account(Kind::Ipmi, "10.0.0.5")))).unwrap();
    rack.opens(node, "alice", true, false).unwrap();
    for (node, event) in hung_up(&rack.fleet) {
        rack.console(node, event).unwrap();
    }
    let power = rack.power(node);
    assert!(power.console.is_none() && power.locked.is_none());
}
