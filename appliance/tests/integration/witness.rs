//! A second, read-only connection to the data base: what is there at the moment an answer arrives.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

const TABLES: [&str; 10] =
    ["boot", "certificate", "event", "identity", "image", "job", "lease", "node", "plan", "reservation"];

pub(crate) fn open(folder: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(folder.join("state.db"), flags).unwrap()
}

/// All rows of a table, as JSON.
pub(crate) fn rows(folder: &Path, table: &str) -> Vec<Value> {
    let connection = open(folder);
    let mut statement = connection.prepare(&format!("SELECT body FROM {table} ORDER BY key")).unwrap();
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    rows.map(|row| serde_json::from_str(&row.unwrap()).unwrap()).collect()
}

/// The only row of a table.
pub(crate) fn only(folder: &Path, table: &str) -> Value {
    let mut rows = rows(folder, table);
    assert_eq!(rows.len(), 1, "rows of {table}");
    rows.remove(0)
}

/// Everything there is, to be compared with what there was.
pub(crate) fn everything(folder: &Path) -> Vec<(String, Vec<String>)> {
    let connection = open(folder);
    let dump = |table: &str| {
        let mut statement = connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1")).unwrap();
        let columns = statement.column_count();
        let line = |row: &rusqlite::Row<'_>| {
            let cells = (0..columns).map(|at| Ok(format!("{:?}", row.get::<_, rusqlite::types::Value>(at)?)));
            cells.collect::<rusqlite::Result<Vec<_>>>().map(|cells| cells.join("|"))
        };
        statement.query_map([], line).unwrap().map(Result::unwrap).collect::<Vec<_>>()
    };
    TABLES.iter().map(|&table| (table.to_owned(), dump(table))).collect()
}

/// What SQLite says of the file.
pub(crate) fn integrity(folder: &Path) -> String {
    open(folder).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}
