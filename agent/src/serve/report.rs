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
use crate::keys;

/// A sign of life at least this often.
const PULSE: Duration = Duration::from_secs(30);
/// Changes within this time are told together.
const COALESCE: Duration = Duration::from_millis(200);
/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(15);

/// A report that was not received is repeated after half of this at the least: what has happened meanwhile is news as
/// soon as the controller is there again, however long it was away.
const REPEAT: Duration = Duration::from_secs(1);

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
                sleep(repeat(keys::dice())).await;
                node.ledger.again();
            }
        }
    }
}

/// The wait before a report is repeated, blurred so that the nodes of a rack do not call in step.
fn repeat(dice: u8) -> Duration {
    REPEAT / 2 + REPEAT * u32::from(dice) / 510
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{REPEAT, repeat};

    #[test]
    fn a_report_is_repeated_within_a_second() {
        assert_eq!((repeat(0), repeat(255)), (Duration::from_millis(500), REPEAT));
        assert!((0..=255).all(|dice| repeat(dice) <= Duration::from_secs(1)));
    }
}
