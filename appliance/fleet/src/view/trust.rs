//! The site CA, and who depends on which.

use serde::{Deserialize, Serialize};

use crate::{Fleet, Site, Time, trust};

/// The site CA, as `rackwright key ca show` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustView {
    /// SHA-256 of the CA's certificate that signs now, in hexadecimal.
    pub ca: String,
    /// The other one that is trusted, while it is changed.
    pub other: Option<String>,
    /// `settled` or `changing`.
    pub state: String,
    /// Since when.
    pub since: Option<String>,
    /// How many nodes there are that were let in.
    pub nodes: u64,
    /// Those that would be locked out if it were finished now.
    pub waiting: Vec<TrustRow>,
    /// What is to be typed to finish it.
    pub confirm: String,
}

/// A node that depends on the other CA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustRow {
    /// Its name.
    pub node: String,
    /// Its state.
    pub state: String,
    /// When it was last heard.
    pub heard: String,
    /// Why it has not moved.
    pub why: String,
}

/// The site CA now.
#[must_use]
pub fn trust_view(fleet: &Fleet, site: &Site, now: Time) -> TrustView {
    let other = fleet.trust.as_ref().and_then(|trust| trust.other);
    let rows = trust::waits(fleet, now).into_iter().filter_map(|waiting| {
        let node = fleet.nodes.get(&waiting.node)?;
        let (name, state) = (node.name.to_string(), node.state.word().to_owned());
        Some(TrustRow { node: name, state, heard: node.heard.to_string(), why: waiting.why })
    });
    TrustView {
        ca: trust::wanted(fleet, site).to_string(),
        other: other.map(|pin| pin.to_string()),
        state: if other.is_some() { "changing" } else { "settled" }.to_owned(),
        since: fleet.trust.as_ref().map(|trust| trust.since.to_string()),
        nodes: fleet.nodes.values().filter(|node| node.is_let_in()).count() as u64,
        waiting: rows.collect(),
        confirm: site.name.clone(),
    }
}
