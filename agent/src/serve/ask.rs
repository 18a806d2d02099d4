//! Asks the controller what this node shall be, all the time: a question is answered as soon as there is news.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{Envelope, Order, StateAsk, StateReply, routes};
use tokio::sync::{mpsc, watch};

use super::node::{Node, Wanted};
use super::voice::{self, Nag};
use crate::chain::Chain;
use crate::controller::Line;

/// How long the controller may hold an answer back, in seconds.
const HOLD_SECONDS: u32 = 30;
/// Beyond that, for the way and a busy controller.
const GRACE: Duration = Duration::from_secs(15);
/// A controller that answers at once is not asked more often than this.
const PACE: Duration = Duration::from_millis(500);
/// After a command that is not for us.
const REFUSED: Duration = Duration::from_secs(5);

/// Asks for ever. Documents are kept on the disk before they are given on; every order is given on once.
pub(super) async fn follow(node: Arc<Node>, documents: watch::Sender<Wanted>, orders: mpsc::Sender<Order>) {
    let mut controller = node.controller();
    let mut line = Line::new(controller.borrow_and_update().clone());
    let mut nag = Nag::default();
    let mut taken = node.applied().done_order;
    // The first question is for the whole document: what is on the disk may be of another controller.
    let mut have = 0;
    let mut told = None;
    loop {
        if controller.has_changed().unwrap_or(false) {
            line = Line::new(controller.borrow_and_update().clone());
        }
        let begun = Instant::now();
        let checks = node.summons.is_attending();
        let ask = StateAsk { have, done_order: taken, wait_seconds: HOLD_SECONDS, checks, told };
        let deadline = Duration::from_secs(u64::from(HOLD_SECONDS)) + GRACE;
        match line.call::<_, Envelope<StateReply>>(routes::STATE, &ask, deadline).await {
            Ok(envelope) => match node.open(envelope).await {
                Ok(reply) => {
                    nag.settle("the controller is there again");
                    if reply.ca.is_some() {
                        node.stale.notify_one();
                    }
                    told = reply.ca;
                    if reply.check {
                        node.summons.come();
                    }
                    have = take(&node, &documents, reply.document, have).await;
                    taken = hand_on(&orders, reply.orders, taken).await;
                }
                Err(error) => {
                    nag.say(&error.to_string());
                    tokio::time::sleep(REFUSED).await;
                }
            },
            Err(error) => {
                if error.wants_renewal() {
                    node.stale.notify_one();
                }
                nag.say(&format!("asking what to be: {}", Chain(&error)));
                tokio::time::sleep(line.pause()).await;
            }
        }
        tokio::time::sleep(PACE.saturating_sub(begun.elapsed())).await;
    }
}

/// The generation that we have then.
async fn take(
    node: &Node,
    documents: &watch::Sender<Wanted>,
    document: Option<protocol::StateDocument>,
    have: u64,
) -> u64 {
    let Some(document) = document else { return have };
    let generation = document.generation;
    if documents.borrow().as_deref() == Some(&document) {
        return generation;
    }
    let document = Arc::new(document);
    let (folder, copy) = (node.folder.clone(), Arc::clone(&document));
    let kept = tokio::task::spawn_blocking(move || folder.keep_document(&copy)).await;
    if let Ok(Err(error)) = kept {
        voice::say(&Chain(&error).to_string());
    }
    documents.send_replace(Some(document));
    generation
}

async fn hand_on(orders: &mpsc::Sender<Order>, new: Vec<Order>, mut taken: u64) -> u64 {
    for order in new {
        if order.id > taken {
            taken = order.id;
            // Fails only when the agent is ending.
            let _ = orders.send(order).await;
        }
    }
    taken
}
