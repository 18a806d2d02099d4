//! What is sent to all on one network, and who has a seat.

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use protocol::{ReportKey, Seat};

use super::session::Session;
use super::view::Listener;
use super::{CastError, random};

/// Somebody has to have had a seat for so long before a newcomer can look at what is sent to it.
const SETTLED: Duration = Duration::from_millis(1500);

/// One transmission.
#[derive(Debug)]
pub(super) struct Transmission {
    session: Session,
    group: SocketAddrV4,
    slots: u32,
}

/// A seat that somebody has.
#[derive(Clone, Debug)]
pub(super) struct Place {
    session: u64,
    slot: u32,
    key: [u8; 32],
    pub(super) since: Instant,
    looks_first: bool,
    /// It has said that it sits there.
    listened: bool,
    /// Bytes that had been sent before.
    sent_before: u64,
}

impl Place {
    /// Whether others can see by now what is sent to it.
    pub(super) fn is_settled(&self, now: Instant) -> bool {
        self.listened && now.saturating_duration_since(self.since) >= SETTLED
    }

    /// It says where it listens.
    pub(super) fn hear(&mut self, session: Option<u64>) {
        self.listened |= session == Some(self.session);
    }

    /// Whether it listens to what is sent there.
    pub(super) fn listens(&self) -> bool {
        self.listened
    }
}

impl Transmission {
    pub(super) fn new(session: Session, group: SocketAddrV4) -> Self {
        Self { session, group, slots: 0 }
    }

    /// Whether nobody lacks anything, for the moment.
    pub(super) fn rests(&self) -> bool {
        self.session.rests()
    }

    /// Why it has ended by itself, if it has.
    pub(super) fn broken(&self) -> Option<String> {
        self.session.broken()
    }

    /// From now on at most so many bytes a second go onto the wire.
    pub(super) fn limit(&self, rate: u64) {
        self.session.limit(rate);
    }

    /// Sends no more; what is left of it is waited for when it is dropped.
    pub(super) fn stop(&mut self) {
        self.session.stop();
    }

    /// What the sender knows of somebody.
    pub(super) fn listener(&self, place: &Place) -> Option<Listener> {
        if place.session == self.session.number { self.session.listener(place.slot) } else { None }
    }

    /// Whether something was sent since somebody has had its seat.
    pub(super) fn has_sent_to(&self, place: &Place) -> bool {
        place.session == self.session.number && self.session.sent_bytes() > place.sent_before
    }

    /// Somebody does not listen any more.
    pub(super) fn leave(&self, place: &Place) {
        if place.session == self.session.number {
            self.session.leave(place.slot);
        }
    }

    /// The seat of one who listens to `hears`: the one that it has, unless it began anew. It numbers its reports anew then, and nobody
    /// would believe them. `looks_first` is for one who has none.
    ///
    /// # Errors
    /// [`CastError::Random`].
    pub(super) fn seat(
        &mut self,
        place: &mut Option<Place>,
        hears: Option<u64>,
        (looks_first, now): (bool, Instant),
    ) -> Result<Seat, CastError> {
        let session = self.session.number;
        let kept =
            place.take_if(|place| place.session == session && (!place.listened || hears == Some(session)));
        let sits = match kept {
            Some(kept) => kept,
            None => {
                if let Some(before) = place.take() {
                    self.leave(&before);
                }
                let (slot, key) = (self.slots, random::<32>()?);
                self.slots += 1;
                self.session.join(slot, key);
                if looks_first {
                    self.session.look();
                }
                let sent_before = self.session.sent_bytes();
                Place { session, slot, key, since: now, looks_first, listened: false, sent_before }
            }
        };
        let Place { slot, looks_first, .. } = sits;
        let (group, port, source) = (*self.group.ip(), self.group.port(), self.session.source);
        let key = ReportKey(place.insert(sits).key);
        Ok(Seat { session, group, port, source, slot, key, looks_first })
    }
}
