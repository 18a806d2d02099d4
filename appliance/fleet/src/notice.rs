//! What somebody should be told who is not looking: which things are wrong now, which of them are news, and when the next
//! message may leave.
//!
//! State, not events: whatever is wrong is told once, however it came to be so. Nothing of this is kept over a restart; what
//! is still wrong then is told once more, in one message.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::certificate::Stage;
use crate::job::{JobState, Work};
use crate::patience::{self, SILENT_SECONDS};
use crate::rollout::RolloutState;
use crate::{Fleet, Node, State, Time, clock};

/// A root file system of which less than the 20th part is free is full.
const LEAST_FREE_OF: u64 = 20;
/// With so many bytes free none is.
const ENOUGH: u64 = 5_000_000_000;
/// A run certificate is renewed when at least eight of its 24 hours are left; when so little is, in seconds, that has failed for long.
const CERTIFICATE_LEFT: u64 = 6 * 3600;
/// How long news is collected before it is sent: what comes together is told together.
const GATHERING: u64 = 20;
/// How long to wait after a message could not be delivered: this, twice this, …, and never longer than the other.
const FIRST_PAUSE: u64 = 5;
const LONGEST_PAUSE: u64 = 600;
/// A rescue or a service that lasts longer may be forgotten.
const DAY: u64 = 86_400;
const HOUR: u64 = 3600;
/// Things in one message at most; of the rest the number is told.
pub const MOST: usize = 50;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// `attention`, `silent`, `rescue`, `service`, `job-failed`, `rollout-stopped`, `foreign-dhcp`, `disk-full`, `certificate`,
    /// `clock`, or `test`.
    pub kind: String,
    /// What it is about: a node, a job, an interface.
    pub about: String,
    /// What is wrong.
    pub text: String,
    /// The command that says more.
    pub next: String,
}

impl Notice {
    /// A notice.
    pub fn new(kind: &str, about: &str, text: &str, next: String) -> Self {
        let (kind, about) = (kind.to_owned(), about.to_owned());
        Self { kind, about, text: text.chars().take(500).collect(), next }
    }

    /// By which it is known again, whatever the words.
    fn key(&self) -> (String, String) {
        (self.kind.clone(), self.about.clone())
    }
}

/// Everything that is wrong with the fleet now.
pub fn notices(fleet: &Fleet, now: Time) -> Vec<Notice> {
    let mut all = Vec::new();
    if let Some(problem) = clock::problem(fleet) {
        all.push(Notice::new("clock", "controller", &problem, "rackwright status".to_owned()));
    }
    for node in fleet.nodes.values() {
        let name = node.name.as_str();
        let why = || format!("rackwright node why {name}");
        if let State::Attention { cause, .. } = &node.state {
            all.push(Notice::new("attention", name, cause, why()));
        }
        all.extend(in_hand(fleet, node, now));
        let silent =
            node.reported.map(|at| clock::seconds_since(fleet, at, now)).filter(|age| *age >= SILENT_SECONDS);
        if let Some(age) = silent.filter(|_| matches!(node.state, State::Active)) {
            all.push(Notice::new("silent", name, &format!("not heard for {age} s"), why()));
        }
        if let Some(full) = full_root(node).filter(|_| silent.is_none()) {
            all.push(Notice::new("disk-full", name, &full, format!("rackwright node show {name}")));
        }
        if let Some(lapsed) = node.lapsed.filter(|lapsed| !lapsed.pardoned) {
            let text =
                format!("it is back, and refused since {}: its certificate ended too long ago", lapsed.since);
            all.push(Notice::new("certificate", name, &text, format!("rackwright node retry {name}")));
        } else if let Some(until) = unrenewed(fleet, node, now).filter(|_| silent.is_none()) {
            all.push(Notice::new(
                "certificate",
                name,
                &format!("its certificate is not renewed; it ends at {until}"),
                why(),
            ));
        }
    }
    // A test that fails calls a person by its node; one that was stopped is no news to whoever stopped it.
    for work in Work::all(fleet).filter(|work| !matches!(work, Work::BurnIn(_))) {
        if let JobState::Failed { why } = work.state() {
            let id = work.id().to_string();
            all.push(Notice::new("job-failed", &id, why, format!("rackwright job show {id}")));
        }
    }
    for rollout in fleet.rollouts.values() {
        // What an operator has stopped is no news to the operators.
        if let RolloutState::Stopped { why, seen } = &rollout.state
            && !seen.is_empty()
        {
            let id = rollout.id.to_string();
            all.push(Notice::new("rollout-stopped", &id, why, format!("rackwright rollout show {id}")));
        }
    }
    for row in crate::view::network_rows(fleet) {
        for other in &row.others {
            let text = format!("another DHCP server, {}, is on {}", other.address, row.interface);
            let about = format!("{} {}", row.interface, other.address);
            all.push(Notice::new("foreign-dhcp", &about, &text, "rackwright network list".to_owned()));
        }
    }
    all
}

/// That there is hardly any room in the root file system of an active node. Its units may all be up: a message queue that has no room goes
/// on, and takes nothing more.
fn full_root(node: &Node) -> Option<String> {
    let facts = &node.report.as_ref().filter(|_| matches!(node.state, State::Active))?.facts;
    let least = (facts.root_bytes / LEAST_FREE_OF).min(ENOUGH);
    (facts.root_free_bytes < least).then(|| {
        format!(
            "its root file system is full: {} of {} MB are free; databases and the message queue stop at that",
            facts.root_free_bytes / 1_000_000,
            facts.root_bytes / 1_000_000
        )
    })
}

/// When the newest certificate of an active node ends, if it should have been renewed long before.
pub(crate) fn unrenewed(fleet: &Fleet, node: &Node, now: Time) -> Option<Time> {
    let own = (node.id, Stage::Run, node.generation);
    let valid = fleet.certificates.values().filter(|row| (row.node, row.stage, row.generation) == own);
    let until = valid.map(|row| row.until).max().filter(|_| matches!(node.state, State::Active));
    until.filter(|until| *until < clock::judged(fleet, now).plus_seconds(CERTIFICATE_LEFT))
}

/// A node that its operator has had in hand for long: perhaps nobody remembers it.
fn in_hand(fleet: &Fleet, node: &Node, now: Time) -> Option<Notice> {
    let age = now.seconds_since(node.since);
    let next = format!("rackwright node why {}", node.name);
    let notice = |kind, text: String| Some(Notice::new(kind, node.name.as_str(), &text, next.clone()));
    if let State::Servicing { why, .. } = &node.state {
        let since = node.since;
        return if age >= DAY { notice("service", format!("in service since {since}: {why}")) } else { None };
    }
    let State::Rescue { rescue } = &node.state else { return None };
    if age >= DAY {
        return notice("rescue", format!("in rescue since {}", node.since));
    }
    if rescue.entered.is_some() || age < patience::DRAINING_SECONDS {
        return None;
    }
    let what = patience::wait(fleet, node).map(|wait| wait.reason).unwrap_or_default();
    notice("rescue", format!("not in the ramdisk after {age} s; it waits for {what}"))
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// What is news.
    pub notices: Vec<Notice>,
    /// How many more there are that found no place.
    pub more: u64,
}

/// What is known, what waits to be told, and when it may.
#[derive(Clone, Debug)]
pub struct Outbox {
    an_hour: u32,
    known: BTreeSet<(String, String)>,
    /// Jobs that had failed before anybody could have been told are history.
    begun: bool,
    waiting: BTreeMap<(String, String), Notice>,
    since: Option<Time>,
    sent: Vec<Time>,
    failures: u32,
    not_before: Time,
}

impl Outbox {
    /// Nothing is known yet. At most so many messages are sent in an hour.
    pub fn new(an_hour: u32) -> Self {
        Self {
            an_hour,
            known: BTreeSet::new(),
            begun: false,
            waiting: BTreeMap::new(),
            since: None,
            sent: Vec::new(),
            failures: 0,
            not_before: Time(0),
        }
    }

    /// Takes in what is wrong now. What is over before it was told is not told.
    pub fn look(&mut self, current: Vec<Notice>, now: Time) {
        let keys = current.iter().map(Notice::key).collect::<BTreeSet<_>>();
        self.waiting.retain(|key, _| keys.contains(key));
        for notice in current {
            let key = notice.key();
            if self.known.contains(&key) || (!self.begun && notice.kind == "job-failed") {
                continue;
            }
            self.waiting.insert(key, notice);
            self.since.get_or_insert(now);
        }
        self.begun = true;
        self.known = keys;
        if self.waiting.is_empty() {
            self.since = None;
        }
    }

    /// The message that is to be sent now. It stays until it is said to be [delivered](Outbox::delivered).
    pub fn due(&self, now: Time) -> Option<Message> {
        let since = self.since?;
        let recent = self.sent.iter().filter(|at| now.seconds_since(**at) < HOUR).count();
        let ready = now.seconds_since(since) >= GATHERING && now >= self.not_before;
        if !ready || recent >= self.an_hour as usize {
            return None;
        }
        let notices = self.waiting.values().take(MOST).cloned().collect::<Vec<_>>();
        let more = self.waiting.len().saturating_sub(MOST) as u64;
        Some(Message { notices, more })
    }

    /// That message came to whom it was for. What did not fit was counted in it, and is told.
    pub fn delivered(&mut self, message: &Message, now: Time) {
        self.sent.retain(|at| now.seconds_since(*at) < HOUR);
        self.sent.push(now);
        if message.more > 0 {
            self.waiting.clear();
        }
        for notice in &message.notices {
            self.waiting.remove(&notice.key());
        }
        self.failures = 0;
        self.since = (!self.waiting.is_empty()).then_some(now);
    }

    /// It did not.
    pub fn failed(&mut self, now: Time) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.plus_seconds(pause);
    }

    /// How many things wait to be told.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, Message, Notice, Outbox, Time};

    fn about(names: &[&str]) -> Vec<Notice> {
        names.iter().map(|name| Notice::new("attention", name, "x", String::new())).collect()
    }

    fn names(message: &Message) -> Vec<&str> {
        message.notices.iter().map(|notice| notice.about.as_str()).collect()
    }

    fn at(seconds: u64) -> Time {
        Time(seconds * 1000)
    }

    #[test]
    fn what_comes_together_is_told_together_and_once() {
        let mut outbox = Outbox::new(20);
        outbox.look(about(&["n1"]), at(0));
        assert_eq!(outbox.due(at(19)), None, "more may come");
        outbox.look(about(&["n1", "n2"]), at(10));
        let message = outbox.due(at(20)).unwrap();
        assert_eq!(names(&message), ["n1", "n2"]);
        outbox.delivered(&message, at(20));
        outbox.look(about(&["n1", "n2"]), at(500));
        assert_eq!(outbox.due(at(9999)), None, "it is known");
        outbox.look(about(&["n2"]), at(600));
        outbox.look(about(&["n1", "n2"]), at(700));
        assert_eq!(names(&outbox.due(at(720)).unwrap()), ["n1"], "it was over, and is there again");
        outbox.look(about(&["n2"]), at(721));
        assert_eq!(outbox.due(at(999)), None, "what is over is not told any more");
    }

    #[test]
    fn never_more_than_so_many_an_hour_and_nothing_is_lost_by_that() {
        let mut outbox = Outbox::new(3);
        let mut all = Vec::new();
        let mut sent = Vec::new();
        for minute in 0..180_u64 {
            all.push(format!("n{minute}"));
            let current = all.iter().map(String::as_str).collect::<Vec<_>>();
            outbox.look(about(&current), at(minute * 60));
            if let Some(message) = outbox.due(at(minute * 60 + 30)) {
                outbox.delivered(&message, at(minute * 60 + 30));
                sent.push((minute, message));
            }
        }
        for (minute, _) in &sent {
            let in_hour = sent.iter().filter(|(other, _)| (*minute..minute + 60).contains(other)).count();
            assert!(in_hour <= 3, "{in_hour} from minute {minute} on");
        }
        assert!(sent.len() >= 7);
        let told = sent.iter().map(|(_, message)| message.notices.len() as u64 + message.more).sum::<u64>();
        assert_eq!(told + outbox.waiting() as u64, 180);
    }

    #[test]
    fn a_flood_is_one_message_and_says_how_many_there_were() {
        let mut outbox = Outbox::new(20);
        let all = (0..1000).map(|n| format!("n{n:04}")).collect::<Vec<_>>();
        outbox.look(about(&all.iter().map(String::as_str).collect::<Vec<_>>()), at(0));
        let message = outbox.due(at(20)).unwrap();
        assert_eq!((message.notices.len(), message.more), (MOST, 1000 - MOST as u64));
        outbox.delivered(&message, at(20));
        assert_eq!((outbox.due(at(3600)), outbox.waiting()), (None, 0));
    }

    #[test]
    fn a_receiver_that_is_gone_is_asked_less_and_less_often_and_told_all_when_it_is_back() {
        let mut outbox = Outbox::new(20);
        outbox.look(about(&["n1"]), at(0));
        let mut attempts = Vec::new();
        for second in 20..4000 {
            if outbox.due(at(second)).is_some() {
                attempts.push(second);
                outbox.failed(at(second));
            }
        }
        let pauses = attempts.windows(2).map(|two| two[1] - two[0]).collect::<Vec<_>>();
        assert_eq!(pauses[..8], [5, 10, 20, 40, 80, 160, 320, 600], "{attempts:?}");
        assert!(pauses[7..].iter().all(|pause| *pause == 600), "{pauses:?}");
        outbox.look(about(&["n1", "n2"]), at(4000));
        let message = outbox.due(at(5000)).unwrap();
        assert_eq!(names(&message), ["n1", "n2"]);
        outbox.delivered(&message, at(5000));
        outbox.look(about(&["n1", "n2", "n3"]), at(5001));
        assert_eq!(names(&outbox.due(at(5021)).unwrap()), ["n3"], "at once again");
    }

    #[test]
    fn jobs_that_failed_before_the_start_are_history() {
        let mut outbox = Outbox::new(20);
        let failed = |id: &str| Notice::new("job-failed", id, "x", String::new());
        outbox.look(vec![failed("a")], at(0));
        assert_eq!(outbox.due(at(100)), None);
        outbox.look(vec![failed("a"), failed("b")], at(100));
        assert_eq!(names(&outbox.due(at(120)).unwrap()), ["b"]);
    }
}
