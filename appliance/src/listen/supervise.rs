//! Keeps a listener listening: opens it when its interface is ready, again when it failed or the interface came back.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::ListenerState;
use crate::net::{Link, Presence};

/// How long to wait after a listener failed.
const AGAIN: Duration = Duration::from_millis(500);

/// Becomes true when the daemon stops. A dropped sender is a stop too.
pub type Stop = watch::Receiver<bool>;

/// Resolves when the daemon stops.
pub(super) async fn stopped(stop: &mut Stop) {
    // An error means that the sender is gone: then nobody wants us any more.
    let _ = stop.wait_for(|&stop| stop).await;
}

/// Where a listener belongs.
#[derive(Clone, Debug)]
pub struct Place {
    /// The interface.
    pub interface: String,
    /// The controller's address on it.
    pub address: Ipv4Addr,
    /// What there is of it, from [`crate::net::watch`].
    pub presence: watch::Receiver<Presence>,
}

/// Runs `serve` whenever the interface is there with our address, until told to stop. `serve` ends with the error
/// that ended it; it is dropped when the interface goes, or another one comes under the same name.
pub(super) async fn supervise<Serve, Served>(
    place: Place,
    state: Arc<ListenerState>,
    mut stop: Stop,
    mut serve: Serve,
) where
    Serve: FnMut(Link) -> Served,
    Served: Future<Output = io::Error>,
{
    let mut presence = place.presence;
    loop {
        let seen = presence.borrow_and_update().clone();
        let link = match seen {
            Presence::Ready(link) => link,
            Presence::Gone | Presence::NoAddress(_) => {
                wait(&state, seen.trouble().unwrap_or("the interface is not ready"));
                tokio::select! {
                    () = stopped(&mut stop) => return,
                    changed = presence.changed() => if changed.is_err() { return },
                }
                continue;
            }
        };
        let index = link.index;
        let other = |p: &Presence| !matches!(p, Presence::Ready(link) if link.index == index);
        tokio::select! {
            () = stopped(&mut stop) => return,
            left = left(&mut presence, other) => if left.is_none() { return },
            error = serve(link) => {
                wait(&state, &format!("{} on {} failed: {error}", state.kind(), place.address));
                tokio::select! {
                    () = stopped(&mut stop) => return,
                    () = tokio::time::sleep(AGAIN) => {}
                }
            }
        }
    }
}

/// Waits until the presence is such; `None` when nobody watches any more.
async fn left(presence: &mut watch::Receiver<Presence>, such: impl FnMut(&Presence) -> bool) -> Option<()> {
    presence.wait_for(such).await.ok().map(|_| ())
}

fn wait(state: &ListenerState, why: &str) {
    if state.waiting(why) {
        state.trouble(why.into());
        tracing::warn!(kind = state.kind(), interface = state.interface(), why, "not listening");
    }
}
