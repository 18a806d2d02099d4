//! The questions that rules ask of a trace.

use super::Facts;
use crate::Time;
use crate::trace::{Attempt, Dhcp, End, Fetch, Message, Role, Silence, Stage, Step, Trace, What};

/// How long ago something may be to belong to what happens now, in seconds.
const LATELY: u64 = 900;

/// A trace whose last attempt is looked at.
pub(super) struct Case<'a> {
    pub(super) trace: &'a Trace,
    pub(super) facts: &'a Facts,
    pub(super) now: Time,
    /// An installed system that asks for its address is no boot: what it sends is kept with the boot before it.
    pub(super) last: &'a Attempt,
}

impl<'a> Case<'a> {
    /// None of a card that nothing was heard of.
    pub(super) fn of(trace: &'a Trace, facts: &'a Facts, now: Time) -> Option<Case<'a>> {
        Some(Case { trace, facts, now, last: trace.last()? })
    }

    /// How the machine is called in a command.
    pub(super) fn name(&self) -> String {
        self.facts.node.clone().unwrap_or_else(|| self.trace.mac.to_string())
    }

    /// Whether the last attempt ended as it should: with the agent, or with the system on the disk that it was told to
    /// start. A system that started though nobody told the machine so does not make a boot from the network good.
    pub(super) fn done(&self) -> bool {
        let mut steps = self.last.steps.iter();
        let agent = match self.last.steps.last().map(|step| &step.what) {
            Some(What::Hello { refused: Some(_) } | What::Tls { .. }) => false,
            _ => steps.any(|step| step.what == What::Hello { refused: None }),
        };
        let told = self.fetches().any(|(_, fetch)| fetch.is_local());
        let system = self.last.reached() == Stage::System && (told || self.dhcp().next().is_none());
        agent || system || self.facts.heard.is_some_and(|heard| heard > self.last.began())
    }

    /// Seconds since the card was heard of.
    pub(super) fn quiet(&self) -> u64 {
        self.now.seconds_since(self.last.ended())
    }

    /// Seconds since a step.
    pub(super) fn since(&self, step: &Step) -> u64 {
        self.now.seconds_since(step.last())
    }

    /// The DHCP messages of the last attempt that a boot sent.
    pub(super) fn dhcp(&self) -> impl DoubleEndedIterator<Item = (&'a Step, &'a Dhcp)> {
        let all = self.last.steps.iter().filter_map(|step| Some((step, step.what.dhcp()?)));
        all.filter(|(_, dhcp)| dhcp.boots())
    }

    /// The files of the last attempt.
    pub(super) fn fetches(&self) -> impl DoubleEndedIterator<Item = (&'a Step, &'a Fetch)> {
        fetches(self.last)
    }

    /// The last file of this role that was sent whole.
    pub(super) fn whole(&self, role: Role) -> Option<(&'a Step, &'a Fetch)> {
        self.fetches().rev().find(|(_, fetch)| fetch.role() == role && fetch.is_whole())
    }

    /// Whether a file of this role was asked for at all.
    pub(super) fn asked(&self, role: Role) -> bool {
        self.fetches().any(|(_, fetch)| fetch.role() == role)
    }

    /// A silence of this kind, when nothing better followed.
    pub(super) fn silence(&self, cause: Silence) -> Option<(&'a Step, &'a Dhcp)> {
        let silent = self.dhcp().rev().find(|(_, dhcp)| dhcp.answer.cause() == Some(cause))?;
        let answered = self.dhcp().any(|(step, dhcp)| {
            step.at > silent.0.last() && dhcp.answer.cause().is_none() && dhcp.message != Message::Decline
        });
        (!answered && self.last.reached() <= Stage::Address).then_some(silent)
    }

    /// The steps after this one.
    pub(super) fn after(&self, step: &Step) -> impl Iterator<Item = &'a Step> {
        let at = self.last.steps.iter().rposition(|other| std::ptr::eq(other, step));
        self.last.steps.iter().skip(at.map_or(0, |at| at + 1))
    }

    /// Whether nothing of the boot followed on this step; what a system or the network did is no part of it.
    pub(super) fn ends_with(&self, step: &Step) -> bool {
        self.ends_or_optional(step) && self.after(step).all(|later| later.what.fetch().is_none())
    }

    /// The same, but that files which loaders do without may follow.
    pub(super) fn ends_or_optional(&self, step: &Step) -> bool {
        self.after(step).all(|later| match &later.what {
            What::Fetch(fetch) => fetch.end == End::Optional,
            What::Dhcp(dhcp) => !dhcp.boots(),
            What::Hello { .. } | What::Tls { .. } => false,
            What::Router | What::Link { .. } | What::Foreign { .. } => true,
        })
    }

    /// The attempts of the last quarter of an hour.
    pub(super) fn lately(&self) -> impl DoubleEndedIterator<Item = &'a Attempt> {
        let newest = self.last.ended();
        self.trace.attempts().filter(move |attempt| newest.seconds_since(attempt.ended()) <= LATELY)
    }

    /// What happened to the network since shortly before the last attempt.
    pub(super) fn around(&self) -> impl DoubleEndedIterator<Item = &'a Step> {
        let began = self.last.began();
        self.trace.around().iter().filter(move |step| step.last().plus_seconds(LATELY) >= began)
    }
}

/// The files of an attempt.
pub(super) fn fetches(attempt: &Attempt) -> impl DoubleEndedIterator<Item = (&Step, &Fetch)> {
    attempt.steps.iter().filter_map(|step| Some((step, step.what.fetch()?)))
}
