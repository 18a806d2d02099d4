//! Orders: done once, one after the other, answered.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Answer, Envelope, Order, OrderKind, Seed, StateAsk, StateReply, Ticket, routes};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use units::UnitName;

use super::drain::drain;
use super::folder::Identity;
use super::leave::{self, SystemDisk};
use super::ledger::last_bytes;
use super::node::Node;
use super::seed::{self, PartitionError};
use super::voice::{self, Nag};
use crate::chain::Chain;
use crate::controller::{CallError, Line};
use crate::keys::KeyPair;

const LINES_MOST: usize = 1000;
/// An answer must fit into a report.
const ANSWER_BYTES: usize = 200 << 10;
const DEADLINE: Duration = Duration::from_secs(30);
/// How long the last report before a restart may take.
const FAREWELL: Duration = Duration::from_secs(5);
/// A shutdown that has not ended us by now never will.
const SHUTDOWN: Duration = Duration::from_secs(180);
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(5);

/// Carries orders out for ever.
pub(super) async fn follow(node: Arc<Node>, mut orders: mpsc::Receiver<Order>) {
    while let Some(order) = orders.recv().await {
        let answer = match order.kind {
            OrderKind::Logs { unit, lines } => Some(answer(order.id, logs(&node, &unit, lines).await)),
            OrderKind::Restart { force } => {
                let gone = again(&node, order.id, force).await;
                gone.err().map(|why| answer(order.id, Err(why)))
            }
            OrderKind::Redeploy { force, keeps } => {
                let disk = if keeps { SystemDisk::Kept } else { SystemDisk::Rewritten };
                let gone = redeploy(&node, order.id, force, disk).await;
                if gone.is_err() {
                    leave::back(&node).await;
                }
                gone.err().map(|why| answer(order.id, Err(why)))
            }
        };
        finish(&node, order.id, answer).await;
    }
    // The asking side has ended, and with it the agent.
    std::future::pending::<()>().await;
}

/// Nothing that is worth keeping runs here when this returns, and the order still holds: giving work away takes hours, in which an operator
/// may have thought of something else.
async fn empty(node: &Node, order: u64, force: bool, disk: SystemDisk) -> Result<(), String> {
    if leave::all(node, force, disk).await? {
        still_wanted(node, order).await?;
    }
    drain(node.root(), force).await
}

async fn still_wanted(node: &Node, order: u64) -> Result<(), String> {
    let have = node.applied().generation;
    let ask = StateAsk { have, done_order: order.saturating_sub(1), ..StateAsk::default() };
    let mut line = Line::new(node.controller().borrow().clone());
    let mut nag = Nag::default();
    let trouble = |error: &CallError, _| nag.say(&format!("asking whether to go down: {}", Chain(error)));
    let told = line.insist::<_, Envelope<StateReply>>(routes::STATE, &ask, DEADLINE, trouble).await;
    let reply = node.open(told.map_err(|error| Chain(&error).to_string())?).await;
    let reply = reply.map_err(|error| error.to_string())?;
    let holds = reply.orders.iter().any(|open| open.id == order);
    if holds { Ok(()) } else { Err("it is not wanted any more".to_owned()) }
}

async fn finish(node: &Node, order: u64, answer: Option<Answer>) {
    node.note(|applied| applied.done_order = applied.done_order.max(order)).await;
    node.ledger.order_done(order, answer);
}

fn answer(order: u64, result: Result<Vec<String>, String>) -> Answer {
    match result {
        Ok(lines) => Answer { order, lines, error: None },
        Err(error) => Answer { order, lines: Vec::new(), error: Some(error) },
    }
}

async fn logs(node: &Node, unit: &str, lines: u32) -> Result<Vec<String>, String> {
    let unit = UnitName::parse(unit).map_err(|error| error.to_string())?;
    let lines = usize::try_from(lines).unwrap_or(LINES_MOST).min(LINES_MOST);
    let journal = node.systemd.journal(&unit, lines).await;
    journal.map(|lines| last_bytes(lines, ANSWER_BYTES)).map_err(|error| Chain(&error).to_string())
}

/// Restarts the machine into the system that it runs.
async fn again(node: &Node, order: u64, force: bool) -> Result<(), String> {
    voice::milestone("restart ordered");
    drain(node.root(), force).await?;
    finish(node, order, None).await;
    // A last word: else the order would be given again after the restart.
    let _ = timeout(FAREWELL, node.ledger.until_received(order)).await;
    restart(node).await
}

/// Leaves a ticket on the disk and then with the controller, then restarts the machine. In this order: a key that is
/// approved in advance and lost in a power cut would leave the ramdisk with nothing to say hello with.
async fn redeploy(node: &Node, order: u64, force: bool, disk: SystemDisk) -> Result<(), String> {
    voice::milestone("rebuild ordered: leaving a ticket and restarting");
    empty(node, order, force, disk).await?;
    // A disk of other making has no place for a ticket: the ramdisk shows a code once more.
    if node.identity.adopted {
        finish(node, order, None).await;
        let _ = timeout(FAREWELL, node.ledger.until_received(order)).await;
        return restart(node).await;
    }
    let (options, identity) = (node.options.clone(), node.identity.clone());
    let left = move || {
        let path = seed::find(&options).map_err(|error| Chain(&error).to_string())?;
        ticket(&path, &identity)
    };
    let key = tokio::task::spawn_blocking(left).await;
    let key = key.map_err(|error| error.to_string())??;
    let mut line = Line::new(node.controller().borrow().clone());
    let mut nag = Nag::default();
    let trouble = |error: &CallError, _| nag.say(&format!("handing in a ticket: {}", Chain(error)));
    let ticket = Ticket { key: key.public() };
    line.insist::<_, serde_json::Value>(routes::TICKET, &ticket, DEADLINE, trouble)
        .await
        .map_err(|error| Chain(&error).to_string())?;
    finish(node, order, None).await;
    // The controller sees the restart anyway; but a last word is better than none.
    let _ = timeout(FAREWELL, node.ledger.until_received(order)).await;
    restart(node).await
}

/// The key for the ramdisk to come, on the disk when this returns: the one that an earlier attempt at the same order
/// left, or a new one.
fn ticket(path: &Path, identity: &Identity) -> Result<KeyPair, String> {
    let told = |error: PartitionError| Chain(&error).to_string();
    // With a job in it, it is the ramdisk's own, of an image that was begun: that key is used up.
    let left = seed::read(path).ok().filter(|seed| !seed.complete && seed.job.is_none());
    let left = left.filter(|seed| (seed.node, seed.ca) == (identity.node, identity.ca));
    if let Some(key) = left.and_then(|seed| KeyPair::from_base64(&seed.key).ok()) {
        return Ok(key);
    }
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let seed = Seed {
        controller: identity.controller,
        ca: identity.ca,
        node: identity.node,
        name: identity.name.clone(),
        job: None,
        key: key.pkcs8_base64(),
        certificate: String::new(),
        complete: false,
    };
    seed::write(path, &seed).map_err(told)?;
    Ok(key)
}

async fn restart(node: &Node) -> Result<(), String> {
    node.hands.stand_down();
    voice::milestone("restarting");
    let mut why = "the machine does not go down".to_owned();
    for _ in 0..ATTEMPTS {
        match node.systemd.reboot().await {
            Err(error) if !error.is_uncertain() => {
                why = Chain(&error).to_string();
                sleep(PAUSE).await;
            }
            // Accepted, or perhaps: we are stopped with everything else, before this is over.
            Ok(()) | Err(_) => sleep(SHUTDOWN).await,
        }
        voice::say(&format!("restarting: {why}"));
    }
    node.hands.stand_up();
    Err(why)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use protocol::{CaPin, JobId, NodeId, SEED_BYTES, Seed};

    use super::super::folder::Identity;
    use super::{seed, ticket};

    fn identity() -> Identity {
        Identity {
            node: NodeId([1; 16]),
            name: "n1".into(),
            controller: "10.77.0.1:8443".parse().unwrap(),
            ca: CaPin([7; 32]),
            job: None,
            adopted: false,
            renew_ms: 0,
        }
    }

    fn changed(path: &Path, change: impl FnOnce(&mut Seed)) {
        let mut left = seed::read(path).unwrap();
        change(&mut left);
        seed::write(path, &left).unwrap();
    }

    #[test]
    fn an_order_that_comes_again_hands_in_the_key_that_is_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seed");
        std::fs::write(&path, vec![0; usize::try_from(SEED_BYTES).unwrap()]).unwrap();
        let key = |path| ticket(path, &identity()).unwrap().public();
        let first = key(&path);
        let left = seed::read(&path).unwrap();
        assert!(!left.complete && left.job.is_none() && left.certificate.is_empty());
        assert_eq!(agent_key(&left), first, "left before it is handed in");
        assert_eq!(key(&path), first, "after a power cut");
        // A key that was used, of whatever kind, or another's, is none for a ticket.
        let mut before = first;
        let uses: [fn(&mut Seed); 5] = [
            |seed| seed.complete = true,
            |seed| seed.job = Some(JobId([1; 8])),
            |seed| seed.node = NodeId([2; 16]),
            |seed| seed.ca = CaPin([8; 32]),
            |seed| seed.key = "bm8gbW9yZQ==".into(),
        ];
        for used in uses {
            changed(&path, used);
            let now = key(&path);
            assert_ne!(now, before);
            assert_eq!(agent_key(&seed::read(&path).unwrap()), now);
            before = now;
        }
    }

    fn agent_key(seed: &Seed) -> protocol::Key {
        crate::keys::KeyPair::from_base64(&seed.key).unwrap().public()
    }
}
