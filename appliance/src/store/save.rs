//! Saving: one batch, one transaction.

use fleet::event::Fact;
use fleet::journal::Entry;
use fleet::{Change, Time};
use protocol::{IdentityFile, NodeId};
use pxe::Mac;
use pxe::boot::Rows;
use pxe::dhcp::LeaseChange;
use rusqlite::{Transaction, params};
use serde::Serialize;

use super::{Retention, Store, StoreError};
use crate::journal::{Head, Record};
use crate::reservation::Reservation;

/// What one batch saves.
#[derive(Debug, Default)]
pub struct Batch {
    /// Rows of the fleet.
    pub changes: Vec<Change>,
    /// Lines of the log, each with its number.
    pub facts: Vec<(u64, Time, Fact)>,
    /// Leases.
    pub leases: Vec<LeaseChange>,
    /// Identity files of nodes: each node's whole set.
    pub identities: Vec<(NodeId, Vec<IdentityFile>)>,
    /// What became of machines' boots; None: forgotten.
    pub boots: Rows,
    /// Servers that are known before they come, or no longer.
    pub reservations: Vec<(Mac, Option<Reservation>)>,
    /// Records of the journal; their numbers and hashes are made when they are saved.
    pub journal: Vec<Entry>,
}

impl Batch {
    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.changes.len()
            + self.facts.len()
            + self.leases.len()
            + self.identities.len()
            + self.reservations.len()
            + self.boots.len()
            + self.journal.len()
    }

    /// Takes over all of a later batch.
    pub fn append(&mut self, later: &mut Batch) {
        self.changes.append(&mut later.changes);
        self.facts.append(&mut later.facts);
        self.leases.append(&mut later.leases);
        self.identities.append(&mut later.identities);
        self.reservations.append(&mut later.reservations);
        self.boots.append(&mut later.boots);
        self.journal.append(&mut later.journal);
    }

    /// Whether there is nothing to save.
    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }
}

impl Store {
    /// Saves a batch whole or not at all; durable when it returns.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing of the batch is saved.
    pub fn save(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let transaction =
            self.connection.transaction().map_err(StoreError::sql("beginning a transaction"))?;
        for change in &batch.changes {
            save_change(&transaction, change)?;
        }
        for lease in &batch.leases {
            save_lease(&transaction, lease)?;
        }
        for (seq, time, fact) in &batch.facts {
            let node = fact.node.map(|id| id.to_string());
            let mac = fact.mac.as_ref().map(|mac| mac.as_str());
            execute(
                &transaction,
                "INSERT INTO event (seq, time, node, mac, kind, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![seq, time.0, node, mac, fact.kind, fact.text],
            )?;
        }
        if let Some((seq, ..)) =
            batch.facts.iter().rfind(|(seq, ..)| seq.is_multiple_of(self.retention.every))
        {
            prune(&transaction, *seq, self.retention)?;
        }
        for (node, files) in &batch.identities {
            put(&transaction, "identity", &node.to_string(), files)?;
        }
        for (mac, past) in &batch.boots {
            match past {
                Some(past) => put(&transaction, "boot", &mac.to_string(), &(mac, past))?,
                None => execute(&transaction, "DELETE FROM boot WHERE key = ?1", params![mac.to_string()])?,
            }
        }
        for (mac, reservation) in &batch.reservations {
            let key = mac.to_string();
            match reservation {
                Some(reservation) => put(&transaction, "reservation", &key, &(mac, reservation))?,
                None => execute(&transaction, "DELETE FROM reservation WHERE key = ?1", params![key])?,
            }
        }
        let head = append(&transaction, self.head, &batch.journal)?;
        transaction.commit().map_err(StoreError::sql("committing"))?;
        // What was not committed has no place in the chain.
        self.head = head;
        Ok(())
    }

    /// Begins another reign, and writes down why.
    ///
    /// # Errors
    /// [`StoreError`]; then it is the old one.
    pub fn reign(&mut self, epoch: u64, entry: Entry) -> Result<(), StoreError> {
        let transaction =
            self.connection.transaction().map_err(StoreError::sql("beginning a transaction"))?;
        execute(&transaction, "UPDATE meta SET value = ?1 WHERE key = 'epoch'", params![epoch])?;
        let head = append(&transaction, self.head, &[entry])?;
        transaction.commit().map_err(StoreError::sql("committing"))?;
        self.head = head;
        Ok(())
    }
}

/// Appends to the journal; where its chain ends then.
fn append(transaction: &Transaction<'_>, mut head: Head, entries: &[Entry]) -> Result<Head, StoreError> {
    for entry in entries {
        let record = Record::after(&head, entry);
        head = record.head();
        let Record { seq, time, actor, kind, node, body, previous, hash } = record;
        execute(
            transaction,
            "INSERT INTO journal (seq, time, actor, kind, node, body, previous, hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![seq, time.0, actor, kind, node, body, previous, hash],
        )?;
    }
    Ok(head)
}

fn save_change(transaction: &Transaction<'_>, change: &Change) -> Result<(), StoreError> {
    match change {
        Change::Node(node) => put(transaction, "node", &node.id.to_string(), node),
        Change::Image(image) => put(transaction, "image", &image.digest.to_string(), image),
        Change::ForgetImage(digest) => {
            execute(transaction, "DELETE FROM image WHERE key = ?1", params![digest.to_string()])
        }
        Change::Plan(plan) => put(transaction, "plan", &plan.id.to_string(), plan),
        Change::Job(job) => put(transaction, "job", &job.id.to_string(), job),
        Change::Capture(capture) => put(transaction, "capture", &capture.id.to_string(), capture),
        Change::Power(power) => put(transaction, "power", &power.node.to_string(), power),
        Change::ForgetPower(node) => {
            execute(transaction, "DELETE FROM power WHERE key = ?1", params![node.to_string()])
        }
        Change::Retirement(row) => put(transaction, "retirement", &row.id.to_string(), row),
        Change::BurnIn(row) => put(transaction, "burn_in", &row.id.to_string(), row),
        Change::Rollout(row) => put(transaction, "rollout", &row.id.0, row),
        // The last one takes the place of the one before.
        Change::Preflight(check) => put(transaction, "preflight", "last", check),
        Change::ForgetNode(id) => forget_node(transaction, &id.to_string()),
        Change::Certificate(row) => put(transaction, "certificate", &row.fingerprint, row),
        Change::ForgetCertificate(key) => {
            execute(transaction, "DELETE FROM certificate WHERE key = ?1", params![key])
        }
        Change::Trust(row) => put(transaction, "site", "trust", row),
        Change::Passwords(row) => put(transaction, "cloud", "passwords", row),
        Change::Objects(row) => put(transaction, "site", "objects", row),
        Change::Attendance(row) => put(transaction, "site", "attendance", row),
        Change::Invitations(rows) => put(transaction, "site", "invitations", rows),
        Change::Clock(doubt) => put(transaction, "site", "clock", doubt),
        // Looked at anew after every start: what was there before says little.
        Change::Network(_) => Ok(()),
    }
}

fn forget_node(transaction: &Transaction<'_>, key: &str) -> Result<(), StoreError> {
    execute(transaction, "DELETE FROM identity WHERE key = ?1", params![key])?;
    execute(transaction, "DELETE FROM power WHERE key = ?1", params![key])?;
    execute(transaction, "DELETE FROM node WHERE key = ?1", params![key])
}

fn save_lease(transaction: &Transaction<'_>, change: &LeaseChange) -> Result<(), StoreError> {
    if let Some(evicted) = &change.evicts {
        execute(transaction, "DELETE FROM lease WHERE key = ?1", params![evicted.to_string()])?;
    }
    if let Some((ip, until)) = &change.quarantine {
        put(transaction, "quarantine", &ip.to_string(), &(ip, until))?;
    }
    let key = change.mac.to_string();
    match &change.lease {
        Some(lease) => put(transaction, "lease", &key, &(change.mac, lease)),
        None => execute(transaction, "DELETE FROM lease WHERE key = ?1", params![key]),
    }
}

/// Drops the oldest lines. The numbers of the others stay, and the newest line is never dropped, so that numbers ascend
/// over restarts too.
fn prune(transaction: &Transaction<'_>, seq: u64, keep: Retention) -> Result<(), StoreError> {
    let oldest = seq.saturating_sub(keep.lines);
    execute(transaction, "DELETE FROM event WHERE seq <= ?1", params![oldest])?;
    let strangers = "DELETE FROM event WHERE node IS NULL AND seq <=
        (SELECT seq FROM event WHERE node IS NULL ORDER BY seq DESC LIMIT 1 OFFSET ?1)";
    execute(transaction, strangers, params![keep.strangers])
}

fn put<T: Serialize>(
    transaction: &Transaction<'_>,
    table: &'static str,
    key: &str,
    row: &T,
) -> Result<(), StoreError> {
    let damaged = |source| StoreError::Row { table, key: key.to_owned(), source };
    let body = serde_json::to_string(row).map_err(damaged)?;
    let sql =
        format!("INSERT INTO {table} (key, body) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET body = ?2");
    execute(transaction, &sql, params![key, body])
}

fn execute(
    transaction: &Transaction<'_>,
    sql: &str,
    values: impl rusqlite::Params,
) -> Result<(), StoreError> {
    let mut statement = transaction.prepare_cached(sql).map_err(StoreError::sql("preparing a statement"))?;
    statement.execute(values).map(drop).map_err(StoreError::sql("saving the state"))
}
