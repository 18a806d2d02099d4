//! Asking for work and doing it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use protocol::{Envelope, Task, TaskAsk, routes};

use crate::chain::Chain;
use crate::controller::Line;
use crate::deploy::Server;
use crate::deploy::burn_in;
use crate::deploy::bystander::Bystander;
use crate::deploy::capture;
use crate::deploy::erase;
use crate::deploy::hello::{Admitted, GRACE, HOLD_SECONDS};
use crate::deploy::imaging;
use crate::deploy::rescue;
use crate::inventory;
use crate::keys::KeyPair;

/// A controller that answers at once is not asked more often than this.
const PACE: Duration = Duration::from_secs(1);

/// What comes after the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The controller said so.
    Reboot,
    /// Our certificate may be too old, the controller may be another: say hello again.
    HelloAgain,
}

/// Carries tasks out until one of them ends this.
pub(super) async fn follow(server: &mut Server, admitted: &Admitted, key: &KeyPair) -> Turn {
    let mut line = Line::new(admitted.controller.clone());
    let mut bystander = None;
    loop {
        let begun = Instant::now();
        // One that has gone blind is replaced.
        bystander =
            bystander.filter(|one: &Bystander| one.reach().is_some()).or_else(|| wait_among_others(server));
        let Some(mut task) = ask(server, admitted, &mut line, bystander.as_ref()).await else {
            return Turn::HelloAgain;
        };
        if !matches!(task, Task::Wait { .. }) {
            bystander = None;
        }
        loop {
            let next = match task {
                Task::Image(job) => imaging::run(server, admitted, key, &job).await,
                Task::Capture(job) => capture::run(server, admitted, &job).await,
                Task::Erase(job) => erase::run(server, admitted, key, &job).await,
                Task::Rescue(job) => rescue::run(server, admitted, key, &job).await,
                Task::Test(job) => burn_in::run(server, admitted, &job).await,
                Task::Reboot => return Turn::Reboot,
                Task::Wait { reason } => {
                    server.screen.state("waiting", &reason);
                    break;
                }
            };
            let Some(next) = next else {
                // The controller may need a moment to see what happened.
                tokio::time::sleep(PACE).await;
                return Turn::HelloAgain;
            };
            task = next;
        }
        tokio::time::sleep(PACE.saturating_sub(begun.elapsed())).await;
    }
}

/// Looks what comes to this node that is for others. Where that can't be seen it waits as well.
fn wait_among_others(server: &Server) -> Option<Bystander> {
    let IpAddr::V4(controller) = server.told.controller.ip() else { return None };
    Bystander::begin(server.told.address.address, controller).ok()
}

async fn ask(
    server: &mut Server,
    admitted: &Admitted,
    line: &mut Line,
    bystander: Option<&Bystander>,
) -> Option<Task> {
    let root = server.root.clone();
    let inventory = tokio::task::spawn_blocking(move || inventory::take(&root)).await.unwrap_or_default();
    let mut ask = TaskAsk { inventory, wait_seconds: HOLD_SECONDS, reach: None };
    let deadline = Duration::from_secs(u64::from(HOLD_SECONDS)) + GRACE;
    loop {
        ask.reach = bystander.and_then(Bystander::reach);
        match line.call::<_, Envelope<Task>>(routes::TASK, &ask, deadline).await {
            Ok(envelope) => return open(server, admitted, envelope).await,
            Err(error) => {
                server.screen.state("asking for work", &Chain(&error).to_string());
                tokio::time::sleep(line.pause()).await;
                if !error.is_unreachable() {
                    return None;
                }
            }
        }
    }
}

async fn open(server: &mut Server, admitted: &Admitted, envelope: Envelope<Task>) -> Option<Task> {
    match server.reign.open(admitted.node, envelope) {
        Ok(task) => Some(task),
        Err(error) => {
            server.screen.state("refused", &error.to_string());
            tokio::time::sleep(Duration::from_secs(5)).await;
            None
        }
    }
}
