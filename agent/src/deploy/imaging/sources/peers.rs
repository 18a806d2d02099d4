//! Other nodes that have the image: which of them is asked next, and which is not any more.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cast::wire::door::Ask;
use pack::Digest;
use protocol::{CastReply, Source};
use tokio::sync::watch;

use super::call::{Call, NoBytes};
use crate::deploy::imaging::listen::Urge;

/// A source that has failed is left alone for so long.
const REST: Duration = Duration::from_secs(3);
/// One whose bytes took too long, although some came all the time.
const LONG_REST: Duration = Duration::from_secs(60);
/// So often in a row a source may have nothing of what it is asked for.
const EMPTY_MAX: u32 = 4;
/// Who has said so sooner will not have it.
const WAITED: Duration = Duration::from_millis(300);
/// A source that has given bytes within this time is ahead of us, and will have the rest.
const GAVE: Duration = Duration::from_secs(2);
/// How long one range is waited for where that is so; and where a source that waits with us for its first bytes may stand far down a chain.
const PATIENCE: Duration = Duration::from_secs(3);
/// Connections that are kept for each; no more ranges are fetched at once.
const KEPT: usize = 4;
/// Liars that are told of; a controller gives few sources at once.
const TOLD_MAX: usize = 64;

/// The others, as the controller named them.
#[derive(Debug)]
pub(crate) struct Peers {
    image: [u8; 32],
    replies: watch::Receiver<Option<CastReply>>,
    urge: Arc<Urge>,
    known: Mutex<Known>,
    bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    standings: Vec<Standing>,
    /// When any of them was first asked.
    asked: Option<Instant>,
    shunned: BTreeSet<SocketAddr>,
}

/// What we think of one of them.
#[derive(Debug)]
struct Standing {
    source: Source,
    idle: Vec<Call>,
    rests_until: Option<Instant>,
    /// How often in a row it had nothing of what it was asked for.
    empty: u32,
    gave: Option<Instant>,
}

impl Peers {
    /// Those that are in the controller's replies. When none of them is left, the controller is asked at once.
    pub(crate) fn new(image: &Digest, replies: watch::Receiver<Option<CastReply>>, urge: Arc<Urge>) -> Self {
        let (known, bytes) = (Mutex::default(), AtomicU64::new(0));
        Self { image: image.0, replies, urge, known, bytes }
    }

    /// Stored bytes that came from others and were right.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Those that gave wrong bytes.
    pub(crate) fn shunned(&self) -> Vec<SocketAddr> {
        self.known().shunned.iter().take(TOLD_MAX).copied().collect()
    }

    /// Whom to ask, the best first.
    pub(super) fn in_turn(&self) -> Vec<Source> {
        let sources = self.replies.borrow().as_ref().map(|reply| reply.sources.clone()).unwrap_or_default();
        let mut known = self.known();
        known.standings.retain(|standing| sources.contains(&standing.source));
        let now = Instant::now();
        let rests = |source: &Source| {
            let mut standings = known.standings.iter();
            standings.any(|one| one.source == *source && one.rests_until.is_some_and(|until| now < until))
        };
        let usable = |source: &Source| !known.shunned.contains(&source.address) && !rests(source);
        let turn: Vec<_> = sources.iter().filter(|source| usable(source)).cloned().collect();
        if turn.is_empty() && !sources.is_empty() {
            self.urge.now();
        }
        turn
    }

    /// A range from one of them, unchecked.
    pub(super) async fn range(&self, source: &Source, offset: u64, bytes: u32) -> Option<Bytes> {
        let ask = Ask { offset, bytes, image: self.image };
        let begun = Instant::now();
        loop {
            let asked = Instant::now();
            let (call, got) = match self.take(source) {
                Some(kept) => match kept.ask(&ask, source).await {
                    // It may have been closed long ago.
                    (None, Err(NoBytes::Broken)) => Call::begin(&ask, source).await,
                    other => other,
                },
                None => Call::begin(&ask, source).await,
            };
            let has_waited = asked.elapsed() >= WAITED;
            let will_have_it = self.note(source, call, got.as_ref().err(), has_waited);
            match got {
                Ok(body) => return Some(body),
                Err(NoBytes::NotHere) if has_waited && will_have_it && begun.elapsed() < PATIENCE => {}
                Err(_) => return None,
            }
        }
    }

    /// So many of a source's bytes were right.
    pub(super) fn gave(&self, source: &Source, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.standing(source, |standing| standing.gave = Some(Instant::now()));
    }

    /// A source's bytes were wrong: it is asked no more.
    pub(super) fn shun(&self, source: &Source) {
        let mut known = self.known();
        known.shunned.insert(source.address);
        known.standings.retain(|standing| standing.source != *source);
        drop(known);
        self.urge.now();
    }

    /// All of them were asked in vain.
    pub(super) fn used_up(&self) {
        self.urge.now();
    }

    fn take(&self, source: &Source) -> Option<Call> {
        self.standing(source, |standing| standing.idle.pop())
    }

    /// Remembers how it went; true when this source gives bytes at the moment, or is new and waits for its own first ones.
    fn note(&self, source: &Source, call: Option<Call>, failed: Option<&NoBytes>, has_waited: bool) -> bool {
        let now = Instant::now();
        // They wait at the same time as we do: one after the other has no more time than one.
        let asked = *self.known().asked.get_or_insert(now);
        self.standing(source, |standing| {
            standing.idle.extend(call);
            standing.idle.truncate(KEPT);
            let rest = match failed {
                None => {
                    standing.empty = 0;
                    None
                }
                Some(NoBytes::NotHere) => {
                    standing.empty += 1;
                    (standing.empty >= EMPTY_MAX).then_some(REST)
                }
                Some(NoBytes::Broken | NoBytes::Silent) => Some(REST),
                Some(NoBytes::Slow | NoBytes::OtherImage | NoBytes::Nonsense) => Some(LONG_REST),
            };
            let will_have_it = match standing.gave {
                Some(gave) => now - gave < GAVE,
                None => has_waited && now - asked < PATIENCE,
            };
            if let Some(rest) = rest
                && !(will_have_it && failed == Some(&NoBytes::NotHere))
            {
                standing.empty = 0;
                standing.rests_until = Some(now + rest);
            }
            will_have_it
        })
    }

    fn standing<T>(&self, source: &Source, work: impl FnOnce(&mut Standing) -> T) -> T {
        let mut known = self.known();
        if let Some(standing) = known.standings.iter_mut().find(|standing| standing.source == *source) {
            return work(standing);
        }
        let (idle, rests_until, empty, gave) = (Vec::new(), None, 0, None);
        let mut standing = Standing { source: source.clone(), idle, rests_until, empty, gave };
        let done = work(&mut standing);
        known.standings.push(standing);
        done
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // What is thought of others may be lost; what they give is checked all the same.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
