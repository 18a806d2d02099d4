//! The chain: what of a record is hashed, in which order.

use fleet::Time;
use fleet::journal::Entry;
use ring::digest::{Context, SHA256};
use serde_json::Value;

/// What every hash begins with: no other thing that is hashed here begins so.
const DOMAIN: &[u8] = b"rackwright journal record v1\n";
/// Bytes of a body; a longer one is written down as its length and hash.
const MAX_BODY: usize = 16 << 10;

/// SHA-256 of something.
pub type Hash = [u8; 32];

/// Where a chain ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The number of the last record; 0: there is none.
    pub seq: u64,
    /// Its hash; all zero: there is none.
    pub hash: Hash,
}

/// One record, as it is kept. All texts are as they were hashed, not read and written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// From 1, without gaps.
    pub seq: u64,
    /// By the controller's clock.
    pub time: Time,
    /// Canonical JSON of a [`fleet::journal::Actor`].
    pub actor: String,
    /// A stable word.
    pub kind: String,
    /// The node's id; empty where it is about none.
    pub node: String,
    /// Canonical JSON.
    pub body: String,
    /// The hash of the record before this one.
    pub previous: Hash,
    /// The hash of this one.
    pub hash: Hash,
}

impl Record {
    /// The record that this entry becomes after that head.
    pub fn after(head: &Head, entry: &Entry) -> Record {
        let actor = serde_json::to_value(&entry.actor).unwrap_or_default();
        let mut record = Record {
            seq: head.seq + 1,
            time: entry.time,
            actor: canonical(&actor),
            kind: entry.kind.to_owned(),
            node: entry.node.map(|node| node.to_string()).unwrap_or_default(),
            body: bounded(canonical(&entry.body)),
            previous: head.hash,
            hash: [0; 32],
        };
        record.hash = record.computed();
        record
    }

    /// The hash that its content has.
    pub fn computed(&self) -> Hash {
        let mut context = Context::new(&SHA256);
        context.update(DOMAIN);
        context.update(&self.previous);
        context.update(&self.seq.to_be_bytes());
        context.update(&self.time.0.to_be_bytes());
        for text in [&self.actor, &self.kind, &self.node, &self.body] {
            // Lengths first: no two records are hashed as the same bytes.
            context.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(text.as_bytes());
        }
        digest(context)
    }

    /// The head of a chain that ends with it.
    pub fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash }
    }
}

/// SHA-256 of these bytes.
pub fn sha256(bytes: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    digest(context)
}

fn digest(context: Context) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// JSON without spaces, the keys of every object in the order of their bytes.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut pairs = map.iter().collect::<Vec<_>>();
            pairs.sort_by_key(|(key, _)| key.as_bytes());
            let pairs = pairs.into_iter().map(|(key, value)| format!("{}:{}", text(key), canonical(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(","))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn text(key: &str) -> String {
    Value::String(key.to_owned()).to_string()
}

/// A body that nobody can blow up.
fn bounded(body: String) -> String {
    if body.len() <= MAX_BODY {
        return body;
    }
    let hash = data_encoding::HEXLOWER.encode(&sha256(body.as_bytes()));
    canonical(&serde_json::json!({"bytes": body.len(), "sha256": hash}))
}

/// A hash as people and files spell it.
pub fn hexadecimal(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
