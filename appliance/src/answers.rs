//! Answers to orders, on their way from a node's report to the person who waits: never stored, soon forgotten.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::{Answer, NodeId};
use tokio::sync::Notify;

/// How many answers wait for somebody at most.
const KEPT: usize = 256;

/// Where answers wait.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<BTreeMap<(NodeId, u64), Answer>>,
    came: Notify,
}

impl Answers {
    /// Puts a report's answers there.
    pub fn put(&self, node: NodeId, answers: Vec<Answer>) {
        let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for answer in answers {
            waiting.insert((node, answer.order), answer);
        }
        while waiting.len() > KEPT {
            waiting.pop_first();
        }
        drop(waiting);
        self.shared.came.notify_waiters();
    }

    /// The answer to an order, when it comes in time.
    pub async fn take(&self, node: NodeId, order: u64, patience: Duration) -> Option<Answer> {
        let wait = async {
            loop {
                let came = self.shared.came.notified();
                let found = {
                    let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                    waiting.remove(&(node, order))
                };
                if let Some(answer) = found {
                    return answer;
                }
                came.await;
            }
        };
        tokio::time::timeout(patience, wait).await.ok()
    }
}
