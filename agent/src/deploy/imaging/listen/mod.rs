//! Pieces that come unasked: the controller sends an image to all who write it at once, and this is one who listens.
//!
//! ```text
//! seat (asked for every second) ─► look ─► listener (a thread): symbols ─► groups ─► pieces ─► offered to the receiver ─► spool
//!                                               ▲                                     │
//!                                               └── which groups are needed ◄─────────┘
//! ```
//! Where there is no seat, or nothing is heard, pieces are fetched as they always were.

mod listener;
mod look;
mod seating;
mod socket;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cast::groups::Groups;
use cast::{Feed, Millis, Offer, Receiver};
use pack::Manifest;
use protocol::{CastAsk, CastReply, Hearing, Seat};
use tokio::sync::{mpsc, watch};

pub(in crate::deploy::imaging) use self::listener::Came;
use self::listener::{Ear, Listener, Subject, Word};
use self::look::Look;
pub(in crate::deploy) use self::seating::Office;
pub use self::seating::{Desk, NoReply, Seating, Urge};
use crate::deploy::imaging::fetch::{Fetcher, Origin};
use crate::deploy::imaging::ranges::Ranges;
use crate::deploy::imaging::sharing::{Shared, Sharing};

/// After so long without a packet, pieces are fetched: nobody sends any more.
const SILENCE: Duration = Duration::from_secs(3);
/// The same for who has never heard one: nothing comes through here.
const NOTHING: Duration = Duration::from_millis(700);
/// After so long without a packet the controller is asked at once: it may have begun anew.
const SUSPECT: Duration = Duration::from_millis(300);
/// So long nothing is fetched while nobody has said yet whether there is somebody to listen to.
const UNDECIDED: Duration = Duration::from_millis(1500);
/// How often the thread is told what is needed.
pub(in crate::deploy::imaging) const STEER_EVERY: Duration = Duration::from_millis(50);
/// Groups that wait to be taken; more of them stay in the socket.
const WAITING: usize = 8;
/// Smaller groups are few.
const KEPT_MIN: usize = 256 << 10;
/// Of the spool: what is not complete, and what is not known to be needed yet.
const OPEN_PART: u64 = 4;
const EARLY_PART: u64 = 4;

/// Where pieces are kept that came unasked.
pub(super) trait Spool {
    /// One that is to be written.
    fn keep(&self, id: u32, stored: Bytes);
    /// One that is not ordered yet.
    fn lay_by(&self, id: u32, stored: Bytes);
    /// Any, for others to fetch.
    fn shelve(&self, id: u32, stored: &Bytes);
}

impl<O: Origin> Spool for Fetcher<O> {
    fn keep(&self, id: u32, stored: Bytes) {
        Fetcher::keep(self, id, stored);
    }

    fn lay_by(&self, id: u32, stored: Bytes) {
        Fetcher::lay_by(self, id, stored);
    }

    fn shelve(&self, id: u32, stored: &Bytes) {
        Fetcher::shelve(self, id, stored);
    }
}

/// A line to the controller about the way in which the image comes.
#[derive(Debug)]
pub struct Live {
    /// Our address on the network where the transmission is.
    pub local: Ipv4Addr,
    /// What the controller said last; none: nothing yet.
    pub replies: watch::Receiver<Option<CastReply>>,
    /// What it is asked next, and told with that.
    pub asks: watch::Sender<CastAsk>,
    /// For what it is to be told at once.
    pub urge: Arc<Urge>,
}

/// One who listens, for one delivery.
#[derive(Debug)]
pub(crate) struct Listening {
    replies: watch::Receiver<Option<CastReply>>,
    begun: Instant,
    /// What it hears is told here.
    asks: watch::Sender<CastAsk>,
    urge: Arc<Urge>,
    local: Ipv4Addr,
    /// What is shared with others.
    shared: Shared,
    /// Groups whose packets may come because we were there before: looking says nothing about the switch.
    joined: BTreeSet<Ipv4Addr>,
    /// Whether the job has begun before: then it may have joined any group.
    has_begun: bool,
    /// A look that is under way, before joining.
    look: Option<(Seat, Look)>,
    /// What a look has found.
    floods: Option<bool>,
    subject: Subject,
    tell: mpsc::Sender<Came>,
    told: mpsc::Receiver<Came>,
    listener: Option<(Seat, Listener, Instant)>,
    /// Groups that the thread collects.
    needed: Vec<bool>,
    /// Pieces that came before anybody knew whether they are needed, and their bytes together.
    early: BTreeMap<u32, Bytes>,
    early_bytes: u64,
    /// Tables that have come.
    laid_by: BTreeSet<u32>,
    early_most: u64,
    steered: Option<Instant>,
}

impl Listening {
    /// Nobody is heard yet. `memory` is how many bytes of the image may be there; `has_begun`: the job has, before a restart.
    pub(crate) fn new(
        manifest: Arc<Manifest>,
        live: Live,
        sharing: &Sharing,
        memory: u64,
        has_begun: bool,
    ) -> Self {
        let Live { local, replies, asks, urge } = live;
        let pieces = manifest.chunks().iter().map(super::deliver::piece).collect::<Vec<_>>();
        let groups = Arc::new(Groups::of(&pieces));
        let needed = vec![false; groups.len()];
        let (tell, told) = mpsc::channel(WAITING);
        let open_bytes = memory / OPEN_PART;
        let subject = Subject { manifest, groups, open_bytes, memory: Ranges::keeping(KEPT_MIN) };
        Self {
            replies,
            begun: Instant::now(),
            asks,
            urge,
            local,
            shared: sharing.shared(),
            joined: BTreeSet::new(),
            has_begun,
            look: None,
            floods: None,
            subject,
            tell,
            told,
            listener: None,
            needed,
            early: BTreeMap::new(),
            early_bytes: 0,
            laid_by: BTreeSet::new(),
            early_most: memory / EARLY_PART,
            steered: None,
        }
    }

    /// The next group that comes; may wait for ever.
    pub(super) async fn next(&mut self) -> Came {
        match self.told.recv().await {
            Some(came) => came,
            // There is a sender in this very struct.
            None => std::future::pending().await,
        }
    }

    /// Offers what came to the receiver. What it takes goes where the fetched pieces are.
    pub(super) fn take(&mut self, came: Came, receiver: &mut Receiver, spool: &dyn Spool, now: Millis) {
        match came {
            Came::Whole { group, pieces } => {
                // The thread does not collect it any more. Where it is still needed, it is told so again.
                if let Some(needed) = usize::try_from(group).ok().and_then(|at| self.needed.get_mut(at)) {
                    *needed = false;
                }
                for (id, bytes) in pieces {
                    // Others may need what this disk has already.
                    spool.shelve(id, &bytes);
                    let _had_room = self.offer(id, bytes, receiver, spool, now);
                }
            }
            // Whoever spoils one may spoil the next: this one is fetched.
            Came::Spoilt(group) => self.windows(group).into_iter().for_each(|id| receiver.pull(id)),
        }
    }

    /// False when there was no room for it.
    fn offer(
        &mut self,
        id: u32,
        bytes: Bytes,
        receiver: &mut Receiver,
        spool: &dyn Spool,
        now: Millis,
    ) -> bool {
        let length = bytes.len() as u64;
        match receiver.offer(id, now) {
            Offer::Taken => spool.keep(id, bytes),
            Offer::Table => {
                self.laid_by.insert(id);
                spool.lay_by(id, bytes);
            }
            Offer::Early | Offer::Full if self.early_bytes + length <= self.early_most => {
                self.early_bytes += length;
                if let Some(before) = self.early.insert(id, bytes) {
                    self.early_bytes -= before.len() as u64;
                }
            }
            Offer::Early | Offer::Full => return false,
            Offer::Useless => {}
        }
        true
    }

    /// Sees to it that the right groups are collected, from the right sender, and that nobody waits for a silent one.
    pub(super) fn steer(&mut self, receiver: &mut Receiver, spool: &dyn Spool, now: Millis) {
        if self.steered.is_some_and(|last| last.elapsed() < STEER_EVERY) {
            return;
        }
        self.steered = Some(Instant::now());
        let has_changed = self.change_seat();
        for (id, bytes) in std::mem::take(&mut self.early) {
            self.early_bytes -= bytes.len() as u64;
            // What was here has room here.
            let _kept = self.offer(id, bytes, receiver, spool, now);
        }
        let feed = self.feed();
        receiver.feed(feed);
        self.tell_needs(receiver);
        let (floods, hearing) = (self.floods, self.ear().hearing());
        let session = self.listener.as_ref().map(|(seat, ..)| seat.session);
        let hearing = Hearing { pulls: feed == Feed::Pulled, ..hearing };
        self.asks.send_modify(|ask| {
            (ask.session, ask.hearing, ask.floods) = (session, hearing, floods);
            self.shared.tell(ask);
        });
        if has_changed || self.silence().is_some_and(|silence| silence > SUSPECT) {
            self.urge.now();
        }
    }

    /// Goes where the controller says; true when it is to be told at once what came of it.
    fn change_seat(&mut self) -> bool {
        let wanted = self.replies.borrow_and_update().clone().and_then(|reply| reply.seat);
        // Looking is done once.
        let is_same =
            |seat: &Seat, wanted: &Seat| *seat == Seat { looks_first: seat.looks_first, ..wanted.clone() };
        match (&self.listener, &wanted) {
            (Some((seat, ..)), Some(wanted)) if is_same(seat, wanted) => return false,
            (None, None) => {
                self.look = None;
                return false;
            }
            (None, Some(_)) => {}
            (Some(_), Some(_) | None) => {
                self.listener = None;
                self.needed.fill(false);
            }
        }
        let Some(seat) = wanted else { return false };
        let is_new = !self.has_begun && !self.joined.contains(&seat.group);
        if seat.looks_first && is_new {
            let look = self.look.take().filter(|(before, _)| is_same(before, &seat));
            let (_, look) = look.unwrap_or_else(|| (seat.clone(), Look::begin(&seat, self.local)));
            let Some(found) = look.found() else {
                self.look = Some((seat, look));
                return false;
            };
            self.floods = found;
        }
        self.look = None;
        self.joined.insert(seat.group);
        // Where there is no socket to be had, pieces are fetched; it is tried again with the next look.
        let Ok(listener) = Listener::begin(&seat, self.local, self.subject.clone(), self.tell.clone()) else {
            return false;
        };
        self.listener = Some((seat, listener, Instant::now()));
        true
    }

    fn ear(&self) -> Ear {
        self.listener.as_ref().map(|(_, listener, _)| listener.ear()).unwrap_or_default()
    }

    /// How long nothing has come that was to come.
    fn silence(&self) -> Option<Duration> {
        let (_, listener, begun) = self.listener.as_ref()?;
        Some(listener.ear().last.unwrap_or(*begun).elapsed())
    }

    fn feed(&self) -> Feed {
        let Some(silence) = self.silence() else {
            let is_undecided = self.replies.borrow().is_none() && self.begun.elapsed() < UNDECIDED;
            return if is_undecided || self.look.is_some() { Feed::Pushed } else { Feed::Pulled };
        };
        let most = if self.ear().last.is_some() { SILENCE } else { NOTHING };
        if silence < most { Feed::Pushed } else { Feed::Pulled }
    }

    /// A group is needed while one of its pieces is awaited and not here.
    fn tell_needs(&mut self, receiver: &Receiver) {
        let Some((_, listener, _)) = &self.listener else { return };
        // Where the disk is so slow that no room is left, nothing is asked for: it would be sent in vain, to all.
        let has_room = self.early_bytes <= self.early_most / 2;
        let is_lacking = |id: &u32| has_room && !self.early.contains_key(id) && !self.laid_by.contains(id);
        let awaited: BTreeSet<u32> = receiver.awaited().filter(is_lacking).collect();
        let (mut need, mut drop) = (Vec::new(), Vec::new());
        let chunks = self.subject.manifest.chunks();
        for ((number, group), needed) in self.subject.groups.iter().zip(&mut self.needed) {
            let pieces = chunks.get(group.pieces.clone()).unwrap_or_default();
            let is_needed = pieces.iter().any(|chunk| awaited.contains(&chunk.window));
            match (is_needed, *needed) {
                (true, false) => need.push(number),
                (false, true) => drop.push(number),
                (true, true) | (false, false) => {}
            }
            *needed = is_needed;
        }
        for (word, groups) in [(Word::Need as fn(Vec<u32>) -> Word, need), (Word::Drop, drop)] {
            if !groups.is_empty() {
                listener.say(word(groups));
            }
        }
    }

    fn windows(&self, group: u32) -> Vec<u32> {
        let pieces = self.subject.groups.get(group).map(|group| group.pieces.clone()).unwrap_or_default();
        let chunks = self.subject.manifest.chunks().get(pieces).unwrap_or_default();
        chunks.iter().map(|chunk| chunk.window).collect()
    }
}

#[cfg(test)]
mod tests;
