//! Answers to orders, on their way from a node's report to the person who waits: never stored, soon forgotten.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::{Answer, NodeId};
use tokio::sync::Notify;

/// How many answers of one node wait for somebody at most: no more orders are open at once.
const KEPT_EACH: usize = 16;
/// And of all. Beyond, those of the node with the most go first: nobody pushes out what is another's.
const KEPT: usize = 256;

/// Where answers wait.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<BTreeMap<NodeId, BTreeMap<u64, Answer>>>,
    came: Notify,
}

impl Answers {
    /// Puts a report's answers there.
    pub fn put(&self, node: NodeId, answers: Vec<Answer>) {
        let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let own = waiting.entry(node).or_default();
        own.extend(answers.into_iter().map(|answer| (answer.order, answer)));
        while own.len() > KEPT_EACH {
            own.pop_first();
        }
        while waiting.values().map(BTreeMap::len).sum::<usize>() > KEPT {
            if let Some(most) = waiting.values_mut().max_by_key(|own| own.len()) {
                most.pop_first();
            }
        }
        waiting.retain(|_, own| !own.is_empty());
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
                    waiting.get_mut(&node).and_then(|own| own.remove(&order))
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

#[cfg(test)]
mod tests {
    use super::{Answer, Answers, KEPT, KEPT_EACH, NodeId};
    use std::time::Duration;

    fn answer(order: u64) -> Answer {
        Answer { order, lines: Vec::new(), error: None }
    }

    #[tokio::test]
    async fn a_node_that_answers_without_end_pushes_nobody_elses_answer_out() {
        let answers = Answers::default();
        let (least, flood) = (NodeId([0; 16]), NodeId([255; 16]));
        answers.put(least, vec![answer(1)]);
        for order in 0..1000 {
            answers.put(flood, vec![answer(order)]);
        }
        let soon = Duration::from_millis(1);
        assert!(answers.take(flood, 999, soon).await.is_some());
        assert!(answers.take(flood, 999 - KEPT_EACH as u64, soon).await.is_none(), "its own go");
        for other in 1..=255 {
            answers.put(NodeId([other; 16]), (0..KEPT_EACH as u64).map(answer).collect());
        }
        let kept = answers.shared.waiting.lock().unwrap().values().map(|own| own.len()).sum::<usize>();
        assert_eq!(kept, KEPT);
        assert!(answers.take(least, 1, soon).await.is_some());
    }
}
