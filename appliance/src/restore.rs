//! Being the controller that a backup was made of: on another machine, or on this one.
//!
//! Everything is written into a folder of its own first. One rename decides: before it, nothing has happened; after it, the
//! files are moved to their places, after a power cut by whoever comes first of those that may ([`complete`] at the start of a
//! daemon of the same user, or the next restore; what root has decided is for root to end), and nobody reads the old state any
//! more. The reign is a higher one from then on, so that agents which have heard of it refuse orders of the controller that
//! was replaced.

mod owner;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fleet::Outcome;
use fleet::journal::Entry;
use serde_json::json;

use crate::backup::parts::{CONFIG, DATABASE, HEADS};
use crate::backup::{BackupError, Content, Kit};
use crate::config::{Config, ConfigError, Paths};
use crate::journal::Peer;
use crate::lock::{Lock, LockError};
use crate::store::{Batch, Store, StoreError};
use crate::writer::now;

/// Where everything is written first, in the state directory.
const PART: &str = "restore.part";
/// What that is called once it counts.
const DECIDED: &str = "restored";
/// In it: which file goes where, one `from` and `to` after the other.
const PLACES: &str = "places.json";

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A daemon runs here.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The backup is not good.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The state could not be prepared.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configuration in the backup can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is state already.
    #[error(
        "there is a controller's state in {} already, and it would be replaced: confirm it with the name of the backup's \
         site (--confirm {site}), or give another --root", path.display()
    )]
    Unconfirmed {
        /// The state directory.
        path: PathBuf,
        /// The site's name.
        site: String,
    },
    /// Another user's restore was cut off.
    #[error(
        "a restore was decided in {} and cut off before its end, and only the user who ran it (user id {uid}) can end it: run the \
         same rackwright restore again as that user, with --confirm and the site's name, then systemctl start rackwright",
        path.display()
    )]
    Unfinished {
        /// What was decided.
        path: PathBuf,
        /// Whose it is.
        uid: u32,
    },
    /// A file operation failed.
    #[error("{what} {}", path.display())]
    File {
        /// Gerund.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl RestoreError {
    fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
        move |source| RestoreError::File { what, path: path.to_owned(), source }
    }
}

/// Restores what was verified below these paths; the reign that begins.
///
/// # Errors
/// [`RestoreError`]; before the decision nothing was changed, and after it [`complete`] goes on.
pub fn restore(
    paths: &Paths,
    content: &Content,
    kit: &Kit,
    confirm: Option<&str>,
    peer: &Peer,
) -> Result<u64, RestoreError> {
    let _lock = Lock::take(&paths.state)?;
    complete(paths)?;
    let site = &content.manifest.site;
    let state = paths.state_db.exists() || paths.ca.join("site-ca.pem").exists();
    if state && confirm != Some(site) {
        return Err(RestoreError::Unconfirmed { path: paths.state.clone(), site: site.clone() });
    }
    let part = paths.state.join(PART);
    clear(&part)?;
    make_folder(&part)?;
    let epoch = write(paths, content, kit, &part, peer)?;
    let decided = paths.state.join(DECIDED);
    fs::rename(&part, &decided).map_err(RestoreError::file("renaming", &part))?;
    sync(&paths.state)?;
    complete(paths)?;
    Ok(epoch)
}

/// Moves the files of a restore that was decided to their places; whether there was one. To be called with the state's lock.
///
/// # Errors
/// [`RestoreError::Unfinished`], [`RestoreError::File`], [`RestoreError::Config`].
pub fn complete(paths: &Paths) -> Result<bool, RestoreError> {
    let decided = paths.state.join(DECIDED);
    if !decided.exists() {
        return Ok(false);
    }
    owner::check(&decided)?;
    let list = decided.join(PLACES);
    let places = match fs::read(&list) {
        Ok(text) => Some(
            serde_json::from_slice::<Vec<(PathBuf, PathBuf)>>(&text)
                .map_err(|error| RestoreError::file("reading", &list)(io::Error::other(error)))?,
        ),
        // All was moved when it went.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(RestoreError::file("reading", &list)(error)),
    };
    // What the old data base has in its log must not be read into the new one.
    if decided.join(DATABASE).exists() {
        for end in ["db-wal", "db-shm"] {
            remove(&paths.state_db.with_extension(end))?;
        }
        sync(&paths.state)?;
    }
    if let Some(places) = &places {
        for (from, to) in places {
            take(paths, &decided.join(from), to)?;
        }
        sweep(paths, places)?;
        owner::hand_over(paths)?;
    }
    remove(&list)?;
    clear(&decided)?;
    sync(&paths.state)?;
    Ok(true)
}

/// Writes all of it, durably; the new reign.
fn write(paths: &Paths, content: &Content, kit: &Kit, part: &Path, peer: &Peer) -> Result<u64, RestoreError> {
    let text = content.parts.get(CONFIG).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
    let config = crate::config::parse(text)?;
    let mut places = Vec::new();
    for (number, (name, bytes)) in content.parts.iter().enumerate() {
        // The configuration comes last: as long as it is the old one, so is everything that it names.
        let from = if name == DATABASE { name.clone() } else { number.to_string() };
        put(&part.join(&from), bytes)?;
        places.push((PathBuf::from(from), place(paths, &config, name)));
    }
    put(&part.join("kit"), (data_encoding::HEXLOWER.encode(kit.secret()) + "\n").as_bytes())?;
    places.push(("kit".into(), paths.state.join(crate::backup::kit::FILE)));
    places.sort_by_key(|(_, to)| *to == paths.config);
    let epoch = reign(&part.join(DATABASE), content, peer)?;
    let list = serde_json::to_vec(&places).unwrap_or_default();
    put(&part.join(PLACES), &list)?;
    owner::mark(paths, part, &places)?;
    sync(part)?;
    Ok(epoch)
}

/// Where a part belongs.
fn place(paths: &Paths, config: &Config, name: &str) -> PathBuf {
    match name.split_once('/') {
        Some(("ca", file)) => paths.ca.join(file),
        Some((_, file)) => paths.resolve(&config.image_keys).join(file),
        None if name == DATABASE => paths.state_db.clone(),
        None if name == HEADS => paths.journal.join(HEADS),
        None => paths.config.clone(),
    }
}

/// Begins the new reign in the data base: ends what the old one had open with servers' power, lets no rollout and no check go on, gives
/// documents numbers that nodes have not seen, and writes down that it was restored. A reign is named by the time it began where that
/// is later than the old one's name: two that are restored from one backup are told apart.
fn reign(database: &Path, content: &Content, peer: &Peer) -> Result<u64, RestoreError> {
    let mut store = Store::open(database)?;
    let now = now();
    let why =
        "the controller was restored from a backup, in which it was open: ask again if it is still wanted";
    let mut fleet = store.fleet()?;
    let mut dropped = fleet::power::abandon(&fleet, why, now);
    let Outcome { changes, facts, .. } = fleet::rollout::abandon(&fleet, why, now);
    dropped.changes.extend(changes);
    dropped.facts.extend(facts);
    let Outcome { changes, facts, .. } = fleet::preflight::abandon(&fleet, now);
    dropped.changes.extend(changes);
    dropped.facts.extend(facts);
    let manifest = &content.manifest;
    let epoch = (manifest.epoch + 1).max(now.0 / 1000);
    dropped.changes.iter().for_each(|change| fleet.put(change.clone()));
    dropped.changes.extend(fleet::converge::renumbered(&fleet, epoch));
    let numbers = store.last_seq()? + 1..;
    let facts = numbers.zip(dropped.facts).map(|(number, fact)| (number, now, fact)).collect();
    store.save(&Batch { changes: dropped.changes, facts, ..Batch::default() })?;
    let body = json!({"backup": manifest.made, "record": manifest.journal, "epoch": epoch,
        "before": manifest.epoch});
    let entry = Entry { time: now, actor: peer.actor(), kind: "restored", node: None, body };
    store.reign(epoch, entry)?;
    drop(store);
    // Closed by the last connection, it has no log beside it any more.
    File::open(database).and_then(|file| file.sync_all()).map_err(RestoreError::file("syncing", database))?;
    Ok(epoch)
}

/// Moves one file to its place. Done already: it is not here any more.
fn take(paths: &Paths, from: &Path, to: &Path) -> Result<(), RestoreError> {
    if !from.exists() {
        return Ok(());
    }
    let folder = to.parent().unwrap_or(Path::new("/"));
    owner::settle(paths, folder)?;
    match fs::rename(from, to) {
        Ok(()) => {}
        // /etc may be another file system than /var.
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy(from, to)?,
        Err(error) => return Err(RestoreError::file("moving to", to)(error)),
    }
    sync(folder)
}

/// Moves one file to another file system, with its mode and owner.
fn copy(from: &Path, to: &Path) -> Result<(), RestoreError> {
    let like = fs::metadata(from).map_err(RestoreError::file("reading", from))?;
    let content = fs::read(from).map_err(RestoreError::file("reading", from))?;
    crate::backup::replace_like(to, &content, &like).map_err(RestoreError::file("writing", to))?;
    remove(from)
}

/// Removes the keys that only the old state had: nobody trusts them any more.
fn sweep(paths: &Paths, places: &[(PathBuf, PathBuf)]) -> Result<(), RestoreError> {
    let keys = paths.resolve(&crate::config::load(&paths.config)?.image_keys);
    for (folder, only_keys) in [(&paths.ca, false), (&keys, true)] {
        // The daemon's user can put a link into the state: root does not clear what is behind it.
        if !folder.exists() || (folder.is_symlink() && folder.starts_with(&paths.state)) {
            continue;
        }
        let entries = fs::read_dir(folder).map_err(RestoreError::file("reading", folder))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            let is_ours = !only_keys || path.extension().is_some_and(|end| end == "pub");
            if is_ours && !path.is_dir() && !places.iter().any(|(_, to)| *to == path) {
                remove(&path)?;
            }
        }
        sync(folder)?;
    }
    Ok(())
}

fn put(path: &Path, content: &[u8]) -> Result<(), RestoreError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(RestoreError::file("making", path))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(RestoreError::file("writing", path))
}

fn make_folder(path: &Path) -> Result<(), RestoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(RestoreError::file("making", path))
}

fn clear(path: &Path) -> Result<(), RestoreError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(RestoreError::file("removing", path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn remove(path: &Path) -> Result<(), RestoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(RestoreError::file("removing", path)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn sync(folder: &Path) -> Result<(), RestoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(RestoreError::file("syncing", folder))
}

#[cfg(test)]
mod tests;
