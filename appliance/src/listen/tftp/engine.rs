//! The transfers of one interface, all of them on one thread: packets from sockets to [`Sender`]s and back.
//!
//! Decides nothing: what is sent, and when, the senders say. One thread, because a transfer is a few microseconds of work
//! each time its client speaks; with a thread for each, changing between them costs more than the work
//! (`appliance/docs/measured.md`).

use std::collections::BTreeMap;
use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use pxe::tftp::{Ended, Sender, Transfer};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tokio::sync::oneshot;

use super::line::{Line, Outcome};

/// How long to wait when the kernel has no room for a packet.
const BREATH: Duration = Duration::from_millis(2);

/// A transfer that can begin.
#[derive(Debug)]
pub(super) struct Job {
    /// What is sent.
    pub(super) content: Arc<Vec<u8>>,
    /// As agreed.
    pub(super) transfer: Transfer,
    /// Non-blocking, and connected to the client.
    pub(super) socket: UdpSocket,
}

/// How a transfer ended.
#[derive(Debug)]
pub(super) struct End {
    /// How.
    pub(super) outcome: Outcome,
    /// Octets that were acknowledged, if anything was.
    pub(super) taken: Option<u64>,
    /// Requests that came meanwhile and were for this: not those for something else, or after the end.
    pub(super) answered: u32,
}

enum Order {
    Begin {
        number: u64,
        job: Job,
        ended: oneshot::Sender<End>,
    },
    /// The client of this transfer has sent another request, from the same port.
    Asked {
        number: u64,
        same: bool,
    },
}

/// The thread, from outside. It ends when this is dropped, and every transfer with it.
#[derive(Debug)]
pub(super) struct Engine {
    orders: std::sync::mpsc::Sender<Order>,
    wake: Arc<OwnedFd>,
}

impl Engine {
    /// Starts it.
    pub(super) fn start(interface: &str) -> io::Result<Self> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (orders, taken) = channel();
        let hall = Hall {
            wake: Arc::clone(&wake),
            orders: taken,
            lines: BTreeMap::new(),
            start: Instant::now(),
            look: Duration::MAX,
        };
        std::thread::Builder::new().name(format!("tftp {interface}")).spawn(|| hall.run())?;
        Ok(Self { orders, wake })
    }

    /// Begins a transfer. Numbers are given once; 0 is none.
    pub(super) fn begin(&self, number: u64, job: Job) -> oneshot::Receiver<End> {
        let (ended, end) = oneshot::channel();
        self.order(Order::Begin { number, job, ended });
        end
    }

    /// The client of this transfer has sent another request, from the same port.
    pub(super) fn asked(&self, number: u64, same: bool) {
        self.order(Order::Asked { number, same });
    }

    fn order(&self, order: Order) {
        // A thread that is gone drops what would tell of the end, which tells it.
        let _ = self.orders.send(order);
        ring(&self.wake);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Orders are closed first, so that the thread finds them so.
        self.orders = channel().0;
        ring(&self.wake);
    }
}

fn ring(wake: &OwnedFd) {
    // It fails only when it has rung 2^64 times already.
    let _ = rustix::io::write(wake, &1_u64.to_ne_bytes());
}

/// What has come.
struct Heard {
    /// Orders.
    rung: bool,
    /// Packets for these transfers.
    numbers: Vec<u64>,
}

/// What the thread has.
struct Hall {
    wake: Arc<OwnedFd>,
    orders: Receiver<Order>,
    lines: BTreeMap<u64, (Line, oneshot::Sender<End>)>,
    start: Instant,
    /// No deadline is earlier.
    look: Duration,
}

impl Hall {
    fn run(mut self) {
        loop {
            let heard = match self.wait() {
                Ok(heard) => heard,
                // Nothing that we hand over can make it fail.
                Err(error) => return tracing::error!(%error, "tftp: waiting for packets"),
            };
            let now = self.start.elapsed();
            if heard.rung && !self.take_orders(now) {
                return;
            }
            for number in heard.numbers {
                self.serve(number, now, Line::hear);
            }
            if now >= self.look {
                self.look_at_all(now);
            }
        }
    }

    /// Waits until something is heard, or the next deadline. poll(2), and not epoll(7): there are never many sockets, and
    /// when there is much to do, most of them are ready; then a packet that comes in costs less.
    fn wait(&self) -> io::Result<Heard> {
        let mut polled = vec![PollFd::new(&self.wake, PollFlags::IN)];
        polled.extend(self.lines.values().map(|(line, _)| PollFd::new(line.socket(), PollFlags::IN)));
        let wait = self.look.checked_sub(self.start.elapsed()).unwrap_or_default();
        match poll(&mut polled, Timespec::try_from(wait).ok().as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready = polled.iter().map(|polled| !polled.revents().is_empty());
        let rung = ready.next().unwrap_or(false);
        let numbers = self.lines.keys().zip(ready).filter(|(_, ready)| *ready);
        Ok(Heard { rung, numbers: numbers.map(|(number, _)| *number).collect() })
    }

    /// False when nobody is left who could give any.
    fn take_orders(&mut self, now: Duration) -> bool {
        let _ = rustix::io::read(&self.wake, &mut [0_u8; 8]);
        loop {
            match self.orders.try_recv() {
                Ok(Order::Begin { number, job, ended }) => self.begin(number, job, ended, now),
                Ok(Order::Asked { number, same }) => {
                    self.serve(number, now, |line, now| line.asked(same, now))
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn begin(&mut self, number: u64, job: Job, ended: oneshot::Sender<End>, now: Duration) {
        let sender = Sender::new(job.transfer, u64::try_from(job.content.len()).unwrap_or(u64::MAX), now);
        self.lines.insert(number, (Line::new(job, sender), ended));
        self.serve(number, now, |_, _| {});
    }

    /// Lets something happen to a transfer, sends what is to be sent then, and lets go of it when it has ended.
    fn serve(&mut self, number: u64, now: Duration, what: impl FnOnce(&mut Line, Duration)) {
        let Some((line, _)) = self.lines.get_mut(&number) else { return };
        what(line, now);
        let full = !line.send();
        match line.end() {
            None => {
                let soon = if full { now.saturating_add(BREATH) } else { line.deadline() };
                self.look = self.look.min(soon);
            }
            Some(end) => {
                if let Some((_, ended)) = self.lines.remove(&number) {
                    let _ = ended.send(end);
                }
            }
        }
    }

    fn look_at_all(&mut self, now: Duration) {
        self.look = Duration::MAX;
        let numbers: Vec<u64> = self.lines.keys().copied().collect();
        for number in numbers {
            self.serve(number, now, Line::late);
        }
    }
}

/// How a transfer that ended by itself looks from outside.
impl From<&Ended> for Outcome {
    fn from(ended: &Ended) -> Self {
        match ended {
            Ended::Whole => Self::Whole,
            Ended::BrokenOff(_) => Self::BrokenOff(ended.to_string()),
            Ended::Unanswered | Ended::Silent(_) => Self::Failed(ended.to_string()),
        }
    }
}
