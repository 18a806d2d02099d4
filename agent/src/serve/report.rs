//! Tells the controller what is: on every change, and every half minute as a sign of life.

use std::sync::Arc;
use std::time::Duration;

use protocol::{Envelope, ReportReply, routes};
use tokio::time::{sleep, timeout};

use super::facts;
use super::node::Node;
use super::voice::Nag;
use crate::chain::Chain;
use crate::controller::Line;

/// A sign of life at least this often.
const PULSE: Duration = Duration::from_secs(30);
/// Changes within this time are told together.
const COALESCE: Duration = Duration::from_millis(200);
/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(15);

/// Reports for ever.
pub(super) async fn follow(node: Arc<Node>) {
    let mut controller = node.controller();
    let mut line = Line::new(controller.borrow_and_update().clone());
    let mut nag = Nag::default();
    let boot_id = facts::boot_id(node.root());
    // The first sign of life at once: the controller learns that the node has booted.
    node.ledger.again();
    loop {
        // Which of the two comes first makes no difference.
        let _ = timeout(PULSE, node.ledger.news()).await;
        sleep(COALESCE).await;
        if controller.has_changed().unwrap_or(false) {
            line = Line::new(controller.borrow_and_update().clone());
        }
        let page = node.ledger.page(&boot_id, facts::take(node.root()));
        let told = line.call::<_, Envelope<ReportReply>>(routes::REPORT, &page.report, DEADLINE).await;
        let told = match told {
            Ok(envelope) => node.open(envelope).await.map_err(|error| error.to_string()),
            Err(error) => Err(format!("reporting: {}", Chain(&error))),
        };
        match told {
            // A generation that is newer than ours comes by itself: it is asked for all the time.
            Ok(ReportReply { .. }) => {
                nag.settle("reports are received again");
                node.ledger.received(&page);
            }
            Err(why) => {
                nag.say(&why);
                sleep(line.pause()).await;
                node.ledger.again();
            }
        }
    }
}
