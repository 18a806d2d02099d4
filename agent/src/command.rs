//! What makes a command one for us: this node, and a reign that is not over.

use protocol::{Envelope, Epoch, NodeId};

/// Why a command is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// From a controller that was replaced.
    #[error("refusing a command of epoch {}: a controller of epoch {} has spoken since", .got.0, .seen.0)]
    OldEpoch {
        /// The command's.
        got: Epoch,
        /// The highest seen.
        seen: Epoch,
    },
    /// For somebody else.
    #[error("refusing a command for node {}: this is {}", .got.short(), .ours.short())]
    OtherNode {
        /// Whom it is for.
        got: NodeId,
        /// Who this is.
        ours: NodeId,
    },
}

/// The highest epoch that was seen. It only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reign {
    highest: Epoch,
}

impl Reign {
    /// A reign that is known from before.
    pub fn of(highest: Epoch) -> Self {
        Self { highest }
    }

    /// The highest epoch so far.
    pub fn highest(&self) -> Epoch {
        self.highest
    }

    /// Notes an epoch.
    ///
    /// # Errors
    /// [`CommandError::OldEpoch`] for one that is over.
    pub fn accept(&mut self, got: Epoch) -> Result<(), CommandError> {
        if got < self.highest {
            return Err(CommandError::OldEpoch { got, seen: self.highest });
        }
        self.highest = got;
        Ok(())
    }

    /// Takes a command out of its envelope.
    ///
    /// # Errors
    /// [`CommandError`]. The epoch of an envelope for another node counts for nothing.
    pub fn open<T>(&mut self, ours: NodeId, envelope: Envelope<T>) -> Result<T, CommandError> {
        if envelope.node != ours {
            return Err(CommandError::OtherNode { got: envelope.node, ours });
        }
        self.accept(envelope.epoch)?;
        Ok(envelope.body)
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Envelope, Epoch, NodeId};

    use super::{CommandError, Reign};

    fn envelope(node: u8, epoch: u64) -> Envelope<&'static str> {
        Envelope { node: NodeId([node; 16]), generation: 1, epoch: Epoch(epoch), job: None, body: "go" }
    }

    #[test]
    fn only_ours_and_only_of_this_reign() {
        let (mut reign, ours) = (Reign::default(), NodeId([1; 16]));
        assert_eq!(reign.open(ours, envelope(1, 3)), Ok("go"));
        assert_eq!(reign.open(ours, envelope(1, 3)), Ok("go"), "a repeat is not an error");
        assert!(matches!(reign.open(ours, envelope(1, 2)), Err(CommandError::OldEpoch { .. })));
        assert!(matches!(reign.open(ours, envelope(2, 9)), Err(CommandError::OtherNode { .. })));
        assert_eq!(reign.open(ours, envelope(1, 3)), Ok("go"), "another node's epoch counts for nothing");
        assert_eq!(reign.highest(), Epoch(3));
    }
}
