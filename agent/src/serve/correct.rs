//! Judges one unit that changed, and puts right what somebody else did to it.

use std::sync::Arc;
use std::time::Duration;

use protocol::{Drift, UnitWanted};
use tokio::time::{Instant, timeout};
use units::{Active, UnitError, UnitName, UnitState};

use super::guard::Post;
use super::hands::{Hand, Left};
use super::judge::{self, Verdict};
use super::node::Node;
use super::{settle, voice};
use crate::chain::Chain;

/// systemd refuses a start within this time or means to carry it out; then it is told, not after the start: that may
/// take minutes.
const NOTICE: Duration = Duration::from_millis(300);

/// Judges the unit as soon as nobody of us has it in hand, and puts it right.
pub(super) async fn put_right(post: Arc<Post>, unit: UnitName, wanted: UnitWanted) {
    if !post.queue().insert(unit.clone()) {
        return;
    }
    let mut hand = post.node.hands.take(&unit).await;
    // From here on a change is a reason to judge once more.
    post.queue().remove(&unit);
    let hands = &post.node.hands;
    if hands.is_sweeping() || hands.is_standing_down() {
        return;
    }
    let state = match post.node.systemd.state(&unit).await {
        Ok(state) => state,
        Err(error) => return voice::say(&Chain(&error).to_string()),
    };
    let verdict = judge::verdict(&wanted, &state, hand.left(&wanted));
    if verdict == Verdict::Fine {
        return;
    }
    match post.spend(&unit) {
        Ok(()) => correct(&post.node, &state, &wanted, verdict, &mut hand).await,
        Err(wait) => {
            hand.leave(Left::Alone(Instant::now() + wait), &wanted);
            let (wait, times) = (wait.as_secs(), judge::TIMES);
            let done = format!("left alone for {wait} s: put right {times} times within 10 minutes");
            tell(&post.node, &state, verdict, done);
        }
    }
    if let Left::Open | Left::Alone(_) = hand.left(&wanted) {
        hands.reopen();
    }
}

/// Does what the verdict calls for, and tells.
async fn correct(node: &Node, state: &UnitState, wanted: &UnitWanted, verdict: Verdict, hand: &mut Hand) {
    let (systemd, unit) = (&node.systemd, &state.name);
    let done = match verdict {
        Verdict::Fine => return,
        Verdict::BringBack => return bring_back(node, state, wanted, hand).await,
        Verdict::PutDown => systemd.stop(unit).await.map(|_| "stopped again"),
        Verdict::Enable(true) => systemd.enable(unit).await.map(|_| "enabled again"),
        Verdict::Enable(false) => systemd.disable(unit).await.map(|_| "disabled again"),
    };
    let done = done.map(str::to_owned).unwrap_or_else(|error| {
        hand.leave(Left::Open, wanted);
        format!("not put right yet: {}", Chain(&error))
    });
    tell(node, state, verdict, done);
}

async fn bring_back(node: &Node, state: &UnitState, wanted: &UnitWanted, hand: &mut Hand) {
    let mut start = std::pin::pin!(settle::start(node, state, None));
    let started = match timeout(NOTICE, &mut start).await {
        // The machine is going down: nobody is to blame, and nothing to be done.
        Ok(Err(error)) if is_shutdown(&error) => return,
        early => {
            tell(node, state, Verdict::BringBack, "starting it again".to_owned());
            match early {
                Ok(started) => started,
                Err(_) => start.await,
            }
        }
    };
    match started {
        Ok(change) => hand.leave(settle::settled(&change), wanted),
        Err(error) => {
            hand.leave(Left::Open, wanted);
            voice::say(&Chain(&error).to_string());
        }
    }
}

fn tell(node: &Node, state: &UnitState, verdict: Verdict, done: String) {
    let (what, found) = (state.name.to_string(), found(state, verdict));
    voice::say(&format!("{what}: {found}; {done}"));
    node.ledger.drift(Drift { what, found, done });
}

fn found(state: &UnitState, verdict: Verdict) -> String {
    match verdict {
        Verdict::Enable(_) => format!("found {}", state.file_state),
        Verdict::BringBack if state.active == Active::Failed => format!("found failed ({})", state.result),
        Verdict::Fine | Verdict::BringBack | Verdict::PutDown => {
            format!("found {} ({})", state.active, state.sub)
        }
    }
}

/// systemd takes no start any more that would stop what is under way, and only a shutdown can't be stopped.
fn is_shutdown(error: &UnitError) -> bool {
    matches!(error, UnitError::Refused { code, .. } if code.ends_with(".TransactionIsDestructive"))
}
