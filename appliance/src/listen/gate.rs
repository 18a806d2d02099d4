//! Caps on how much is going on at once: in all, and for one address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// A cap in all and a cap for each address.
#[derive(Debug)]
pub struct Gate {
    in_all: usize,
    each: usize,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    total: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// A place inside; given back when dropped.
#[derive(Debug)]
pub struct Seat {
    gate: Arc<Gate>,
    address: Option<IpAddr>,
}

/// Which cap was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The cap in all.
    #[error("{0} are being served already, and that is the most")]
    InAll(usize),
    /// The cap for one address.
    #[error("{0} of the same address are being served already, and that is the most")]
    Each(usize),
}

impl Gate {
    /// A gate with these caps.
    pub fn new(in_all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { in_all, each, inside: Mutex::default() })
    }

    /// A place for this address.
    ///
    /// # Errors
    /// [`Full`].
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Seat, Full> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.total >= self.in_all {
            return Err(Full::InAll(self.in_all));
        }
        let own = inside.by_address.entry(address).or_default();
        if *own >= self.each {
            return Err(Full::Each(self.each));
        }
        *own += 1;
        inside.total += 1;
        Ok(Seat { gate: Arc::clone(self), address: Some(address) })
    }

    /// How many are inside.
    pub fn inside(&self) -> usize {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner).total
    }
}

impl Seat {
    /// It has shown who it is: it no longer counts against its address, only in all.
    pub fn known(&mut self) {
        if let Some(address) = self.address.take() {
            let mut inside = self.gate.inside.lock().unwrap_or_else(PoisonError::into_inner);
            leave(&mut inside, address);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inside = self.gate.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.total = inside.total.saturating_sub(1);
        if let Some(address) = self.address {
            leave(&mut inside, address);
        }
    }
}

fn leave(inside: &mut Inside, address: IpAddr) {
    if let Some(own) = inside.by_address.get_mut(&address) {
        *own = own.saturating_sub(1);
        if *own == 0 {
            inside.by_address.remove(&address);
        }
    }
}
