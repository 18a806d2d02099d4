//! A server in its operator's hands: every disk refuses writes, a shell on its consoles, SSH for those who are named.
//!
//! ```text
//! all disks read-only -> SSH server, shells on Enter -> told to the controller every few seconds -> it says: restart
//! ```
//! The agent writes nothing, and stays beside whoever is at work. What it has let in is not used for anything else afterwards: the
//! ramdisk restarts, whatever comes next.

mod door;
mod guard;
mod ssh;

use std::time::Duration;

use protocol::{Envelope, RescueJob, RescueReply, TEXT_BYTES_MAX, Task, routes};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::chain::Chain;
use crate::controller::{CallError, Line};
use crate::deploy::Server;
use crate::deploy::hello::{self, Admitted};
use crate::deploy::imaging::Next;
use crate::keys::KeyPair;
use crate::tool;

/// How often the controller is told; it hears of the end with the answer.
const EVERY: Duration = Duration::from_secs(3);
const DEADLINE: Duration = Duration::from_secs(15);

/// What the parts of a rescue tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    host_key: Option<protocol::HostKey>,
    /// What is wrong with the server, and with the disks.
    ssh: Option<String>,
    disks: Option<String>,
}

impl Told {
    fn trouble(&self) -> Option<String> {
        let all = [&self.ssh, &self.disks].into_iter().flatten().cloned().collect::<Vec<_>>().join("; ");
        let short = crate::text::clean(&all, TEXT_BYTES_MAX / 4);
        (!short.is_empty()).then_some(short)
    }
}

/// Stays until the controller says that it is over; then the ramdisk restarts.
pub(super) async fn run(server: &mut Server, admitted: &Admitted, key: &KeyPair, job: &RescueJob) -> Next {
    server.screen.state("rescue", "making every disk refuse writes");
    let (tell, told) = watch::channel(Told::default());
    // All of them end with this.
    let mut parts = JoinSet::new();
    let disks = guard::Guard::begin(&server.root, &tell).await;
    parts.spawn(guard::keep(disks, tell.clone()));
    let address = server.told.address.address;
    if !job.keys.is_empty() {
        parts.spawn(ssh::keep(server.root.clone(), address, job.keys.clone(), admitted.name.clone(), tell));
    }
    for console in server.screen.doors() {
        parts.spawn(door::keep(server.root.clone(), console, admitted.name.clone()));
    }
    // A shell's mount tries the file systems that the kernel knows already, and no others.
    tool::drivers(&["ext4", "xfs", "btrfs", "vfat"]).await;
    server.screen.milestone("rescue");
    report(server, admitted, key, job, told).await;
    Some(Task::Reboot)
}

/// Tells how it goes until it is over. A certificate lasts four hours, and a rescue as long as it takes: a new one is fetched
/// beside it.
async fn report(
    server: &mut Server,
    admitted: &Admitted,
    key: &KeyPair,
    job: &RescueJob,
    mut told: watch::Receiver<Told>,
) {
    let mut line = Line::new(admitted.controller.clone());
    loop {
        let now = told.borrow_and_update().clone();
        show(server, job, &now);
        match say(server, admitted, &mut line, job, &now).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                let why = Chain(&error).to_string();
                server.screen.state("rescue", &format!("calling the controller: {why}"));
                tokio::time::sleep(line.pause()).await;
                if !error.is_unreachable() {
                    line = Line::new(hello::admitted(server, key).await.controller);
                }
                continue;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            // What is news is told at once; when nobody is left to tell, in its time.
            news = told.changed() => if news.is_err() { tokio::time::sleep(EVERY).await },
        }
    }
}

/// Whether it goes on. An answer that is for another node, or of a reign that is over, neither ends a rescue nor counts as one.
async fn say(
    server: &mut Server,
    admitted: &Admitted,
    line: &mut Line,
    job: &RescueJob,
    now: &Told,
) -> Result<bool, CallError> {
    let told = protocol::Rescue { job: job.job, host_key: now.host_key.clone(), trouble: now.trouble() };
    let reply = line.call::<_, Envelope<RescueReply>>(routes::RESCUE, &told, DEADLINE).await?;
    Ok(server.reign.open(admitted.node, reply).map_or(true, |reply| reply.go_on))
}

fn show(server: &Server, job: &RescueJob, now: &Told) {
    let ssh = match &now.host_key {
        Some(key) => {
            let address = server.told.address.address;
            format!("ssh root@{address} (host key {key})")
        }
        None if job.keys.is_empty() => "no SSH key was given".to_owned(),
        None => "SSH is not up yet".to_owned(),
    };
    let trouble = now.trouble().map(|why| format!(". {why}")).unwrap_or_default();
    server.screen.state(
        "rescue",
        &format!("Enter opens a shell here; {ssh}. Every disk refuses writes (blockdev --setrw){trouble}"),
    );
}
