//! A server that runs a system of its own becomes a node with its disks as they are.
//!
//! ```text
//! invite → token, shown once ─ line on the server → hello with the token → Discovered ─approve→ Enrolling ─units up→ Active
//!                                                                            └─reject→ the agent there stops for good
//! ```
//! Nothing is planned and nothing is written: the system there is not ours, and no plan takes it for an image's. An invitation is good
//! for one server: the first key that comes with its token. What is kept of the token is its digest.

use std::collections::{BTreeMap, BTreeSet};

use pack::Digest;
use protocol::{Adoption, Hello, Key, NodeId, Nonce, Token};
use serde::{Deserialize, Serialize};

use crate::enroll::Checked;
use crate::entropy::Entropy;
use crate::event::Standing;
use crate::identity::{self, Match};
use crate::{Catalog, Change, Denied, Fleet, Name, Node, Outcome, Reply, State, Time, clock, enroll};

/// So many invitations may be open at once.
pub const MAX_OPEN: usize = 64;
/// An invitation is good for at most so long, in seconds: a token in a shell's history is nobody's way in a week later.
pub const LONGEST_SECONDS: u64 = 7 * 86_400;
/// And for at least so long: a person has to get to the server.
pub const SHORTEST_SECONDS: u64 = 60;
/// One that is over is kept for so long, to say of it what became of it.
const KEPT_SECONDS: u64 = 7 * 86_400;

/// Who is let in to ask, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// [`Token::digest`].
    pub token: Digest,
    /// What the node shall be called.
    pub name: Option<Name>,
    /// When it was made.
    pub made: Time,
    /// Until when somebody may come with it.
    pub until: Time,
    /// The key that came with it; nobody else may any more.
    pub used: Option<Used>,
    /// Set: it was taken back, or whoever came with it was sent away; why.
    pub over: Option<String>,
}

/// Who came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Its key.
    pub key: Key,
    /// As which node, or as a clash with which.
    pub node: NodeId,
}

/// All invitations, by their ids: the first eight digits of the token's digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Invitations(pub BTreeMap<String, Invitation>);

/// An invitation that was just made, with its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invited {
    /// Its id.
    pub id: String,
    /// The secret; kept nowhere.
    pub token: Token,
    /// Until when.
    pub until: Time,
}

/// A node that was adopted, as long as no image of ours is on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    /// When.
    pub at: Time,
    /// What it ran then, in its own words.
    pub system: String,
}

impl Invitation {
    /// In one word: `open`, `used`, `over`.
    pub fn word(&self, now: Time) -> &'static str {
        match (&self.over, self.used) {
            (Some(_), _) => "over",
            (None, Some(_)) => "used",
            (None, None) if self.until <= now => "over",
            (None, None) => "open",
        }
    }
}

impl Invitations {
    fn of(&self, token: Digest) -> Option<(&String, &Invitation)> {
        self.0.iter().find(|(_, row)| row.token == token)
    }

    /// The only one whose id begins so.
    ///
    /// # Errors
    /// [`Denied::Missing`], [`Denied::Conflict`].
    pub fn find(&self, text: &str) -> Result<&str, Denied> {
        let mut fits = self.0.keys().filter(|id| !text.is_empty() && id.starts_with(text));
        match (fits.next(), fits.next()) {
            (Some(one), None) => Ok(one),
            (Some(_), Some(_)) => {
                Err(Denied::Conflict(format!("{text:?} means several invitations: write more of the id")))
            }
            (None, _) => Err(Denied::Missing { kind: "invitation", name: text.to_owned() }),
        }
    }

    /// With one row put in, and without those that nobody has to hear of any more.
    fn with(&self, id: &str, row: Invitation, now: Time) -> Change {
        let mut rows = self.0.clone();
        rows.insert(id.to_owned(), row);
        rows.retain(|_, row| now < row.until.plus_seconds(KEPT_SECONDS));
        Change::Invitations(Box::new(Self(rows)))
    }
}

/// An operator wants a server to join.
pub(crate) fn invite(
    fleet: &Fleet,
    name: Option<Name>,
    seconds: u64,
    now: Time,
    dice: &mut Entropy,
) -> Result<Outcome, Denied> {
    // One that is made in a wrong year would be good for as long.
    clock::refuse(fleet)?;
    if !(SHORTEST_SECONDS..=LONGEST_SECONDS).contains(&seconds) {
        return Err(Denied::Conflict(format!(
            "an invitation is good for {SHORTEST_SECONDS} seconds to {} days, not for {seconds} seconds (--for 1h)",
            LONGEST_SECONDS / 86_400
        )));
    }
    if let Some(name) = name.as_ref().filter(|name| fleet.nodes.values().any(|node| node.name == **name)) {
        return Err(Denied::Conflict(format!("another node is called {name} already")));
    }
    let open = fleet.invitations.0.values().filter(|row| row.word(now) == "open").count();
    if open >= MAX_OPEN {
        return Err(Denied::Conflict(format!(
            "{MAX_OPEN} invitations are open already: take some back (rackwright node adopt --list, then --revoke ID)"
        )));
    }
    let token = Token(dice.draw());
    let digest = token.digest();
    let id = digest.to_string().chars().take(8).collect::<String>();
    let until = now.plus_seconds(seconds);
    let row = Invitation { token: digest, name, made: now, until, used: None, over: None };
    let changes = vec![fleet.invitations.with(&id, row, now)];
    Ok(Outcome {
        changes,
        reply: Reply::Invited(Box::new(Invited { id, token, until })),
        ..Outcome::default()
    })
}

/// An operator takes an invitation back. Who has come with it is a node, or waits as one: that is another verb's matter.
pub(crate) fn revoke(fleet: &Fleet, id: &str, now: Time) -> Result<Outcome, Denied> {
    let now = clock::judged(fleet, now);
    let id = fleet.invitations.find(id)?;
    let row = fleet
        .invitations
        .0
        .get(id)
        .ok_or_else(|| Denied::Missing { kind: "invitation", name: id.to_owned() })?;
    match row.word(now) {
        "open" => {}
        "used" => {
            let node = row.used.and_then(|used| fleet.nodes.get(&used.node));
            let name = node.map_or("a server".to_owned(), |node| node.name.to_string());
            return Err(Denied::Conflict(format!(
                "{name} has come with it already: it can only be kept out now (rackwright node reject {name})"
            )));
        }
        _ => return Err(Denied::Conflict(format!("invitation {id} is over already"))),
    }
    let row = Invitation { over: Some("it was taken back".to_owned()), ..row.clone() };
    Ok(Outcome { changes: vec![fleet.invitations.with(id, row, now)], ..Outcome::default() })
}

/// A system that is not ours says hello.
pub(crate) fn hello(
    fleet: &Fleet,
    (hello, checked): (&Hello, Checked),
    adoption: &Adoption,
    now: Time,
    dice: &mut Entropy,
) -> Result<Outcome, Denied> {
    let is_approved = |node: &&Node| node.deploy.is_some_and(|deploy| deploy.key == hello.key);
    if let Some(node) = fleet.nodes.values().find(is_approved) {
        return enroll::adopted(fleet, node, (hello, checked), now, dice);
    }
    let (id, row) = fleet
        .invitations
        .of(adoption.token.digest())
        .ok_or_else(|| no("it is not one of this controller's"))?;
    let used = row.used.filter(|used| used.key == hello.key);
    if let (Some(used), Some(why)) = (used, &row.over) {
        // It is told so, and stops.
        let (nonce, standing) = (Nonce(dice.draw()), Standing::Rejected(why.clone()));
        return Ok(Outcome {
            reply: Reply::Hello { node: used.node, nonce, standing, question: None },
            ..Outcome::default()
        });
    }
    match (row.used, &row.over) {
        (_, Some(why)) => return Err(no(why)),
        (Some(_), None) if used.is_none() => return Err(no("another server has come with it")),
        (None, None) if row.until <= clock::judged(fleet, now) => {
            return Err(no(&format!("it was good until {}", row.until)));
        }
        (Some(_) | None, None) => {}
    }
    let mut outcome = match identity::find(fleet, hello) {
        Match::Nobody => enroll::discover(fleet, hello, row.name.as_ref(), now, dice)?,
        // The claim of this very key: it repeats itself.
        Match::One(node) if is_own(node, hello.key) => {
            enroll::claimed(node, (hello, checked), None, now, dice)
        }
        Match::One(node) | Match::OtherBoard(node) | Match::Unsure(node) => {
            let why =
                format!("a running system asks to be adopted, and its hardware is that of {}", node.name);
            enroll::claimed(node, (hello, checked), Some(why), now, dice)
        }
        Match::Several(one, other) => {
            let why = format!(
                "a running system asks to be adopted, and its hardware is that of {} and of {}",
                one.name, other.name
            );
            enroll::claimed(one, (hello, checked), Some(why), now, dice)
        }
    };
    if let Reply::Hello { node, .. } = outcome.reply
        && used.is_none_or(|used| used.node != node)
    {
        let row = Invitation { used: Some(Used { key: hello.key, node }), ..row.clone() };
        outcome.changes.push(fleet.invitations.with(id, row, clock::judged(fleet, now)));
    }
    Ok(outcome)
}

/// Whether this node is the one that the key asks to become, and none that is known otherwise.
fn is_own(node: &Node, key: Key) -> bool {
    node.state == State::Discovered
        && node
            .claim
            .as_ref()
            .is_some_and(|claim| claim.key == key && claim.adoption.is_some() && claim.clash.is_none())
}

fn no(why: &str) -> Denied {
    Denied::Conflict(format!(
        "the token is not good for this server: {why}; make a new line on the controller (rackwright node adopt) and paste that"
    ))
}

/// Whoever came with this key is sent away, and hears so whenever it asks again.
pub(crate) fn turned_away(fleet: &Fleet, key: Key, why: &str, now: Time) -> Option<Change> {
    let mut rows = fleet.invitations.0.iter();
    let (id, row) = rows.find(|(_, row)| row.used.is_some_and(|used| used.key == key))?;
    let row = Invitation { over: Some(why.to_owned()), ..row.clone() };
    Some(fleet.invitations.with(id, row, clock::judged(fleet, now)))
}

/// Refuses roles whose data lies on a disk that only a plan can name: an adopted node has none.
pub(crate) fn refuse_data(catalog: &Catalog, node: &Node, roles: &BTreeSet<String>) -> Result<(), Denied> {
    if !catalog.wants(roles, "disk.data") {
        return Ok(());
    }
    Err(Denied::Conflict(format!(
        "{} keeps its disks as they are, and one of the roles {} keeps its data on a disk that a plan names: leave that role out, \
         or rebuild the node with it",
        node.name,
        roles.iter().cloned().collect::<Vec<_>>().join(", ")
    )))
}
