//! Orders: done once, one after the other, answered.

use std::sync::Arc;
use std::time::Duration;

use protocol::{Answer, Order, OrderKind, Seed, Ticket, routes};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use units::UnitName;

use super::ledger::last_bytes;
use super::node::Node;
use super::seed;
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
            OrderKind::Redeploy => match redeploy(&node, order.id).await {
                Ok(()) => None,
                Err(why) => Some(answer(order.id, Err(why))),
            },
        };
        finish(&node, order.id, answer).await;
    }
    // The asking side has ended, and with it the agent.
    std::future::pending::<()>().await;
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

/// Leaves a ticket on the disk and with the controller, then restarts the machine.
async fn redeploy(node: &Node, order: u64) -> Result<(), String> {
    voice::milestone("rebuild ordered: leaving a ticket and restarting");
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let mut line = Line::new(node.controller().borrow().clone());
    let mut nag = Nag::default();
    let trouble = |error: &CallError, _| nag.say(&format!("handing in a ticket: {}", Chain(error)));
    let ticket = Ticket { key: key.public() };
    line.insist::<_, serde_json::Value>(routes::TICKET, &ticket, DEADLINE, trouble)
        .await
        .map_err(|error| Chain(&error).to_string())?;
    let seed = Seed {
        controller: node.identity.controller,
        ca: node.identity.ca,
        node: node.identity.node,
        name: node.identity.name.clone(),
        job: None,
        key: key.pkcs8_base64(),
        certificate: String::new(),
        complete: false,
    };
    let path = node.options.seed.clone();
    let written = tokio::task::spawn_blocking(move || seed::write(&path, &seed)).await;
    written.unwrap_or(Ok(())).map_err(|error| Chain(&error).to_string())?;
    finish(node, order, None).await;
    // The controller sees the restart anyway; but a last word is better than none.
    let _ = timeout(FAREWELL, node.ledger.until_received(order)).await;
    restart(node).await
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
