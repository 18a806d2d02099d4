//! Records, as they lie in the data base.

use fleet::Time;
use rusqlite::{Connection, Row, params};

use super::Record;
use crate::store::StoreError;

const COLUMNS: &str = "SELECT seq, time, actor, kind, node, body, previous, hash FROM journal";

/// Up to `limit` records after `after`, in order; with `after` 0 the newest. Of one node, when given.
///
/// # Errors
/// [`StoreError`].
pub fn records(
    connection: &Connection,
    after: u64,
    limit: u32,
    node: Option<&str>,
) -> Result<Vec<Record>, StoreError> {
    let order = if after == 0 { "DESC" } else { "ASC" };
    let sql = format!("{COLUMNS} WHERE seq > ?1 AND (?3 IS NULL OR node = ?3) ORDER BY seq {order} LIMIT ?2");
    let failed = || StoreError::sql("reading the journal");
    let mut statement = connection.prepare(&sql).map_err(failed())?;
    let rows = statement.query_map(params![after, limit, node], record).map_err(failed())?;
    let mut records = rows.collect::<Result<Vec<_>, _>>().map_err(failed())?;
    records.sort_by_key(|record| record.seq);
    Ok(records)
}

/// Gives every record to `each`, in the order of their numbers, until it says false.
pub(super) fn walk(connection: &Connection, mut each: impl FnMut(Record) -> bool) -> Result<(), StoreError> {
    let failed = || StoreError::sql("reading the journal");
    let mut statement = connection.prepare(&format!("{COLUMNS} ORDER BY seq")).map_err(failed())?;
    let mut rows = statement.query([]).map_err(failed())?;
    while let Some(row) = rows.next().map_err(failed())? {
        if !each(record(row).map_err(failed())?) {
            break;
        }
    }
    Ok(())
}

/// A hash of another length is none that any record has.
fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let hash = |at| row.get::<_, Vec<u8>>(at).map(|bytes| bytes.try_into().unwrap_or([0xff; 32]));
    Ok(Record {
        seq: row.get(0)?,
        time: Time(row.get(1)?),
        actor: row.get(2)?,
        kind: row.get(3)?,
        node: row.get(4)?,
        body: row.get(5)?,
        previous: hash(6)?,
        hash: hash(7)?,
    })
}
