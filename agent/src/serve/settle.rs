//! Brings one unit where it shall be, with our hand on it meanwhile.

use std::sync::Arc;

use protocol::UnitWanted;
use tokio::sync::oneshot;
use tokio::time::Instant;
use units::{Change, UnitError, UnitName, UnitState};

use super::hands::{Hand, Left};
use super::judge::{self, Act};
use super::node::Node;
use super::voice;
use crate::chain::Chain;

/// What a unit said that did not come up, in a report.
const LOG_LINES: usize = 20;

/// Told as soon as systemd has taken on what a unit is brought there by; dropped where there is nothing to wait for.
pub(super) type Begun = Option<oneshot::Sender<()>>;

/// How a start went.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) wanted: UnitWanted,
    /// A restart was due.
    pub(super) again: bool,
    pub(super) up: bool,
}

/// Starts one unit, or restarts it where that is due.
pub(super) async fn begin(node: Arc<Node>, wanted: UnitWanted, begun: oneshot::Sender<()>) -> Started {
    let applied = node.applied();
    let counted = applied.restarts.get(&wanted.name).is_some_and(|&obeyed| wanted.restarts > obeyed);
    let again = counted || applied.pending.contains(&wanted.name);
    let up = settle(&node, &wanted, again, Some(begun)).await;
    Started { wanted, again, up }
}

/// Brings it there. `false` when that failed; the ledger says why. Dropped on its way, it leaves the unit open, and
/// what systemd has taken on goes on.
pub(super) async fn settle(node: &Node, wanted: &UnitWanted, again: bool, begun: Begun) -> bool {
    let unit = match UnitName::parse(&wanted.name) {
        Ok(unit) => unit,
        Err(error) => {
            voice::say(&error.to_string());
            node.ledger.unknown(&wanted.name, error.to_string());
            return false;
        }
    };
    let Err(why) = bring(node, &unit, wanted, again, begun).await else {
        node.ledger.complaint(&wanted.name, None);
        return true;
    };
    voice::say(&why);
    // A unit that ended without a failure (a condition, a program that gives up with status 0) has its reasons too.
    let mut lines = node.systemd.journal(&unit, LOG_LINES).await.unwrap_or_default();
    lines.push(why);
    node.ledger.complaint(&wanted.name, Some(lines));
    false
}

async fn bring(
    node: &Node,
    unit: &UnitName,
    wanted: &UnitWanted,
    again: bool,
    begun: Begun,
) -> Result<(), String> {
    let told = |error: UnitError| Chain(&error).to_string();
    let (mut hand, begun) = take(node, unit, begun).await;
    let state = node.systemd.state(unit).await.map_err(told)?;
    // A report must not call the document true and say nothing of a unit in it, should the guard be slow.
    node.ledger.unit_unless_known(&state);
    if let Some(why) = absent(unit, wanted, &state) {
        return Err(why);
    }
    let left = hand.left(wanted);
    // What was settled before and is not so any more is the guard's matter.
    let open = matches!(left, Left::Open | Left::Alone(_));
    match judge::enablement(wanted, &state).filter(|_| open) {
        Some(true) => drop(node.systemd.enable(unit).await.map_err(told)?),
        Some(false) => drop(node.systemd.disable(unit).await.map_err(told)?),
        None => {}
    }
    let act = judge::act(wanted, &state, left, again);
    if let (Act::Start, Left::Alone(until), false) = (act, left, again)
        && until > Instant::now()
    {
        return Err(format!("{unit} came down too often and is left alone for a while"));
    }
    hand.leave(Left::Open, wanted);
    let left = match act {
        Act::Leave => judge::left_alone(wanted, &state, left),
        Act::Start => settled(&start(node, &state, begun).await.map_err(told)?),
        Act::Restart => {
            let _sweep = node.hands.sweep();
            settled(&node.systemd.restart_then(unit, || tell(begun)).await.map_err(told)?)
        }
        Act::Stop => {
            let _sweep = node.hands.sweep();
            drop(node.systemd.stop(unit).await.map_err(told)?);
            Left::Down
        }
    };
    hand.leave(left, wanted);
    Ok(())
}

/// What there is to do about a unit that is not here at all, where its packages are known.
fn absent(unit: &UnitName, wanted: &UnitWanted, state: &UnitState) -> Option<String> {
    let missing = wanted.running && state.load == "not-found" && !wanted.packages.is_empty();
    missing
        .then(|| format!("{unit} is not installed on this server: apt install {}", wanted.packages.join(" ")))
}

fn tell(begun: Begun) {
    if let Some(begun) = begun {
        // A newer document has come: nobody waits any more.
        let _over = begun.send(());
    }
}

/// The unit in our hand. The guard that has it is starting it already, and that may take minutes: nobody waits for
/// the start to begin then.
async fn take(node: &Node, unit: &UnitName, begun: Begun) -> (Hand, Begun) {
    match node.hands.take_free(unit) {
        Some(hand) => (hand, begun),
        None => {
            drop(begun);
            (node.hands.take(unit).await, None)
        }
    }
}

/// Starts a unit, whatever it failed with before and however often systemd has started it: how often is enough is
/// decided here.
pub(super) async fn start(
    node: &Node,
    state: &UnitState,
    begun: Begun,
) -> Result<Change<UnitState>, UnitError> {
    // When it can't be cleared, the start says why.
    let _ = node.systemd.reset_failed(&state.name).await;
    node.systemd.start_then(&state.name, || tell(begun)).await
}

/// What a unit was left as by a start that succeeded.
pub(super) fn settled(change: &Change<UnitState>) -> Left {
    if change.get().active.is_up() { Left::Up } else { Left::Ended }
}
