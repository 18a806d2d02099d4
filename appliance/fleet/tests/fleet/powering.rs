//! Power: one queue, one request on its way, no word of a controller believed.

use fleet::power::{
    Account, Act, ConsoleEvent, Device, Fault, HAND_SECONDS, Kind, OFF_SECONDS, ON_SECONDS, Observed, Power,
    PowerEvent, QUEUE, SOFT_SECONDS, Sealed, Step, TRIES, WAIT_SECONDS, Wish, Word, abandon, due, orders,
    writes,
};
use fleet::{Denied, Event, Reply, Time};
use protocol::{NodeId, Report, Task};

use crate::rack::{MAC, OTHER_MAC, Rack};

pub(crate) fn account(kind: Kind, address: &str) -> Account {
    let controlled = kind.has_controller();
    Account {
        kind,
        address: controlled.then(|| address.parse().unwrap()),
        user: controlled.then(|| "ops".parse().unwrap()),
        sealed: controlled.then(|| Sealed("x".to_owned())),
        pin: None,
        set: Time(0),
    }
}

impl Rack {
    pub(crate) fn power_event(&mut self, node: NodeId, what: PowerEvent) -> Result<Reply, Denied> {
        Ok(self.bring(Event::Power { node, what: Box::new(what) })?.reply)
    }

    pub(crate) fn power(&self, node: NodeId) -> Power {
        self.fleet.powers[&node].clone()
    }

    pub(crate) fn wishes(&mut self, node: NodeId, wish: Wish) -> Result<Reply, Denied> {
        let confirmed = Some(self.fleet.nodes[&node].name.to_string());
        self.power_event(node, PowerEvent::Wish { wish, confirmed, force: false })
    }

    pub(crate) fn begins(&mut self, node: NodeId) -> Option<(u64, Act)> {
        match self.power_event(node, PowerEvent::Begin) {
            Ok(Reply::Errand(errand)) => Some((errand.flight, errand.act)),
            Ok(_) | Err(_) => None,
        }
    }

    /// The controller does, or says, what it is asked next.
    pub(crate) fn answers(&mut self, node: NodeId, result: Result<Observed, Fault>) -> Act {
        let (flight, act) = self.begins(node).expect("something is due");
        let result = result.map(|state| Word { state, ..Word::default() });
        self.power_event(node, PowerEvent::Answered { flight, result, pin: None }).unwrap();
        act
    }

    pub(crate) fn passes(&mut self, seconds: u64) {
        self.now = self.now.plus_seconds(seconds);
        self.bring(Event::Tick).unwrap();
    }

    /// The installed agent is heard.
    pub(crate) fn speaks(&mut self, node: NodeId, boot_id: &str) {
        let known = self.fleet.nodes[&node].report.clone().unwrap_or_default();
        let report = Report { boot_id: boot_id.to_owned(), ..known };
        self.bring(Event::Reported { node, report: Box::new(report) }).unwrap();
    }

    /// The ramdisk says hello.
    fn says_hello(&mut self, boot_id: &str, proven: bool) {
        let mut hello = crate::rack::hello(1, MAC);
        hello.boot.boot_id = boot_id.to_owned();
        self.bring(Event::Hello { hello: Box::new(hello), proven, answered: None }).unwrap();
    }

    pub(crate) fn last(&self, node: NodeId) -> Step {
        self.power(node).requests[0].step.clone()
    }

    pub(crate) fn with_controller() -> (Self, NodeId) {
        let (mut rack, node, _) = Rack::active("control");
        rack.speaks(node, "one");
        rack.power_event(node, PowerEvent::Set(Box::new(account(Kind::Ipmi, "10.0.0.5")))).unwrap();
        (rack, node)
    }
}

pub(crate) fn is_done(step: &Step) -> bool {
    matches!(step, Step::Done { .. })
}

pub(crate) fn failed(step: &Step) -> &str {
    match step {
        Step::Failed { why } => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_cycle_is_done_when_the_node_says_so_and_not_before() {
    let (mut rack, node) = Rack::with_controller();
    rack.wishes(node, Wish::Cycle).unwrap();
    assert_eq!(rack.answers(node, Ok(Observed::On)), Act::Cycle);
    rack.passes(5);
    assert!(!is_done(&rack.last(node)), "the controller's word was taken for it");
    // The old system speaks a last time.
    rack.speaks(node, "one");
    rack.passes(5);
    assert!(!is_done(&rack.last(node)), "the old boot was taken for the new one");
    rack.speaks(node, "two");
    rack.passes(5);
    assert!(is_done(&rack.last(node)), "{:?}", rack.last(node));
    assert!(due(&rack.fleet, rack.now).is_empty());
}

#[test]
fn a_hello_that_proves_nothing_proves_nothing() {
    let (mut rack, node) = Rack::ready("control");
    rack.power_event(node, PowerEvent::Set(Box::new(account(Kind::Ipmi, "10.0.0.5")))).unwrap();
    rack.says_hello("one", true);
    for wish in [Wish::On, Wish::Cycle] {
        rack.wishes(node, wish).unwrap();
        rack.answers(node, Ok(Observed::On));
        rack.passes(1);
        rack.says_hello("two", false);
        rack.passes(1);
        assert!(!is_done(&rack.last(node)), "{wish:?}: anybody can say hello");
        rack.says_hello(if wish == Wish::On { "one" } else { "two" }, true);
        rack.passes(1);
        assert!(is_done(&rack.last(node)), "{wish:?}: {:?}", rack.last(node));
    }
}

#[test]
fn what_never_boots_fails_with_a_reason_at_its_deadline() {
    let (mut rack, node) = Rack::with_controller();
    rack.wishes(node, Wish::Cycle).unwrap();
    rack.answers(node, Ok(Observed::On));
    rack.passes(ON_SECONDS - 60);
    assert!(!is_done(&rack.last(node)));
    rack.passes(120);
    let step = rack.last(node);
    assert!(
        failed(&step).contains("its controller says on") && failed(&step).contains("node why n1"),
        "{step:?}"
    );
}

#[test]
fn off_is_soft_then_hard_and_needs_word_and_silence() {
    let (mut rack, node) = Rack::with_controller();
    rack.wishes(node, Wish::Off { hard: false }).unwrap();
    assert_eq!(rack.answers(node, Ok(Observed::On)), Act::SoftOff);
    rack.passes(15);
    // It lies: the agent is still heard.
    assert_eq!(rack.answers(node, Ok(Observed::Off)), Act::Status);
    rack.speaks(node, "one");
    rack.passes(5);
    assert!(!is_done(&rack.last(node)), "off by the controller's word alone");
    rack.passes(15);
    assert_eq!(rack.answers(node, Ok(Observed::On)), Act::Status);
    rack.passes(SOFT_SECONDS);
    assert_eq!(rack.answers(node, Ok(Observed::On)), Act::HardOff);
    rack.passes(20);
    assert_eq!(rack.answers(node, Ok(Observed::On)), Act::Status);
    rack.passes(60);
    assert!(!is_done(&rack.last(node)), "silence alone is not off where a controller says on");
    assert_eq!(rack.answers(node, Ok(Observed::Off)), Act::Status);
    rack.passes(5);
    assert!(is_done(&rack.last(node)), "{:?}", rack.last(node));
}

#[test]
fn a_controller_that_says_on_though_it_is_off_ends_in_a_reason() {
    let (mut rack, node) = Rack::with_controller();
    rack.wishes(node, Wish::Off { hard: true }).unwrap();
    assert_eq!(rack.answers(node, Ok(Observed::On)), Act::HardOff);
    while !rack.power(node).requests[0].is_over() {
        rack.passes(20);
        if rack.begins(node).is_some_and(|(flight, _)| {
            let word = Word { state: Observed::On, ..Word::default() };
            rack.power_event(node, PowerEvent::Answered { flight, result: Ok(word), pin: None }).is_err()
        }) {
            panic!("an answer in time was refused");
        }
    }
    let step = rack.last(node);
    assert!(failed(&step).contains("its controller says on"), "{step:?}");
    let power = rack.power(node);
    let request = &power.requests[0];
    let took = request.ended.unwrap().seconds_since(request.begun.unwrap());
    assert!((OFF_SECONDS..OFF_SECONDS + 60).contains(&took), "{took}");
}

#[test]
fn one_wrong_password_and_nothing_more_is_asked() {
    let (mut rack, node) = Rack::with_controller();
    rack.wishes(node, Wish::On).unwrap();
    rack.wishes(node, Wish::Cycle).unwrap();
    rack.answers(node, Err(Fault::Login("it does not know this password".to_owned())));
    for request in rack.power(node).requests {
        assert!(failed(&request.step).contains("bmc set n1"), "{request:?}");
    }
    for _ in 0..20 {
        rack.passes(60);
        assert_eq!(rack.begins(node), None, "it was asked again");
    }
    for what in [PowerEvent::Look { act: Act::Status }, PowerEvent::Look { act: Act::Test }] {
        assert!(
            matches!(rack.power_event(node, what), Err(Denied::Conflict(why)) if why.contains("bmc set n1"))
        );
    }
    assert!(matches!(rack.wishes(node, Wish::On), Err(Denied::Conflict(why)) if why.contains("bmc set n1")));
    rack.power_event(node, PowerEvent::Set(Box::new(account(Kind::Ipmi, "10.0.0.5")))).unwrap();
    rack.power_event(node, PowerEvent::Look { act: Act::Status }).unwrap();
    assert_eq!(rack.answers(node, Ok(Observed::On)), Act::Status);
}

#[test]
fn a_busy_controller_is_asked_again_with_pauses_and_not_for_ever() {
    let (mut rack, node) = Rack::with_controller();
    rack.wishes(node, Wish::On).unwrap();
    let mut pauses = Vec::new();
    let mut last = rack.now;
    for _ in 0..TRIES {
        while due(&rack.fleet, rack.now).is_empty() {
            rack.passes(1);
        }
        pauses.push(rack.now.seconds_since(last));
        rack.answers(node, Err(Fault::Busy("503".to_owned())));
        last = rack.now;
    }
    assert!(pauses[1..].windows(2).all(|pair| pair[0] < pair[1]), "{pauses:?}");
    assert!(failed(&rack.last(node)).contains("503"));
    assert_eq!(rack.power(node).seen.state, Observed::Unknown);
}

#[test]
fn what_may_have_happened_is_not_done_twice() {
    let (mut rack, node) = Rack::with_controller();
    rack.wishes(node, Wish::Cycle).unwrap();
    assert_eq!(rack.answers(node, Err(Fault::Lost("it hung".to_owned()))), Act::Cycle);
    rack.passes(600);
    assert_eq!(rack.begins(node), None, "a second cycle");
    rack.speaks(node, "two");
    rack.passes(5);
    assert!(is_done(&rack.last(node)));
    // What can't be cycled is off.
    rack.wishes(node, Wish::Cycle).unwrap();
    assert_eq!(rack.answers(node, Err(Fault::Refused("it is off".to_owned()))), Act::Cycle);
    assert_eq!(rack.answers(node, Ok(Observed::On)), Act::On);
}

#[test]
fn an_answer_that_never_comes_ends_too_and_a_late_one_does_not_count() {
    let (mut rack, node) = Rack::with_controller();
    rack.power_event(node, PowerEvent::Look { act: Act::Status }).unwrap();
    let (flight, _) = rack.begins(node).unwrap();
    assert_eq!(rack.begins(node), None, "two at once");
    rack.passes(61);
    assert_eq!(rack.power(node).flight, None);
    let late = Word { state: Observed::On, ..Word::default() };
    let late = PowerEvent::Answered { flight, result: Ok(late), pin: None };
    assert!(rack.power_event(node, late).is_err());
    assert_eq!(rack.power(node).seen.state, Observed::Unknown);
}

#[test]
fn the_power_of_a_node_that_writes_is_not_cut() {
    let (mut rack, node, job) = Rack::imaging("control");
    rack.power_event(node, PowerEvent::Set(Box::new(account(Kind::Redfish, "bmc1")))).unwrap();
    for wish in [Wish::Cycle, Wish::Off { hard: true }, Wish::Off { hard: false }] {
        assert!(matches!(rack.wishes(node, wish), Err(Denied::Conflict(why)) if why.contains("--force")));
        for confirmed in [None, Some("n2".to_owned())] {
            let unnamed = rack.power_event(node, PowerEvent::Wish { wish, confirmed, force: true });
            assert!(matches!(unnamed, Err(Denied::Unnamed { .. })), "{unnamed:?}");
        }
    }
    // Nor of one that has begun to since.
    let (mut late, other) = Rack::ready("control");
    late.power_event(other, PowerEvent::Set(Box::new(account(Kind::Redfish, "bmc1")))).unwrap();
    late.wishes(other, Wish::Cycle).unwrap();
    let plan = late.plan(other).unwrap();
    late.apply(&plan.id).unwrap();
    assert!(writes(&late.fleet.nodes[&other]));
    assert_eq!(late.begins(other), None);
    assert!(failed(&late.last(other)).contains("being written"));
    // Unless the operator has said so, with its name.
    let confirmed = Some("n1".to_owned());
    rack.power_event(node, PowerEvent::Wish { wish: Wish::Cycle, confirmed, force: true }).unwrap();
    assert_eq!(rack.begins(node).unwrap().1, Act::Cycle);
    assert!(rack.fleet.jobs.contains_key(&job));
}

#[test]
fn an_active_node_wants_its_name() {
    let (mut rack, node) = Rack::with_controller();
    for wish in [Wish::Off { hard: false }, Wish::Off { hard: true }, Wish::Cycle] {
        for confirmed in [None, Some(String::new()), Some("n2".to_owned())] {
            let asked = rack.power_event(node, PowerEvent::Wish { wish, confirmed, force: true });
            assert!(matches!(asked, Err(Denied::Unnamed { .. })), "{asked:?}");
        }
    }
    for wish in [Wish::On, Wish::Boot { device: Device::Pxe }] {
        rack.power_event(node, PowerEvent::Wish { wish, confirmed: None, force: false }).unwrap();
    }
}

#[test]
fn without_a_controller_the_agent_restarts_it_or_a_person_does() {
    let (mut rack, node, _) = Rack::active("control");
    rack.speaks(node, "one");
    rack.wishes(node, Wish::Cycle).unwrap();
    let is_given = |rack: &Rack| orders(&rack.fleet, rack.only()).any(|order| order.kind.restarts());
    assert!(is_given(&rack));
    assert!(due(&rack.fleet, rack.now).is_empty());
    rack.speaks(node, "two");
    rack.passes(1);
    assert!(is_done(&rack.last(node)));
    assert!(!is_given(&rack), "an agent that fetches it late restarts for nobody");
    // Silent: only a person can.
    rack.passes(200);
    rack.wishes(node, Wish::On).unwrap();
    rack.passes(HAND_SECONDS - 10);
    assert!(!rack.power(node).requests[0].is_over(), "a person was not waited for");
    rack.speaks(node, "three");
    rack.passes(1);
    assert!(is_done(&rack.last(node)));
    assert!(matches!(rack.wishes(node, Wish::Boot { device: Device::Pxe }), Err(Denied::Conflict(_))));
    // In the ramdisk, the answer to the agent's asking is to restart.
    let (mut rack, node) = Rack::ready("control");
    rack.wishes(node, Wish::Cycle).unwrap();
    assert_eq!(rack.asks(node).unwrap().reply, Reply::Task(Task::Reboot));
    assert!(matches!(rack.asks(node).unwrap().reply, Reply::Task(Task::Wait { .. })));
}

#[test]
fn a_magic_packet_only_wakes() {
    let (mut rack, node, _) = Rack::active("control");
    rack.power_event(node, PowerEvent::Set(Box::new(account(Kind::Wol, "")))).unwrap();
    rack.passes(300);
    rack.wishes(node, Wish::On).unwrap();
    assert_eq!(rack.answers(node, Ok(Observed::Unknown)), Act::Wake);
    rack.wishes(node, Wish::Off { hard: true }).unwrap();
    rack.speaks(node, "two");
    rack.passes(1);
    rack.passes(5);
    assert_eq!(rack.begins(node), None, "it was asked to do what it can't");
}

#[test]
fn two_nodes_in_one_chassis_take_turns() {
    let (mut rack, node) = Rack::with_controller();
    rack.hello(7, OTHER_MAC, false).unwrap();
    let other = *rack.fleet.nodes.keys().find(|id| **id != node).unwrap();
    rack.power_event(other, PowerEvent::Set(Box::new(account(Kind::Redfish, "10.0.0.5")))).unwrap();
    for node in [node, other] {
        rack.power_event(node, PowerEvent::Look { act: Act::Status }).unwrap();
    }
    let (flight, _) = rack.begins(node).unwrap();
    assert_eq!(rack.begins(other), None, "two requests on their way to one controller");
    let answer = PowerEvent::Answered { flight, result: Ok(Word::default()), pin: None };
    rack.power_event(node, answer).unwrap();
    assert!(rack.begins(other).is_some());
    rack.now = rack.now.plus_seconds(90);
    rack.passes(1);
    let line = rack.opens(node, "alice", true, false).unwrap();
    assert!(rack.opens(other, "bob", true, true).is_err(), "two lines of one controller");
    rack.console(node, ConsoleEvent::Opened { number: line.number }).unwrap();
    let told = rack.opens(other, "bob", true, true).unwrap_err().to_string();
    assert!(told.contains("one line"), "{told}");
}

#[test]
fn what_waits_is_bounded_and_can_be_cancelled() {
    let (mut rack, node) = Rack::with_controller();
    for _ in 0..QUEUE {
        rack.wishes(node, Wish::On).unwrap();
    }
    assert!(matches!(rack.wishes(node, Wish::On), Err(Denied::Conflict(_))));
    rack.power_event(node, PowerEvent::Cancel).unwrap();
    assert!(rack.power(node).requests.iter().all(fleet::power::Request::is_over));
    assert!(rack.power_event(node, PowerEvent::Cancel).is_err());
    rack.power_event(node, PowerEvent::Forget).unwrap();
    assert!(rack.fleet.powers.is_empty());
}

#[test]
fn nothing_is_asked_after_its_time_whoever_looks_first() {
    let (mut rack, node) = Rack::with_controller();
    rack.wishes(node, Wish::Cycle).unwrap();
    assert_eq!(due(&rack.fleet, rack.now), [node]);
    // The controller was off meanwhile: nobody has looked at deadlines.
    rack.now = rack.now.plus_seconds(ON_SECONDS);
    assert!(due(&rack.fleet, rack.now).is_empty());
    assert_eq!(rack.begins(node), None, "a cycle that nobody waits for any more");
    rack.passes(1);
    failed(&rack.last(node));
    rack.wishes(node, Wish::Off { hard: false }).unwrap();
    rack.answers(node, Ok(Observed::On));
    rack.passes(OFF_SECONDS + 1);
    failed(&rack.last(node));
    assert_eq!(rack.begins(node), None, "its power was cut that late");
}

#[test]
fn what_has_waited_too_long_for_its_turn_does_not_get_it() {
    let (mut rack, node) = Rack::with_controller();
    rack.wishes(node, Wish::Boot { device: Device::Pxe }).unwrap();
    rack.wishes(node, Wish::Cycle).unwrap();
    rack.now = rack.now.plus_seconds(WAIT_SECONDS);
    rack.passes(0);
    assert!(rack.power(node).requests.iter().all(fleet::power::Request::is_over), "{:?}", rack.power(node));
    assert_eq!(rack.begins(node), None);
    let ended = rack.power(node).requests.into_iter().find(|request| request.wish == Wish::Cycle).unwrap();
    assert!(failed(&ended.step).contains("waited for its turn"), "{ended:?}");
}

#[test]
fn a_controller_out_of_a_backup_carries_out_none_of_its_requests() {
    let (mut rack, node) = Rack::with_controller();
    rack.wishes(node, Wish::Cycle).unwrap();
    rack.wishes(node, Wish::On).unwrap();
    rack.begins(node).unwrap();
    for change in abandon(&rack.fleet, "restored", rack.now).changes {
        rack.fleet.put(change);
    }
    let power = rack.power(node);
    assert!(power.flight.is_none() && power.requests.len() == 2, "{power:?}");
    assert!(power.requests.iter().all(|request| failed(&request.step) == "restored"), "{power:?}");
    assert!(due(&rack.fleet, rack.now).is_empty());
}

#[test]
fn the_certificate_that_the_password_was_sent_to_is_remembered_also_after_a_failure() {
    let (mut rack, node) = Rack::with_controller();
    let pin = |rack: &Rack| rack.power(node).account.and_then(|account| account.pin);
    for (shown, kept) in [(None, None), (Some("first"), Some("first")), (Some("second"), Some("first"))] {
        rack.power_event(node, PowerEvent::Look { act: Act::Status }).unwrap();
        let (flight, _) = rack.begins(node).unwrap();
        let result = Err(Fault::Busy("503".to_owned()));
        let answer = PowerEvent::Answered { flight, result, pin: shown.map(str::to_owned) };
        rack.power_event(node, answer).unwrap();
        assert_eq!(pin(&rack).as_deref(), kept);
    }
}

#[test]
fn what_is_kept_says_nothing_of_the_password() {
    let sealed = Sealed("c2VjcmV0".to_owned());
    assert_eq!(format!("{sealed:?}"), "Sealed");
    let row = r#"{"node":"00112233445566778899aabbccddeeff","account":null}"#;
    let power: Power = serde_json::from_str(row).unwrap();
    assert!(power.requests.is_empty() && power.locked.is_none());
}
