//! State on disk: SQLite, one writer, forward migrations, nothing acknowledged before it is durable.
//!
//! Rows are whole objects as JSON beside their key: what they mean is known by `fleet` and `pxe`, not here.

mod checkpoint;
mod migrate;
mod read;
mod save;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use fleet::burn_in::Wish;
use fleet::limits::Limits;
use fleet::{Change, Fleet};
use protocol::{Ek, Epoch, IdentityFile, NodeId};
use pxe::Mac;
use pxe::boot::{History, Past};
use pxe::dhcp::{Lease, Leases};
use rusqlite::{Connection, OptionalExtension};
use serde::de::DeserializeOwned;

use crate::journal::{Head, HeadError, Heads, Place};
use crate::reservation::Reservation;
pub use checkpoint::Checkpoints;
pub use migrate::SCHEMA;
pub use read::Log;
pub use save::Batch;

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
        "the controller's disk is full; free space under its state directory (rackwright status says where), then ask \
         again"
    )]
    Full(#[source] rusqlite::Error),
    /// The file system fails.
    #[error(
        "the controller's disk fails while {what}; see whether it is full (rackwright status) and what the kernel says \
         of it (journalctl -k)"
    )]
    Disk {
        /// Gerund.
        what: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
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
    /// The heads of the journal can't be signed.
    #[error("signing the journal")]
    Heads(#[from] HeadError),
}

impl StoreError {
    pub(crate) fn sql(what: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
        move |source| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => StoreError::Full(source),
            Some(rusqlite::ErrorCode::SystemIoFailure) => StoreError::Disk { what, source },
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

/// Statements kept ready: all that saving has.
const STATEMENTS: usize = 32;

/// The writer's connection.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    retention: Retention,
    path: PathBuf,
    folder: PathBuf,
    /// Where the journal ends.
    head: Head,
    limits: Limits,
    first_test: Option<Wish>,
    expected_tpms: BTreeSet<Ek>,
}

impl Store {
    /// Opens or makes the database and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError`]; a database from a later version is left alone.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let opening = |source| StoreError::Open { path: path.to_owned(), source };
        let mut connection = Connection::open(path).map_err(opening)?;
        // A power cut must not lose what was acknowledged: FULL syncs the WAL at every commit. Moving it into the data base
        // is for another thread ([`Checkpoints`]); what that leaves is moved here, seldom, because whoever asks at that
        // moment waits. The cache is bounded.
        connection
            .execute_batch(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000;
                 PRAGMA wal_autocheckpoint=8000; PRAGMA cache_size=-8192;",
            )
            .map_err(|source| match StoreError::sql("opening the data base")(source) {
                StoreError::Sql { source, .. } => opening(source),
                of_the_disk @ (StoreError::Full(_)
                | StoreError::Disk { .. }
                | StoreError::Open { .. }
                | StoreError::Later { .. }
                | StoreError::Row { .. }
                | StoreError::Thread { .. }
                | StoreError::Heads(_)
                | StoreError::Leases(_)) => of_the_disk,
            })?;
        migrate::forward(&mut connection, path)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).to_owned();
        let head = journal_head(&connection)?;
        let path = path.to_owned();
        let (limits, first_test, expected_tpms) = (Limits::NONE, None, BTreeSet::new());
        let retention = RETENTION;
        Ok(Self { connection, retention, path, folder, head, limits, first_test, expected_tpms })
    }

    /// Moves the write-ahead log into the data base, on a thread of its own that ends with what is returned.
    ///
    /// # Errors
    /// [`StoreError`]: the data base can't be opened again, or the thread not started.
    pub fn checkpoints(&self) -> Result<Checkpoints, StoreError> {
        Checkpoints::start(&self.path)
    }

    /// Signs the heads of the journal, on a thread of its own that ends with what is returned.
    ///
    /// # Errors
    /// [`StoreError::Heads`].
    pub fn heads(&self) -> Result<Heads, StoreError> {
        Ok(Heads::start(&Place::beside(&self.path), self.head)?)
    }

    /// Where the journal ends, as of the last commit.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Every server of the fleet that is read from it is tested so, once.
    #[must_use]
    pub fn testing(self, first_test: Option<Wish>) -> Self {
        Self { first_test, ..self }
    }

    /// The same, whose fleet lets servers with these TPMs in by itself.
    #[must_use]
    pub fn expecting(self, expected_tpms: BTreeSet<Ek>) -> Self {
        Self { expected_tpms, ..self }
    }

    /// The fleet that is read from it has these limits.
    #[must_use]
    pub fn limited(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// The directory that the data base is in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Everything the fleet's decisions are made of.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn fleet(&self) -> Result<Fleet, StoreError> {
        let epoch = Epoch(self.number("epoch")?.unwrap_or(1));
        let (limits, first_test) = (self.limits, self.first_test.clone());
        let expected_tpms = self.expected_tpms.clone();
        let mut fleet = Fleet { epoch, limits, first_test, expected_tpms, ..Fleet::default() };
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
        for capture in self.rows("capture")? {
            fleet.put(Change::Capture(capture));
        }
        for power in self.rows("power")? {
            fleet.put(Change::Power(power));
        }
        for retirement in self.rows("retirement")? {
            fleet.put(Change::Retirement(retirement));
        }
        for test in self.rows("burn_in")? {
            fleet.put(Change::BurnIn(test));
        }
        for rollout in self.rows("rollout")? {
            fleet.put(Change::Rollout(rollout));
        }
        if let Some(trust) = self.of_site("trust")? {
            fleet.put(Change::Trust(trust));
        }
        for passwords in self.rows("cloud")? {
            fleet.put(Change::Passwords(passwords));
        }
        if let Some(objects) = self.of_site("objects")? {
            fleet.put(Change::Objects(objects));
        }
        if let Some(attendance) = self.of_site("attendance")? {
            fleet.put(Change::Attendance(attendance));
        }
        if let Some(invitations) = self.of_site("invitations")? {
            fleet.put(Change::Invitations(invitations));
        }
        if let Some(doubt) = self.of_site("clock")? {
            fleet.put(Change::Clock(doubt));
        }
        for check in self.rows("preflight")? {
            fleet.put(Change::Preflight(check));
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

    /// What became of earlier boots.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn boots(&self) -> Result<History, StoreError> {
        Ok(History::from_rows(self.rows::<(Mac, Past)>("boot")?))
    }

    /// Servers that were made known before they came.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn reservations(&self) -> Result<BTreeMap<Mac, Reservation>, StoreError> {
        let rows: Vec<(Mac, Reservation)> = self.rows("reservation")?;
        Ok(rows.into_iter().collect())
    }

    /// The number of the last line of the log; 0 when it is empty.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn last_seq(&self) -> Result<u64, StoreError> {
        let last = self.connection.query_row("SELECT coalesce(max(seq), 0) FROM event", [], |row| row.get(0));
        last.map_err(StoreError::sql("reading the event log"))
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

    /// What is kept of the whole site by this name; none before it was kept.
    fn of_site<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreError> {
        let sql = "SELECT body FROM site WHERE key = ?1";
        let body = self.connection.query_row(sql, [key], |row| row.get::<_, String>(0)).optional();
        let body = body.map_err(StoreError::sql("reading the state"))?;
        body.map(|body| decode("site", key, &body)).transpose()
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

fn journal_head(connection: &Connection) -> Result<Head, StoreError> {
    let sql = "SELECT seq, hash FROM journal ORDER BY seq DESC LIMIT 1";
    // One that somebody has bent is found by whoever checks the chain; the rack goes on meanwhile.
    let hash = |bytes: Vec<u8>| bytes.try_into().unwrap_or([0xff; 32]);
    let row = connection.query_row(sql, [], |row| Ok(Head { seq: row.get(0)?, hash: hash(row.get(1)?) }));
    Ok(row.optional().map_err(StoreError::sql("reading the journal"))?.unwrap_or_default())
}

fn decode<T: DeserializeOwned>(table: &'static str, key: &str, body: &str) -> Result<T, StoreError> {
    serde_json::from_str(body).map_err(|source| StoreError::Row { table, key: key.to_owned(), source })
}
