//! What a listener tells `status`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// Live counters of one listener; shared between it and whoever prints them.
#[derive(Debug)]
pub struct ListenerState {
    kind: &'static str,
    interface: String,
    received: AtomicU64,
    answered: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
    changing: Mutex<Changing>,
}

#[derive(Debug, Default)]
struct Changing {
    bound: Option<SocketAddr>,
    waiting: Option<String>,
    last: Option<Trouble>,
}

/// Something that went wrong, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// When, by this machine's clock.
    pub at: SystemTime,
    /// What, for a person.
    pub what: String,
}

/// A listener at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerReport {
    /// `dhcp`, `proxydhcp`, `tftp`, `http`, `https` or `ndp`.
    pub kind: String,
    /// The interface.
    pub interface: String,
    /// Where it listens; absent while it cannot.
    pub bound: Option<SocketAddr>,
    /// Why it does not listen, when it does not.
    pub waiting: Option<String>,
    /// Packets or requests that arrived.
    pub received: u64,
    /// Those that were answered.
    pub answered: u64,
    /// Those that were refused for what they are: malformed, not allowed, no such file.
    pub refused: u64,
    /// Those that were dropped because there were too many.
    pub dropped: u64,
    /// The last thing that went wrong, refusals included.
    pub last: Option<Trouble>,
}

impl ListenerState {
    /// A listener that does not listen yet.
    pub fn new(kind: &'static str, interface: &str) -> Arc<Self> {
        Arc::new(Self {
            kind,
            interface: interface.into(),
            received: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            changing: Mutex::default(),
        })
    }

    /// A copy for printing.
    pub fn report(&self) -> ListenerReport {
        let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        ListenerReport {
            kind: self.kind.into(),
            interface: self.interface.clone(),
            bound: changing.bound,
            waiting: changing.waiting.clone(),
            received: count(&self.received),
            answered: count(&self.answered),
            refused: count(&self.refused),
            dropped: count(&self.dropped),
            last: changing.last.clone(),
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }

    pub(super) fn interface(&self) -> &str {
        &self.interface
    }

    pub(super) fn received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn answered(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// Counted and remembered; logged by the caller when it is worth a line.
    pub(super) fn refused(&self, what: String) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.trouble(what);
    }

    pub(super) fn dropped(&self, what: String) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        self.trouble(what);
    }

    pub(super) fn trouble(&self, what: String) {
        let trouble = Trouble { at: SystemTime::now(), what };
        self.changing.lock().unwrap_or_else(PoisonError::into_inner).last = Some(trouble);
    }

    pub(super) fn bound(&self, address: SocketAddr) {
        let mut changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        changing.bound = Some(address);
        changing.waiting = None;
    }

    /// It does not listen; true when the reason is a new one.
    pub(crate) fn waiting(&self, why: &str) -> bool {
        let mut changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        changing.bound = None;
        let new = changing.waiting.as_deref() != Some(why);
        changing.waiting = Some(why.into());
        new
    }

    /// It does not listen, and that is no fault: told once, and nothing to wait for.
    pub(super) fn without(&self, why: &str) {
        let mut changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = changing.bound.is_none() && changing.last.as_ref().is_some_and(|last| last.what == why);
        (changing.bound, changing.waiting) = (None, None);
        drop(changing);
        if !known {
            self.trouble(why.into());
            tracing::info!(kind = self.kind, interface = self.interface, why, "doing without");
        }
    }
}
