//! The front-end of plain lines: for serial lines, screen readers and whatever is no terminal. Lines go down and are never
//! drawn again; nothing is said by colour or place.

mod complaint;

pub use complaint::{complain, meaning};

use crate::answers::NONE;
use crate::facts::{Facts, Interface};
use crate::language::{Language, Text};
use crate::phrase;
use crate::question::{Id, Kind};
use crate::session::{Message, Session, Stage};
use crate::topology::topology;
use crate::whole::problems;
use crate::wrap::{quoted, width, wrap};

/// The word that confirms.
pub const APPLY: &str = "apply";

/// What a typed line means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// This happened.
    Said(Message),
    /// Somebody wants the machine looked at again.
    Look,
    /// Nothing that is known.
    Unknown,
}

/// Reads a typed line at where the set-up is.
#[must_use]
pub fn read(session: &Session, line: &str) -> Typed {
    let line = line.trim();
    match (session.stage(), line) {
        (_, "?" | "？") => Typed::Said(Message::Help),
        (_, "<" | "＜") => Typed::Said(Message::Back),
        (Stage::Asking(id), _) => Typed::Said(Message::Answer(meant(session, id, line))),
        (_, "") => Typed::Said(Message::Help),
        (_, APPLY) => Typed::Said(Message::Confirm),
        (_, "q" | "Q") => Typed::Said(Message::Leave),
        (_, "r" | "R") => Typed::Look,
        (_, _) => match line.parse().ok().and_then(|number| nth(session.applicable(), number)) {
            Some(id) => Typed::Said(Message::Jump(id)),
            None => Typed::Unknown,
        },
    }
}

/// A number in a list is what stands there.
fn meant(session: &Session, id: Id, line: &str) -> String {
    let number = line.parse().ok();
    let word = number.and_then(|number| nth(options(session, id).into_iter(), number));
    word.map_or_else(|| line.to_owned(), |(word, _)| word)
}

fn nth<T>(mut items: impl Iterator<Item = T>, number: usize) -> Option<T> {
    items.nth(number.checked_sub(1)?)
}

/// The answers that a question offers, each with what it means.
#[must_use]
pub fn options(session: &Session, id: Id) -> Vec<(String, String)> {
    let language = session.language();
    match id.question().kind {
        Kind::Choice(choices) => choices
            .iter()
            .map(|choice| (choice.word.to_owned(), choice.title.of(language).to_owned()))
            .collect(),
        Kind::Interface { optional } => {
            let cards = session.facts.iter().flat_map(|facts: &Facts| &facts.interfaces);
            let mut all: Vec<_> = cards.map(|card| (card.name.clone(), portrait(card, language))).collect();
            all.extend(optional.then(|| (NONE.to_owned(), phrase::NO_CARD.of(language).to_owned())));
            all
        }
        Kind::Site
        | Kind::Host
        | Kind::Network
        | Kind::Neighbour(_)
        | Kind::Pool(_)
        | Kind::Vlan { .. }
        | Kind::Addresses => Vec::new(),
    }
}

fn portrait(card: &Interface, language: Language) -> String {
    let link = card.link.map(|link| if link { phrase::LINK } else { phrase::NO_LINK });
    let gateway = card.gateway.map(|gateway| gateway.address.to_string());
    let with = |phrase: Text, text: String| phrase.filled(language, &[("value", text.as_str())]);
    let mut parts: Vec<String> = card.mac.iter().map(|mac| quoted(mac, 20)).collect();
    parts.extend(link.map(|link| link.of(language).to_owned()));
    parts.extend(card.addresses.iter().map(ToString::to_string));
    parts.extend(gateway.map(|gateway| with(phrase::GATEWAY, gateway)));
    parts.extend(card.dhcp.iter().map(|server| with(phrase::DHCP_SEEN, server.to_string())));
    parts.join("  ")
}

/// Where the set-up is, in lines of at most so many cells.
#[must_use]
pub fn show(session: &Session, columns: usize) -> Vec<String> {
    let language = session.language();
    match session.stage() {
        Stage::Asking(id) => question(session, id, columns),
        Stage::Review => review(session, columns),
        Stage::Writing => wrap(phrase::WRITING.of(language), 0, columns),
        Stage::Written => done(session, columns),
        Stage::Left => wrap(phrase::LEFT.of(language), 0, columns),
    }
}

fn question(session: &Session, id: Id, columns: usize) -> Vec<String> {
    let language = session.language();
    let path: Vec<Id> = session.path().collect();
    let place = path.iter().position(|other| *other == id).map(|place| {
        let (number, all) = ((place + 1).to_string(), path.len().to_string());
        phrase::QUESTION.filled(language, &[("value", &number), ("other", &all)]) + ": "
    });
    let title = id.question().title.of(language);
    let mut lines = vec![String::new()];
    lines.extend(wrap(&(place.unwrap_or_default() + title), 0, columns));
    let options = options(session, id);
    for (number, (word, meaning)) in (1..).zip(&options) {
        lines.extend(wrap(&format!("{number}) {word}: {meaning}"), 2, columns));
    }
    if !options.is_empty() {
        lines.extend(wrap(phrase::CHOOSE.of(language), 0, columns));
    }
    let shown = session.context().value(id).filter(|value| !value.is_empty());
    let proposed = shown.map(|value| phrase::PROPOSED.filled(language, &[("value", &value)]) + "   ");
    lines.extend(wrap(&(proposed.unwrap_or_default() + phrase::KEYS.of(language)), 0, columns));
    lines
}

fn review(session: &Session, columns: usize) -> Vec<String> {
    let (language, context) = (session.language(), session.context());
    let mut lines = vec![String::new()];
    lines.extend(wrap(phrase::REVIEW.of(language), 0, columns));
    for (number, id) in (1..).zip(session.applicable()) {
        let value = context.value(id).unwrap_or_default();
        lines.extend(wrap(&format!("{number}) {}: {value}", id.question().title.of(language)), 2, columns));
    }
    let word = context.value(Id::Topology).unwrap_or_default();
    lines.extend(picture(topology(&word).map_or("", |topology| topology.choice.picture), columns));
    lines.extend(complain(&problems(&context), language, columns));
    lines.extend(wrap(phrase::REVIEW_KEYS.of(language), 0, columns));
    lines
}

fn done(session: &Session, columns: usize) -> Vec<String> {
    let (language, context) = (session.language(), session.context());
    let site = context.value(Id::Site).unwrap_or_default();
    let mut lines = wrap(&phrase::WRITTEN.filled(language, &[("value", &site)]), 0, columns);
    lines.extend(wrap(phrase::NEXT.of(language), 0, columns));
    let roles = context.value(Id::Topology).and_then(|word| Some(topology(&word)?.roles));
    let approve = (1..).zip(roles.unwrap_or_default());
    let approve = approve.map(|(number, roles)| format!("rackwright node approve n{number} --role {roles}"));
    let start = ["systemctl restart systemd-networkd rackwright", "rackwright status"].map(str::to_owned);
    lines.extend(start.into_iter().chain(approve).flat_map(|command| wrap(&command, 4, columns)));
    lines
}

/// What somebody wants to know who types `?`.
#[must_use]
pub fn explain(session: &Session, columns: usize) -> Vec<String> {
    let language = session.language();
    let Stage::Asking(id) = session.stage() else {
        return wrap(phrase::REVIEW_HELP.of(language), 0, columns);
    };
    let mut lines = wrap(id.question().help.of(language), 0, columns);
    if let Kind::Choice(choices) = id.question().kind {
        for choice in choices.iter().filter(|choice| !choice.picture.is_empty()) {
            lines.push(String::new());
            lines.extend(wrap(&format!("{}: {}", choice.word, choice.title.of(language)), 0, columns));
            lines.extend(picture(choice.picture, columns));
        }
    }
    lines
}

/// A picture, where it fits.
fn picture(picture: &str, columns: usize) -> Vec<String> {
    if picture.lines().any(|line| width(line) > columns) {
        return Vec::new();
    }
    picture.lines().map(|line| line.trim_end().to_owned()).collect()
}
