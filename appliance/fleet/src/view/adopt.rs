//! Servers that join with their disks as they are.

use serde::{Deserialize, Serialize};

use crate::{Fleet, Time};

/// A system that was there before it was a node's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdoptedView {
    /// Since when, RFC 3339.
    pub at: String,
    /// What it was then, in its own words.
    pub system: String,
}

/// An invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvitationRow {
    /// Its id; nobody finds the token by it.
    pub id: String,
    /// `open`, `used`, `over`.
    pub state: String,
    /// What the node shall be called, if that was said.
    pub name: Option<String>,
    /// RFC 3339.
    pub made: String,
    /// RFC 3339.
    pub until: String,
    /// Who came with it.
    pub node: Option<String>,
    /// Why it is over, where that is not its time.
    pub why: Option<String>,
}

/// What is pasted on a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinLine {
    /// For servers in this subnet.
    pub subnet: String,
    /// One line for a root shell, with the secret in it.
    pub line: String,
}

/// An invitation that was just made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvitedView {
    /// Its id.
    pub id: String,
    /// Until when it is good, RFC 3339.
    pub until: String,
    /// One line for each provisioning subnet.
    pub lines: Vec<JoinLine>,
}

/// All invitations, the newest last.
pub fn invitation_rows(fleet: &Fleet, now: Time) -> Vec<InvitationRow> {
    let mut rows = fleet.invitations.0.iter().collect::<Vec<_>>();
    rows.sort_by_key(|(_, row)| row.made);
    let row = |(id, row): (&String, &crate::adopt::Invitation)| InvitationRow {
        id: id.clone(),
        state: row.word(now).to_owned(),
        name: row.name.as_ref().map(ToString::to_string),
        made: row.made.to_string(),
        until: row.until.to_string(),
        node: row.used.map(|used| super::name_of(fleet, used.node)),
        why: row.over.clone(),
    };
    rows.into_iter().map(row).collect()
}
