//! The queue's engine on kernels with `io_uring`: every run is a transfer of its own, a long one several, at most `depth` at
//! once.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use super::error::{Action, DiskError};
use super::queue::{Done, Job, What};
use super::transfer::{Next, Transfer};
use super::{Disk, Pool};
use crate::sys::{Lent, Ring};

/// Requests that are not finished, on a ring.
#[derive(Debug)]
pub(super) struct Uring<T> {
    disk: Arc<Disk>,
    ring: Ring,
    requests: BTreeMap<u64, Request<T>>,
    /// Transfers that the kernel has not been given, with the number of their request; in order.
    backlog: VecDeque<(u64, Transfer)>,
    /// Transfers that the kernel has, by their own number, with the number of their request.
    flying: BTreeMap<u64, (u64, Transfer)>,
    done: VecDeque<Done<T>>,
    /// The next number of a request or a transfer.
    number: u64,
}

#[derive(Debug)]
struct Request<T> {
    tag: T,
    action: Action,
    lent: Arc<Lent>,
    /// Transfers that are not over.
    left: usize,
    /// What went wrong first; of a run that is transferred in parts, at the first place.
    failure: Option<DiskError>,
}

impl<T> Uring<T> {
    pub(super) fn new(disk: &Arc<Disk>, pool: &Pool, depth: u16) -> io::Result<Uring<T>> {
        let ring = Ring::new(&disk.file, pool, depth)?;
        Ok(Uring {
            disk: Arc::clone(disk),
            ring,
            requests: BTreeMap::new(),
            backlog: VecDeque::new(),
            flying: BTreeMap::new(),
            done: VecDeque::new(),
            number: 0,
        })
    }

    pub(super) fn submit(&mut self, job: Job<T>) {
        let request = self.next_number();
        let action = job.what.action();
        let transfers: Vec<_> = job.transfers(&self.disk).into_iter().flat_map(Transfer::parts).collect();
        let left = transfers.len();
        self.backlog.extend(transfers.into_iter().map(|transfer| (request, transfer)));
        let lent = Arc::new(match job.what {
            What::Read(buffer) => Lent::for_read(buffer),
            What::Write(buffer) => Lent::for_write(buffer),
        });
        self.requests.insert(request, Request { tag: job.tag, action, lent, left, failure: None });
        if left == 0 {
            self.finish(request);
        }
        self.turn(0);
    }

    /// What is done, when something is.
    pub(super) fn poll(&mut self) -> Option<Done<T>> {
        if self.done.is_empty() {
            self.turn(0);
        }
        self.done.pop_front()
    }

    /// What is done next; `None` when nothing is left to wait for.
    pub(super) fn wait(&mut self) -> Option<Done<T>> {
        while self.done.is_empty() && !self.requests.is_empty() {
            self.turn(1);
        }
        self.done.pop_front()
    }

    /// Ends requests with [`DiskError::Cancelled`] as far as the kernel has not been given them.
    pub(super) fn cancel(&mut self) {
        for (request, _) in std::mem::take(&mut self.backlog) {
            let disk = Arc::clone(&self.disk);
            self.over(request, |action| Some(DiskError::Cancelled { action, path: disk.path.clone() }));
        }
    }

    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Gives the kernel what it has room for, waits for so many transfers and takes those that are over.
    fn turn(&mut self, least: usize) {
        self.fill();
        let least = least.min(self.ring.in_flight());
        if let Err(error) = self.ring.submit(least) {
            return self.give_up(&error);
        }
        while let Some((number, said)) = self.ring.completed() {
            let Some((request, mut transfer)) = self.flying.remove(&number) else { continue };
            match transfer.advance(said) {
                Next::Call => self.backlog.push_front((request, transfer)),
                Next::Finished => self.over(request, |_| None),
                Next::Failed(source) => {
                    let error = self.disk.failed(&transfer, source);
                    self.over(request, |_| Some(error));
                }
            }
        }
        self.fill();
        if let Err(error) = self.ring.submit(0) {
            self.give_up(&error);
        }
    }

    /// Queues transfers of the backlog while there is room. Those of a request that has failed are over.
    fn fill(&mut self) {
        while self.ring.has_room() {
            let Some((request, transfer)) = self.backlog.pop_front() else { return };
            let Some(entry) = self.requests.get(&request) else { continue };
            if entry.failure.is_some() {
                self.over(request, |_| None);
                continue;
            }
            let (lent, rest, number) = (Arc::clone(&entry.lent), transfer.rest(), self.next_number());
            match self.ring.push(number, &lent, rest.buffer, rest.disk, transfer.is_again()) {
                Ok(()) => _ = self.flying.insert(number, (request, transfer)),
                Err(source) => {
                    let error = self.disk.failed(&transfer, source);
                    self.over(request, |_| Some(error));
                }
            }
        }
    }

    /// One transfer of a request is over.
    fn over(&mut self, request: u64, failure: impl FnOnce(Action) -> Option<DiskError>) {
        let Some(entry) = self.requests.get_mut(&request) else { return };
        entry.left = entry.left.saturating_sub(1);
        let failure = failure(entry.action);
        if failure
            .as_ref()
            .is_some_and(|new| entry.failure.as_ref().is_none_or(|known| is_before(new, known)))
        {
            entry.failure = failure;
        }
        if entry.left == 0 {
            self.finish(request);
        }
    }

    fn finish(&mut self, request: u64) {
        let Some(entry) = self.requests.remove(&request) else { return };
        let result = entry.failure.map_or(Ok(()), Err);
        // Not the only owner only when the ring has been given up: then the kernel may still use it.
        let buffer = Arc::into_inner(entry.lent).and_then(Lent::into_filled);
        self.done.push_back(Done { tag: entry.tag, buffer, result });
    }

    /// The kernel takes no more calls for the ring: everything has failed, and what is in flight stays lent.
    fn give_up(&mut self, error: &io::Error) {
        self.backlog.clear();
        self.flying.clear();
        let numbers: Vec<u64> = self.requests.keys().copied().collect();
        for request in numbers {
            if let Some(entry) = self.requests.get_mut(&request) {
                let source = io::Error::new(error.kind(), error.to_string());
                entry.failure = Some(DiskError::Queue { path: self.disk.path.clone(), source });
            }
            self.finish(request);
        }
    }
}

/// Whether an error lies before another on the disk: parts of a run are transferred at once, and end in any order.
fn is_before(new: &DiskError, known: &DiskError) -> bool {
    match (new, known) {
        (DiskError::Io { offset: new, .. }, DiskError::Io { offset: known, .. }) => new < known,
        (_, _) => false,
    }
}
