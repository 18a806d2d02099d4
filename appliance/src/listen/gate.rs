//! Caps on how much is going on at once: in all, and for one address, or one certificate.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// A cap in all and a cap for each, by whatever those are told apart.
#[derive(Debug)]
pub struct Gate<Who: Ord = IpAddr> {
    in_all: usize,
    each: usize,
    inside: Mutex<Inside<Who>>,
}

#[derive(Debug)]
struct Inside<Who> {
    total: usize,
    by_who: BTreeMap<Who, usize>,
}

/// A place inside; given back when dropped.
#[derive(Debug)]
pub struct Seat<Who: Ord = IpAddr> {
    gate: Arc<Gate<Who>>,
    who: Who,
}

/// Which cap was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The cap in all.
    #[error("{0} are being served already, and that is the most")]
    InAll(usize),
    /// The cap for each.
    #[error("{0} of the same are being served already, and that is the most")]
    Each(usize),
}

impl<Who: Ord + Clone> Gate<Who> {
    /// A gate with these caps.
    pub fn new(in_all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { in_all, each, inside: Mutex::new(Inside { total: 0, by_who: BTreeMap::new() }) })
    }

    /// A place for this one.
    ///
    /// # Errors
    /// [`Full`].
    pub fn enter(self: &Arc<Self>, who: Who) -> Result<Seat<Who>, Full> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        // First: who has too much is told so, and nobody goes for it.
        if inside.by_who.get(&who).is_some_and(|own| *own >= self.each) {
            return Err(Full::Each(self.each));
        }
        if inside.total >= self.in_all {
            return Err(Full::InAll(self.in_all));
        }
        *inside.by_who.entry(who.clone()).or_default() += 1;
        inside.total += 1;
        Ok(Seat { gate: Arc::clone(self), who })
    }

    /// How many are inside.
    pub fn inside(&self) -> usize {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner).total
    }
}

impl<Who: Ord> Drop for Seat<Who> {
    fn drop(&mut self) {
        let mut inside = self.gate.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.total = inside.total.saturating_sub(1);
        inside.leave(&self.who);
    }
}

impl<Who: Ord> Inside<Who> {
    fn leave(&mut self, who: &Who) {
        if let Some(own) = self.by_who.get_mut(who) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.by_who.remove(who);
            }
        }
    }
}
