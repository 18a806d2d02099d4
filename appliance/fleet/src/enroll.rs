//! Hello and approval: which server a key belongs to, and whether it may come in.
//!
//! A key is approved by a person who compared the code, or by a ticket that the installed node handed in over its own
//! certificate. Hardware facts only find the record; they never let anybody in (a MAC can be copied).

use std::collections::BTreeSet;

use protocol::{Hello, Key, NodeId, Nonce, TpmSecret};

use crate::adopt::{self, Adopted};
use crate::capture;
use crate::certificate::Grant;
use crate::entropy::Entropy;
use crate::identity::{self, Match};
use crate::node::{Approved, Boot, Claim, Document, Wishes};
use crate::returning::{homeless, keeps_system};
use crate::tpm::{self, ClaimedTpm, KnownTpm};
use crate::{
    Change, Denied, Effect, Fact, Fleet, Name, Node, Outcome, Reply, State, Time, clock, event::Standing,
};

/// How many servers may wait for approval at once: a stranger on the wire can't fill the controller's memory. A thousand
/// are more than anybody compares codes of; with 128 KiB each, the longest hello that is read, they are 128 MiB.
pub const MAX_PENDING: usize = 1024;

/// What a server is told that nobody has looked at.
const COMPARE: &str = "waiting for approval: compare the code";
/// What a retired server is told.
const RETIRED: &str = "retired: its disks are erased, and it can be switched off";

/// What the shell has checked of a hello, against what its key was given before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Its proof, against the challenge.
    pub proven: bool,
    /// Its TPM's answer, against the question with this secret.
    pub answered: Option<TpmSecret>,
}

/// Takes a hello in: finds or makes the node, answers the challenge and where the key stands.
///
/// # Errors
/// [`Denied`] when too many servers wait for approval already.
pub fn enroll(
    fleet: &Fleet,
    hello: &Hello,
    checked: Checked,
    now: Time,
    dice: &mut Entropy,
) -> Result<Outcome, Denied> {
    if let Some(adoption) = &hello.adoption {
        return adopt::hello(fleet, (hello, checked), adoption, now, dice);
    }
    match whose(fleet, hello) {
        Whose::Approved(node) => Ok(approved(fleet, node, (hello, checked), now, dice)),
        Whose::Known(node) => {
            let claimed = claimed(node, (hello, checked), None, now, dice);
            expected(fleet, claimed, hello, now, dice)
        }
        Whose::Clash(node, why) => Ok(claimed(node, (hello, checked), Some(why), now, dice)),
        Whose::Nobody => discover(fleet, hello, None, now, dice),
    }
}

enum Whose<'a> {
    Approved(&'a Node),
    Known(&'a Node),
    Clash(&'a Node, String),
    Nobody,
}

fn whose<'a>(fleet: &'a Fleet, hello: &Hello) -> Whose<'a> {
    let by_key = fleet.nodes.values().find(|node| node.deploy.is_some_and(|deploy| deploy.key == hello.key));
    let found = identity::find(fleet, hello);
    if let Some(node) = by_key {
        if let Some(why) = tpm::stranger(fleet, node, hello) {
            return Whose::Clash(node, why);
        }
        let same = match found {
            // The key and the NIC are enough: a board may be replaced around them.
            Match::One(other) | Match::OtherBoard(other) | Match::Unsure(other) => other.id == node.id,
            Match::Several(..) | Match::Nobody => false,
        };
        // Or a person has said that it is this node all the same.
        if same || node.moved_to.as_ref() == Some(&hello.boot.mac) {
            return Whose::Approved(node);
        }
        // The disk with this node's ticket sits in another server, or a NIC was moved: a person decides.
        return Whose::Clash(
            node,
            format!("the key of {} came from a server with other hardware addresses", node.name),
        );
    }
    match found {
        // No NIC of it is known, and its TPM is.
        Match::Nobody => match tpm::said(hello)
            .and_then(|ek| tpm::owner(fleet, ek).find(|node| node.is_let_in()))
        {
            Some(node) => Whose::Clash(node, format!("it has the TPM of {}, and no NIC of it", node.name)),
            None => Whose::Nobody,
        },
        Match::One(node) => match tpm::stranger(fleet, node, hello) {
            Some(why) => Whose::Clash(node, why),
            None => Whose::Known(node),
        },
        Match::OtherBoard(node) => {
            Whose::Clash(node, format!("it boots from a NIC of {}, but its board is another", node.name))
        }
        Match::Unsure(node) => {
            let why =
                format!("it has a NIC of {}, boots from another, and its board can't be told", node.name);
            Whose::Clash(node, why)
        }
        Match::Several(one, other) => {
            Whose::Clash(one, format!("its hardware addresses belong to {} and to {}", one.name, other.name))
        }
    }
}

/// The key of a system that an operator has let in: it gets the certificate to enrol with, and no other.
pub(crate) fn adopted(
    fleet: &Fleet,
    node: &Node,
    heard: (&Hello, Checked),
    now: Time,
    dice: &mut Entropy,
) -> Result<Outcome, Denied> {
    let enrols = node.adopted.is_some() && node.state.phase() == "enrolling";
    let gone = matches!(node.state, State::Rejected { .. } | State::Retired);
    if enrols || gone {
        return Ok(approved(fleet, node, heard, now, dice));
    }
    Err(Denied::Conflict(format!(
        "{} is {} already: this system needs no token any more",
        node.name,
        node.state.word()
    )))
}

fn approved(
    fleet: &Fleet,
    node: &Node,
    (hello, checked): (&Hello, Checked),
    now: Time,
    dice: &mut Entropy,
) -> Outcome {
    let mut outcome = Outcome::default();
    let Some(deploy) = node.deploy else { return outcome };
    let taken = capture::of_node(fleet, node);
    let mut node = node.clone();
    let standing = match (&node.state, checked.proven) {
        (State::Rejected { why }, _) => Standing::Rejected(why.clone()),
        (State::Retired, _) => Standing::Rejected(RETIRED.to_owned()),
        (State::Active | State::Booting { .. } | State::Enrolling { .. }, _)
            // Of one that was read it is still the ramdisk, which is to be told to restart.
            if !(taken.is_some() && matches!(node.state, State::Booting { .. })) && hello.adoption.is_none() => Standing::Waiting(format!(
            "this node is {} and should run from its own disk; ask for a rebuild to write it again",
            node.state.word()
        )),
        // Whoever has not proven the key can't have its TPM asked something else.
        (_, false) => Standing::Waiting("checking that the key is this server's own".to_owned()),
        (_, true) => clock::problem(fleet).map_or(Standing::Approved, Standing::Waiting),
    };
    let (standing, question) = match standing {
        Standing::Approved => {
            let heard = tpm::hear(deploy.question, hello, checked.answered, dice);
            tpm::spoken(&mut node, heard, now, &mut outcome)
        }
        Standing::Waiting(_) | Standing::Rejected(_) => (standing, None),
    };
    let (deploy, question) = (node.deploy.unwrap_or(deploy), question.map(Box::new));
    if standing == Standing::Approved {
        if deploy.ticket {
            match taken {
                // Its installed system comes back as what it is.
                Some(capture) if capture.goes_on() => {
                    (node.state, node.since) = (State::Capturing { job: capture.id }, now);
                }
                Some(_) => {}
                None if keeps_system(&node) => {}
                // From here on the installed system's certificates are void.
                None => {
                    node.generation += 1;
                    (node.run, node.lapsed) = (None, None);
                }
            }
            node.deploy = Some(Approved { ticket: false, ..deploy });
        }
        node.boot = boot_of(hello);
        node.inventory = identity::believed(fleet, &node, hello.inventory.clone()).0;
        node.speaks(Some(&hello.boot.boot_id), now);
        outcome.effects.push(Effect::Issue(Grant::deploy(&node, hello.key, now)));
        outcome.fact(node.id, "hello", format!("agent up, {} s after its kernel", hello.boot.uptime_seconds));
    }
    // Whoever knows the key can say it; only its holder is a sign of life.
    if checked.proven {
        node.heard = now;
    }
    outcome.reply = Reply::Hello { node: node.id, nonce: deploy.nonce, standing, question };
    outcome.changes.push(Change::Node(Box::new(node)));
    outcome
}

pub(crate) fn claimed(
    node: &Node,
    (hello, checked): (&Hello, Checked),
    clash: Option<String>,
    now: Time,
    dice: &mut Entropy,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut node = node.clone();
    let same = node.claim.as_ref().filter(|claim| claim.key == hello.key && claim.clash == clash).cloned();
    let mut claim = same.clone().unwrap_or_else(|| claim_of(hello, clash, now, dice));
    if checked.proven && same.is_some() {
        claim.tpm = tpm::claimed(&claim, hello, checked.answered, dice);
    }
    let standing = match (&node.state, &claim.clash) {
        (State::Rejected { why }, _) => Standing::Rejected(why.clone()),
        (State::Retired, _) => Standing::Rejected(RETIRED.to_owned()),
        (_, Some(clash)) => Standing::Waiting(format!("held for the operator: {clash}")),
        (State::Discovered, None) => Standing::Waiting(COMPARE.to_owned()),
        (_, None) => Standing::Waiting("known here, but with a new key: compare the code again".to_owned()),
    };
    let is_away = matches!(node.state, State::Rejected { .. } | State::Retired);
    if same.is_none() && !is_away {
        let text = match (&claim.clash, &node.state) {
            (Some(clash), _) => format!("held: {clash}"),
            (None, State::Discovered) => "came back with a new key; its code has changed".to_owned(),
            (None, _) => "came back with a new key: approve it again if the code is the same on both screens"
                .to_owned(),
        };
        outcome.fact(node.id, if claim.clash.is_some() { "conflict" } else { "claimed" }, text);
    }
    // A stranger's claim must not rewrite what is known of an approved server.
    if matches!(node.state, State::Discovered) && claim.clash.is_none() {
        node.boot = boot_of(hello);
        node.inventory = hello.inventory.clone();
        node.heard = now;
    }
    let question = claim.tpm.question.filter(|_| checked.proven && !is_away).map(Box::new);
    outcome.reply = Reply::Hello { node: node.id, nonce: claim.nonce, standing, question };
    // Nobody is asked about one that was sent away.
    node.claim = Some(claim).filter(|_| !is_away);
    outcome.changes.push(Change::Node(Box::new(node)));
    outcome
}

pub(crate) fn discover(
    fleet: &Fleet,
    hello: &Hello,
    wanted: Option<&Name>,
    now: Time,
    dice: &mut Entropy,
) -> Result<Outcome, Denied> {
    let pending = fleet.nodes.values().filter(|node| node.state == State::Discovered).count();
    if pending >= MAX_PENDING {
        return Err(Denied::Conflict(format!(
            "{MAX_PENDING} servers wait for approval already: approve or reject some first (rackwright node list)"
        )));
    }
    let id = NodeId(dice.draw());
    let claim = claim_of(hello, None, now, dice);
    let node = Node {
        id,
        name: name_for(fleet, hello, wanted)?,
        state: State::Discovered,
        since: now,
        heard: now,
        discovered: now,
        hold: None,
        roles: BTreeSet::new(),
        inventory: hello.inventory.clone(),
        boot: boot_of(hello),
        claim: Some(claim.clone()),
        deploy: None,
        moved_to: None,
        tpm: KnownTpm::default(),
        run: None,
        generation: 0,
        certificates: 0,
        pin: None,
        lapsed: None,
        installed: None,
        adopted: None,
        wishes: Wishes::default(),
        document: Document::default(),
        orders: Vec::new(),
        last_order: 0,
        redeploy: None,
        redeploy_forced: false,
        report: None,
        reported: None,
        booted: None,
    };
    let mut outcome = Outcome::default();
    outcome.fact(
        id,
        "discovered",
        format!("{} at {} by {}", node.boot.mac, node.boot.address, node.boot.path),
    );
    let standing = Standing::Waiting(COMPARE.to_owned());
    if let Some(twin) = identity::board_twin(fleet, hello) {
        let text = format!("its board has the UUID or serial number of {}, and no NIC of it", twin.name);
        outcome.fact(id, "conflict", format!("{text}: it is taken for another server"));
    }
    outcome.reply = Reply::Hello { node: id, nonce: claim.nonce, standing, question: None };
    outcome.changes.push(Change::Node(Box::new(node)));
    Ok(outcome)
}

/// What was wished for, what the server calls itself, or the first free name.
fn name_for(fleet: &Fleet, hello: &Hello, wanted: Option<&Name>) -> Result<Name, Denied> {
    let own = hello.adoption.as_ref().and_then(|adoption| adoption.host.parse::<Name>().ok());
    let is_free = |name: &Name| !fleet.nodes.values().any(|node| node.name == *name);
    let named = wanted.cloned().into_iter().chain(own).find(is_free);
    named.map_or_else(|| free_name(fleet), Ok)
}

/// The first of `n1`, `n2`, … that no node has.
fn free_name(fleet: &Fleet) -> Result<Name, Denied> {
    let taken = fleet.nodes.values().map(|node| node.name.as_str()).collect::<BTreeSet<_>>();
    (1..=fleet.nodes.len() + 1)
        .map(|n| format!("n{n}"))
        .find(|name| !taken.contains(name.as_str()))
        .and_then(|name| name.parse().ok())
        .ok_or_else(|| Denied::Conflict("no free name".to_owned()))
}

fn claim_of(hello: &Hello, clash: Option<String>, now: Time, dice: &mut Entropy) -> Claim {
    let boot = Some(boot_of(hello));
    let (nonce, tpm) = (Nonce(dice.draw()), ClaimedTpm::default());
    let adoption = hello.adoption.as_ref().map(|adoption| adoption.system.clone());
    Claim { key: hello.key, nonce, since: now, clash, boot, pin: None, tpm, adoption }
}

/// Every challenge that this key was given, and for which node. A key that is approved and came from other hardware
/// has two; which of them its proof answers depends on what was said last.
pub fn challenges<'a>(fleet: &'a Fleet, key: &'a Key) -> impl Iterator<Item = (NodeId, Nonce)> + 'a {
    fleet.nodes.values().flat_map(move |node| {
        let deploy = node.deploy.filter(|deploy| deploy.key == *key).map(|deploy| deploy.nonce);
        let claim = node.claim.as_ref().filter(|claim| claim.key == *key).map(|claim| claim.nonce);
        deploy.into_iter().chain(claim).map(|nonce| (node.id, nonce))
    })
}

fn boot_of(hello: &Hello) -> Boot {
    Boot { mac: hello.boot.mac.clone(), address: hello.boot.address, path: hello.boot.path.clone() }
}

/// What a person says with an approval.
pub(crate) struct Terms {
    pub(crate) name: Option<Name>,
    pub(crate) roles: Option<BTreeSet<String>>,
    /// A clash is no reason to hold it: the person has moved the part.
    pub(crate) moved: bool,
}

/// The operator has compared the code.
pub(crate) fn approve(fleet: &Fleet, node: &Node, terms: Terms, now: Time) -> Result<Outcome, Denied> {
    let Terms { name, roles, moved } = terms;
    if node.claim.is_none() && matches!(node.state, State::Rejected { .. }) {
        let mut node = node.clone();
        if let Some(name) = name {
            refuse_taken(fleet, &node, &name)?;
            node.name = name;
        }
        return Ok(readmitted(&node, roles, now));
    }
    let claim = approvable(node, moved)?;
    let twin = twin(fleet, node, &claim, moved)?;
    let mut node = node.clone();
    node.tpm = tpm::approved(&node, &claim.tpm, claim.clash.is_none());
    node.moved_to = None;
    if let (Some(_), Some(boot)) = (&claim.clash, claim.boot) {
        node.moved_to = Some(boot.mac.clone());
        node.boot = boot;
    }
    if let Some(name) = name {
        refuse_taken(fleet, &node, &name)?;
        node.name = name;
    }
    if let Some(roles) = roles {
        node.roles = roles;
    }
    let question = claim.tpm.question;
    node.deploy =
        Some(Approved { key: claim.key, nonce: claim.nonce, ticket: false, pin: claim.pin, question });
    node.claim = None;
    if let Some(system) = claim.adoption {
        return Ok(taken_in(node, system, now));
    }
    let mut outcome = Outcome { changes: doubles(fleet, &node), ..Outcome::default() };
    if let Some(twin) = twin.filter(|twin| twin.is_let_in()) {
        outcome.changes.push(Change::Node(Box::new(Node { tpm: KnownTpm::default(), ..twin.clone() })));
        outcome.fact(twin.id, "tpm", format!("its TPM is in {} now", node.name));
    }
    let taken = capture::of_node(fleet, &node);
    // The installed system of a node that is being captured, or mended, comes back with the certificate it has, if this is the same server.
    let comes_back = claim.clash.is_none()
        && (keeps_system(&node) || (node.run.is_some() && taken.is_some_and(capture::Capture::goes_on)));
    if !comes_back {
        outcome.changes.extend(homeless(fleet, &mut node, now));
        node.generation += 1;
        // A system that was there before has no other way to come back than with the key that it had.
        (node.run, node.lapsed, node.adopted) = (None, None, None);
        outcome.changes.extend(taken.and_then(|capture| capture::homeless(capture, now)));
    }
    let has_ended = taken.is_some_and(|capture| !capture.goes_on());
    if has_ended || matches!(node.state, State::Discovered | State::Rejected { .. }) {
        node.state = State::Inspecting;
        node.since = now;
    }
    let roles = node.roles.iter().cloned().collect::<Vec<_>>().join(", ");
    let what = if roles.is_empty() { "no role yet".to_owned() } else { roles };
    outcome.fact(node.id, "approved", format!("as {} ({what})", node.name));
    outcome.changes.push(Change::Node(Box::new(node)));
    Ok(outcome)
}

/// The claim, if nothing stands against it, or a person says that a part was moved.
fn approvable(node: &Node, moved: bool) -> Result<Claim, Denied> {
    let claim = node.claim.clone().ok_or_else(|| Denied::State {
        name: node.name.to_string(),
        state: node.state.word(),
        event: "approving",
        hint: "; no key of it waits for approval".to_owned(),
    })?;
    if let (Some(clash), Some(_)) = (&claim.clash, &claim.adoption) {
        return Err(Denied::Conflict(format!(
            "{0}: {clash}; a server is adopted as a new node only, never as one that is known: keep this key out (rackwright node \
             reject {0}), or let {0} go first (rackwright node reject {0}, then delete), and paste a new line",
            node.name
        )));
    }
    if let Some(clash) = claim.clash.as_ref().filter(|_| !moved) {
        return Err(Denied::Conflict(format!(
            "{0}: {clash}; put the part back and let the server boot again, or, when it is {0} with a part that you \
             have moved or replaced: rackwright node approve {0} --moved",
            node.name
        )));
    }
    Ok(claim)
}

/// Another server with the TPM of this claim: where it was moved from, if a person says so.
fn twin<'a>(fleet: &'a Fleet, node: &Node, claim: &Claim, moved: bool) -> Result<Option<&'a Node>, Denied> {
    let mut others = claim.tpm.ek.into_iter().flat_map(|ek| tpm::owner(fleet, ek));
    match others.find(|other| other.id != node.id) {
        Some(twin) if !moved => Err(Denied::Conflict(format!(
            "{0}: its TPM is that of {1}; when the TPM was moved: rackwright node approve {0} --moved",
            node.name, twin.name
        ))),
        twin => Ok(twin),
    }
}

/// A new server whose TPM is expected, and has answered, is let in without a person: nobody else has that TPM.
fn expected(
    fleet: &Fleet,
    mut claimed: Outcome,
    hello: &Hello,
    now: Time,
    dice: &mut Entropy,
) -> Result<Outcome, Denied> {
    let told = claimed.changes.iter().find_map(|change| {
        let Change::Node(node) = change else { return None };
        (node.state == State::Discovered && node.hold.is_none()).then_some(node.as_ref())
    });
    let is_expected = |node: &&Node| {
        let ek = node.claim.as_ref().and_then(|claim| claim.tpm.ek.filter(|_| claim.clash.is_none()));
        // Of this very hello, so that what is asked of it next is its own.
        ek.is_some_and(|ek| fleet.expected_tpms.contains(&ek) && tpm::said(hello) == Some(ek))
    };
    let Some(node) = told.filter(is_expected) else { return Ok(claimed) };
    let node = node.clone();
    let terms = Terms { name: None, roles: None, moved: false };
    // What stands against it is a person's to judge.
    let Ok(mut outcome) = approve(fleet, &node, terms, now) else { return Ok(claimed) };
    claimed.facts.append(&mut outcome.facts);
    outcome.facts = claimed.facts;
    for change in &mut outcome.changes {
        if let Change::Node(next) = change
            && next.id == node.id
            && let Some(deploy) = next.deploy
        {
            next.tpm.expected = true;
            let text = "its TPM is expected, and has answered: let in without a person".to_owned();
            outcome.facts.push(Fact { node: Some(next.id), mac: None, kind: "tpm".to_owned(), text });
            let heard = tpm::hear(None, hello, None, dice);
            let (standing, question) = tpm::spoken(next, heard, now, &mut Outcome::default());
            let question = question.map(Box::new);
            outcome.reply = Reply::Hello { node: next.id, nonce: deploy.nonce, standing, question };
        }
    }
    Ok(outcome)
}

/// A system that was there before is a node's from now on: nothing is planned, and nothing is written.
fn taken_in(mut node: Node, system: String, now: Time) -> Outcome {
    let mut outcome = Outcome::default();
    let roles = node.roles.iter().cloned().collect::<Vec<_>>().join(", ");
    let what = if roles.is_empty() { "no role yet".to_owned() } else { roles };
    outcome.fact(
        node.id,
        "approved",
        format!("adopted as {} ({what}), with {system} and its disks as they are", node.name),
    );
    node.generation += 1;
    (node.run, node.lapsed) = (None, None);
    node.adopted = Some(Adopted { at: now, system });
    (node.state, node.since) = (State::Enrolling { job: None }, now);
    outcome.changes.push(Change::Node(Box::new(node)));
    outcome
}

/// The same server may have been taken for a new one before its part was said to be moved.
fn doubles(fleet: &Fleet, node: &Node) -> Vec<Change> {
    let others = fleet.nodes.values().filter(|other| other.id != node.id && other.state == State::Discovered);
    let is_it = |other: &&Node| other.boot.mac == node.boot.mac;
    others.filter(is_it).map(|other| Change::ForgetNode(other.id)).collect()
}

/// The rejection is taken back. The key went with it: the server boots the agent again, and shows a new code.
fn readmitted(node: &Node, roles: Option<BTreeSet<String>>, now: Time) -> Outcome {
    let mut outcome = Outcome::default();
    let mut node = node.clone();
    node.roles = roles.unwrap_or(node.roles);
    (node.state, node.since) = (State::Discovered, now);
    outcome.fact(node.id, "readmitted", "no longer rejected: approve it when it shows a code");
    outcome.changes.push(Change::Node(Box::new(node)));
    outcome
}

/// Refuses a name that another node has.
pub(crate) fn refuse_taken(fleet: &Fleet, node: &Node, name: &Name) -> Result<(), Denied> {
    if fleet.name_taken(name, node.id) {
        return Err(Denied::Conflict(format!("another node is called {name} already")));
    }
    Ok(())
}
