//! Stage *deploy*: what a test of the node's hardware finds, and bytes to measure its network with.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fleet::certificate::Authed;
use fleet::job::Work;
use fleet::{Event, Reply};
use protocol::{Envelope, NodeId, Part, ProgressReply, TestReport};

use super::{AgentRefusal, Agents};

/// What one request for test data is answered with: long enough that asking is little of the time.
const DATA_BYTES: usize = 8 << 20;
/// Whoever has its turn and says nothing for so long has lost it.
const TURN: Duration = Duration::from_secs(5);

/// Not all zeros, because links and cards exist that send those faster.
static DATA: LazyLock<Bytes> = LazyLock::new(|| {
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word.to_le_bytes()
    });
    words.take(DATA_BYTES / 8).flatten().collect()
});

/// Whose network is measured: one node's at a time, so that each has the controller's cable for itself.
#[derive(Debug, Default)]
pub(super) struct Turn(Mutex<Option<(NodeId, Instant)>>);

impl Turn {
    /// Whether it is this node's turn, from now on if nobody has it.
    fn is_of(&self, node: NodeId, now: Instant) -> bool {
        let mut turn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_free = turn.is_none_or(|(other, last)| other == node || now.duration_since(last) > TURN);
        if is_free {
            *turn = Some((node, now));
        }
        is_free
    }
}

impl Agents {
    pub(super) async fn tested(
        &self,
        who: Authed,
        report: TestReport,
    ) -> Result<Envelope<ProgressReply>, AgentRefusal> {
        report.check()?;
        let event = Event::Tested { node: who.node, report: Box::new(report) };
        let go_on = self.core.bring(event).await?.reply == Reply::GoOn(true);
        Ok(self.envelope(&who, ProgressReply { go_on }))
    }

    /// Bytes for a node whose network is tested now.
    pub(super) fn test_data(&self, who: &Authed, path: &str) -> Result<Bytes, AgentRefusal> {
        let world = self.core.world();
        let job = world.fleet.nodes.get(&who.node).and_then(|node| node.state.job());
        let work = job.and_then(|job| Work::of(&world.fleet, job));
        let is_tested = matches!(work, Some(Work::BurnIn(row)) if row.goes_on() && row.wish.parts.contains(&Part::Network));
        if !is_tested {
            return Err(AgentRefusal::NoRoute(path.to_owned()));
        }
        if !self.measured.is_of(who.node, Instant::now()) {
            return Err(AgentRefusal::NotYet("the network of another node is measured: wait for your turn"));
        }
        Ok(DATA.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::{DATA, DATA_BYTES, TURN, Turn};
    use protocol::NodeId;
    use std::time::{Duration, Instant};

    #[test]
    fn one_after_the_other_and_nobody_for_ever() {
        let (turn, one, other) = (Turn::default(), NodeId([1; 16]), NodeId([2; 16]));
        let now = Instant::now();
        assert!(turn.is_of(one, now) && turn.is_of(one, now + TURN));
        assert!(!turn.is_of(other, now + TURN + Duration::from_secs(1)));
        assert!(turn.is_of(other, now + 3 * TURN) && !turn.is_of(one, now + 3 * TURN));
        assert_eq!(DATA.len(), DATA_BYTES);
    }
}
