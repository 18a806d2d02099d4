//! The black box: what one network card sent while it booted, what it was answered, and when.
//!
//! ```text
//! recorder --Step--> Book --by MAC, or by the address that DHCP tied to it--> Trace --> attempts of steps
//!                                                                               |
//!                                                              diagnose(trace, facts, now) --> findings
//! ```
//!
//! Knows how steps make an attempt, and which of them may be forgotten. Refuses to know what went wrong
//! ([`crate::diagnose`] does) and to trust a word of it: everything in here is what a stranger claimed, kept for a person
//! to read and bounded in number and length. In memory only; no answer to a packet ever depends on it.

mod book;
mod dhcp;
mod fetch;
mod plain;
mod what;
mod words;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

pub(crate) use book::is_placeholder;
pub use book::{Book, MOST_CARDS, MOST_STEPS};
pub use dhcp::{Answer, Class, Dhcp, Message, Silence};
pub use fetch::{By, End, Fetch, Role, Task, Way};
pub use plain::Plain;
pub use what::{Stage, What};

use crate::{Mac, Time};

/// Steps remembered of one card: three whole boots.
pub const STEPS: usize = 96;
/// The first steps of an attempt that is longer than that; they say how it began.
const KEPT_AT_BEGIN: usize = 12;
/// Attempts remembered of one card.
const ATTEMPTS: usize = 24;
/// After so many silent seconds, a firmware that looks for servers is at a new boot. Its own pauses are shorter.
const SILENT: u64 = 60;
/// The same for iPXE, which a port that listens before it forwards may keep waiting between loader and DHCP.
const SILENT_IPXE: u64 = 300;

/// Something that arrived, and what was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When it arrived; of a transfer, when it ended.
    pub at: Time,
    /// When it came for the last time, if it came more often than once in a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// How often it came in a row.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub times: u32,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// One try to boot: from the firmware's first question to where it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// In the order they were recorded; never empty.
    pub steps: Vec<Step>,
    /// How many were forgotten between the first ones and the rest.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u32,
}

/// The last attempts of one card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The card.
    pub mac: Mac,
    attempts: VecDeque<Attempt>,
    /// What happened to its network meanwhile: our own link, other DHCP servers.
    around: Vec<Step>,
}

fn once() -> u32 {
    1
}

fn is_once(times: &u32) -> bool {
    *times == 1
}

fn is_zero(left_out: &u32) -> bool {
    *left_out == 0
}

impl Step {
    /// Once, at this time.
    #[must_use]
    pub fn new(at: Time, what: What) -> Step {
        Step { at, until: None, times: 1, what }
    }

    /// When it came last.
    #[must_use]
    pub fn last(&self) -> Time {
        self.until.unwrap_or(self.at)
    }

    /// Counts a later step in when it says nothing new; else gives it back.
    fn absorb(&mut self, later: Step) -> Result<(), Step> {
        if let Some(done) = self.what.completed_by(&later.what) {
            self.until = None;
            *self = Step { what: done.after(self.at, later.at), ..later };
            return Ok(());
        }
        if !self.what.is_repeated_by(&later.what) {
            return Err(later);
        }
        self.until = Some(later.last().max(self.last()));
        self.times = self.times.saturating_add(later.times);
        Ok(())
    }
}

impl Attempt {
    /// When it began.
    #[must_use]
    pub fn began(&self) -> Time {
        self.steps.first().map_or(Time(0), |step| step.at)
    }

    /// When it was heard of last.
    #[must_use]
    pub fn ended(&self) -> Time {
        self.steps.iter().map(Step::last).max().unwrap_or_default()
    }

    /// The farthest stage that was passed, not merely asked for.
    #[must_use]
    pub fn reached(&self) -> Stage {
        self.steps.iter().filter_map(|step| step.what.passed()).max().unwrap_or(Stage::Asked)
    }

    /// Whether its firmware tried HTTP.
    fn is_http(&self) -> bool {
        self.steps.iter().filter_map(|step| step.what.dhcp()).any(|dhcp| dhcp.class == Class::Http)
    }

    fn push(&mut self, step: Step) {
        // A transfer that began may end after others did.
        let open = self.steps.iter_mut().rev().find(|begun| begun.what.completed_by(&step.what).is_some());
        let before = if open.is_some() { open } else { self.steps.last_mut() };
        let fresh = match before {
            Some(before) => before.absorb(step),
            None => Err(step),
        };
        if let Err(step) = fresh {
            self.steps.push(step);
        }
    }

    fn shorten(&mut self) {
        if self.steps.len() > KEPT_AT_BEGIN {
            self.steps.remove(KEPT_AT_BEGIN);
            self.left_out = self.left_out.saturating_add(1);
        }
    }
}

impl Trace {
    /// Of a card that nothing was heard of.
    #[must_use]
    pub fn new(mac: Mac) -> Trace {
        Trace { mac, attempts: VecDeque::new(), around: Vec::new() }
    }

    /// The attempts, oldest first.
    pub fn attempts(&self) -> impl DoubleEndedIterator<Item = &Attempt> {
        self.attempts.iter()
    }

    /// What happened to its network, oldest first.
    #[must_use]
    pub fn around(&self) -> &[Step] {
        &self.around
    }

    /// The attempt that is under way, or was last.
    #[must_use]
    pub fn last(&self) -> Option<&Attempt> {
        self.attempts.back()
    }

    /// When the card was heard of last.
    #[must_use]
    pub fn heard(&self) -> Time {
        self.last().map_or(Time(0), Attempt::ended)
    }

    /// How many steps are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.attempts.iter().map(|attempt| attempt.steps.len()).sum()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    /// Whether the card ever asked for something to boot. An installed system alone does not.
    #[must_use]
    pub fn boots(&self) -> bool {
        let mut steps = self.attempts.iter().flat_map(|attempt| &attempt.steps);
        steps.any(|step| step.what.dhcp().is_none_or(Dhcp::boots))
    }

    /// Takes note of a step; forgets the oldest ones beyond [`STEPS`].
    pub fn push(&mut self, step: Step) {
        if self.attempts.back().is_none_or(|last| begins(last, &step)) {
            self.attempts.push_back(Attempt::default());
        }
        if let Some(last) = self.attempts.back_mut() {
            last.push(step);
        }
        while self.len() > STEPS || self.attempts.len() > ATTEMPTS {
            self.forget();
        }
    }

    /// Takes note of something that happened to its network.
    pub fn push_around(&mut self, step: Step) {
        if self.around.len() >= STEPS {
            self.around.remove(0);
        }
        self.around.push(step);
    }

    /// The oldest attempt, or what lies in the middle of the only one.
    fn forget(&mut self) {
        if self.attempts.len() > 1 {
            self.attempts.pop_front();
        } else if let Some(only) = self.attempts.back_mut() {
            only.shorten();
        }
    }
}

/// Whether a step is the first of another boot.
fn begins(last: &Attempt, step: &Step) -> bool {
    let Some(dhcp) = step.what.dhcp() else { return false };
    if dhcp.message != Message::Discover || !dhcp.boots() {
        return false;
    }
    let silent = step.at.seconds_since(last.ended());
    // A firmware that found no file goes through all its boot entries: HTTP after PXE is one boot.
    let other_entry = dhcp.class == Class::Http && last.reached() == Stage::Disk && !last.is_http();
    if other_entry && silent < SILENT {
        return false;
    }
    if dhcp.ipxe.is_some() {
        last.reached() >= Stage::Script || silent >= SILENT_IPXE
    } else {
        last.reached() >= Stage::Loader || silent >= SILENT
    }
}
