//! Before this machine goes down, its services give their work to other nodes; where it stays after all, they take part again.

use std::time::Duration;

use protocol::ServiceWanted;
use tokio::time::sleep;
use units::{Task, TaskName, UnitError};

use super::node::Node;
use super::voice;
use crate::chain::Chain;
use crate::text;

/// Taking part again is one call.
const BACK: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_secs(2);
/// Bytes of what a service says.
const LONGEST: usize = 1200;

/// What becomes of the system disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SystemDisk {
    /// It is as it was when the machine is back.
    Kept,
    /// It is written anew.
    Rewritten,
}

/// The services of the document that have something to give away, last started first, have given it away when this returns; with `force`
/// whatever came of that.
///
/// Whether there was any.
///
/// # Errors
/// What the first one says that could not; never with `force`.
pub(super) async fn all(node: &Node, force: bool, disk: SystemDisk) -> Result<bool, String> {
    let how = match disk {
        SystemDisk::Kept => "restart",
        SystemDisk::Rewritten => "rewrite",
    };
    let more = ["--force"].into_iter().filter(|_| force);
    let more = [how].into_iter().chain(more).map(str::to_owned).collect::<Vec<_>>();
    let services = leaving(node);
    for service in &services {
        let Some(leave) = &service.leave else { continue };
        voice::milestone(&format!("{} gives its work to other nodes", service.name));
        let argv = leave.argv.iter().chain(&more).cloned().collect();
        let left = run(node, service, argv, Duration::from_secs(u64::from(leave.timeout_seconds))).await;
        match left {
            Err(why) if force => voice::milestone(&format!("going down all the same: {why}")),
            left => left?,
        }
    }
    Ok(!services.is_empty())
}

/// The machine stays: who gave its work away takes part again. What goes wrong is said, and no more.
pub(super) async fn back(node: &Node) {
    for service in leaving(node) {
        let Some(leave) = &service.leave else { continue };
        if let Err(why) = run(node, &service, leave.back.clone(), BACK).await {
            voice::milestone(&format!("it takes no part any more: {why}"));
        }
    }
}

fn leaving(node: &Node) -> Vec<ServiceWanted> {
    let document = node.held();
    let services = document.iter().flat_map(|document| document.services.iter().rev());
    services.filter(|service| service.leave.is_some()).cloned().collect()
}

/// Runs this for the service; what it wrote last says why it did not end well.
async fn run(
    node: &Node,
    service: &ServiceWanted,
    argv: Vec<String>,
    timeout: Duration,
) -> Result<(), String> {
    let name = &service.name;
    let task = TaskName::parse(&format!("leave-{name}")).map_err(|error| error.to_string())?;
    // What an earlier life of the agent began goes on, and is then done once more: it finds less to do.
    while let Err(UnitError::TaskRunning { .. }) = node.systemd.outcome(&task).await {
        sleep(LOOK).await;
    }
    match node.systemd.run(&Task::new(task, argv, timeout)).await {
        Ok(outcome) if outcome.success() => Ok(()),
        Ok(outcome) if outcome.result == "timeout" => {
            Err(format!("{name}: it took longer than {} s", timeout.as_secs()))
        }
        Ok(outcome) => {
            let last = outcome.log.last().cloned().unwrap_or_else(|| format!("{:?}", outcome.exit));
            Err(format!("{name}: {}", text::clean(&last, LONGEST)))
        }
        Err(error) => Err(format!("{name}: {}", Chain(&error))),
    }
}
