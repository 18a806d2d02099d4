//! The cloud's passwords: how far a rotation is. Never one of them, nor what they are made of.

use serde::{Deserialize, Serialize};

use crate::cloud::passwords;
use crate::{Catalog, Fleet, Site, Time};

/// The cloud's passwords, as `rackwright cloud passwords show` has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PasswordsView {
    /// How many times they were rotated.
    pub number: u64,
    /// When the last rotation was begun.
    pub since: Option<String>,
    /// `settled` or `rotating`.
    pub state: String,
    /// What the rotation waits for.
    pub why: Option<String>,
    /// How many nodes there are that have a system.
    pub nodes: u64,
    /// Those that have not gone through their document with the new passwords, nodes that are away among them.
    pub waiting: Vec<PasswordsRow>,
    /// What is to be typed to rotate them.
    pub confirm: String,
}

/// A node that does not have the passwords yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PasswordsRow {
    /// Its name.
    pub node: String,
    /// Its state.
    pub state: String,
    /// When it was last heard.
    pub heard: String,
    /// It is off or silent, or its system is not up: nobody waits for it, unless it is the control node.
    pub away: bool,
    /// What it waits for.
    pub why: String,
}

/// The passwords now.
#[must_use]
pub fn passwords_view(fleet: &Fleet, site: &Site, catalog: &Catalog, now: Time) -> PasswordsView {
    let rows = passwords::waits(fleet, catalog, now).into_iter().filter_map(|waiting| {
        let node = fleet.nodes.get(&waiting.node)?;
        Some(PasswordsRow {
            node: node.name.to_string(),
            state: node.state.word().to_owned(),
            heard: node.heard.to_string(),
            away: waiting.away,
            why: waiting.why,
        })
    });
    let why = passwords::goes_on(fleet, catalog, now);
    let with_system = fleet.nodes.values().filter(|node| node.has_system() && node.is_let_in());
    PasswordsView {
        number: passwords::wanted(fleet).number,
        since: fleet.passwords.as_ref().map(|passwords| passwords.since.to_string()),
        state: if why.is_some() { "rotating" } else { "settled" }.to_owned(),
        why,
        nodes: with_system.count() as u64,
        waiting: rows.collect(),
        confirm: site.name.clone(),
    }
}
