//! A new certificate for the same key, long before the old one ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::{Enrolled, routes};
use tokio::sync::watch;

use super::enrol;
use super::folder::Identity;
use super::node::Node;
use super::voice::{self, Nag};
use crate::chain::Chain;
use crate::clock;
use crate::controller::{Controller, Line};

/// The clock may be turned at any time: it is looked at this often.
const LOOK: Duration = Duration::from_secs(60);
/// After a renewal: a clock that is years ahead must not make us ask all the time.
const PAUSE: Duration = Duration::from_secs(3600);
/// After an attempt that failed: a certificate has hours left when it is due, and one that has ended is to be renewed soon.
const AGAIN: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(30);

/// Renews for ever; `renewed` gets the controller with the new certificate. It is due when the clock says so; when so much time has
/// passed since it was issued, whatever the clock says; and at once when the controller refuses the one there is.
pub(super) async fn follow(node: Arc<Node>, renewed: watch::Sender<Controller>) {
    let mut identity = node.identity.clone();
    let mut due = None;
    let mut nag = Nag::default();
    let mut at_once = false;
    loop {
        if !at_once {
            wait(&node, &identity, due).await;
        }
        match renew(&node, &identity).await {
            Ok((next, controller, seconds)) => {
                // By the next one the controller hears that the new CA is trusted here, and not only told.
                at_once = next.ca != identity.ca;
                identity = next;
                renewed.send_replace(controller);
                due = Instant::now().checked_add(Duration::from_secs(seconds)).filter(|_| seconds > 0);
                nag = Nag::default();
                if at_once {
                    voice::say(&format!("the site CA is {} from now on", identity.ca));
                    continue;
                }
                voice::say("certificate renewed");
                // What was refused was the one before.
                drop(tokio::time::timeout(Duration::ZERO, node.stale.notified()).await);
                pause(&node, PAUSE).await;
            }
            Err(why) => {
                at_once = false;
                nag.say(&format!("renewing the certificate: {why}"));
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Until a renewal is due.
async fn wait(node: &Node, identity: &Identity, due: Option<Instant>) {
    while clock::now_ms() < identity.renew_ms && due.is_none_or(|due| Instant::now() < due) {
        if tokio::time::timeout(LOOK, node.stale.notified()).await.is_ok() {
            return;
        }
    }
}

/// For so long, unless the controller refuses the certificate.
async fn pause(node: &Node, time: Duration) {
    if tokio::time::timeout(time, node.stale.notified()).await.is_ok() {
        node.stale.notify_one();
        tokio::time::sleep(AGAIN).await;
    }
}

async fn renew(node: &Node, identity: &Identity) -> Result<(Identity, Controller, u64), String> {
    let mut line = Line::new(node.controller().borrow().clone());
    let request = enrol::request(&identity.ca, &identity.node, &node.key, &node.options);
    let answer = line.call(routes::ENROL, &request, DEADLINE).await;
    let enrolled: Enrolled = answer.map_err(|error| Chain(&error).to_string())?;
    if enrolled.node != identity.node {
        return Err("the answer is for another node".to_owned());
    }
    let told = enrolled.ca.filter(|ca| crate::controller::holds(&enrolled.certificate, ca));
    let (renew_ms, ca) = (enrolled.renew_ms, told.unwrap_or(identity.ca));
    let next = Identity { renew_ms, ca, name: enrolled.name, ..identity.clone() };
    let controller = enrol::controller(&next, &enrolled.certificate, &node.key);
    let controller = controller.map_err(|error| Chain(&error).to_string())?;
    let kept = node.folder.keep_certificate(&enrolled.certificate);
    kept.and_then(|()| node.folder.keep_identity(&next)).map_err(|error| Chain(&error).to_string())?;
    Ok((next, controller, enrolled.renew_seconds))
}
