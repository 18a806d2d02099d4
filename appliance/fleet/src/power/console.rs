//! The serial console of a node, through its management controller: who has its keyboard, and when it may be opened.
//!
//! The rule of one request at a time holds for opening, which is a login: nothing else is asked of the controller meanwhile, and it is
//! not opened while something is. Once open it is a session that lies beside the requests: power can be cut while somebody looks at
//! what the server says of it. A controller has one line to the server, so there is one console for each, with one keyboard: the next
//! one is told whose it is, and takes it by asking for that. Whoever only reads needs no keyboard, and any number may.
//!
//! The shell opens what [`Reply::Console`] says, tells that it is open, and brings its end, whatever that was. It lets go as soon
//! as this says that its number is not the console's any more: the account was changed, time ran out, the controller restarted.

use serde::{Deserialize, Serialize};

use super::queue::{kept, lock, locked};
use super::{Account, Address, FLIGHT_SECONDS, Fault, Power};
use crate::{Denied, Fleet, Node, Outcome, Reply, Time};

/// Characters of a name that are kept of whoever has the keyboard.
const NAME: usize = 64;

/// Who types.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyboard {
    /// Its number: whoever had it before has another.
    pub number: u64,
    /// The person's name.
    pub by: String,
    /// Since when.
    pub since: Time,
}

/// A console that is being opened, or is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Console {
    /// Its number.
    pub number: u64,
    /// Since when.
    pub since: Time,
    /// Whether the controller has let us in.
    pub open: bool,
    /// Who types; none: all read.
    pub keyboard: Option<Keyboard>,
}

/// What the shell is to do for somebody who wants a console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The console's number.
    pub number: u64,
    /// The number of the keyboard that was given; none: only to read.
    pub keyboard: Option<u64>,
    /// With whom it is to be opened; none: it is there already.
    pub account: Option<Account>,
}

/// What happens to a node's console.
#[derive(Clone, Debug)]
pub enum ConsoleEvent {
    /// A person wants it.
    Open {
        /// The person's name.
        by: String,
        /// With the keyboard.
        types: bool,
        /// Also from somebody who has it.
        take: bool,
    },
    /// The controller has let us in.
    Opened {
        /// Which console.
        number: u64,
    },
    /// Whoever had this keyboard is gone.
    Left {
        /// Which keyboard.
        keyboard: u64,
    },
    /// It has ended.
    Closed {
        /// Which console.
        number: u64,
        /// Why it could not go on; none: nobody was there any more.
        fault: Option<Fault>,
    },
}

/// Whether a console is to be opened as soon as the controller has answered what it is asked now.
pub fn must_wait(fleet: &Fleet, power: &Power) -> bool {
    power.console.is_none() && neighbours(fleet, power).any(|other| other.flight.is_some() || opening(other))
}

/// Whether the controller is letting us in just now.
pub(super) fn opening(power: &Power) -> bool {
    power.console.as_ref().is_some_and(|console| !console.open)
}

/// All that hang on the same controller, the node itself among them.
fn neighbours<'a>(fleet: &'a Fleet, power: &'a Power) -> impl Iterator<Item = &'a Power> {
    let own = address(power);
    let same = move |other: &&Power| other.node == power.node || (own.is_some() && address(other) == own);
    fleet.powers.values().filter(same)
}

fn address(power: &Power) -> Option<&Address> {
    power.account.as_ref().and_then(|account| account.address.as_ref())
}

pub(super) fn step(
    fleet: &Fleet,
    node: &Node,
    power: Power,
    event: ConsoleEvent,
    now: Time,
) -> Result<Outcome, Denied> {
    match event {
        ConsoleEvent::Open { by, types, take } => open(fleet, node, power, (by, types, take), now),
        ConsoleEvent::Opened { number } => opened(node, power, number),
        ConsoleEvent::Left { keyboard } => left(node, power, keyboard),
        ConsoleEvent::Closed { number, fault } => closed(node, power, number, fault, now),
    }
}

fn open(
    fleet: &Fleet,
    node: &Node,
    mut power: Power,
    (by, types, take): (String, bool, bool),
    now: Time,
) -> Result<Outcome, Denied> {
    let name = &node.name;
    let refused = |why: String| Err(Denied::Conflict(why));
    if !power.kind().has_controller() {
        return refused(format!(
            "{name} has no management controller, and its console is at the rack: give it one (rackwright node bmc set {name} \
             --help)"
        ));
    }
    if let Some(why) = &power.locked {
        return refused(locked(node, why));
    }
    let mut outcome = Outcome::default();
    let by = by.chars().filter(|c| !c.is_control()).take(NAME).collect::<String>();
    let account = match &power.console {
        Some(_) => None,
        None => Some(begin(fleet, node, &mut power, now)?),
    };
    let Some(mut console) = power.console.clone() else { return refused(format!("{name} has no console")) };
    if let Some(other) = console.keyboard.as_ref().filter(|_| types && !take) {
        return refused(format!(
            "{} has the console of {name} since {}: read along (--read), or take it (--take)",
            other.by, other.since
        ));
    }
    let keyboard = types.then(|| {
        power.consoles += 1;
        Keyboard { number: power.consoles, by: by.clone(), since: now }
    });
    let text = match (&console.keyboard, &keyboard) {
        (Some(other), Some(_)) => format!("{by} takes the console from {}", other.by),
        (_, Some(_)) => format!("{by} has the console"),
        (_, None) => format!("{by} reads the console"),
    };
    outcome.fact(node.id, "console", text);
    let number = keyboard.as_ref().map(|keyboard| keyboard.number);
    console.keyboard = keyboard.or(console.keyboard);
    outcome.reply = Reply::Console(Box::new(Line { number: console.number, keyboard: number, account }));
    power.console = Some(console);
    Ok(kept(power, outcome))
}

/// A new one; with whom.
fn begin(fleet: &Fleet, node: &Node, power: &mut Power, now: Time) -> Result<Account, Denied> {
    if must_wait(fleet, power) {
        return Err(Denied::Conflict(format!(
            "the management controller of {} is asked something else just now: try again in a moment",
            node.name
        )));
    }
    let shared = neighbours(fleet, power).find(|other| other.console.is_some());
    if let Some(other) = shared.and_then(|other| fleet.nodes.get(&other.node)) {
        return Err(Denied::Conflict(format!(
            "the management controller of {} is that of {} too, and somebody has its console: it has one line",
            node.name, other.name
        )));
    }
    let nobody = || Denied::Conflict(format!("{} has no management controller", node.name));
    let account = power.account.clone().ok_or_else(nobody)?;
    power.consoles += 1;
    power.console = Some(Console { number: power.consoles, since: now, open: false, keyboard: None });
    Ok(account)
}

fn opened(node: &Node, mut power: Power, number: u64) -> Result<Outcome, Denied> {
    match &mut power.console {
        Some(console) if console.number == number => console.open = true,
        Some(_) | None => return Err(over(node)),
    }
    power.trouble = None;
    Ok(kept(power, Outcome::default()))
}

fn left(node: &Node, mut power: Power, keyboard: u64) -> Result<Outcome, Denied> {
    let console = power.console.as_mut();
    let had = console.and_then(|console| console.keyboard.take_if(|own| own.number == keyboard));
    let had = had.ok_or_else(|| over(node))?;
    let mut outcome = Outcome::default();
    outcome.fact(node.id, "console", format!("{} has left the console", had.by));
    Ok(kept(power, outcome))
}

fn closed(
    node: &Node,
    mut power: Power,
    number: u64,
    fault: Option<Fault>,
    now: Time,
) -> Result<Outcome, Denied> {
    if power.console.as_ref().is_none_or(|console| console.number != number) {
        return Err(over(node));
    }
    let mut outcome = Outcome::default();
    power.console = None;
    let text = match &fault {
        None => "the console is closed".to_owned(),
        Some(fault) => format!("the console is closed: {}", fault.why()),
    };
    outcome.fact(node.id, "console", text);
    if let Some(fault @ (Fault::Login(_) | Fault::Stranger(_))) = &fault {
        lock(node, &mut power, fault.why(), now, &mut outcome);
    }
    Ok(kept(power, outcome))
}

fn over(node: &Node) -> Denied {
    Denied::Conflict(format!("that console of {} is not open any more", node.name))
}

/// Ends one that the controller did not open in time; the shell is not believed any more.
pub(super) fn overdue(node: &Node, power: &mut Power, now: Time, outcome: &mut Outcome) {
    let late = |console: &Console| !console.open && now >= console.since.plus_seconds(FLIGHT_SECONDS);
    if power.console.take_if(|console| late(console)).is_some() {
        let text = format!("the console is closed: it was not open within {FLIGHT_SECONDS} s");
        outcome.fact(node.id, "console", text);
    }
}

/// Ends all of them: nobody is there any more after a restart of this controller.
pub fn hung_up(fleet: &Fleet) -> Vec<(protocol::NodeId, ConsoleEvent)> {
    let fault = || Some(Fault::Lost("the controller was restarted".to_owned()));
    let end = |power: &Power| {
        let number = power.console.as_ref()?.number;
        Some((power.node, ConsoleEvent::Closed { number, fault: fault() }))
    };
    fleet.powers.values().filter_map(end).collect()
}
