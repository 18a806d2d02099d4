//! Schema versions: append-only, each in its own transaction, never backwards.

use std::path::Path;

use rusqlite::Connection;

use super::StoreError;

/// Step `n` brings a database from version `n` to `n + 1`. Steps that were released are never edited.
const STEPS: &[&str] = &[
    "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
    INSERT INTO meta (key, value) VALUES ('epoch', 1);
    CREATE TABLE node (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE image (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE plan (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE job (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE certificate (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE lease (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE quarantine (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE identity (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE event (
        seq INTEGER PRIMARY KEY,
        time INTEGER NOT NULL,
        node TEXT,
        mac TEXT,
        kind TEXT NOT NULL,
        text TEXT NOT NULL
    ) STRICT;
    CREATE INDEX event_node ON event (node, seq);
",
    "
    CREATE TABLE reservation (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
",
    "
    CREATE TABLE boot (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
",
    "
    CREATE TABLE capture (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
",
    "
    CREATE TABLE power (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
",
    "
    CREATE TABLE journal (
        seq INTEGER PRIMARY KEY,
        time INTEGER NOT NULL,
        actor TEXT NOT NULL,
        kind TEXT NOT NULL,
        node TEXT NOT NULL,
        body TEXT NOT NULL,
        previous BLOB NOT NULL,
        hash BLOB NOT NULL
    ) STRICT;
    CREATE INDEX journal_node ON journal (node, seq);
    CREATE TRIGGER journal_stays BEFORE DELETE ON journal
        BEGIN SELECT RAISE(ABORT, 'the journal is only appended to'); END;
    CREATE TRIGGER journal_as_written BEFORE UPDATE ON journal
        BEGIN SELECT RAISE(ABORT, 'the journal is only appended to'); END;
",
    "
    CREATE TABLE retirement (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
",
    "
    CREATE TABLE rollout (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
",
    "
    CREATE TABLE site (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE burn_in (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE preflight (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
",
    // A version that does not know of it would give a cloud whose passwords were rotated those of before: it must refuse instead.
    "
    CREATE TABLE cloud (key TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
",
];

/// The newest version.
pub const SCHEMA: usize = STEPS.len();

/// Brings the database to the newest version.
pub(super) fn forward(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let reading = StoreError::sql("reading the schema version");
    let version: usize =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(reading)?;
    if version > STEPS.len() {
        return Err(StoreError::Later { path: path.to_owned(), found: version, known: STEPS.len() });
    }
    for (at, step) in STEPS.iter().enumerate().skip(version) {
        let transaction = connection.transaction().map_err(StoreError::sql("beginning a migration"))?;
        transaction.execute_batch(step).map_err(StoreError::sql("migrating the schema"))?;
        transaction
            .pragma_update(None, "user_version", at + 1)
            .map_err(StoreError::sql("recording the schema version"))?;
        transaction.commit().map_err(StoreError::sql("committing a migration"))?;
    }
    Ok(())
}
