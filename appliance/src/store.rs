//! State on disk: SQLite, one writer, forward migrations, nothing acknowledged before it is durable.
//!
//! Rows are whole objects as JSON beside their key: what they mean is known by `fleet` and `pxe`, not here.

mod migrate;
mod read;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use fleet::event::Fact;
use fleet::{Change, Fleet, Time};
use protocol::{Epoch, IdentityFile, NodeId};
use pxe::Mac;
use pxe::dhcp::{Lease, LeaseChange, Leases};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use read::Log;

/// Why state could not be read or saved.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file could not be opened.
    #[error("opening {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Written by a later version.
    #[error("{} was written by a later version (schema {found}, this one knows {known}): install that version again", path.display())]
    Later {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: usize,
        /// Ours.
        known: usize,
    },
    /// The file system has no room.
    #[error(
        "the controller's disk is full: free some space under its state directory (rackwright image list shows what is large)"
    )]
    Full(#[source] rusqlite::Error),
    /// A statement failed.
    #[error("{what}")]
    Sql {
        /// Gerund.
        what: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A row is not what this version wrote.
    #[error("reading {table} {key}: the row is damaged")]
    Row {
        /// The table.
        table: &'static str,
        /// The key.
        key: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The writer's thread could not be started.
    #[error("starting the writer's thread")]
    Thread {
        /// What the kernel said.
        source: std::io::Error,
    },
    /// Two rows contradict each other.
    #[error("reading the leases: {0}")]
    Leases(String),
}

impl StoreError {
    pub(crate) fn sql(what: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
        move |source| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull | rusqlite::ErrorCode::SystemIoFailure) => {
                StoreError::Full(source)
            }
            _ => StoreError::Sql { what, source },
        }
    }
}

/// How much of the event log is kept.
#[derive(Clone, Copy, Debug)]
struct Retention {
    /// Lines in all: months of a rack, some 20 MB.
    lines: u64,
    /// Of these, lines about machines that are no node: whoever makes up addresses pushes only such lines out.
    strangers: u32,
    /// After so many new lines the old ones are looked for.
    every: u64,
}

const RETENTION: Retention = Retention { lines: 100_000, strangers: 20_000, every: 1000 };

/// The writer's connection.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    retention: Retention,
}

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
}

impl Batch {
    /// Whether there is nothing to save.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
            && self.facts.is_empty()
            && self.leases.is_empty()
            && self.identities.is_empty()
    }
}

impl Store {
    /// Opens or makes the database and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError`]; a database from a later version is left alone.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let opening = |source| StoreError::Open { path: path.to_owned(), source };
        let mut connection = Connection::open(path).map_err(opening)?;
        // A power cut must not lose what was acknowledged: FULL syncs the WAL at every commit.
        connection
            .execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000;")
            .map_err(opening)?;
        migrate::forward(&mut connection, path)?;
        Ok(Self { connection, retention: RETENTION })
    }

    /// Everything the fleet's decisions are made of.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn fleet(&self) -> Result<Fleet, StoreError> {
        let mut fleet = Fleet { epoch: Epoch(self.number("epoch")?.unwrap_or(1)), ..Fleet::default() };
        for node in self.rows("node")? {
            fleet.put(Change::Node(node));
        }
        for image in self.rows("image")? {
            fleet.put(Change::Image(image));
        }
        for plan in self.rows("plan")? {
            fleet.put(Change::Plan(plan));
        }
        for job in self.rows("job")? {
            fleet.put(Change::Job(job));
        }
        for certificate in self.rows("certificate")? {
            fleet.put(Change::Certificate(certificate));
        }
        Ok(fleet)
    }

    /// All leases.
    ///
    /// # Errors
    /// [`StoreError`], also when two rows hold one address.
    pub fn leases(&self) -> Result<Leases, StoreError> {
        let leases: Vec<(Mac, Lease)> = self.rows("lease")?;
        let quarantine: Vec<(Ipv4Addr, pxe::Time)> = self.rows("quarantine")?;
        Leases::from_rows(leases, quarantine).map_err(|why| StoreError::Leases(why.to_string()))
    }

    /// The number of the last line of the log; 0 when it is empty.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn last_seq(&self) -> Result<u64, StoreError> {
        let last = self.connection.query_row("SELECT coalesce(max(seq), 0) FROM event", [], |row| row.get(0));
        last.map_err(StoreError::sql("reading the event log"))
    }

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
        transaction.commit().map_err(StoreError::sql("committing"))
    }

    /// The identity files that are kept for a node.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn identity(&self, node: NodeId) -> Result<Vec<IdentityFile>, StoreError> {
        let text = self
            .connection
            .query_row("SELECT body FROM identity WHERE key = ?1", [node.to_string()], |row| {
                row.get::<_, String>(0)
            })
            .optional()
            .map_err(StoreError::sql("reading identity files"))?;
        text.map_or(Ok(Vec::new()), |text| decode("identity", &node.to_string(), &text))
    }

    fn number(&self, key: &str) -> Result<Option<u64>, StoreError> {
        let row = self.connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0));
        row.optional().map_err(StoreError::sql("reading settings"))
    }

    fn rows<T: DeserializeOwned>(&self, table: &'static str) -> Result<Vec<T>, StoreError> {
        let reading = "reading the state";
        let sql = format!("SELECT key, body FROM {table}");
        let mut statement = self.connection.prepare(&sql).map_err(StoreError::sql(reading))?;
        let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
        let rows = rows.map_err(StoreError::sql(reading))?;
        rows.map(|row| {
            let (key, body) = row.map_err(StoreError::sql(reading))?;
            decode(table, &key, &body)
        })
        .collect()
    }
}

fn decode<T: DeserializeOwned>(table: &'static str, key: &str, body: &str) -> Result<T, StoreError> {
    serde_json::from_str(body).map_err(|source| StoreError::Row { table, key: key.to_owned(), source })
}

fn save_change(transaction: &Transaction<'_>, change: &Change) -> Result<(), StoreError> {
    match change {
        Change::Node(node) => put(transaction, "node", &node.id.to_string(), node),
        Change::Image(image) => put(transaction, "image", &image.digest.to_string(), image),
        Change::Plan(plan) => put(transaction, "plan", &plan.id.to_string(), plan),
        Change::Job(job) => put(transaction, "job", &job.id.to_string(), job),
        Change::Certificate(row) => put(transaction, "certificate", &row.fingerprint, row),
        Change::ForgetCertificate(key) => {
            execute(transaction, "DELETE FROM certificate WHERE key = ?1", params![key])
        }
    }
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
