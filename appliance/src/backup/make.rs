//! Making a backup, while the daemon goes on: a copy of the data base of one moment, and the files beside it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use fleet::Time;
use rusqlite::{Connection, OpenFlags};

use super::parts::{CONFIG, DATABASE, HEADS, MANIFEST, end, put, put_file};
use super::seal::Sealer;
use super::{BackupError, ImageName, Kit, Manifest, Sources};
use crate::journal::chain::hexadecimal;
use crate::space::{RESERVE, Room};
use crate::store::StoreError;

/// What the names of copies begin with.
const COPY: &str = ".copy-";
/// No configuration or key is longer, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Makes a backup and writes it to `out`; what it says of itself.
///
/// # Errors
/// [`BackupError`]; what was written then has no end, and nobody takes it for a backup.
pub fn make(sources: &Sources, kit: &Kit, out: impl Write, now: Time) -> Result<Manifest, BackupError> {
    // Before the data base: no head is in it then of which the record is not.
    let heads = optional(&sources.heads, u64::MAX)?.unwrap_or_default();
    let copied = Copied::of(sources)?;
    let database = copied.read()?;
    let mut bytes = File::open(&copied.0).map_err(BackupError::file("reading", &copied.0))?;
    let ca = folder(&sources.ca, |_| true)?;
    let keys = folder(&sources.image_keys, |name| name.ends_with(".pub"))?;
    let config = optional(&sources.config, MAX_FILE)?.unwrap_or_default();
    let manifest = describe(sources, &database, &ca, now)?;
    let json = serde_json::to_vec(&manifest).map_err(|why| BackupError::Content(why.to_string()))?;
    let mut write = |out| -> io::Result<()> {
        let mut out = Sealer::begin(out, kit)?;
        put(&mut out, MANIFEST, &json)?;
        put(&mut out, CONFIG, &config)?;
        put(&mut out, HEADS, &heads)?;
        for (at, files) in [("ca/", &ca), ("image-keys/", &keys)] {
            for (name, content) in files {
                put(&mut out, &format!("{at}{name}"), content)?;
            }
        }
        put_file(&mut out, DATABASE, &mut bytes)?;
        end(out).map(drop)
    };
    write(out).map_err(BackupError::Write)?;
    Ok(manifest)
}

/// A data base of one moment, with what the manifest says of it.
struct Database {
    schema: u64,
    epoch: u64,
    nodes: u64,
    images: Vec<ImageName>,
    journal: (u64, Vec<u8>),
}

/// A copy in the state directory; gone when this is dropped.
struct Copied(PathBuf);

impl Copied {
    fn of(sources: &Sources) -> Result<Self, BackupError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = sources.state.join(format!("{COPY}{}-{number}", std::process::id()));
        let bytes =
            fs::metadata(&sources.database).map_err(BackupError::file("reading", &sources.database))?;
        let (need, free) =
            (bytes.len().saturating_add(RESERVE), Room::of(&sources.state).map_or(0, |room| room.free));
        if free < need {
            return Err(BackupError::NoRoom { need, free });
        }
        // SQLite takes an empty file, whose mode is ours to say.
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        made.map_err(BackupError::file("making", &path))?;
        let copied = Self(path);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opening = |source| StoreError::Open { path: sources.database.clone(), source };
        let from = Connection::open_with_flags(&sources.database, flags).map_err(opening)?;
        // One read transaction: the copy is of one moment, and the writer goes on (sqlite.org/lang_vacuum.html).
        let into = copied.0.to_string_lossy().into_owned();
        from.execute("VACUUM INTO ?1", [into]).map_err(StoreError::sql("copying the data base"))?;
        Ok(copied)
    }

    fn read(&self) -> Result<Database, BackupError> {
        let opening = |source| StoreError::Open { path: self.0.clone(), source };
        let copy = Connection::open(&self.0).map_err(opening)?;
        let number = |sql: &str| copy.query_row(sql, [], |row| row.get::<_, u64>(0));
        let failed = || StoreError::sql("reading the copy");
        let images = || {
            let sql = "SELECT json_extract(body, '$.name'), key FROM image ORDER BY key";
            let mut statement = copy.prepare(sql)?;
            let row = |row: &rusqlite::Row<'_>| Ok(ImageName { name: row.get(0)?, digest: row.get(1)? });
            statement.query_map([], row)?.collect::<Result<Vec<_>, _>>()
        };
        let journal =
            "SELECT coalesce(max(seq), 0), (SELECT hash FROM journal ORDER BY seq DESC LIMIT 1) FROM journal";
        let journal = copy.query_row(journal, [], |row| {
            Ok((row.get(0)?, row.get::<_, Option<Vec<u8>>>(1)?.unwrap_or_default()))
        });
        let database = Database {
            schema: number("PRAGMA user_version").map_err(failed())?,
            epoch: number("SELECT value FROM meta WHERE key = 'epoch'").map_err(failed())?,
            nodes: number("SELECT count(*) FROM node").map_err(failed())?,
            images: images().map_err(failed())?,
            journal: journal.map_err(failed())?,
        };
        Ok(database)
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// Removes the copies that an earlier life left in the state directory.
pub fn sweep(state: &Path) {
    let Ok(entries) = fs::read_dir(state) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(COPY) {
            drop(fs::remove_file(entry.path()));
        }
    }
}

fn describe(
    sources: &Sources,
    database: &Database,
    ca: &[(String, Vec<u8>)],
    now: Time,
) -> Result<Manifest, BackupError> {
    let file = ca.iter().find(|(name, _)| name == "site-ca.pem");
    let text = file.and_then(|(_, content)| std::str::from_utf8(content).ok()).unwrap_or_default();
    let ca = crate::ca::pin_of(text).map_err(|why| BackupError::Content(format!("site-ca.pem: {why}")))?;
    let (journal, hash) = &database.journal;
    Ok(Manifest {
        made: now.to_string(),
        site: sources.site.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        epoch: database.epoch,
        schema: database.schema,
        ca,
        journal: *journal,
        journal_hash: hexadecimal(hash),
        nodes: database.nodes,
        images: database.images.clone(),
    })
}

fn optional(path: &Path, most: u64) -> Result<Option<Vec<u8>>, BackupError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(BackupError::file("reading", path)(error)),
    };
    let mut content = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, most), &mut content)
        .map_err(BackupError::file("reading", path))?;
    Ok(Some(content))
}

/// The files of a folder that have names as they may be in a backup.
fn folder(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<(String, Vec<u8>)>, BackupError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(BackupError::file("reading", path)(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(BackupError::file("reading", path))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_file = fs::metadata(entry.path()).is_ok_and(|meta| meta.is_file());
        if is_file && wanted(&name) && super::parts::is_name(&format!("ca/{name}")) {
            files.push((name, optional(&entry.path(), MAX_FILE)?.unwrap_or_default()));
        }
    }
    files.sort();
    Ok(files)
}
