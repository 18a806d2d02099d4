//! Who waits for a certificate while none is issued.

use super::problem;
use crate::certificate::Stage;
use crate::{Fleet, Node, State};

/// What a node waits for that would have a certificate by now.
pub(crate) fn keeps_waiting(fleet: &Fleet, node: &Node) -> Option<String> {
    let problem = problem(fleet)?;
    let is_due = match &node.state {
        State::Inspecting => !has_one(fleet, node),
        State::Booting { .. } | State::Returning { .. } => true,
        State::Enrolling { .. } | State::Active | State::Draining { .. } => is_renewal_due(fleet, node),
        // A person is waited for, or whoever works has one already.
        State::Discovered
        | State::Rejected { .. }
        | State::Testing { .. }
        | State::Ready
        | State::Planned { .. }
        | State::Imaging { .. }
        | State::Verifying { .. }
        | State::Capturing { .. }
        | State::Retiring { .. }
        | State::Retired
        | State::Rescue { .. }
        | State::Servicing { .. }
        | State::Attention { .. } => false,
    };
    is_due.then(|| format!("its certificate: {problem}"))
}

/// Whether its ramdisk has the certificate that it asks for work with.
fn has_one(fleet: &Fleet, node: &Node) -> bool {
    let own = (node.id, Stage::Deploy, node.generation, node.deploy.map(|deploy| deploy.key));
    fleet.certificates.values().any(|row| (row.node, row.stage, row.generation, Some(row.key)) == own)
}

/// Whether an installed system asks for its next certificate by now.
fn is_renewal_due(fleet: &Fleet, node: &Node) -> bool {
    let own = fleet.certificates.values().filter(|row| row.node == node.id && node.run == Some(row.key));
    let until = own.map(|row| row.until).max();
    let now = fleet.clock.as_ref().map(|doubt| doubt.believed);
    until.zip(now).is_some_and(|(until, now)| until < now.plus_seconds(Stage::Run.seconds() / 2))
}
