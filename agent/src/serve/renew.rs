//! A new certificate for the same key, long before the old one ends.

use std::sync::Arc;
use std::time::Duration;

use protocol::{Enrolled, routes};
use tokio::sync::watch;

use super::enrol;
use super::folder::Identity;
use super::node::Node;
use super::voice;
use crate::chain::Chain;
use crate::clock;
use crate::controller::{Controller, Line};

/// The clock may be turned at any time: it is looked at this often.
const LOOK: Duration = Duration::from_secs(60);
/// After an attempt, successful or not: a clock that is years ahead must not make us ask all the time.
const PAUSE: Duration = Duration::from_secs(3600);
const DEADLINE: Duration = Duration::from_secs(30);

/// Renews for ever; `renewed` gets the controller with the new certificate.
pub(super) async fn follow(node: Arc<Node>, renewed: watch::Sender<Controller>) {
    let mut identity = node.identity.clone();
    loop {
        if clock::now_ms() < identity.renew_ms {
            tokio::time::sleep(LOOK).await;
            continue;
        }
        match renew(&node, &identity).await {
            Ok((next, controller)) => {
                identity = next;
                renewed.send_replace(controller);
                voice::say("certificate renewed");
            }
            Err(why) => voice::say(&format!("renewing the certificate: {why}")),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn renew(node: &Node, identity: &Identity) -> Result<(Identity, Controller), String> {
    let mut line = Line::new(node.controller().borrow().clone());
    let request = enrol::request(&identity.ca, &identity.node, &node.key, &node.options);
    let answer = line.call(routes::ENROL, &request, DEADLINE).await;
    let enrolled: Enrolled = answer.map_err(|error| Chain(&error).to_string())?;
    if enrolled.node != identity.node {
        return Err("the answer is for another node".to_owned());
    }
    let next = Identity { renew_ms: enrolled.renew_ms, name: enrolled.name, ..identity.clone() };
    let controller = enrol::controller(&next, &enrolled.certificate, &node.key);
    let controller = controller.map_err(|error| Chain(&error).to_string())?;
    let kept = node.folder.keep_certificate(&enrolled.certificate);
    kept.and_then(|()| node.folder.keep_identity(&next)).map_err(|error| Chain(&error).to_string())?;
    Ok((next, controller))
}
