//! Asks the controller, as long as an image is written, how it shall come.

use std::net::Ipv4Addr;
use std::time::Duration;

use protocol::{CastAsk, CastReply, Envelope, JobId, NodeId, routes};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Live;
use crate::command::Reign;
use crate::controller::{Controller, Line};

const EVERY: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(5);

/// Asks until it is dropped.
#[derive(Debug)]
pub(in crate::deploy) struct Seating {
    replies: watch::Receiver<Option<CastReply>>,
    asks: watch::Sender<CastAsk>,
    task: JoinHandle<()>,
}

impl Seating {
    /// Begins, with a line of its own.
    pub(in crate::deploy) fn begin(controller: Controller, node: NodeId, reign: Reign, job: JobId) -> Self {
        let (say, replies) = watch::channel(None);
        let (asks, asked) = watch::channel(CastAsk::new(job));
        let task = tokio::spawn(ask(Line::new(controller), (node, reign), asked, say));
        Self { replies, asks, task }
    }

    /// For one who listens at our address there.
    pub(in crate::deploy) fn live(&self, local: Ipv4Addr) -> Live {
        Live { local, replies: self.replies.clone(), asks: self.asks.clone() }
    }
}

impl Drop for Seating {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ask(
    mut line: Line,
    (node, mut reign): (NodeId, Reign),
    asked: watch::Receiver<CastAsk>,
    say: watch::Sender<Option<CastReply>>,
) {
    loop {
        let ask = asked.borrow().clone();
        let reply = line.call::<_, Envelope<CastReply>>(routes::CAST, &ask, DEADLINE).await;
        let wait = match reply {
            Ok(envelope) => {
                if let Ok(reply) = reign.open(node, envelope) {
                    say.send_replace(Some(reply));
                }
                EVERY
            }
            // An older controller has no such route, and sends to nobody.
            Err(error) if error.is_refusal() => EVERY * 30,
            // What is being heard goes on; a sender that has gone too is noticed by its silence.
            Err(_) => line.pause(),
        };
        tokio::time::sleep(wait).await;
    }
}
