//! The queue of one node: what is next, and what becomes of answers.

use protocol::{JobId, NodeId, Order, Task};

use super::{
    Account, Act, Errand, FLIGHT_SECONDS, Fault, Flight, Kind, LOOK_SECONDS, Observed, Power, PowerEvent,
    QUEUE, REMEMBERED, Request, SOFT_SECONDS, Seen, Step, TRIES, Test, WAIT_SECONDS, Way, Wish, Word,
};
use super::{console, proof};
use crate::drain::refuse_guests;
use crate::entropy::Entropy;
use crate::patience::SILENT_SECONDS;
use crate::{Change, Denied, Fleet, Node, Outcome, Reply, State, Time, running};

/// Decides what happens to a node's power.
pub(crate) fn step(
    fleet: &Fleet,
    node: NodeId,
    event: PowerEvent,
    now: Time,
    dice: &mut Entropy,
) -> Result<Outcome, Denied> {
    let node = fleet.node(node)?;
    let power = fleet.powers.get(&node.id).cloned().unwrap_or_else(|| Power::new(node.id));
    match event {
        PowerEvent::Set(account) => set(node, power, *account),
        PowerEvent::Forget => forget(node, power, now),
        PowerEvent::Wish { wish, confirmed, force } => {
            wanted(fleet, node, power, (wish, confirmed, force), now, dice)
        }
        PowerEvent::Look { act } => look(node, power, act),
        PowerEvent::Cancel => cancel(node, power, now),
        PowerEvent::Begin => begin(fleet, node, power, now),
        PowerEvent::Answered { flight, result, pin } => answered(node, power, flight, (result, pin), now),
        PowerEvent::Console(event) => console::step(fleet, node, power, event, now),
    }
}

/// Whether an image is being written to the node's disk, or read back, or its disks are erased: its power is not cut.
pub fn writes(node: &Node) -> bool {
    let has_job = !matches!(node.state, State::Attention { job: None, .. });
    has_job && matches!(node.state.phase(), "imaging" | "verifying" | "retiring")
}

/// What an operator has wanted of a node's power since then that ends what runs on it, if anything.
pub(crate) fn interrupted(fleet: &Fleet, node: NodeId, since: Time) -> Option<&'static str> {
    let requests = &fleet.powers.get(&node)?.requests;
    let is_since = |request: &&Request| request.begun.is_some() && request.ended.is_none_or(|at| at >= since);
    let all = requests.iter().filter(|request| request.wish.interrupts());
    all.filter(is_since).map(|request| request.wish.words()).next_back()
}

fn set(node: &Node, mut power: Power, account: Account) -> Result<Outcome, Denied> {
    account.check().map_err(|error| Denied::Conflict(error.to_string()))?;
    let mut outcome = Outcome::default();
    let whom = account.address.as_ref().zip(account.user.as_ref());
    let text = whom.map(|(address, user)| format!(" at {address} as {}", user.as_str())).unwrap_or_default();
    outcome.fact(node.id, "bmc", format!("power by {}{text}", account.kind.word()));
    // What was on its way was with another account: its answer does not count any more.
    power = Power { account: Some(account), locked: None, flight: None, seen: Seen::default(), ..power };
    (power.trouble, power.tested) = (None, None);
    if power.console.take().is_some() {
        outcome.fact(node.id, "console", "the console is closed: its account was set anew");
    }
    Ok(kept(power, outcome))
}

fn forget(node: &Node, mut power: Power, now: Time) -> Result<Outcome, Denied> {
    if power.account.is_none() {
        return Err(Denied::Missing {
            kind: "account of a management controller",
            name: node.name.to_string(),
        });
    }
    let mut outcome = Outcome::default();
    end_all(node.id, &mut power, "its way of power was taken away", now, &mut outcome);
    outcome.fact(node.id, "bmc", "its account and password are forgotten");
    outcome.changes.push(Change::ForgetPower(node.id));
    Ok(outcome)
}

fn wanted(
    fleet: &Fleet,
    node: &Node,
    mut power: Power,
    (wish, confirmed, force): (Wish, Option<String>, bool),
    now: Time,
    dice: &mut Entropy,
) -> Result<Outcome, Denied> {
    let named = confirmed.as_deref() == Some(node.name.as_str());
    refuse(node, wish, named, force)?;
    let way = way(node, &power, wish, now)?;
    if let Some(why) = power.locked.as_ref().filter(|_| way == Way::Controller) {
        return Err(Denied::Conflict(locked(node, why)));
    }
    if power.requests.iter().filter(|request| !request.is_over()).count() >= QUEUE {
        return Err(Denied::Conflict(format!(
            "{QUEUE} requests wait for {0} already: see rackwright node power status {0}",
            node.name
        )));
    }
    let id = JobId(dice.draw());
    let step = Step::Ask { act: first(wish, way), from: now };
    let (begun, ended, trouble, before) = (None, None, None, None);
    let forced = force && named;
    let request =
        Request { id, wish, way, asked: now, begun, ended, step, tries: 0, trouble, before, forced };
    let at = power.requests.iter().position(Request::is_over).unwrap_or(power.requests.len());
    power.requests.insert(at, request);
    let mut outcome = Outcome { reply: Reply::Job(id), ..Outcome::default() };
    outcome.fact(node.id, "power", format!("{} {}", wish.words(), by(way)));
    turn(fleet, node, &mut power, now, &mut outcome);
    Ok(kept(power, outcome))
}

/// What must be confirmed, and what is not done at all.
fn refuse(node: &Node, wish: Wish, named: bool, force: bool) -> Result<(), Denied> {
    if !wish.interrupts() {
        return Ok(());
    }
    if writes(node) {
        if force && named {
            return Ok(());
        }
        let name = &node.name;
        return Err(match force {
            true => Denied::Unnamed {
                name: name.to_string(),
                what: format!(
                    "this cuts the power of {name} while its disk is written, which has to be begun again"
                ),
            },
            false => Denied::Conflict(format!(
                "{name} is {}: its disk is being written, and its power is not cut meanwhile; wait for the job \
                 (rackwright job list), or add --force",
                node.state.word()
            )),
        });
    }
    if matches!(node.state, State::Active) && !named {
        return Err(Denied::Unnamed {
            name: node.name.to_string(),
            what: format!("{} is active, and what it runs ends with its power", node.name),
        });
    }
    refuse_guests(node, force && named)
}

/// By which way, by what there is.
fn way(node: &Node, power: &Power, wish: Wish, now: Time) -> Result<Way, Denied> {
    let hears =
        now.seconds_since(node.heard) < SILENT_SECONDS && (node.run.is_some() || node.deploy.is_some());
    match (power.kind(), wish) {
        (Kind::Redfish | Kind::Ipmi, _) => Ok(Way::Controller),
        (Kind::Wol, Wish::On) => Ok(Way::Wake),
        (Kind::Wol | Kind::Manual, Wish::Cycle) if hears && node.is_let_in() => Ok(Way::Agent),
        (Kind::Wol | Kind::Manual, Wish::Boot { .. }) => Err(Denied::Conflict(format!(
            "{0} has no management controller that could set its next boot; with the network first in its boot order \
             this controller decides at every boot. If it has one: rackwright node bmc set {0} --help",
            node.name
        ))),
        (Kind::Manual, Wish::On) | (Kind::Wol | Kind::Manual, Wish::Off { .. } | Wish::Cycle) => {
            Ok(Way::Hand)
        }
    }
}

fn first(wish: Wish, way: Way) -> Act {
    match (wish, way) {
        (Wish::On, Way::Wake) => Act::Wake,
        (Wish::On, _) => Act::On,
        (Wish::Off { hard: false }, _) => Act::SoftOff,
        (Wish::Off { hard: true }, _) => Act::HardOff,
        (Wish::Cycle, _) => Act::Cycle,
        (Wish::Boot { device }, _) => Act::Boot { device },
    }
}

fn by(way: Way) -> &'static str {
    match way {
        Way::Controller => "by its management controller",
        Way::Wake => "by a magic packet",
        Way::Agent => "by its own agent",
        Way::Hand => "by hand",
    }
}

pub(super) fn locked(node: &Node, why: &str) -> String {
    format!(
        "nothing is asked of the management controller of {0}: {why}; set its account again: rackwright node bmc set {0} \
         --help",
        node.name
    )
}

/// Whether a request had its turn so long ago that nothing of it is begun any more.
fn is_late(request: &Request, now: Time) -> bool {
    request.begun.is_some_and(|begun| now >= proof::deadline(request, begun))
}

/// Ends what has waited too long for its turn.
fn expire(node: &Node, power: &mut Power, now: Time, outcome: &mut Outcome) {
    let waits = |request: &&mut Request| !request.is_over() && request.begun.is_none();
    for request in power.requests.iter_mut().filter(waits) {
        if now >= request.asked.plus_seconds(WAIT_SECONDS) {
            let why = format!(
                "it has waited for its turn since {}, and is not done that late: ask again if it is still wanted",
                request.asked
            );
            end(node.id, request, Step::Failed { why }, now, outcome);
        }
    }
}

/// Gives the first request that waits its turn.
fn turn(fleet: &Fleet, node: &Node, power: &mut Power, now: Time, outcome: &mut Outcome) {
    expire(node, power, now, outcome);
    let Some(request) = power.requests.iter_mut().find(|request| !request.is_over()) else { return };
    if request.begun.is_some() {
        return;
    }
    request.begun = Some(now);
    request.before = node.booted.as_ref().map(|booted| booted.id.clone());
    match request.way {
        Way::Controller | Way::Wake => {
            request.step = Step::Ask { act: first(request.wish, request.way), from: now }
        }
        Way::Hand => request.step = Step::Proof { since: now },
        // The ramdisk is told when it asks for work; the installed system by an order.
        Way::Agent if node.run.is_some() && !is_mended(node) => {
            let mut next = fleet.nodes.get(&node.id).unwrap_or(node).clone();
            running::order_restart(&mut next, request.forced);
            outcome.changes.push(Change::Node(Box::new(next)));
            request.step = Step::Proof { since: now };
        }
        Way::Agent => {}
    }
}

/// Whether it is the ramdisk that speaks for a node which has a system of its own.
fn is_mended(node: &Node) -> bool {
    matches!(&node.state, State::Rescue { rescue } if rescue.entered.is_some())
}

/// The orders of a node that still hold: a restart that nobody waits for any more does not.
pub fn orders<'a>(fleet: &'a Fleet, node: &'a Node) -> impl Iterator<Item = &'a Order> {
    let request = fleet.powers.get(&node.id).and_then(Power::current);
    let restarts = request.is_some_and(|request| request.way == Way::Agent);
    node.orders.iter().filter(move |order| restarts || !order.kind.restarts())
}

/// A ramdisk that asks for work and is to restart.
pub(crate) fn asked(fleet: &Fleet, node: &Node, now: Time) -> Option<Outcome> {
    let mut power = fleet.powers.get(&node.id)?.clone();
    let request = power.requests.iter_mut().find(|request| !request.is_over())?;
    let begun = request.begun.is_some() && !is_late(request, now);
    let told = request.way == Way::Agent && begun && !writes(node);
    if !told || !matches!(request.step, Step::Ask { .. }) {
        return None;
    }
    request.step = Step::Proof { since: now };
    let outcome = Outcome { reply: Reply::Task(Task::Reboot), ..Outcome::default() };
    Some(kept(power, outcome))
}

/// An installed system that was told to restart and says why it does not.
pub(crate) fn stays(fleet: &Fleet, node: &Node, why: &str, now: Time, outcome: &mut Outcome) {
    let Some(mut power) = fleet.powers.get(&node.id).cloned() else { return };
    let mut open = power.requests.iter_mut().filter(|request| !request.is_over());
    if let Some(request) = open.find(|request| request.way == Way::Agent && request.begun.is_some()) {
        end(node.id, request, Step::Failed { why: why.to_owned() }, now, outcome);
        outcome.changes.push(Change::Power(Box::new(tidy(power))));
    }
}

fn look(node: &Node, mut power: Power, act: Act) -> Result<Outcome, Denied> {
    if !power.kind().has_controller() {
        return Err(Denied::Conflict(format!(
            "{0} has no management controller to ask: give it one (rackwright node bmc set {0} --help)",
            node.name
        )));
    }
    if let Some(why) = &power.locked {
        return Err(Denied::Conflict(locked(node, why)));
    }
    // A test says more than a look.
    if power.wanted != Some(Act::Test) {
        power.wanted = Some(act);
    }
    Ok(kept(power, Outcome::default()))
}

fn cancel(node: &Node, mut power: Power, now: Time) -> Result<Outcome, Denied> {
    if power.current().is_none() {
        return Err(Denied::Conflict(format!("nothing waits for the power of {}", node.name)));
    }
    let mut outcome = Outcome::default();
    end_all(
        node.id,
        &mut power,
        "cancelled by the operator; what was asked already may still happen",
        now,
        &mut outcome,
    );
    Ok(kept(power, outcome))
}

fn end_all(node: NodeId, power: &mut Power, why: &str, now: Time, outcome: &mut Outcome) {
    for request in power.requests.iter_mut().filter(|request| !request.is_over()) {
        end(node, request, Step::Failed { why: why.to_owned() }, now, outcome);
    }
}

/// Ends every request that is open, of every node, and forgets what was on its way. For a controller that comes out of a backup:
/// what somebody wanted when that was made is not wanted now.
pub fn abandon(fleet: &Fleet, why: &str, now: Time) -> Outcome {
    let mut outcome = Outcome::default();
    for before in fleet.powers.values() {
        let mut power = Power { flight: None, wanted: None, console: None, ..before.clone() };
        end_all(before.node, &mut power, why, now, &mut outcome);
        if power != *before {
            outcome.changes.push(Change::Power(Box::new(tidy(power))));
        }
    }
    outcome
}

/// The end of a request.
fn end(node: NodeId, request: &mut Request, step: Step, now: Time, outcome: &mut Outcome) {
    let text = match &step {
        Step::Done { how } => format!("{}: done, {how}", request.wish.words()),
        Step::Failed { why } => format!("{}: failed, {why}", request.wish.words()),
        Step::Ask { .. } | Step::Proof { .. } => return,
    };
    request.step = step;
    request.ended = Some(now);
    outcome.fact(node, "power", text);
}

/// What is to be asked of whom next, of every node; nothing of a controller that has not answered yet.
pub fn due(fleet: &Fleet, now: Time) -> Vec<NodeId> {
    let ready = |power: &&Power| next(fleet, power, now).is_some();
    fleet.powers.values().filter(ready).map(|power| power.node).collect()
}

fn next(fleet: &Fleet, power: &Power, now: Time) -> Option<(Act, Option<JobId>)> {
    if power.flight.is_some() || console::opening(power) || power.locked.is_some() || shared(fleet, power) {
        return None;
    }
    let account = power.account.as_ref()?;
    // After an outage time may have run out before anybody has looked at it.
    let request = power.current().filter(|request| request.begun.is_some() && !is_late(request, now));
    let act = request.and_then(|request| match request.step {
        Step::Ask { act, from } if from <= now && matches!(request.way, Way::Controller | Way::Wake) => {
            Some((act, Some(request.id)))
        }
        Step::Proof { since }
            if request.way == Way::Controller && matches!(request.wish, Wish::Off { .. }) =>
        {
            let pause = power.seen.at.max(since).plus_seconds(LOOK_SECONDS);
            (pause <= now).then_some((Act::Status, Some(request.id)))
        }
        Step::Ask { .. } | Step::Proof { .. } | Step::Done { .. } | Step::Failed { .. } => None,
    });
    act.or_else(|| power.wanted.filter(|_| account.kind.has_controller()).map(|act| (act, None)))
}

/// Whether another node has a request on its way to the same controller, as in a chassis of several servers.
fn shared(fleet: &Fleet, power: &Power) -> bool {
    let address = |power: &Power| power.account.as_ref().and_then(|account| account.address.clone());
    let Some(own) = address(power) else { return false };
    fleet.powers.values().any(|other| {
        let busy = other.flight.is_some() || console::opening(other);
        other.node != power.node && busy && address(other).as_ref() == Some(&own)
    })
}

fn begin(fleet: &Fleet, node: &Node, mut power: Power, now: Time) -> Result<Outcome, Denied> {
    let nothing = || Denied::Conflict(format!("nothing is due for the power of {}", node.name));
    let (act, request) = next(fleet, &power, now).ok_or_else(nothing)?;
    let account = power.account.clone().ok_or_else(nothing)?;
    let mut outcome = Outcome::default();
    let interrupts = matches!(act, Act::SoftOff | Act::HardOff | Act::Cycle);
    let current = power.requests.iter_mut().find(|request| !request.is_over());
    // It may have begun to write since it was asked.
    if let Some(request) = current.filter(|request| interrupts && writes(node) && !request.forced) {
        let why = format!("its disk is being written by now ({})", node.state.word());
        end(node.id, request, Step::Failed { why }, now, &mut outcome);
        turn(fleet, node, &mut power, now, &mut outcome);
        return Ok(kept(power, outcome));
    }
    power.flights += 1;
    power.flight = Some(Flight { number: power.flights, act, request, since: now });
    if request.is_none() {
        power.wanted = None;
    }
    outcome.reply = Reply::Errand(Box::new(Errand { flight: power.flights, act, account }));
    Ok(kept(power, outcome))
}

fn answered(
    node: &Node,
    mut power: Power,
    number: u64,
    (result, pin): (Result<Word, Fault>, Option<String>),
    now: Time,
) -> Result<Outcome, Denied> {
    let flight = power.flight.filter(|flight| flight.number == number);
    let Some(flight) = flight else {
        return Err(Denied::Conflict(format!("the answer about the power of {} comes too late", node.name)));
    };
    let mut outcome = Outcome::default();
    power.flight = None;
    // Whatever came of it, the password may be known to who showed this: it goes to nobody else.
    let pin = pin.or_else(|| result.as_ref().ok().and_then(|word| word.pin.clone()));
    if let (Some(account), Some(pin)) = (power.account.as_mut().filter(|account| account.pin.is_none()), pin)
    {
        outcome.fact(node.id, "bmc", format!("its certificate is remembered: SHA-256 {pin}"));
        account.pin = Some(pin);
    }
    match result {
        Ok(word) => heed(node, &mut power, flight, word, now, &mut outcome),
        Err(fault) => stumble(node, &mut power, flight, &fault, now, &mut outcome),
    }
    Ok(kept(power, outcome))
}

fn heed(node: &Node, power: &mut Power, flight: Flight, word: Word, now: Time, outcome: &mut Outcome) {
    power.trouble = None;
    if word.state != Observed::Unknown || flight.act == Act::Status {
        if power.seen.state != word.state {
            outcome.fact(node.id, "power", format!("its controller says {}", word.state.word()));
        }
        power.seen = Seen { state: word.state, at: now };
    }
    if flight.act == Act::Test {
        power.tested = Some(Test { at: now, findings: word.findings });
    }
    let request = power.requests.iter_mut().find(|request| Some(request.id) == flight.request);
    let Some(request) = request.filter(|request| !request.is_over()) else { return };
    request.trouble = None;
    match flight.act {
        Act::Status | Act::Test => {}
        Act::Boot { .. } => {
            let how = "set for one boot; whether its firmware obeys is seen when it boots".to_owned();
            end(node.id, request, Step::Done { how }, now, outcome);
        }
        Act::On | Act::SoftOff | Act::HardOff | Act::Cycle | Act::Wake => {
            (request.step, request.tries) = (Step::Proof { since: now }, 0);
        }
    }
}

fn stumble(node: &Node, power: &mut Power, flight: Flight, fault: &Fault, now: Time, outcome: &mut Outcome) {
    let why = fault.why().to_owned();
    power.trouble = Some(why.clone());
    power.seen = Seen { state: Observed::Unknown, at: now };
    match fault {
        Fault::Login(_) | Fault::Stranger(_) => lock(node, power, &why, now, outcome),
        Fault::Busy(_) | Fault::Unreachable(_) | Fault::Lost(_) | Fault::Refused(_) => {
            let request = power.requests.iter_mut().find(|request| Some(request.id) == flight.request);
            if let Some(request) = request.filter(|request| !request.is_over()) {
                again(node, request, flight.act, fault, now, outcome);
            }
        }
    }
}

/// Nothing more is asked of the controller, until its account was set again.
pub(super) fn lock(node: &Node, power: &mut Power, why: &str, now: Time, outcome: &mut Outcome) {
    power.locked = Some(why.to_owned());
    power.trouble = Some(why.to_owned());
    power.wanted = None;
    outcome.fact(node.id, "bmc", format!("nothing more is asked of its controller: {why}"));
    for request in power.requests.iter_mut().filter(|request| request.way == Way::Controller) {
        if !request.is_over() {
            end(node.id, request, Step::Failed { why: locked(node, why) }, now, outcome);
        }
    }
}

/// What a request does when its act failed: again after a pause, another act, or not at all.
fn again(node: &Node, request: &mut Request, act: Act, fault: &Fault, now: Time, outcome: &mut Outcome) {
    request.trouble = Some(fault.why().to_owned());
    if act == Act::Status {
        return;
    }
    let at_once = |act| Step::Ask { act, from: now };
    let refused = matches!(fault, Fault::Refused(_));
    match act {
        // Its system can't be asked.
        Act::SoftOff if refused => request.step = at_once(Act::HardOff),
        // What is off can't be cycled.
        Act::Cycle if refused => request.step = at_once(Act::On),
        // It may have happened, and twice would be once too often.
        Act::Cycle if matches!(fault, Fault::Lost(_)) => request.step = Step::Proof { since: now },
        Act::Status
        | Act::Test
        | Act::On
        | Act::SoftOff
        | Act::HardOff
        | Act::Cycle
        | Act::Boot { .. }
        | Act::Wake => {
            request.tries += 1;
            if refused || request.tries >= TRIES {
                let why = match refused {
                    true => fault.why().to_owned(),
                    false => format!("tried {TRIES} times: {}", fault.why()),
                };
                return end(node.id, request, Step::Failed { why }, now, outcome);
            }
            let pause = 1_u64.checked_shl(request.tries).unwrap_or(u64::MAX).min(30);
            request.step = Step::Ask { act, from: now.plus_seconds(pause) };
        }
    }
}

/// What time alone brings about: proofs, lost answers, deadlines, power that is cut after a soft request.
pub(crate) fn overdue(fleet: &Fleet, now: Time, outcome: &mut Outcome) {
    for before in fleet.powers.values() {
        let Some(node) = fleet.nodes.get(&before.node) else { continue };
        let mut power = before.clone();
        if let Some(flight) = power.flight.filter(|flight| now >= flight.since.plus_seconds(FLIGHT_SECONDS)) {
            power.flight = None;
            let fault = Fault::Lost(format!("no answer within {FLIGHT_SECONDS} s"));
            stumble(node, &mut power, flight, &fault, now, outcome);
        }
        console::overdue(node, &mut power, now, outcome);
        judge(node, &mut power, now, outcome);
        let changed = |change: &Change| matches!(change, Change::Node(other) if other.id == node.id);
        // A node that changes in this very step has its turn in the next.
        if !outcome.changes.iter().any(changed) {
            turn(fleet, node, &mut power, now, outcome);
        }
        if power != *before {
            outcome.changes.push(Change::Power(Box::new(tidy(power))));
        }
    }
}

fn judge(node: &Node, power: &mut Power, now: Time, outcome: &mut Outcome) {
    let seen = power.seen;
    let Some(request) = power.requests.iter_mut().find(|request| !request.is_over()) else { return };
    let Some(begun) = request.begun else { return };
    if let Step::Proof { since } = request.step {
        if let Some(how) = proof::done(node, seen, request, since, now) {
            return end(node.id, request, Step::Done { how }, now, outcome);
        }
        let soft = request.wish == Wish::Off { hard: false } && request.way == Way::Controller;
        let patient = now < begun.plus_seconds(SOFT_SECONDS);
        if soft && !patient && request.tries == 0 && !is_late(request, now) {
            // A second time it is not soft any more.
            (request.wish, request.step) =
                (Wish::Off { hard: true }, Step::Ask { act: Act::HardOff, from: now });
            let text = format!("it did not go down within {SOFT_SECONDS} s: its power is cut");
            return outcome.fact(node.id, "power", text);
        }
    }
    if is_late(request, now) {
        let why = proof::overdue(node, seen, request, now);
        end(node.id, request, Step::Failed { why }, now, outcome);
    }
}

/// Those that wait, then the last of those that have ended, the newest first.
fn tidy(mut power: Power) -> Power {
    let (mut ended, waiting) = power.requests.into_iter().partition::<Vec<_>, _>(Request::is_over);
    ended.sort_by_key(|request| std::cmp::Reverse(request.ended));
    ended.truncate(REMEMBERED);
    power.requests = waiting.into_iter().chain(ended).collect();
    power
}

pub(super) fn kept(power: Power, mut outcome: Outcome) -> Outcome {
    outcome.changes.push(Change::Power(Box::new(tidy(power))));
    outcome
}
