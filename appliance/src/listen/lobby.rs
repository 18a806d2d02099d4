//! Where those stand who have not shown who they are. It has only so much room, and whoever comes may be a node whose
//! certificate is still to be seen: so when it is full, one goes of the address that has most there, and of those who have not
//! asked anything the one who came first. A flood from some hundred addresses pushes itself out, and no node.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;

use super::Seat;

/// Those who wait, by number in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Lobby(Mutex<Inside>);

#[derive(Debug, Default)]
struct Inside {
    next: u64,
    guests: BTreeMap<u64, Guest>,
}

#[derive(Debug)]
struct Guest {
    /// Counted until the guest is out, whatever becomes of its task.
    _seat: Seat,
    from: IpAddr,
    task: AbortHandle,
    /// A whole request of it is being answered.
    is_served: bool,
}

/// Leaves when it is dropped.
#[derive(Debug)]
pub(super) struct Stay<'a> {
    lobby: &'a Lobby,
    number: u64,
}

impl Lobby {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        // Whole whenever the lock is free.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes somebody in, who is served by the task that this begins with the guest's number.
    pub(super) fn admit(&self, (from, seat): (IpAddr, Seat), begin: impl FnOnce(u64) -> AbortHandle) {
        let mut inside = self.lock();
        let number = inside.next;
        inside.next += 1;
        // The task may be quick: it finds itself here all the same, because it has to wait for the lock.
        let task = begin(number);
        inside.guests.insert(number, Guest { _seat: seat, from, task, is_served: false });
    }

    /// The stay of the guest with this number.
    pub(super) fn stay(&self, number: u64) -> Stay<'_> {
        Stay { lobby: self, number }
    }

    /// Sends one away, as the module says; false when nobody is here.
    pub(super) fn make_room(&self) -> bool {
        let mut inside = self.lock();
        let mut crowds = BTreeMap::<IpAddr, u32>::new();
        for guest in inside.guests.values() {
            *crowds.entry(guest.from).or_default() += 1;
        }
        let crowd = |guest: &Guest| crowds.get(&guest.from).copied().unwrap_or_default();
        let last =
            |(number, guest): &(&u64, &Guest)| (!guest.is_served, crowd(guest), std::cmp::Reverse(**number));
        let chosen = inside.guests.iter().max_by_key(last).map(|(number, _)| *number);
        let Some(guest) = chosen.and_then(|number| inside.guests.remove(&number)) else { return false };
        guest.task.abort();
        true
    }
}

impl Stay<'_> {
    /// Whether a whole request is being answered now.
    pub(super) fn served(&self, is_served: bool) {
        if let Some(guest) = self.lobby.lock().guests.get_mut(&self.number) {
            guest.is_served = is_served;
        }
    }
}

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        self.lobby.lock().guests.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Gate;
    use super::Lobby;

    #[tokio::test]
    async fn the_idle_go_before_those_who_are_served_and_the_oldest_first() {
        let (gate, lobby) = (Gate::new(3, 1), Lobby::default());
        let mut tasks = Vec::new();
        for last in 1..=3 {
            let seat = gate.enter([10, 0, 0, last].into()).unwrap();
            let task = tokio::spawn(std::future::pending::<()>());
            lobby.admit(([10, 0, 0, last].into(), seat), |_| task.abort_handle());
            tasks.push(task);
        }
        let first = lobby.stay(0);
        first.served(true);
        assert!(lobby.make_room() && lobby.make_room());
        assert_eq!(gate.inside(), 1, "their places are free at once");
        for task in tasks.drain(1..) {
            assert!(task.await.unwrap_err().is_cancelled());
        }
        assert!(!tasks[0].is_finished());
        assert!(lobby.make_room(), "and at last those who are served");
        assert!(tasks.remove(0).await.unwrap_err().is_cancelled());
        assert!(!lobby.make_room() && gate.inside() == 0);
        drop(first);
        let seat = gate.enter([10, 0, 0, 1].into()).unwrap();
        lobby.admit(([10, 0, 0, 1].into(), seat), |_| tokio::spawn(async {}).abort_handle());
        drop(lobby.stay(3));
        assert_eq!(gate.inside(), 0, "whoever leaves gives the place back");
    }

    #[tokio::test]
    async fn of_a_crowd_one_goes_and_not_the_one_who_came_alone() {
        let (gate, lobby) = (Gate::new(5, 4), Lobby::default());
        let mut tasks = Vec::new();
        for from in [[10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 2], [10, 0, 0, 2], [10, 0, 0, 3]] {
            let task = tokio::spawn(std::future::pending::<()>());
            lobby.admit((from.into(), gate.enter(from.into()).unwrap()), |_| task.abort_handle());
            tasks.push(task);
        }
        assert!(lobby.make_room() && lobby.make_room());
        for crowd in tasks.drain(1..3) {
            assert!(crowd.await.unwrap_err().is_cancelled());
        }
        assert!(tasks.iter().all(|task| !task.is_finished()), "one of each address is left");
    }
}
