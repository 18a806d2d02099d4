//! Whether a backup is good for anything: not only that every byte is the one that was written, but that a controller could
//! start from it.

use std::io::Cursor;
use std::path::Path;

use rusqlite::{Connection, MAIN_DB};
use serde::Serialize;

use super::parts::{CONFIG, Content, DATABASE, HEADS};
use super::{BackupError, Kit, Manifest};
use crate::journal::{self, Report};
use crate::store::StoreError;

/// What was found in a backup.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// What it says of itself.
    #[serde(flatten)]
    pub manifest: Manifest,
    /// Bytes of the file.
    pub bytes: u64,
    /// Its parts, by name, with their bytes.
    pub parts: Vec<(String, usize)>,
    /// What a check of the journal in it found.
    pub check: Report,
}

/// Opens a file and looks at everything in it.
///
/// # Errors
/// [`BackupError`], with what is wrong.
pub fn verify(path: &Path, kit: &Kit) -> Result<(Content, Verified), BackupError> {
    let reading = || BackupError::file("reading", path);
    let file = std::fs::File::open(path).map_err(reading())?;
    let bytes = file.metadata().map_err(reading())?.len();
    let content = Content::open(std::io::BufReader::new(file), bytes, kit)?;
    let check = look(&content)?;
    let parts = content.parts.iter().map(|(name, content)| (name.clone(), content.len())).collect();
    let verified = Verified { manifest: content.manifest.clone(), bytes, parts, check };
    Ok((content, verified))
}

/// Looks at every part.
///
/// # Errors
/// [`BackupError`].
pub fn look(content: &Content) -> Result<Report, BackupError> {
    let wrong = |why: String| BackupError::Content(why);
    let manifest = &content.manifest;
    let pin = crate::ca::pin_of(text(content, "ca/site-ca.pem")?);
    let pin = pin.map_err(|why| wrong(format!("the site CA can't be used: {why}")))?;
    if pin != manifest.ca {
        return Err(wrong("the site CA is not the one that the manifest names".to_owned()));
    }
    let config = crate::config::parse(text(content, CONFIG)?);
    let config = config.map_err(|why| wrong(format!("the configuration: {}", crate::chain(&why))))?;
    if config.site.as_str() != manifest.site {
        return Err(wrong("the configuration is of another site than the manifest".to_owned()));
    }
    let key = crate::ca::journal_key::parse(text(content, "ca/journal.key")?);
    let key = journal::head::public(&key.map_err(|why| wrong(format!("the journal's key: {why}")))?);
    let heads = journal::head::parse(text(content, HEADS)?);
    let heads = heads.map_err(|line| wrong(format!("line {line} of the journal's heads is none")))?;
    let database = open(content)?;
    let failed = || StoreError::sql("reading the data base in the backup");
    let sound: String =
        database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).map_err(failed())?;
    if sound != "ok" {
        return Err(wrong(format!("the data base is damaged: {sound}")));
    }
    let schema: u64 = database.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed())?;
    let known = u64::try_from(crate::store::SCHEMA).unwrap_or(u64::MAX);
    if schema > known {
        let why = format!("the data base is of a later version (schema {schema}; this one knows {known})");
        return Err(wrong(why));
    }
    let report = journal::check(&database, &heads, &key)?;
    if let Some(fault) = &report.fault {
        return Err(wrong(format!("the journal is not what was written: {}", fault.why)));
    }
    if report.records != manifest.journal || report.hash != manifest.journal_hash {
        return Err(wrong("the journal does not end where the manifest says".to_owned()));
    }
    Ok(report)
}

/// The data base, in memory: nothing of it gets onto a disk.
fn open(content: &Content) -> Result<Connection, BackupError> {
    let bytes = content.parts.get(DATABASE);
    let mut bytes = bytes.cloned().ok_or_else(|| BackupError::Content("it has no data base".to_owned()))?;
    // Without a file there is no write-ahead log: bytes 18 and 19 say which (sqlite.org/fileformat.html).
    if let Some(versions) = bytes.get_mut(18..20) {
        versions.fill(1);
    }
    let failed = || StoreError::sql("reading the data base in the backup");
    let mut connection = Connection::open_in_memory().map_err(failed())?;
    let size = bytes.len();
    connection.deserialize_read_exact(MAIN_DB, Cursor::new(bytes), size, true).map_err(failed())?;
    Ok(connection)
}

fn text<'a>(content: &'a Content, name: &str) -> Result<&'a str, BackupError> {
    let bytes = content.parts.get(name).ok_or_else(|| BackupError::Content(format!("it has no {name}")))?;
    std::str::from_utf8(bytes).map_err(|_| BackupError::Content(format!("{name} is no text")))
}
