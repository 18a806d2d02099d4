//! Whether a journal is what was written: the chain from its first record, and every head that was signed.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use rusqlite::Connection;
use serde::Serialize;

use super::chain::Hash;
use super::{Head, Record, SignedHead, read};
use crate::store::StoreError;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether nothing is wrong.
    pub sound: bool,
    /// How many records follow each other from the first one.
    pub records: u64,
    /// The hash of the last of these, in lower-case hexadecimal; empty when there is none.
    pub hash: String,
    /// How many signed heads the chain was compared with.
    pub heads: usize,
    /// The number of the last record that a signature covers.
    pub signed: u64,
    /// The first fault.
    pub fault: Option<Fault>,
}

impl Report {
    /// Of a journal whose heads can't be read: they were bent.
    pub fn bent(why: String) -> Report {
        let fault = Some(Fault { seq: 0, kind: FaultKind::Forged, why });
        Report { sound: false, records: 0, hash: String::new(), heads: 0, signed: 0, fault }
    }
}

/// The first thing that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// The number of the record.
    pub seq: u64,
    /// What is wrong.
    pub kind: FaultKind,
    /// For a person.
    pub why: String,
}

/// What is wrong with a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// Its content is not what its hash was made of: it was changed, or put in another's place.
    Changed,
    /// It is not there.
    Missing,
    /// It does not follow the record before it: one was put in, or the chain was written anew from there.
    Unconnected,
    /// The end of the journal is not there.
    Cut,
    /// The chain is sound in itself, but not the one that was signed: it was written anew.
    Rewritten,
    /// The head was not signed with the controller's key.
    Forged,
}

/// Follows a chain record by record.
#[derive(Debug, Default)]
pub struct Chain {
    head: Head,
}

impl Chain {
    /// The last record that follows all before it.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Goes on to this record.
    ///
    /// # Errors
    /// [`Fault`]: it is not the next one.
    pub fn follow(&mut self, record: &Record) -> Result<(), Fault> {
        let Record { seq, .. } = record;
        let next = self.head.seq + 1;
        let fault = |seq, kind, why: String| Err(Fault { seq, kind, why });
        if *seq > next {
            let why = match *seq - next {
                1 => format!("record {next} is missing: the one after {} is {seq}", self.head.seq),
                more => format!("records {next} to {} are missing ({more})", seq - 1),
            };
            return fault(next, FaultKind::Missing, why);
        }
        if record.computed() != record.hash {
            let why = format!(
                "record {seq} is not what its hash was made of: it was changed, or is another's place"
            );
            return fault(*seq, FaultKind::Changed, why);
        }
        if *seq < next || record.previous != self.head.hash {
            let why = format!(
                "record {seq} does not follow record {}: one was put in, taken out or moved there",
                self.head.seq
            );
            return fault(*seq, FaultKind::Unconnected, why);
        }
        self.head = record.head();
        Ok(())
    }
}

/// Walks the whole journal, and compares it with the heads that were signed with `key`.
///
/// # Errors
/// [`StoreError`]: it can't be read at all. What is wrong with it is no error.
pub fn check(connection: &Connection, heads: &[SignedHead], key: &[u8]) -> Result<Report, StoreError> {
    let mut chain = Chain::default();
    let mut fault = None;
    let mut wanted: BTreeMap<u64, Vec<Hash>> = BTreeMap::new();
    for head in heads {
        match head.verified(key) {
            Some(head) => wanted.entry(head.seq).or_default().push(head.hash),
            None => fault = fault.or(Some(forged(head))),
        }
    }
    let forged = fault.take();
    let signed = wanted.keys().next_back().copied().unwrap_or(0);
    read::walk(connection, |record| {
        fault = chain.follow(&record).err();
        let unlike = |hashes: &Vec<Hash>| hashes.iter().any(|hash| *hash != record.hash);
        if fault.is_none() && wanted.get(&record.seq).is_some_and(unlike) {
            let why = format!("the chain up to record {} is not the one that was signed", record.seq);
            fault = Some(Fault { seq: record.seq, kind: FaultKind::Rewritten, why });
        }
        fault.is_none()
    })?;
    let head = chain.head();
    if fault.is_none() && head.seq < signed {
        let first = head.seq + 1;
        let why = format!("records {first} to {signed} were signed and are not there: the end was cut off");
        fault = Some(Fault { seq: first, kind: FaultKind::Cut, why });
    }
    let fault = fault.or(forged);
    let hash = if head.seq == 0 { String::new() } else { HEXLOWER.encode(&head.hash) };
    Ok(Report { sound: fault.is_none(), records: head.seq, hash, heads: heads.len(), signed, fault })
}

fn forged(head: &SignedHead) -> Fault {
    let why = format!("a head of record {} is not signed with this controller's key", head.seq);
    Fault { seq: head.seq, kind: FaultKind::Forged, why }
}
