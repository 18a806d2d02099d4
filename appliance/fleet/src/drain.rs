//! What runs on a node and would be killed when it goes down.
//!
//! The node's last report says it here, before anything is begun; its agent asks libvirt once more before it restarts, because a machine
//! may have been started since. Where a service moves them to other nodes, that is tried first, and the agent has the only word.

use protocol::{Domain, Hypervisor};

use crate::plan::lives_on_disk;
use crate::{Denied, Node};

/// So many are called by name.
const NAMED: usize = 4;

/// Names of the virtual machines that ran when the node's installed system last reported; none where it does not run any more.
pub fn guests(node: &Node) -> Vec<String> {
    let names =
        |hypervisor: &Hypervisor| hypervisor.domains.iter().map(|domain| domain.name.clone()).collect();
    hypervisor(node).map(names).unwrap_or_default()
}

/// Refuses to take a node down with which virtual machines would go, or on which nobody knows whether there are any.
pub(crate) fn refuse_guests(node: &Node, force: bool) -> Result<(), Denied> {
    let Some(hypervisor) = hypervisor(node).filter(|_| !force) else { return Ok(()) };
    let name = &node.name;
    let error = hypervisor.error.as_ref().filter(|_| hypervisor.domains.is_empty());
    let why = match (error, in_words(&hypervisor.domains)) {
        (Some(error), _) => {
            format!("whether virtual machines run on {name} is not known: libvirt there says {error}")
        }
        (None, Some(guests)) => format!("{guests} on {name}, and would be killed"),
        (None, None) => return Ok(()),
    };
    Err(Denied::Conflict(format!(
        "{why}: move them away or shut them down, which is seen within half a minute; or add --force: then they are told to shut down, and \
         killed after a minute"
    )))
}

/// The same before its agent takes a node down, which asks its services first to give away what they have: then what runs here now is no
/// reason.
pub(crate) fn may_go_down(node: &Node, force: bool) -> Result<(), Denied> {
    if node.document.leaves && lives_on_disk(node) { Ok(()) } else { refuse_guests(node, force) }
}

/// What a node that is on its way down still has to give away, as of its last report: `web to move to another node`.
pub(crate) fn moving(node: &Node) -> Option<String> {
    let hypervisor = hypervisor(node).filter(|_| node.document.leaves)?;
    Some(match hypervisor.domains.as_slice() {
        [] => return None,
        [only] => format!("the virtual machine {} to move to another node", only.name),
        many => format!("{} virtual machines ({}) to move to other nodes", many.len(), named(many)),
    })
}

/// How many run and what they are called, cut short.
fn in_words(domains: &[Domain]) -> Option<String> {
    Some(match domains {
        [] => return None,
        [only] => format!("the virtual machine {} runs", only.name),
        many => format!("{} virtual machines ({}) run", many.len(), named(many)),
    })
}

fn named(domains: &[Domain]) -> String {
    let names = domains.iter().take(NAMED).map(|domain| domain.name.as_str()).collect::<Vec<_>>().join(", ");
    if domains.len() > NAMED { names + ", …" } else { names }
}

/// The word of the system that the node runs now, as far as is known.
fn hypervisor(node: &Node) -> Option<&Hypervisor> {
    let report = node.report.as_ref().filter(|_| lives_on_disk(node))?;
    report.facts.hypervisor.as_ref()
}
