//! What is remembered of one machine.

use serde::{Deserialize, Serialize};

use super::{Choice, Loader, LocalBoot, Stage};
use crate::Time;

/// A machine that is back within this time, in seconds, has failed; later it was somebody who restarted it. Big
/// servers test their memory for a quarter of an hour.
pub(super) const BACK_SECONDS: u64 = 1800;
/// What a client asks within this time, in seconds, is about one boot: firmware repeats itself.
const REPEAT_SECONDS: u64 = 5;
/// Between an offer and the same client's question on port 4011, in seconds.
const FOLLOW_SECONDS: u64 = 60;
/// A machine that asks again sooner, in seconds, has not been to its disk in between.
const AWAY_SECONDS: u64 = 20;
/// Handed out so many times for nothing: the next one's turn.
const TWICE: u8 = 2;
/// Had its script so many times and never came to the agent. More patient: that may well be no loader's fault.
const THRICE: u8 = 3;

/// How far a machine came with what it was handed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Came {
    /// Nothing was heard of it.
    #[default]
    Nowhere,
    /// It has fetched the loader, whole.
    Loader,
    /// It has fetched its script, and shall start the agent.
    Script,
    /// It did what it was told.
    Done,
}

/// What one stage of one machine was handed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trail {
    pub(super) stage: Stage,
    pub(super) choice: Choice,
    pub(super) at: Time,
    pub(super) xid: u32,
    /// In an offer beside another DHCP server, rather than in an ACK.
    pub(super) offered: bool,
    pub(super) came: Came,
    /// How often it was handed out for nothing, without the last time.
    pub(super) failures: u8,
    /// What last brought it to its script.
    pub(super) worked: Option<Choice>,
    /// When that was handed out.
    #[serde(default)]
    pub(super) worked_at: Time,
}

/// How a machine was last sent to its own disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sent {
    pub(super) way: LocalBoot,
    pub(super) at: Time,
    pub(super) stage: Option<Stage>,
    /// It has not been heard of since.
    pub(super) open: bool,
    /// How often it came back from there.
    pub(super) back: u8,
}

/// What is remembered of one machine. A row of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    pub(super) trails: Vec<Trail>,
    pub(super) sent: Option<Sent>,
}

impl Past {
    pub(super) fn trail(&self, stage: Stage) -> Option<&Trail> {
        self.trails.iter().find(|trail| trail.stage == stage)
    }

    /// Everything that was begun has come to its end.
    pub(super) fn is_settled(&self) -> bool {
        let sent = self.sent.as_ref().is_none_or(|sent| !sent.open && sent.back == 0);
        sent && self.trails.iter().all(|trail| trail.came == Came::Done)
    }

    /// The stages of the boot that is under way: the last that was handed something, and when that was iPXE, the one before
    /// that brought it. What was handed to an earlier entry of the same boot order came to nothing.
    pub(super) fn under_way(&self, now: Time) -> Vec<Stage> {
        let recent = |trail: &&Trail| now.seconds_since(trail.at) <= BACK_SECONDS;
        let last = |among: &dyn Fn(&Stage) -> bool| {
            let trails = self.trails.iter().filter(recent).filter(|trail| among(&trail.stage));
            trails.max_by_key(|trail| trail.at).map(|trail| trail.stage)
        };
        let newest = last(&|_| true);
        let brought = newest.filter(|stage| stage.ipxe).and_then(|_| last(&|stage| !stage.ipxe));
        newest.into_iter().chain(brought).collect()
    }

    pub(super) fn way(&self) -> LocalBoot {
        self.sent.as_ref().map_or(LocalBoot::default(), |sent| sent.way)
    }

    pub(super) fn last(&self) -> Time {
        let sent = self.sent.as_ref().map(|sent| sent.at);
        self.trails.iter().map(|trail| trail.at).chain(sent).max().unwrap_or_default()
    }

    pub(super) fn hand(&mut self, handed: Trail) {
        let before = self.trail(handed.stage);
        let same = before.filter(|trail| trail.choice == handed.choice);
        let failures = same.map_or(0, |trail| trail.failures_by(handed.at));
        let worked = before.and_then(|trail| trail.worked);
        let worked_at = before.map_or(Time(0), |trail| trail.worked_at);
        self.trails.retain(|trail| trail.stage != handed.stage);
        self.trails.push(Trail { failures, worked, worked_at, ..handed });
    }

    pub(super) fn send(&mut self, stage: Option<Stage>, now: Time) {
        let (way, before) = (self.way(), self.sent.as_ref());
        let back = before.map_or(0, |sent| sent.back);
        // Firmware that has nowhere else to go asks again every few seconds: the first of those counts, or it would never
        // have been away.
        let same =
            before.filter(|sent| sent.open && sent.way == way && now.seconds_since(sent.at) < AWAY_SECONDS);
        let at = same.map_or(now, |sent| sent.at);
        self.sent = Some(Sent { way, at, stage, open: true, back });
    }

    /// The same stage asks again: what it was sent to is not running. Another stage may be the next entry of the same
    /// boot order.
    pub(super) fn is_back(&mut self, stage: Stage, now: Time) {
        let loader = self.trail(stage).map_or(Loader::Shim, |trail| trail.choice.loader);
        let due = |sent: &&mut Sent| {
            sent.open && sent.stage == Some(stage) && now.seconds_since(sent.at) >= AWAY_SECONDS
        };
        let Some(sent) = self.sent.as_mut().filter(due) else { return };
        sent.open = false;
        sent.back = if now.seconds_since(sent.at) > BACK_SECONDS { 0 } else { sent.back.saturating_add(1) };
        if sent.back >= THRICE {
            (sent.way, sent.back) = (sent.way.next(loader), 0);
        }
    }
}

impl Trail {
    pub(super) fn new(stage: Stage, choice: Choice, xid: u32, at: Time) -> Trail {
        let (came, worked, worked_at) = (Came::Nowhere, None, Time(0));
        Trail { stage, choice, at, xid, offered: false, came, failures: 0, worked, worked_at }
    }

    /// Whether this is still the handing out that is remembered: a client repeats itself until it is answered. `follows`:
    /// it asks on port 4011, as our offer told it.
    pub(super) fn is_same(&self, xid: u32, follows: bool, now: Time) -> bool {
        let age = now.seconds_since(self.at);
        // An offer that is asked for again and again is one that the client does not take.
        let repeated = xid == self.xid && !self.offered;
        age < REPEAT_SECONDS || (age < FOLLOW_SECONDS && (follows || repeated))
    }

    /// How often it was handed out for nothing, with the last time.
    fn failures_by(&self, now: Time) -> u8 {
        let over = self.came == Came::Done || now.seconds_since(self.at) > BACK_SECONDS;
        if over { 0 } else { self.failures.saturating_add(1) }
    }

    /// What is handed out next.
    pub(super) fn next(&self, chain: &[Choice], xid: u32, follows: bool, now: Time) -> Option<Choice> {
        if self.is_same(xid, follows, now) || self.failures_by(now) < self.patience() {
            return Some(self.choice);
        }
        let at = chain.iter().position(|choice| *choice == self.choice)?;
        chain.iter().cycle().nth(at + 1).copied()
    }

    fn patience(&self) -> u8 {
        let unsigned = self.choice.loader == Loader::Ipxe && self.stage.path.is_uefi() && !self.stage.ipxe;
        match self.came {
            Came::Script => THRICE,
            // Secure Boot looks so: it was fetched whole, and nothing was heard of it.
            Came::Loader if unsigned => 1,
            Came::Nowhere | Came::Loader | Came::Done => TWICE,
        }
    }
}
