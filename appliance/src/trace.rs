//! The black box's pen: everybody who answers booting machines writes down here what came and what was said.
//!
//! Knows the time and who is a node. Refuses to decide anything, to touch a disk, and to hold anybody up: a lock around a
//! bounded book in memory, which is gone with the process.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pxe::dhcp::Door;
use pxe::diagnose::{Facts, Finding, diagnose};
use pxe::trace::{Answer, Book, Dhcp, Fetch, Silence, Step, Task, Trace, What};
use pxe::{Mac, Time};
use tokio::sync::watch;

use crate::listen::Stop;
use crate::net::Presence;
use crate::writer::{Question, World, hardware, now};

/// The ports of RFC 2131 §4.1, and of PXE 2.1 §2.2.
const DHCP_PORT: u16 = 67;
const PXE_PORT: u16 = 4011;

/// What booting machines sent and were answered.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Arc<Mutex<Book>>, Arc<Mutex<Silences>>);

/// How often a client that waits was not answered since the start, by the kind of reason.
type Silences = BTreeMap<String, u64>;

fn time() -> Time {
    Time(now().0)
}

/// Whether the card is a node's.
fn is_node(world: &World, mac: Mac) -> bool {
    hardware(mac).is_some_and(|mac| world.fleet.owner(&mac).is_some())
}

impl Recorder {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A DHCP message and its answer. Of machines that never booted from here nothing is kept: every telephone on the
    /// network asks for an address.
    pub fn dhcp(&self, world: &World, question: &Question, answer: Answer) {
        let Question { interface, request, arrival } = question;
        if let Answer::Silence { cause, .. } = &answer {
            self.silence(*cause);
        }
        let port = if arrival.door == Door::Proxy { PXE_PORT } else { DHCP_PORT };
        let mut book = self.book();
        if !request.boots() && !book.knows(request.mac) {
            return;
        }
        let what = What::Dhcp(Box::new(Dhcp::new(request, port, interface, answer)));
        book.note(request.mac, || is_node(world, request.mac), Step::new(time(), what));
    }

    fn silence(&self, cause: Silence) {
        let word = serde_json::to_value(cause).ok().and_then(|word| word.as_str().map(ToOwned::to_owned));
        let mut silences = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        *silences.entry(word.unwrap_or_default()).or_default() += 1;
    }

    /// How often a client that waits was not answered, by the kind of reason.
    pub fn silences(&self) -> Vec<(String, u64)> {
        let silences = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        silences.iter().map(|(reason, count)| (reason.clone(), *count)).collect()
    }

    /// Something that a card did.
    pub fn card(&self, world: &World, mac: Mac, what: What) {
        self.book().note(mac, || is_node(world, mac), Step::new(time(), what));
    }

    /// Something that the card with this address did; nothing is kept when no card is known to have it.
    pub fn address(&self, address: IpAddr, what: What) {
        let IpAddr::V4(address) = address else { return };
        let mut book = self.book();
        if let Some(mac) = book.holder(address) {
            book.note(mac, || false, Step::new(time(), what));
        }
    }

    /// The card that was last seen with an address.
    pub fn holder(&self, address: IpAddr) -> Option<Mac> {
        let IpAddr::V4(address) = address else { return None };
        self.book().holder(address)
    }

    /// A file that a machine asked for: its own script counts for the card in the script's name when the address is
    /// nobody's.
    pub fn fetch(&self, world: &World, address: IpAddr, own: Option<Mac>, fetch: Fetch) {
        let what = What::Fetch(Box::new(fetch));
        let known = matches!(address, IpAddr::V4(address) if self.book().holder(address).is_some());
        match own.filter(|_| !known) {
            Some(mac) => self.card(world, mac, what),
            None => self.address(address, what),
        }
    }

    /// The agent on a card said hello, or was turned away.
    pub fn hello(&self, world: &World, mac: Mac, refused: Option<String>) {
        let refused = refused.map(Into::into);
        self.card(world, mac, What::Hello { refused });
        // Anybody may say hello for any card: only what the fleet took in is kept before strangers.
        if is_node(world, mac) {
            self.book().adopt(mac);
        }
    }

    /// Our own interface lost its link, or has it again.
    pub fn link(&self, interface: &str, up: bool) {
        self.book().note_around(Step::new(time(), What::Link { interface: interface.into(), up }));
    }

    /// Another DHCP server was seen.
    pub fn foreign(&self, interface: &str, server: Ipv4Addr, rackwright: bool) {
        let what = What::Foreign { interface: interface.into(), server, rackwright };
        self.book().note_around(Step::new(time(), what));
    }

    /// Takes note whenever the interface's link goes or comes, until told to stop.
    pub async fn watch(self, interface: String, mut presence: watch::Receiver<Presence>, mut stop: Stop) {
        let mut up = presence.borrow_and_update().trouble().is_none();
        loop {
            tokio::select! {
                _ = stop.changed() => return,
                changed = presence.changed() => if changed.is_err() { return },
            }
            let now = presence.borrow_and_update().trouble().is_none();
            if now != std::mem::replace(&mut up, now) {
                self.link(&interface, now);
            }
        }
    }

    /// What a card did.
    pub fn trace(&self, mac: Mac) -> Option<Trace> {
        self.book().trace(mac)
    }

    /// Every card that did anything.
    pub fn cards(&self) -> Vec<Mac> {
        self.book().cards().collect()
    }

    /// What is likely wrong with a card's last boots. `deaf`: listeners that do not listen, each with its reason.
    pub fn findings(&self, world: &World, trace: &Trace, deaf: &[String]) -> Vec<Finding> {
        let node = hardware(trace.mac).and_then(|mac| world.fleet.owner(&mac));
        let facts = Facts {
            node: node.map(|node| node.name.to_string()),
            state: node.map(|node| node.state.word().to_owned()),
            memory_mib: node.map(|node| node.inventory.memory_bytes >> 20).filter(|mib| *mib > 0),
            heard: node.and_then(|node| node.reported).map(|at| Time(at.0)),
            deaf: deaf.to_vec(),
            twin: self.book().twin(trace.mac),
        };
        diagnose(trace, &facts, time())
    }
}

/// The task of a script in the black box's words.
#[must_use]
pub fn told(task: &pxe::script::BootTask) -> Task {
    match task {
        pxe::script::BootTask::Agent { .. } => Task::Agent,
        pxe::script::BootTask::LocalDisk => Task::LocalDisk,
        pxe::script::BootTask::Hold { .. } => Task::Hold,
    }
}
