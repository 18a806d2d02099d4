//! Records of the journal, as people and programs see them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalRow {
    /// From 1, without gaps.
    pub seq: u64,
    /// RFC 3339.
    pub time: String,
    /// Who: [`crate::journal::Actor`] as JSON.
    pub actor: Value,
    /// A stable word.
    pub kind: String,
    /// The node's id; empty where it is about none.
    pub node: String,
    /// What it is called now.
    pub node_name: String,
    /// What, as JSON.
    pub body: Value,
    /// The hash of the record before it.
    pub previous: String,
    /// Its own.
    pub hash: String,
}

/// What a check of the journal found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalCheck {
    /// Whether nothing is wrong.
    pub sound: bool,
    /// How many records follow each other from the first one.
    pub records: u64,
    /// The hash of the last of these.
    pub hash: String,
    /// How many signed heads the chain was compared with.
    pub heads: u64,
    /// The number of the last record that a signature covers.
    pub signed: u64,
    /// The first fault.
    pub fault: Option<JournalFault>,
}

/// The first thing that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalFault {
    /// The number of the record.
    pub seq: u64,
    /// `changed`, `missing`, `unconnected`, `cut`, `rewritten`, `forged`.
    pub kind: String,
    /// For a person.
    pub why: String,
}

/// A signed head, as it is to be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalHead {
    /// The head; none while there is no record.
    pub head: Option<Value>,
    /// The public key, in lower-case hexadecimal.
    pub key: String,
}
