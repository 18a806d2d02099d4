//! Whether the controller's clock is believed, and what goes on while it is not.

use std::collections::BTreeMap;

use fleet::certificate::{Stage, authorise, authorise_enrolment};
use fleet::clock::{BUILT, Doubt, LIMIT_SECONDS, Look, Verb, Verdict, Why, judged, look};
use fleet::{Denied, Event, Fleet, Reply, State, Time, notice, patience, trust};
use protocol::CaPin;

use crate::rack::{MAC, Rack};

const HOUR: u64 = 3600;
const DAY: u64 = 86_400;

/// A controller's clocks, and what is thought of the one on the wall.
struct Controller {
    fleet: Fleet,
    last: Option<Look>,
    wall: Time,
    up_ms: u64,
    boot: u32,
}

impl Controller {
    /// Up for so many seconds, at a moment that is right.
    fn up(seconds: u64) -> Self {
        let wall = BUILT.plus_seconds(100 * DAY);
        Self { fleet: Fleet::default(), last: None, wall, up_ms: seconds * 1000, boot: 1 }
    }

    fn passes(&mut self, seconds: u64) {
        self.wall = self.wall.plus_seconds(seconds);
        self.up_ms += seconds * 1000;
    }

    fn jumps(&mut self, seconds: i64) {
        self.wall = Time(self.wall.0.saturating_add_signed(seconds * 1000));
    }

    /// Off for so long, and started again; a battery keeps the time.
    fn boots(&mut self, seconds: u64) {
        self.wall = self.wall.plus_seconds(seconds);
        (self.up_ms, self.last) = (20_000, None);
        self.boot += 1;
    }

    /// A look, whose news is taken in; what is thought then.
    fn looks(&mut self) -> Option<Why> {
        let now = Look { wall: self.wall, up_ms: self.up_ms, boot: self.boot.to_string() };
        match look(&self.fleet, self.last.as_ref(), &now) {
            Some(Verdict::Doubted(doubt)) => self.fleet.clock = Some(doubt),
            Some(Verdict::Right) => self.fleet.clock = None,
            Some(Verdict::Settled(_)) | None => {}
        }
        self.last = Some(now);
        if self.fleet.clock.is_none() {
            self.fleet.attendance.seen = Some(self.wall);
        }
        self.fleet.clock.as_ref().map(|doubt| doubt.why)
    }
}

#[test]
fn jumps_of_all_sizes_in_both_directions() {
    let limit = i64::try_from(LIMIT_SECONDS).unwrap();
    let year = 365 * 86_400;
    let wanted = BTreeMap::from([
        (0, None),
        (limit - 1, None),
        (1 - limit, None),
        (limit + 1, Some(Why::Jumped)),
        (-1 - limit, Some(Why::Jumped)),
        (year, Some(Why::Jumped)),
        (70 * year, Some(Why::Jumped)),
        (-80 * 86_400, Some(Why::Jumped)),
        (-70 * year, Some(Why::BeforeBuild)),
    ]);
    for (seconds, wanted) in wanted {
        let mut controller = Controller::up(HOUR);
        assert_eq!(controller.looks(), None);
        // However long nobody looked, time that has passed is no jump.
        controller.passes(20 * DAY);
        assert_eq!(controller.looks(), None);
        controller.passes(5);
        controller.jumps(seconds);
        assert_eq!(controller.looks(), wanted, "{seconds} s");
        controller.passes(HOUR);
        assert_eq!(controller.looks(), wanted, "it lasts: {seconds} s");
        controller.jumps(-seconds);
        controller.passes(5);
        assert_eq!(controller.looks(), None, "undone: {seconds} s");
    }
}

#[test]
fn network_time_may_set_the_clock_after_a_boot_and_a_clock_that_was_behind_may_come_forward() {
    // A battery clock that keeps local time: eight hours ahead, until the first answer of a time server.
    let mut controller = Controller::up(30);
    assert_eq!(controller.looks(), None);
    controller.passes(40);
    controller.jumps(-8 * 3600);
    assert_eq!(controller.looks(), None);

    // An empty battery: 1970, or whatever day its firmware was made.
    let mut controller = Controller::up(30);
    assert_eq!(controller.looks(), None);
    controller.boots(0);
    controller.jumps(-60 * 365 * 86_400);
    assert_eq!(controller.looks(), Some(Why::BeforeBuild));
    controller.passes(2 * HOUR);
    assert_eq!(controller.looks(), Some(Why::BeforeBuild), "no network for hours");
    controller.jumps(60 * 365 * 86_400);
    assert_eq!(controller.looks(), None, "and then there is");
    controller.boots(0);
    controller.jumps(-50 * 86_400);
    assert_eq!(controller.looks(), Some(Why::Behind), "later than this version, and it was later before");
    assert_eq!(judged(&controller.fleet, controller.wall), controller.wall);
    controller.passes(HOUR);
    controller.jumps(50 * 86_400);
    assert_eq!(controller.looks(), None);
}

#[test]
fn a_jump_is_remembered_over_a_restart_and_undone_while_the_machine_is_off() {
    for (seconds, mended) in
        [(365 * 86_400, true), (365 * 86_400, false), (-10 * 86_400, true), (-10 * 86_400, false)]
    {
        let mut controller = Controller::up(HOUR);
        assert_eq!(controller.looks(), None);
        controller.passes(5);
        controller.jumps(seconds);
        assert_eq!(controller.looks(), Some(Why::Jumped));
        let kept = serde_json::to_string(&controller.fleet.clock).unwrap();
        controller.fleet.clock = serde_json::from_str(&kept).unwrap();
        controller.last = None;
        assert_eq!(controller.looks(), Some(Why::Jumped), "the daemon was started again");
        controller.boots(600);
        if mended {
            controller.jumps(-seconds);
        }
        assert_eq!(controller.looks().is_none(), mended, "{seconds} s, mended: {mended}");
    }
}

fn doubt(rack: &Rack, why: Why, shown: Time) -> Event {
    let at = Look { wall: shown, up_ms: 10_000_000, boot: "b".to_owned() };
    Event::Clock(Verb::Seen(Verdict::Doubted(Doubt { why, believed: rack.now, at })))
}

#[test]
fn no_certificate_is_issued_meanwhile_nothing_ends_and_everything_else_goes_on() {
    let (mut rack, node, _) = Rack::active("control");
    let own = rack.fleet.certificates.values().find(|row| row.stage == Stage::Run).unwrap().clone();
    let year = rack.now.plus_seconds(365 * DAY);
    let event = doubt(&rack, Why::Jumped, year);
    rack.bring(event).unwrap();
    let told = notice::notices(&rack.fleet, year);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].kind == "clock" && told[0].text.contains("rackwright clock accept"), "{told:?}");

    rack.now = year;
    let enrol =
        Event::Enrolled { node, certificate: own.fingerprint.clone(), key: own.key, uptime_seconds: 9 };
    let refused = rack.bring(enrol.clone()).unwrap_err();
    assert!(matches!(&refused, Denied::Clock(why) if why.contains("jumped")), "{refused}");
    authorise(&rack.fleet, Some(&own.fingerprint), Stage::Run, rack.now).expect("it does not end meanwhile");
    authorise_enrolment(&rack.fleet, Some(&own.fingerprint), rack.now).unwrap();
    rack.reports(node, "active").unwrap();
    let before = rack.fleet.attendance.clone();
    rack.bring(Event::Tick).unwrap();
    assert_eq!(rack.only().state, State::Active);
    assert_eq!(rack.fleet.attendance, before, "it was not away for a year");
    assert!(rack.fleet.certificates.contains_key(&own.fingerprint));
    let invite = Event::Invite { name: None, seconds: 3600 };
    assert!(
        matches!(rack.bring(invite.clone()).unwrap_err(), Denied::Clock(_)),
        "good for a year and an hour"
    );
    let rotate = trust::Verb::Begin { current: CaPin([1; 32]), new: CaPin([2; 32]) };
    assert!(matches!(rack.bring(Event::Trust(rotate)).unwrap_err(), Denied::Clock(_)));

    rack.bring(Event::Clock(Verb::Accept)).unwrap();
    assert!(
        rack.fleet.clock.is_none()
            && notice::notices(&rack.fleet, rack.now).iter().all(|one| one.kind != "clock")
    );
    assert!(matches!(rack.bring(Event::Clock(Verb::Accept)).unwrap_err(), Denied::Conflict(_)), "said once");
    rack.bring(enrol).unwrap();
    rack.bring(invite).unwrap();
    assert_eq!(rack.log.iter().filter(|kind| *kind == "clock").count(), 2);
}

#[test]
fn whoever_waits_for_a_certificate_is_told_why_and_has_all_the_time() {
    let mut rack = Rack::new();
    rack.import("control", &["control"]);
    rack.hello(1, MAC, false).unwrap();
    let node = rack.only().id;
    let roles = Some(["control".to_owned()].into());
    rack.bring(Event::Approve { node, name: None, roles, moved: false }).unwrap();
    let event = doubt(&rack, Why::BeforeBuild, Time(0));
    rack.bring(event).unwrap();
    let outcome = rack.hello(1, MAC, true).unwrap();
    assert!(outcome.effects.is_empty(), "{outcome:?}");
    let Reply::Hello { standing, .. } = outcome.reply else { panic!("{:?}", outcome.reply) };
    assert!(format!("{standing:?}").contains("before this version was made"), "{standing:?}");
    let wait = patience::wait(&rack.fleet, rack.only()).unwrap();
    assert!(
        wait.reason.starts_with("its certificate: the controller's clock") && wait.until.is_none(),
        "{wait:?}"
    );
    assert!(
        matches!(rack.bring(Event::Clock(Verb::Accept)).unwrap_err(), Denied::Conflict(_)),
        "it can't be right"
    );
    rack.bring(Event::Clock(Verb::Seen(Verdict::Right))).unwrap();
    assert_eq!(rack.hello(1, MAC, true).unwrap().effects.len(), 1);
}

#[test]
fn a_jump_is_no_silence_and_whoever_is_silent_is_told_of_all_the_same() {
    for seconds in [365 * 86_400_i64, -10 * 86_400] {
        let (mut rack, node, _) = Rack::active("control");
        rack.now = BUILT.plus_seconds(100 * DAY);
        rack.reports(node, "active").unwrap();
        let wall = Time(rack.now.0.saturating_add_signed(seconds * 1000));
        let event = doubt(&rack, Why::Jumped, wall);
        rack.bring(event).unwrap();
        let silent = |rack: &Rack, now: Time| {
            notice::notices(&rack.fleet, now).iter().any(|notice| notice.kind == "silent")
        };
        assert!(!silent(&rack, wall.plus_seconds(10)), "{seconds} s");
        assert!(silent(&rack, wall.plus_seconds(200)), "not heard since before the jump: {seconds} s");
        rack.now = wall.plus_seconds(200);
        rack.reports(node, "active").unwrap();
        assert!(!silent(&rack, rack.now.plus_seconds(10)), "{seconds} s");
        assert!(silent(&rack, rack.now.plus_seconds(200)), "{seconds} s");
    }
}

#[test]
fn who_has_a_certificate_or_waits_for_a_person_does_not_wait_for_the_clock() {
    let (mut rack, node, _) = Rack::active("control");
    let event = doubt(&rack, Why::Jumped, rack.now.plus_seconds(365 * DAY));
    rack.bring(event).unwrap();
    assert_eq!(patience::wait(&rack.fleet, rack.only()), None, "half of its certificate's life is left");
    rack.bring(Event::Service { node, why: "a fan".to_owned() }).unwrap();
    let wait = patience::wait(&rack.fleet, rack.only()).unwrap();
    assert!(wait.reason.starts_with("you: it is in service"), "{wait:?}");
}
