//! The write-ahead log is moved into the data base while commits go on, so that none of them waits for it.

use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};

use rusqlite::Connection;

use super::StoreError;

/// Rows after which the log is worth moving: some thousand pages at most.
const ROWS: usize = 1000;

/// Says when there is something to move.
#[derive(Debug)]
pub struct Checkpoints {
    rows: usize,
    worth: SyncSender<()>,
}

impl Checkpoints {
    pub(super) fn start(path: &Path) -> Result<Self, StoreError> {
        let opening = |source| StoreError::Open { path: path.to_owned(), source };
        let connection = Connection::open(path).map_err(opening)?;
        let (worth, wait) = sync_channel(1);
        let thread = std::thread::Builder::new().name("checkpoint".to_owned());
        let moving = move || {
            while wait.recv().is_ok() {
                // Waits for nobody and makes nobody wait (sqlite.org/c3ref/wal_checkpoint_v2.html). What it can't move
                // stays in the log; why it can't, the next commit finds out for itself.
                let moved =
                    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(0));
                if let Err(why) = moved {
                    tracing::debug!(%why, "the log was not moved into the data base");
                }
            }
        };
        thread.spawn(moving).map_err(|source| StoreError::Thread { source })?;
        Ok(Self { rows: 0, worth })
    }

    /// So many rows were saved.
    pub fn saved(&mut self, rows: usize) {
        self.rows += rows;
        // Full: it has not yet begun with what it was told of.
        if self.rows >= ROWS && self.worth.try_send(()).is_ok() {
            self.rows = 0;
        }
    }
}
