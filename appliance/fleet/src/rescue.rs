//! A node in the ramdisk for its operator to mend it by hand; nothing is written there by anything of ours.
//!
//! ```text
//! its own system is heard ─ordered→ hands in a ticket, restarts ─┐
//! it is not heard ─somebody switches it off and on──────────────┴→ hello (its ticket, its seed, or a code) ─asks→ entered ─end→
//! ```
//! The installed system keeps key, certificate and generation, as in a capture: what is mended goes on as who it was. A rescue has
//! no deadline and fails at nothing: it waits for its operator, and after a time the operators are told so ([`crate::notice`]).

use protocol::{HostKey, JobId, RescueJob, SshKey, Task};
use serde::{Deserialize, Serialize};

use crate::drain::{self, may_go_down};
use crate::entropy::Entropy;
use crate::patience::SILENT_SECONDS;
use crate::returning::{home, leave, may_leave, stay};
use crate::running::{SystemDisk, order_again, order_redeploy};
use crate::step::{moved, refused};
use crate::{Change, Denied, Fleet, Node, Outcome, Reply, State, Time};

/// How long an installed system that is heard may take to hand in its ticket.
const TICKET_SECONDS: u64 = 10 * 60;

/// A node that is mended by hand, or is on its way to that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rescue {
    /// By which the ramdisk knows it.
    pub id: JobId,
    /// Who may get in by SSH.
    pub keys: Vec<SshKey>,
    /// What the node was.
    pub back: State,
    /// When its own system was told to restart into the ramdisk: until it has handed in a ticket, or is given up, it boots its
    /// own disk.
    pub asked: Option<Time>,
    /// When the ramdisk began.
    pub entered: Option<Time>,
    /// The ramdisk's SSH server.
    pub host_key: Option<HostKey>,
    /// What is not as it should be.
    pub trouble: Option<String>,
}

/// What the operator said.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Who may get in by SSH.
    pub keys: Vec<SshKey>,
    /// The node's name once more: one that runs is restarted.
    pub confirmed: Option<String>,
    /// Also when virtual machines run on it, which are then ended.
    pub force: bool,
}

/// Whether its installed system speaks, and could do what it is told.
fn is_up(node: &Node, now: Time) -> bool {
    node.run.is_some() && node.reported.is_some_and(|at| now.seconds_since(at) < SILENT_SECONDS)
}

/// Begins.
///
/// # Errors
/// [`Denied`]: nothing was changed.
pub(crate) fn begin(
    fleet: &Fleet,
    node: &Node,
    wish: Wish,
    now: Time,
    dice: &mut Entropy,
) -> Result<Outcome, Denied> {
    let Wish { keys, confirmed, force } = wish;
    may_leave(node, "rescuing")?;
    let up = is_up(node, now) && !in_ramdisk(&node.state);
    if (up || node.state == State::Active) && confirmed.as_deref() != Some(node.name.as_str()) {
        let name = node.name.to_string();
        let what = format!(
            "this restarts {name} into the ramdisk, and what it runs stands still until you end the rescue"
        );
        return Err(Denied::Unnamed { name, what });
    }
    // One that does not speak is not taken down by this.
    may_go_down(node, force || !up)?;
    let mut outcome = Outcome::default();
    let who = match keys.len() {
        0 => "nobody by SSH".to_owned(),
        1 => "one SSH key".to_owned(),
        more => format!("{more} SSH keys"),
    };
    outcome.fact(node.id, "rescue", format!("from {}; {who}", node.state.word()));
    let mut next = leave(fleet, node, "the node is rescued", now, &mut outcome);
    let (back, asked) = (next.state.clone(), up.then_some(now));
    let rescue =
        Rescue { id: JobId(dice.draw()), keys, back, asked, entered: None, host_key: None, trouble: None };
    next = moved(&next, State::Rescue { rescue: Box::new(rescue) }, now);
    // It holds for what comes later too.
    next.redeploy_forced = force;
    if up {
        order_redeploy(&mut next, force, SystemDisk::Kept);
    }
    outcome.changes.push(Change::Node(Box::new(next)));
    Ok(outcome)
}

/// Whether it waits in the ramdisk, where nobody needs to restart it.
fn in_ramdisk(state: &State) -> bool {
    matches!(state, State::Inspecting | State::Ready | State::Planned { .. })
}

/// Ends: the ramdisk is told to restart, and the node is what it was before, as soon as it is heard.
pub(crate) fn end(fleet: &Fleet, node: &Node, now: Time) -> Result<Outcome, Denied> {
    let State::Rescue { rescue } = &node.state else {
        return Err(refused(node, "ending a rescue", "; it is not in rescue"));
    };
    let mut outcome = Outcome::default();
    let mut next = node.clone();
    stay(&mut next);
    let untouched = rescue.entered.is_none() && rescue.asked.is_none();
    let state = match &rescue.back {
        // Nothing has happened to it.
        back if untouched && (in_ramdisk(back) || matches!(back, State::Attention { .. })) => back.clone(),
        back => home(fleet, node, back),
    };
    next = moved(&next, state, now);
    outcome.fact(
        node.id,
        "rescue-ended",
        format!("it was begun at {}; now {}", node.since, next.state.word()),
    );
    outcome.changes.push(Change::Node(Box::new(next)));
    Ok(outcome)
}

/// What the ramdisk that asks for work shall do.
pub(crate) fn task(rescue: &Rescue) -> Task {
    Task::Rescue(Box::new(RescueJob { job: rescue.id, keys: rescue.keys.clone() }))
}

/// The ramdisk tells how the rescue goes. One that is over, or another's, is not to go on.
pub(crate) fn told(node: &Node, told: protocol::Rescue, now: Time) -> Outcome {
    let mut outcome = Outcome { reply: Reply::GoOn(false), ..Outcome::default() };
    let State::Rescue { rescue } = &node.state else { return outcome };
    if rescue.id != told.job {
        return outcome;
    }
    let mut next = node.clone();
    next.speaks(None, now);
    let mut news = rescue.clone();
    (news.asked, news.host_key, news.trouble) = (None, told.host_key, told.trouble);
    if news.entered.is_none() {
        news.entered = Some(now);
        next.orders.clear();
        // What it said before says nothing of what runs now, nor of how it comes up.
        (next.report, next.reported) = (None, None);
        outcome.fact(node.id, "rescue", format!("in the ramdisk: {}", way_in(node, &news)));
    } else if news.host_key != rescue.host_key {
        outcome.fact(node.id, "rescue", format!("once more in the ramdisk: {}", way_in(node, &news)));
    }
    if let Some(trouble) = news.trouble.as_ref().filter(|now| rescue.trouble.as_ref() != Some(*now)) {
        outcome.fact(node.id, "rescue", trouble.clone());
    }
    let changed = news != *rescue;
    next.state = State::Rescue { rescue: news };
    outcome.reply = Reply::GoOn(true);
    if changed || now.seconds_since(node.heard) >= 10 {
        outcome.changes.push(Change::Node(Box::new(next)));
    }
    outcome
}

/// How an operator gets in.
fn way_in(node: &Node, rescue: &Rescue) -> String {
    match &rescue.host_key {
        Some(key) => format!("ssh root@{} (host key {key}), or Enter on its console", node.boot.address),
        None => "Enter on its console opens a shell".to_owned(),
    }
}

/// The installed system speaks although it is to be in the ramdisk: it is told to go there, or says why it can't.
pub(crate) fn reported(node: &Node, next: &mut Node, cant: Option<String>, now: Time, outcome: &mut Outcome) {
    let State::Rescue { rescue } = &node.state else { return };
    let mut news = rescue.clone();
    if let Some(why) = cant {
        let trouble = format!("its own system can't restart into the ramdisk: {why}");
        outcome.fact(node.id, "failed", trouble.clone());
        (news.asked, news.trouble) = (None, Some(trouble));
    } else if rescue.entered.is_none() && rescue.asked.is_none() && rescue.trouble.is_none() {
        outcome.fact(node.id, "rescue", "its own system is up, and told to restart into the ramdisk");
        news.asked = Some(now);
        order_again(next, SystemDisk::Kept);
    }
    next.state = State::Rescue { rescue: news };
}

/// Whether a node that asks the network boots its own disk, because that is to hand in a ticket.
pub(crate) fn awaits_ticket(node: &Node, rescue: &Rescue) -> bool {
    rescue.asked.is_some()
        && node.adopted.is_none()
        && node.run.is_some()
        && node.deploy.is_none_or(|deploy| !deploy.ticket)
}

/// Those whose own system does not hand in a ticket boot the ramdisk all the same, and show a code there.
pub(crate) fn overdue(fleet: &Fleet, now: Time, outcome: &mut Outcome) {
    for node in fleet.nodes.values() {
        let State::Rescue { rescue } = &node.state else { continue };
        let Some(asked) = rescue.asked.filter(|_| awaits_ticket(node, rescue)) else { continue };
        let silent = now.seconds_since(asked.max(node.heard)) >= SILENT_SECONDS;
        // What it gives away before takes its time, and is bounded by its agent.
        let moves = drain::moving(node).is_some();
        if !silent && (moves || now.seconds_since(asked) < TICKET_SECONDS) {
            continue;
        }
        let mut next = node.clone();
        stay(&mut next);
        let why = if silent {
            "its own system is silent"
        } else {
            "its own system was told to restart, and does not"
        };
        outcome.fact(
            node.id,
            "rescue",
            format!("{why}: whenever it boots from the network now, it gets the ramdisk"),
        );
        // One that speaks and does not do it is not asked again whenever it speaks.
        let trouble = rescue.trouble.clone().or_else(|| (!silent).then(|| why.to_owned()));
        let rescue = Rescue { asked: None, trouble, ..(**rescue).clone() };
        next.state = State::Rescue { rescue: Box::new(rescue) };
        outcome.changes.push(Change::Node(Box::new(next)));
    }
}

/// What it waits for: its operator, whatever it is.
pub(crate) fn waits_for(node: &Node, rescue: &Rescue) -> String {
    let name = &node.name;
    let trouble = rescue.trouble.as_ref().map(|why| format!("; {why}")).unwrap_or_default();
    if node.claim.is_some() {
        return format!(
            "you: it is in the ramdisk with a new key; compare the code on its screen and let it in (rackwright node approve {name})"
        );
    }
    if rescue.entered.is_some() {
        let way = way_in(node, rescue);
        return format!("you: mend it: {way}; then end it (rackwright node rescue {name} --end){trouble}");
    }
    if awaits_ticket(node, rescue) {
        return format!("its own system to restart into the ramdisk{trouble}");
    }
    if rescue.asked.is_some() || in_ramdisk(&rescue.back) {
        return format!("its ramdisk to begin; one that is older than rescues can't{trouble}");
    }
    format!(
        "you: switch it off and on, and have it boot from the network (rackwright node power cycle {name}){trouble}"
    )
}
