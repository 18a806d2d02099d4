//! A whole new server takes over who a node is: id, name, roles, wishes, and the identity files that are kept under its id.
//!
//! What the new server is, how it boots and whether it was let in stays what it is. The old one's certificates are void, and its
//! disks are not ours any more: when it comes back it is a stranger.

use protocol::NodeId;

use crate::hold::refuse_held;
use crate::imaging::ended_jobs;
use crate::patience::SILENT_SECONDS;
use crate::retire;
use crate::step::{refused, withdraw};
use crate::{Change, Denied, Fleet, Node, Outcome, State, Time};

/// Puts `new` in the place of `old`.
///
/// # Errors
/// [`Denied`]: one of them is not in a state for it, or the old one is alive, and nobody said that this is known.
pub(crate) fn replace(
    fleet: &Fleet,
    (old, new): (NodeId, NodeId),
    force: bool,
    now: Time,
) -> Result<Outcome, Denied> {
    let (old, new) = (fleet.node(old)?, fleet.node(new)?);
    if old.id == new.id {
        return Err(Denied::Conflict(format!("{} can't take its own place", old.name)));
    }
    [old, new].into_iter().try_for_each(refuse_held)?;
    has_identity(old)?;
    is_new(new)?;
    if retire::of_node(fleet, old).is_some() {
        return Err(refused(old, "replacing", "; its disks are being erased"));
    }
    let silent = now.seconds_since(old.heard);
    if silent < SILENT_SECONDS && !force {
        return Err(Denied::Conflict(format!(
            "{0} was heard {silent} s ago, and two servers can't be one node: switch it off and wait {SILENT_SECONDS} s, or, \
             when you know better: rackwright node replace {0} {1} --force",
            old.name, new.name
        )));
    }
    let mut outcome = Outcome::default();
    let why = format!("{} has taken its place", new.name);
    let kept = withdraw(fleet, old, &why, now, &mut outcome);
    let fresh = withdraw(fleet, new, &format!("it has taken the place of {}", old.name), now, &mut outcome);
    outcome.changes.extend(ended_jobs(fleet, old, &why, now));
    let gone = fleet.certificates.values().filter(|row| row.node == new.id);
    outcome.changes.extend(gone.map(|row| Change::ForgetCertificate(row.fingerprint.clone())));
    outcome.changes.push(Change::ForgetNode(new.id));
    // Whatever waited was meant for the other server.
    outcome.changes.extend(fleet.powers.get(&old.id).map(|power| Change::ForgetPower(power.node)));
    if fleet.powers.get(&old.id).is_some_and(|power| power.account.is_some()) {
        // It is the other server's. The password of the new one's is sealed for a node that is no more.
        let text = format!(
            "its management controller is another one now: rackwright node bmc set {} --help",
            old.name
        );
        outcome.fact(old.id, "bmc", text);
    }
    outcome.fact(
        old.id,
        "replaced",
        format!("{} at {} is {} from now on, instead of {}", new.name, new.boot.mac, old.name, old.boot.mac),
    );
    outcome.changes.push(Change::Node(Box::new(merged(kept, fresh, now))));
    Ok(outcome)
}

/// Who the old one is, and what the new one is.
fn merged(old: Node, new: Node, now: Time) -> Node {
    Node {
        state: new.state,
        since: now,
        heard: new.heard,
        inventory: new.inventory,
        boot: new.boot,
        booted: new.booted,
        claim: new.claim,
        deploy: new.deploy,
        moved_to: new.moved_to,
        tpm: new.tpm,
        run: None,
        // Whatever was issued to either of them is void.
        generation: old.generation.max(new.generation) + 1,
        installed: None,
        adopted: None,
        orders: Vec::new(),
        redeploy: None,
        redeploy_forced: false,
        report: None,
        reported: None,
        ..old
    }
}

fn has_identity(old: &Node) -> Result<(), Denied> {
    if old.is_let_in() && !matches!(old.state, State::Retiring { .. }) {
        return Ok(());
    }
    Err(refused(old, "replacing", "; only a node that was let in, and is not at its end"))
}

fn is_new(new: &Node) -> Result<(), Denied> {
    // One that asks to be adopted keeps what is on its disks, and has no other's identity put there.
    let is_claimed =
        new.claim.as_ref().is_some_and(|claim| claim.clash.is_some() || claim.adoption.is_some());
    let is_free = new.state.is_ready() || matches!(new.state, State::Discovered | State::Inspecting);
    if is_free && !new.has_system() && !is_claimed {
        return Ok(());
    }
    let hint = "; only a new server: discovered, or ready and never installed";
    Err(refused(new, "taking a node's place", hint))
}
