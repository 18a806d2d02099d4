//! The network between nodes, as this one sees it: in the ramdisk and on the installed system alike.
//!
//! ```text
//! links, LLDP -> ask ------------------> step -> answer others, send packets, transfer -> what came of it -> ask
//!                 ^ held back until there is one                                                     |
//!                 '---------------------------------------------------------------------------------'
//! ```
//! It chooses nothing: whom to send to, how large and for how long is in the step, and only members of a check are answered, who sign
//! with its key. What is answered is never larger than what was asked.

mod arp;
mod claims;
mod ears;
mod links;
mod post;
mod questions;
mod streams;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use protocol::{Envelope, NetworkAsk, NetworkReply, NetworkStep, StepDone, routes};
use tokio::sync::{Notify, watch};

use crate::controller::{Controller, Line};

pub use ears::{Ears, Neighbours};
use post::Posts;

/// How long the controller may hold an answer back, in seconds.
const HOLD_SECONDS: u32 = 25;
/// Beyond that, for the way and a busy controller.
const GRACE: Duration = Duration::from_secs(15);
/// A controller that answers at once is not asked more often than this, when there was something to do and when not.
const PACE: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_secs(1);
/// After a command that is not for us.
const FOREIGN: Duration = Duration::from_secs(5);
/// After a refusal: our certificate may be too old, or the controller, which knows no checks.
const REFUSED: Duration = Duration::from_secs(30);
/// A check of which nothing was heard for so long is over.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// Links are told at least this often by one that is called when there is a check.
const LINKS: Duration = Duration::from_secs(300);

/// Private parsers, for the fuzz targets in `tests/fuzz`; no promise to anybody else.
#[doc(hidden)]
pub mod fuzzing {
    pub use super::arp::claimant;
}

/// How an installed system is called to a check, over the connection that it has anyway: a thousand of them do not keep one more each.
#[derive(Debug, Default)]
pub struct Summons {
    attends: AtomicBool,
    called: Notify,
}

impl Summons {
    /// There is a check.
    pub fn come(&self) {
        self.attends.store(true, Ordering::Relaxed);
        self.called.notify_one();
    }

    /// Whether it asks what to try already.
    pub fn is_attending(&self) -> bool {
        self.attends.load(Ordering::Relaxed)
    }

    /// Until it is called, or it is time to tell of links again.
    async fn rest(&self) {
        self.attends.store(false, Ordering::Relaxed);
        drop(tokio::time::timeout(LINKS, self.called.notified()).await);
    }
}

/// Tells of links, and takes part in checks, for ever: all the time, or, with `summons`, when it is called. `open` takes a command out
/// of its envelope, if it is one for us.
pub async fn follow(
    root: PathBuf,
    mut controller: watch::Receiver<Controller>,
    summons: Option<&Summons>,
    mut open: impl AsyncFnMut(Envelope<NetworkReply>) -> Option<NetworkReply>,
) -> ! {
    let mut line = Line::new(controller.borrow_and_update().clone());
    let wires = root.clone();
    let ears = Ears::begin(move || links::wires(&wires));
    let (mut party, mut done) = (Party::default(), None);
    loop {
        if controller.has_changed().unwrap_or(false) {
            line = Line::new(controller.borrow_and_update().clone());
        }
        let begun = Instant::now();
        let own = way_to(&controller.borrow());
        let (place, heard) = (root.clone(), ears.heard());
        let links = tokio::task::spawn_blocking(move || links::take(&place, own, &heard)).await;
        let wait_seconds = if summons.is_none_or(Summons::is_attending) { HOLD_SECONDS } else { 0 };
        let ask = NetworkAsk { wait_seconds, links: links.unwrap_or_default(), done };
        let deadline = Duration::from_secs(u64::from(HOLD_SECONDS)) + GRACE;
        let reply = line.call::<_, Envelope<NetworkReply>>(routes::NETWORK, &ask, deadline).await;
        done = match reply {
            Ok(envelope) => match open(envelope).await.map(|reply| reply.step) {
                Some(Some(step)) => {
                    let carried = tokio::task::spawn_blocking(move || {
                        let done = party.carry_out(&step);
                        (party, done)
                    });
                    let (back, done) = carried.await.unwrap_or_default();
                    party = back;
                    Some(done)
                }
                Some(None) => None,
                None => {
                    tokio::time::sleep(FOREIGN).await;
                    ask.done
                }
            },
            Err(error) => {
                let wait = if error.is_unreachable() { line.pause() } else { REFUSED };
                tokio::time::sleep(wait).await;
                ask.done
            }
        };
        party.forget();
        if let Some(summons) = summons.filter(|_| done.is_none() && party.is_idle()) {
            // Nothing is kept open meanwhile.
            line = Line::new(controller.borrow().clone());
            summons.rest().await;
        }
        let pace = if done.is_some() { PACE } else { IDLE };
        tokio::time::sleep(pace.saturating_sub(begun.elapsed())).await;
    }
}

/// Our address on the way to the controller. Nothing is sent to find that out.
fn way_to(controller: &Controller) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(controller.address()).ok()?;
    let IpAddr::V4(own) = socket.local_addr().ok()?.ip() else { return None };
    Some(own)
}

/// This node in a check.
#[derive(Debug, Default)]
pub struct Party {
    posts: Option<Posts>,
    heard_of: Option<Instant>,
}

impl Party {
    /// Does what a step says, and tells what came of it. Blocks for as long as that takes: some seconds, and those of a transfer.
    pub fn carry_out(&mut self, step: &NetworkStep) -> StepDone {
        self.heard_of = Some(Instant::now());
        let mut done = StepDone { check: step.check, number: step.number, ..StepDone::default() };
        if self.posts.as_ref().is_none_or(|posts| !posts.is_for(step)) {
            // The old ones leave the port first.
            self.posts = None;
            match Posts::open(step) {
                Ok(posts) => self.posts = Some(posts),
                Err(why) => done.error = Some(crate::text::clean(&why.to_string(), 200)),
            }
        }
        if let Some(posts) = &self.posts {
            posts.meet(&step.peers);
            done.answered = questions::ask(posts, &step.targets);
            if let Some(why) = step.send.and_then(|stream| streams::send(posts, step, &stream).err()) {
                done.error = Some(crate::text::clean(&format!("a transfer: {why}"), 200));
            }
            done.stream = step.hear.and_then(|heed| streams::heard(posts, step, &heed));
            done.heard = posts.heard();
        }
        match claims::rivals(&step.claims) {
            Ok(rivals) => done.rivals = rivals,
            Err(why) => drop(done.error.get_or_insert(crate::text::clean(&format!("ARP: {why}"), 200))),
        }
        if step.over {
            self.posts = None;
        }
        done
    }

    /// Whether there is no check, as far as is known.
    fn is_idle(&self) -> bool {
        self.posts.is_none()
    }

    /// Answers nobody any more when the check was not heard of for long: the controller may have gone.
    fn forget(&mut self) {
        if self.heard_of.is_some_and(|at| at.elapsed() > FORGOTTEN) {
            *self = Self::default();
        }
    }
}
