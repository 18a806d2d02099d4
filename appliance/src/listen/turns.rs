//! Answers that must stay below a cap together: each waits for its turn before it sends the next block.
//!
//! Who is next is decided by [`cast::Shares`]; here are only the clock and who has to be woken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use cast::{Micros, Shares};
use protocol::NodeId;

/// All answers that share one cap, evenly by node.
#[derive(Debug)]
pub struct Turns {
    begun: Instant,
    requests: AtomicU64,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    shares: Shares<NodeId>,
    /// Those who wait, by request.
    waiting: BTreeMap<u64, Waker>,
    /// Those whose turn it is, and who have not noticed yet.
    called: BTreeSet<u64>,
    /// Whether somebody calls those whose time has come.
    has_caller: bool,
}

impl Turns {
    /// Without a cap.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { begun: Instant::now(), requests: AtomicU64::new(0), queue: Mutex::default() })
    }

    /// From now on at most so many bytes a second together; none: as many as anybody wants.
    pub fn limit(&self, rate: Option<u64>) {
        let mut queue = self.lock();
        queue.shares.limit(rate, self.now());
        queue.call(self.now());
    }

    /// Bytes that were sent while there was a cap.
    pub fn given(&self) -> u64 {
        self.lock().shares.given()
    }

    /// For one answer to this node.
    pub fn of(self: &Arc<Self>, node: NodeId) -> Turn {
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        Turn { turns: Arc::clone(self), node, request, asked: None, counter: None }
    }

    fn now(&self) -> Micros {
        Micros(u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Whole whenever the lock is free.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls those whose time has come, until nobody waits.
    async fn run(self: Arc<Self>) {
        loop {
            let wait = {
                let (mut queue, now) = (self.lock(), self.now());
                queue.call(now);
                let wake = queue.shares.wake(now);
                queue.has_caller = wake.is_some();
                wake.map(|wake| wake.since(now))
            };
            let Some(wait) = wait else { return };
            tokio::time::sleep(Duration::from_micros(wait.0)).await;
        }
    }
}

impl Queue {
    fn call(&mut self, now: Micros) {
        while let Some((_, request)) = self.shares.poll(now) {
            self.called.insert(request);
            if let Some(waker) = self.waiting.remove(&request) {
                waker.wake();
            }
        }
    }

    fn leave(&mut self, node: NodeId, request: u64) {
        self.shares.forget(node, request);
        self.waiting.remove(&request);
        self.called.remove(&request);
    }
}

/// One answer's place among the others.
#[derive(Debug)]
pub struct Turn {
    turns: Arc<Turns>,
    node: NodeId,
    request: u64,
    /// Bytes that it waits for.
    asked: Option<usize>,
    /// Adds up what was given.
    counter: Option<Arc<AtomicU64>>,
}

impl Turn {
    /// What is given is counted there.
    #[must_use]
    pub fn counted(mut self, counter: Arc<AtomicU64>) -> Self {
        self.counter = Some(counter);
        self
    }

    /// How many of the `wanted` bytes may be sent now; at least one if any are wanted.
    pub(crate) fn poll(&mut self, wanted: usize, context: &mut Context<'_>) -> Poll<usize> {
        let given = self.wait(wanted, context);
        if let (Poll::Ready(bytes), Some(counter)) = (&given, &self.counter) {
            counter.fetch_add(u64::try_from(*bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        given
    }

    fn wait(&mut self, wanted: usize, context: &mut Context<'_>) -> Poll<usize> {
        let mut queue = self.turns.lock();
        let Some(most) = queue.shares.most() else {
            // The cap was lifted: whatever it waited for, it need not.
            if self.asked.take().is_some() {
                queue.leave(self.node, self.request);
            }
            return Poll::Ready(wanted);
        };
        let now = self.turns.now();
        let bytes = *self.asked.get_or_insert_with(|| {
            let bytes = wanted.min(usize::try_from(most).unwrap_or(usize::MAX));
            queue.shares.ask(self.node, self.request, u64::try_from(bytes).unwrap_or(u64::MAX), now);
            bytes
        });
        queue.call(now);
        if queue.called.remove(&self.request) {
            self.asked = None;
            return Poll::Ready(bytes);
        }
        queue.waiting.insert(self.request, context.waker().clone());
        if !std::mem::replace(&mut queue.has_caller, true) {
            tokio::spawn(Arc::clone(&self.turns).run());
        }
        Poll::Pending
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.asked.is_some() {
            self.turns.lock().leave(self.node, self.request);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use protocol::NodeId;

    use super::{Turn, Turns};

    const ME: NodeId = NodeId([1; 16]);

    async fn next(turn: &mut Turn) -> usize {
        poll_fn(|context| turn.poll(1 << 20, context)).await
    }

    #[tokio::test]
    async fn without_a_cap_all_goes_at_once() {
        let turns = Turns::new();
        assert_eq!(next(&mut turns.of(ME)).await, 1 << 20);
        assert_eq!(turns.given(), 0);
    }

    #[tokio::test]
    async fn who_has_gone_is_waited_for_by_nobody() {
        let turns = Turns::new();
        turns.limit(Some(1_000_000));
        let (mut gone, mut here) = (turns.of(ME), turns.of(NodeId([2; 16])));
        for _ in 0..3 {
            drop(tokio::time::timeout(Duration::from_millis(1), next(&mut gone)).await);
        }
        drop(gone);
        assert_eq!(next(&mut here).await, 10_000);
        assert!(turns.lock().waiting.is_empty() && turns.lock().called.is_empty());
    }

    #[tokio::test]
    async fn a_cap_that_is_lifted_lets_those_go_who_wait() {
        let turns = Turns::new();
        // One block is lent; the next one takes minutes.
        turns.limit(Some(1));
        let mut turn = turns.of(ME);
        assert_eq!(next(&mut turn).await, 512);
        let waits = tokio::spawn(async move { next(&mut turn).await });
        while turns.lock().waiting.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        turns.limit(None);
        assert_eq!(waits.await.unwrap(), 1 << 20);
    }
}
