//! Asks the controller, as long as an image is written, where to listen.

use std::net::Ipv4Addr;
use std::time::Duration;

use protocol::{CastAsk, CastReply, Envelope, Hearing, JobId, NodeId, Seat, routes};
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
    seats: watch::Receiver<Option<Option<Seat>>>,
    hears: watch::Sender<(Option<u64>, Hearing)>,
    task: JoinHandle<()>,
}

impl Seating {
    /// Begins, with a line of its own.
    pub(in crate::deploy) fn begin(controller: Controller, node: NodeId, reign: Reign, job: JobId) -> Self {
        let (say_seat, seats) = watch::channel(None);
        let (hears, heard) = watch::channel((None, Hearing::default()));
        let task = tokio::spawn(ask(Line::new(controller), (node, reign, job), heard, say_seat));
        Self { seats, hears, task }
    }

    /// For one who listens at our address there.
    pub(in crate::deploy) fn live(&self, local: Ipv4Addr) -> Live {
        Live { local, seats: self.seats.clone(), hears: self.hears.clone() }
    }
}

impl Drop for Seating {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ask(
    mut line: Line,
    (node, mut reign, job): (NodeId, Reign, JobId),
    heard: watch::Receiver<(Option<u64>, Hearing)>,
    seats: watch::Sender<Option<Option<Seat>>>,
) {
    loop {
        let (session, hearing) = *heard.borrow();
        let ask = CastAsk { job, session, hearing };
        let reply = line.call::<_, Envelope<CastReply>>(routes::CAST, &ask, DEADLINE).await;
        let wait = match reply {
            Ok(envelope) => {
                if let Ok(CastReply { seat }) = reign.open(node, envelope) {
                    seats.send_if_modified(|before| {
                        let said = Some(seat);
                        let is_new = *before != said;
                        *before = said;
                        is_new
                    });
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
