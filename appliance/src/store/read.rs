//! The event log, for readers: a connection of their own that can't write.

use std::path::{Path, PathBuf};

use fleet::Time;
use fleet::event::{Fact, Logged};
use protocol::NodeId;
use rusqlite::{Connection, OpenFlags, Row, params};

use super::StoreError;

/// Where the log is read from.
#[derive(Clone, Debug)]
pub struct Log {
    path: PathBuf,
}

impl Log {
    /// The log in this database.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The data base.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A connection that can't write.
    ///
    /// # Errors
    /// [`StoreError::Open`].
    pub fn open(&self) -> Result<Connection, StoreError> {
        let opening = |source| StoreError::Open { path: self.path.clone(), source };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Connection::open_with_flags(&self.path, flags).map_err(opening)
    }

    /// Up to `limit` lines after `after`, oldest first; with `after` 0 the newest ones. Of one node, when given:
    /// then also what happened to its NICs before it had an id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn lines(
        &self,
        after: u64,
        limit: u32,
        node: Option<(NodeId, Vec<String>)>,
    ) -> Result<Vec<Logged>, StoreError> {
        let connection = self.open()?;
        let order = if after == 0 { "DESC" } else { "ASC" };
        let (id, macs) = node.map_or((None, Vec::new()), |(id, macs)| (Some(id.to_string()), macs));
        let macs = serde_json::to_string(&macs).unwrap_or_default();
        let sql = format!(
            "SELECT seq, time, node, mac, kind, text FROM event WHERE seq > ?1
             AND (?3 IS NULL OR node = ?3 OR mac IN (SELECT value FROM json_each(?4))) ORDER BY seq {order} LIMIT ?2"
        );
        let reading = "reading the event log";
        let mut statement = connection.prepare(&sql).map_err(StoreError::sql(reading))?;
        let rows =
            statement.query_map(params![after, limit, id, macs], line).map_err(StoreError::sql(reading))?;
        let mut lines = rows.collect::<Result<Vec<_>, _>>().map_err(StoreError::sql(reading))?;
        lines.sort_by_key(|line| line.seq);
        Ok(lines)
    }
}

fn line(row: &Row<'_>) -> rusqlite::Result<Logged> {
    let node: Option<String> = row.get(2)?;
    let mac: Option<String> = row.get(3)?;
    Ok(Logged {
        seq: row.get(0)?,
        time: Time(row.get(1)?),
        fact: Fact {
            node: node.and_then(|id| id.parse().ok()),
            mac: mac.and_then(|mac| mac.parse().ok()),
            kind: row.get(4)?,
            text: row.get(5)?,
        },
    })
}
